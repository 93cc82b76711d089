"""Mailboxes as POP3 sees them, of the plain engine."""

from __future__ import annotations

from array import array

from mailftp.store.engine import StoreFault
from mailftp.store.memory.mail import expunge, find_box
from mailftp.store.memory.state import State
from mailftp.store.names import check_uidl
from mailftp.store.queries import Copies, ListMaildrop
from mailftp.store.records import Copy, MaildropListing, Message
from mailftp.store.units import ExpireRetrieved, Expunge, NoteRetrieved, SetUidls


def list_maildrop(state: State, query: ListMaildrop) -> MaildropListing | None:
    box = find_box(state, query.account_id, query.name)
    if box is None:
        return None
    if query.known == (box.mailbox.id, box.mailbox.modseq):
        return MaildropListing(box.mailbox, True, (), (), {})
    uids = array("I", box.messages)
    sizes = array("Q", (message.size for message in box.messages.values()))
    uidls = {uid: uidl for uid, uidl in box.uidls.items() if uid in box.messages}
    return MaildropListing(box.mailbox, False, uids, sizes, uidls)


def copies(state: State, query: Copies) -> tuple[Copy | None, ...]:
    box = state.boxes.get(query.mailbox_id)
    return tuple(_copy(state, box.messages.get(uid)) if box else None for uid in query.uids)


def _copy(state: State, message: Message | None) -> Copy | None:
    if message is None:
        return None
    body = state.bodies[message.body.id]
    return Copy(message.prefix, body.ref, None if body.ref.large else body.data, body.index.dot_free)


def set_uidls(state: State, unit: SetUidls) -> tuple[int, ...]:
    box = state.boxes.get(unit.mailbox_id)
    if box is None:
        return ()
    uidls = {uid: uidl for uid, uidl in box.uidls.items() if uid in box.messages}
    set_for = []
    for uid, uidl in unit.uidls:
        check_uidl(uidl, box.mailbox.uidvalidity)
        if uid in box.messages:
            if uidls.get(uid) != uidl and uidl in uidls.values():
                raise StoreFault(f"another message has the UIDL {uidl.decode()}")
            uidls[uid] = uidl
            set_for.append(uid)
    if set_for:
        box.uidls = uidls
        state.touch(box, state.holders[box.mailbox.account_id])
    return tuple(set_for)


def note_retrieved(state: State, unit: NoteRetrieved) -> int:
    box = state.boxes.get(unit.mailbox_id)
    new = {uid for uid in unit.uids if uid in box.messages and uid not in box.retrieved} if box else set()
    for uid in new:
        assert box is not None
        box.retrieved[uid] = state.now()
    return len(new)


def expire_retrieved(state: State, unit: ExpireRetrieved) -> int:
    due = sorted(
        (since, box.mailbox.id, uid)
        for box in state.boxes.values()
        for uid, since in box.retrieved.items()
        if since <= state.now() - unit.seconds and uid in box.messages
    )[: unit.limit]
    wanted: dict[int, list[int]] = {}
    for _, mailbox_id, uid in due:
        wanted.setdefault(mailbox_id, []).append(uid)
    return sum(
        len(expunge(state, Expunge(state.boxes[number].mailbox.account_id, number, tuple(uids))))
        for number, uids in wanted.items()
    )
