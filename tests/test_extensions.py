"""SMTP's extensions between processes: what is asked of one server is known to the next."""

from __future__ import annotations

import shutil
import smtplib
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.test_end_to_end import PASSWORD, House

TEXT = "Subject: hello\r\n\r\nHello.\r\n"


class ExtensionTests(SynchronousTestCase):
    def house(self, name: str, more: str = "") -> House:
        # A Unix socket's name has at most 107 octets, and a checkout can lie deep.
        folder = Path(tempfile.mkdtemp(prefix="mailftp-"))
        self.addCleanup(shutil.rmtree, folder)
        house = House(folder / name, f"{name}.test", more)
        self.addCleanup(house.stop)
        return house

    def submit(self, house: House, sender: str, recipient: str, mail: str = "", rcpt: str = "") -> None:
        """TEXT with these parameters."""
        with smtplib.SMTP("127.0.0.1", house.ports["submission"], timeout=30) as client:
            client.login("alice@here.test", PASSWORD)
            client.command_encoding = "utf-8"
            for command, parameters in (
                (f"MAIL FROM:<{sender}>", mail), (f"RCPT TO:<{recipient}>", rcpt)
            ):  # fmt: skip
                code, said = client.docmd(f"{command} {parameters}".strip())
                self.assertEqual(code, 250, said)
            code, said = client.data(TEXT.encode())
            self.assertEqual(code, 250, said)

    def test_notification(self) -> None:
        """NOTIFY=SUCCESS goes with the message to a server with DSN, which reports delivery there; the
        envelope id and the original recipient come back as they were."""
        there = self.house("there")
        there.add("bob")
        routes = f'"there.test" = "127.0.0.1:{there.ports["smtp"]}"\n'
        here = self.house("here", f"[delivery.routes]\n{routes}")
        here.add("alice")
        text = there.config.read_text()
        there.config.write_text(text + f'[delivery.routes]\n"here.test" = "127.0.0.1:{here.ports["smtp"]}"\n')
        there.command("reload")
        self.submit(
            here, "alice@here.test", "bob@there.test", "RET=HDRS ENVID=a+2Bb",
            "NOTIFY=SUCCESS ORCPT=rfc822;robert+40@first.test",
        )  # fmt: skip
        self.assertEqual(len(there.read("bob")), 1)
        (report,) = here.read("alice")
        for line in (
            b"Original-Envelope-Id: a+b",
            b"Reporting-MTA: dns; mx.there.test",
            b"Original-Recipient: rfc822;robert@@first.test",
            b"Action: delivered",
        ):
            self.assertIn(b"\r\n" + line + b"\r\n", report)

    def test_lmtp(self) -> None:
        """A route by LMTP ends in a mailbox, and success is reported by the side that knows of DSN."""
        there = self.house("there")
        there.add("bob")
        text = there.config.read_text().replace("pop3 = [", 'lmtp = ["tcp:0:interface=127.0.0.1"]\npop3 = [')
        there.serving.stop()
        there.config.write_text(text)
        there.start()
        here = self.house(
            "here", f'[delivery.routes]\n"there.test" = "lmtp:127.0.0.1:{there.ports["lmtp"]}"\n'
        )
        here.add("alice")
        self.submit(here, "alice@here.test", "bob@there.test")
        (message,) = there.read("bob")
        self.assertIn(b"with LMTP ", message.replace(b"\r\n\t", b" "))

    def test_lmtp_socket(self) -> None:
        """LMTP on a Unix socket beside the settings file, and a full mailbox among two recipients."""
        house = self.house("there")
        house.add("bob")
        for name in ("full", "stuffed"):
            house.add(name)
            house.command("account", "set", name, "--mail-quota", "1")
        house.serving.stop()
        text = house.config.read_text().replace("pop3 = [", 'lmtp = ["unix:lmtp.sock"]\npop3 = [')
        house.config.write_text(text)
        house.start()
        self.assertEqual(self.deliver(house, "full@there.test", TEXT), [452, 250])
        self.assertEqual(len(house.read("bob")), 1)
        large = TEXT + ("x" * 70 + "\r\n") * 3000
        self.assertEqual(self.deliver(house, "stuffed@there.test", large), [452, 250])
        self.assertEqual(len(house.read("bob", 2)), 2)

    def deliver(self, house: House, other: str, text: str) -> list[int]:
        """Codes for `other` and for bob, by LMTP. Who is found full is then refused at RCPT: once each."""
        with smtplib.LMTP(str(house.folder / "lmtp.sock"), timeout=30) as client:
            client.ehlo("here.test")
            client.mail("z@far.test")
            client.rcpt(other)
            client.rcpt("bob@there.test")
            return [client.data(text)[0], client.getreply()[0]]

    def test_utf8(self) -> None:
        """An account beyond ASCII, made by the command line, is written to from another server."""
        there = self.house("there")
        there.add("b\u00f6b@there.test")
        here = self.house("here", f'[delivery.routes]\n"there.test" = "127.0.0.1:{there.ports["smtp"]}"\n')
        here.add("alice")
        self.submit(here, "alice@here.test", "b\u00f6b@there.test", "SMTPUTF8")
        (message,) = there.read("b\u00f6b@there.test")
        self.assertIn("Delivered-To: b\u00f6b@there.test\r\n".encode(), message)
        self.submit(here, "alice@here.test", "k\u00f6nig@there.test", "SMTPUTF8")
        (bounce,) = here.read("alice")
        self.assertIn("Final-Recipient: utf-8; k\u00f6nig@there.test\r\n".encode(), bounce)
