"""Giving uploads their names, many at a time: whatever is waiting shares the trip to the disk.

One batch is under way at any time; uploads that end meanwhile make the next. The order on disk is: the
octets, the name, the folder. A crash between any two of them leaves a hidden file or a whole one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailftp.files.arrivals import Arrival
from mailftp.files.faults import fault
from mailftp.files.home import Cut, FileFault
from mailftp.files.threads import Runner
from mailftp.wire.syncing import CAN_SYNC_SYSTEM, sync_system

T = TypeVar("T")

#: From so many files on, one syncfs for the file system costs less than an fsync for each
#: (64 files: 37,000 a second against 5,200; below about 8 they are equal).
TOGETHER = 8
#: Files in one batch: what a client waits for must not grow without bound.
BATCH = 256

Wanted = Callable[[], bool]


class Waiting:
    """An upload that is written and waits for its name."""

    __slots__ = ("arrival", "chunks", "done", "outcome", "wanted")

    def __init__(self, arrival: Arrival, chunks: list[bytes], wanted: Wanted) -> None:
        self.arrival = arrival
        #: What has not been written yet.
        self.chunks = chunks
        self.wanted = wanted
        self.done: Deferred[int] = Deferred()
        self.outcome: int | FileFault | None = None

    def attempt(self, step: Callable[[], object]) -> None:
        """Do a step of one upload; its failure is its own."""
        try:
            step()
        except OSError as error:
            self.outcome = fault(error)
        except FileFault as error:
            self.outcome = error


class Commits:
    """The queue of uploads that are whole."""

    def __init__(self, threads: Runner, durable: bool) -> None:
        self._threads = threads
        self._durable = durable
        self._waiting: list[Waiting] = []
        self._running = False

    def submit(self, arrival: Arrival, chunks: list[bytes], wanted: Wanted) -> Deferred[int]:
        """Write the last chunks, ask whether it is still wanted, give it its name; fires with its size.

        Fails with FileFault, Cut when it was not wanted; the arrival is not closed.
        """
        one = Waiting(arrival, chunks, wanted)
        self._waiting.append(one)
        if not self._running:
            self._next()
        return one.done

    def _next(self) -> None:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        self._running = bool(batch)
        if batch:
            writing = self._threads.run(lambda: _write_all(batch, self._durable))
            writing.addCallback(lambda _: self._ask(batch))
            writing.addErrback(self._broken, batch)
            writing.addCallback(lambda _: self._next())

    def _ask(self, batch: list[Waiting]) -> Deferred[None]:
        good = []
        for one in batch:
            if one.outcome is None:
                if one.wanted():
                    good.append(one)
                else:
                    one.outcome = Cut("Upload cut")
        naming = self._threads.run(lambda: _name_all(good, self._durable))
        return naming.addCallback(lambda _: _answer(batch))

    def _broken(self, failure: Failure, batch: list[Waiting]) -> None:
        """A fault of ours must not leave clients waiting."""
        for one in batch:
            if not one.done.called:
                one.done.errback(failure)


def _answer(batch: list[Waiting]) -> None:
    for one in batch:
        if isinstance(one.outcome, int):
            one.done.callback(one.outcome)
        else:
            one.done.errback(one.outcome or FileFault("Input or output error"))


def _write_all(batch: list[Waiting], durable: bool) -> None:
    """On a file thread: the last octets of each, and all octets to the disk."""
    for one in batch:
        one.attempt(lambda one=one: one.arrival.write(one.chunks))  # type: ignore[misc]  # bound now
    if durable:
        _sync([one for one in batch if one.outcome is None], lambda one: one.arrival.descriptor)


def _name_all(batch: list[Waiting], durable: bool) -> None:
    """On a file thread: each gets its name, and the folders go to the disk."""
    for one in batch:
        one.attempt(one.arrival.publish)
    named = [one for one in batch if one.outcome is None]
    if durable:
        _sync(named, lambda one: one.arrival.folder)
    for one in named:
        if one.outcome is None:
            one.outcome = one.arrival.size


def _sync(batch: list[Waiting], descriptor: Callable[[Waiting], int]) -> None:
    """Bring a descriptor of each to the disk, none of them twice."""
    distinct: dict[tuple[int, int], list[Waiting]] = {}
    for one in batch:
        found = os.fstat(descriptor(one))
        distinct.setdefault((found.st_dev, found.st_ino), []).append(one)
    if len(distinct) >= TOGETHER and CAN_SYNC_SYSTEM:
        systems: dict[int, list[Waiting]] = {}
        for (device, _), sharing in distinct.items():
            systems.setdefault(device, []).extend(sharing)
        _each(systems.values(), lambda one: sync_system(descriptor(one)))
    else:
        _each(distinct.values(), lambda one: os.fsync(descriptor(one)))


def _each(groups: Iterable[list[Waiting]], sync: Callable[[Waiting], None]) -> None:
    for sharing in groups:
        first = sharing[0]
        first.attempt(lambda first=first: sync(first))  # type: ignore[misc]  # bound now
        for one in sharing[1:]:
            one.outcome = first.outcome
