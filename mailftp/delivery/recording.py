"""Outcomes on their way to the store: those that come while a commit is under way go into the next together.

A far side that takes a thousand messages a second would else have a thousand units written, each with its
half-dozen statements; the store writes any number of outcomes with the same few.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mailftp.store.engine import Store
from mailftp.store.units import RecordOutcomes

#: Outcomes of one unit at most.
TOGETHER = 500


@dataclass(slots=True)
class _Waiting:
    unit: RecordOutcomes
    answer: Deferred[tuple[int, ...]]


class Recording:
    """`owner` is whose leases end."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner = store, owner
        self._waiting: list[_Waiting] = []
        self._writing = False

    def record(self, unit: RecordOutcomes) -> Deferred[tuple[int, ...]]:
        """The ids of the recipients whose outcomes were taken, once that is on the disk. Fails as a commit
        does. What has reports goes alone: they stand and fall with the outcomes of their own message."""
        if unit.reports:
            return self._store.commit(unit)
        waiting = _Waiting(unit, Deferred())
        self._waiting.append(waiting)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write())
        return waiting.answer

    async def _write(self) -> None:
        while self._waiting:
            await self._write_some(self._next())
        self._writing = False

    def _next(self) -> list[_Waiting]:
        count = recipients = 0
        for waiting in self._waiting:
            recipients += len(waiting.unit.outcomes)
            if count and recipients > TOGETHER:
                break
            count += 1
        some, self._waiting = self._waiting[:count], self._waiting[count:]
        return some

    async def _write_some(self, some: list[_Waiting]) -> None:
        outcomes = tuple(outcome for waiting in some for outcome in waiting.unit.outcomes)
        try:
            recorded = await self._store.commit(RecordOutcomes(self._owner, outcomes))
        except Exception as fault:
            if len(some) == 1:
                some[0].answer.errback(fault)
                return
            # One of them may be what the store cannot take: the others are not to wait for it.
            for waiting in some:
                await self._write_some([waiting])
            return
        taken = frozenset(recorded)
        for waiting in some:
            ours = (outcome.recipient_id for outcome in waiting.unit.outcomes)
            waiting.answer.callback(tuple(number for number in ours if number in taken))
