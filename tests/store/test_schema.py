"""The database file: made, upgraded, refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import TestCase

from mailftp.store.engine import SchemaTooNew, StoreFault
from mailftp.store.names import TOMBSTONES_LIMIT
from mailftp.store.sqlite import queue, schema
from mailftp.store.sqlite.schema import APPLICATION_ID, open_writer, shipped

FIRST = "CREATE TABLE a (id INTEGER PRIMARY KEY, word TEXT);\nINSERT INTO a (word) VALUES ('x;y');\n"
SECOND = "-- A comment; with a semicolon\nALTER TABLE a ADD COLUMN more TEXT;\nUPDATE a SET more = word;\n"
THIRD = "CREATE TABLE b (a_id INTEGER REFERENCES a (id));\n"


class SchemaCase(TestCase):
    def setUp(self):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.path = folder / "mail.sqlite"

    def open(self, **scripts):
        connection = open_writer(self.path, {int(k[1:]): v for k, v in scripts.items()} or None)
        self.addCleanup(connection.close)
        return connection

    def version(self):
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        return connection.execute("PRAGMA user_version").fetchone()[0]


class Opening(SchemaCase):
    def test_new_database(self):
        """A new database is the owner's alone, has our mark and the version of the last script, and is as
        durable as promised."""
        connection = self.open()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        for pragma, value in (
            ("application_id", APPLICATION_ID),
            ("user_version", max(shipped())),
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
        ):
            self.assertEqual((pragma, connection.execute(f"PRAGMA {pragma}").fetchone()[0]), (pragma, value))

    def test_scripts_are_numbered_without_gap(self):
        """The shipped scripts are 1, 2, 3 and so on."""
        self.assertEqual(sorted(shipped()), list(range(1, len(shipped()) + 1)))

    def test_limit_of_tombstones(self):
        """The partial indexes of what is beyond the limit have the very limit."""
        sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql LIKE '%> 100000'"
        found = self.open().execute(sql)
        self.assertEqual(len(found.fetchall()), 2)
        self.assertEqual(TOMBSTONES_LIMIT, 100_000)

    def test_open_again(self):
        """A database of this version is opened as it is."""
        first = self.open()
        first.execute("INSERT INTO counters (name, value) VALUES ('test', 7)")
        first.close()
        again = self.open()
        self.assertEqual(again.execute("SELECT value FROM counters WHERE name = 'test'").fetchone(), (7,))

    def test_no_folder(self):
        """A folder that is not there is told by name."""
        fault = self.assertRaises(StoreFault, open_writer, self.path.parent / "no" / "mail.sqlite")
        self.assertIn("mail.sqlite", str(fault))

    def test_not_a_database(self):
        """A file that is no database is refused in words and left alone."""
        self.path.write_bytes(b"Dear diary, " * 500)
        self.assertRaises(StoreFault, self.open)
        self.assertEqual(self.path.read_bytes(), b"Dear diary, " * 500)

    def test_somebody_elses_database(self):
        """A database of another program is refused, whatever its version says."""
        other = sqlite3.connect(self.path)
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
        other.close()
        fault = self.assertRaises(StoreFault, self.open)
        self.assertIn("not one of mailftp", str(fault))

    def test_sqlite_too_old(self):
        """A SQLite without STRICT tables is refused by its version."""
        self.patch(sqlite3, "sqlite_version_info", (3, 36, 0))
        self.assertIn("3.37", str(self.assertRaises(StoreFault, self.open)))


class Upgrading(SchemaCase):
    def test_upgrade(self):
        """A database of an older version is brought up, script by script, with what is in it."""
        self.open(_1=FIRST).close()
        connection = self.open(_1="-- never run again\nSELECT broken;", _2=SECOND, _3=THIRD)
        self.assertEqual(connection.execute("SELECT word, more FROM a").fetchall(), [("x;y", "x;y")])
        self.assertEqual(self.version(), 3)

    def test_failed_upgrade_changes_nothing(self):
        """An upgrade that fails half way leaves the older database as it was, still to be opened by the
        older version."""
        self.open(_1=FIRST).close()
        fault = self.assertRaises(StoreFault, self.open, _1=FIRST, _2=SECOND, _3="CREATE TABLE a (x);")
        self.assertIn("mail.sqlite", str(fault))
        self.assertEqual(self.version(), 1)
        connection = self.open(_1=FIRST)
        self.assertEqual(len(connection.execute("SELECT * FROM a").fetchone()), 2)

    def test_upgrade_that_breaks_references(self):
        """An upgrade that would leave a row naming nothing is not done."""
        self.open(_1=FIRST).close()
        self.assertRaises(StoreFault, self.open, _1=FIRST, _2=THIRD + "INSERT INTO b VALUES (99);")
        self.assertEqual(self.version(), 1)

    def test_newer_is_refused(self):
        """A database of a later version is refused naming both versions, and not touched."""
        self.open(_1=FIRST, _2=SECOND).close()
        fault = self.assertRaises(SchemaTooNew, self.open, _1=FIRST)
        self.assertIn("schema 2", str(fault))
        self.assertIn("knows 1", str(fault))
        self.assertEqual(self.version(), 2)

    def test_every_shipped_version_upgrades(self):
        """From each shipped schema version the upgrade ends in the tables that a new database has."""
        scripts = dict(shipped())

        def tables(connection):
            return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()

        wanted = tables(self.open())
        for version in scripts:
            self.path = self.path.with_name(f"from{version}.sqlite")
            open_writer(self.path, {n: s for n, s in scripts.items() if n <= version}).close()
            self.assertEqual(tables(self.open()), wanted)

    def test_sizes_of_older_messages(self):
        """Messages of the first schema have their sizes after the upgrade."""
        connection = open_writer(self.path, {1: shipped()[1]})
        connection.execute("INSERT INTO bodies (id, sha256, size) VALUES (5, x'00', 70)")
        connection.execute("INSERT INTO emails VALUES (7, 1, 7, 5, 70, 0, 1, x'0102')")
        connection.execute("INSERT INTO mailbox_messages VALUES (1, 1, 1, 7, '', 0)")
        connection.close()
        self.assertEqual(self.open().execute("SELECT size FROM mailbox_messages").fetchall(), [(72,)])


class Plans(SchemaCase):
    """What must stay fast in a full store is asked by an index."""

    def plan(self, sql, values=()):
        return " / ".join(row[3] for row in self.open().execute("EXPLAIN QUERY PLAN " + sql, values))

    def test_lease_due(self):
        """LeaseDue finds what is due, in order, by an index that covers it."""
        plan = self.plan(queue.DUE, (0, 10))
        self.assertEqual(
            plan, "SEARCH queue_recipients USING COVERING INDEX queue_recipients_due (state=? AND due<?)"
        )

    def test_lease_due_of_a_domain(self):
        """So it does for one destination, and for the next destination."""
        plan = self.plan(queue.DUE_AT, ("x", 0, 10))
        self.assertIn("COVERING INDEX queue_recipients_due_by_domain (state=? AND domain=? AND due<?)", plan)
        self.assertNotIn("TEMP B-TREE", plan)
        self.assertIn(
            "COVERING INDEX queue_recipients_due_by_domain (state=? AND domain>?)",
            self.plan(queue.NEXT_DOMAIN, ("x",)),
        )

    def test_pages_are_small(self):
        """The page size is set before the first table is made."""
        ((size,),) = self.open().execute("PRAGMA page_size").fetchall()
        self.assertEqual(size, schema._PAGE_SIZE)
