"""Messages held against tests of their headers and texts, of the plain engine."""

from __future__ import annotations

from mailftp.store.columns import answer
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.findings import IndexAnswer
from mailftp.store.inspecting import Inspection
from mailftp.store.memory.mail import own_box
from mailftp.store.memory.state import State
from mailftp.store.queries import SearchColumns, SearchIndex, SearchMessages


def search_messages(state: State, query: SearchMessages) -> tuple[tuple[int, ...], ...]:
    box = own_box(state, query.account_id, query.mailbox_id)
    if box is None:
        raise NoSuchMailbox("the mailbox is gone")
    inspection = Inspection(query.tests)
    for uid in query.uids:
        message = box.messages.get(uid)
        if message is not None:
            body = state.bodies[message.body.id]
            inspection.header(uid, message.prefix + body.data)
            inspection.text(uid, message.prefix, body.data, body.index.root)
    return tuple(map(tuple, inspection.hits))


def search_index(state: State, query: SearchIndex) -> IndexAnswer | None:
    """There is none."""
    if own_box(state, query.account_id, query.mailbox_id) is None:
        raise NoSuchMailbox("the mailbox is gone")
    if isinstance(query.uids, range):
        return None
    return IndexAnswer(query.uids, tuple(() for _ in query.tests))


def search_columns(state: State, query: SearchColumns) -> tuple[bytes, ...]:
    return tuple(answer(test, query.columns) for test in query.tests)
