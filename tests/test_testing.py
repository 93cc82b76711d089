"""`mailftp.testing`, used as an application's own test would use it: with clients that block, in a thread."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from ftplib import FTP as FTPClient
from imaplib import IMAP4
from io import BytesIO
from poplib import POP3
from ssl import create_default_context
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailftp.settings import Limits
from mailftp.testing import MailServer, Outgoing

T = TypeVar("T")

BOB, ALICE = "bob@example.test", "alice@example.test"
MESSAGE = b"From: alice@example.test\r\nSubject: hello\r\n\r\n.dot\r\nbye\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 2000


def run(work: Callable[..., T], *arguments: Any) -> Deferred[T]:
    return deferToThread(work, *arguments)


def send(port: int, sender: str, to: list[str], message: bytes, login: tuple[str, str] | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        if login is not None:
            client.login(*login)
        client.sendmail(sender, to, message)


class Serving(TestCase):
    async def setUp(self) -> None:
        self.server = await MailServer.start(reactor, accounts={BOB: "hungry", ALICE: "wonderland"})
        self.addCleanup(self.server.stop)

    async def refused(self, *arguments: Any) -> tuple[int, bytes]:
        try:
            await run(send, *arguments)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as refusal:
            return refusal.smtp_code, bytes(refusal.smtp_error)
        except smtplib.SMTPRecipientsRefused as refusal:
            ((code, text),) = refusal.recipients.values()
            return code, text
        raise AssertionError("it was taken")


class Mail(Serving):
    async def test_messages(self) -> None:
        """What came by SMTP is there when the client has its reply, octet for octet below the trace."""
        await run(send, self.server.smtp_port, "who@elsewhere.test", [BOB], MESSAGE)
        (message,) = self.server.messages("Bob@Example.test")
        self.assertTrue(message.startswith(b"Return-Path: <who@elsewhere.test>\r\n"))
        self.assertTrue(message.endswith(MESSAGE))
        self.assertEqual(self.server.messages(ALICE), [])
        self.assertEqual(self.server.outbox, [])

    async def test_large(self) -> None:
        """A body that the store keeps in a file comes back like any other."""
        await run(send, self.server.smtp_port, "who@elsewhere.test", [BOB], LARGE)
        self.assertTrue(self.server.messages(BOB)[0].endswith(LARGE))

    async def test_order(self) -> None:
        """Oldest first."""
        for subject in (b"one", b"two"):
            await run(send, self.server.smtp_port, "a@b.test", [BOB], b"Subject: " + subject + b"\r\n\r\n")
        found = [message.rpartition(b"Subject: ")[2] for message in self.server.messages(BOB)]
        self.assertEqual(found, [b"one\r\n\r\n", b"two\r\n\r\n"])

    async def test_outbox(self) -> None:
        """Mail to others that was submitted is kept with its envelope; what is for us does not leave."""
        await run(
            send, self.server.submission_port, ALICE, [BOB, "x@far.test", "y@off.test"], MESSAGE,
            (ALICE, "wonderland"),
        )  # fmt: skip
        (outgoing,) = self.server.outbox
        self.assertEqual(outgoing, Outgoing(ALICE, ("x@far.test", "y@off.test"), outgoing.message))
        self.assertIn(b"Subject: hello\r\n", outgoing.message)
        self.assertIn(b"Message-ID: ", outgoing.message)
        self.assertEqual(len(self.server.messages(BOB)), 1)

    async def test_large_outgoing(self) -> None:
        """The outbox reads large bodies as well."""
        await run(send, self.server.submission_port, BOB, ["x@far.test"], LARGE, (BOB, "hungry"))
        self.assertTrue(self.server.outbox[0].message.endswith(LARGE.partition(b"\r\n\r\n")[2]))

    async def test_no_relay(self) -> None:
        """It refuses what the real one refuses: mail to others from nobody."""
        code, _ = await self.refused(self.server.smtp_port, "a@b.test", ["x@far.test"], MESSAGE)
        self.assertEqual((code, self.server.outbox), (550, []))

    async def test_wrong_password(self) -> None:
        """A wrong password is refused, and at once: a test does not wait for the guard."""
        with self.assertRaises(smtplib.SMTPAuthenticationError):
            await run(send, self.server.submission_port, BOB, [BOB], MESSAGE, (BOB, "wrong"))

    async def test_pop3(self) -> None:
        """POP3 gives what `messages` gives, and what it deletes is gone."""
        await run(send, self.server.smtp_port, "a@b.test", [BOB], MESSAGE)
        (kept,) = self.server.messages(BOB)

        def fetch() -> bytes:
            client = POP3("127.0.0.1", self.server.pop3_port, timeout=30)
            client.user(BOB)
            client.pass_("hungry")
            lines = client.retr(1)[1]
            client.dele(1)
            client.quit()
            return b"\r\n".join(lines) + b"\r\n"

        self.assertEqual(await run(fetch), kept)
        self.assertEqual(self.server.messages(BOB), [])

    async def test_accounts(self) -> None:
        """An account can be added later; one that there is not is a KeyError."""
        with self.assertRaises(KeyError):
            self.server.messages("carol@example.test")
        self.server.add_account("carol@example.test", "chess")
        await run(send, self.server.smtp_port, "a@b.test", ["carol@example.test"], MESSAGE)
        self.assertEqual(len(self.server.messages("carol@example.test")), 1)


class Files(Serving):
    def client(self) -> FTPClient:
        client = FTPClient(timeout=30)
        client.connect("127.0.0.1", self.server.ftp_port)
        client.login(BOB, "hungry")
        return client

    async def test_upload(self) -> None:
        """What a client stored is a file that the test can read."""

        def upload() -> None:
            with self.client() as client:
                client.storbinary("STOR scan.pdf", BytesIO(b"%PDF"))

        await run(upload)
        self.assertEqual((self.server.files(BOB) / "scan.pdf").read_bytes(), b"%PDF")

    async def test_download(self) -> None:
        """What a test puts there a client gets."""
        self.server.files(BOB).mkdir(parents=True)
        (self.server.files(BOB) / "list.csv").write_bytes(b"a,b\n")
        got = BytesIO()

        def download() -> None:
            with self.client() as client:
                client.retrbinary("RETR list.csv", got.write)

        await run(download)
        self.assertEqual(got.getvalue(), b"a,b\n")


class Failures(Serving):
    async def test_once(self) -> None:
        """The next message is refused as it was asked, and nothing of it is kept; the one after is taken."""
        self.server.fail_next("452 4.3.1 The disk is full")
        answer = await self.refused(self.server.smtp_port, "a@b.test", [BOB], MESSAGE)
        self.assertEqual((answer, self.server.messages(BOB)), ((452, b"4.3.1 The disk is full"), []))
        await run(send, self.server.smtp_port, "a@b.test", [BOB], MESSAGE)
        self.assertEqual(len(self.server.messages(BOB)), 1)

    async def test_steps(self) -> None:
        """Each step of the dialogue can be refused, on both ports."""
        for login, port in ((None, self.server.smtp_port), ((BOB, "hungry"), self.server.submission_port)):
            for step in ("sender", "recipient", "message"):
                self.server.fail_next(f"550 5.7.1 Not this {step}", at=step)  # type: ignore[arg-type]
                answer = await self.refused(port, BOB, [BOB], MESSAGE, login)
                self.assertEqual(answer, (550, f"5.7.1 Not this {step}".encode()))

    def test_form(self) -> None:
        """What is no refusal, or would be two lines, is a ValueError."""
        for wrong in (
            "250 2.0.0 fine",
            "451 try later",
            "451 4.3.0",
            "45 4.3.0 x",
            "451 5.3.0 x",
            "451 4.3.0 a\r\n250 b",
            "451 4.3.0 \N{EURO SIGN}",
            "4\N{SUPERSCRIPT FIVE}1 4.3.0 x",
        ):
            with self.assertRaises(ValueError, msg=wrong):
                self.server.fail_next(wrong)


class Lives(TestCase):
    async def test_settings(self) -> None:
        """Fields of the settings can be given; without accounts there is a domain all the same."""
        server = await MailServer.start(reactor, limits=Limits(message_size=100))
        self.addCleanup(server.stop)
        self.assertEqual(server.settings.domains, ("example.test",))
        server.add_account(BOB, "hungry")
        with self.assertRaises(smtplib.SMTPSenderRefused):
            await run(send, server.smtp_port, "a@b.test", [BOB], LARGE)

    async def test_tls(self) -> None:
        """With `tls`, a client that checks certificates gets STARTTLS."""
        server = await MailServer.start(reactor, accounts={BOB: "hungry"}, tls=True)
        self.addCleanup(server.stop)

        def send_securely() -> None:
            with smtplib.SMTP("localhost", server.submission_port, timeout=30) as client:
                client.starttls(context=create_default_context(cafile=str(server.ca)))
                client.login(BOB, "hungry")
                client.sendmail(BOB, [BOB], MESSAGE)

        await run(send_securely)
        self.assertIn(b"with ESMTPSA", server.messages(BOB)[0])

    async def test_stop(self) -> None:
        """Stopping closes who is still connected, removes the files, and can be asked for again."""
        server = await MailServer.start(reactor, accounts={BOB: "hungry"})
        client = await run(smtplib.SMTP, "127.0.0.1", server.smtp_port, None, 30)
        self.assertTrue(server.settings.data.is_dir())
        await server.stop()
        self.assertFalse(server.settings.data.exists())
        with self.assertRaises((smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException, OSError)):
            await run(client.mail, "a@b.test")
            await run(client.mail, "a@b.test")
        client.close()
        await server.stop()

    async def test_two(self) -> None:
        """Two servers know nothing of each other."""
        one = await MailServer.start(reactor, accounts={BOB: "hungry"})
        self.addCleanup(one.stop)
        other = await MailServer.start(reactor, accounts={BOB: "hungry"})
        self.addCleanup(other.stop)
        await run(send, one.smtp_port, "a@b.test", [BOB], MESSAGE)
        self.assertEqual((len(one.messages(BOB)), len(other.messages(BOB))), (1, 0))

    async def test_bad_account(self) -> None:
        """A start that fails leaves nothing behind: trial would say so."""
        with self.assertRaises(ValueError):
            await MailServer.start(reactor, accounts={"bob": "hungry"})
        with self.assertRaises(TypeError):
            await MailServer.start(reactor, colour="red")


class IMAPMail(Serving):
    async def test_imap(self) -> None:
        """What came by SMTP is counted by IMAP."""
        await run(send, self.server.smtp_port, "who@elsewhere.test", [BOB], MESSAGE)

        def count() -> bytes:
            with IMAP4("127.0.0.1", self.server.imap_port) as client:
                client.login(BOB, "hungry")
                return client.select()[1][0] or b""

        self.assertEqual(await run(count), b"1")
