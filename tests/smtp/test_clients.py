"""Programs that people use, against the servers on loopback sockets: smtplib, curl, swaks, smtp-source."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SkipTest, TestCase

from mailftp.accounts.login import Login
from mailftp.accounts.sasl import Mechanisms
from mailftp.settings import Auth
from mailftp.smtp.server import SMTPFactory
from tests.connector import wiring
from tests.smtp.servers import ServerTestCase

MESSAGE = "From: alice@example.test\nTo: bob@example.test\nSubject: hello\n\n.dot\n..two dots\nend\n"
#: MESSAGE's body as it is read again.
BODY = b"\r\n\r\n.dot\r\n..two dots\r\nend\r\n"


NODE = Path(__file__).parents[1] / "interop" / "node"


class House(ServerTestCase):
    """The accounts and the store, for a test case that is none of trial's synchronous ones."""

    def runTest(self) -> None:
        raise AssertionError("not a test")


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise SkipTest(f"install {package}")
    return found


class ClientTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.house = House()
        self.house.mktemp = self.mktemp  # type: ignore[method-assign]
        self.house.setUp()
        self.pool = ThreadPool(1, 2, "smtp clients")
        self.pool.start()
        self.addCleanup(self.pool.stop)

    def listen(self, name: str) -> int:
        """A service on a free port of loopback."""
        house = self.house
        made = wiring(
            name, "smtp", tls=house.tls, implicit_tls=name == "submissions", settings=house.settings,
            clock=reactor,  # type: ignore[arg-type]
        )  # fmt: skip
        login = Login(house.portal, Auth(failure_delay=0.0), house.settings.domains, reactor)  # type: ignore[arg-type]
        factory = SMTPFactory(made, house.intake, login, Mechanisms(house.portal))
        listened: Any = house.tls.wrap(factory) if name == "submissions" else factory
        port = reactor.listenTCP(0, listened, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(factory.drain, 5)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, self.pool, work, *arguments)  # type: ignore[arg-type]

    async def run_program(self, name: str, package: str, *arguments: str) -> bytes:
        """Standard output of a program that must succeed."""
        found = program(name, package)
        out, err, code = await getProcessOutputAndValue(found, arguments, env=os.environ)
        self.assertEqual(code, 0, (out + err).decode(errors="replace"))
        return out

    async def test_smtplib(self) -> None:
        """Python's client on the MX, with STARTTLS, a message of 840 KB and dots in it."""
        port = self.listen("smtp")
        text = MESSAGE + ".line of some length\n" * 40_000

        def talk() -> Any:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.starttls(context=unchecked())
                return client.sendmail("z@far.test", ["alice@example.test", "dave@example.test"], text)

        refused = await self.thread(talk)
        self.assertEqual(refused["dave@example.test"][0], 550)
        (message,) = self.house.inbox(self.house.alice)
        self.assertTrue(message.endswith(text.replace("\n", "\r\n").encode()))

    async def test_smtplib_submission(self) -> None:
        """Python's client on submission: STARTTLS, login, UTF-8 in the text, a Bcc that is not told."""
        port = self.listen("submission")

        def talk() -> None:
            message = EmailMessage()
            message["From"], message["To"] = "alice@example.test", "bob@example.test"
            message["Subject"], message["Bcc"] = "grün", "secret@far.test"
            message.set_content("Grüße\n")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.starttls(context=unchecked())
                client.login("alice@example.test", "right")
                client.send_message(message)
                # smtplib itself leaves Bcc out; a client that does not:
                client.sendmail(
                    "alice@example.test", "bob@example.test", "Bcc: secret@far.test\r\n\r\nhi\r\n"
                )

        await self.thread(talk)
        first, second = self.house.inbox(self.house.bob)
        self.assertIn(b"ESMTPSA", first)
        self.assertNotIn(b"secret", second)
        self.assertIn(b"\r\nMessage-ID: <", second)

    async def test_wrong_password(self) -> None:
        """Python's client hears 535 as a failed login."""
        port = self.listen("submissions")

        def talk() -> int:
            with smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=unchecked()) as client:
                try:
                    client.login("alice@example.test", "wrong")
                except smtplib.SMTPAuthenticationError as error:
                    return error.smtp_code
            return 0

        self.assertEqual(await self.thread(talk), 535)

    async def test_curl(self) -> None:
        """curl sends a file by implicit TLS with a login."""
        port = self.listen("submissions")
        await self.run_program(
            "curl", "curl", "-sS", "--insecure", f"smtps://127.0.0.1:{port}/client.test", "--crlf",
            "--user", "alice@example.test:right", "--mail-from", "alice@example.test",
            "--mail-rcpt", "bob@example.test", "--upload-file", self.write(MESSAGE),
        )  # fmt: skip
        (message,) = self.house.inbox(self.house.bob)
        self.assertTrue(message.endswith(BODY), message)

    async def test_swaks(self) -> None:
        """swaks with STARTTLS and AUTH LOGIN, and then to the MX with pipelining."""
        port = self.listen("submission")
        await self.run_program(
            "swaks", "swaks", "--server", f"127.0.0.1:{port}", "--tls", "--auth", "LOGIN", "--auth-user",
            "alice@example.test", "--auth-password", "right", "--from", "alice@example.test",
            "--to", "bob@example.test", "--data", f"@{self.write(MESSAGE)}",
        )  # fmt: skip
        port = self.listen("smtp")
        out = await self.run_program(
            "swaks", "swaks", "--server", f"127.0.0.1:{port}", "--pipeline", "--from", "z@far.test",
            "--to", "bob@example.test", "--data", f"@{self.write(MESSAGE)}",
        )  # fmt: skip
        self.assertIn(b"250 2.0.0 OK, accepted as", out)
        for message in self.house.inbox(self.house.bob):
            # swaks adds an empty line of its own.
            self.assertTrue(message.endswith((BODY, BODY + b"\r\n")), message)
        self.assertEqual(len(self.house.inbox(self.house.bob)), 2)

    async def test_msmtp(self) -> None:
        """msmtp with STARTTLS, a login and what is to be reported; a recipient that is refused is told."""
        port = self.listen("submission")
        found, file = program("msmtp", "msmtp"), self.write(MESSAGE)
        words = (
            "--host=127.0.0.1", f"--port={port}", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off",
            "--auth=plain", "--user=alice@example.test", "--passwordeval=echo right",
            "--from=alice@example.test", "--dsn-notify=failure,delay", "--dsn-return=headers",
        )  # fmt: skip
        script = f'exec {found} --file=/dev/null "$@" < {file}'
        for to, status in (("bob@example.test", 0), ("x@far.test", 0), ("nobody@example.test", 65)):
            out, err, code = await getProcessOutputAndValue(
                "/bin/sh", ("-c", script, "msmtp", *words, "--", to), env=os.environ
            )
            self.assertEqual(code, status, (out + err).decode(errors="replace"))
        self.assertIn(b"nobody@example.test", err)
        (message,) = self.house.inbox(self.house.bob)
        self.assertTrue(message.endswith(BODY), message)
        (queued,) = self.house.queue()
        self.assertEqual(queued.transfer.ret, "HDRS")
        self.assertEqual(queued.recipients[0].notify, {"FAILURE", "DELAY"})

    async def test_nodemailer(self) -> None:
        """The client of Node programs: STARTTLS, pooled connections, DSN, SMTPUTF8, refusals."""
        node = program("node", "nodejs")
        if not (NODE / "node_modules" / "nodemailer").is_dir():
            raise SkipTest(f"needs nodemailer: npm ci --prefix {NODE.relative_to(NODE.parents[2])}")
        ports = str(self.listen("submission")), str(self.listen("submissions"))
        out = await self.run_program(node, "nodejs", str(NODE / "mail.mjs"), *ports, "right")
        told = json.loads(out.splitlines()[-1])
        self.assertEqual((told["verified"], told["pooled"]), (True, 20))
        self.assertEqual(told["accepted"], [["bob@example.test", "x@far.test"]])
        self.assertEqual(told["refused"], [550, ["nobody@example.test"]])
        self.assertEqual(told["wrong"], ["EAUTH", 535])
        inbox = self.house.inbox(self.house.bob)
        subjects = {message_from_bytes(message)["Subject"] for message in inbox}
        self.assertEqual(len(inbox), 21)
        self.assertLessEqual({f"pooled {number}" for number in range(20)}, subjects)
        (first,) = [message for message in inbox if b"multipart/mixed" in message]
        self.assertNotIn(b"x@far.test", first)
        (attached,) = [p for p in message_from_bytes(first).walk() if p.get_filename() == "octets.bin"]
        self.assertEqual(attached.get_payload(decode=True), bytes(range(256)))
        one, two = self.house.queue()
        self.assertEqual((one.transfer.envid, one.transfer.ret), ("envelope+1", "HDRS"))
        self.assertEqual(two.recipients[0].address, "jürgen@far.test")

    async def test_smtp_source(self) -> None:
        """Postfix's load generator: ten sessions, forty messages, none lost."""
        port = self.listen("smtp")
        await self.run_program(
            "smtp-source", "postfix", "-s", "10", "-m", "40", "-l", "4096", "-d", "-f", "z@far.test",
            "-t", "bob@example.test", f"127.0.0.1:{port}",
        )  # fmt: skip
        self.assertEqual(len(self.house.inbox(self.house.bob)), 40)

    def write(self, text: str) -> str:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    async def test_smtplib_lmtp(self) -> None:
        """Python's LMTP client, with a recipient whose mailbox is full."""
        port = self.listen("lmtp")
        self.house.set("alice@example.test", mail_quota=1)

        def talk() -> list[int]:
            with smtplib.LMTP("127.0.0.1", port, timeout=20) as client:
                client.starttls(context=unchecked())
                client.ehlo("near.test")
                client.mail("z@far.test")
                client.rcpt("alice@example.test")
                client.rcpt("bob@example.test")
                # Its sendmail reads one reply alone.
                return [client.data(MESSAGE)[0], client.getreply()[0]]

        self.assertEqual(await self.thread(talk), [452, 250])
        self.assertEqual(len(self.house.inbox(self.house.bob)), 1)

    async def test_swaks_lmtp(self) -> None:
        """swaks speaks LMTP to us."""
        port = self.listen("lmtp")
        out = await self.run_program(
            "swaks", "swaks", "--protocol", "LMTP", "--server", f"127.0.0.1:{port}", "--from", "z@far.test",
            "--to", "bob@example.test", "--helo", "near.test", "--body", "hello",
        )  # fmt: skip
        self.assertIn(b"LHLO near.test", out)
        self.assertEqual(len(self.house.inbox(self.house.bob)), 1)

    async def test_smtp_source_lmtp(self) -> None:
        """Postfix's generator speaks LMTP to us, with two recipients a message."""
        port = self.listen("lmtp")
        await self.run_program(
            "smtp-source", "postfix", "-L", "-m", "20", "-s", "4", "-f", "z@far.test",
            "-t", "bob@example.test", f"127.0.0.1:{port}",
        )  # fmt: skip
        self.assertEqual(len(self.house.inbox(self.house.bob)), 20)

    async def test_smtplib_utf8(self) -> None:
        """Python's client with SMTPUTF8: both addresses, the header and the text beyond ASCII."""
        port = self.listen("smtp")
        account = self.house.add("b\u00f6b@example.test")

        def talk() -> None:
            message = EmailMessage()
            message["From"], message["To"] = "j\u00fcrgen@far.test", "b\u00f6b@example.test"
            message["Subject"] = "gr\u00fcn"
            message.set_content("Gr\u00fc\u00dfe\n")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.send_message(message)

        await self.thread(talk)
        (message,) = self.house.inbox(account)
        self.assertIn("\r\nSubject: gr\u00fcn\r\n".encode(), message)
        self.assertIn(b"with UTF8SMTP ", message.replace(b"\r\n\t", b" "))

    async def test_smtplib_dsn_and_chunks(self) -> None:
        """Python's client asks for a report, and sends by BDAT what it is given as octets."""
        port = self.listen("smtp")

        def talk() -> int:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.ehlo("far.test")
                client.mail("alice@example.test", ["RET=HDRS", "ENVID=x"])
                client.rcpt("bob@example.test", ["NOTIFY=SUCCESS"])
                for chunk, last in ((b"Subject: x\r\n\r", ""), (b"\nhello", " LAST")):
                    client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
                    code, _ = client.getreply()
                return code

        self.assertEqual(await self.thread(talk), 250)
        (message,) = self.house.inbox(self.house.bob)
        self.assertTrue(message.endswith(b"\r\nSubject: x\r\n\r\nhello\r\n"))
        (report,) = self.house.inbox(self.house.alice)
        self.assertIn(b"\r\nAction: delivered\r\n", report)


def unchecked() -> ssl.SSLContext:
    """Whether our certificate names the host is another test's business."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
