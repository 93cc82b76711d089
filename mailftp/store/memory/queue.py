"""The queue of the plain engine: a function for each unit."""

from __future__ import annotations

from collections.abc import Iterable

from mailftp.store.engine import NoSuchAccount
from mailftp.store.memory.mail import admit
from mailftp.store.memory.state import Queued, Recipient, State
from mailftp.store.records import BodyRef, Change, QueueMessage, RecipientState
from mailftp.store.units import (
    AT_ONCE,
    ActOnQueue,
    LeaseDue,
    Outcome,
    QueueAction,
    RecordOutcomes,
    RenewLeases,
    SetRoute,
    VoidLeases,
)

_WAITING, _HELD, _DROPPED = RecipientState.WAITING, RecipientState.HELD, RecipientState.DROPPED


def void_leases(state: State, unit: VoidLeases) -> int:
    node = unit.owner.partition("/")[0] + "/"
    stale = [
        r for r in state.recipients.values() if r.lease_owner.startswith(node) and r.lease_owner != unit.owner
    ]
    for recipient in stale:
        _end_lease(state, recipient)
    _settle(state, stale)
    if stale:
        state.changes.append(Change("queue"))
    return len(stale)


def lease_due(state: State, unit: LeaseDue) -> tuple[QueueMessage, ...]:
    now = state.now()
    due = sorted(
        (
            r
            for r in state.recipients.values()
            if r.state is _WAITING
            and r.due <= now
            and r.domain not in unit.busy
            and (unit.among is None or r.domain in unit.among)
        ),
        key=lambda r: (r.due, r.domain, r.id),
    )
    leased: dict[int, list[Recipient]] = {}
    for recipient in due[: unit.limit]:
        recipient.attempts += 1
        recipient.ahead = 0.0
        recipient.lease_owner = unit.owner
        recipient.lease_until = now + unit.seconds
        leased.setdefault(recipient.message_id, []).append(recipient)
    return tuple(state.queue[message_id].value(recipients) for message_id, recipients in leased.items())


def renew_leases(state: State, unit: RenewLeases) -> int:
    ours = [
        recipient
        for number in dict.fromkeys(unit.recipient_ids)
        if (recipient := state.recipients.get(number)) and recipient.lease_owner == unit.owner
    ]
    for recipient in ours:
        recipient.lease_until = state.now() + unit.seconds
    return len(ours)


def record_outcomes(state: State, unit: RecordOutcomes) -> tuple[int, ...]:
    for report in unit.reports:
        state.take_body(report.body)
    taken = []
    for outcome in unit.outcomes:
        if _is_ours(state, unit.owner, outcome):
            recipient = state.recipients[outcome.recipient_id]
            state.attempts.setdefault(recipient.message_id, []).append(outcome.attempt)
            recipient.state = outcome.state
            recipient.next_attempt = outcome.next_attempt
            recipient.last_error = outcome.error
            recipient.delay_warned = recipient.delay_warned or outcome.delay_warned
            _end_lease(state, recipient)
            taken.append(recipient)
    _settle(state, taken)
    reports = unit.reports if len(taken) == len(unit.outcomes) else ()
    for report in reports:
        try:
            for filing in report.filings:
                state.holder(filing.account_id)
        except NoSuchAccount:
            continue  # Whoever was to be told is gone.
        admit(state, report)
    if any(recipient.unfinished for recipient in taken):
        state.changes.append(Change("queue"))
    return tuple(recipient.id for recipient in taken)


def _is_ours(state: State, owner: str, outcome: Outcome) -> bool:
    recipient = state.recipients.get(outcome.recipient_id)
    return (
        recipient is not None
        and recipient.lease_owner == owner
        and recipient.attempts == outcome.attempt.number
    )


def _end_lease(state: State, recipient: Recipient) -> None:
    recipient.lease_owner, recipient.lease_until = "", 0.0
    if recipient.give_up:
        recipient.next_attempt = state.now()
    if recipient.wish is not None and recipient.state is _WAITING:
        recipient.state = recipient.wish
    recipient.wish = None


def _settle(state: State, recipients: Iterable[Recipient]) -> None:
    """Let go of the bodies of messages with nothing left to do."""
    for message_id in {recipient.message_id for recipient in recipients}:
        message = state.queue[message_id]
        if message.finished is None and not any(r.unfinished for r in message.recipients):
            message.finished = state.now()
            state.let_go(message.body.id)
            message.body = BodyRef(0, message.body.size, message.body.large)


def act_on_queue(state: State, unit: ActOnQueue) -> int:
    changed = [
        recipient
        for message_id in dict.fromkeys(unit.message_ids)
        if message_id in state.queue
        for recipient in state.queue[message_id].recipients
        if recipient.unfinished and _ACTIONS[unit.action](state, recipient)
    ]
    _settle(state, changed)
    if changed:
        state.changes.append(Change("queue"))
        if unit.action in AT_ONCE:
            state.changes.append(Change("retry"))
    return len(changed)


def _retry(state: State, recipient: Recipient) -> bool:
    if recipient.state is _HELD or recipient.lease_owner:
        return False
    recipient.next_attempt, recipient.ahead = state.now(), 0.0
    return True


def _hold(state: State, recipient: Recipient) -> bool:
    if recipient.state is _HELD or recipient.wish is not None:
        return False
    if recipient.lease_owner:
        recipient.wish = _HELD
    else:
        recipient.state = _HELD
    return True


def _release(state: State, recipient: Recipient) -> bool:
    if recipient.wish is _HELD:
        recipient.wish = None
        return True
    if recipient.state is not _HELD:
        return False
    recipient.state, recipient.next_attempt, recipient.ahead = _WAITING, state.now(), 0.0
    return True


def _drop(state: State, recipient: Recipient) -> bool:
    if recipient.wish is _DROPPED:
        return False
    if recipient.lease_owner:
        recipient.wish = _DROPPED
    else:
        recipient.state = _DROPPED
    return True


def _bounce(state: State, recipient: Recipient) -> bool:
    if recipient.give_up:
        return False
    recipient.give_up, recipient.wish = True, None
    if not recipient.lease_owner:
        recipient.state, recipient.next_attempt, recipient.ahead = _WAITING, state.now(), 0.0
    return True


def set_route(state: State, unit: SetRoute) -> int:
    changed = [
        recipient
        for message_id in dict.fromkeys(unit.message_ids)
        if message_id in state.queue
        for recipient in state.queue[message_id].recipients
        if recipient.unfinished and recipient.route != unit.route
    ]
    for recipient in changed:
        recipient.route = unit.route
    if changed:
        state.changes.append(Change("queue"))
    return len(changed)


_ACTIONS = {
    QueueAction.RETRY: _retry,
    QueueAction.HOLD: _hold,
    QueueAction.RELEASE: _release,
    QueueAction.DROP: _drop,
    QueueAction.BOUNCE: _bounce,
}


def sweep(state: State) -> None:
    """Forget the history of messages that ended long ago."""
    before = state.now() - state.history
    old = [m for m in state.queue.values() if m.finished is not None and m.finished <= before]
    for message in old:
        _forget(state, message)


def _forget(state: State, message: Queued) -> None:
    del state.queue[message.id]
    state.attempts.pop(message.id, None)
    for recipient in message.recipients:
        del state.recipients[recipient.id]
