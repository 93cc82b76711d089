"""Messages read to be sorted and threaded."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mailftp.message.index import StoredKeys, stored_keys
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.findings import Threads
from mailftp.store.queries import SortMessages, ThreadMessages
from mailftp.store.sorting import Sorter
from mailftp.store.sqlite.listing import numbers, owned, times
from mailftp.store.sqlite.reading import View, remake
from mailftp.store.thread_algorithms import Threader

#: Messages whose indexes are in memory at one time.
PIECE = 2_000


def sort_messages(view: View, query: SortMessages) -> tuple[int, ...]:
    sorter = Sorter(query.order)
    for uid, received, size, keys in _read(view, query, with_index=sorter.needs_index):
        sorter.take(uid, received, size, keys)
    return tuple(sorter.result())


def thread_messages(view: View, query: ThreadMessages) -> Threads:
    threader = Threader(query.algorithm)
    for uid, received, _, keys in _read(view, query, with_index=True):
        assert keys is not None
        threader.take(uid, received, keys)
    return threader.result()


def _read(
    view: View, query: SortMessages | ThreadMessages, *, with_index: bool
) -> Iterator[tuple[int, float, int, StoredKeys | None]]:
    """UID, INTERNALDATE, octets and keys, in UID order."""
    if not owned(view, query.account_id, query.mailbox_id):
        raise NoSuchMailbox("the mailbox is gone")
    stored = (
        ("i.stored", "CROSS JOIN body_indexes AS i ON i.body_id = e.body_id") if with_index else ("x''", "")
    )
    uids = sorted(query.uids)
    for start in range(0, len(uids), PIECE):
        piece = uids[start : start + PIECE]
        row = view.one(
            "SELECT group_concat(uid), group_concat(printf('%!.17g', received)), group_concat(size),"
            " group_concat(body_id), group_concat(length(stored)), CAST(group_concat(stored, '') AS BLOB)"
            f" FROM (SELECT mm.uid, e.received, mm.size, e.body_id, {stored[0]} AS stored"
            " FROM mailbox_messages AS mm NOT INDEXED CROSS JOIN emails AS e ON e.id = mm.email_id"
            f" {stored[1]} WHERE mm.mailbox_id = ? AND mm.uid BETWEEN ? AND ?"
            " AND mm.uid IN (SELECT value FROM json_each(?)) ORDER BY mm.uid)",
            (query.mailbox_id, piece[0], piece[-1], json.dumps(piece)),
        )
        assert row is not None
        there, received, sizes = numbers("Q", row[0]), times(row[1]), numbers("Q", row[2])
        if not with_index:
            yield from ((*each, None) for each in zip(there, received, sizes, strict=True))
            continue
        at = 0
        rows = zip(there, received, sizes, numbers("Q", row[3]), numbers("Q", row[4]), strict=True)
        for uid, when, octets, body_id, length in rows:
            keys = stored_keys(row[5], at, at + length)
            if keys is None:
                encoded = remake(view, body_id).encode()
                keys = stored_keys(encoded, 0, len(encoded))
            yield uid, when, octets, keys
            at += length
