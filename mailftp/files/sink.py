"""An upload from the reactor thread's side: gathers chunks, has them written, holds the sender back."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.files.arrivals import Arrival
from mailftp.files.commits import Commits
from mailftp.files.faults import translated
from mailftp.files.home import FileFault, IDirectSink
from mailftp.files.threads import Runner

#: Fewer octets than this are not worth a trip to a thread (a trip is about 60 us).
FLUSH = 256 * 1024
#: With so many waiting the sender is held back.
HIGH = 1024 * 1024
#: Octets after which a large file that has to survive a power cut is sent on its way to the disk while more
#: of it comes: its end has less to wait for then.
PUSH = 32 * 1024 * 1024
#: A file larger than this goes to the disk on a thread of its own, before it joins a batch: the small ones
#: in it do not wait for its megabytes.
ALONE = 1024 * 1024


def always() -> bool:
    """For whoever has no reason to change its mind."""
    return True


@implementer(IDirectSink)
class FileSink:
    """Writes in the order of the calls; one write is under way at any time."""

    def __init__(self, arrival: Arrival, threads: Runner, commits: Commits, durable: bool) -> None:
        self._arrival = arrival
        self._threads = threads
        self._commits = commits
        self._durable = durable
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._writing = self._pushing = False
        #: The size up to which the file was sent to the disk.
        self._pushed = arrival.size
        self._fault: BaseException | None = None
        #: Fires when no write is under way, or when the next may be taken.
        self._idle: list[Deferred[None]] = []

    def write(self, data: bytes) -> Deferred[None] | None:
        try:
            if self._fault is not None:
                raise self._fault
            self._arrival.reserve(len(data))
        except FileFault as refused:
            self._fault = refused
            return fail(refused)
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= FLUSH and not self._writing:
            self._flush()
        if self._waiting >= HIGH:
            return self._when_idle()
        return None

    def direct(self, work: Callable[[Callable[[memoryview], None]], None]) -> Deferred[None] | None:
        if self._fault is not None or self._arrival.arriving is not None:
            # A digest that is taken on the way would keep the turn from its end.
            return None
        return Deferred.fromCoroutine(self._direct(work))

    async def _direct(self, work: Callable[[Callable[[memoryview], None]], None]) -> None:
        while self._writing:
            await self._when_idle()
        chunks = self._take()
        self._writing = True
        done = self._threads.run(lambda: self._write_directly(chunks, work))
        await done.addCallbacks(self._written, self._not_written_directly)

    def _write_directly(
        self, chunks: list[bytes], work: Callable[[Callable[[memoryview], None]], None]
    ) -> None:
        def put(octets: memoryview) -> None:
            self._arrival.reserve(len(octets))
            self._arrival.write([octets])

        with translated():
            self._arrival.write(chunks)
            work(put)

    def _not_written_directly(self, failure: Failure) -> Failure:
        self._not_written(failure)
        return failure

    def _when_idle(self) -> Deferred[None]:
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    def _flush(self) -> None:
        chunks = self._take()
        self._writing = True
        self._threads.run(lambda: self._write(chunks)).addCallbacks(self._written, self._not_written)

    def _take(self) -> list[bytes]:
        chunks, self._chunks, self._waiting = self._chunks, [], 0
        return chunks

    def _write(self, chunks: list[bytes]) -> None:
        with translated():
            self._arrival.write(chunks)

    def _written(self, _: object) -> None:
        self._writing = False
        if self._waiting >= FLUSH:
            self._flush()
        if self._durable and not self._pushing and self._arrival.size - self._pushed >= PUSH:
            self._push()
        self._wake()

    def _push(self) -> None:
        self._pushing = True
        self._pushed = self._arrival.size
        self._threads.run(self._sync).addCallbacks(self._synced, self._not_synced)

    def _sync(self) -> None:
        with translated():
            os.fdatasync(self._arrival.descriptor)

    def _synced(self, _: object) -> None:
        self._pushing = False
        if not self._writing:
            self._wake()

    def _not_synced(self, failure: Failure) -> None:
        """The kernel tells of octets that it could not write once only."""
        self._pushing = False
        self._fault = self._fault or failure.value
        if not self._writing:
            self._wake()

    def _wake(self) -> None:
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    def _not_written(self, failure: Failure) -> None:
        self._writing = False
        self._fault = failure.value
        self._take()
        idle, self._idle = self._idle, []
        for one in idle:
            one.errback(failure)

    def commit(self, wanted: Callable[[], bool] = always) -> Deferred[int]:
        return Deferred.fromCoroutine(self._commit(wanted))

    async def _commit(self, wanted: Callable[[], bool]) -> int:
        try:
            await self._settle()
            if self._fault is not None:
                raise self._fault
            if self._arrival.tail is not None:
                chunks = self._take()
                await self._threads.run(lambda: self._write_tail(chunks))
            if self._durable and self._arrival.size + self._waiting > ALONE:
                chunks = self._take()
                await self._threads.run(lambda: self._write_through(chunks))
            size = await self._commits.submit(self._arrival, self._take(), wanted)
        except BaseException:
            await self.keep()
            raise
        self._arrival.close()
        return size

    def _write_through(self, chunks: list[bytes]) -> None:
        with translated():
            self._arrival.write(chunks)
            os.fdatasync(self._arrival.descriptor)

    def _write_tail(self, chunks: list[bytes]) -> None:
        with translated():
            self._arrival.write(chunks)
            self._arrival.take_tail()

    async def _settle(self) -> None:
        while self._writing or self._pushing:
            try:
                await self._when_idle()
            except FileFault:
                return

    def keep(self) -> Deferred[int]:
        if self._arrival.descriptor < 0:
            return succeed(self._arrival.size)
        return Deferred.fromCoroutine(self._keep())

    async def _keep(self) -> int:
        await self._settle()
        chunks = self._take()
        return await self._threads.run(lambda: self._keep_what_came(chunks))

    def _keep_what_came(self, chunks: list[bytes]) -> int:
        try:
            with translated():
                # A disk that takes no more has what it has.
                with suppress(OSError):
                    if chunks:
                        self._arrival.write(chunks)
                return self._arrival.keep()
        finally:
            self._arrival.close()
