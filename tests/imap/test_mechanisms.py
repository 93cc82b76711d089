"""AUTHENTICATE by certificate and by token: RFC 4422 appendix A, RFC 7628."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from tests import certificates
from tests.accounts.tokens import BOBS, TokenChecker, message
from tests.connector import Client
from tests.imap.mailboxes import IMAPTestCase

REMOTE = ("192.0.2.9", 4000)
CLIENTS = certificates.Authority("Clients")
BOB = CLIENTS.issue(["bob@example.test"], client=True)
#: A control-A.
DUMMY = b"AQ==\r\n"


def line(said: bytes) -> bytes:
    return b64encode(said) + b"\r\n"


class ExternalTests(IMAPTestCase):
    clients = CLIENTS

    def secured(self, certificate: certificates.Issued | None) -> Client:
        client = self.connect(peer=REMOTE, factory=self.make_factory(tls=True))
        client.received()
        client.exchange(b"a STARTTLS\r\n")
        client.start_tls(certificate=certificate)
        return client

    def test_login(self) -> None:
        """With an empty initial response, after an empty challenge, and by name."""
        for said in (
            b"a AUTHENTICATE EXTERNAL =\r\n",
            b"a AUTHENTICATE EXTERNAL " + line(b"bob@example.test"),
            b"a AUTHENTICATE EXTERNAL\r\n\r\n",
        ):
            client = self.secured(BOB)
            self.assertIn(b" AUTH=EXTERNAL ", client.exchange(b"c CAPABILITY\r\n"))
            self.assertIn(b"a OK [CAPABILITY", client.exchange(said))
            self.assertIn(b"* 3 EXISTS", client.exchange(b"b SELECT INBOX\r\n"))

    def test_refused(self) -> None:
        """Another's name, and no certificate."""
        client = self.secured(BOB)
        answer = client.exchange(b"a AUTHENTICATE EXTERNAL " + line(b"alice@example.test"))
        self.assertIn(b"a NO [AUTHENTICATIONFAILED]", answer)
        client = self.secured(None)
        self.assertNotIn(b"EXTERNAL", client.exchange(b"c CAPABILITY\r\n"))
        self.assertIn(b"a NO [CANNOT]", client.exchange(b"a AUTHENTICATE EXTERNAL =\r\n"))


class TokenTests(IMAPTestCase):
    def furnish(self) -> None:
        super().furnish()
        self.portal.registerChecker(TokenChecker())  # type: ignore[arg-type]

    def test_login(self) -> None:
        """As initial response, and after an empty challenge."""
        for before, said in ((b" ", message(BOBS)), (b"\r\n", message(BOBS, b"bob@example.test"))):
            client = self.connect()
            self.assertIn(b"AUTH=OAUTHBEARER", client.exchange(b"c CAPABILITY\r\n"))
            answer = client.exchange(b"a AUTHENTICATE OAUTHBEARER" + before + line(said))
            self.assertIn(b"a OK [CAPABILITY", answer)
            self.assertIn(b"* 3 EXISTS", client.exchange(b"b SELECT INBOX\r\n"))

    def test_refused(self) -> None:
        """The error in JSON, then NO to whatever the client answers; three of them close."""
        client = self.connect()
        client.received()
        for answer in (DUMMY, b"*\r\n", b"\r\n"):
            challenge = client.exchange(b"a AUTHENTICATE OAUTHBEARER " + line(message(b"wrong")))
            self.assertTrue(challenge.startswith(b"+ "))
            self.assertEqual(json.loads(b64decode(challenge[2:]))["status"], "invalid_token")
            self.assertIn(b"a NO [AUTHENTICATIONFAILED]", client.exchange(answer))
        self.assertTrue(client.closed)
