"""Messages in bulk, on their way out: ready-made FETCH items, bodies, headers.

Each query is one row whatever it holds, as in maildrops.py: texts beside each other, and where each ends.
"""

from __future__ import annotations

import os
from array import array

from mailftp.message.fields import header_end
from mailftp.message.index import INDEX_VERSION, stored_ready
from mailftp.store.engine import SMALL_BODY
from mailftp.store.queries import ReadMessages, ReadReady
from mailftp.store.records import BodyRef, MessageTexts, ReadyTexts
from mailftp.store.sqlite.listing import chosen, numbers, owned
from mailftp.store.sqlite.reading import View, remake

_ROWS = " FROM mailbox_messages AS mm NOT INDEXED CROSS JOIN emails AS e ON e.id = mm.email_id"
_INDEX = " CROSS JOIN body_indexes AS i ON i.body_id = e.body_id"


def read_ready(view: View, query: ReadReady) -> ReadyTexts | None:
    if not owned(view, query.account_id, query.mailbox_id):
        return None
    which, values = chosen(query.uids)
    row = view.one(
        "SELECT group_concat(uid), group_concat(body_id), group_concat(length(stored)),"
        " CAST(group_concat(stored, '') AS BLOB) FROM (SELECT mm.uid, e.body_id, i.stored"
        f"{_ROWS}{_INDEX} WHERE mm.mailbox_id = ? AND {which} ORDER BY mm.uid)",
        (query.mailbox_id, *values),
    )
    assert row is not None
    uids, body_ids, sizes = (numbers("Q", text) for text in row[:3])
    stored = row[3]
    texts: list[tuple[bytes, bytes, bytes]] = []
    start = 0
    for at, size in enumerate(sizes):
        ready = stored_ready(stored, start, start + size)
        if ready is None:
            index = remake(view, body_ids[at])
            ready = index.envelope, index.body, index.bodystructure
        texts.append(ready)
        start += size
    return ReadyTexts(array("I", uids), tuple([text[item.value] for text in texts] for item in query.items))


def read_messages(view: View, query: ReadMessages) -> MessageTexts | None:
    if not owned(view, query.account_id, query.mailbox_id):
        return None
    which, values = chosen(query.uids)
    # A header ends with the first empty line; a body that begins with one has none.
    data = (
        "CASE WHEN substr(b.data, 1, 2) = x'0d0a' THEN x'0d0a' WHEN instr(b.data, x'0d0a0d0a')"
        " THEN substr(b.data, 1, instr(b.data, x'0d0a0d0a') + 3) ELSE b.data END"
        if query.header_only
        else "b.data"
    )
    row = view.one(
        "SELECT group_concat(uid), group_concat(body_id), group_concat(body_size),"
        " group_concat(length(prefix)), group_concat(length(data)),"
        " CAST(group_concat(prefix || data, '') AS BLOB)"
        + (
            ", group_concat(length(stored)), CAST(group_concat(stored, '') AS BLOB)"
            if query.with_index
            else ""
        )
        + " FROM (SELECT mm.uid, e.body_id, e.body_size, e.prefix,"
        f" coalesce({data}, x'') AS data"
        + (", i.stored" if query.with_index else "")
        + f"{_ROWS} CROSS JOIN bodies AS b ON b.id = e.body_id"
        + (_INDEX if query.with_index else "")
        + f" WHERE mm.mailbox_id = ? AND {which} ORDER BY mm.uid)",
        (query.mailbox_id, *values),
    )
    assert row is not None
    uids, body_ids, body_sizes, prefix_sizes, sizes = (numbers("Q", text) for text in row[:5])
    ends = [prefix + size for prefix, size in zip(prefix_sizes, sizes, strict=True)]
    texts = _cut(row[5], ends)
    bodies = [BodyRef(*pair, pair[1] > SMALL_BODY) for pair in zip(body_ids, body_sizes, strict=True)]
    if query.header_only:
        for at, body in enumerate(bodies):
            if body.large:
                texts[at] += _large_header(view, body.id)
    indexes: list[bytes] = []
    if query.with_index:
        version = INDEX_VERSION.to_bytes(2, "little")
        stored = _cut(row[7], numbers("Q", row[6]))
        indexes = [text if text.startswith(version) else b"" for text in stored]
    return MessageTexts(array("I", uids), prefix_sizes, texts, bodies, indexes)


def _cut(octets: bytes | None, sizes: list[int] | array[int]) -> list[bytes]:
    texts = []
    start = 0
    for size in sizes:
        assert octets is not None
        texts.append(octets[start : start + size])
        start += size
    return texts


def _large_header(view: View, body_id: int) -> bytes:
    row = view.one("SELECT sha256 FROM bodies WHERE id = ?", (body_id,))
    assert row is not None
    descriptor = view.blobs.open(row[0])
    try:
        data = os.pread(descriptor, SMALL_BODY, 0)
    finally:
        os.close(descriptor)
    return data[: header_end(data)]
