"""Whole servers: a message sent at one and read at another, a bounce, files, and what kill -9 leaves."""

from __future__ import annotations

import ftplib
import io
import json
import poplib
import signal
import smtplib
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.serving import Serving, mailftp, settings_text

PASSWORD = "one two three"


class House:
    """One server with its folder."""

    def __init__(self, folder: Path, domain: str, more: str = "") -> None:
        folder.mkdir(parents=True)
        self.folder, self.domain = folder, domain
        self.config = folder / "mailftp.toml"
        head = f'hostname = "mx.{domain}"\ndomains = ["{domain}"]\n'
        self.config.write_text(
            head + settings_text(services=("smtp", "submission", "pop3", "ftp"), more=more)
        )
        self.start()

    def start(self) -> None:
        self.serving = Serving("mailftp", folder=self.folder)
        self.ports = self.serving.ports()

    def stop(self) -> None:
        if self.serving.process.poll() is None:
            self.serving.stop(signal.SIGKILL)

    def command(self, *arguments: str, given: str = "") -> str:
        done = mailftp(*arguments, "--config", str(self.config), given=given)
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout

    def add(self, name: str) -> None:
        self.command("account", "add", name, "--password-file", "-", given=f"{PASSWORD}\n")

    def send(self, sender: str, recipient: str, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=30) as client:
            client.login(sender, PASSWORD)
            client.sendmail(sender, [recipient], text.encode())

    def read(self, name: str, count: int = 1) -> list[bytes]:
        """The messages of an account, once there are `count`."""
        deadline = time.monotonic() + 30
        while True:
            client = poplib.POP3("127.0.0.1", self.ports["pop3"], timeout=30)
            client.user(name)
            client.pass_(PASSWORD)
            there = client.stat()[0]
            if there >= count:
                messages = [b"\r\n".join(client.retr(number + 1)[1]) for number in range(there)]
                client.quit()
                return messages
            client.quit()
            if time.monotonic() > deadline:
                raise AssertionError(f"{there} of {count} messages came:\n{self.serving.written}")
            # Nothing tells a POP3 client that mail came; it asks again.
            time.sleep(0.1)


class EndToEnd(SynchronousTestCase):
    def house(self, name: str, more: str = "") -> House:
        house = House(Path(self.mktemp()).absolute() / name, f"{name}.test", more)
        self.addCleanup(house.stop)
        return house

    def test_between_servers(self) -> None:
        """Submitted at one, delivered to the other, read there by POP3; an unknown recipient comes back."""
        there = self.house("there")
        there.add("bob")
        port = there.ports["smtp"]
        here = self.house("here", f'[delivery.routes]\n"there.test" = "127.0.0.1:{port}"\n')
        here.add("alice")
        here.send("alice@here.test", "bob@there.test", "Subject: hello\r\n\r\n.It works.\r\n")
        (message,) = there.read("bob")
        self.assertIn(b"\r\n.It works.", message)
        self.assertIn(b"Return-Path: <alice@here.test>", message)
        here.send("alice@here.test", "nobody@there.test", "Subject: lost\r\n\r\nIs anybody there?\r\n")
        (bounce,) = here.read("alice")
        self.assertIn(b"multipart/report", bounce)
        self.assertIn(b"nobody@there.test", bounce)
        self.assertEqual(json.loads(here.command("queue", "list", "--json")), [])

    def test_queue(self) -> None:
        """What cannot be delivered waits, survives kill -9, and leaves when the other side is there."""
        there = self.house("there")
        there.add("bob")
        port = there.ports["smtp"]
        there.serving.stop()
        here = self.house("here", f'[delivery.routes]\n"there.test" = "127.0.0.1:{port}"\n')
        here.add("alice")
        here.send("alice@here.test", "bob@there.test", "Subject: late\r\n\r\nBetter than never.\r\n")
        here.serving.stop(signal.SIGKILL)
        (message,) = json.loads(here.command("queue", "list", "--json"))
        self.assertEqual(message["recipients"][0]["address"], "bob@there.test")
        text = there.config.read_text().replace('smtp = ["tcp:0:', f'smtp = ["tcp:{port}:')
        there.config.write_text(text)
        there.start()
        here.start()
        here.command("queue", "retry", str(message["id"]))
        (arrived,) = there.read("bob")
        self.assertIn(b"Better than never.", arrived)

    def test_new_route(self) -> None:
        """A reload changes where mail goes, for what waits already too."""
        there = self.house("there")
        there.add("bob")
        here = self.house("here", '[delivery.routes]\n"there.test" = "127.0.0.1:1"\n')
        here.add("alice")
        here.send("alice@here.test", "bob@there.test", "Subject: late\r\n\r\nFound the way.\r\n")
        text = here.config.read_text().replace('"127.0.0.1:1"', f'"127.0.0.1:{there.ports["smtp"]}"')
        here.config.write_text(text)
        here.command("reload")
        here.command("queue", "retry", "--all")
        (arrived,) = there.read("bob")
        self.assertIn(b"Found the way.", arrived)

    def test_password_closes_sessions(self) -> None:
        """A changed password ends the sessions that were opened with the old one."""
        here = self.house("here")
        here.add("alice")
        client = ftplib.FTP(timeout=30)
        client.connect("127.0.0.1", here.ports["ftp"])
        client.login("alice", PASSWORD)
        client.storbinary("STOR letter", io.BytesIO(b"hello"))
        here.command("account", "passwd", "alice")
        with self.assertRaises((EOFError, OSError, ftplib.error_temp)):
            for _ in range(100):
                client.voidcmd("NOOP")
                time.sleep(0.05)
        with self.assertRaises(ftplib.error_perm):
            again = ftplib.FTP(timeout=30)
            again.connect("127.0.0.1", here.ports["ftp"])
            again.login("alice", PASSWORD)
