"""The MTA-STS policies of other domains: asked for, fetched, and kept (RFC 8461 sections 3.3 and 5.1).

What is kept outlives a restart: whoever can cut us off from a domain's policy for a minute must not have its
mail in the clear for that.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dns.rdtypes.ANY.TXT import TXT
from twisted.internet.defer import Deferred

from mailftp.delivery.mta_sts import Policy, PolicyFault, parse_policy, record_id
from mailftp.dns.resolver import ResolutionFault, Resolver
from mailftp.wire.journal import Journal

T = TypeVar("T")

#: Seconds in which a policy that could not be fetched is not asked for again (section 3.3).
AGAIN = 300.0
#: Policies, and domains known to have none, that are in memory; and policies in the file.
REMEMBERED, ROWS = 10_000, 100_000

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS policies (
        domain TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        policy TEXT NOT NULL,
        fetched REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS policies_by_time ON policies (fetched);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy as it came, with the id of the record that told of it and the time, since the epoch."""

    id: str
    text: str
    fetched: float


class PolicyFile:
    """Where policies are kept; its methods run on a thread. It is made when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def read(self, domain: str) -> Kept | None:
        """Raises sqlite3.Error or OSError."""
        if self._database is None and not self._path.exists():
            return None
        query = "SELECT id, policy, fetched FROM policies WHERE domain = ?"
        with self._lock, closing(self._open().execute(query, (domain,))) as found:
            row = found.fetchone()
        return None if row is None else Kept(*row)

    def write(self, domain: str, kept: Kept) -> None:
        with self._lock, self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?)",
                (domain, kept.id, kept.text, kept.fetched),
            )
            (rows,) = database.execute("SELECT count(*) FROM policies").fetchone()
            if rows > ROWS:
                oldest = "SELECT domain FROM policies ORDER BY fetched LIMIT ?"
                database.execute(f"DELETE FROM policies WHERE domain IN ({oldest})", (rows - ROWS,))

    @property
    def opened(self) -> bool:
        return self._database is not None

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
                database.executescript(_SCHEMA)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database


class Policies:
    """`fetch` gets a domain's policy file, `run` does work on a thread, `now` gives seconds since the epoch.
    Without a `file` policies are kept in memory alone."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: Callable[[str], Deferred[str]],
        now: Callable[[], float],
        file: PolicyFile | None = None,
        run: Callable[[Callable[[], Any]], Deferred[Any]] | None = None,
    ) -> None:
        self._resolver, self._fetch, self._now = resolver, fetch, now
        self._file, self._run = file, run
        #: None: nothing is kept of this domain.
        self._kept: OrderedDict[str, Kept | None] = OrderedDict()
        self._not_before: OrderedDict[str, float] = OrderedDict()
        self._fetching: dict[str, list[Deferred[Policy | None]]] = {}
        self._journal = Journal("delivery")

    async def of(self, domain: str) -> Policy | None:
        """What holds for a domain now. Never fails: a policy that cannot be had is none, unless one is kept
        that still holds (section 5.1)."""
        domain = domain.lower()
        if domain in self._fetching:
            waiting: Deferred[Policy | None] = Deferred()
            self._fetching[domain].append(waiting)
            return await waiting
        self._fetching[domain] = []
        policy: Policy | None = None
        try:
            policy = await self._find(domain)
        finally:
            for waiting in self._fetching.pop(domain):
                waiting.callback(policy)
        return policy

    async def _find(self, domain: str) -> Policy | None:
        kept = await self._read(domain)
        held = self._holding(kept)
        told = await self._record(domain)
        if told is None or (kept is not None and held is not None and told == kept.id):
            return held
        if self._now() < self._not_before.get(domain, 0.0):
            return held
        try:
            text = await self._fetch(domain)
            policy = parse_policy(text)
        except Exception as fault:
            # Whatever it is (no host, no certificate, no policy): section 5.1 goes on without.
            self._remember(self._not_before, domain, self._now() + AGAIN)
            self._journal.warn("policy_not_fetched", domain=domain, reason=str(fault) or type(fault).__name__)
            return held
        await self._write(domain, Kept(told, text, self._now()))
        return policy

    async def _record(self, domain: str) -> str | None:
        try:
            answer = await self._resolver.lookup(f"_mta-sts.{domain}", "TXT")
        except ResolutionFault:
            return None
        texts = [b"".join(record.strings) for record in answer.records if isinstance(record, TXT)]
        return record_id(text.decode("ascii", "replace") for text in texts)

    def _holding(self, kept: Kept | None) -> Policy | None:
        if kept is None:
            return None
        try:
            policy = parse_policy(kept.text)
        except PolicyFault:
            return None
        return policy if kept.fetched <= self._now() < kept.fetched + policy.max_age else None

    async def _read(self, domain: str) -> Kept | None:
        if domain not in self._kept:
            kept: Kept | None = None
            if self._file is not None and self._run is not None:
                file = self._file
                try:
                    kept = await self._run(lambda: file.read(domain))
                except (sqlite3.Error, OSError) as fault:
                    self._journal.warn("policies_unreadable", reason=str(fault))
            self._remember(self._kept, domain, kept)
        return self._kept[domain]

    async def _write(self, domain: str, kept: Kept) -> None:
        self._remember(self._kept, domain, kept)
        if self._file is not None and self._run is not None:
            file = self._file
            try:
                await self._run(lambda: file.write(domain, kept))
            except (sqlite3.Error, OSError) as fault:
                self._journal.warn("policies_unreadable", reason=str(fault))

    def _remember(self, where: OrderedDict[str, T], domain: str, what: T) -> None:
        where[domain] = what
        where.move_to_end(domain)
        if len(where) > REMEMBERED:
            where.popitem(last=False)
