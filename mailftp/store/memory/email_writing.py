"""Emails changed, made and destroyed with all their places, and mailboxes by id, of the plain engine."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store import flags as flag_sets
from mailftp.store.email_listing import hidden
from mailftp.store.email_units import (
    EmailsSet,
    MailboxHasChild,
    MailboxHasEmail,
    Plan,
    PutEmail,
    PutMailbox,
    RemoveMailbox,
    SetEmails,
    StateMismatch,
    check_role,
    plan_emails,
)
from mailftp.store.emails import Place
from mailftp.store.engine import MailboxRefused, NoSuchMailbox, OverQuota
from mailftp.store.mailbox_tree import path_of
from mailftp.store.memory.hierarchy import delete_mailbox, rename_mailbox, set_subscription
from mailftp.store.memory.mail import create_mailbox, expunge, file_body, own_box
from mailftp.store.memory.state import Holder, State
from mailftp.store.names import SEPARATOR
from mailftp.store.quota import UNLIMITED
from mailftp.store.records import Filing, Mailbox, Message
from mailftp.store.units import CreateMailbox, DeleteMailbox, Expunge, RenameMailbox, SetSubscription


def set_emails(state: State, unit: SetEmails) -> EmailsSet:
    holder = state.holder(unit.account_id)
    before = holder.modseq
    if unit.state is not None and unit.state != before:
        raise StateMismatch(f"the account is at {before}")
    there: dict[int, Message] = {}
    places: dict[int, list[Place]] = {}
    unseen: dict[int, list[Place]] = {}
    for box in sorted(holder.boxes.values(), key=lambda box: box.mailbox.id):
        for message in box.messages.values():
            there[message.email_id] = message
            which = unseen if hidden(message.flags) else places
            which.setdefault(message.email_id, []).append(
                Place(box.mailbox.id, message.uid, message.modseq, message.flags, message.saved)
            )
    quota = state.quota(holder.account)
    left = (
        UNLIMITED if quota.octets is None else quota.octets - holder.octets,
        UNLIMITED if quota.messages is None else quota.messages - holder.messages,
    )
    sizes = {email_id: message.size for email_id, message in there.items()}
    mailboxes = {box.mailbox.id for box in holder.boxes.values()}
    plan = plan_emails(unit, places, unseen, mailboxes, sizes, left)
    _carry_out(state, holder, plan, there)
    return EmailsSet(before, holder.modseq, plan.faults)


def _carry_out(state: State, holder: Holder, plan: Plan, there: dict[int, Message]) -> None:
    for mailbox_id, emails in plan.add.items():
        box = state.boxes[mailbox_id]
        modseq = state.touch(box, holder)
        first = box.mailbox.uidnext
        for uid, (email_id, flags) in enumerate(emails.items(), first):
            message = replace(
                there[email_id],
                mailbox_id=mailbox_id,
                uid=uid,
                modseq=modseq,
                flags=flag_sets.canonical(flags),
                saved=state.now(),
            )
            box.messages[uid] = message
            holder.threads[message.thread_id][email_id] += 1
            state.bodies[message.body.id].holders += 1
            holder.octets += message.size
            holder.messages += 1
        box.mailbox = replace(box.mailbox, uidnext=first + len(emails))
    for mailbox_id, changed in plan.flags.items():
        box = state.boxes[mailbox_id]
        modseq = state.touch(box, holder)
        for flags, uids in changed.items():
            for uid in uids:
                box.messages[uid] = replace(
                    box.messages[uid], flags=flag_sets.canonical(flags), modseq=modseq
                )
    for mailbox_id, uids in plan.remove.items():
        expunge(state, Expunge(holder.account.id, mailbox_id, tuple(uids)))


def put_email(state: State, unit: PutEmail) -> tuple[int, int]:
    boxes = [own_box(state, unit.account_id, each) for each in sorted(set(unit.mailbox_ids))]
    names = [box.mailbox.name for box in boxes if box is not None]
    if not names or len(names) < len(boxes):
        raise NoSuchMailbox("there is no such mailbox")
    body = state.take_body(unit.message.body)
    holder = state.holder(unit.account_id)
    octets = holder.octets + len(names) * body.ref.size
    if state.quota(holder.account).exceeded(octets, holder.messages + len(names)):
        raise OverQuota((unit.account_id,))
    filings = [Filing(unit.account_id, name, unit.message.flags) for name in names]
    _, mailbox_id, uid = file_body(state, body, filings, unit.message.received)[0]
    message = state.boxes[mailbox_id].messages[uid]
    return message.email_id, message.thread_id


def put_mailbox(state: State, unit: PutMailbox) -> Mailbox:
    holder = state.holder(unit.account_id)
    there = {box.mailbox.id: box.mailbox for box in holder.boxes.values()}
    old = there.get(unit.mailbox_id) if unit.mailbox_id is not None else None
    if unit.mailbox_id is not None and old is None:
        raise NoSuchMailbox("there is no such mailbox")
    name = path_of(unit, old, there)
    check_role(unit, there)
    if old is None:
        subscribed = unit.subscribed is not False
        made = create_mailbox(state, CreateMailbox(unit.account_id, name, unit.special_use or "", subscribed))
    else:
        made = old
        if name != old.name:
            rename_mailbox(state, RenameMailbox(unit.account_id, old.name, name))
        if unit.subscribed is not None:
            set_subscription(state, SetSubscription(unit.account_id, name, unit.subscribed))
    box = state.boxes[made.id]
    order = made.sort_order if unit.sort_order is None else unit.sort_order
    use = made.special_use if unit.special_use is None else unit.special_use
    if (order, use) != (made.sort_order, made.special_use):
        box.mailbox = replace(box.mailbox, sort_order=order, special_use=use)
        box.changed_modseq = state.touch(box, holder)
    return box.mailbox


def remove_mailbox(state: State, unit: RemoveMailbox) -> Mailbox:
    box = own_box(state, unit.account_id, unit.mailbox_id)
    if box is None:
        raise NoSuchMailbox("there is no such mailbox")
    name = box.mailbox.name
    if name == "INBOX":
        raise MailboxRefused("the inbox cannot be destroyed")
    if any(each.startswith(name + SEPARATOR) for each in state.holders[unit.account_id].boxes):
        raise MailboxHasChild("there are mailboxes beneath it")
    if not unit.with_emails and any(not hidden(message.flags) for message in box.messages.values()):
        raise MailboxHasEmail("there are Emails in it")
    set_subscription(state, SetSubscription(unit.account_id, name, False))
    return delete_mailbox(state, DeleteMailbox(unit.account_id, name))
