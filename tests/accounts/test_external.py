from __future__ import annotations

from typing import Any

from cryptography import x509
from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.checkers import CertificateChecker
from mailftp.accounts.credentials import ClientCertificate
from mailftp.accounts.exchange import Channel, Exchange, Proven, SASLFault
from mailftp.accounts.external import _utf8_string as utf8_string
from mailftp.accounts.external import certified_addresses
from mailftp.accounts.login import LoginRefused
from mailftp.accounts.sasl import Mechanisms
from tests.accounts.logins import DOMAINS, REMOTE, LoginTestCase
from tests.accounts.stores import FewAccounts
from tests.certificates import Authority

CLIENTS = Authority("Clients")
BOB = CLIENTS.issue(["bob@example.test"], client=True).certificate


def utf8_mailbox(value: bytes) -> x509.OtherName:
    """SmtpUTF8Mailbox with this DER value."""
    return x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), value)


def channel(certificate: x509.Certificate | None) -> Channel:
    return Channel(secure=True, plaintext_allowed=True, certificate=certificate)


class NamesTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """E-mail addresses, each once, in the form in which accounts are kept; nothing else is a name."""
        issued = CLIENTS.issue(
            ["Bob@Example.TEST", "bob@example.test", "alice@example.test", "bob"],
            client=True,
            others=[
                x509.DNSName("carol@example.test"),
                x509.UniformResourceIdentifier("mailto:dave@example.test"),
                utf8_mailbox(b"\x0c\x12" + "\xe9rin@example.test".encode()),
                utf8_mailbox(b"\x16\x12carol@example.test"),
                x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x10eve@example.test"),
            ],
        )
        expected = ("\xe9rin@example.test", "bob@example.test", "alice@example.test")
        self.assertEqual(certified_addresses(issued.certificate), expected)

    def test_common_name_is_none(self) -> None:
        """A certificate without alternative names names nobody, whatever its subject says."""
        key = CLIENTS.issue(["bob@example.test"], client=True)
        self.assertIn("bob@example.test", key.certificate.subject.rfc4514_string())
        bare = CLIENTS.issue([], client=True)
        self.assertEqual(certified_addresses(bare.certificate), ())

    def test_utf8_mailbox(self) -> None:
        """A UTF8String of any length form, whole and nothing but; every cut and every other is none."""
        local = "\xe9" * 30
        text = f"{local}@{'a' * 60}.{'b' * 60}.test".encode()
        long = b"\x0c\x81" + bytes([len(text)]) + text
        self.assertEqual(utf8_string(long), text.decode())
        for end in range(len(long)):
            self.assertIsNone(utf8_string(long[:end]), end)
        for value in (
            long + b"x",
            b"\x16" + long[1:],
            b"\x0c\x80" + text,
            b"\x0c\x81\x05a@b.c",
            b"\x0c\x82\x00" + bytes([len(text)]) + text,
            b"\x0c\x84\x00\x00\x00\x05a@b.c",
            b"\x0c\x05a\xff@b.",
        ):
            self.assertIsNone(utf8_string(value), value)
        longest = b"\x0c\x82\x01\x00" + b"x" * 256
        self.assertEqual(utf8_string(longest), "x" * 256)
        unusable = [utf8_mailbox(b"\x0c\x06a\0@b.c"), utf8_mailbox(longest)]
        issued = CLIENTS.issue([], client=True, others=unusable)
        self.assertEqual(certified_addresses(issued.certificate), ())


class ExchangeTests(SynchronousTestCase):
    def begin(self, certificate: x509.Certificate = BOB) -> Exchange:
        mechanisms = Mechanisms(Portal(None, [CertificateChecker(FewAccounts(), DOMAINS)]))
        exchange = mechanisms.begin("external", channel(certificate))
        assert exchange is not None
        return exchange

    def test_offered(self) -> None:
        """Only with a certificate, and where a checker takes one."""
        taking = Mechanisms(Portal(None, [CertificateChecker(FewAccounts(), DOMAINS)]))
        self.assertEqual(taking.offered(channel(BOB)), ("EXTERNAL",))
        self.assertEqual(taking.offered(channel(None)), ())
        self.assertIsNone(taking.begin("EXTERNAL", channel(None)))
        self.assertEqual(Mechanisms(Portal(None, ())).offered(channel(BOB)), ())

    def test_response(self) -> None:
        """An identity is handed on; without one it is the only one of the certificate; once."""
        several = CLIENTS.issue(["bob@example.test", "alice@example.test"], client=True).certificate
        for certificate, response, username in (
            (BOB, b"", b"bob@example.test"),
            (BOB, b"alice", b"alice"),
            (several, b"", b""),
            (several, b"bob", b"bob"),
        ):
            exchange = self.begin(certificate)
            self.assertTrue(exchange.client_first)
            proven = self.successResultOf(exchange.step(response))
            self.assertEqual(proven, Proven(ClientCertificate(username, certificate)))
            self.failureResultOf(exchange.step(response), SASLFault)

    def test_malformed(self) -> None:
        """NULs (Cyrus stopped reading at one), no UTF-8, too long."""
        for response in (b"bob@example.test\0", b"\0", b"\0bob\0", b"\xff", b"x" * 321):
            self.failureResultOf(self.begin().step(response), SASLFault)


class LoginTests(LoginTestCase):
    def attempt(self, certificate: x509.Certificate, response: bytes) -> Any:
        exchange = Mechanisms(self.portal).begin("EXTERNAL", channel(certificate))
        assert exchange is not None
        proven = self.successResultOf(exchange.step(response))
        assert isinstance(proven, Proven)
        attempt = self.login.attempt(
            proven.credentials, peer=REMOTE, service="pop3s", context="x", interfaces=(ISubmitter,)
        )
        self.clock.pump([20.0])
        return attempt

    def test_right(self) -> None:
        """By the certificate alone, by the same name, in capitals, and by its local part."""
        for response in (b"", b"bob@example.test", b"BOB@Example.test", b"bob"):
            found = self.successResultOf(self.attempt(BOB, response))
            self.assertEqual(found.name, "bob@example.test")
        self.assertEqual(self.events(), ["login"] * 4)

    def test_several(self) -> None:
        """A certificate of several accounts opens the one that is named, and none when none is."""
        several = CLIENTS.issue(["bob@example.test", "alice@example.test"], client=True).certificate
        self.assertEqual(self.successResultOf(self.attempt(several, b"alice")).name, "alice@example.test")
        self.failureResultOf(self.attempt(several, b""), LoginRefused)

    def test_others(self) -> None:
        """Nobody becomes somebody whom the certificate does not name."""
        for names, response in (
            (["bob@example.test"], b"alice@example.test"),
            (["bob@example.test"], b"alice"),
            (["bob@example.test"], b"bob@elsewhere.test"),
            (["ghost@example.test"], b""),
            (["bob@elsewhere.test"], b""),
            (["bob@elsewhere.test"], b"bob"),
            ([], b"bob"),
            ([], b""),
        ):
            issued = CLIENTS.issue(names, client=True)
            self.failureResultOf(self.attempt(issued.certificate, response), LoginRefused)
        self.assertEqual(set(self.events()), {"login refused"})

    def test_disabled(self) -> None:
        """A disabled account is closed to its certificate too."""
        from dataclasses import replace

        bob, _ = self.store.accounts["bob@example.test"]
        self.store.change(bob.address, replace(bob, disabled=True))
        self.failureResultOf(self.attempt(BOB, b""), LoginRefused)
