"""AUTH EXTERNAL (RFC 4422 appendix A) at a submission server, under real TLS."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal

from mailftp.accounts.checkers import CertificateChecker
from mailftp.intake.intake import Intake
from tests import certificates
from tests.connector import Client, connect
from tests.smtp.servers import ServerTestCase

HELLO = b"EHLO client.test\r\n"
CLIENTS = certificates.Authority("Clients")
ALICE = CLIENTS.issue(["alice@example.test"], client=True)
BOTH = CLIENTS.issue(["alice@example.test", "bob@example.test"], client=True)


class ExternalTests(ServerTestCase):
    intake: Intake

    def setUp(self) -> None:
        super().setUp()
        self.tls = certificates.service(self.mktemp(), "submission", CLIENTS)
        checkers: Any = [self.checker, CertificateChecker(self.store, ("example.test",))]
        self.portal = Portal(self.realm, checkers)

    def secured(self, certificate: certificates.Issued | None, name: str = "submission") -> Client:
        """A client that has said EHLO under TLS."""
        client = connect(self.serve(name), peer=("192.0.2.9", 4000))
        client.exchange(HELLO + b"STARTTLS\r\n")
        client.start_tls(certificate=certificate)
        return client

    def test_login(self) -> None:
        """Offered first; with an empty initial response, after an empty challenge, and by name."""
        for certificate, said, codes in (
            (ALICE, b"AUTH EXTERNAL =\r\n", [b"235"]),
            (ALICE, b"AUTH EXTERNAL\r\n\r\n", [b"334", b"235"]),
            (ALICE, b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS50ZXN0\r\n", [b"235"]),
            (BOTH, b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS50ZXN0\r\n", [b"235"]),
        ):
            client = self.secured(certificate)
            self.assertIn(b"AUTH EXTERNAL PLAIN LOGIN\r\n", client.exchange(HELLO))
            self.assertEqual(self.codes(client, said), codes)
            self.assertEqual(self.codes(client, b"MAIL FROM:<alice@example.test>\r\n"), [b"250"])

    def test_refused(self) -> None:
        """Another's name, none among several, a NUL, and no base64."""
        for certificate, said, codes in (
            (ALICE, b"AUTH EXTERNAL Ym9iQGV4YW1wbGUudGVzdA==\r\n", [b"535"]),
            (BOTH, b"AUTH EXTERNAL =\r\n", [b"535"]),
            (ALICE, b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS50ZXN0AA==\r\n", [b"501"]),
            (ALICE, b"AUTH EXTERNAL YWxpY2VAZXhhbXBsZS50ZX\r\n", [b"501"]),
            (ALICE, b"AUTH EXTERNAL\r\n*\r\n", [b"334", b"501"]),
        ):
            client = self.secured(certificate)
            client.exchange(HELLO)
            self.assertEqual(self.codes(client, said), codes)
            self.assertEqual(self.codes(client, b"MAIL FROM:<alice@example.test>\r\n"), [b"530"])

    def test_not_offered(self) -> None:
        """Without a certificate, in the clear, and at the MX, which asks nobody for one."""
        client = self.secured(None)
        self.assertNotIn(b"EXTERNAL", client.exchange(HELLO))
        self.assertEqual(self.codes(client, b"AUTH EXTERNAL =\r\n"), [b"504"])
        client = connect(self.serve("submission"))
        self.assertNotIn(b"EXTERNAL", client.exchange(HELLO))
        self.tls = certificates.service(self.mktemp(), "smtp", CLIENTS)
        client = self.secured(ALICE, "smtp")
        self.assertNotIn(b"AUTH", client.exchange(HELLO))
