"""The resolver over real sockets against dnsmasq."""

from __future__ import annotations

import socket
from itertools import pairwise

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from mailftp.dns.mail import NullMX, mail_hosts
from mailftp.dns.resolver import NoSuchData, NoSuchName, Resolver, Unresolved
from mailftp.settings import DNS
from tests.dns.dnsmasq import Dnsmasq
from tests.ports import free_port

LONG = [f"--txt-record=long.test,{n:03}{'x' * 200}" for n in range(12)]


class DnsmasqTests(TestCase):
    timeout = 30

    async def setUp(self) -> None:
        self.server = await Dnsmasq.start(
            "--mx-host=a.test,mx1.a.test,10",
            "--mx-host=a.test,mx2.a.test,20",
            "--mx-host=null.test,.,0",
            "--host-record=mx1.a.test,127.0.0.2,::1",
            "--host-record=mx2.a.test,127.0.0.3",
            "--host-record=plain.test,127.0.0.4",
            "--cname=alias.test,mx2.a.test",
            "--local=/test/",
            *LONG,
        )
        self.addCleanup(self.server.stop)
        self.resolver = Resolver(DNS(servers=(self.server.address,)), reactor)
        self.addCleanup(self.resolver.stop)

    async def test_mail_hosts(self) -> None:
        """MX with addresses, implicit MX, null MX."""
        first, second = await mail_hosts(self.resolver, "a.test")
        self.assertEqual((first.name, first.addresses), ("mx1.a.test", ("::1", "127.0.0.2")))
        self.assertEqual((second.name, second.addresses), ("mx2.a.test", ("127.0.0.3",)))
        (implicit,) = await mail_hosts(self.resolver, "plain.test")
        self.assertEqual((implicit.implicit, implicit.addresses), (True, ("127.0.0.4",)))
        await self.assertFailure(mail_hosts(self.resolver, "null.test"), NullMX)

    async def test_missing(self) -> None:
        """A name that does not exist, and a type that a name does not have."""
        await self.assertFailure(self.resolver.lookup("nope.test", "A"), NoSuchName)
        await self.assertFailure(self.resolver.lookup("plain.test", "MX"), NoSuchData)

    async def test_alias(self) -> None:
        """dnsmasq follows its aliases in one reply."""
        answer = await self.resolver.lookup("alias.test", "A")
        self.assertEqual((answer.canonical, answer.records[0].address), ("mx2.a.test", "127.0.0.3"))

    async def test_tcp(self) -> None:
        """An answer beyond 1,232 octets is had by TCP."""
        answer = await self.resolver.lookup("long.test", "TXT")
        self.assertEqual(len(answer.records), 12)

    async def test_at_once(self) -> None:
        """Many questions at once are each answered with their own answer."""
        names = ["mx1.a.test", "mx2.a.test", "plain.test", "alias.test"] * 5
        answers = await gatherResults([self.resolver.lookup(name, "A") for name in names])
        self.assertEqual(
            [answer.records[0].address for answer in answers[:4]],
            ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.3"],
        )

    async def test_closed_port(self) -> None:
        """Where nothing listens the fault comes at once, by the kernel's word."""
        resolver = Resolver(DNS(servers=(f"127.0.0.1:{free_port()}",)), reactor)
        self.addCleanup(resolver.stop)
        await self.assertFailure(resolver.lookup("a.test", "MX"), Unresolved)


class SourcePortTests(TestCase):
    timeout = 30

    async def test_ports(self) -> None:
        """The kernel gives each question a port that cannot be told from those before."""
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        resolver = Resolver(DNS(servers=(f"127.0.0.1:{server.getsockname()[1]}",)), reactor)
        self.addCleanup(resolver.stop)
        asked = [resolver.lookup(f"n{number}.test", "A") for number in range(40)]
        for asking in asked:
            asking.addErrback(lambda failure: failure.trap(Unresolved) and None)
        ports = [server.recvfrom(4096)[1][1] for _ in asked]
        steps = [after - before for before, after in pairwise(ports)]
        self.assertEqual(len(set(ports)), 40)
        self.assertGreater(len(set(steps)), 20)
