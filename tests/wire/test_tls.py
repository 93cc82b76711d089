"""Certificates: chosen, refused, reloaded; sessions that stay within their service."""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from OpenSSL import SSL
from OpenSSL._util import lib
from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.settings import TLS
from mailftp.wire.listener import ListenerService
from mailftp.wire.tls import Certificates, client_creator
from mailftp.wire.watch import INTERVAL, CertificateWatch
from tests import certificates
from tests.connector import Client, client_context, connect, wiring
from tests.wire.network import Client as NetworkClient
from tests.wire.test_connection import TalkFactory


class Base(SynchronousTestCase):
    """A folder with an authority and a certificate."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = certificates.Authority()
        self.settings = certificates.settings(self.folder, self.authority)

    def secure(self, source: Certificates, name: str = "smtps", **options: Any) -> Client:
        """A client that is connected to a service by implicit TLS."""
        protocol = name.rstrip("s") or name
        factory = TalkFactory(wiring(name, protocol, tls=source.service(name), implicit_tls=True))
        return connect(factory, **options)

    def subject(self, client: Client) -> str:
        """The names of the certificate that the server showed."""
        certificate = client.ssl.get_peer_certificate(as_cryptography=True)
        return certificate.subject.rfc4514_string()


class Reticence(Base):
    """FTP data connections: a client that only uploads finds nothing unread in its socket."""

    def shaken(self, version: ssl.TLSVersion) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO, Any, Any]:
        """A client and a server after their handshake, and what was received by the server's protocol."""
        received = Protocol()
        received.dataReceived = (octets := []).append  # type: ignore[method-assign, assignment]
        factory = Factory.forProtocol(lambda: received)
        served = Certificates(self.settings).service("ftp").wrap_data(factory).buildProtocol(None)
        transport = StringTransport()
        served.makeConnection(transport)
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        context.minimum_version = context.maximum_version = version
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
        for _ in range(4):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            if to_server.pending:
                served.dataReceived(to_server.read())
            to_client.write(transport.value())
            transport.clear()
        return client, to_client, to_server, served, (transport, octets)

    def test_tickets_wait(self) -> None:
        """Under TLS 1.3 nothing is sent between the handshake and the client's farewell; then the tickets
        and ours are."""
        client, _, to_server, served, (transport, octets) = self.shaken(ssl.TLSVersion.TLSv1_3)
        # What the last step of the handshake would have sent is still kept back.
        client.write(b"x" * 100_000)
        served.dataReceived(to_server.read())
        self.assertEqual(transport.value(), b"")
        self.assertEqual(b"".join(octets), b"x" * 100_000)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        served.dataReceived(to_server.read())
        self.assertGreater(len(transport.value()), 100)

    def test_download_is_not_held_up(self) -> None:
        """What the protocol writes leaves at once, tickets before it, and the client reads it."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client, to_client, _, served, (transport, _) = self.shaken(version)
            served.write(b"contents")
            to_client.write(transport.value())
            self.assertEqual(client.read(100), b"contents")


class Sessions(Base):
    """Tickets and session ids."""

    def resumed(self, version: int, first: str, second: str) -> bool:
        """Whether a session of one service is taken by another."""
        source = Certificates(self.settings)
        context = client_context(version=version)
        client = self.secure(source, first, context=context)
        client.received()
        session = client.ssl.get_session()
        client.exchange(b"QUIT\r\n")
        again = self.secure(source, second, context=context, session=session)
        self.assertEqual(again.received(), b"220 hi\r\n")
        return bool(lib.SSL_session_reused(again.ssl._ssl))

    def test_same_service(self) -> None:
        """A client that comes back resumes its session, under TLS 1.2 and 1.3."""
        for version in SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION:
            self.assertTrue(self.resumed(version, "pop3s", "pop3s"))

    def test_other_service(self) -> None:
        """No service takes a session of another: a full handshake follows, and no harm is done."""
        for version in SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION:
            self.assertFalse(self.resumed(version, "pop3s", "submissions"))
            self.assertFalse(self.resumed(version, "ftps", "pop3s"))

    def test_data_connection(self) -> None:
        """FTP's data connections resume the session of the control connection."""
        service = Certificates(self.settings).service("ftp")
        context = client_context()

        def handshake(creator: Any, session: Any) -> tuple[Any, bool]:
            client, server = SSL.Connection(context, None), creator.serverConnectionForTLS(None)
            client.set_connect_state()
            server.set_accept_state()
            if session is not None:
                client.set_session(session)
            for _ in range(4):
                for one, other in ((client, server), (server, client)):
                    with contextlib.suppress(SSL.WantReadError):
                        one.do_handshake()
                    with contextlib.suppress(SSL.WantReadError):
                        other.bio_write(one.bio_read(9999))
            with self.assertRaises(SSL.WantReadError):
                client.recv(1)
            for end in client, server:
                # Without a farewell OpenSSL would spoil the session.
                end.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
            return client.get_session(), bool(lib.SSL_session_reused(server._ssl))

        session, resumed = handshake(service.connection_creator(), None)
        self.assertFalse(resumed)
        self.assertTrue(handshake(service.data_creator(), session)[1])


class Refusals(Base):
    """Handshakes that must not succeed."""

    def test_alpn(self) -> None:
        """A client of another protocol is refused; one of ours, or of none, is not."""
        source = Certificates(self.settings)
        client = self.secure(source, "submissions", alpn=[b"http/1.1", b"smtp"])
        self.assertEqual(client.ssl.get_alpn_proto_negotiated(), b"smtp")
        for name, foreign in (
            ("submissions", b"http/1.1"),
            ("ftps", b"h2"),
            ("https", b"imap"),
            ("imaps", b"ftp"),
        ):
            with self.assertRaises(SSL.Error):
                self.secure(source, name, alpn=[foreign])

    def test_old_versions(self) -> None:
        """TLS 1.1 is refused."""
        with self.assertRaises((SSL.Error, ConnectionError)):
            self.secure(Certificates(self.settings), version=SSL.TLS1_1_VERSION)

    def test_renegotiation(self) -> None:
        """A client cannot make us do handshakes over and over."""
        client = self.secure(Certificates(self.settings), version=SSL.TLS1_2_VERSION)
        client.received()
        server = client.protocol.transport.getHandle()
        self.assertTrue(client.ssl.renegotiate())
        with self.assertRaises(SSL.Error):
            for _ in range(3):
                try:
                    client.ssl.do_handshake()
                except SSL.WantReadError:
                    client._take_ciphertext()
                    client._arrived = client.ssl.bio_write  # type: ignore[method-assign]
                    client.pump()
        self.assertEqual(server.total_renegotiations(), 0)

    def test_client_certificate(self) -> None:
        """A client's certificate is verified when it presents one; none is fine; a foreign one is not."""
        clients = certificates.Authority("Clients")
        (self.folder / "clients.pem").write_bytes(clients.pem)
        source = Certificates(replace(self.settings, client_ca=self.folder / "clients.pem"))
        issued = clients.issue(["bob@example.test"], client=True)
        client = self.secure(source, "imaps", certificate=issued)
        client.received()
        self.assertEqual(client.protocol.client_certificate, issued.certificate)
        nobody = self.secure(source, "imaps")
        self.assertEqual(nobody.received(), b"220 hi\r\n")
        self.assertIsNone(nobody.protocol.client_certificate)
        forged = certificates.Authority("Clients").issue(["bob@example.test"], client=True)
        foreign = None
        try:
            foreign = self.secure(source, "imaps", certificate=forged)
            self.assertEqual(foreign.received(), b"")
        except SSL.Error:
            pass
        self.assertTrue(foreign is None or foreign.closed)

    def test_mail_exchanger_never_asks(self) -> None:
        """Another mail server's certificate does not matter on port 25."""
        (self.folder / "clients.pem").write_bytes(certificates.Authority("Clients").pem)
        source = Certificates(replace(self.settings, client_ca=self.folder / "clients.pem"))
        client = self.secure(source, "smtp", certificate=self.authority.issue(["mta.test"]))
        self.assertEqual(client.received(), b"220 hi\r\n")
        self.assertIsNone(client.protocol.client_certificate)


class Names(Base):
    """The certificate for the name that the client asks for."""

    def setUp(self) -> None:
        super().setUp()
        live = self.folder / "live"
        (live / "certbot.test").mkdir(parents=True)
        one = self.authority.issue(["mail.certbot.test", "*.wild.test"])
        (live / "certbot.test" / "fullchain.pem").write_bytes(one.pem + self.authority.pem)
        (live / "certbot.test" / "privkey.pem").write_bytes(one.key_pem)
        other = self.authority.issue(["single.test"])
        (live / "single.pem").write_bytes(other.key_pem + other.pem)
        (live / "README").write_text("not a certificate")
        self.settings = replace(self.settings, certificates=live)

    def test_sni(self) -> None:
        """Exact names, wildcards of one label, and the default for what is unknown or not asked for."""
        source = Certificates(self.settings)
        for name, expected in (
            ("mail.certbot.test", "CN=mail.certbot.test"),
            ("MAIL.certbot.test", "CN=mail.certbot.test"),
            ("a.wild.test", "CN=mail.certbot.test"),
            ("a.b.wild.test", "CN=mx.example.test"),
            ("wild.test", "CN=mx.example.test"),
            ("single.test", "CN=single.test"),
            ("other.test", "CN=mx.example.test"),
            (None, "CN=mx.example.test"),
        ):
            self.assertEqual(self.subject(self.secure(source, server_name=name)), expected)

    def test_broken(self) -> None:
        """A file of the folder that cannot be used is named."""
        (self.folder / "live" / "broken.pem").write_text("nonsense")
        error = self.assertRaises(ValueError, Certificates, self.settings)
        self.assertIn("broken.pem", str(error))


class Files(Base):
    """What is said of files that cannot be used."""

    def test_faults(self) -> None:
        """Each fault names its file and says what is wrong."""
        issued = self.authority.issue()
        secret = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        for name, content, said in (
            ("key.pem", b"", "no private key in PEM form"),
            ("key.pem", secret, "encrypted"),
            ("key.pem", issued.key_pem, "not the key of the first certificate"),
            ("cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
            ("cert.pem", b"x" * 1024 * 1024 * 2, "no certificate file"),
            ("cert.pem", None, "No such file"),
        ):
            certificates.settings(self.folder, self.authority)
            if content is None:
                os.unlink(self.folder / name)
            else:
                (self.folder / name).write_bytes(content)
            error = self.assertRaises(ValueError, Certificates, self.settings)
            self.assertIn(str(self.folder / name), str(error))
            self.assertIn(said, str(error))


class Reload(Base):
    """New files while connections live."""

    def test_swap(self) -> None:
        """New connections get the new certificate, live ones go on, and the ServiceTLS stays."""
        source = Certificates(self.settings)
        service = source.service("smtps")
        live = self.secure(source)
        live.received()
        self.assertFalse(source.changed())
        certificates.settings(self.folder, self.authority, names=["renewed.test"])
        self.assertTrue(source.changed())
        source.reload()
        self.assertFalse(source.changed())
        self.assertIs(source.service("smtps"), service)
        self.assertEqual(live.exchange(b"a\r\n"), b"250 a\r\n")
        self.assertEqual(self.subject(self.secure(source)), "CN=renewed.test")

    def test_kept(self) -> None:
        """Files that cannot be used change nothing."""
        source = Certificates(self.settings)
        source.service("smtps")
        (self.folder / "cert.pem").write_text("half a fi")
        self.assertRaises(ValueError, source.reload)
        self.assertEqual(self.subject(self.secure(source)), "CN=mx.example.test")
        self.assertEqual(self.subject(self.secure(source, "imaps")), "CN=mx.example.test")

    def test_watch(self) -> None:
        """Within a minute new files are in use; broken ones are logged once and change nothing."""
        source, clock = Certificates(self.settings), Clock()
        source.service("smtps")
        watch = CertificateWatch(source, clock, in_thread=execute)
        watch.startService()
        clock.advance(INTERVAL)
        (self.folder / "key.pem").write_text("broken")
        clock.advance(INTERVAL)
        self.assertEqual(self.subject(self.secure(source)), "CN=mx.example.test")
        self.assertFalse(source.changed())
        certificates.settings(self.folder, self.authority, names=["renewed.test"])
        clock.advance(INTERVAL)
        self.assertEqual(self.subject(self.secure(source)), "CN=renewed.test")
        certificates.settings(self.folder, self.authority, names=["again.test"])
        self.assertTrue(self.successResultOf(watch.reload()))
        watch.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])


class ClientSide(TestCase):
    """The creators for connections that we make."""

    def setUp(self) -> None:
        self.authority = certificates.Authority()
        settings: TLS = certificates.settings(self.mktemp(), self.authority, names=["mx.example.test"])
        service = Certificates(settings).service("smtps")
        factory = TalkFactory(wiring("smtps", "smtp", clock=reactor, tls=service, implicit_tls=True))
        listener = ListenerService(
            "tcp:0:interface=127.0.0.1", factory, reactor, tls=service, drain_seconds=0.1
        )
        listener.startService()
        self.addCleanup(listener.stopService)
        self.endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", listener.addresses[0].port)

    def outcome(self, *creator: Any) -> Deferred[bytes]:
        """What the client sees after asking to quit: nothing when its handshake fails."""

        async def talk() -> bytes:
            endpoint = wrapClientTLS(client_creator(*creator), self.endpoint)
            client = await connectProtocol(endpoint, NetworkClient())
            client.transport.write(b"QUIT\r\n")
            return await client.lost

        return Deferred.fromCoroutine(talk())

    def test_verified(self) -> None:
        """With verification the right name under a trusted root passes."""
        d = self.outcome("mx.example.test", True, [self.authority.root])
        return d.addCallback(self.assertEqual, b"220 hi\r\n221 bye\r\n")

    def test_wrong_name(self) -> None:
        """With verification another name does not."""
        d = self.outcome("mx.other.test", True, [self.authority.root])
        return d.addCallback(self.assertEqual, b"")

    def test_untrusted(self) -> None:
        """With verification a root that the platform does not know does not."""
        return self.outcome("mx.example.test", True).addCallback(self.assertEqual, b"")

    def test_opportunistic(self) -> None:
        """Without verification any certificate does, by name and by address."""
        d = self.outcome("mx.other.test", False)
        d.addCallback(self.assertEqual, b"220 hi\r\n221 bye\r\n")
        d.addCallback(lambda _: self.outcome("127.0.0.1", False))
        return d.addCallback(self.assertEqual, b"220 hi\r\n221 bye\r\n")
