"""What a unit's function is given: the writer's connection inside a SAVEPOINT, and where to put news."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from mailftp.message.index import MessageIndex
from mailftp.store.quota import MailQuota
from mailftp.store.records import Change

Row = tuple[Any, ...]

#: Rows or values that one statement takes at most. The numbers are powers of two, so that few statements have
#: to be kept ready.
_MANY = 64


@cache
def _marks(shape: str, count: int) -> str:
    return ", ".join([shape] * count)


def select_all(
    cursor: sqlite3.Cursor, sql: str, first: Sequence[object], values: Collection[object]
) -> list[Row]:
    """The rows of `sql`, which ends in IN: it is given `first`, then the values as a list. Each goes in once,
    some twice where that makes their number a power of two."""
    rows: list[Row] = []
    left = list(values)
    while left:
        some, left = left[:_MANY], left[_MANY:]
        wanted = 1 << (len(some) - 1).bit_length()
        some += some[-1:] * (wanted - len(some))
        rows += cursor.execute(f"{sql} ({_marks('?', wanted)})", (*first, *some)).fetchall()
    return rows


@dataclass(slots=True)
class ReadyBody:
    """What was found out about a staged body before the transaction began."""

    #: Its row, when there was one.
    id: int | None
    size: int
    #: None for a large one, which is in its file by now.
    data: bytes | None
    index: MessageIndex
    encoded: bytes


class Transaction:
    """One group commit. `changes` and `after` (to be called after the commit) are the present unit's."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: float,
        quota: MailQuota,
        bodies: Mapping[bytes, ReadyBody],
    ) -> None:
        # One cursor for all: a new one for each statement costs as much as a small statement.
        self._cursor = connection.cursor()
        self.now = now
        self.quota = quota
        self.bodies = bodies
        self.changes: list[Change] = []
        self.after: list[Callable[[], None]] = []

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Answers how many rows it changed."""
        return self._cursor.execute(sql, values).rowcount

    def insert(self, sql: str, values: Sequence[object]) -> int:
        """Answers the new row's id."""
        row_id = self._cursor.execute(sql, values).lastrowid
        assert row_id is not None
        return row_id

    def each(self, sql: str, values: Sequence[Sequence[object]]) -> None:
        self._cursor.executemany(sql, values)

    def insert_all(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """`sql` ends in VALUES. Unlike `each` it is a few statements and not one a row: each lets go of
        Python's lock, and with a busy reactor it is as long in coming back as a row in going in."""
        at = 0
        while at < len(rows):
            count = min(1 << (len(rows) - at).bit_length() - 1, _MANY)
            some = rows[at : at + count]
            shape = f"({_marks('?', len(some[0]))})"
            self._cursor.execute(f"{sql} {_marks(shape, count)}", tuple(chain.from_iterable(some)))
            at += count

    def all_of(self, sql: str, first: Sequence[object], values: Collection[object]) -> list[Row]:
        """As `select_all`."""
        return select_all(self._cursor, sql, first, values)

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """All rows are fetched: a RETURNING that is not run to its end has not changed everything."""
        rows: list[Row] = self._cursor.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        return self._cursor.execute(sql, values).fetchall()
