"""What each account has moved: daily limits and ratios of `[[ftp.accounts]]` go by it.

Kept in memory and written to a file of its own every half minute and at the stop: a crash costs half a minute
of the counts, and no transfer waits for a disk. Only accounts that something is counted for are in it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mailftp.files.rules import Terms
from mailftp.files.threads import Runner
from mailftp.wire.journal import Journal

DAY = 86400
#: Seconds between a transfer and the write that keeps it.
_LATER = 30.0

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS moved (
        account TEXT PRIMARY KEY,
        day INTEGER NOT NULL,
        day_up INTEGER NOT NULL,
        day_down INTEGER NOT NULL,
        up INTEGER NOT NULL,
        down INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """Octets: of a day (UTC, counted from 1970), and since the account is counted."""

    day: int = 0
    day_up: int = 0
    day_down: int = 0
    up: int = 0
    down: int = 0

    def at(self, day: int) -> Moved:
        return self if day == self.day else replace(self, day=day, day_up=0, day_down=0)


class UsedUp(Exception):
    """No more may be moved; the text is for people."""


class Ledger:
    """`path` None keeps nothing; `clock` gives seconds since the epoch and calls later."""

    def __init__(self, clock: IReactorTime, path: Path | None = None, threads: Runner | None = None) -> None:
        self._clock, self._path, self._threads = clock, path, threads
        self._journal = Journal("ftp")
        self._accounts: dict[str, Moved] = {}
        self._changed: set[str] = set()
        self._timer: IDelayedCall | None = None

    # The file.

    def start(self) -> Deferred[None]:
        """Read what was kept; nothing is made where nothing was."""
        if self._path is None or self._threads is None or not self._path.exists():
            return succeed(None)
        return self._threads.run(self._load).addCallback(self._accounts.update)

    def stop(self) -> Deferred[None]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._save()

    def _open(self) -> sqlite3.Connection:
        assert self._path is not None
        database = sqlite3.connect(self._path, timeout=10)
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        return database

    def _load(self) -> dict[str, Moved]:
        with closing(self._open()) as database:
            rows = database.execute("SELECT account, day, day_up, day_down, up, down FROM moved")
            return {account: Moved(*counts) for account, *counts in rows}

    def _save(self) -> Deferred[None]:
        changed, self._changed = self._changed, set()
        if not changed or self._threads is None:
            return succeed(None)
        rows = [(account, self._accounts[account]) for account in changed]
        return self._threads.run(lambda: self._write(rows)).addErrback(self._failed, changed)

    def _write(self, rows: list[tuple[str, Moved]]) -> None:
        with closing(self._open()) as database, database:
            database.executemany(
                "INSERT OR REPLACE INTO moved VALUES (?, ?, ?, ?, ?, ?)",
                [(name, each.day, each.day_up, each.day_down, each.up, each.down) for name, each in rows],
            )

    def _failed(self, failure: Failure, changed: set[str]) -> None:
        self._changed |= changed
        self._journal.fault("ftp counts not kept", failure)

    def _due(self) -> None:
        self._timer = None
        self._save()

    # The counts.

    def moved(self, account: str) -> Moved:
        return self._accounts.get(account, Moved()).at(int(self._clock.seconds() // DAY))

    def book(self, account: str, terms: Terms, up: int = 0, down: int = 0) -> None:
        """Count octets that move now, or, negative, that did not. Raises UsedUp, and counts nothing then."""
        if not terms.counted:
            return
        now = self.moved(account)
        then = replace(
            now,
            day_up=max(0, now.day_up + up),
            day_down=max(0, now.day_down + down),
            up=max(0, now.up + up),
            down=max(0, now.down + down),
        )
        if up > 0 and terms.daily_upload is not None and then.day_up > terms.daily_upload:
            raise UsedUp("More than may be uploaded in a day")
        if down > 0 and terms.daily_download is not None and then.day_down > terms.daily_download:
            raise UsedUp("More than may be downloaded in a day")
        if down > 0 and terms.ratio is not None and then.down > terms.credit + terms.ratio * then.up:
            raise UsedUp(f"Upload first: {terms.ratio:g} octets may be downloaded for each")
        self._accounts[account] = then
        if self._path is not None:
            self._changed.add(account)
            if self._timer is None:
                self._timer = self._clock.callLater(_LATER, self._due)
