"""Messages put into another mailbox of their account, of the plain engine."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import NoSuchMailbox, OverQuota
from mailftp.store.memory.mail import expunge, find_box, own_box
from mailftp.store.memory.state import State
from mailftp.store.names import mailbox_name
from mailftp.store.records import Copied
from mailftp.store.units import CopyMessages, Expunge, MoveMessages


def copy_messages(state: State, unit: CopyMessages) -> Copied:
    return _copy(state, unit, hold_to_quota=True)


def move_messages(state: State, unit: MoveMessages) -> Copied:
    copied = _copy(state, unit, hold_to_quota=False)
    expunge(state, Expunge(unit.account_id, unit.mailbox_id, copied.sources))
    return copied


def _copy(state: State, unit: CopyMessages | MoveMessages, hold_to_quota: bool) -> Copied:
    source = own_box(state, unit.account_id, unit.mailbox_id)
    if source is None:
        raise NoSuchMailbox("the mailbox is gone")
    target = find_box(state, unit.account_id, unit.target)
    if target is None:
        raise NoSuchMailbox(f"there is no mailbox {mailbox_name(unit.target)}")
    first = target.mailbox.uidnext
    sources = tuple(sorted(set(unit.uids) & source.messages.keys()))
    if not sources:
        return Copied(target.mailbox.id, target.mailbox.uidvalidity)
    holder = state.holders[unit.account_id]
    messages = [source.messages[uid] for uid in sources]
    octets = holder.octets + sum(message.size for message in messages)
    quota = state.quota(holder.account)
    if hold_to_quota and quota.exceeded(octets, holder.messages + len(messages)):
        raise OverQuota((unit.account_id,))
    holder.octets = octets
    holder.messages += len(messages)
    modseq = state.touch(target, holder)
    target.mailbox = replace(target.mailbox, uidnext=first + len(messages))
    for uid, message in enumerate(messages, first):
        target.messages[uid] = replace(
            message, mailbox_id=target.mailbox.id, uid=uid, modseq=modseq, saved=state.now()
        )
        holder.threads[message.thread_id][message.email_id] += 1
        state.bodies[message.body.id].holders += 1
    targets = tuple(range(first, first + len(messages)))
    return Copied(target.mailbox.id, target.mailbox.uidvalidity, sources, targets)
