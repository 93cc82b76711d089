"""Greylisting: who comes for the first time is asked to come again (RFC 6647).

What is remembered is a hash of the client's network, the sender and the recipient, and of the network alone.
It can be lost without harm, so it is in a file of its own beside the store.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred

#: Seconds in which whoever was asked to come again has to; and for which somebody who did is known.
WINDOW, KNOWN = 2 * 86400, 36 * 86400
#: Messages by which a network has shown that it comes again.
PROVEN = 5
#: Rows that are kept; the oldest go first.
ROWS = 1_000_000
#: New rows between two looks for old ones.
_TIDY = 1000

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS seen (
        key BLOB PRIMARY KEY,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        passed INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS seen_last ON seen (last);
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """Times are seconds since the epoch."""

    first: int
    last: int
    #: Messages that were let through.
    passed: int = 0


def decide(seen: Seen | None, delay: int, now: int) -> tuple[int, Seen]:
    """(seconds to wait, 0 for none; what to remember)."""
    if seen is not None and now - seen.last > (KNOWN if seen.passed else WINDOW):
        seen = None
    if seen is None:
        return delay, Seen(now, now)
    wait = 0 if seen.passed else max(0, seen.first + delay - now)
    if wait:
        return min(wait, delay), Seen(seen.first, now)
    return 0, Seen(seen.first, now, seen.passed + 1)


class Greylist:
    """The file; `wait` runs on any thread, one at a time. It is made when it is first asked."""

    def __init__(self, path: Path, run: Callable[[Callable[[], int]], Deferred[int]]) -> None:
        """`run` does work on a thread."""
        self._path, self._run = path, run
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._added = 0

    def ask(self, network: str, sender: str, recipient: str, delay: int, now: int) -> Deferred[int]:
        """Seconds that this client is to wait before it comes again; 0: it is welcome. Fails with
        sqlite3.Error or OSError when the file cannot be used."""
        return self._run(lambda: self.wait(network, sender, recipient, delay, now))

    def wait(self, network: str, sender: str, recipient: str, delay: int, now: int) -> int:
        whole = _key(network, sender.lower(), recipient.lower())
        with self._lock:
            database = self._open()
            with database:
                known = self._read(database, _key(network))
                if known is not None and known.passed >= PROVEN and now - known.last <= KNOWN:
                    self._write(database, _key(network), Seen(known.first, now, known.passed))
                    return 0
                before = self._read(database, whole)
                wait, seen = decide(before, delay, now)
                self._write(database, whole, seen)
                if not wait and seen.passed == 1:
                    passed = 1 + (known.passed if known is not None else 0)
                    self._write(database, _key(network), Seen(now, now, passed))
                if before is None:
                    self._tidy(database, now)
                return wait

    def close(self) -> None:
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                database.close()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self._path, check_same_thread=False, timeout=10)
            try:
                database.execute("PRAGMA journal_mode = WAL")
                # A power cut costs the last seconds of it, and a disk flush each message would cost more.
                database.execute("PRAGMA synchronous = NORMAL")
                database.executescript(_SCHEMA)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _read(self, database: sqlite3.Connection, key: bytes) -> Seen | None:
        with closing(database.execute("SELECT first, last, passed FROM seen WHERE key = ?", (key,))) as found:
            row = found.fetchone()
        return None if row is None else Seen(*row)

    def _write(self, database: sqlite3.Connection, key: bytes, seen: Seen) -> None:
        row = (key, seen.first, seen.last, seen.passed)
        database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", row)

    def _tidy(self, database: sqlite3.Connection, now: int) -> None:
        """A flood of names that never come again leaves rows that go after two days, or sooner."""
        self._added += 1
        if self._added % _TIDY != 1:
            return
        database.execute("DELETE FROM seen WHERE last < ?", (now - KNOWN,))
        database.execute("DELETE FROM seen WHERE last < ? AND passed = 0", (now - WINDOW,))
        (rows,) = database.execute("SELECT count(*) FROM seen").fetchone()
        if rows > ROWS:
            oldest = "SELECT key FROM seen ORDER BY last LIMIT ?"
            database.execute(f"DELETE FROM seen WHERE key IN ({oldest})", (rows - ROWS,))


def _key(*parts: str) -> bytes:
    # NUL stands in none of them.
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
