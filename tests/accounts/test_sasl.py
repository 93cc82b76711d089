from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient
from twisted.cred.portal import Portal
from twisted.cred.strcred import makeChecker
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.credentials import IScramKeys, IScramProof, Password, ScramProof
from mailftp.accounts.login import LoginRefused
from mailftp.accounts.passwords import make_scram_keys
from mailftp.accounts.sasl import Challenge, Channel, Exchange, Mechanisms, Proven, SASLFault
from mailftp.accounts.scram import Scram
from mailftp.store.records import ScramKeys
from tests.accounts.logins import REMOTE, LoginTestCase

PLAIN_ALLOWED = Channel(secure=True, plaintext_allowed=True)
CLEAR = Channel(secure=False, plaintext_allowed=False)
BOUND = Channel(secure=True, plaintext_allowed=True, exporter=b"\x01" * 32)

#: RFC 7677 section 3.
RFC_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


@implementer(IScramKeys)
class RfcKeys:
    """The account of RFC 7677's example."""

    credentialInterfaces = (IScramProof,)

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def scram_keys(self, username: bytes) -> Deferred[ScramKeys]:
        self.asked.append(username)
        return succeed(make_scram_keys(b"pencil", RFC_SALT, 4096))

    def requestAvatarId(self, credentials: Any) -> Any:
        raise AssertionError("not asked here")


class ExchangeTestCase(SynchronousTestCase):
    def challenge(self, exchange: Exchange, response: bytes) -> bytes:
        answer = self.successResultOf(exchange.step(response))
        assert isinstance(answer, Challenge), answer
        return answer.data

    def proven(self, exchange: Exchange, response: bytes) -> Proven:
        answer = self.successResultOf(exchange.step(response))
        assert isinstance(answer, Proven), answer
        return answer

    def refused(self, exchange: Exchange, response: bytes) -> None:
        self.failureResultOf(exchange.step(response), SASLFault)


class OfferTests(SynchronousTestCase):
    def test_by_channel(self) -> None:
        """Strongest first; passwords only where they may be sent; -PLUS only with something to bind to."""
        mechanisms = Mechanisms(Portal(None, [RfcKeys(), makeChecker("memory:a:b")]))
        self.assertEqual(mechanisms.offered(CLEAR), ("SCRAM-SHA-256",))
        self.assertEqual(mechanisms.offered(PLAIN_ALLOWED), ("SCRAM-SHA-256", "PLAIN", "LOGIN"))
        self.assertEqual(mechanisms.offered(BOUND), ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"))

    def test_by_checker(self) -> None:
        """A checker without SCRAM keys means no SCRAM, one without passwords no PLAIN."""
        self.assertEqual(
            Mechanisms(Portal(None, [makeChecker("memory:a:b")])).offered(BOUND), ("PLAIN", "LOGIN")
        )
        self.assertEqual(Mechanisms(Portal(None, ())).offered(BOUND), ())
        self.assertEqual(Mechanisms(Portal(None, [makeChecker("anonymous")])).offered(BOUND), ())

    def test_begin(self) -> None:
        """What is offered can begin, its name in any case; what is not, cannot."""
        mechanisms = Mechanisms(Portal(None, [RfcKeys(), makeChecker("memory:a:b")]))
        for name in mechanisms.offered(BOUND):
            self.assertIsInstance(mechanisms.begin(name.lower(), BOUND), Exchange)
        for name in ("PLAIN", "SCRAM-SHA-256-PLUS", "CRAM-MD5", "", "scram-sha-1"):
            self.assertIsNone(mechanisms.begin(name, CLEAR), name)


class PlainTests(ExchangeTestCase):
    def begin(self) -> Exchange:
        exchange = Mechanisms(Portal(None, [makeChecker("memory:a:b")])).begin("PLAIN", PLAIN_ALLOWED)
        assert exchange is not None
        return exchange

    def test_right(self) -> None:
        """With and without an authorization identity equal to the name; the client speaks first."""
        for message in (b"\0bob\0hungry", b"bob\0bob\0hungry"):
            exchange = self.begin()
            self.assertTrue(exchange.client_first)
            proven = self.proven(exchange, message)
            self.assertEqual(proven, Proven(Password(b"bob", b"hungry")))

    def test_malformed(self) -> None:
        """NULs too few and too many, empty parts, another's identity, no UTF-8, too long: all refused."""
        for message in (
            b"",
            b"bob",
            b"bob\0hungry",
            b"\0bob\0hungry\0",
            b"\0\0\0",
            b"\0\0hungry",
            b"\0bob\0",
            b"alice\0bob\0hungry",
            b"BOB\0bob\0hungry",
            b"\0\xff\0hungry",
            b"\0" + b"x" * 321 + b"\0y",
            b"\0bob\0" + b"x" * 1025,
            b"\0" * 100_000,
        ):
            self.refused(self.begin(), message)

    def test_once(self) -> None:
        """A second message to the same exchange is refused."""
        exchange = self.begin()
        self.proven(exchange, b"\0bob\0hungry")
        self.refused(exchange, b"\0bob\0hungry")

    @given(st.binary(max_size=30) | st.lists(st.sampled_from([b"\0", b"bob", b"a", b""])).map(b"".join))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, message: bytes) -> None:
        """Whatever comes is refused, or is a name and a password for that very name."""
        results: list[Any] = []
        self.begin().step(message).addBoth(results.append)
        (result,) = results
        if isinstance(result, Proven):
            authorization, name, password = message.split(b"\0")
            self.assertEqual(result.credentials, Password(name, password))
            self.assertIn(authorization, (b"", name))
        else:
            self.assertIs(result.type, SASLFault)


class LoginMechanismTests(ExchangeTestCase):
    def begin(self) -> Exchange:
        exchange = Mechanisms(Portal(None, [makeChecker("memory:a:b")])).begin("LOGIN", PLAIN_ALLOWED)
        assert exchange is not None
        return exchange

    def test_prompts(self) -> None:
        """Two prompts, the server first."""
        exchange = self.begin()
        self.assertFalse(exchange.client_first)
        self.assertEqual(self.challenge(exchange, b""), b"Username:")
        self.assertEqual(self.challenge(exchange, b"bob"), b"Password:")
        self.assertEqual(self.proven(exchange, b"hungry").credentials, Password(b"bob", b"hungry"))
        self.refused(exchange, b"again")

    def test_initial_response(self) -> None:
        """A name that comes with the command is not asked for again."""
        exchange = self.begin()
        self.assertEqual(self.challenge(exchange, b"bob"), b"Password:")
        self.assertEqual(self.proven(exchange, b"hungry").credentials, Password(b"bob", b"hungry"))

    def test_malformed(self) -> None:
        """Empty, with a NUL, too long, no UTF-8: refused, and the exchange is over."""
        for name in (b"", b"a\0b", b"x" * 321, b"\xff"):
            exchange = self.begin()
            self.challenge(exchange, b"")
            self.refused(exchange, name)
            self.refused(exchange, b"bob")
        for password in (b"", b"a\0b", b"x" * 1025):
            exchange = self.begin()
            self.challenge(exchange, b"bob")
            self.refused(exchange, password)


class ScramTests(ExchangeTestCase):
    def begin(self, channel: Channel = PLAIN_ALLOWED, plus: bool = False, nonce: str | None = None) -> Scram:
        self.keys = RfcKeys()
        return Scram(self.keys, channel, plus=plus, nonce=nonce)

    def test_example_of_rfc_7677(self) -> None:
        """The exchange of RFC 7677 section 3, octet for octet."""
        exchange = self.begin(nonce=RFC_NONCE)
        self.assertEqual(
            self.challenge(exchange, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"),
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        )
        proven = self.proven(
            exchange,
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        self.assertEqual(proven.final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        assert isinstance(proven.credentials, ScramProof)
        self.assertEqual(proven.credentials.username, b"user")
        keys = make_scram_keys(b"pencil", RFC_SALT, 4096)
        signature = hmac.digest(keys.stored_key, proven.credentials.auth_message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(signature, proven.credentials.proof, strict=True))
        self.assertEqual(hashlib.sha256(client_key).digest(), keys.stored_key)

    def test_names_are_unescaped(self) -> None:
        """=2C and =3D in a name are "," and "="."""
        exchange = self.begin()
        self.challenge(exchange, b"n,a=a=2Cb=3D2C,n=a=2Cb=3D2C,r=abc")
        self.assertEqual(self.keys.asked, [b"a,b=2C"])

    def test_first_malformed(self) -> None:
        """A first message that is not one, or that acts for somebody else, or binds what we do not know."""
        for message in (
            b"",
            b"n,,",
            b"n,,n=user",
            b"n,,n=,r=abc",
            b"n,,n=user,r=",
            b"n,,n=us=er,r=abc",
            b"n,,n=us=2cer,r=abc",
            b"n,,m=ext,n=user,r=abc",
            b"n,a=other,n=user,r=abc",
            b"p=tls-exporter,,n=user,r=abc",
            b"x,,n=user,r=abc",
            b"n,,n=\xff,r=abc",
            b"n,,n=user,r=a b",
            b"n,,n=user,r=abc,",
            b"n,,n=user,r=abc\n",
            b"n,,n=us\0er,r=abc",
            b"n,,n=" + b"x" * 321 + b",r=abc",
            b"n,,n=user,r=" + b"x" * 257,
            b"n,,n=user,r=abc,x=" + b"y" * 5000,
        ):
            exchange = self.begin()
            self.refused(exchange, message)
            self.assertEqual(self.keys.asked, [])
            self.refused(exchange, b"c=biws,r=abc,p=" + b"A" * 43 + b"=")

    def test_final_malformed(self) -> None:
        """A last message with another nonce, another binding, a short proof or an extension we must know."""
        nonce = b"abc" + RFC_NONCE.encode()
        proof = b",p=" + b"A" * 43 + b"="
        for message in (
            b"",
            b"c=biws,r=abc" + proof,
            b"c=biws,r=" + nonce + b"x" + proof,
            b"c=eSws,r=" + nonce + proof,
            b"c=bi,r=" + nonce + proof,
            b"c=,r=" + nonce + proof,
            b"c=biws,r=" + nonce,
            b"c=biws,r=" + nonce + b",p=AAAA",
            b"c=biws,r=" + nonce + proof + b",x=y",
            b"c=biws,r=" + nonce + b"," + b"x=" + b"y" * 5000 + proof,
        ):
            exchange = self.begin(nonce=RFC_NONCE)
            self.challenge(exchange, b"n,,n=user,r=abc")
            self.refused(exchange, message)
            # One try for each exchange: the right answer comes too late.
            self.refused(exchange, b"c=biws,r=" + nonce + proof)

    def test_extensions_pass(self) -> None:
        """Optional extensions are signed with the rest and otherwise passed over."""
        exchange = self.begin(nonce="n")
        self.challenge(exchange, b"n,,n=user,r=abc,x=some thing")
        proven = self.proven(exchange, b"c=biws,r=abcn,y=z,p=" + b"A" * 43 + b"=")
        assert isinstance(proven.credentials, ScramProof)
        self.assertTrue(proven.credentials.auth_message.startswith(b"n=user,r=abc,x=some thing,r=abcn,s="))
        self.assertTrue(proven.credentials.auth_message.endswith(b",c=biws,r=abcn,y=z"))

    def test_downgrade(self) -> None:
        """ "y" where -PLUS is offered means that somebody removed it from the list."""
        self.refused(self.begin(BOUND), b"y,,n=user,r=abc")
        self.challenge(self.begin(PLAIN_ALLOWED), b"y,,n=user,r=abc")
        self.challenge(self.begin(BOUND), b"n,,n=user,r=abc")

    def test_plus_needs_binding(self) -> None:
        """-PLUS without a binding, or with one of another kind, is refused."""
        for message in (
            b"n,,n=user,r=abc",
            b"y,,n=user,r=abc",
            b"p=tls-unique,,n=user,r=abc",
            b"p=,,n=user,r=abc",
        ):
            self.refused(self.begin(BOUND, plus=True), message)

    def test_bound_to_another_connection(self) -> None:
        """Octets that another TLS connection exports are refused: a man in the middle has two."""
        header = b"p=tls-exporter,,"
        for data, right in ((b"\x01" * 32, True), (b"\x02" * 32, False), (b"", False)):
            exchange = self.begin(BOUND, plus=True, nonce="n")
            self.challenge(exchange, header + b"n=user,r=abc")
            final = b"c=" + base64.b64encode(header + data) + b",r=abcn,p=" + b"A" * 43 + b"="
            if right:
                self.proven(exchange, final)
            else:
                self.refused(exchange, final)

    def test_nonces_differ(self) -> None:
        """No two exchanges have one nonce, so none can be replayed."""
        nonces = {self.challenge(self.begin(), b"n,,n=user,r=abc").split(b",")[0] for _ in range(20)}
        self.assertEqual(len(nonces), 20)

    @given(st.binary(max_size=60) | st.text("npy,=ar0 c-tls", max_size=40).map(str.encode))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, message: bytes) -> None:
        """Whatever comes first or last is answered or refused, and nothing else."""
        results: list[Any] = []
        self.begin(BOUND).step(message).addBoth(results.append)
        exchange = self.begin()
        self.challenge(exchange, b"n,,n=user,r=abc")
        exchange.step(message).addBoth(results.append)
        for result in results:
            self.assertTrue(isinstance(result, Challenge) or result.type is SASLFault)


class ScramLoginTests(LoginTestCase):
    """Whole logins, with scramp as the client."""

    async def run_scram(self, name: str, password: str, channel: Channel = PLAIN_ALLOWED) -> Any:
        """What Login answers; the server's signature is checked by the client."""
        mechanisms = Mechanisms(self.portal)
        offered = [m for m in mechanisms.offered(channel) if m.startswith("SCRAM")]
        client = ScramClient(offered, name, password)
        exchange = mechanisms.begin(client.mechanism_name, channel)
        assert exchange is not None
        first = await exchange.step(client.get_client_first().encode())
        assert isinstance(first, Challenge)
        client.set_server_first(first.data.decode())
        proven = await exchange.step(client.get_client_final().encode())
        assert isinstance(proven, Proven) and proven.final is not None
        attempt = self.login.attempt(
            proven.credentials, peer=REMOTE, service="imaps", context="x", interfaces=(ISubmitter,)
        )
        ended: list[Any] = []
        attempt.addBoth(ended.append)
        self.clock.pump([20.0])
        if not isinstance(ended[0], Exception) and hasattr(ended[0], "name"):
            client.set_server_final(proven.final.decode())
        return ended[0], client.mechanism_name, first.data

    async def test_right(self) -> None:
        """The right password logs in, and the client believes the server."""
        found, used, _ = await self.run_scram("bob", "hungry")
        self.assertEqual(found.name, "bob@example.test")
        self.assertEqual(used, "SCRAM-SHA-256")

    async def test_bound(self) -> None:
        """With -PLUS too; the client is written out here, as scramp knows no tls-exporter."""
        for password, right in ((b"hungry", True), (b"wrong", False)):
            exchange = Mechanisms(self.portal).begin("SCRAM-SHA-256-PLUS", BOUND)
            assert exchange is not None and BOUND.exporter is not None
            header, bare = b"p=tls-exporter,,", b"n=bob,r=abc"
            first = await exchange.step(header + bare)
            assert isinstance(first, Challenge)
            said = dict(part.split(b"=", 1) for part in first.data.split(b","))
            salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(said[b"s"]), int(said[b"i"]))
            client_key = hmac.digest(salted, b"Client Key", "sha256")
            without = b"c=" + base64.b64encode(header + BOUND.exporter) + b",r=" + said[b"r"]
            signature = hmac.digest(
                hashlib.sha256(client_key).digest(), b",".join((bare, first.data, without)), "sha256"
            )
            proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))
            proven = await exchange.step(without + b",p=" + proof)
            assert isinstance(proven, Proven)
            attempt = self.login.attempt(
                proven.credentials, peer=REMOTE, service="imaps", context="x", interfaces=(ISubmitter,)
            )
            self.clock.pump([20.0])
            if right:
                self.assertEqual(self.successResultOf(attempt).name, "bob@example.test")
            else:
                self.failureResultOf(attempt, LoginRefused)

    async def test_wrong_unknown_disabled(self) -> None:
        """Each is refused at the end and in the same way; the first answer tells nothing apart."""
        firsts = []
        for name, password in (("bob", "wrong"), ("nobody", "hungry"), ("x y", "hungry")):
            failure, _, first = await self.run_scram(name, password)
            self.assertIs(failure.type, LoginRefused)
            firsts.append([(part[:2], len(part)) for part in first.split(b",")][1:])
        self.assertEqual(firsts[0], firsts[1])
        self.assertEqual(firsts[0], firsts[2])

    async def test_unknown_salt_stays(self) -> None:
        """An unknown name has one salt, however it is written, and each name another."""
        salts = [
            (await self.checker.scram_keys(name)).salt
            for name in (b"ghost", b"GHOST@example.test", b"ghost", b"other")
        ]
        self.assertEqual(len(set(salts[:3])), 1)
        self.assertNotEqual(salts[0], salts[3])

    async def test_changed_in_between(self) -> None:
        """A password that is changed between the two steps no longer opens."""
        from mailftp.accounts.passwords import make_verifier
        from tests.accounts.stores import CHEAP

        exchange = Mechanisms(self.portal).begin("SCRAM-SHA-256", PLAIN_ALLOWED)
        assert exchange is not None
        client = ScramClient(["SCRAM-SHA-256"], "bob", "hungry")
        first = await exchange.step(client.get_client_first().encode())
        assert isinstance(first, Challenge)
        client.set_server_first(first.data.decode())
        bob, _ = self.store.accounts["bob@example.test"]
        self.store.change(bob.address, bob, make_verifier("new", CHEAP))
        proven = await exchange.step(client.get_client_final().encode())
        assert isinstance(proven, Proven)
        attempt = self.login.attempt(
            proven.credentials, peer=REMOTE, service="imaps", context="x", interfaces=(ISubmitter,)
        )
        self.clock.pump([20.0])
        self.assertIs(self.failureResultOf(attempt).type, LoginRefused)
