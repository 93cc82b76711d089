"""Messages sorted and threaded, of the plain engine."""

from __future__ import annotations

from collections.abc import Iterator

from mailftp.message.index import StoredKeys, stored_keys
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.findings import Threads
from mailftp.store.memory.mail import own_box
from mailftp.store.memory.state import State
from mailftp.store.queries import SortMessages, ThreadMessages
from mailftp.store.records import Message
from mailftp.store.sorting import Sorter
from mailftp.store.thread_algorithms import Threader


def sort_messages(state: State, query: SortMessages) -> tuple[int, ...]:
    sorter = Sorter(query.order)
    for message, keys in _read(state, query):
        sorter.take(message.uid, message.received, message.size, keys if sorter.needs_index else None)
    return tuple(sorter.result())


def thread_messages(state: State, query: ThreadMessages) -> Threads:
    threader = Threader(query.algorithm)
    for message, keys in _read(state, query):
        threader.take(message.uid, message.received, keys)
    return threader.result()


def _read(state: State, query: SortMessages | ThreadMessages) -> Iterator[tuple[Message, StoredKeys]]:
    box = own_box(state, query.account_id, query.mailbox_id)
    if box is None:
        raise NoSuchMailbox("the mailbox is gone")
    for uid in sorted(set(query.uids) & box.messages.keys()):
        message = box.messages[uid]
        encoded = state.bodies[message.body.id].index.encode()
        keys = stored_keys(encoded, 0, len(encoded))
        assert keys is not None
        yield message, keys
