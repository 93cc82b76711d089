"""What a unit's function is given: the writer's connection inside a SAVEPOINT, and where to put news."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailftp.message.index import MessageIndex
from mailftp.store.quota import MailQuota
from mailftp.store.records import Change

Row = tuple[Any, ...]


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

    def one(self, sql: str, values: Sequence[object] = ()) -> Row | None:
        """All rows are fetched: a RETURNING that is not run to its end has not changed everything."""
        rows: list[Row] = self._cursor.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        return self._cursor.execute(sql, values).fetchall()
