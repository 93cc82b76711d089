"""AUTH OAUTHBEARER (RFC 7628) on a connection, and with curl."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from tests.accounts.tokens import BOBS, TokenChecker, message
from tests.pop3.maildrops import POP3TestCase
from tests.pop3.test_clients import ProgramTestCase

REMOTE = ("192.0.2.9", 4000)
#: A control-A.
DUMMY = b"AQ==\r\n"


def line(said: bytes) -> bytes:
    return b64encode(said) + b"\r\n"


class TokenTests(POP3TestCase):
    def furnish(self) -> None:
        super().furnish()
        self.portal.registerChecker(TokenChecker())  # type: ignore[arg-type]

    def test_login(self) -> None:
        """After an empty challenge, as initial response, and with a folder."""
        client = self.connect()
        client.received()
        self.assertIn(b" OAUTHBEARER PLAIN", client.exchange(b"CAPA\r\n"))
        self.assertEqual(client.exchange(b"AUTH OAUTHBEARER\r\n"), b"+ \r\n")
        self.assertIn(b"+OK maildrop has 3", client.exchange(line(message(BOBS, b"bob@example.test#INBOX"))))
        client.drop()
        client = self.connect()
        client.received()
        self.assertIn(b"+OK maildrop has 3", client.exchange(b"AUTH OAUTHBEARER " + line(message(BOBS))))

    def test_refused(self) -> None:
        """The error in JSON, and after the client's response -ERR [AUTH]; then the session goes on."""
        for answer in (DUMMY, b"\r\n", b"*\r\n", line(message(BOBS))):
            client = self.connect()
            client.received()
            challenge = client.exchange(b"AUTH OAUTHBEARER " + line(message(b"wrong", b"bob")))
            self.assertTrue(challenge.startswith(b"+ "))
            self.assertEqual(json.loads(b64decode(challenge[2:]))["status"], "invalid_token")
            self.assertEqual(client.exchange(answer), b"-ERR [AUTH] wrong name or password\r\n")
            self.assertIn(b"-ERR log in first", client.exchange(b"STAT\r\n"))
            self.assertIn(b"+OK maildrop has 3", client.exchange(b"USER bob\r\nPASS hungry\r\n"))
            client.drop()

    def test_refused_pipelined(self) -> None:
        """The same when everything comes at once, and octet by octet."""
        said = b"AUTH OAUTHBEARER " + line(message(b"wrong")) + DUMMY + b"CAPA\r\n"
        for size in (1, len(said)):
            client = self.connect()
            client.received()
            answers = b"".join(client.exchange(said[at : at + size]) for at in range(0, len(said), size))
            lines = answers.split(b"\r\n")
            self.assertEqual(lines[1:3], [b"-ERR [AUTH] wrong name or password", b"+OK capabilities follow"])

    def test_failures_close(self) -> None:
        """As many as may fail, acknowledged or cancelled, and the connection is closed."""
        for answer in (DUMMY, b"*\r\n"):
            client = self.connect()
            client.received()
            for number in range(self.auth.failures_closed):
                self.assertFalse(client.closed)
                client.exchange(b"AUTH OAUTHBEARER " + line(message(b"guess%d" % number)))
                self.assertIn(b"-ERR [AUTH]", client.exchange(answer))
            self.assertTrue(client.closed)

    def test_malformed(self) -> None:
        """No base64, half a message, another's account, an empty auth."""
        for said, answers in (
            (b"bix=x", [b"-ERR malformed base64"]),
            (line(message(BOBS))[:21].strip(), [b"-ERR"]),
            (b64encode(message(BOBS, b"bob\0")), [b"-ERR malformed client response"]),
            (b64encode(message(BOBS, b"alice")), [b"+ ", b"-ERR [AUTH]"]),
            (b64encode(b"n,,\x01auth=\x01\x01"), [b"+ ", b"-ERR no token was given"]),
        ):
            client = self.connect()
            client.received()
            self.assertEqual(client.exchange(b"AUTH OAUTHBEARER\r\n"), b"+ \r\n")
            for answer in answers:
                self.assertTrue(client.exchange(said + b"\r\n").startswith(answer), said)
                said = DUMMY.strip()

    def test_in_the_clear(self) -> None:
        """A token may not travel where a password may not."""
        client = self.connect(peer=REMOTE)
        client.received()
        self.assertNotIn(b"OAUTHBEARER", client.exchange(b"CAPA\r\n"))
        self.assertIn(b"-ERR", client.exchange(b"AUTH OAUTHBEARER " + line(message(BOBS))))


class CurlTests(ProgramTestCase):
    async def test_curl(self) -> None:
        """curl --oauth2-bearer, with a token that is good and with one that is not."""
        self.portal.registerChecker(TokenChecker())  # type: ignore[arg-type]
        port = self.listen("pop3s", tls=True)
        for token, expected in ((BOBS, 0), (b"wrong", 67)):
            said = await self.run_program(
                "curl", "-sS", "--max-time", "20", "--insecure", "--user", "bob@example.test:",
                "--oauth2-bearer", token.decode(), "--login-options", "AUTH=OAUTHBEARER",
                f"pop3s://127.0.0.1:{port}/",
                status=expected,
            )  # fmt: skip
            self.assertEqual(said.count(b"\r\n"), 0 if expected else 3, said)
