from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.bearer import Bearer, refusal
from mailftp.accounts.credentials import BearerToken
from mailftp.accounts.exchange import Challenge, Channel, Exchange, Proven, SASLFault
from mailftp.accounts.login import LoginRefused, LoginThrottled
from mailftp.accounts.sasl import Mechanisms
from tests.accounts.logins import REMOTE, LoginTestCase
from tests.accounts.tokens import BOBS, TokenChecker, message

CLEAR = Channel(secure=False, plaintext_allowed=False)
ALLOWED = Channel(secure=True, plaintext_allowed=True)
ERROR = {
    "status": "invalid_token",
    "scope": "mail",
    "openid-configuration": "https://id.example.test/.well-known/openid-configuration",
}


class ExchangeTests(SynchronousTestCase):
    def begin(self) -> Exchange:
        return Bearer(b"{}")

    def test_offered(self) -> None:
        """Only where a checker takes tokens, and one may be sent."""
        taking = Mechanisms(Portal(None, [TokenChecker()]))  # type: ignore[list-item]
        self.assertEqual(taking.offered(ALLOWED), ("OAUTHBEARER",))
        self.assertEqual(taking.offered(CLEAR), ())
        self.assertIsNone(taking.begin("OAUTHBEARER", CLEAR))
        self.assertIsNone(Mechanisms(Portal(None, ())).begin("OAUTHBEARER", ALLOWED))

    def test_example(self) -> None:
        """The message of RFC 7628 section 4.1."""
        exchange = self.begin()
        self.assertTrue(exchange.client_first)
        answer = self.successResultOf(
            exchange.step(
                b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer "
                + BOBS
                + b"\x01\x01"
            )
        )
        self.assertEqual(
            answer,
            Proven(BearerToken(b"user@example.com", BOBS, b"server.example.com", 143), None, b"{}"),
        )
        self.failureResultOf(exchange.step(b"\x01"), SASLFault)

    def test_forms(self) -> None:
        """Without a name, with one that is escaped, "y", the scheme in any case, keys that we do not know."""
        for said, expected in (
            (b"n,,\x01auth=Bearer abc\x01\x01", BearerToken(b"", b"abc")),
            (b"y,,\x01auth=bEARER  a.b-c_d~e+f/g==\x01\x01", BearerToken(b"", b"a.b-c_d~e+f/g==")),
            (b"n,a=a=2Cb=3D2C,\x01auth=Bearer abc\x01\x01", BearerToken(b"a,b=2C", b"abc")),
            (
                b"n,,\x01user=x y\tz\r\n\x01auth=Bearer a\x01port=65535\x01host=\x01\x01",
                BearerToken(b"", b"a", b"", 65535),
            ),
        ):
            answer = self.successResultOf(self.begin().step(said))
            assert isinstance(answer, Proven)
            self.assertEqual(answer.credentials, expected)

    def test_malformed(self) -> None:
        """Channel binding, separators too few and too many, keys given twice, no token."""
        for said in (
            b"",
            b"\x01",
            b"n,,",
            b"n,,\x01",
            b"n,,\x01\x01",
            b"n,,auth=Bearer abc\x01\x01",
            b"n,\x01auth=Bearer abc\x01\x01",
            b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
            b"F,n,,\x01auth=Bearer abc\x01\x01",
            b"n,a=,\x01auth=Bearer abc\x01\x01",
            b"n,a=\xff,\x01auth=Bearer abc\x01\x01",
            b"n,a=b\0,\x01auth=Bearer abc\x01\x01",
            b"n,a=b=2c,\x01auth=Bearer abc\x01\x01",
            b"n,b=bob,\x01auth=Bearer abc\x01\x01",
            b"n,a=" + b"x" * 321 + b",\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer abc\x01",
            b"n,,\x01auth=Bearer abc",
            b"n,,\x01auth=Bearer abc\x01\x01\x01",
            b"n,,\x01\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer abc\x01\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer abc\x01auth=Bearer abd\x01\x01",
            b"n,,\x01auth=Bearer abc\x01auth=\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer\x01\x01",
            b"n,,\x01auth=Bearer =\x01\x01",
            b"n,,\x01auth=Bearer a b\x01\x01",
            b"n,,\x01auth=Bearer a=b\x01\x01",
            b"n,,\x01auth=Bearer a\0b\x01\x01",
            b"n,,\x01auth=Basic abc\x01\x01",
            b"n,,\x01auth=abc\x01\x01",
            b"n,,\x01host=a\x01\x01",
            b"n,,\x01a1=x\x01auth=Bearer abc\x01\x01",
            b"n,,\x01=x\x01auth=Bearer abc\x01\x01",
            b"n,,\x01port=0\x01auth=Bearer abc\x01\x01",
            b"n,,\x01port=65536\x01auth=Bearer abc\x01\x01",
            b"n,,\x01port=+1\x01auth=Bearer abc\x01\x01",
            b"n,,\x01port=\x01auth=Bearer abc\x01\x01",
            b"n,,\x01auth=Bearer " + b"x" * 8192 + b"\x01\x01",
        ):
            exchange = self.begin()
            self.failureResultOf(exchange.step(said), SASLFault)
            self.failureResultOf(exchange.step(message(b"abc")), SASLFault)

    def test_cut(self) -> None:
        """No beginning of a message is one."""
        whole = message(BOBS, b"bob", b"host=x\x01port=1\x01")
        for end in range(len(whole)):
            self.failureResultOf(self.begin().step(whole[:end]), SASLFault)

    def test_question(self) -> None:
        """An empty auth asks where to have a token: it is told, and the exchange fails."""
        exchange = Bearer(refusal(TokenChecker()))
        answer = self.successResultOf(exchange.step(b"n,,\x01auth=\x01\x01"))
        assert isinstance(answer, Challenge)
        self.assertEqual(json.loads(answer.data), ERROR)
        self.failureResultOf(exchange.step(b"\x01"), SASLFault)

    def test_checker_that_tells_nothing(self) -> None:
        """Any checker of tokens will do."""
        self.assertEqual(refusal(object()), b'{"status":"invalid_token"}')

    @given(
        st.binary(max_size=40)
        | st.lists(
            st.sampled_from([b"n,,", b"n,a=bob,", b"\x01", b"auth=", b"Bearer ", b"abc", b"host=x", b"="])
        ).map(b"".join)
    )
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, said: bytes) -> None:
        """Whatever comes is refused, answered, or is a token that stands in it."""
        results: list[Any] = []
        self.begin().step(said).addBoth(results.append)
        (result,) = results
        if isinstance(result, Proven):
            assert isinstance(result.credentials, BearerToken)
            self.assertIn(b"Bearer " + result.credentials.token + b"\x01", said)
            self.assertIn(result.credentials.username, said)
        elif not isinstance(result, Challenge):
            self.assertIs(result.type, SASLFault)


class LoginTests(LoginTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tokens = TokenChecker()
        self.portal.registerChecker(self.tokens)  # type: ignore[arg-type]

    def attempt(self, said: bytes) -> Any:
        exchange = Mechanisms(self.portal).begin("OAUTHBEARER", ALLOWED)
        assert exchange is not None
        proven = self.successResultOf(exchange.step(said))
        assert isinstance(proven, Proven) and proven.refusal is not None
        self.assertEqual(json.loads(proven.refusal), ERROR)
        attempt = self.login.attempt(
            proven.credentials, peer=REMOTE, service="pop3s", context="x", interfaces=(ISubmitter,)
        )
        self.clock.pump([20.0])
        return attempt

    def test_right(self) -> None:
        """A token opens its account, with its name or without, and the checker hears where it comes from."""
        for name in (b"", b"bob", b"BOB@example.test"):
            self.assertEqual(self.successResultOf(self.attempt(message(BOBS, name))).name, "bob@example.test")
        self.assertEqual(self.successResultOf(self.attempt(message(b"for-alice"))).name, "alice@example.test")
        self.assertEqual((self.tokens.asked[0].peer, self.tokens.asked[0].service), (REMOTE, "pop3s"))

    def test_another(self) -> None:
        """Bob's token does not open alice's account, nor his own for whoever asked for hers."""
        for said in (message(BOBS, b"alice"), message(BOBS, b"ghost"), message(b"for-alice", b"bob")):
            self.failureResultOf(self.attempt(said), LoginRefused)
        self.assertEqual(self.sessions.count(1) + self.sessions.count(2), 0)

    def test_stale(self) -> None:
        """A phone that tries one old token for hours is refused each time, and locks out nobody."""
        for _ in range(100):
            self.failureResultOf(self.attempt(message(b"expired", b"bob")), LoginRefused)
        self.assertEqual(self.successResultOf(self.attempt(message(BOBS))).name, "bob@example.test")

    def test_guessing(self) -> None:
        """A hundred different ones are guesses, and most are turned away unseen."""
        for number in range(100):
            attempt = self.attempt(message(b"guess%d" % number))
            self.failureResultOf(attempt, LoginRefused, LoginThrottled)
        self.assertLess(len(self.tokens.asked), 80)

    def test_token_is_nowhere(self) -> None:
        """No line of the log and no repr has it."""
        self.failureResultOf(self.attempt(message(b"SeCrEt", b"bob")), LoginRefused)
        self.assertNotIn("SeCrEt", repr(self.lines) + repr(self.tokens.asked))
