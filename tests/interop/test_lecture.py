"""The dialogues of a first lecture on these protocols, typed by hand over telnet."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import PATIENCE, RunningServer, environment, program


class Telnet:
    """Debian's telnet; a line is typed when the answer to the one before has been read."""

    def __init__(self, case: SynchronousTestCase, address: str, port: int) -> None:
        self.process = subprocess.Popen(
            [program("telnet", "telnet"), address, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        )
        case.addCleanup(self._end)
        self.seen = b""
        self.expect("Escape character is")

    def _end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def expect(self, text: str) -> bytes:
        """Read until `text` has come."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise AssertionError(f"expected {text!r}, saw {self.seen!r}")
            self.seen += piece
        before, found, self.seen = self.seen.partition(text.encode())
        return before + found

    def type(self, line: str, expect: str) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.expect(expect)


class LectureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "fakeplace.edu")
        self.server.add_account("bob", "hungry")
        self.server.start()

    def telnet(self, service: str) -> Telnet:
        return Telnet(self, "127.0.0.1", self.server.ports[service])

    def test_smtp_then_pop3(self) -> None:
        """MAIL FROM with a space and no brackets, DATA, a dot; then user, pass, list, retr in lower case."""
        smtp = self.telnet("smtp")
        smtp.expect("220 ")
        smtp.type("HELO ycp.edu", "250 ")
        smtp.type("MAIL FROM: alice@ycp.edu", "250 ")
        smtp.type("RCPT TO: bob@fakeplace.edu", "250 ")
        smtp.type("DATA", "354 ")
        smtp.type("Subject: dinner\n\nHow about pickles?\n.", "250 ")
        smtp.type("QUIT", "221 ")

        pop = self.telnet("pop3")
        pop.expect("+OK")
        pop.type("user bob", "+OK")
        pop.type("pass hungry", "+OK")
        pop.type("list", "\n.\n")
        text = pop.type("retr 1", "\n.\n")
        self.assertIn(b"How about pickles?", text)
        pop.type("dele 1", "+OK")
        pop.type("quit", "+OK")

        pop = self.telnet("pop3")
        pop.expect("+OK")
        pop.type("USER bob", "+OK")
        pop.type("PASS hungry", "+OK")
        pop.type("STAT", "+OK 0 0")

    def test_ftp_in_both_orders(self) -> None:
        """Data connection opened first: 125; opened after the command: 150; none at all: 425."""
        ftp = self.telnet("ftp")
        ftp.expect("220 ")
        ftp.type("USER bob", "331 ")
        ftp.type("PASS hungry", "230 ")
        ftp.type("LIST", "425 ")

        with self.data_connection(ftp) as data:
            ftp.type("STOR lunch.txt", "125 ")
            data.sendall(b"pickles\r\n")
        ftp.expect("226 ")

        port = self.passive_port(ftp)
        self.type_only(ftp, "RETR lunch.txt")
        ftp.expect("150 ")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as data:
            self.assertEqual(self.everything(data), b"pickles\r\n")
        ftp.expect("226 ")

        with self.data_connection(ftp) as data:
            ftp.type("LIST", "125 ")
            self.assertIn(b"lunch.txt", self.everything(data))
        ftp.expect("226 ")
        ftp.type("QUIT", "221 ")

    def type_only(self, telnet: Telnet, line: str) -> None:
        assert telnet.process.stdin is not None
        telnet.process.stdin.write(line.encode() + b"\n")
        telnet.process.stdin.flush()

    def passive_port(self, telnet: Telnet) -> int:
        telnet.type("PASV", "227 ")
        numbers = telnet.expect(")").split(b"(")[1].rstrip(b")").split(b",")
        return int(numbers[4]) * 256 + int(numbers[5])

    def data_connection(self, telnet: Telnet) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.passive_port(telnet)), timeout=PATIENCE)

    def everything(self, data: socket.socket) -> bytes:
        got = b""
        while piece := data.recv(65536):
            got += piece
        return got
