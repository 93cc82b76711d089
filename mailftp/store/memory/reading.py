"""Reading the plain engine: a function for each query."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mailftp.message.index import MessageIndex
from mailftp.store.engine import MissingBody
from mailftp.store.memory.mail import find_box
from mailftp.store.memory.state import Body, Queued, State
from mailftp.store.queries import (
    Accounts,
    Bodies,
    Indexes,
    Mailboxes,
    MailboxSince,
    MailUsage,
    NextDue,
    OpenBody,
    QueueAttempts,
    QueueDepth,
    QueueList,
    ReadStart,
    Subscriptions,
)
from mailftp.store.records import (
    Account,
    Attempt,
    BodyRef,
    Mailbox,
    MailboxChanges,
    QueueFigures,
    QueueFilter,
    QueueMessage,
    RecipientState,
)


def accounts(state: State, query: Accounts) -> tuple[Account, ...]:
    return tuple(state.holders[state.by_address[address]].account for address in sorted(state.by_address))


def mailboxes(state: State, query: Mailboxes) -> tuple[Mailbox, ...]:
    holder = state.holders.get(query.account_id)
    return tuple(holder.boxes[name].mailbox for name in sorted(holder.boxes)) if holder else ()


def subscriptions(state: State, query: Subscriptions) -> tuple[str, ...]:
    holder = state.holders.get(query.account_id)
    return tuple(sorted(holder.subscriptions)) if holder else ()


def mailbox_since(state: State, query: MailboxSince) -> MailboxChanges | None:
    box = find_box(state, query.account_id, query.name)
    if box is None:
        return None
    messages = tuple(m for m in box.messages.values() if m.modseq > query.modseq)
    gone = sorted(uid for modseq, uid in box.tombstones if modseq > query.modseq > 0)
    return MailboxChanges(box.mailbox, messages, tuple(gone))


def bodies(state: State, query: Bodies) -> tuple[bytes, ...]:
    found = tuple(_bodies(state, query.refs))
    if any(body.ref.large for body in found):
        raise MissingBody("a large body is read from its file")
    return tuple(body.data for body in found)


def _bodies(state: State, refs: Iterable[BodyRef]) -> Iterable[Body]:
    for ref in refs:
        body = state.bodies.get(ref.id)
        if body is None:
            raise MissingBody(f"there is no body {ref.id}")
        yield body


def open_body(state: State, query: OpenBody) -> int:
    (body,) = _bodies(state, (query.ref,))
    if not body.ref.large:
        raise MissingBody("a small body has no file")
    descriptor = os.memfd_create("body")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(body.data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def read_start(state: State, query: ReadStart) -> bytes:
    (body,) = _bodies(state, (query.ref,))
    return body.data[: query.most]


def indexes(state: State, query: Indexes) -> tuple[MessageIndex, ...]:
    return tuple(body.index for body in _bodies(state, query.refs))


def mail_usage(state: State, query: MailUsage) -> tuple[int, int]:
    holder = state.holders.get(query.account_id)
    return (holder.octets, holder.messages) if holder else (0, 0)


def queue_list(state: State, query: QueueList) -> tuple[QueueMessage, ...]:
    found = [m.value(m.recipients) for m in state.queue.values() if _matches(m, query.filter)]
    return tuple((found[::-1] if query.newest else found)[: query.limit])


def _matches(message: Queued, wanted: QueueFilter) -> bool:
    if wanted.ids and message.id not in wanted.ids:
        return False
    if wanted.sender and message.transfer.reverse_path != wanted.sender.replace("<>", ""):
        return False
    if wanted.accepted_by is not None and message.accepted > wanted.accepted_by:
        return False
    if wanted.message_id not in ("", message.message_id):
        return False
    transfer = message.transfer
    parties = (transfer.reverse_path, transfer.return_to, *(path.address for path in transfer.recipients))
    if wanted.party and wanted.party.lower() not in map(str.lower, parties):
        return False
    return any(
        r.state in wanted.states
        and wanted.error.lower() in r.last_error.lower()
        and wanted.recipient in ("", r.address)
        and wanted.domain.lower() in ("", r.domain)
        for r in message.recipients
    )


def queue_attempts(state: State, query: QueueAttempts) -> tuple[Attempt, ...]:
    found = state.attempts.get(query.message_id, ())
    return tuple(sorted(found, key=lambda attempt: (attempt.recipient_id, attempt.number)))


def next_due(state: State, query: NextDue) -> float | None:
    due = [r.due for r in state.recipients.values() if r.state is RecipientState.WAITING]
    return max(0.0, min(due) - state.now()) if due else None


def queue_depth(state: State, query: QueueDepth) -> QueueFigures:
    there = list(state.recipients.values())
    return QueueFigures(
        waiting=sum(r.state is RecipientState.WAITING for r in there),
        leased=sum(bool(r.lease_owner) for r in there),
        held=sum(r.state is RecipientState.HELD for r in there),
        oldest=min((m.accepted for m in state.queue.values() if m.finished is None), default=None),
    )
