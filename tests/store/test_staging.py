"""Bodies on their way into the SQLite store, and what its readers do with them."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailftp.message.index import MessageIndex, index_message
from mailftp.store.engine import MissingBody, StoreFault, StoreFull
from mailftp.store.queries import Accounts, Bodies, Grants, Indexes, MailboxSince, OpenBody
from mailftp.store.records import BodyRef, Filing, Verifier
from mailftp.store.sqlite import SQLiteStore, engine, staging
from mailftp.store.sqlite.dispatch import QUERIES
from mailftp.store.sqlite.engine import SWEEP_EVERY
from mailftp.store.units import Accept, AddAccount, Expunge
from tests.store.messages import message, staged

MIB = 1024 * 1024


class StagingCase(TestCase):
    async def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = SQLiteStore(
            self.folder / "mail.sqlite", self.folder / "blobs", reactor, self.clock, index=self.index
        )
        self.indexed = 0
        await self.store.start()
        self.addCleanup(self.store.stop)
        self.bob = (await self.store.commit(AddAccount("bob@example.test", Verifier("x")))).id

    def index(self, data):
        self.indexed += 1
        return index_message(data)

    def files(self, folder="blobs"):
        return [p for p in (self.folder / folder).rglob("*") if p.is_file()]

    async def accept(self, data):
        body = await staged(self.store, data)
        await self.store.commit(Accept(body, 1.0, (Filing(self.bob),)))
        return (await self.store.read(MailboxSince(self.bob))).messages[-1].body

    def patch_os(self, **functions):
        """For staging alone: the reactor writes too."""
        self.patch(staging, "os", SimpleNamespace(**{**vars(os), **functions}))

    async def idle(self):
        """The staging threads have nothing left to do."""
        pool = self.store._stagers
        for _ in range(2000):
            if not pool.working and not pool.q.qsize():
                return
            # A turn of the reactor, and of the threads.
            await self.store.read(Accounts())
        self.fail("staging goes on")


class Sinks(StagingCase):
    async def test_back_pressure(self):
        """A client that is faster than the disk is told to wait, and to go on when little is left."""
        gate = threading.Event()
        write = os.write

        def slow_write(descriptor, data):
            gate.wait(10)
            return write(descriptor, data)

        self.patch_os(write=slow_write)
        self.addCleanup(gate.set)
        sink = self.store.stage()
        self.assertIsNone(sink.write(b"x" * 1000))
        self.assertIsNone(sink.write(b"x" * (staging.HIGH_WATER - 2000)))
        held_up = sink.write(b"x" * 1000)
        self.assertIsInstance(held_up, Deferred)
        self.assertNoResult(held_up)
        gate.set()
        self.assertIsNone(await held_up)
        body = await sink.finish()
        self.assertEqual(body.size, staging.HIGH_WATER)

    async def test_large_body_is_indexed_once(self):
        """The index of a large body is made while it is staged and not again by the writer, nor when the
        same body comes again."""
        data = message(body=b"large\r\n" * 20_000)
        await self.accept(data)
        self.assertEqual(self.indexed, 1)
        self.assertEqual(self.store._staging.indexes, {})

    async def test_aborts_leave_no_file(self):
        """An aborted body, while it is written or when it is finished, leaves neither file nor memory."""
        for finished in (False, True):
            sink = self.store.stage()
            sink.write(b"x" * MIB)
            if finished:
                await sink.finish()
            sink.abort()
            self.assertIsNone(sink.write(b"more"))
        await self.idle()
        self.assertEqual(self.files(), [])
        self.assertEqual(self.store._staging.indexes, {})

    async def test_abort_ends_the_waiting(self):
        """Whoever waits for the disk or for the end of a body that is then aborted is let go."""
        waiting = self.store.stage()
        held_up = waiting.write(b"x" * MIB)
        waiting.abort()
        await held_up
        finishing = self.store.stage()
        finishing.write(b"x" * MIB)
        finished = finishing.finish()
        finishing.abort()
        await self.assertFailure(finished, StoreFault)

    async def test_disk_full(self):
        """A full disk fails the write that waits, every later one and the end, with StoreFull; no file
        stays."""

        def full(descriptor, data):
            raise OSError(28, "No space left on device")

        self.patch_os(write=full)
        sink = self.store.stage()
        await self.assertFailure(sink.write(b"x" * MIB), StoreFull)
        await self.assertFailure(sink.write(b"x"), StoreFull)
        await self.assertFailure(sink.finish(), StoreFull)
        await self.idle()
        self.assertEqual(self.files(), [])

    async def test_file_is_whole_when_it_is_finished(self):
        """A large body is in its file when finish answers, however it came, for its owner alone."""
        for piece in (0, 1000, 200_000):
            body = await staged(self.store, b"x" * MIB, piece)
            self.assertEqual(body.path.stat().st_size, MIB)
        self.assertEqual(body.path.stat().st_mode & 0o777, 0o600)


class Readers(StagingCase):
    def busy(self) -> int:
        """1 when some reader keeps the WAL from starting afresh."""
        connection = sqlite3.connect(self.folder / "mail.sqlite")
        self.addCleanup(connection.close)
        return connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    async def test_no_read_transaction_stays(self):
        """After a query, also one that fails, no reader holds the WAL."""
        await self.accept(message())
        await self.store.read(MailboxSince(self.bob))
        await self.assertFailure(self.store.read(Bodies((BodyRef(99, 1, False),))), MissingBody)
        self.assertEqual(self.busy(), 0)

    async def test_readers_cannot_write(self):
        """A reader's connection refuses to write."""
        await self.store.read(Accounts())
        (reader, *_) = self.store._connections
        fault = self.assertRaises(sqlite3.OperationalError, reader.execute, "DELETE FROM bodies")
        self.assertIn("readonly", str(fault))

    async def test_old_indexes_are_made_again(self):
        """An index of an older version is made again when it is asked for, small body and large, and kept."""
        refs = tuple([await self.accept(message(body=b"x" * size)) for size in (10, 100_000)])
        wanted = await self.store.read(Indexes(refs))
        connection = sqlite3.connect(self.folder / "mail.sqlite")
        self.addCleanup(connection.close)
        with connection:
            connection.execute("UPDATE body_indexes SET stored = x'0000'")
        self.indexed = 0
        self.assertEqual(await self.store.read(Indexes(refs)), wanted)
        self.assertEqual(self.indexed, 2)
        # Behind the units that keep them.
        await self.store.commit(Expunge(0, 0, ()))
        stored = connection.execute("SELECT stored FROM body_indexes ORDER BY body_id").fetchall()
        self.assertEqual(tuple(MessageIndex.decode(s) for (s,) in stored), wanted)

    async def test_lost_file(self):
        """A large body whose file somebody removed is MissingBody."""
        ref = await self.accept(b"x" * 100_000)
        (path,) = self.files()
        path.unlink()
        await self.assertFailure(self.store.read(OpenBody(ref)), MissingBody)

    async def test_broken_database(self):
        """A query that the database cannot do fails in words, and the next gets a fresh connection."""

        used = []

        def broken(view, query):
            used.append(view.connection)
            view.connection.execute("SELECT nothing")

        # Not what the store itself asks when it has been opened.
        self.patch(engine, "QUERIES", {**QUERIES, Grants: broken})
        fault = await self.assertFailure(self.store.read(Grants()), StoreFault)
        self.assertIn("reading failed", str(fault))
        self.assertNotIn(used[0], self.store._connections)
        self.assertRaises(sqlite3.ProgrammingError, used[0].execute, "SELECT 1")
        self.patch(engine, "QUERIES", QUERIES)
        self.assertEqual(await self.store.read(Grants()), ())
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)


class Life(StagingCase):
    async def test_sweeps_by_the_clock(self):
        """Sweeps come by the clock, one after the other, and end with the store."""
        for _ in range(3):
            before = self.store.commits
            self.clock.advance(SWEEP_EVERY)
            # Behind the sweep.
            await self.store.commit(Expunge(0, 0, ()))
            await self.store.read(Accounts())
            self.assertGreater(self.store.commits, before + 1)
        await self.store.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_stop_commits_what_waits(self):
        """Units that were submitted before the stop are committed and answered."""
        bodies = [await staged(self.store, message(f"{n}")) for n in range(20)]
        answers = [self.store.commit(Accept(body, 1.0, (Filing(self.bob),))) for body in bodies]
        await self.store.stop()
        self.assertEqual([(await answer).filed[0][2] for answer in answers], list(range(1, 21)))

    async def test_start_fails_in_words(self):
        """A store whose folder is missing fails to start with StoreFault, and can be stopped."""
        store = SQLiteStore(
            self.folder / "no" / "mail.sqlite", self.folder / "no" / "blobs", reactor, self.clock
        )
        await self.assertFailure(store.start(), StoreFault)
        await store.stop()
