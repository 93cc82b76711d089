"""AUTH EXTERNAL under real TLS, and ALPN."""

from __future__ import annotations

from OpenSSL import SSL

from tests import certificates
from tests.connector import Client
from tests.pop3.maildrops import POP3TestCase

REMOTE = ("192.0.2.9", 4000)
CLIENTS = certificates.Authority("Clients")
BOB = CLIENTS.issue(["bob@example.test"], client=True)


class ExternalTests(POP3TestCase):
    clients = CLIENTS

    def stls(self, certificate: certificates.Issued | None) -> Client:
        client = self.connect(peer=REMOTE, factory=self.make_factory(tls=True))
        client.received()
        self.assertNotIn(b"EXTERNAL", client.exchange(b"CAPA\r\n"))
        self.assertIn(b"-ERR", client.exchange(b"AUTH EXTERNAL =\r\n"))
        client.exchange(b"STLS\r\n")
        client.start_tls(certificate=certificate)
        return client

    def test_login(self) -> None:
        """Behind STLS and on pop3s: CAPA offers it, and the certificate opens its account's maildrop."""
        for client in (
            self.stls(BOB),
            self.connect(peer=REMOTE, factory=self.make_factory(tls=True, service="pop3s"), certificate=BOB),
        ):
            client.received()
            self.assertIn(b"\r\nSASL EXTERNAL SCRAM", client.exchange(b"CAPA\r\n"))
            self.assertEqual(client.exchange(b"AUTH EXTERNAL\r\n"), b"+ \r\n")
            self.assertIn(b"+OK maildrop has 3", client.exchange(b"\r\n"))
            self.assertIn(b"+OK 3", client.exchange(b"STAT\r\n"))
            client.exchange(b"QUIT\r\n")

    def test_initial_response(self) -> None:
        """Empty, a name, and a name with a folder, in one line with AUTH (RFC 5034 section 4)."""
        for response, answer in (
            (b"=", b"+OK maildrop has 3"),
            (b"Ym9iQGV4YW1wbGUudGVzdA==", b"+OK maildrop has 3"),
            # bob@example.test#inbox
            (b"Ym9iQGV4YW1wbGUudGVzdCNpbmJveA==", b"+OK maildrop has 3"),
            # bob@example.test#Nowhere
            (b"Ym9iQGV4YW1wbGUudGVzdCNOb3doZXJl", b"-ERR [SYS/PERM]"),
            # alice@example.test
            (b"YWxpY2VAZXhhbXBsZS50ZXN0", b"-ERR [AUTH]"),
            # bob@example.test and a NUL
            (b"Ym9iQGV4YW1wbGUudGVzdAA=", b"-ERR"),
            (b"Ym9iQGV4YW1wbGUudGVzd", b"-ERR malformed base64"),
        ):
            client = self.stls(BOB)
            self.assertIn(answer, client.exchange(b"AUTH EXTERNAL " + response + b"\r\n"))
            client.drop()

    def test_no_certificate(self) -> None:
        """Without one it is not on offer, and a password is as good as ever."""
        client = self.stls(None)
        self.assertNotIn(b"EXTERNAL", client.exchange(b"CAPA\r\n"))
        self.assertIn(b"-ERR this mechanism is not offered", client.exchange(b"AUTH EXTERNAL =\r\n"))
        self.assertIn(b"+OK maildrop", client.exchange(b"USER bob\r\nPASS hungry\r\n"))

    def test_foreign_certificate(self) -> None:
        """One that another authority signed, of the same name even, ends the handshake."""
        for issued in (
            certificates.Authority("Clients").issue(["bob@example.test"], client=True),
            certificates.Authority("Others").issue(["bob@example.test"], client=True),
            # Signed by the right one, but a server's.
            CLIENTS.issue(["example.test"]),
        ):
            client = None
            try:
                client = self.stls(issued)
                self.assertEqual(client.exchange(b"AUTH EXTERNAL =\r\n"), b"")
            except SSL.Error:
                continue
            assert client is not None
            self.assertTrue(client.closed)


class ProtocolTests(POP3TestCase):
    def test_alpn(self) -> None:
        """pop3 is chosen; whoever speaks only other protocols is no client of ours (ALPACA)."""
        factory = self.make_factory(tls=True, service="pop3s")
        for offered in ((b"pop3",), (b"imap", b"pop3")):
            client = self.connect(factory=factory, alpn=offered)
            assert client.ssl is not None
            self.assertEqual(client.ssl.get_alpn_proto_negotiated(), b"pop3")
            self.assertEqual(client.received(), b"+OK POP3 ready\r\n")
        client = self.connect(factory=factory)
        assert client.ssl is not None
        self.assertEqual(client.ssl.get_alpn_proto_negotiated(), b"")
        self.assertEqual(client.received(), b"+OK POP3 ready\r\n")
        for offered in ((b"http/1.1", b"h2"), (b"imap",)):
            with self.assertRaises((SSL.Error, ConnectionError)):
                self.connect(factory=factory, alpn=offered)
