"""How much runs at one time, and connections between messages."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.destinations import IDLE_SECONDS, MESSAGES, Connections, Destinations, Link
from mailftp.delivery.routes import Hop
from mailftp.delivery.verdict import Job
from mailftp.settings import Concurrency


class DestinationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.destinations = Destinations(Concurrency(total=3, per_destination=2))

    def enter(self, *domains: str) -> None:
        for domain in domains:
            self.destinations.enter(Job(None, domain, ()))

    def ready(self) -> list[str]:
        return [job.domain for job in self.destinations.ready()]

    def test_limits(self) -> None:
        """Two to a domain, three in all; what ends makes room."""
        self.enter("b", "b", "b", "c", "c")
        self.assertEqual(self.ready(), ["b", "b", "c"])
        self.assertTrue(self.destinations.full)
        self.assertEqual(self.ready(), [])
        self.destinations.leave("b")
        self.assertEqual(self.ready(), ["b"])
        self.destinations.leave("c")
        self.assertEqual(self.ready(), ["c"])
        self.assertEqual(self.destinations.waiting, [])

    def test_busy(self) -> None:
        """Domains with all their places taken, or with somebody waiting, are busy."""
        self.enter("b", "b", "c")
        self.assertEqual(self.destinations.busy, {"b", "c"})
        self.assertEqual(len(self.ready()), 3)
        self.assertEqual(self.destinations.busy, {"b"})
        self.destinations.leave("b")
        self.assertEqual(self.destinations.busy, set())

    def test_drop(self) -> None:
        """Those that wait can be taken out."""
        self.enter("b", "b", "b")
        self.ready()
        self.assertEqual(len(self.destinations.drop_waiting()), 1)
        self.assertEqual(self.destinations.waiting, [])


class FakeClient:
    def __init__(self) -> None:
        self.usable = True
        self.quits = 0

    def quit(self) -> Deferred[None]:
        self.quits += 1
        return succeed(None)


class ConnectionsTests(SynchronousTestCase):
    HOP = Hop("mx.test", "192.0.2.1", 25)

    def setUp(self) -> None:
        self.clock = Clock()
        self.connections = Connections(self.clock, 2)

    def tearDown(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.connections.close()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def link(self, used: int = 1, hop: Hop = HOP) -> Link:
        link = Link(hop, FakeClient(), used)
        self.connections.give(link)
        return link

    def test_taken_again(self) -> None:
        """A connection is taken once, by whoever goes to the same hop."""
        link = self.link()
        self.assertIsNone(self.connections.take(Hop("mx.test", "192.0.2.2", 25)))
        self.assertIs(self.connections.take(self.HOP), link)
        self.assertIsNone(self.connections.take(self.HOP))

    def test_idle(self) -> None:
        """After some seconds it is closed."""
        first, second = self.link(), self.link()
        self.clock.advance(IDLE_SECONDS / 2)
        self.assertIs(self.connections.take(self.HOP), second)
        self.clock.advance(IDLE_SECONDS)
        self.assertEqual((first.client.quits, second.client.quits), (1, 0))

    def test_closed_by_the_far_side(self) -> None:
        """One that can no longer be used is passed over."""
        first, second = self.link(), self.link()
        second.client.usable = False
        self.assertIs(self.connections.take(self.HOP), first)

    def test_not_kept(self) -> None:
        """Too many, too often used, or broken: closed at once."""
        self.assertEqual(self.link(used=MESSAGES).client.quits, 1)
        broken = Link(self.HOP, FakeClient(), 1)
        broken.client.usable = False
        self.connections.give(broken)
        self.assertEqual(broken.client.quits, 1)
        self.link()
        self.link(hop=Hop("x.test", "192.0.2.9", 25))
        self.assertEqual(self.link().client.quits, 1)

    def test_close(self) -> None:
        """All are closed at the end."""
        links = [self.link(), self.link()]
        self.successResultOf(Deferred.fromCoroutine(self.connections.close()))
        self.assertEqual([link.client.quits for link in links], [1, 1])
