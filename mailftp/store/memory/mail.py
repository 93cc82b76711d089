"""Accounts, mailboxes and messages of the plain engine: a function for each unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mailftp.store import flags as flag_sets
from mailftp.store.email_listing import hidden
from mailftp.store.engine import AccountExists, MailboxExists, OverQuota, StoreFault
from mailftp.store.memory.aliases import forget_address
from mailftp.store.memory.state import Body, Box, Holder, Note, Queued, Recipient, State
from mailftp.store.memory.submitting import check_submission, copies, note_submission
from mailftp.store.names import (
    ACCOUNT_FIELDS,
    ACCOUNT_FLAGS,
    check_mailboxes,
    check_name,
    check_subscriptions,
    domain_of,
    first_attempt,
    mailbox_name,
)
from mailftp.store.records import (
    NEW_ACCOUNT_MAILBOXES,
    Accepted,
    Account,
    Change,
    Filing,
    Flagged,
    Mailbox,
    Message,
    QueueMessage,
    Transfer,
)
from mailftp.store.threads import thread_keys
from mailftp.store.units import (
    Accept,
    AddAccount,
    Claim,
    CreateMailbox,
    Expunge,
    RemoveAccount,
    SetAccount,
    SetVerifier,
    StoreFlags,
)


def add_account(state: State, unit: AddAccount) -> Account:
    if unit.address in state.by_address:
        raise AccountExists(f"there is an account {unit.address} already")
    account = Account(state.next_id("account"), unit.address, created=state.now())
    holder = state.holders[account.id] = Holder(account, unit.verifier)
    state.by_address[unit.address] = account.id
    for name, special_use in NEW_ACCOUNT_MAILBOXES.items():
        state.add_box(holder, name, special_use)
    state.changes.append(Change("account", account.id))
    return account


def remove_account(state: State, unit: RemoveAccount) -> Account:
    holder = state.holder_of(unit.address)
    account = holder.account
    for box in holder.boxes.values():
        for message in box.messages.values():
            leave(state, holder, message, holder.modseq)
        del state.boxes[box.mailbox.id]
    del state.holders[account.id], state.by_address[unit.address]
    forget_address(state, unit.address)
    state.changes.append(Change("account", account.id))
    return account


def set_verifier(state: State, unit: SetVerifier) -> Account:
    holder = state.holder_of(unit.address)
    holder.verifier = unit.verifier
    holder.account = replace(holder.account, verifier_version=holder.account.verifier_version + 1)
    state.changes.append(Change("account", holder.account.id))
    return holder.account


def set_account(state: State, unit: SetAccount) -> Account:
    holder = state.holder_of(unit.address)
    unknown = {name for name, _ in unit.changes} - ACCOUNT_FIELDS
    if unknown:
        raise StoreFault(f"an account has no {', '.join(sorted(unknown))}")
    changes: dict[str, Any] = {
        name: bool(value) if name in ACCOUNT_FLAGS else value for name, value in unit.changes
    }
    account = holder.account = replace(holder.account, **changes)
    state.changes.append(Change("account", account.id))
    return account


def accept(state: State, unit: Accept) -> Accepted:
    check(state, unit)
    return admit(state, unit)


def check(state: State, unit: Accept) -> None:
    """Raises what an Accept raises, and changes nothing but to stage the body."""
    state.take_body(unit.body)
    if unit.submission is not None:
        check_submission(state, unit.submission)
    coming: dict[int, list[int]] = {}
    for filing in (*unit.filings, *copies(state, unit)):
        state.holder(filing.account_id)
        coming.setdefault(filing.account_id, []).append(len(filing.prefix) + unit.body.size)
    over = []
    for account_id, sizes in coming.items():
        holder = state.holders[account_id]
        quota = state.quota(holder.account)
        if quota.exceeded(holder.octets + sum(sizes), holder.messages + len(sizes)):
            over.append(account_id)
    if over:
        raise OverQuota(tuple(over))


def admit(state: State, unit: Accept) -> Accepted:
    """Take it, quota or not."""
    body = state.take_body(unit.body)
    filed = file_body(state, body, (*unit.filings, *copies(state, unit)), unit.received)
    if unit.submission is not None:
        note_submission(state, unit.submission)
    queued = claimed = None
    if unit.transfer is not None:
        queued = _enqueue(state, body, unit.transfer, unit.received)
        if unit.claim is not None:
            claimed = _claim(state, queued, unit.claim)
    forwarded = tuple(_enqueue(state, body, transfer, unit.received) for transfer in unit.forwards)
    return Accepted(filed, queued, forwarded, claimed)


def _claim(state: State, message_id: int, claim: Claim) -> QueueMessage:
    message = state.queue[message_id]
    for recipient in message.recipients:
        recipient.attempts, recipient.ahead = 1, 0.0
        recipient.lease_owner, recipient.lease_until = claim.owner, state.now() + claim.seconds
    # Nobody else hears of it: there is nothing to do.
    state.changes.pop()
    return message.value(message.recipients)


def file_body(
    state: State, body: Body, filings: Sequence[Filing], received: float
) -> tuple[tuple[int, int, int], ...]:
    emails: dict[tuple[int, bytes], tuple[int, int]] = {}
    filed = []
    for filing in filings:
        holder = state.holders[filing.account_id]
        name = mailbox_name(filing.mailbox)
        box = holder.boxes.get(name) or state.add_box(holder, name)
        same = (filing.account_id, filing.prefix)
        if same not in emails:
            emails[same] = _new_email(state, holder, body)
        email_id, thread_id = emails[same]
        emails_there = holder.threads.setdefault(thread_id, {})
        emails_there[email_id] = emails_there.get(email_id, 0) + 1
        uid = box.mailbox.uidnext
        modseq = state.touch(box, holder)
        holder.created.setdefault(email_id, modseq)
        box.mailbox = replace(box.mailbox, uidnext=uid + 1)
        message = Message(
            mailbox_id=box.mailbox.id,
            uid=uid,
            modseq=modseq,
            email_id=email_id,
            thread_id=thread_id,
            body=body.ref,
            prefix=filing.prefix,
            received=received,
            flags=flag_sets.canonical(filing.flags),
            saved=state.now(),
        )
        box.messages[uid] = message
        body.holders += 1
        holder.octets += message.size
        holder.messages += 1
        filed.append((filing.account_id, box.mailbox.id, uid))
    return tuple(filed)


def _new_email(state: State, holder: Holder, body: Body) -> tuple[int, int]:
    """(email id, thread id)."""
    email_id = state.next_id("email")
    keys = thread_keys(body.index)
    known = (holder.thread_keys[key] for key in keys if key in holder.thread_keys)
    thread_id = next(known, email_id)
    for key in keys:
        holder.thread_keys.setdefault(key, thread_id)
    return email_id, thread_id


def _enqueue(state: State, body: Body, transfer: Transfer, received: float) -> int:
    message_id = state.next_id("queue message")
    first, ahead = first_attempt(transfer.handling, state.now())
    recipients = [
        Recipient(
            id=state.next_id("recipient"),
            message_id=message_id,
            address=path.address,
            domain=domain_of(path.address),
            orcpt=path.orcpt,
            notify=path.notify,
            next_attempt=first,
            ahead=ahead,
        )
        for path in transfer.recipients
    ]
    body.holders += 1
    state.queue[message_id] = Queued(
        message_id, transfer, body.ref, received, recipients, body.index.message_id
    )
    state.recipients.update((recipient.id, recipient) for recipient in recipients)
    state.changes.append(Change("queue"))
    return message_id


def create_mailbox(state: State, unit: CreateMailbox) -> Mailbox:
    holder = state.holder(unit.account_id)
    name = mailbox_name(unit.name)
    if name in holder.boxes:
        raise MailboxExists(f"there is a mailbox {name} already")
    check_name(name)
    hold_to_limits(holder, name, unit.subscribe)
    return state.add_box(holder, name, unit.special_use, unit.subscribe).mailbox


def hold_to_limits(holder: Holder, name: str, subscribe: bool) -> None:
    """Before a mailbox is made for a client. Raises LimitReached."""
    check_mailboxes(len(holder.boxes))
    check_subscriptions(len(holder.subscriptions | {name} if subscribe else holder.subscriptions) - 1)


def store_flags(state: State, unit: StoreFlags) -> Flagged:
    box = own_box(state, unit.account_id, unit.mailbox_id)
    if box is None:
        return Flagged()
    limit = unit.unchanged_since
    new: dict[int, frozenset[str]] = {}
    refused = []
    for uid in sorted(set(unit.uids)):
        if (message := box.messages.get(uid)) is not None:
            if limit is not None and message.modseq > limit:
                refused.append(uid)
                continue
            after = flag_sets.changed(message.flags, unit.change, unit.flags)
            if after is not message.flags:
                new[uid] = after
    if not new:
        return Flagged(0, tuple(refused))
    holder = state.holders[box.mailbox.account_id]
    modseq = state.touch(box, holder)
    shown = {
        box.messages[uid].email_id
        for uid, after in new.items()
        if hidden(box.messages[uid].flags) and not hidden(after)
    }
    shown.difference_update(
        message.email_id
        for each in holder.boxes.values()
        for message in each.messages.values()
        if not hidden(message.flags)
    )
    holder.notes += (Note(modseq, "shown", email_id, since=state.now()) for email_id in sorted(shown))
    for uid, after in new.items():
        box.messages[uid] = replace(box.messages[uid], flags=after, modseq=modseq)
    return Flagged(modseq, tuple(refused))


def expunge(state: State, unit: Expunge) -> tuple[int, ...]:
    box = own_box(state, unit.account_id, unit.mailbox_id)
    there = sorted(set(unit.uids) & box.messages.keys()) if box else []
    if box is not None and unit.marked:
        there = [uid for uid in there if "\\Deleted" in box.messages[uid].flags]
    if box is None or not there:
        return ()
    holder = state.holders[box.mailbox.account_id]
    modseq = state.touch(box, holder)
    for uid in there:
        message = box.messages.pop(uid)
        leave(state, holder, message, modseq)
        box.tombstones.append((modseq, uid))
        box.expunged.append(state.now())
    return tuple(there)


def leave(state: State, holder: Holder, message: Message, modseq: int) -> None:
    """A message is gone from a mailbox; its email, thread and body may go with it."""
    holder.octets -= message.size
    holder.messages -= 1
    state.let_go(message.body.id)
    emails = holder.threads[message.thread_id]
    emails[message.email_id] -= 1
    note = Note(modseq, "left", message.email_id, since=state.now())
    if not emails[message.email_id]:
        del emails[message.email_id]
        created = holder.created.pop(message.email_id)
        note = note._replace(kind="email", created_modseq=created, thread_id=message.thread_id)
    holder.notes.append(note)
    if not emails:
        del holder.threads[message.thread_id]
        holder.thread_keys = {k: t for k, t in holder.thread_keys.items() if t != message.thread_id}


def own_box(state: State, account_id: int, mailbox_id: int) -> Box | None:
    """By its id, when it is the account's."""
    box = state.boxes.get(mailbox_id)
    return box if box is not None and box.mailbox.account_id == account_id else None


def find_box(state: State, account_id: int, name: str) -> Box | None:
    holder = state.holders.get(account_id)
    return holder.boxes.get(mailbox_name(name)) if holder else None
