"""How much runs at one time, and connections between messages."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery import destinations
from mailftp.delivery.destinations import (
    DEAD_SECONDS,
    IDLE_SECONDS,
    MESSAGES,
    Answer,
    Connections,
    Destinations,
    Link,
)
from mailftp.delivery.routes import Hop
from mailftp.delivery.verdict import Job
from mailftp.settings import Concurrency

ANSWERED = Answer.ANSWERED


class DestinationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.destinations = self.made(total=6, per_destination=4)

    def made(self, **numbers: int) -> Destinations:
        return Destinations(Concurrency(**numbers), self.clock.seconds)

    def enter(self, *domains: str) -> None:
        for domain in domains:
            self.destinations.enter(Job(None, domain, ()))

    def ready(self) -> list[str]:
        return [job.domain for job in self.destinations.ready()]

    def prove(self, *domains: str) -> None:
        """Each has a job, and answers."""
        for domain in domains:
            self.enter(domain)
            self.assertEqual(self.ready(), [domain])
            self.destinations.leave(domain, ANSWERED)

    def test_grows(self) -> None:
        """Two to a domain that is new, one more for each job that it answers, up to what the settings say."""
        self.enter(*"bbbbbbbbb")
        self.assertEqual(self.ready(), ["b", "b"])
        self.destinations.leave("b", ANSWERED)
        self.assertEqual(self.ready(), ["b", "b"])
        self.destinations.leave("b", ANSWERED)
        self.destinations.leave("b", ANSWERED)
        self.assertEqual(self.ready(), ["b"] * 3)
        self.assertEqual(self.ready(), [])

    def test_shrinks(self) -> None:
        """Turned away, it has half; one place is left to it always."""
        self.prove("b", "b")
        self.enter(*"bbbbbb")
        self.assertEqual(len(self.ready()), 4)
        for _ in range(4):
            self.destinations.leave("b", Answer.BUSY)
        self.assertEqual(self.ready(), ["b"])

    def test_all(self) -> None:
        """No more than the settings' total, whoever they are for; what ends makes room."""
        self.prove(*"bcd")
        self.enter(*"bbbcccddd")
        self.assertEqual(len(self.ready()), 6)
        self.assertTrue(self.destinations.full)
        self.assertEqual(self.ready(), [])
        self.destinations.leave("b", ANSWERED)
        self.assertEqual(len(self.ready()), 1)

    def test_half_for_those_who_answer(self) -> None:
        """Unknown destinations fill half of all; then only those that have answered may be leased for."""
        self.prove("b")
        self.assertIsNone(self.destinations.among)
        self.enter("u", "v", "w", "x", "b")
        self.assertEqual(self.ready(), ["u", "v", "w", "b"])
        self.assertEqual(self.destinations.among, {"b"})
        self.destinations.leave("u", Answer.UNKNOWN)
        self.assertEqual(self.ready(), ["x"])
        self.destinations.leave("v", ANSWERED)
        self.assertIsNone(self.destinations.among)

    def test_changes_over(self) -> None:
        """All jobs of a destination that answers leave the half of the unknown at once; and come back to it
        when it falls silent."""
        self.enter("u", "u", "v", "w")
        self.assertEqual(self.ready(), ["u", "u", "v"])
        self.destinations.leave("u", ANSWERED)
        self.assertEqual(self.ready(), ["w"])
        self.destinations.leave("u", Answer.SILENT, "no route")
        self.destinations.leave("v", Answer.SILENT, "no route")
        self.destinations.leave("w", ANSWERED)
        self.assertEqual((self.destinations.total, self.destinations._unproven), (0, 0))

    def test_dead(self) -> None:
        """A silent destination is dead for a while, or until it is forgiven; a turned away one is not."""
        for answer in (Answer.BUSY, Answer.UNKNOWN, ANSWERED, Answer.SILENT):
            self.enter("b")
            self.assertEqual(self.ready(), ["b"])
            self.destinations.leave("b", answer, "refused")
            self.assertEqual(self.destinations.dead("b"), "refused" if answer is Answer.SILENT else "")
        self.clock.advance(DEAD_SECONDS)
        self.assertEqual(self.destinations.dead("b"), "")
        self.enter("b")
        self.ready()
        self.destinations.leave("b", Answer.SILENT, "refused")
        self.destinations.forgive()
        self.assertEqual(self.destinations.dead("b"), "")

    def test_forgets(self) -> None:
        """What is remembered has a bound, and who is talked to is not forgotten."""
        self.patch(destinations, "REMEMBERED", 2)
        self.enter("b", "b")
        self.ready()
        self.destinations.leave("b", ANSWERED)
        self.prove("c", "d", "e")
        self.assertEqual(set(self.destinations._records), {"b", "e"})
        self.destinations.leave("b", ANSWERED)
        self.assertEqual(self.destinations._unproven, 0)

    def test_busy(self) -> None:
        """Domains with all their places taken, or with somebody waiting, are busy."""
        self.enter("b", "b", "c")
        self.assertEqual(self.destinations.busy, {"b", "c"})
        self.assertEqual(len(self.ready()), 3)
        self.assertEqual(self.destinations.busy, {"b"})
        self.destinations.leave("b", Answer.UNKNOWN)
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
        self.extensions: dict[str, str] = {}
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
