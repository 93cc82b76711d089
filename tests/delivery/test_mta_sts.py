"""MTA-STS policies of other domains: read, fetched over HTTPS, kept, and kept to."""

from __future__ import annotations

from pathlib import Path

from service_identity import VerificationError
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.util import Redirect

from mailftp.delivery import fetching, policies
from mailftp.delivery.fetching import FetchFault, PolicyFetcher
from mailftp.delivery.mta_sts import LONGEST, Policy, PolicyFault, parse_policy, record_id
from mailftp.delivery.policies import AGAIN, Kept, Policies, PolicyFile
from mailftp.delivery.routes import Hop, Router
from mailftp.dns.resolver import Unresolved
from mailftp.settings import Delivery, Settings
from tests.certificates import Authority
from tests.dns.table import Table

TEXT = "version: STSv1\r\nmode: enforce\r\nmx: mx.b.test\r\nmx: *.mail.b.test\r\nmax_age: 86400\r\n"


class FormTests(SynchronousTestCase):
    def test_record(self) -> None:
        """One record with an id; none, two, or a broken one is no policy."""
        for texts, found in (
            (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
            (["v=spf1 -all", "v=STSv1;id=a"], "a"),
            (["v=STSv1 ; other=x; id = 7 "], "7"),
            ([], None),
            (["v=STSv1; id=a;", "v=STSv1; id=b;"], None),
            (["v=STSv1;"], None),
            (["v=STSv1; id="], None),
            (["v=STSv1; id=" + "a" * 33], None),
            (["v=STSv1; id=a-b"], None),
            (["v=STSv2; id=a"], None),
        ):
            self.assertEqual(record_id(texts), found, texts)

    def test_policy(self) -> None:
        """Keys in any order, LF or CRLF, what is not known passed over; no longer than a year."""
        policy = Policy("enforce", ("mx.b.test", "*.mail.b.test"), 86400)
        self.assertEqual(parse_policy(TEXT), policy)
        self.assertEqual(parse_policy("x: y\n" + TEXT.replace("\r\n", "\n") + "mode: none\n"), policy)
        self.assertEqual(parse_policy("version: STSv1\nmode: none\nmax_age: 9999999999").max_age, LONGEST)

    def test_no_policy(self) -> None:
        for text in (
            "", "<html>", "version: STSv1", TEXT.replace("STSv1", "STSv2"), TEXT.replace("enforce", "force"),
            TEXT.replace("86400", "-1"), TEXT.replace("86400", "1e9"), TEXT.replace("mx: ", "my: "),
            TEXT.replace("mx.b.test", "mx..b.test"), TEXT.replace("*.mail", "m*.mail"), TEXT + "junk\n",
            TEXT + "mx: a.test\n" * 256,
        ):  # fmt: skip
            self.assertRaises(PolicyFault, parse_policy, text)

    def test_hosts(self) -> None:
        """Section 4.1: a star is one label, and case does not count."""
        policy = parse_policy(TEXT)
        for host in ("mx.b.test", "MX.b.TEST.", "a.mail.b.test"):
            self.assertTrue(policy.allows(host), host)
        for host in ("b.test", "mail.b.test", "a.b.mail.b.test", "mx.b.test.evil.test", ""):
            self.assertFalse(policy.allows(host), host)


class KeepingTests(TestCase):
    def setUp(self) -> None:
        self.table = Table().put("_mta-sts.b.test", "TXT", '"v=STSv1; id=1"')
        self.time = 1_000_000.0
        self.text: str | Exception = TEXT
        self.fetched: list[str] = []
        self.path = Path(self.mktemp())
        self.policies = self.opened()

    def opened(self) -> Policies:
        file = PolicyFile(self.path)
        self.addCleanup(file.close)
        return Policies(self.table, self.fetch, lambda: self.time, file, lambda work: succeed(work()))

    def fetch(self, domain: str) -> Deferred[str]:
        self.fetched.append(domain)
        return fail(self.text) if isinstance(self.text, Exception) else succeed(self.text)

    async def test_kept(self) -> None:
        """Fetched once for an id, over restarts; a new id fetches anew."""
        self.assertEqual((await self.policies.of("B.test")).mode, "enforce")
        self.assertEqual((await self.policies.of("b.test")).mode, "enforce")
        self.assertEqual((await self.opened().of("b.test")).mode, "enforce")
        self.assertEqual(self.fetched, ["b.test"])
        self.table.put("_mta-sts.b.test", "TXT", '"v=STSv1; id=2"')
        self.text = TEXT.replace("enforce", "testing")
        self.assertEqual((await self.policies.of("b.test")).mode, "testing")
        self.assertEqual(len(self.fetched), 2)

    async def test_without(self) -> None:
        """A domain without a record has none, and nothing is written of it."""
        self.assertIsNone(await self.policies.of("c.test"))
        self.assertEqual((self.fetched, self.path.exists()), ([], False))

    async def test_cut_off(self) -> None:
        """Whoever takes the record or the file away has not taken the policy away, until it is too old."""
        await self.policies.of("b.test")
        for told in (Unresolved("timeout"), '"v=STSv1; id=9"', '"v=STSv1; id=9"'):
            self.table.put("_mta-sts.b.test", "TXT", told)
            self.text = OSError("no route")
            self.assertEqual((await self.opened().of("b.test")).mode, "enforce")
        self.time += 86400
        self.assertIsNone(await self.opened().of("b.test"))

    async def test_not_again_so_soon(self) -> None:
        """A policy that cannot be had is asked for again after five minutes."""
        self.text = "<html>"
        for seconds, count in ((0, 1), (AGAIN - 1, 1), (2, 2)):
            self.time += seconds
            self.assertIsNone(await self.policies.of("b.test"))
            self.assertEqual(len(self.fetched), count)

    async def test_asked_once_at_a_time(self) -> None:
        """A hundred messages to a domain fetch its policy once."""
        waiting: Deferred[str] = Deferred()
        self.policies._fetch = lambda domain: self.fetched.append(domain) or waiting
        asked = [Deferred.fromCoroutine(self.policies.of("b.test")) for _ in range(100)]
        waiting.callback(TEXT)
        self.assertEqual({(await one).mode for one in asked}, {"enforce"})
        self.assertEqual(len(self.fetched), 1)

    async def test_file_broken(self) -> None:
        """A file that cannot be read is told, and policies are fetched."""
        self.path.write_bytes(b"no database" * 1000)
        self.assertEqual((await self.policies.of("b.test")).mode, "enforce")

    def test_file_bounded(self) -> None:
        """The oldest go."""
        self.patch(policies, "ROWS", 3)
        file = PolicyFile(self.path)
        self.addCleanup(file.close)
        for number in range(6):
            file.write(f"d{number}.test", Kept("1", TEXT, float(number)))
        self.assertEqual([bool(file.read(f"d{n}.test")) for n in range(6)], [False] * 3 + [True] * 3)


class RoutingTests(SynchronousTestCase):
    def hops(self, mode: str, *hosts: str) -> tuple[Hop, ...]:
        table = Table().put("b.test", "MX", *(f"{n} {host}." for n, host in enumerate(hosts)))
        for host in hosts:
            table.put(host, "A", "192.0.2.1")

        async def policy(domain: str) -> Policy:
            return Policy(mode, ("mx.b.test",), 1)

        settings = Settings(folder=None, data=None, hostname="mx.a.test", delivery=Delivery())
        router = Router(settings, table, (), policy)
        found = Deferred.fromCoroutine(router.hops("b.test"))
        return self.successResultOf(found.addErrback(lambda failure: failure.value))

    def test_enforced(self) -> None:
        """Only hosts that it names, over TLS with a certificate; none of them is no delivery now."""
        (hop,) = self.hops("enforce", "evil.test", "mx.b.test")
        self.assertEqual((hop.host, hop.tls), ("mx.b.test", "required"))
        fault = self.hops("enforce", "evil.test")
        self.assertEqual((fault.status, fault.permanent), ("4.7.0", False))
        self.assertIn("allows none of its hosts: evil.test", str(fault))

    def test_testing_and_none(self) -> None:
        """Nothing is changed."""
        for mode in ("testing", "none"):
            hops = self.hops(mode, "evil.test", "mx.b.test")
            self.assertEqual([(hop.host, hop.tls) for hop in hops], [
                ("evil.test", "opportunistic"), ("mx.b.test", "opportunistic"),
            ])  # fmt: skip


class Served(Resource):
    isLeaf = True

    def __init__(self, code: int = 200, kind: str = "text/plain; charset=utf-8", text: str = TEXT) -> None:
        super().__init__()
        self.code, self.kind, self.text = code, kind, text

    def render_GET(self, request) -> bytes:
        request.setResponseCode(self.code)
        request.setHeader("Content-Type", self.kind)
        return self.text.encode()


class FetchingTests(TestCase):
    """From a real HTTPS server."""

    timeout = 60

    def setUp(self) -> None:
        self.authority = Authority()
        self.issued = self.authority.issue(["mta-sts.b.test"])
        self.table = Table().put("mta-sts.b.test", "A", "127.0.0.1")

    async def fetch(self, resource: Resource, trusted: bool = True, reachable: bool = True) -> str:
        root, folder = Resource(), Resource()
        root.putChild(b".well-known", folder)
        folder.putChild(b"mta-sts.txt", resource)
        site = Site(root)
        certificate = PrivateCertificate.loadPEM(self.issued.pem + self.issued.key_pem)
        port = reactor.listenSSL(0, site, certificate.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        trust = trustRootFromCertificates([Certificate.loadPEM(self.authority.pem)])
        made = {"creator": lambda host: optionsForClientTLS(host, trustRoot=trust)} if trusted else {}
        fetcher = PolicyFetcher(self.table, reactor, lambda address: reachable, port.getHost().port, **made)
        try:
            return await fetcher.fetch("b.test")
        finally:
            await deferLater(reactor, 0)

    async def test_fetched(self) -> None:
        self.assertEqual(await self.fetch(Served()), TEXT)

    async def test_refused(self) -> None:
        """Another status, a redirect, another type, too much, an address that may not be called."""
        for resource, words in (
            (Served(404), "answers 404"),
            (Redirect(b"https://evil.test/"), "answers 302"),
            (Served(kind="text/html"), "not text/plain"),
            (Served(text="x" * (fetching.OCTETS + 1)), "more than 65536 octets"),
        ):
            with self.assertRaisesRegex(FetchFault, words):
                await self.fetch(resource)
        with self.assertRaisesRegex(FetchFault, "no address that may be called"):
            await self.fetch(Served(), reachable=False)

    async def test_certificate(self) -> None:
        """A certificate that no authority vouches for, or for another name, is no policy."""
        with self.assertRaises(ResponseNeverReceived):
            await self.fetch(Served(), trusted=False)
        self.issued = self.authority.issue(["other.test"])
        with self.assertRaises(ResponseNeverReceived):
            await self.fetch(Served())
        self.flushLoggedErrors(VerificationError)
