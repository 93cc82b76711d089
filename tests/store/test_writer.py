"""Group commit, seen from the writer itself: no thread runs, so each batch is exactly what was submitted."""

from __future__ import annotations

import os
import sqlite3
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailftp.message.index import index_message
from mailftp.store.engine import MailboxExists, OverQuota, StoreFault, StoreFull
from mailftp.store.quota import MailQuota
from mailftp.store.records import Filing, StagedBody, Verifier
from mailftp.store.sqlite import blobs as blobs_module
from mailftp.store.sqlite import sweeping
from mailftp.store.sqlite import writer as writer_module
from mailftp.store.sqlite.blobs import Blobs
from mailftp.store.sqlite.staging import Staging
from mailftp.store.sqlite.sweeping import Sweep
from mailftp.store.sqlite.writer import BATCH_UNITS, Job, Writer
from mailftp.store.units import (
    Accept,
    AddAccount,
    CopyMessages,
    CreateMailbox,
    DeleteMailbox,
    RemoveAccount,
    SetAccount,
)
from tests.store.messages import message


class WriterCase(TestCase):
    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.now = 1_700_000_000.0
        self.blobs = Blobs(self.folder / "blobs")
        self.staging = Staging(self.blobs, None, None, index_message)
        self.batches = []
        self.writer = self.make_writer()
        self.writer.open()
        self.addCleanup(self.writer.close)
        self.bob = self.do(AddAccount("bob@example.test", Verifier("x"))).id
        self.batches.clear()

    def make_writer(self):
        return Writer(
            self.folder / "mail.sqlite",
            self.blobs,
            self.staging,
            lambda: self.now,
            MailQuota(),
            index_message,
            lambda jobs, changes: self.batches.append((jobs, changes)),
        )

    def run_all(self, *units) -> list[Job]:
        """Have them all waiting before the writer looks."""
        jobs = [Job(unit, Deferred()) for unit in units]
        for job in jobs:
            self.writer.submit(job)
        self.writer.end()
        # As the thread does, without closing the database at the end.
        ending = False
        while not ending:
            taken, ending = self.writer._take()
            if taken:
                self.writer._write(taken)
        return jobs

    def do(self, unit):
        (job,) = self.run_all(unit)
        if job.fault:
            raise job.fault
        return job.value

    def rows(self, sql, *values):
        return self.writer._connection.execute(sql, values).fetchall()

    def small(self, text: bytes = b"", **fields) -> Accept:
        data = message("small") + text
        body = StagedBody(len(data), sha256(data).digest(), data)
        return Accept(body, self.now, (Filing(self.bob, **fields),))

    def large(self, text: bytes = b"") -> Accept:
        data = message("large", body=b"0123456789\r\n" * 8000 + text)
        descriptor, path = self.blobs.create()
        with open(descriptor, "wb") as file:
            file.write(data)
        body = StagedBody(len(data), sha256(data).digest(), path=path)
        return Accept(body, self.now, (Filing(self.bob),))

    def files(self) -> list[str]:
        return sorted(
            str(p.relative_to(self.blobs.folder)) for p in self.blobs.folder.rglob("*") if p.is_file()
        )


class GroupCommit(WriterCase):
    def test_one_commit_for_all_that_waits(self):
        """A hundred units that wait cost one commit and one answer, with one change for the mailbox."""
        before = self.writer.commits
        jobs = self.run_all(*(self.small(b"%d" % n) for n in range(100)))
        self.assertEqual(self.writer.commits, before + 1)
        ((answered, changes),) = self.batches
        self.assertEqual(answered, jobs)
        self.assertEqual([job.value.filed[0][2] for job in jobs], list(range(1, 101)))
        self.assertEqual(len(changes), 1)

    def test_batches_are_bounded_by_number(self):
        """No transaction takes more than BATCH_UNITS units."""
        self.run_all(*(CreateMailbox(self.bob, f"m{n}") for n in range(2 * BATCH_UNITS + 1)))
        self.assertEqual([len(jobs) for jobs, _ in self.batches], [BATCH_UNITS, BATCH_UNITS, 1])

    def test_batches_are_bounded_by_size(self):
        """Nor more octets than BATCH_OCTETS and the unit that reaches them."""
        self.patch(writer_module, "BATCH_OCTETS", 100_000)
        self.run_all(*(self.small(b"%d" % n + b"x" * 40_000) for n in range(5)))
        self.assertEqual([len(jobs) for jobs, _ in self.batches], [3, 2])

    def test_each_unit_is_a_savepoint(self):
        """In one transaction, units that fail leave nothing behind and their neighbours stand."""
        before = self.writer.commits
        self.do(SetAccount("bob@example.test", (("mail_quota", 1000),)))
        good, full, twice, last = self.run_all(
            self.small(),
            self.small(b"x" * 1000, mailbox="New"),
            CreateMailbox(self.bob, "Sent"),
            self.small(),
        )
        self.assertEqual(self.writer.commits, before + 2)
        self.assertIsInstance(full.fault, OverQuota)
        self.assertIsInstance(twice.fault, MailboxExists)
        self.assertEqual([good.value.filed[0][2], last.value.filed[0][2]], [1, 2])
        self.assertEqual(self.rows("SELECT count(*) FROM mailboxes WHERE name = 'New'"), [(0,)])
        self.assertEqual(self.rows("SELECT count(*) FROM bodies"), [(1,)])
        ((modseq,),) = self.rows("SELECT modseq FROM accounts")
        self.assertEqual(self.rows("SELECT max(modseq) FROM mailbox_messages"), [(modseq,)])

    def test_unit_that_is_a_bug(self):
        """A unit whose function breaks fails by itself, in words that say nothing of the inside."""
        good, bad = self.run_all(self.small(), CreateMailbox(self.bob, None))
        self.assertIsNone(good.fault)
        self.assertEqual(str(bad.fault), "the store failed")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_sweep_is_alone(self):
        """A sweep has a transaction of its own, in its turn: it removes what others may have found."""
        sweep = Sweep(0.0, 0.0, self.blobs, 0)
        self.run_all(self.small(), sweep, self.small())
        self.assertEqual([len(jobs) for jobs, _ in self.batches], [1, 1, 1])
        self.assertIs(self.batches[1][0][0].unit, sweep)


class Trouble(WriterCase):
    def limit_pages(self, more: int):
        ((pages,),) = self.rows("PRAGMA page_count")
        self.rows(f"PRAGMA max_page_count = {pages + more}")

    def test_disk_full(self):
        """When the disk is full the units that need room fail with StoreFull, those that fit are kept, and
        afterwards the store goes on."""
        self.do(self.small())
        self.limit_pages(10)
        big = [self.small(b"%d" % n + b"x" * 60_000) for n in range(3)]
        *failed, fits = self.run_all(*big, SetAccount("bob@example.test", (("mail_quota", 5_000_000),)))
        self.assertEqual([type(job.fault) for job in failed], [StoreFull] * 3)
        self.assertIsNone(fits.fault)
        self.assertEqual(self.rows("SELECT mail_quota, messages FROM accounts"), [(5_000_000, 1)])
        self.limit_pages(1000)
        self.do(big[0])
        self.assertEqual(self.rows("PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(self.rows("SELECT messages FROM accounts"), [(2,)])

    def test_commit_fails(self):
        """When COMMIT itself fails, each unit is tried by itself; the thread survives, on a fresh
        connection."""
        transact = self.writer._transact
        sizes = []

        def failing(batch, jobs):
            sizes.append(len(jobs))
            if len(jobs) > 1 or jobs[0].unit is poison:
                raise writer_module._Lost from sqlite3.OperationalError("disk I/O error")
            transact(batch, jobs)

        poison = self.small(b"poison")
        self.patch(self.writer, "_transact", failing)
        first, bad, last = self.run_all(self.small(), poison, self.small())
        self.assertEqual(sizes, [3, 1, 1, 1])
        self.assertIn("disk I/O error", str(bad.fault))
        self.assertIsInstance(bad.fault, StoreFault)
        self.assertEqual([first.value.filed[0][2], last.value.filed[0][2]], [1, 2])
        self.flushLoggedErrors(writer_module._Lost)

    def test_somebody_else_writes(self):
        """When another process keeps the database, all that wait are refused together, after one wait."""
        self.rows("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(self.folder / "mail.sqlite", isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        begun = []
        self.writer._connection.set_trace_callback(
            lambda sql: begun.append(sql) if sql == "BEGIN IMMEDIATE" else None
        )
        jobs = self.run_all(*(self.small(b"%d" % n) for n in range(5)))
        self.assertEqual([type(job.fault) for job in jobs], [StoreFault] * 5)
        self.assertEqual(len(begun), 1)
        other.execute("ROLLBACK")
        self.do(self.small())
        self.flushLoggedErrors(writer_module._Lost)

    def test_broken_connection(self):
        """A connection that broke is made anew: the unit that met it fails, the next does not."""
        self.writer._connection.close()
        (job,) = self.run_all(self.small())
        self.assertIsInstance(job.fault, StoreFault)
        self.assertEqual(self.do(self.small()).filed[0][2], 1)
        self.flushLoggedErrors()

    def test_disk_fails_while_placing(self):
        """A body that cannot be placed fails its own unit and no other."""

        def failing(staged, final):
            raise OSError(28, "No space left on device")

        self.patch(blobs_module.os, "rename", failing)
        bad, good = self.run_all(self.large(), self.small())
        self.assertIsInstance(bad.fault, StoreFull)
        self.assertIsNone(good.fault)
        self.flushLoggedErrors(OSError)


class LargeBodies(WriterCase):
    def test_staged_otherwise(self):
        """A large body in memory, or a small one in a file, did not come through stage() and is refused."""
        large, small = b"x" * 70_000, self.large()
        in_memory = StagedBody(len(large), sha256(large).digest(), large)
        in_file = StagedBody(10, small.body.sha256, path=small.body.path)
        for body in (in_memory, in_file):
            (job,) = self.run_all(Accept(body, self.now, (Filing(self.bob),)))
            self.assertIn("stage()", str(job.fault))

    def final(self, unit: Accept) -> Path:
        return self.blobs.path(unit.body.sha256)

    def test_named_by_hash(self):
        """A large body lies under its SHA-256, in a folder of its first two digits, for its owner alone."""
        unit = self.large()
        self.do(unit)
        name = unit.body.sha256.hex()
        self.assertEqual(self.files(), [f"{name[:2]}/{name}"])
        self.assertEqual(self.final(unit).stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.final(unit).parent.stat().st_mode & 0o777, 0o700)

    def test_durable_before_the_row(self):
        """The file has its name, and its folders are synced, before the transaction that names it."""
        order = []
        rename, fsync = os.rename, os.fsync

        def note_rename(*paths):
            order.append("rename")
            rename(*paths)

        def note_sync(descriptor):
            order.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            fsync(descriptor)

        self.patch(os, "rename", note_rename)
        self.patch(os, "fsync", note_sync)
        self.writer._connection.set_trace_callback(
            lambda sql: order.append(sql) if sql in ("BEGIN IMMEDIATE", "COMMIT") else None
        )
        unit = self.large()
        self.do(unit)
        name = unit.body.sha256.hex()
        syncs = [f"sync {name}", f"sync {name[:2]}"]
        self.assertEqual(order, ["rename", *syncs, "BEGIN IMMEDIATE", "COMMIT"])

    def test_many_are_synced_together(self):
        """The files of a batch are brought to the disk by one call, before the transaction; when that fails
        nothing is promised."""
        order = []
        self.patch(blobs_module, "sync_system", lambda descriptor: order.append("sync all"))
        self.patch(os, "fsync", lambda descriptor: order.append("sync one"))
        self.writer._connection.set_trace_callback(
            lambda sql: order.append(sql) if sql == "BEGIN IMMEDIATE" else None
        )
        jobs = self.run_all(*(self.large(b"%d" % number) for number in range(3)))
        self.assertEqual([job.fault for job in jobs], [None] * 3)
        self.assertEqual(order[:2], ["sync all", "BEGIN IMMEDIATE"])
        self.assertNotIn("sync one", order)

        def fail(descriptor):
            raise OSError(5, "Input/output error")

        self.patch(blobs_module, "sync_system", fail)
        *large, small = self.run_all(*(self.large(b"%d" % number) for number in range(3, 6)), self.small())
        self.assertTrue(all("disk failed" in str(job.fault) for job in large))
        self.assertIsNone(small.fault)
        self.flushLoggedErrors(OSError)

    def test_kept_once(self):
        """The same large body again, in the same batch and in a later one, leaves one file."""
        jobs = self.run_all(self.large(), self.large())
        self.do(self.large())
        self.assertEqual([job.fault for job in jobs], [None, None])
        self.assertEqual(len(self.files()), 1)
        self.assertEqual(self.rows("SELECT count(*) FROM bodies"), [(1,)])
        self.assertEqual(self.rows("SELECT count(*) FROM mailbox_messages"), [(3,)])

    def test_untrusted_file_is_replaced(self):
        """A file of the right name and length that no row names may be torn: it is written over."""
        unit = self.large()
        self.final(unit).write_bytes(bytes(unit.body.size))
        self.do(unit)
        self.assertEqual(sha256(self.final(unit).read_bytes()).digest(), unit.body.sha256)

    def test_damaged_file_is_mended(self):
        """A file that a row names but that is missing or short is mended by the same body coming again."""
        first = self.large()
        self.do(first)
        for damage in (lambda: self.final(first).unlink(), lambda: os.truncate(self.final(first), 10)):
            damage()
            self.do(self.large())
            self.assertEqual(sha256(self.final(first).read_bytes()).digest(), first.body.sha256)

    def test_refused_body_stays_staged(self):
        """After a refusal the body is staged as before, and no file has the final name."""
        self.do(SetAccount("bob@example.test", (("mail_quota", 1),)))
        unit = self.large()
        (job,) = self.run_all(unit)
        self.assertIsInstance(job.fault, OverQuota)
        self.assertTrue(unit.body.path.exists())
        self.assertFalse(self.final(unit).exists())

    def test_leftovers_are_removed_at_start(self):
        """What was staged when the process ended is gone at the next start; placed bodies stay."""
        self.do(self.large())
        self.large(b"never committed")
        self.assertEqual(len(self.files()), 2)
        self.writer.close()
        self.make_writer().open()
        self.assertEqual(len(self.files()), 1)

    def test_file_goes_after_the_grace_time(self):
        """The file of a removed body outlives its messages by the grace time and goes after the row."""
        unit = self.large()
        self.do(unit)
        self.do(RemoveAccount("bob@example.test"))
        sweep = Sweep(3600.0, 0.0, self.blobs, 0)
        while self.do(sweep):
            pass
        self.assertEqual(self.rows("SELECT count(*) FROM emails"), [(0,)])
        self.now += 3599
        self.do(sweep)
        self.assertTrue(self.final(unit).exists())
        self.now += 1
        self.do(sweep)
        self.assertFalse(self.final(unit).exists())
        self.assertEqual(self.rows("SELECT count(*) FROM bodies"), [(0,)])

    def test_strays_are_swept(self):
        """A file that no row names goes when it is old; a young one, a named one and somebody else's
        stay."""
        named = self.large()
        self.do(named)
        folder = self.final(named).parent
        old, young = folder / (folder.name + "0" * 62), folder / (folder.name + "1" * 62)
        other = folder / "README"
        for path in (old, young, other):
            path.write_bytes(b"x")
        for path in (old, other, self.final(named)):
            os.utime(path, (self.now - 9999, self.now - 9999))
        os.utime(young, (self.now - 10, self.now - 10))
        self.do(Sweep(3600.0, 0.0, self.blobs, int(folder.name, 16)))
        self.assertEqual(sorted(folder.iterdir()), sorted([young, other, self.final(named)]))


class Removing(WriterCase):
    def test_removed_mail_goes_piece_by_piece(self):
        """The mail of a removed account is gone after some sweeps, every table of it, without one long
        transaction."""
        self.run_all(*(self.small(b"%d" % n, mailbox=f"m{n % 3}") for n in range(40)))
        self.patch(sweeping, "PIECE", 5)
        self.do(RemoveAccount("bob@example.test"))
        sweeps = 0
        while self.do(Sweep(-1.0, 0.0, self.blobs, 0)):
            sweeps += 1
        self.assertGreater(sweeps, 7)
        for table in (
            "mailbox_messages",
            "emails",
            "bodies",
            "body_indexes",
            "unused_bodies",
            "mailboxes",
            "removed_mailboxes",
            "thread_keys",
            "verifiers",
            "subscriptions",
        ):
            self.assertEqual((table, self.rows(f"SELECT count(*) FROM {table}")), (table, [(0,)]))

    def test_deleted_mailbox_goes_piece_by_piece(self):
        """The mail of a deleted mailbox goes so too, and JMAP finds each email and the mailbox destroyed;
        what is in another mailbox stays."""
        filed = self.run_all(*(self.small(b"%d" % n, mailbox="m") for n in range(12)))
        mailbox_id = filed[0].value.filed[0][1]
        self.do(CopyMessages(self.bob, mailbox_id, (1, 12), "Archive"))
        self.patch(sweeping, "PIECE", 5)
        self.do(DeleteMailbox(self.bob, "m"))
        self.assertEqual(self.rows("SELECT count(*) FROM mailbox_messages"), [(14,)])
        while self.do(Sweep(-1.0, 0.0, self.blobs, 0)):
            pass
        self.assertEqual(self.rows("SELECT count(*) FROM mailbox_messages"), [(2,)])
        self.assertEqual(self.rows("SELECT count(*) FROM removed_mailboxes"), [(0,)])
        for table in ("emails", "bodies"):
            self.assertEqual((table, self.rows(f"SELECT count(*) FROM {table}")), (table, [(2,)]))
        self.assertEqual(
            self.rows("SELECT kind, count(*), count(DISTINCT id) FROM destroyed GROUP BY kind ORDER BY kind"),
            [("email", 10, 10), ("left", 2, 2), ("mailbox", 1, 1)],
        )
        self.assertEqual(
            self.rows("SELECT max(modseq) FROM destroyed"), self.rows("SELECT modseq FROM accounts")
        )


class Log(WriterCase):
    def test_log_is_bounded_though_readers_hold_it(self):
        """A reader that was in the way makes the WAL grow; once it is gone the next batch empties it."""
        self.patch(writer_module, "WAL_LIMIT", 200_000)
        self.rows("PRAGMA busy_timeout = 1")
        reader = sqlite3.connect(self.folder / "mail.sqlite", isolation_level=None)
        self.addCleanup(reader.close)
        wal = self.folder / "mail.sqlite-wal"
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM accounts").fetchall()
        for n in range(20):
            self.do(self.small(b"%d" % n + b"x" * 20_000))
        self.assertGreater(wal.stat().st_size, 400_000)
        reader.execute("COMMIT")
        self.do(self.small())
        self.assertEqual(wal.stat().st_size, 0)
