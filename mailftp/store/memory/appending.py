"""What a client puts into a mailbox itself, of the plain engine."""

from __future__ import annotations

from mailftp.store.engine import NoSuchMailbox, NoSuchMessage, OverQuota
from mailftp.store.memory.mail import expunge, file_body, find_box, own_box
from mailftp.store.memory.state import State
from mailftp.store.names import mailbox_name
from mailftp.store.records import Appended, Filing
from mailftp.store.units import AppendMessages, Expunge


def append_messages(state: State, unit: AppendMessages) -> Appended:
    box = find_box(state, unit.account_id, unit.mailbox)
    if box is None:
        raise NoSuchMailbox(f"there is no mailbox {mailbox_name(unit.mailbox)}")
    bodies = [state.take_body(message.body) for message in unit.messages]
    holder = state.holders[unit.account_id]
    octets = holder.octets + sum(message.body.size for message in unit.messages)
    count = holder.messages + len(unit.messages)
    if unit.replaces is not None:
        count -= 1
        octets -= _replaced(state, unit.account_id, *unit.replaces)
    if state.quota(holder.account).exceeded(octets, count, (holder.octets, holder.messages)):
        raise OverQuota((unit.account_id,))
    uids = []
    for message, body in zip(unit.messages, bodies, strict=True):
        filing = Filing(unit.account_id, unit.mailbox, message.flags)
        uids += [uid for *_, uid in file_body(state, body, (filing,), message.received)]
    if unit.replaces is not None:
        mailbox_id, uid = unit.replaces
        expunge(state, Expunge(unit.account_id, mailbox_id, (uid,)))
    return Appended(box.mailbox.id, box.mailbox.uidvalidity, tuple(uids))


def _replaced(state: State, account_id: int, mailbox_id: int, uid: int) -> int:
    """Its octets. Raises NoSuchMessage."""
    box = own_box(state, account_id, mailbox_id)
    if box is None or uid not in box.messages:
        raise NoSuchMessage("the message to be replaced is gone")
    return box.messages[uid].size
