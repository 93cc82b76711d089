"""Messages held against tests of their headers and texts."""

from __future__ import annotations

import json
import mmap
import os
import sqlite3
import zlib
from collections.abc import Sequence

from mailftp.message.index import Part, stored_root
from mailftp.store.columns import answer
from mailftp.store.criteria import HeaderTest, TextTest
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.findings import IndexAnswer
from mailftp.store.inspecting import Inspection
from mailftp.store.queries import ReadMessages, SearchColumns, SearchIndex, SearchMessages
from mailftp.store.records import BodyRef
from mailftp.store.sqlite.listing import chosen, numbers, owned
from mailftp.store.sqlite.reading import View, remake, state_of
from mailftp.store.sqlite.text_index import Outdated, TextIndex
from mailftp.store.sqlite.texts import read_messages

#: Emails that are looked into at one time.
FEW = 10_000


def search_messages(view: View, query: SearchMessages) -> tuple[tuple[int, ...], ...]:
    inspection = Inspection(query.tests)
    only = inspection.header_only
    uids = _dense(query.uids)
    found = read_messages(
        view, ReadMessages(query.account_id, query.mailbox_id, uids, header_only=only, with_index=not only)
    )
    if found is None:
        raise NoSuchMailbox("the mailbox is gone")
    for at, uid in enumerate(found.uids):
        text, body = found.texts[at], found.bodies[at]
        if only:
            inspection.header(uid, text)
            continue
        root = stored_root(found.indexes[at]) or remake(view, body.id).root
        split = found.prefix_sizes[at]
        if body.large:
            _inspect_file(view, inspection, uid, text, body, root)
        else:
            inspection.header(uid, text)
            inspection.text(uid, text[:split], text[split:], root)
    return tuple(map(tuple, inspection.hits))


def _inspect_file(
    view: View, inspection: Inspection, uid: int, prefix: bytes, body: BodyRef, root: Part
) -> None:
    """Without having it in memory."""
    row = view.one("SELECT sha256 FROM bodies WHERE id = ?", (body.id,))
    assert row is not None
    descriptor = view.blobs.open(row[0])
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            inspection.header(uid, prefix + bytes(data[: root.body]))
            inspection.text(uid, prefix, data, root)
    finally:
        os.close(descriptor)


def _dense(uids: tuple[int, ...]) -> range | tuple[int, ...]:
    """As they lie, where none is left out."""
    if uids and uids[-1] - uids[0] == len(uids) - 1:
        return range(uids[0], uids[-1] + 1)
    return uids


def search_index(view: View, query: SearchIndex) -> IndexAnswer | None:
    if not owned(view, query.account_id, query.mailbox_id):
        raise NoSuchMailbox("the mailbox is gone")
    unknown = None
    if isinstance(query.uids, tuple):
        unknown = IndexAnswer(query.uids, tuple(() for _ in query.tests))
    try:
        index = TextIndex.open(view.texts.path(query.account_id))
        if index is None:
            return unknown
        try:
            if not index.fits(*state_of(view, query.account_id)):
                return unknown
            if isinstance(query.uids, range):
                return _ask_of_all(view, index, query.mailbox_id, query.uids, query.tests)
            return _ask(view, index, query.mailbox_id, query.uids, query.tests)
        finally:
            index.close()
    except Outdated:
        return unknown
    except (sqlite3.Error, zlib.error, ValueError) as fault:
        view.damaged(query.account_id, str(fault))
        return unknown


def _ask_of_all(
    view: View, index: TextIndex, mailbox_id: int, uids: range, tests: Sequence[HeaderTest | TextTest]
) -> IndexAnswer | None:
    """Where few emails of the account can pass, which most words are in: their places are all that is read
    of a mailbox of a hundred thousand."""
    possible: set[int] = set()
    for test in tests:
        emails = index.possible(test)
        if emails is None:
            return None
        possible |= emails
    if len(possible) > FEW:
        return None
    scope = f"FROM mailbox_messages AS mm NOT INDEXED WHERE mm.mailbox_id = ? AND {chosen(uids)[0]}"
    values = (mailbox_id, *chosen(uids)[1])
    row = view.one(
        f"SELECT group_concat(uid) FROM (SELECT uid {scope} AND (email_id > ? OR email_id IN"
        " (SELECT value FROM json_each(?))) ORDER BY uid)",
        (*values, index.done, json.dumps(index.unkept())),
    )
    assert row is not None
    unknown = tuple(numbers("I", row[0]))
    there: list[tuple[int, int]] = []
    if possible:
        row = view.one(
            f"SELECT group_concat(uid), group_concat(email_id) FROM (SELECT uid, email_id {scope}"
            " AND email_id IN (SELECT value FROM json_each(?)) ORDER BY uid)",
            (*values, json.dumps(sorted(possible))),
        )
        assert row is not None
        there = list(zip(numbers("I", row[0]), numbers("Q", row[1]), strict=True))
    return IndexAnswer(unknown, _found(index, tests, there, {email_id for _, email_id in there}))


def _ask(
    view: View,
    index: TextIndex,
    mailbox_id: int,
    uids: tuple[int, ...],
    tests: Sequence[HeaderTest | TextTest],
) -> IndexAnswer:
    which, values = chosen(_dense(uids))
    row = view.one(
        "SELECT group_concat(uid), group_concat(email_id) FROM (SELECT uid, email_id"
        f" FROM mailbox_messages AS mm NOT INDEXED WHERE mm.mailbox_id = ? AND {which} ORDER BY uid)",
        (mailbox_id, *values),
    )
    assert row is not None
    emails = numbers("Q", row[1])
    there = list(zip(numbers("I", row[0]), emails, strict=True))
    known = index.answerable(emails)
    unknown = tuple(uid for uid, email_id in there if email_id not in known)
    return IndexAnswer(unknown, _found(index, tests, there, known))


def _found(
    index: TextIndex,
    tests: Sequence[HeaderTest | TextTest],
    there: Sequence[tuple[int, int]],
    among: set[int],
) -> tuple[tuple[int, ...], ...]:
    """For each test the UIDs that pass; `there` is UIDs and email ids, `among` the emails that are known."""
    found: list[tuple[int, ...]] = []
    for test in tests:
        hits = index.find(test, among) if among else set()
        found.append(tuple(uid for uid, email_id in there if email_id in hits) if hits else ())
    return tuple(found)


def search_columns(view: View, query: SearchColumns) -> tuple[bytes, ...]:
    return tuple(answer(test, query.columns) for test in query.tests)
