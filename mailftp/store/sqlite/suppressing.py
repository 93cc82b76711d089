"""Addresses elsewhere that failed for good: a function for each unit and each query."""

from __future__ import annotations

from mailftp.store.engine import LimitReached, NoSuchSuppression
from mailftp.store.names import SUPPRESSIONS_LIMIT
from mailftp.store.queries import Suppressions
from mailftp.store.records import Change, Suppression
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import NoteRefusedAddress, Suppress, Unsuppress

_COLUMNS = "address, since, until, reason, failures"


def note_refused_address(tx: Transaction, unit: NoteRefusedAddress) -> bool:
    tx.run("DELETE FROM suppressions WHERE until > 0 AND until <= ?", (tx.now,))
    known = tx.one("SELECT suppressed FROM suppressions WHERE address = ?", (unit.address,))
    if (known and known[0]) or (known is None and _count(tx) >= SUPPRESSIONS_LIMIT):
        return False
    row = tx.one(
        "INSERT INTO suppressions (address, since, until, reason, failures, suppressed)"
        " VALUES (?1, ?2, ?3, ?4, 1, 1 >= ?5) ON CONFLICT (address) DO UPDATE SET since = ?2, until = ?3,"
        " reason = ?4, failures = failures + 1, suppressed = failures + 1 >= ?5 RETURNING suppressed",
        (unit.address, tx.now, tx.now + unit.seconds, unit.reason, unit.after),
    )
    assert row is not None
    if row[0]:
        tx.changes.append(Change("suppression"))
    return bool(row[0])


def _count(tx: Transaction) -> int:
    (count,) = tx.one("SELECT count(*) FROM suppressions") or (0,)
    return int(count)


def suppress(tx: Transaction, unit: Suppress) -> Suppression:
    if _count(tx) >= SUPPRESSIONS_LIMIT:
        raise LimitReached(f"{SUPPRESSIONS_LIMIT} addresses are suppressed, the most: remove some first")
    until = tx.now + unit.seconds if unit.seconds else 0.0
    row = tx.one(
        "INSERT OR REPLACE INTO suppressions (address, since, until, reason, failures, suppressed)"
        f" VALUES (?, ?, ?, ?, 0, 1) RETURNING {_COLUMNS}",
        (unit.address, tx.now, until, unit.reason),
    )
    assert row is not None
    tx.changes.append(Change("suppression"))
    return Suppression(*row)


def unsuppress(tx: Transaction, unit: Unsuppress) -> Suppression:
    row = tx.one(
        f"DELETE FROM suppressions WHERE address = ? AND suppressed RETURNING {_COLUMNS}", (unit.address,)
    )
    if row is None:
        raise NoSuchSuppression(f"{unit.address} is not suppressed")
    tx.changes.append(Change("suppression"))
    return Suppression(*row)


def suppressions(view: View, query: Suppressions) -> tuple[Suppression, ...]:
    rows = view.all(
        f"SELECT {_COLUMNS} FROM suppressions WHERE suppressed AND (until = 0 OR until > ?) ORDER BY address",
        (view.now(),),
    )
    return tuple(Suppression(*row) for row in rows)
