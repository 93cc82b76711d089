"""DANE (RFC 7672): which hosts have TLSA records, what those allow; a signed zone, and unbound over it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from hashlib import sha256, sha512
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.delivery.routes import Hop, Router
from mailftp.delivery.verdict import NotNow
from mailftp.dns.resolver import Resolver, Unresolved
from mailftp.settings import DNS, Delivery, Settings
from mailftp.smtp.client import ConnectionFault, SMTPClient, Target, connect
from mailftp.smtp.client_dane import TLSA, authenticates
from tests.certificates import Authority, Issued
from tests.dns import authorities
from tests.dns.table import Table
from tests.interop.running import PATIENCE, program
from tests.ports import free_ports
from tests.smtp.far_side import Behaviour, FarSide


def spki(issued: Issued) -> bytes:
    return issued.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def der(certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


class MatchingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = Authority()
        self.issued = self.authority.issue(["mx.b.test"])
        self.leaf, self.root = self.issued.certificate, self.authority.root

    def allowed(self, *records: TLSA, chain=None, names=("mx.b.test",)) -> bool:
        return authenticates(records, [self.leaf] if chain is None else chain, names)

    def test_own_certificate(self) -> None:
        """Usage 3 by certificate or key, whole or hashed; its name does not count."""
        for selector, octets in ((0, der(self.leaf)), (1, spki(self.issued))):
            for matching, data in (
                (0, octets),
                (1, sha256(octets).digest()),
                (2, sha512(octets).digest()),
            ):
                record = TLSA(3, selector, matching, data)
                self.assertTrue(self.allowed(record, names=("other.test",)), record)
                self.assertFalse(self.allowed(TLSA(3, 1 - selector, matching, data)))
        self.assertFalse(self.allowed(TLSA(3, 1, 1, bytes(32))))

    def test_authority(self) -> None:
        """Usage 2: the chain leads to what the record names, in the handshake or in the record, and has the
        right name."""
        hashed = TLSA(2, 0, 1, sha256(der(self.root)).digest())
        self.assertTrue(self.allowed(hashed, chain=[self.leaf, self.root]))
        self.assertTrue(self.allowed(hashed, chain=[self.leaf, self.root], names=("b.test", "mx.b.test")))
        self.assertFalse(self.allowed(hashed, chain=[self.leaf, self.root], names=("b.test",)))
        self.assertFalse(self.allowed(hashed))
        self.assertTrue(self.allowed(TLSA(2, 0, 0, der(self.root))))
        self.assertFalse(self.allowed(TLSA(2, 0, 0, b"no certificate")))
        forged = Authority()
        self.assertFalse(self.allowed(hashed, chain=[forged.issue(["mx.b.test"]).certificate, self.root]))
        self.assertFalse(self.allowed(TLSA(2, 0, 0, der(forged.root))))

    def test_unusable(self) -> None:
        """Without a usable record anybody will do, under TLS; one that is usable counts alone."""
        unusable = (
            TLSA(1, 0, 1, bytes(32)),
            TLSA(3, 2, 1, bytes(32)),
            TLSA(3, 1, 1, bytes(20)),
            TLSA(3, 1, 9, b""),
        )
        self.assertTrue(self.allowed(*unusable))
        self.assertFalse(self.allowed(*unusable, TLSA(3, 1, 1, bytes(32))))
        self.assertFalse(self.allowed(TLSA(3, 1, 1, bytes(32)), chain=[]))


class RoutingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table().put("b.test", "MX", "1 one.b.test.", "2 two.b.test.")
        self.table.put("one.b.test", "A", "192.0.2.1").put("two.b.test", "A", "192.0.2.2")
        self.table.put("_25._tcp.one.b.test", "TLSA", "3 1 1 " + "ab" * 32)
        self.table.authentic = True

    def hops(self, trust_ad: bool = True, **delivery) -> tuple[Hop, ...] | NotNow:
        settings = Settings(folder=None, data=None, dns=DNS(trust_ad=trust_ad), delivery=Delivery(**delivery))
        router = Router(settings, self.table, ())
        found = Deferred.fromCoroutine(router.hops("b.test"))
        return self.successResultOf(found.addErrback(lambda failure: failure.value))

    def test_records(self) -> None:
        """A host with records is called by them, another as ever."""
        one, two = self.hops()
        self.assertEqual((one.tls, one.domain, two.tls), ("dane", "b.test", "opportunistic"))
        self.assertEqual(one.tlsa, (TLSA(3, 1, 1, b"\xab" * 32),))

    def test_not_vouched_for(self) -> None:
        """Without a resolver that may be trusted, or where it does not vouch, there is no DANE."""
        for hops in (self.hops(trust_ad=False), self.hops(dane=False)):
            self.assertEqual({hop.tls for hop in hops}, {"opportunistic"})
        self.table.authentic = False
        self.assertEqual({hop.tls for hop in self.hops()}, {"opportunistic"})

    def test_unknown(self) -> None:
        """A host whose records cannot be had is not called: somebody may be hiding them."""
        self.table.put("_25._tcp.one.b.test", "TLSA", Unresolved("SERVFAIL"))
        self.assertEqual([hop.host for hop in self.hops()], ["two.b.test"])
        self.table.put("_25._tcp.two.b.test", "TLSA", Unresolved("SERVFAIL"))
        fault = self.hops()
        self.assertEqual((fault.status, fault.permanent), ("4.7.0", False))


class CallingTests(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.issued = Authority().issue(["mx.b.test"])
        certificate = PrivateCertificate.loadPEM(self.issued.pem + self.issued.key_pem)
        self.far = FarSide(Behaviour(extensions=("STARTTLS",), tls=certificate.options()))
        self.far.listen(reactor)
        self.addCleanup(self.far.stop)

    def call(self, *records: TLSA) -> Deferred[SMTPClient]:
        target = Target("mx.b.test", "127.0.0.1", self.far.port, "a.test", tls="dane", tlsa=records)
        return connect(reactor, target)

    async def test_right(self) -> None:
        client = await self.call(TLSA(3, 1, 1, sha256(spki(self.issued)).digest()))
        self.assertIn("TLSv1.", client.tls)
        await client.quit()

    async def test_wrong(self) -> None:
        """Another certificate ends the connection, and none follows in the clear."""
        fault = await self.assertFailure(self.call(TLSA(3, 1, 1, bytes(32))), ConnectionFault)
        self.assertIn("none that its TLSA records name", str(fault))
        self.assertEqual(len(self.far.sessions), 1)

    async def test_no_tls(self) -> None:
        """Whoever takes STARTTLS away has not made us send in the clear."""
        self.far.behaviour.extensions = ()
        await self.assertFailure(self.call(TLSA(3, 1, 1, bytes(32))), ConnectionFault)
        self.assertEqual([session.secure for session in self.far.sessions], [False])


class SignedZoneTests(TestCase):
    """A zone signed by bind9's tools and served by named, unbound that validates it, and our resolver."""

    timeout = 120

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dane-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        signed = self.sign(
            "$TTL 300\n@ SOA ns h 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n@ MX 1 mx\nmx A 192.0.2.1\n"
            f"_25._tcp.mx TLSA 3 1 1 {'ab' * 32}\n"
        )
        named = authorities.Authority(self, "bind9", "b.test", signed)
        self.unbound(named.port)

    def sign(self, zone: str) -> str:
        (self.folder / "zone").write_text(zone)
        for flags in ([], ["-f", "KSK"]):
            self.run_tool("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *flags, "b.test")
        self.run_tool("dnssec-signzone", "-S", "-x", "-o", "b.test", "zone")
        return (self.folder / "zone.signed").read_text()

    def run_tool(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [program(name, "bind9-utils"), *arguments], cwd=self.folder, capture_output=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def unbound(self, authority: int) -> None:
        port = free_ports(1, kind=socket.SOCK_DGRAM)[0]
        (self.folder / "conf").write_text(
            f'server:\n  username: ""\n  chroot: ""\n  directory: "{self.folder}"\n  pidfile: ""\n'
            f"  interface: 127.0.0.1\n  port: {port}\n  do-not-query-localhost: no\n  do-daemonize: no\n"
            '  use-syslog: no\n  module-config: "validator iterator"\n  local-zone: "test." nodefault\n'
            '  trust-anchor-file: "dsset-b.test."\nremote-control:\n  control-enable: no\n'
            f"stub-zone:\n  name: b.test\n  stub-addr: 127.0.0.1@{authority}\n"
        )
        process = subprocess.Popen(
            [program("unbound", "unbound"), "-d", "-c", str(self.folder / "conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if b"start of service" in line:
                break
        self.dns = DNS(servers=(f"127.0.0.1:{port}",), trust_ad=True)

    async def test_hops(self) -> None:
        """The host's records are found, and were validated."""
        resolver = Resolver(self.dns, reactor)
        self.addCleanup(resolver.stop)
        router = Router(Settings(folder=None, data=None, dns=self.dns), resolver, ())
        (hop,) = await router.hops("b.test")
        self.assertEqual((hop.host, hop.tls), ("mx.b.test", "dane"))
        self.assertEqual(hop.tlsa, (TLSA(3, 1, 1, b"\xab" * 32),))
