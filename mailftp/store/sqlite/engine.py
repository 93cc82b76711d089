"""The SQLite engine's public face, on the reactor's thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailftp.message.index import MessageIndex, index_message
from mailftp.store.at_hand import AtHand
from mailftp.store.engine import HISTORY, Store, StoreFault
from mailftp.store.feed import Feed, Hear
from mailftp.store.queries import LONG, Accounts, Query
from mailftp.store.quota import MailQuota
from mailftp.store.records import Change
from mailftp.store.sqlite.blobs import Blobs
from mailftp.store.sqlite.counts import Counts, EmailListings
from mailftp.store.sqlite.dispatch import QUERIES
from mailftp.store.sqlite.index_folder import IndexFolder
from mailftp.store.sqlite.indexing import Indexing, Pass
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.schema import open_reader
from mailftp.store.sqlite.staging import Sink, Staging
from mailftp.store.sqlite.sweeping import KeepIndex, Sweep
from mailftp.store.sqlite.writer import Job, Writer, deliver
from mailftp.store.units import Unit
from mailftp.wire.journal import Journal

R = TypeVar("R")

#: Threads, each with a connection of its own.
READERS = 3
#: The same for searches, sorting and threading, which take seconds on a large mailbox: others do not wait.
SEARCHERS = 2
#: Threads that write large bodies on their way in.
STAGERS = 3

#: Seconds between sweeps, and that a body is kept which nothing names.
SWEEP_EVERY = 60.0
GRACE = 3600.0


class SQLiteStore(Store):
    """`path` is the database, `blobs` the folder of large bodies; both are made when missing. Whoever
    starts it holds the data folder's lock (mailftp.store.lock): what another process was staging is removed.

    `clock` is also the database's clock: leases, retries and grace times go by its `seconds`, since the
    epoch. Without `text_index` there is no full-text index, and one that was made before is removed.
    `mail_quota` and `message_quota` hold for accounts that have none of their own. `history` is for how many
    seconds what has left the queue can be looked at.
    """

    def __init__(
        self,
        path: Path,
        blobs: Path,
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        mail_quota: int | None = None,
        index: Callable[[bytes | memoryview], MessageIndex] = index_message,
        history: float = HISTORY,
        text_index: bool = True,
        message_quota: int | None = None,
    ) -> None:
        self._history = history
        self._path = path
        self._reactor = reactor
        self._clock = clock
        self._index = index
        self._blobs = Blobs(blobs)
        self._feed = Feed()
        self._at_hand = AtHand()
        self._journal = Journal("store")
        self._readers = ThreadPool(0, READERS, "store-read")
        self._searchers = ThreadPool(0, SEARCHERS, "store-search")
        self._stagers = ThreadPool(0, STAGERS, "store-stage")
        self._staging = Staging(self._blobs, reactor, self._stagers, index)
        self._counts = Counts()
        self._emails = EmailListings()
        self._texts = IndexFolder(path.with_name(path.stem + ".texts"))
        self._indexing = Indexing(self._texts, self._index_step, reactor, clock, text_index)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writer = Writer(
            path,
            self._blobs,
            self._staging,
            clock.seconds,
            MailQuota(mail_quota, message_quota),
            index,
            self._batch_done,
        )
        self.commit_seconds = self._writer.seconds
        self._thread: threading.Thread | None = None
        self._open = False
        self._stopped: Deferred[None] | None = None
        self._next_sweep: IDelayedCall | None = None
        self._sweep_folder = 0

    @property
    def commits(self) -> int:
        """Group commits so far."""
        return self._writer.commits

    def start(self) -> Deferred[None]:
        started: Deferred[None] = Deferred()
        self._thread = threading.Thread(target=self._run, args=(started,), name="store-write", daemon=True)
        self._thread.start()
        return started

    def stop(self) -> Deferred[None]:
        stopped: Deferred[None] = Deferred()
        if not self._open:
            stopped.callback(None)
            return stopped
        self._open = False
        if self._next_sweep is not None and self._next_sweep.active():
            self._next_sweep.cancel()
        self._stopped = stopped
        self._indexing.stop()
        self._writer.end()
        return stopped

    def stage(self) -> Sink:
        return self._staging.sink()

    def commit(self, unit: Unit[R]) -> Deferred[R]:
        if not self._open:
            return fail(StoreFault("the store is not open"))
        answer: Deferred[R] = Deferred()
        self._writer.submit(Job(unit, answer))
        return answer

    def read(self, query: Query[R]) -> Deferred[R]:
        if not self._open:
            return fail(StoreFault("the store is not open"))
        keeps = type(query) in AtHand.kinds
        if keeps and (kept := self._at_hand.answer(query)) is not None:
            return succeed(kept[0])
        pool = self._searchers if isinstance(query, LONG) else self._readers
        answer: Deferred[R] = deferToThreadPool(self._reactor, pool, self._read, query)
        if keeps:
            reading = self._at_hand.begins(query)
            answer.addCallbacks(reading.answered, reading.failed)
        return answer

    def subscribe(self, hear: Hear) -> Feed.Subscription:
        return self._feed.subscribe(hear)

    # The writer's thread.

    def _run(self, started: Deferred[None]) -> None:
        try:
            self._writer.open()
        except Exception as fault:
            self._reactor.callFromThread(started.errback, fault)
            return
        self._reactor.callFromThread(self._opened, started)
        self._writer.run()
        # Waits for jobs that run still: not for the reactor's thread to do.
        self._readers.stop()
        self._searchers.stop()
        self._stagers.stop()
        self._indexing.join()
        for connection in self._connections:
            connection.close()
        # Last, because the last connection empties and removes the WAL.
        self._writer.close()
        self._reactor.callFromThread(self._ended)

    def _batch_done(self, jobs: list[Job], changes: tuple[Change, ...]) -> None:
        self._reactor.callFromThread(self._answer, jobs, changes)

    # A reader's thread.

    def _read(self, query: Query[R]) -> R:
        connection = self._reader()
        view = self._view(connection)
        try:
            connection.execute("BEGIN")
            try:
                answer: R = QUERIES[type(query)](view, query)
            finally:
                # At once: the WAL cannot start afresh while a read transaction is open.
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as fault:
            self._journal.fault("reading failed", query=type(query).__name__)
            # A fresh connection may do better.
            self._local.connection = None
            self._connections.remove(connection)
            connection.close()
            raise StoreFault(f"reading failed: {fault}") from fault
        return answer

    def _view(self, connection: sqlite3.Connection) -> View:
        return View(
            connection,
            self._blobs,
            self._clock.seconds,
            self._index,
            self._keep_index,
            self._counts,
            self._texts,
            self._index_damaged,
            self._emails,
        )

    def _index_damaged(self, account_id: int, reason: str) -> None:
        self._reactor.callFromThread(self._indexing.damaged, account_id, reason)

    def _index_step(self, work: Pass) -> bool:
        """On the indexing thread, which has a connection of its own like a reader's."""
        connection = self._reader()
        connection.execute("BEGIN")
        try:
            return work.step(self._view(connection))
        finally:
            connection.execute("COMMIT")

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = self._local.connection = open_reader(self._path)
            except sqlite3.Error as fault:
                raise StoreFault(f"cannot open {self._path}: {fault}") from fault
            self._connections.append(connection)
        return connection

    def _keep_index(self, body_id: int, stored: bytes) -> None:
        unanswered: Deferred[Any] = Deferred()
        unanswered.addErrback(self._lost_index)
        self._writer.submit(Job(KeepIndex(body_id, stored), unanswered))

    # The reactor's thread.

    def _lost_index(self, failure: Failure) -> None:
        # It will be made again when it is next asked for.
        self._journal.warn("cannot keep an index", reason=failure.getErrorMessage())

    def _opened(self, started: Deferred[None]) -> None:
        self._open = True
        self._readers.start()
        self._searchers.start()
        self._stagers.start()
        self._schedule_sweep(SWEEP_EVERY)
        listed = self.read(Accounts())
        listed.addCallbacks(
            lambda accounts: self._indexing.start(account.id for account in accounts), self._not_indexed
        )
        started.callback(None)

    def _not_indexed(self, failure: Failure) -> None:
        if self._open:
            self._journal.warn("indexing failed", reason=failure.getErrorMessage())

    def _answer(self, jobs: list[Job], changes: tuple[Change, ...]) -> None:
        # First, or somebody who is answered would read what was there before.
        self._at_hand.forget(changes)
        # Whoever subscribes because of an answer has read, or will read, what this batch did.
        listeners = self._feed.present()
        deliver(jobs)
        self._feed.tell(changes, listeners)
        self._indexing.heard(changes)

    def _ended(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._stopped is not None:
            self._stopped.callback(None)

    def _schedule_sweep(self, after: float) -> None:
        self._next_sweep = self._clock.callLater(after, self._sweep)

    def _sweep(self) -> None:
        folder, self._sweep_folder = self._sweep_folder, (self._sweep_folder + 1) % 256
        swept = self.commit(Sweep(GRACE, self._history, self._blobs, folder))
        swept.addCallbacks(self._swept, self._sweep_failed)

    def _swept(self, more: bool) -> None:
        if self._open:
            self._schedule_sweep(1.0 if more else SWEEP_EVERY)

    def _sweep_failed(self, failure: Failure) -> None:
        self._journal.warn("sweep failed", reason=failure.getErrorMessage())
        self._swept(False)
