"""Logins by client certificate: curl and poplib against a server as a user starts it."""

from __future__ import annotations

import poplib
import ssl
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.certificates import Authority
from tests.interop.running import RunningServer, program, run

MESSAGE = b"From: bob@example.test\r\nTo: bob@example.test\r\nSubject: by certificate\r\n\r\nHello.\r\n"


#: curl's names for our services.
_SCHEMES = {"submissions": "smtps", "pop3s": "pop3s", "imaps": "imaps"}


class CertificateTests(TestCase):
    def setUp(self) -> None:
        clients = Authority("Clients")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "clients.pem").write_bytes(clients.pem)
        issued = clients.issue(["bob@example.test"], client=True)
        self.certificate = self.folder / "bob.pem"
        self.certificate.write_bytes(issued.pem + issued.key_pem)
        foreign = Authority("Clients").issue(["bob@example.test"], client=True)
        self.foreign = self.folder / "foreign.pem"
        self.foreign.write_bytes(foreign.pem + foreign.key_pem)
        self.server = RunningServer(self, "example.test", tls=f'client_ca = "{self.folder / "clients.pem"}"')
        for name in ("bob", "alice"):
            self.server.add_account(name, "correct horse battery")
        self.server.start()

    def curl(self, service: str, *words: str | Path, certificate: Path | None = None) -> tuple[int, bytes]:
        done = run(
            program("curl", "curl"), "--silent", "--show-error", "--verbose", "--cacert", self.server.ca,
            "--cert", certificate or self.certificate, "--login-options", "AUTH=EXTERNAL",
            f"{_SCHEMES[service]}://localhost:{self.server.ports[service]}/", *words,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def test_curl(self) -> None:
        """Sends by submissions and fetches by pop3s and imaps with nothing but a certificate."""
        message = self.folder / "message"
        message.write_bytes(MESSAGE)
        envelope = (
            "--mail-from",
            "bob@example.test",
            "--mail-rcpt",
            "bob@example.test",
            "--upload-file",
            message,
        )
        for name in ("bob@example.test:", "bob:"):
            status, said = self.curl("submissions", "--user", name, *envelope)
            self.assertEqual(status, 0, said)
            self.assertIn(b"AUTH EXTERNAL", said)
        status, said = self.curl("pop3s", "--user", "bob@example.test:")
        self.assertEqual(status, 0, said)
        self.assertTrue(said.startswith(b"1 "), said)
        self.server.wait_for("login", name="bob@example.test", service="pop3s")
        status, said = self.curl("imaps", "--user", "bob@example.test:")
        self.assertEqual(status, 0, said)
        self.assertIn(b'"/" INBOX', said.replace(b'"INBOX"', b"INBOX"))
        self.server.wait_for("login", name="bob@example.test", service="imaps")

    def test_refused(self) -> None:
        """Another's account, and a certificate of another authority with the same names."""
        status, said = self.curl("pop3s", "--user", "alice@example.test:")
        # CURLE_LOGIN_DENIED.
        self.assertEqual(status, 67, said)
        status, said = self.curl("pop3s", "--user", "bob@example.test:", certificate=self.foreign)
        self.assertNotEqual(status, 0, said)
        self.assertNotIn(b"+OK POP3 ready", said)

    def test_poplib(self) -> None:
        """Behind STLS, with Python's ssl; without a certificate EXTERNAL is not there."""
        context = ssl.create_default_context(cafile=str(self.server.ca))
        for certificate in (None, self.certificate):
            if certificate is not None:
                context.load_cert_chain(certificate)
            client = poplib.POP3("localhost", self.server.ports["pop3"], timeout=60)
            try:
                client.stls(context)
                offered = "EXTERNAL" in client.capa()["SASL"]
                self.assertEqual(offered, certificate is not None)
                if offered:
                    self.assertIn(b"maildrop has 0 messages", client._shortcmd("AUTH EXTERNAL ="))
                    self.assertEqual(client.stat(), (0, 0))
            finally:
                client.close()
