"""AUTH OAUTHBEARER (RFC 7628) at a submission server."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from twisted.cred.portal import Portal

from tests.accounts.tokens import BOBS, TokenChecker, message
from tests.connector import Client, connect
from tests.smtp.servers import PLAIN_ALICE, ServerTestCase

HELLO = b"EHLO client.test\r\n"
#: A control-A.
DUMMY = b"AQ==\r\n"


def line(said: bytes) -> bytes:
    return b64encode(said) + b"\r\n"


class TokenTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        checkers: Any = [self.checker, TokenChecker()]
        self.portal = Portal(self.realm, checkers)

    def greeted(self) -> Client:
        client = connect(self.serve("submissions"), peer=("192.0.2.9", 4000))
        self.assertIn(b"AUTH OAUTHBEARER PLAIN LOGIN\r\n", client.exchange(HELLO))
        return client

    def test_login(self) -> None:
        """As initial response and after an empty challenge; a token longer than a command line as well."""
        long = message(BOBS, more=b"comment=" + b"x" * 4000 + b"\x01")
        for said, codes in (
            (b"AUTH OAUTHBEARER " + line(message(BOBS, b"bob@example.test")), [b"235"]),
            (b"AUTH OAUTHBEARER\r\n" + line(message(BOBS)), [b"334", b"235"]),
            (b"AUTH OAUTHBEARER\r\n" + line(long), [b"334", b"235"]),
        ):
            client = self.greeted()
            self.assertEqual(self.codes(client, said), codes)
            self.assertEqual(self.codes(client, b"MAIL FROM:<bob@example.test>\r\n"), [b"250"])

    def test_refused(self) -> None:
        """The error in JSON, then 535 to whatever the client answers; a login after it works."""
        for answer, code in (
            (DUMMY, b"535"),
            (b"\r\n", b"535"),
            (line(message(BOBS)), b"535"),
            (b"*\r\n", b"501"),
        ):
            client = self.greeted()
            challenge = client.exchange(b"AUTH OAUTHBEARER " + line(message(b"wrong")))
            self.assertTrue(challenge.startswith(b"334 "))
            self.assertEqual(json.loads(b64decode(challenge[4:]))["status"], "invalid_token")
            self.assertEqual(self.codes(client, answer), [code])
            self.assertEqual(self.codes(client, b"MAIL FROM:<bob@example.test>\r\n"), [b"530"])
            self.assertEqual(self.codes(client, PLAIN_ALICE), [b"235"])

    def test_malformed(self) -> None:
        """Half a message, no base64, an empty auth."""
        for said, codes in (
            (line(message(BOBS)[:-1]), [b"334", b"501"]),
            (b"bix=x\r\n", [b"334", b"501"]),
            (line(b"n,,\x01auth=\x01\x01") + DUMMY, [b"334", b"334", b"501"]),
        ):
            self.assertEqual(self.codes(self.greeted(), b"AUTH OAUTHBEARER\r\n" + said), codes)
