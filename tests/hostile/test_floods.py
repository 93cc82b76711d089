"""Clients that send too much, too slowly, or never read, against a real process: its memory is bounded, and
others are served meanwhile."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Iterable
from contextlib import ExitStack

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.memory import KIB, MIB, Meter
from tests.hostile.raw import QUICK, Raw, ftp, unverified
from tests.interop.running import RunningServer

#: Services that begin in clear, with what turns TLS on.
CLEAR = {"smtp": b"STARTTLS", "submission": b"STARTTLS", "pop3": b"STLS", "ftp": b"AUTH TLS"}
ENCRYPTED = ("submissions", "pop3s", "ftps")
#: Seconds after which a client whose octets nobody takes is being held back.
HELD_BACK = 0.2
#: Services where somebody who does not log in is not wanted; anybody may bring mail to the MX.
WITH_LOGIN = ("submission", "pop3", "ftp")
LIMITS = f"{QUICK}[limits]\nconnections_per_ip = 2000\n"


def client_hello() -> bytes:
    """The first octets of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = unverified().wrap_bio(incoming, outgoing)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def pour(client: Raw, piece: bytes, times: int) -> int:
    """Send without reading until all is sent, the server closes, or takes no more; octets taken."""
    client.socket.settimeout(HELD_BACK)
    taken = 0
    try:
        for _ in range(times):
            view = memoryview(piece)
            while view:
                count = client.socket.send(view)
                taken += count
                view = view[count:]
    except (TimeoutError, ConnectionError):
        pass
    return taken


class FloodCase(SynchronousTestCase):
    settings = LIMITS

    def setUp(self) -> None:
        self.server = RunningServer(self, "flood.test", settings=self.settings)
        self.server.add_account("alice", "hungry")
        self.server.start()

    def assertServing(self) -> None:
        """Somebody else is greeted and logs in."""
        with Raw(self.server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO other.test", "250")
        ftp(self.server.ports["ftp"], "alice", "hungry").close()

    def assertNoFault(self) -> None:
        """Nothing in the log is an error of ours."""
        faults = [
            line for line in self.server.output if '"traceback"' in line or '"level": "critical"' in line
        ]
        self.assertEqual(faults, [])


class FloodTests(FloodCase):
    def test_line_without_an_end(self) -> None:
        """20 MB without a line end before a login, in clear and under TLS, on every service: no more than a
        megabyte or two is ever held."""
        self.assertServing()
        for service in (*CLEAR, *ENCRYPTED):
            with Raw(self.server.ports[service]) as client:
                if service in ENCRYPTED:
                    client.start_tls()
                client.reply()
                meter = Meter(self.server)
                pour(client, b"x" * MIB, 20)
                self.assertServing()
                self.assertLess(meter.peak, 4 * MIB, service)
        self.assertNoFault()

    def test_many_commands_never_read(self) -> None:
        """Who sends a million commands and reads no reply is not read from, or is closed."""
        self.assertServing()
        words = {"smtp": b"EHLO a", "submission": b"HELP", "pop3": b"CAPA", "ftp": b"HELP"}
        for service, word in words.items():
            with ExitStack() as stack:
                clients = [stack.enter_context(Raw(self.server.ports[service])) for _ in range(10)]
                meter = Meter(self.server)
                for client in clients:
                    pour(client, (word + b"\r\n") * 10_000, 10)
                self.assertServing()
                self.assertLess(meter.peak, 4 * MIB, service)
        self.assertNoFault()

    def test_long_listings_never_read(self) -> None:
        """The same after a login, where six octets ask for a long listing."""
        self.assertServing()
        with Raw(self.server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO a.test", "250")
            for _ in range(300):
                client.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@flood.test>\r\nDATA\r\n\r\nx\r\n.\r\n")
                for _ in range(4):
                    client.reply()
        with Raw(self.server.ports["pop3"]) as pop, ftp(self.server.ports["ftp"], "alice", "hungry") as files:
            pop.reply()
            pop.ask("USER alice", "+OK")
            pop.ask("PASS hungry", "+OK")
            for number in range(300):
                files.ask(f"MKD folder-of-a-long-name-{number}", "257")
            meter = Meter(self.server)
            for client, word in ((pop, b"UIDL"), (pop, b"RETR 1"), (files, b"STAT /")):
                pour(client, (word + b"\r\n") * 10_000, 10)
                self.assertServing()
                self.assertLess(meter.peak, 8 * MIB, word)
        self.assertNoFault()

    def test_many_commands(self) -> None:
        """Who logs in and pipelines 10^5 commands gets 10^5 replies, or is closed; others are served in
        between, and memory is bounded."""
        self.assertServing()
        with Raw(self.server.ports["pop3"]) as pop, ftp(self.server.ports["ftp"], "alice", "hungry") as files:
            pop.reply()
            pop.ask("USER alice", "+OK")
            pop.ask("PASS hungry", "+OK")
            meter = Meter(self.server)
            for client in (pop, files):
                for _ in range(10):
                    client.send(b"NOOP\r\n" * 10_000)
                    self.assertServing()
                    for _ in range(10_000):
                        self.assertIn(client.line()[:3], (b"+OK", b"200"))
            self.assertLess(meter.peak, 8 * MIB)
        self.assertNoFault()

    def test_garbage_for_tls(self) -> None:
        """Octets that are no handshake end a connection: random ones, a cut ClientHello with a wrong
        length, plain commands, an HTTP request."""
        hello = client_hello()
        garbage: Iterable[bytes] = (
            b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000,
            hello[:60] + b"\0" * 500 + hello[60:],
            bytes(range(256)) * 300,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"USER alice\r\nPASS hungry\r\n",
            b"\x80\x2e\x01\x00\x02" + b"\0" * 50,
        )
        self.assertServing()
        meter = Meter(self.server)
        for octets in garbage:
            for service in (*CLEAR, *ENCRYPTED):
                with Raw(self.server.ports[service]) as client:
                    if service in CLEAR:
                        client.reply()
                        if service != "ftp":
                            client.ask("EHLO a.test" if "s" in service else "CAPA")
                            while service == "pop3" and client.line() != b".":
                                pass
                        client.ask(CLEAR[service])
                    pour(client, octets, 1)
                    client.socket.settimeout(60)
                    client.socket.shutdown(socket.SHUT_WR)
                    self.assertNotIn(b"230", client.rest())
        self.assertServing()
        self.assertLess(meter.peak, 16 * MIB)
        self.assertNoFault()

    def test_thousand_in_the_middle(self) -> None:
        """1,000 connections in the middle of a command or a handshake take no more than 64 KiB each, what
        OpenSSL keeps for a handshake included; others are served."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 1500:
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            resource.setrlimit(resource.RLIMIT_NOFILE, (4000 if hard < 0 else min(hard, 4000), hard))
            self.server.stop()
            self.server.start()
        self.assertServing()
        hello = client_hello()
        meter = Meter(self.server)
        services = (*CLEAR, *ENCRYPTED)
        clients = []
        try:
            for number in range(1000):
                service = services[number % len(services)]
                client = Raw(self.server.ports[service])
                clients.append(client)
                if service in ENCRYPTED:
                    client.send(hello[: 5 + number % (len(hello) - 6)])
                else:
                    client.send(b"USER " + b"a" * (number % 400))
            self.assertServing()
            self.assertLess(meter.peak, 1000 * 64 * KIB)
        finally:
            for client in clients:
                client.close()
        self.assertServing()
        self.assertNoFault()


class SlowTests(FloodCase):
    settings = f'{QUICK}[limits]\nlogin_timeout = "2s"\n'

    def test_tiny_pieces(self) -> None:
        """Whoever sends an octet now and then, or stands still in a handshake, is gone when the time for a
        login is over: each octet does not begin it anew."""
        hello = client_hello()
        clients = [Raw(self.server.ports[service]) for service in WITH_LOGIN]
        encrypted = [Raw(self.server.ports[service]) for service in ENCRYPTED]
        for client in encrypted:
            client.send(hello[:20])
        for client in clients:
            client.reply()
        waiting = dict.fromkeys(clients, b"NOOP\r\n" * 10)
        while waiting:
            for client, left in tuple(waiting.items()):
                # A client that trickles: the wait for an answer paces it.
                client.socket.settimeout(0.1)
                try:
                    client.socket.send(left[:1])
                    waiting[client] = left[1:] + left[:1]
                    if not client.socket.recv(65536):
                        del waiting[client]
                except TimeoutError:
                    continue
                except ConnectionError:
                    del waiting[client]
        for client in encrypted:
            self.assertEqual(client.rest(), b"")
        for client in (*clients, *encrypted):
            client.close()
        self.assertNoFault()
