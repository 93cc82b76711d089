"""Bodies on their way in.

Up to SMALL_BODY a body stays in memory. Beyond, it goes to a file: one job at a time on a thread of the
store's own writes and hashes all that has come since the last, so a fast client costs few jobs and
the order is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailftp.message.index import MessageIndex
from mailftp.store.engine import SMALL_BODY, StoreFault
from mailftp.store.records import StagedBody
from mailftp.store.sqlite.blobs import Blobs, store_fault
from mailftp.store.sqlite.reading import index_file
from mailftp.wire.journal import Journal

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

#: Octets waiting for the disk at which the client is to be held up, and at which it may go on.
HIGH_WATER = 512 * 1024
LOW_WATER = 128 * 1024
#: Octets that are written at a time, unless they are the last: a message of 100 KiB is one job on a thread,
#: and each costs two switches between threads.
PIECE = 128 * 1024


class Staging:
    """Where all bodies come in; remembers the indexes of large ones until they are committed."""

    def __init__(
        self,
        blobs: Blobs,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        index: Callable[[bytes | memoryview], MessageIndex],
    ) -> None:
        self.blobs = blobs
        self.reactor = reactor
        self.pool = pool
        self.index = index
        self.journal = Journal("store")
        #: By staged path: made here, so that the writer need not stop for a message of 50 MB.
        self.indexes: dict[Path, MessageIndex] = {}

    def sink(self) -> Sink:
        return Sink(self)


class Sink:
    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        #: One buffer and not a list: a client may send its message two octets at a time.
        self._waiting = bytearray()
        #: Octets in the job that runs.
        self._in_flight = 0
        self._size = 0
        self._large = False
        self._busy = False
        self._sealed = False
        self._discarded = False
        self._drained: Deferred[None] | None = None
        self._finished: Deferred[StagedBody] | None = None
        self._fault: StoreFault | None = None
        self._aborted = False
        # Touched by jobs only, of which one runs at a time.
        self._descriptor = -1
        self._path: Path | None = None
        self._hash: HASH | None = None

    def write(self, data: bytes) -> Deferred[None] | None:
        if self._fault is not None:
            return fail(self._fault)
        if self._aborted:
            return None
        self._waiting += data
        self._size += len(data)
        if not self._large and self._size <= SMALL_BODY:
            return None
        self._large = True
        self._proceed()
        if len(self._waiting) + self._in_flight < HIGH_WATER:
            return None
        if self._drained is None:
            self._drained = Deferred()
        return self._drained

    def finish(self) -> Deferred[StagedBody]:
        if self._fault is not None:
            return fail(self._fault)
        if not self._large:
            data = bytes(self._waiting)
            return succeed(StagedBody(len(data), sha256(data).digest(), data))
        self._finished = Deferred()
        self._proceed()
        return self._finished

    def abort(self) -> None:
        self._aborted = True
        self._waiting = bytearray()
        self._proceed()
        self._go_on()
        if self._finished is not None and not self._finished.called:
            self._finished.errback(StoreFault("the message was given up"))

    def _proceed(self) -> None:
        """Start the next job, if none runs."""
        if self._busy or not self._large or self._discarded:
            return
        if self._aborted or self._fault is not None:
            self._discarded = True
            self._start(self._discard).addErrback(self._discard_failed)
        elif self._finished is not None:
            if not self._sealed:
                data, self._waiting = self._waiting, bytearray()
                self._start(self._seal, data).addCallbacks(self._seal_done, self._failed)
        elif len(self._waiting) >= PIECE:
            data, self._waiting = self._waiting, bytearray()
            self._in_flight = len(data)
            self._start(self._append, data).addCallbacks(self._appended, self._failed)

    def _start(self, job: Callable[..., object], *values: object) -> Deferred[object]:
        self._busy = True
        return deferToThreadPool(self._staging.reactor, self._staging.pool, job, *values)

    # On the reactor's thread, when a job is done.

    def _appended(self, result: object) -> None:
        self._busy, self._in_flight = False, 0
        self._proceed()
        if len(self._waiting) + self._in_flight <= LOW_WATER:
            self._go_on()

    def _go_on(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

    def _seal_done(self, result: object) -> None:
        self._busy, self._sealed = False, True
        assert isinstance(result, StagedBody)
        assert self._finished is not None
        if self._aborted:
            self._proceed()
        else:
            self._finished.callback(result)

    def _failed(self, failure: Failure) -> None:
        self._busy, self._in_flight = False, 0
        self._waiting = bytearray()
        fault = failure.value
        if not isinstance(fault, StoreFault):
            self._staging.journal.warn("staging a body failed", reason=repr(fault))
            fault = StoreFault("the store could not take the message")
        self._fault = fault
        self._proceed()
        drained, self._drained = self._drained, None
        for waiting in (drained, self._finished):
            if waiting is not None and not waiting.called:
                waiting.errback(fault)

    def _discard_failed(self, failure: Failure) -> None:
        # It is removed when the store starts again.
        self._staging.journal.warn("cannot remove a staged body", reason=failure.getErrorMessage())

    # Jobs, on a thread of the pool.

    def _append(self, data: bytearray) -> None:
        try:
            if self._path is None:
                self._descriptor, self._path = self._staging.blobs.create()
            if self._hash is None:
                self._hash = sha256()
            self._hash.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as fault:
            raise store_fault(fault) from fault

    def _seal(self, last: bytearray) -> StagedBody:
        """Not synced: the writer does that for all files of a batch together, before their rows."""
        whole = self._path is None
        self._append(last)
        assert self._path is not None and self._hash is not None
        try:
            self._close()
            if whole:
                index = self._staging.index(bytes(last))
            else:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    index = index_file(descriptor, self._staging.index)
                finally:
                    os.close(descriptor)
            self._staging.indexes[self._path] = index
        except OSError as fault:
            raise store_fault(fault) from fault
        return StagedBody(self._size, self._hash.digest(), path=self._path)

    def _discard(self) -> None:
        self._close()
        if self._path is not None:
            self._staging.indexes.pop(self._path, None)
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
