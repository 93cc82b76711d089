"""The one thread that writes: group commit.

All units that wait go into one transaction, each in a SAVEPOINT, and one fsync makes them durable; one
`callFromThread` answers them. While that commit runs the next batch gathers, so the batch grows with
the load and a lone unit waits for nobody.

Before the transaction each unit's bodies are made ready: looked up, indexed, and large ones given
their final name, so that no work that others could wait for is done inside it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.message.index import MessageIndex
from mailftp.store.email_units import PutEmail
from mailftp.store.engine import SMALL_BODY, MissingBody, StoreFault, StoreFull
from mailftp.store.feed import merge
from mailftp.store.quota import MailQuota
from mailftp.store.records import Change, StagedBody
from mailftp.store.sqlite import dispatch
from mailftp.store.sqlite.blobs import Blobs, store_fault
from mailftp.store.sqlite.filing import Apart, accept_together, is_plain
from mailftp.store.sqlite.reading import index_file
from mailftp.store.sqlite.schema import open_writer
from mailftp.store.sqlite.staging import Staging
from mailftp.store.sqlite.sweeping import Sweep
from mailftp.store.sqlite.transaction import ReadyBody, Transaction, select_all
from mailftp.store.units import Accept, AppendMessages, RecordOutcomes, Unit
from mailftp.store.uploads import KeepUpload
from mailftp.wire.journal import Journal
from mailftp.wire.tally import Histogram

#: What one transaction takes at most: beyond, the first of a batch would wait for the last.
BATCH_UNITS = 500
BATCH_OCTETS = 16 * 1024 * 1024

#: A WAL of this size (schema.py begins to empty it at 16 MiB) means that checkpoints could not finish
#: because some reader was always in the way.
WAL_LIMIT = 64 * 1024 * 1024


@dataclass(slots=True)
class Job:
    unit: Unit[Any]
    answer: Deferred[Any]
    value: object = None
    fault: StoreFault | None = None
    committed: bool = False

    @property
    def octets(self) -> int:
        return sum(len(body.data or b"") for body in bodies_of(self.unit))


@dataclass(slots=True)
class Batch:
    jobs: list[Job]
    ready: dict[bytes, ReadyBody] = field(default_factory=dict)
    #: The ids of bodies that have rows.
    known: dict[bytes, int] = field(default_factory=dict)
    #: Files that got their final name for this batch, and those that were not needed.
    placed: dict[bytes, Path] = field(default_factory=dict)
    spare: list[tuple[Job, Path]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)


#: Octets of an index that is kept decoded for a while.
_SMALL_INDEX = 4096


class _Lost(Exception):
    """The transaction as a whole came to nothing; its cause is the __cause__."""


def bodies_of(unit: Unit[Any]) -> tuple[StagedBody, ...]:
    if isinstance(unit, Accept | KeepUpload):
        return (unit.body,)
    if isinstance(unit, AppendMessages):
        return tuple(message.body for message in unit.messages)
    if isinstance(unit, PutEmail):
        return (unit.message.body,)
    if isinstance(unit, RecordOutcomes):
        return tuple(report.body for report in unit.reports)
    return ()


def _code(fault: sqlite3.Error) -> int:
    # The low octet is the error; the rest says where it happened.
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def _is_full(fault: sqlite3.Error) -> bool:
    return _code(fault) == sqlite3.SQLITE_FULL


class Writer:
    """`answered` is called on the writer's thread after each batch."""

    def __init__(
        self,
        path: Path,
        blobs: Blobs,
        staging: Staging,
        now: Callable[[], float],
        quota: MailQuota,
        index: Callable[[bytes | memoryview], MessageIndex],
        answered: Callable[[list[Job], tuple[Change, ...]], None],
    ) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._blobs = blobs
        self._staging = staging
        self._now = now
        self._quota = quota
        self._index = index
        self._answered = answered
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._held: Job | None = None
        self._connection: sqlite3.Connection | None = None
        self._journal = Journal("store")
        #: Commits so far, for tests and benchmarks.
        self.commits = 0
        #: From a batch taken up to its last octet on the disk.
        self.seconds = Histogram()

    def open(self) -> None:
        """Before `run`, on any thread. Raises StoreFault."""
        self._connection = open_writer(self._path)
        try:
            self._blobs.prepare()
        except OSError as fault:
            self.close()
            raise StoreFault(f"cannot use {self._blobs.folder}: {fault.strerror}") from fault

    def submit(self, job: Job) -> None:
        self._queue.put(job)

    def end(self) -> None:
        """Commit what was submitted before, then end."""
        self._queue.put(None)

    def run(self) -> None:
        """The thread, until `end`; `close` is still to be called."""
        while True:
            jobs, ending = self._take()
            if jobs:
                self._write(jobs)
            if ending:
                return

    def _take(self) -> tuple[list[Job], bool]:
        job = self._held or self._queue.get()
        self._held = None
        jobs: list[Job] = []
        octets = 0
        while job is not None:
            if isinstance(job.unit, Sweep) and jobs:
                # Alone: it takes away rows that other units have been made ready to use.
                self._held = job
                return jobs, False
            jobs.append(job)
            octets += job.octets
            if isinstance(job.unit, Sweep) or len(jobs) >= BATCH_UNITS or octets >= BATCH_OCTETS:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True

    def _write(self, jobs: list[Job]) -> None:
        batch = Batch(jobs)
        began = perf_counter()
        try:
            self._make_ready(batch)
            self._commit(batch, [job for job in jobs if job.fault is None])
            self._tidy(batch)
        except Exception:
            # Nothing may end this thread; what is not committed fails.
            self._journal.fault("writer failed")
            for job in jobs:
                if not job.committed:
                    job.fault = job.fault or StoreFault("the store failed")
            self.close()
        self.seconds.observe(perf_counter() - began)
        self._answered(jobs, merge(batch.changes))
        self._bound_wal()

    # Before the transaction.

    def _make_ready(self, batch: Batch) -> None:
        try:
            self._look_up(batch)
        except sqlite3.Error as fault:
            for job in batch.jobs:
                job.fault = self._fault_of(fault)
            self.close()
            return
        for job in batch.jobs:
            try:
                for body in bodies_of(job.unit):
                    self._make_body_ready(batch, job, body)
            except StoreFault as fault:
                job.fault = fault
            except FileNotFoundError:
                job.fault = MissingBody("the staged file is gone")
            except OSError as fault:
                self._journal.fault("cannot place a body")
                job.fault = store_fault(fault)
            except sqlite3.Error as fault:
                job.fault = self._fault_of(fault)
                self.close()
        if batch.placed:
            self._sync(batch)

    def _sync(self, batch: Batch) -> None:
        """What cannot be brought to the disk must not be promised."""
        try:
            self._blobs.sync(batch.placed)
        except OSError as fault:
            self._journal.fault("cannot place a body")
            for job in batch.jobs:
                if any(body.sha256 in batch.placed for body in bodies_of(job.unit)):
                    job.fault = job.fault or store_fault(fault)

    def _make_body_ready(self, batch: Batch, job: Job, body: StagedBody) -> None:
        large = body.size > SMALL_BODY
        if (body.data is not None and large) or (body.path is not None and not large):
            raise StoreFault("a body of this size is not staged so: use stage()")
        ready = batch.ready.get(body.sha256)
        if ready is None:
            index = self._index_of(body)
            row_id = batch.known.get(body.sha256)
            ready = ReadyBody(row_id, body.size, body.data, index, index.encode())
        if body.path is not None:
            there = body.sha256 in batch.placed or (
                ready.id is not None and self._blobs.holds(body.sha256, body.size)
            )
            if there:
                batch.spare.append((job, body.path))
            else:
                self._blobs.place(body.path, body.sha256)
                batch.placed[body.sha256] = body.path
        batch.ready[body.sha256] = ready

    def _look_up(self, batch: Batch) -> None:
        """Which of the bodies are here already. One that has an index by today's rules is ready with it."""
        bodies = {body.sha256: body for job in batch.jobs for body in bodies_of(job.unit)}
        if not bodies:
            return
        sql = "SELECT sha256, id, stored FROM bodies JOIN body_indexes ON body_id = id WHERE sha256 IN"
        for sha256, row_id, stored in select_all(self._open_connection().cursor(), sql, (), bodies):
            batch.known[sha256] = row_id
            body, index = bodies[sha256], _decode(stored)
            if index is not None:
                batch.ready[sha256] = ReadyBody(row_id, body.size, body.data, index, stored)

    def _index_of(self, body: StagedBody) -> MessageIndex:
        if body.data is not None:
            return self._index(body.data)
        if body.path is None:
            raise MissingBody("a staged body has neither data nor a file")
        if (index := self._staging.indexes.get(body.path)) is not None:
            return index
        descriptor = os.open(body.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return index_file(descriptor, self._index)
        finally:
            os.close(descriptor)

    # The transaction.

    def _commit(self, batch: Batch, jobs: list[Job]) -> None:
        if not jobs:
            return
        try:
            self._transact(batch, jobs)
            return
        except _Lost as lost:
            cause = lost.__cause__
            assert isinstance(cause, sqlite3.Error)
            # Busy is another process, for whom all have waited long enough together.
            if len(jobs) == 1 or _code(cause) == sqlite3.SQLITE_BUSY:
                fault = self._fault_of(cause)
                for job in jobs:
                    job.fault = fault
                return
        # One of them was too much; the others may fit.
        for job in jobs:
            self._commit(batch, [job])

    def _transact(self, batch: Batch, jobs: list[Job]) -> None:
        """Raises _Lost."""
        connection = self._open_connection()
        tx = Transaction(connection, self._now(), self._quota, batch.ready)
        changes: list[Change] = []
        after: list[Callable[[], None]] = []
        try:
            tx.run("BEGIN IMMEDIATE")
            for plain, alike in groupby(jobs, lambda job: is_plain(job.unit)):
                some = list(alike)
                if plain and len(some) > 1:
                    tx.changes = []
                    if self._run_together(tx, connection, some):
                        changes += tx.changes
                        continue
                for job in some:
                    tx.changes, tx.after = [], []
                    if self._run_unit(tx, connection, job):
                        changes += tx.changes
                        after += tx.after
            tx.run("COMMIT")
        except sqlite3.Error as fault:
            for job in jobs:
                job.value, job.fault = None, None
            self._roll_back(connection, fault)
            raise _Lost from fault
        for job in jobs:
            job.committed = True
        self.commits += 1
        batch.changes += changes
        batch.after += after

    def _run_together(self, tx: Transaction, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """Carry out plain units in few statements; False, and nothing done, where one of them needs to be
        looked at alone. Raises sqlite3.Error when the whole transaction is gone."""
        tx.run("SAVEPOINT together")
        try:
            answers = accept_together(tx, [job.unit for job in jobs])  # type: ignore[misc]  # plain ones
            tx.run("RELEASE together")
        except (Apart, sqlite3.Error):
            if not connection.in_transaction:
                raise
            tx.run("ROLLBACK TO together")
            tx.run("RELEASE together")
            return False
        for job, answer in zip(jobs, answers, strict=True):
            job.value = answer
        return True

    def _run_unit(self, tx: Transaction, connection: sqlite3.Connection, job: Job) -> bool:
        """Whether it stands. Raises sqlite3.Error when the whole transaction is gone."""
        tx.run("SAVEPOINT unit")
        try:
            job.value = dispatch.UNITS[type(job.unit)](tx, job.unit)
            tx.run("RELEASE unit")
            return True
        except StoreFault as fault:
            job.fault = fault
        except sqlite3.Error as fault:
            if not connection.in_transaction:
                raise
            job.fault = self._fault_of(fault)
        except Exception:
            self._journal.fault("unit failed", unit=type(job.unit).__name__)
            job.fault = StoreFault("the store failed")
        tx.run("ROLLBACK TO unit")
        tx.run("RELEASE unit")
        return False

    def _fault_of(self, fault: sqlite3.Error) -> StoreFault:
        if _is_full(fault):
            return StoreFull("the disk is full")
        self._journal.fault("database failed")
        return StoreFault(f"the database failed: {fault}")

    def _roll_back(self, connection: sqlite3.Connection, cause: sqlite3.Error) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as fault:
            cause = fault
        if not _is_full(cause):
            # Whatever it was, a fresh connection starts from what is on the disk.
            self.close()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = open_writer(self._path)
            except StoreFault as fault:
                raise sqlite3.OperationalError(str(fault)) from fault
        return self._connection

    # After it.

    def _tidy(self, batch: Batch) -> None:
        for sha256, staged in batch.placed.items():
            row = (
                self._open_connection().execute("SELECT 1 FROM bodies WHERE sha256 = ?", (sha256,)).fetchone()
            )
            if row is None:
                self._quietly(self._blobs.take_back, sha256, staged)
            else:
                self._staging.indexes.pop(staged, None)
        for job, path in batch.spare:
            if job.fault is None:
                self._staging.indexes.pop(path, None)
                self._quietly(path.unlink, True)
        for action in batch.after:
            self._quietly(action)

    def _quietly(self, action: Callable[..., None], *values: object) -> None:
        """What fails here leaves a file too many, which a sweep finds."""
        try:
            action(*values)
        except OSError as fault:
            self._journal.warn("cannot tidy up a body", reason=str(fault))

    def _bound_wal(self) -> None:
        """SQLite's own checkpoint at COMMIT is passive: with readers always at work it may never get to
        the end, and the WAL only starts afresh from there. So wait for the readers, who are short."""
        try:
            if self._connection is not None and self._wal.stat().st_size > WAL_LIMIT:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except FileNotFoundError:
            pass
        except (OSError, sqlite3.Error) as fault:
            self._journal.warn("checkpoint failed", reason=str(fault))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as fault:
                self._journal.warn("closing the database failed", reason=str(fault))


@lru_cache(maxsize=64)
def _decode_small(stored: bytes) -> MessageIndex | None:
    return MessageIndex.decode(stored)


def _decode(stored: bytes) -> MessageIndex | None:
    """A body that comes again comes again soon: to several accounts one after the other, or as a draft."""
    return _decode_small(stored) if len(stored) <= _SMALL_INDEX else MessageIndex.decode(stored)


def deliver(jobs: Iterable[Job]) -> None:
    """Answer, on the reactor's thread."""
    for job in jobs:
        if job.fault is None:
            job.answer.callback(job.value)
        else:
            job.answer.errback(job.fault)
