"""Messages held against tests of their headers and texts."""

from __future__ import annotations

import mmap
import os

from mailftp.message.index import MessageIndex
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.inspecting import Inspection
from mailftp.store.queries import ReadMessages, SearchMessages
from mailftp.store.records import BodyRef
from mailftp.store.sqlite.reading import View, remake
from mailftp.store.sqlite.texts import read_messages


def search_messages(view: View, query: SearchMessages) -> tuple[tuple[int, ...], ...]:
    inspection = Inspection(query.tests)
    only = inspection.header_only
    uids: range | tuple[int, ...] = query.uids
    if uids and uids[-1] - uids[0] == len(uids) - 1:
        uids = range(uids[0], uids[-1] + 1)
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
        index = MessageIndex.decode(found.indexes[at]) or remake(view, body.id)
        split = found.prefix_sizes[at]
        if body.large:
            _inspect_file(view, inspection, uid, text, body, index)
        else:
            inspection.header(uid, text)
            inspection.text(uid, text[:split], text[split:], index)
    return tuple(map(tuple, inspection.hits))


def _inspect_file(
    view: View, inspection: Inspection, uid: int, prefix: bytes, body: BodyRef, index: MessageIndex
) -> None:
    """Without having it in memory."""
    row = view.one("SELECT sha256 FROM bodies WHERE id = ?", (body.id,))
    assert row is not None
    descriptor = view.blobs.open(row[0])
    try:
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            inspection.header(uid, prefix + bytes(data[: index.root.body]))
            inspection.text(uid, prefix, data, index)
    finally:
        os.close(descriptor)
