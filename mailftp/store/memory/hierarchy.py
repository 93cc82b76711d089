"""Names of mailboxes, of the plain engine."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import MailboxExists, MailboxRefused, NoSuchMailbox
from mailftp.store.memory.copying import move_messages
from mailftp.store.memory.mail import find_box, hold_to_limits, leave
from mailftp.store.memory.state import Box, Holder, Note, State
from mailftp.store.names import check_name, check_subscriptions, mailbox_name, renamed
from mailftp.store.records import Change, Mailbox
from mailftp.store.units import DeleteMailbox, MoveMessages, RenameMailbox, SetSubscription


def delete_mailbox(state: State, unit: DeleteMailbox) -> Mailbox:
    box = _box(state, unit.account_id, unit.name)
    mailbox = box.mailbox
    if mailbox.name == "INBOX":
        raise MailboxRefused("INBOX cannot be deleted")
    holder = state.holders[unit.account_id]
    del state.boxes[mailbox.id], holder.boxes[mailbox.name]
    modseq = state.touch(box, holder)
    for message in box.messages.values():
        leave(state, holder, message, modseq)
    holder.notes.append(Note(modseq, "mailbox", mailbox.id, box.created_modseq, since=state.now()))
    state.note_beneath(holder, mailbox.name)
    return mailbox


def rename_mailbox(state: State, unit: RenameMailbox) -> tuple[Mailbox, ...]:
    old, new = mailbox_name(unit.name), mailbox_name(unit.new_name)
    if old == "INBOX":
        return (_empty_inbox(state, unit.account_id, new),)
    holder = state.holders.get(unit.account_id)
    if holder is None:
        raise NoSuchMailbox(f"there is no mailbox {old}")
    names = renamed(holder.boxes, old, new)
    _subscribe(holder, {name for before, name in names.items() if before in holder.subscriptions})
    boxes = [holder.boxes.pop(before) for before in names]
    holder.modseq += 1
    for box, name in zip(boxes, names.values(), strict=True):
        subscribed = name in holder.subscriptions
        box.mailbox = replace(box.mailbox, name=name, subscribed=subscribed, modseq=holder.modseq)
        box.changed_modseq = holder.modseq
        holder.boxes[name] = box
        state.changes.append(Change("mail", unit.account_id, box.mailbox.id, holder.modseq))
    state.note_beneath(holder, old)
    state.note_beneath(holder, new)
    return tuple(holder.boxes[name].mailbox for name in sorted(names.values()))


def _subscribe(holder: Holder, names: set[str]) -> None:
    new = names - holder.subscriptions
    if new:
        check_subscriptions(len(holder.subscriptions) + len(new) - 1)
    holder.subscriptions |= new


def _empty_inbox(state: State, account_id: int, new: str) -> Mailbox:
    inbox = _box(state, account_id, "INBOX")
    holder = state.holders[account_id]
    if new in holder.boxes:
        raise MailboxExists(f"there is a mailbox {new} already")
    check_name(new)
    hold_to_limits(holder, new, inbox.mailbox.subscribed)
    box = state.add_box(holder, new, subscribe=inbox.mailbox.subscribed)
    move_messages(state, MoveMessages(account_id, inbox.mailbox.id, tuple(inbox.messages), new))
    return box.mailbox


def set_subscription(state: State, unit: SetSubscription) -> bool:
    holder = state.holder(unit.account_id)
    name = mailbox_name(unit.name)
    if (name in holder.subscriptions) == unit.subscribed:
        return False
    if unit.subscribed:
        check_name(name)
        _subscribe(holder, {name})
    else:
        holder.subscriptions.remove(name)
    box = holder.boxes.get(name)
    if box is None:
        holder.modseq += 1
        state.changes.append(Change("mail", unit.account_id, 0, holder.modseq))
    else:
        box.mailbox = replace(box.mailbox, subscribed=unit.subscribed)
        box.changed_modseq = state.touch(box, holder)
    return True


def _box(state: State, account_id: int, name: str) -> Box:
    box = find_box(state, account_id, name)
    if box is None:
        raise NoSuchMailbox(f"there is no mailbox {mailbox_name(name)}")
    return box
