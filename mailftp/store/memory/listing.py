"""A mailbox's columns and its messages in bulk, of the plain engine."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from mailftp.message.fields import header_end
from mailftp.store.engine import SMALL_BODY
from mailftp.store.memory.mail import find_box, own_box
from mailftp.store.memory.state import Box, State
from mailftp.store.names import mailbox_name
from mailftp.store.queries import ListMailbox, ListPlaces, ListStatus, ReadMessages, ReadReady
from mailftp.store.records import MailboxListing, MailboxStatus, Message, MessageTexts, Places, ReadyTexts


def list_mailbox(state: State, query: ListMailbox) -> MailboxListing | None:
    if isinstance(query.mailbox, str):
        box = find_box(state, query.account_id, query.mailbox)
    else:
        box = own_box(state, query.account_id, query.mailbox)
    if box is None:
        return None
    messages = [m for m in box.messages.values() if m.modseq > query.modseq]
    gone = sorted(uid for modseq, uid in box.tombstones if modseq > query.modseq > 0)
    sets: dict[frozenset[str], int] = {}
    return MailboxListing(
        box.mailbox,
        array("I", [m.uid for m in messages]),
        array("Q", [m.modseq for m in messages]),
        array("Q", [m.size for m in messages]),
        array("d", [m.received for m in messages]),
        array("I", [sets.setdefault(m.flags, len(sets)) for m in messages]),
        tuple(sets),
        array("I", gone),
        not query.modseq or query.modseq >= box.horizon,
    )


def _there(box: Box, uids: range | Sequence[int]) -> list[Message]:
    wanted = uids if isinstance(uids, range) else frozenset(uids)
    return [message for uid, message in box.messages.items() if uid in wanted]


def list_status(state: State, query: ListStatus) -> tuple[MailboxStatus, ...]:
    holder = state.holders.get(query.account_id)
    names = None if query.names is None else set(map(mailbox_name, query.names))
    boxes = holder.boxes if holder is not None else {}
    return tuple(
        MailboxStatus(
            box.mailbox,
            len(box.messages),
            sum("\\Seen" not in m.flags for m in box.messages.values()),
            sum("\\Deleted" in m.flags for m in box.messages.values()),
            sum(m.size for m in box.messages.values()),
            sum(m.size for m in box.messages.values() if "\\Deleted" in m.flags),
        )
        for name, box in sorted(boxes.items())
        if names is None or name in names
    )


def list_places(state: State, query: ListPlaces) -> Places | None:
    box = own_box(state, query.account_id, query.mailbox_id)
    if box is None:
        return None
    there = _there(box, query.uids)
    return Places(
        array("I", [m.uid for m in there]),
        array("Q", [m.email_id for m in there]),
        array("Q", [m.thread_id for m in there]),
        array("d", [m.saved for m in there]),
    )


def read_ready(state: State, query: ReadReady) -> ReadyTexts | None:
    box = own_box(state, query.account_id, query.mailbox_id)
    if box is None:
        return None
    there = _there(box, query.uids)
    indexes = [state.bodies[m.body.id].index for m in there]
    ready = [(index.envelope, index.body, index.bodystructure) for index in indexes]
    texts = tuple([text[item.value] for text in ready] for item in query.items)
    return ReadyTexts(array("I", [m.uid for m in there]), texts)


def read_messages(state: State, query: ReadMessages) -> MessageTexts | None:
    box = own_box(state, query.account_id, query.mailbox_id)
    if box is None:
        return None
    there = _there(box, query.uids)
    texts = []
    for message in there:
        data = state.bodies[message.body.id].data
        if query.header_only:
            data = data[:SMALL_BODY]
            data = data[: header_end(data)]
        elif message.body.large:
            data = b""
        texts.append(message.prefix + data)
    indexes = [state.bodies[m.body.id].index.encode() for m in there] if query.with_index else []
    return MessageTexts(
        array("I", [m.uid for m in there]),
        array("Q", [len(m.prefix) for m in there]),
        texts,
        [m.body for m in there],
        indexes,
    )
