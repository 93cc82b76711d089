"""Real clients over a real loopback port: poplib, Twisted's own, curl, fetchmail, getmail, mpop, mutt."""

from __future__ import annotations

import os
import poplib
import shlex
import shutil
import ssl

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.mail.pop3 import AdvancedPOP3Client
from twisted.trial.unittest import SkipTest

from mailftp.accounts.login import Login
from mailftp.accounts.passwords import HashingThreads
from mailftp.accounts.sasl import Mechanisms
from mailftp.pop3.server import POP3Factory
from mailftp.wire.listener import ListenerService
from tests import certificates
from tests.connector import wiring
from tests.pop3.maildrops import DOMAINS, MESSAGES, POP3TestCase

#: Kept in a file of its own, with dots at line starts.
LARGE = b"Subject: large\r\n\r\n" + b".a line of some length to fill it\r\n" * 10_000


class ClientTestCase(POP3TestCase):
    timeout = 60

    def make_threads(self) -> HashingThreads:
        return HashingThreads(reactor)

    def listen(self, service: str = "pop3", tls: bool = False) -> int:
        """The port of a server that runs until the test is over."""
        context = certificates.service(self.mktemp(), service) if tls else None
        factory = POP3Factory(
            wiring(service, "pop3", clock=reactor, tls=context, implicit_tls=service == "pop3s"),
            Login(self.portal, self.auth, DOMAINS, reactor),
            Mechanisms(self.portal),
        )
        listener = ListenerService(
            "tcp:0:interface=127.0.0.1",
            factory,
            reactor,
            tls=context if service == "pop3s" else None,
            drain_seconds=0.1,
        )
        listener.privilegedStartService()
        listener.startService()
        self.addCleanup(listener.stopService)
        port: int = listener.addresses[0].port
        return port


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class PoplibTests(ClientTestCase):
    def session(self, client: poplib.POP3) -> list[bytes]:
        client.user("bob")
        client.pass_("hungry")
        self.assertEqual(client.stat()[0], 4)
        self.assertEqual(len(client.list()[1]), 4)
        self.assertEqual(len(client.uidl()[1]), 4)
        self.assertIn("UIDL", client.capa())
        messages = [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, 5)]
        self.assertEqual(client.top(1, 1)[1][-1], b"first")
        client.dele(1)
        client.quit()
        return messages

    async def test_plain(self) -> None:
        """A whole session with poplib; afterwards one message less."""
        self.put(LARGE)
        port = self.listen()
        got = await deferToThread(lambda: self.session(poplib.POP3("127.0.0.1", port, timeout=20)))
        self.assertEqual(got, [*MESSAGES, LARGE])
        self.assertEqual(len(self.uids()), 3)

    async def test_stls(self) -> None:
        """The same behind STLS."""
        self.put(LARGE)
        port = self.listen(tls=True)

        def run() -> list[bytes]:
            client = poplib.POP3("127.0.0.1", port, timeout=20)
            client.stls(trusting())
            return self.session(client)

        got = await deferToThread(run)
        self.assertEqual(got, [*MESSAGES, LARGE])

    async def test_pop3s(self) -> None:
        """The same with TLS from the start."""
        self.put(LARGE)
        port = self.listen("pop3s", tls=True)
        got = await deferToThread(
            lambda: self.session(poplib.POP3_SSL("127.0.0.1", port, context=trusting(), timeout=20))
        )
        self.assertEqual(got, [*MESSAGES, LARGE])

    async def test_wrong(self) -> None:
        """A wrong password is an error, by the real hashing threads."""
        port = self.listen()

        def run() -> str:
            client = poplib.POP3("127.0.0.1", port, timeout=20)
            client.user("bob")
            try:
                client.pass_("wrong")
            except poplib.error_proto as refused:
                return str(refused)
            finally:
                client.close()
            return "let in"

        answer = await deferToThread(run)
        self.assertIn("[AUTH]", answer)


class TwistedClientTests(ClientTestCase):
    async def test_session(self) -> None:
        """Twisted's own client lists, fetches and deletes."""
        port = self.listen()
        client = AdvancedPOP3Client()
        client.allowInsecureLogin = True
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
        await client.login(b"bob", b"hungry")
        sizes = await client.listSize()
        self.assertEqual(sizes, [len(message) for message in MESSAGES])
        uids = await client.listUID()
        self.assertEqual(len(set(uids)), 3)
        lines = await client.retrieve(1)
        self.assertEqual(b"\r\n".join(lines) + b"\r\n", MESSAGES[1])
        await client.delete(1)
        await client.quit()
        self.assertEqual(len(self.uids()), 2)


class ProgramTestCase(ClientTestCase):
    async def run_program(
        self, name: str, *arguments: str, home: str = "/nonexistent", status: int = 0
    ) -> bytes:
        """What a program prints; it has to end with this status."""
        program = shutil.which(name)
        if program is None:
            raise SkipTest(f"needs the package {name}")
        environment = {**os.environ, "no_proxy": "*", "HOME": home}
        out, err, code = await getProcessOutputAndValue(program, arguments, environment)
        self.assertEqual(code, status, (out[-500:], err[-500:]))
        printed: bytes = out
        return printed

    def home(self) -> str:
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        return folder

    def configure(self, home: str, text: str) -> None:
        """Write `rc`, readable by nobody else, as these programs demand."""
        with open(os.open(f"{home}/rc", os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)

    def delivered(self, path: str) -> list[bytes]:
        with open(path, "rb") as file:
            return [line for line in file.read().splitlines() if line.startswith(b"Subject:")]


class MailProgramTests(ProgramTestCase):
    async def test_fetchmail(self) -> None:
        """fetchmail takes everything and leaves nothing."""
        home = self.home()
        port = self.listen()
        self.configure(
            home,
            f"poll 127.0.0.1 protocol POP3 port {port} auth password username bob@example.test"
            f" password hungry sslproto '' fetchall mda 'cat >> {home}/got'\n",
        )
        await self.run_program("fetchmail", "-f", f"{home}/rc", "--nodetach", "--silent", home=home)
        self.assertEqual(self.delivered(f"{home}/got"), [b"Subject: one", b"Subject: two", b"Subject: three"])
        self.assertEqual(self.uids(), [])

    async def test_fetchmail_keeps(self) -> None:
        """fetchmail that leaves mail here knows by UIDL what it has, and takes only what is new."""
        home = self.home()
        port = self.listen()
        self.configure(
            home,
            f"set idfile {home}/ids\npoll 127.0.0.1 protocol POP3 uidl port {port} auth password"
            f" username bob@example.test password hungry sslproto '' keep mda 'cat >> {home}/got'\n",
        )
        fetch = ("-f", f"{home}/rc", "--nodetach", "--silent")
        await self.run_program("fetchmail", *fetch, home=home)
        self.put(b"Subject: four\r\n\r\nx\r\n")
        await self.run_program("fetchmail", *fetch, home=home)
        subjects = [b"Subject: one", b"Subject: two", b"Subject: three", b"Subject: four"]
        self.assertEqual(self.delivered(f"{home}/got"), subjects)
        self.assertEqual(len(self.uids()), 4)

    async def test_getmail(self) -> None:
        """getmail leaves mail here and takes each message once, of a folder named by the login too."""
        home = self.home()
        port = self.listen()
        for user in ("bob@example.test", "bob@example.test#Archive"):
            os.makedirs(f"{home}/getmail", exist_ok=True)
            with open(f"{home}/got", "a"):
                pass
            self.configure(
                home,
                f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n"
                f"username = {user}\npassword = hungry\n"
                f"[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
                f"arguments = ('-c', 'cat >> {home}/got')\n"
                "[options]\nread_all = false\ndelete = false\n",
            )
            for _ in range(2):
                await self.run_program(
                    "getmail", "--rcfile", f"{home}/rc", "--getmaildir", f"{home}/getmail", home=home
                )
            self.assertEqual(
                self.delivered(f"{home}/got"), [b"Subject: one", b"Subject: two", b"Subject: three"]
            )
        self.assertEqual(len(self.uids()), 3)

    async def test_mpop(self) -> None:
        """mpop logs in by SCRAM-SHA-256, pipelines, and the second time finds nothing new."""
        home = self.home()
        port = self.listen()
        self.configure(
            home,
            f"account default\nhost 127.0.0.1\nport {port}\ntls off\nuser bob\npassword hungry\n"
            f"auth scram-sha-256\nkeep on\npipelining on\ndelivery mbox {home}/got\n"
            f"uidls_file {home}/uidls\n",
        )
        for _ in range(2):
            await self.run_program("mpop", "-C", f"{home}/rc", "--quiet", home=home)
            self.assertEqual(
                self.delivered(f"{home}/got"), [b"Subject: one", b"Subject: two", b"Subject: three"]
            )
        self.assertEqual(len(self.uids()), 3)


class MuttTests(ProgramTestCase):
    """mutt wants a terminal, which `script` gives it."""

    async def mutt(self, home: str, port: int, keys: str, *arguments: str) -> None:
        if shutil.which("mutt") is None:
            raise SkipTest("needs the package mutt")
        self.configure(
            home,
            f'set pop_host="pop://bob:hungry@127.0.0.1:{port}"\n'
            # Otherwise it insists on TLS, and on a certificate that it can check.
            "set ssl_force_tls=no ssl_starttls=no\n"
            f'set folder="{home}" spoolfile="{home}/got" mbox_type=mbox\n'
            "set delete=yes quit=yes move=no pop_delete=no confirmappend=no confirmcreate=no\n"
            f'push "{keys}"\n',
        )
        open(f"{home}/got", "a").close()
        # A question that nobody answers ends with this test and not with the machine.
        bounded = ("timeout", "--foreground", "50", "env", "TERM=xterm")
        command = shlex.join((*bounded, "mutt", "-n", "-F", f"{home}/rc", *arguments))
        await self.run_program("script", "-qec", command, "/dev/null", home=home)

    async def test_fetch(self) -> None:
        """<fetch-mail> takes everything into the spool file and leaves it here."""
        home = self.home()
        await self.mutt(home, self.listen(), "<fetch-mail><quit>")
        self.assertEqual(self.delivered(f"{home}/got"), [b"Subject: one", b"Subject: two", b"Subject: three"])
        self.assertEqual(len(self.uids()), 3)

    async def test_folder(self) -> None:
        """The maildrop opened as a folder: its headers are listed, a message is saved, another deleted."""
        home = self.home()
        port = self.listen()
        keys = "<first-entry><copy-message>=copy<enter><next-entry><delete-message><quit>"
        await self.mutt(home, port, keys, "-f", f"pop://bob:hungry@127.0.0.1:{port}/")
        with open(f"{home}/copy", "rb") as file:
            self.assertIn(b"Subject: one\n", file.read())
        self.assertEqual(self.uids(), [1, 3])


class CurlTests(ProgramTestCase):
    async def curl(self, *arguments: str) -> bytes:
        return await self.run_program("curl", "-sS", "--max-time", "20", *arguments)

    async def test_fetch(self) -> None:
        """curl logs in with what it likes best, behind STLS, and fetches a large message whole."""
        self.put(LARGE)
        port = self.listen(tls=True)
        for login in ("AUTH=*", "AUTH=PLAIN", "AUTH=LOGIN"):
            got = await self.curl(
                *("--ssl-reqd", "--insecure", "-u", "bob:hungry", "--login-options", login),
                f"pop3://127.0.0.1:{port}/4",
            )
            self.assertEqual(got, LARGE)

    async def test_pop3s(self) -> None:
        """Over pop3s: the listing, one message, a deletion."""
        port = self.listen("pop3s", tls=True)
        address = f"pop3s://127.0.0.1:{port}/"
        listed = await self.curl("--insecure", "-u", "bob:hungry", address)
        self.assertEqual(listed, b"1 55\r\n2 35\r\n3 18\r\n")
        got = await self.curl("--insecure", "-u", "bob:hungry", address + "2")
        self.assertEqual(got, MESSAGES[1])
        await self.curl("--insecure", "-u", "bob:hungry", "-X", "DELE 2", "--list-only", "-I", address)
        self.assertEqual(len(self.uids()), 2)
