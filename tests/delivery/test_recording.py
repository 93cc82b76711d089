"""Outcomes that wait for the store together."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.recording import Recording
from mailftp.store.engine import StoreFault
from mailftp.store.records import Attempt, RecipientState, StagedBody
from mailftp.store.units import Accept, Outcome, RecordOutcomes


def unit(*recipients: int, reports: tuple[Accept, ...] = ()) -> RecordOutcomes:
    attempts = [Attempt(number, 1, 1.0, 2.0, "", "", "") for number in recipients]
    outcomes = tuple(Outcome(a.recipient_id, a, RecipientState.DELIVERED) for a in attempts)
    return RecordOutcomes("node/boot", outcomes, reports)


class Slow:
    """A store whose commits the test ends."""

    def __init__(self) -> None:
        self.commits: list[tuple[RecordOutcomes, Deferred[tuple[int, ...]]]] = []

    def commit(self, unit: RecordOutcomes) -> Deferred[tuple[int, ...]]:
        answer: Deferred[tuple[int, ...]] = Deferred()
        self.commits.append((unit, answer))
        return answer

    @property
    def recipients(self) -> list[list[int]]:
        return [[outcome.recipient_id for outcome in unit.outcomes] for unit, _ in self.commits]


class RecordingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Slow()
        self.recording = Recording(self.store, "node/boot")

    def test_together(self) -> None:
        first, second, third = (self.recording.record(unit(*n)) for n in ((1,), (2, 3), (4,)))
        self.assertEqual(self.store.recipients, [[1]])
        self.store.commits[0][1].callback((1,))
        self.assertEqual(self.successResultOf(first), (1,))
        self.assertEqual(self.store.recipients, [[1], [2, 3, 4]])
        self.assertNoResult(second)
        self.store.commits[1][1].callback((4, 2))
        self.assertEqual(self.successResultOf(second), (2,))
        self.assertEqual(self.successResultOf(third), (4,))

    def test_one_that_cannot_be_taken(self) -> None:
        """Of those that went together each is tried alone."""
        self.recording.record(unit(1))
        good, bad = self.recording.record(unit(2)), self.recording.record(unit(3))
        self.store.commits[0][1].callback((1,))
        self.store.commits[1][1].errback(StoreFault("no"))
        self.store.commits[2][1].callback((2,))
        self.store.commits[3][1].errback(StoreFault("no"))
        self.assertEqual(self.store.recipients, [[1], [2, 3], [2], [3]])
        self.assertEqual(self.successResultOf(good), (2,))
        self.failureResultOf(bad, StoreFault)
        self.recording.record(unit(5))
        self.assertEqual(self.store.recipients[-1], [5])

    def test_reports_go_alone(self) -> None:
        self.recording.record(unit(1))
        report = Accept(StagedBody(0, b""), 0.0)
        self.recording.record(unit(2, reports=(report,)))
        self.assertEqual(self.store.recipients, [[1], [2]])

    def test_bounded(self) -> None:
        self.recording.record(unit(0))
        for start in range(0, 1000, 100):
            self.recording.record(unit(*range(start + 1, start + 101)))
        self.store.commits[0][1].callback((0,))
        self.assertEqual(len(self.store.recipients[1]), 500)
