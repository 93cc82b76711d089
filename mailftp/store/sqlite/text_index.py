"""An account's full-text index: a database file of its own, which can be lost and made again.

FTS5 with trigrams says which messages may hold a word of three characters or more, and the casemapped texts,
which are kept beside it, whether they do: so a search has the substring semantics of RFC 9051 section 6.4.4,
and what is removed can be taken out again. `detail=none` is a third of the size of an index with positions
and built in half the time. A file for each account: a search costs what that account has, and nobody's words
are looked up among another's.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailftp.message.index import Part
from mailftp.message.search_text import headers, needle, sent_day, texts
from mailftp.store.criteria import BodyHas, HeaderHas, HeaderTest, Sent, TextHas, TextTest
from mailftp.store.sqlite.listing import numbers
from mailftp.store.sqlite.schema import make_file

#: Raised whenever what is kept changes: an index of another version is made again.
VERSION = 1
#: Octets of a message's texts beyond which it is not kept here: it is read when it is searched.
MOST_TEXT = 1 << 20
#: Trigrams that are looked up of a word; the texts decide.
MOST_TRIGRAMS = 12
#: Between texts. No character; nobody looks for it.
_BETWEEN = "\ufdd0".encode()

_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE texts (
    email_id INTEGER PRIMARY KEY, sent INTEGER, header BLOB NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE unkept (email_id INTEGER PRIMARY KEY) STRICT;
CREATE VIRTUAL TABLE headers USING fts5(text, content='', detail=none, tokenize='trigram case_sensitive 1');
CREATE VIRTUAL TABLE bodies USING fts5(text, content='', detail=none, tokenize='trigram case_sensitive 1');
"""


class Outdated(Exception):
    """The file is of another version."""


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it is indexed."""

    email_id: int
    header: bytes
    body: bytes
    sent: int | None


def content_of(email_id: int, prefix: bytes, data: bytes, root: Part) -> Content | None:
    """None when it is too much."""
    header = _BETWEEN.join(headers(prefix, data, root))
    body: list[bytes] = []
    octets = len(header)
    for text in texts(data, root, 0):
        octets += len(text)
        if octets > MOST_TEXT:
            return None
        body.append(text)
    return Content(email_id, header, _BETWEEN.join(body), sent_day(prefix + data[: root.body]))


class TextIndex:
    """An open file. Every method may raise sqlite3.Error, which means that it is to be removed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            connection.close()
            raise Outdated
        state = dict(connection.execute("SELECT name, value FROM state").fetchall())
        #: All emails up to this id are in it.
        self.done: int = state.get("done", 0)
        #: The account's modseq up to which what was removed is out of it.
        self.modseq: int = state.get("modseq", 0)

    @classmethod
    def create(cls, path: Path) -> TextIndex:
        make_file(path)
        connection = _connect(path)
        # Three texts of ordinary messages, or two pages of the index, fill one: of 4096 a third is left
        # empty.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
        return cls(connection)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False) -> TextIndex | None:
        """None when there is none. Raises Outdated."""
        if not path.exists():
            return None
        try:
            connection = _connect(path)
        except sqlite3.OperationalError as fault:
            if (fault.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_CANTOPEN:
                return None  # Removed this very moment.
            raise
        if not writable:
            connection.execute("PRAGMA query_only = ON")
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def fits(self, modseq: int, last_email_id: int) -> bool:
        """Whether the database, with this modseq of the account and this last id of an email, can be the one
        that the index was made of: ids are given again when a backup is put back."""
        return self.modseq <= modseq and self.done <= last_email_id

    # Writing.

    def add(self, contents: Iterable[Content], unkept: Iterable[int], done: int) -> None:
        """All emails up to `done` are in it then."""
        run = self._connection.execute
        run("BEGIN")
        try:
            for content in contents:
                pair = content.header.decode("utf-8"), content.body.decode("utf-8")
                run("INSERT INTO headers (rowid, text) VALUES (?, ?)", (content.email_id, pair[0]))
                run("INSERT INTO bodies (rowid, text) VALUES (?, ?)", (content.email_id, pair[1]))
                run(
                    "INSERT INTO texts (email_id, sent, header, body) VALUES (?, ?, ?, ?)",
                    (content.email_id, content.sent, _pack(content.header), _pack(content.body)),
                )
            self._connection.executemany(
                "INSERT INTO unkept (email_id) VALUES (?)", [(email_id,) for email_id in unkept]
            )
            self._note("done", done)
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise
        self.done = done

    def remove(self, email_ids: Sequence[int]) -> None:
        run = self._connection.execute
        run("BEGIN")
        try:
            for email_id in email_ids:
                row = run(
                    "DELETE FROM texts WHERE email_id = ? RETURNING header, body", (email_id,)
                ).fetchone()
                if row is not None:
                    # A contentless table is told what it had.
                    for name, packed in zip(("headers", "bodies"), row, strict=True):
                        text = zlib.decompress(packed).decode("utf-8")
                        run(
                            f"INSERT INTO {name} ({name}, rowid, text) VALUES ('delete', ?, ?)",
                            (email_id, text),
                        )
                run("DELETE FROM unkept WHERE email_id = ?", (email_id,))
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise

    def note_modseq(self, modseq: int) -> None:
        self._note("modseq", modseq)
        self.modseq = modseq

    def _note(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)", (name, value))

    def email_ids(self) -> set[int]:
        """Of all that is in it."""
        (kept,) = self._connection.execute("SELECT group_concat(email_id) FROM texts").fetchone()
        (unkept,) = self._connection.execute("SELECT group_concat(email_id) FROM unkept").fetchone()
        return {*numbers("Q", kept), *numbers("Q", unkept)}

    # Reading.

    def answerable(self, email_ids: array[int]) -> set[int]:
        """Those of these that it can answer for."""
        done = self.done
        return {email_id for email_id in email_ids if email_id <= done}.difference(self.unkept())

    def unkept(self) -> list[int]:
        """Emails that it passed over."""
        (unkept,) = self._connection.execute("SELECT group_concat(email_id) FROM unkept").fetchone()
        return list(numbers("Q", unkept))

    def possible(self, test: HeaderTest | TextTest) -> set[int] | None:
        """Emails of all that it has which may pass; None where it cannot tell without looking into each."""
        if isinstance(test, Sent):
            return self._sent(test, None)
        if isinstance(test, BodyHas):
            return self._matching("bodies", needle(test.text))
        if isinstance(test, HeaderHas):
            return self._matching("headers", _word_of(test))
        found = self._matching("headers", needle(test.text, header=True))
        in_body = self._matching("bodies", needle(test.text))
        return None if found is None or in_body is None else found | in_body

    def find(self, test: HeaderTest | TextTest, among: set[int]) -> set[int]:
        """Emails that pass; `among` are answerable."""
        if isinstance(test, Sent):
            return self._sent(test, among)
        if isinstance(test, BodyHas):
            return self._holding("bodies", needle(test.text), among)
        in_header = needle(test.text, header=True)
        if isinstance(test, TextHas):
            found = self._holding("headers", in_header, among)
            return found | self._holding("bodies", needle(test.text), among - found)
        candidates = self._candidates("headers", _word_of(test), among)
        return {
            email_id
            for email_id, header in self._texts("header", candidates)
            if any(in_header in value for value in _values(header, test.name))
        }

    def _sent(self, test: Sent, among: set[int] | None) -> set[int]:
        row = self._connection.execute(
            "SELECT group_concat(email_id) FROM texts"
            " WHERE sent >= ? AND sent < ? AND email_id BETWEEN ? AND ?",
            (
                -(1 << 40) if test.since is None else test.since,
                1 << 40 if test.before is None else test.before,
                *_ends(among),
            ),
        ).fetchone()
        found = numbers("Q", row[0])
        return set(found) if among is None else among.intersection(found)

    def _holding(self, table: str, word: bytes, among: set[int]) -> set[int]:
        column = "header" if table == "headers" else "body"
        candidates = self._candidates(table, word, among)
        return {email_id for email_id, text in self._texts(column, candidates) if word in text}

    def _candidates(self, table: str, word: bytes, among: set[int]) -> set[int]:
        found = self._matching(table, word, among) if among else None
        return among if found is None else among & found

    def _matching(self, table: str, word: bytes, among: set[int] | None = None) -> set[int] | None:
        """None for a word that is too short."""
        trigrams = _trigrams(word.decode("utf-8"))
        if not trigrams:
            return None
        match = " AND ".join('"{}"'.format(trigram.replace('"', '""')) for trigram in trigrams)
        row = self._connection.execute(
            f"SELECT group_concat(rowid) FROM {table} WHERE {table} MATCH ? AND rowid BETWEEN ? AND ?",
            (match, *_ends(among)),
        ).fetchone()
        return set(numbers("Q", row[0]))

    def _texts(self, column: str, email_ids: set[int]) -> Iterable[tuple[int, bytes]]:
        if not email_ids:
            return
        row = self._connection.execute(
            f"SELECT group_concat(email_id), group_concat(length({column})),"
            f" CAST(group_concat({column}, '') AS BLOB)"
            " FROM json_each(?) CROSS JOIN texts ON email_id = value",
            (json.dumps(sorted(email_ids)),),
        ).fetchone()
        at = 0
        for email_id, size in zip(numbers("Q", row[0]), numbers("Q", row[1]), strict=True):
            yield email_id, zlib.decompress(row[2][at : at + size])
            at += size


def _connect(path: Path) -> sqlite3.Connection:
    # By a URI, which can say that it is not to be made.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    # What a power cut takes away is made again; what it leaves is whole.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def _ends(ids: set[int] | None) -> tuple[int, int]:
    """The first and the last; of None, of all."""
    if ids is None:
        return 0, (1 << 63) - 1
    return (min(ids), max(ids)) if ids else (0, 0)


def _pack(text: bytes) -> bytes:
    # The fastest level: half the size, in a tenth of the time that the trigrams take.
    return zlib.compress(text, 1)


def _trigrams(word: str) -> list[str]:
    """Some that are spread over it; none of a shorter word."""
    count = len(word) - 2
    if count <= 0:
        return []
    step = max(1, count / MOST_TRIGRAMS)
    places = {int(number * step) for number in range(min(count, MOST_TRIGRAMS))} | {count - 1}
    return list(dict.fromkeys(word[at : at + 3] for at in sorted(places)))


def _word_of(test: HeaderHas) -> bytes:
    """What the header of an email that passes has: the text, or the field's name where that is too short."""
    in_header = needle(test.text, header=True)
    return in_header if len(in_header.decode("utf-8")) >= 3 else test.name.upper()


def _values(header: bytes, name: bytes) -> list[bytes]:
    """Of the fields of that name in the message's own header, casemapped."""
    own = header.partition(_BETWEEN)[0]
    pattern = rb"(?:\A|\n)" + re.escape(name.upper()) + rb" ?:([^\n]*)"
    return [value.strip(b" \t\r\n") for value in re.findall(pattern, own)]
