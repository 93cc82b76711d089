"""The queue: a function for each unit, and how its rows are read.

A recipient under a lease is a waiting one whose `due` is the lease's end: an owner that dies needs no
sweep, its recipients just come due. `attempts` is the fence: each lease raises it, and an outcome counts
only with the number and the owner of the last lease. An outcome that comes after its lease ended, but
before anybody else took one, is still taken: the message was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from mailftp.store.engine import SMALL_BODY, NoSuchAccount
from mailftp.store.records import (
    Attempt,
    BodyRef,
    Change,
    ForwardPath,
    Handling,
    QueueMessage,
    QueueRecipient,
    RecipientState,
    Transfer,
)
from mailftp.store.sqlite.accepting import admit
from mailftp.store.sqlite.expunging import mark_unused
from mailftp.store.sqlite.transaction import Row, Transaction
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

#: How many rows LeaseDue looks at in time order before it goes from destination to destination.
_SCAN = 2000

#: By (due, domain, id), which their index holds whole.
DUE = (
    "SELECT id, domain FROM queue_recipients WHERE state = 'waiting' AND due <= ?"
    " ORDER BY due, domain, id LIMIT ?"
)
DUE_AT = (
    "SELECT due, domain, id FROM queue_recipients WHERE state = 'waiting' AND domain = ? AND due <= ?"
    " ORDER BY due, id LIMIT ?"
)
NEXT_DOMAIN = (
    "SELECT domain FROM queue_recipients WHERE state = 'waiting' AND domain > ? ORDER BY domain LIMIT 1"
)

Select = Callable[[str, tuple[object, ...]], list[Row]]


def void_leases(tx: Transaction, unit: VoidLeases) -> int:
    node = unit.owner.partition("/")[0]
    # "0" follows "/": the range of all owners of this node, by the index.
    stale = tx.all(
        "SELECT id, message_id FROM queue_recipients"
        " WHERE lease_owner <> '' AND lease_owner >= ? AND lease_owner < ? AND lease_owner <> ?",
        (f"{node}/", f"{node}0", unit.owner),
    )
    if stale:
        _end_leases(tx, [recipient_id for recipient_id, _ in stale])
        _settle(tx, {message_id for _, message_id in stale})
        tx.changes.append(Change("queue"))
    return len(stale)


def _end_leases(tx: Transaction, recipient_ids: Iterable[int]) -> None:
    """Also does what the operator asked for meanwhile."""
    tx.run(
        "UPDATE queue_recipients SET lease_owner = '', lease_until = 0, wish = '',"
        " next_attempt = iif(give_up, ?1, next_attempt), due = iif(give_up, ?1, next_attempt),"
        " state = CASE WHEN state = 'waiting' AND wish <> '' THEN wish ELSE state END"
        " WHERE id IN (SELECT value FROM json_each(?2))",
        (tx.now, json.dumps(list(recipient_ids))),
    )


def _settle(tx: Transaction, message_ids: Iterable[int]) -> None:
    """Let go of the bodies of messages with nothing left to do."""
    done = tx.all(
        "SELECT id, body_id FROM queue_messages AS m WHERE id IN (SELECT value FROM json_each(?))"
        " AND finished IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM queue_recipients WHERE message_id = m.id AND state IN ('waiting', 'held'))",
        (json.dumps(list(message_ids)),),
    )
    if done:
        tx.run(
            "UPDATE queue_messages SET finished = ?, body_id = NULL"
            " WHERE id IN (SELECT value FROM json_each(?))",
            (tx.now, json.dumps([message_id for message_id, _ in done])),
        )
        mark_unused(tx, [body_id for _, body_id in done])


def lease_due(tx: Transaction, unit: LeaseDue) -> tuple[QueueMessage, ...]:
    if unit.among is None:
        chosen = _choose_due(tx, unit.limit, unit.busy)
    else:
        chosen = _choose_at(tx, unit.limit, sorted(unit.among - unit.busy))
    until = tx.now + unit.seconds
    tx.run(
        "UPDATE queue_recipients SET attempts = attempts + 1, lease_owner = ?1, lease_until = ?2, due = ?2"
        " WHERE id IN (SELECT value FROM json_each(?3))",
        (unit.owner, until, json.dumps(chosen)),
    )
    return _messages_of(tx, chosen)


def _choose_due(tx: Transaction, limit: int, busy: frozenset[str]) -> list[int]:
    looked_at = tx.all(DUE, (tx.now, limit + _SCAN if busy else limit))
    chosen = [recipient_id for recipient_id, domain in looked_at if domain not in busy][:limit]
    if len(chosen) == limit or len(looked_at) < limit + _SCAN or not busy:
        return chosen
    # The head of the queue is all for busy destinations: a backlog for one must not cost every call
    # a walk over all of it, so go from one destination to the next.
    domain, others = "", []
    while row := tx.one(NEXT_DOMAIN, (domain,)):
        (domain,) = row
        if domain not in busy:
            others.append(domain)
    return _choose_at(tx, limit, others)


def _choose_at(tx: Transaction, limit: int, domains: list[str]) -> list[int]:
    found: list[tuple[float, str, int]] = []
    for domain in domains:
        found += tx.all(DUE_AT, (domain, tx.now, limit))
    return [recipient_id for _, _, recipient_id in sorted(found)[:limit]]


def _messages_of(tx: Transaction, recipient_ids: list[int]) -> tuple[QueueMessage, ...]:
    """The messages of these recipients, each with only those, in the order of the first of each."""
    position = {recipient_id: place for place, recipient_id in enumerate(recipient_ids)}
    by_message: dict[int, list[QueueRecipient]] = {}
    rows = tx.all(
        f"SELECT message_id, {RECIPIENT_COLUMNS} FROM queue_recipients"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(recipient_ids),),
    )
    for message_id, *row in sorted(rows, key=lambda row: position[row[1]]):
        by_message.setdefault(message_id, []).append(recipient_of(tuple(row)))
    return messages_of(tx.all, by_message)


RECIPIENT_COLUMNS = (
    "id, address, domain, state, attempts, next_attempt, orcpt, notify, delay_warned, last_error,"
    " lease_owner, lease_until, route, give_up"
)


def recipient_of(row: Row) -> QueueRecipient:
    """Of RECIPIENT_COLUMNS."""
    (number, address, domain, state, attempts, next_attempt) = row[:6]
    orcpt, notify, delay_warned, last_error, lease_owner, lease_until, route, give_up = row[6:]
    return QueueRecipient(
        id=number,
        address=address,
        domain=domain,
        state=RecipientState(state),
        attempt=attempts if lease_owner else attempts + 1,
        next_attempt=next_attempt,
        orcpt=orcpt,
        notify=frozenset(notify.split()),
        delay_warned=bool(delay_warned),
        last_error=last_error,
        lease_owner=lease_owner,
        lease_until=lease_until,
        route=route,
        give_up=bool(give_up),
    )


def messages_of(select: Select, recipients: dict[int, list[QueueRecipient]]) -> tuple[QueueMessage, ...]:
    """Queue messages in the order of `recipients`. The transfer names all recipients of the message."""
    ids = (json.dumps(list(recipients)),)
    paths: dict[int, list[ForwardPath]] = {}
    for message_id, address, orcpt, notify in select(
        "SELECT message_id, address, orcpt, notify FROM queue_recipients"
        " WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        ids,
    ):
        paths.setdefault(message_id, []).append(ForwardPath(address, orcpt, frozenset(notify.split())))
    made = {}
    for row in select(
        "SELECT id, body_id, body_size, accepted, reverse_path, prefix, account_id, ret, envid, eightbit,"
        " smtputf8, context, return_to, message_id, requiretls, priority, deliver_by, by_mode, hold_until"
        " FROM queue_messages WHERE id IN (SELECT value FROM json_each(?))",
        ids,
    ):
        message_id, body_id, size, accepted, reverse_path, prefix, account_id, ret, envid = row[:9]
        eightbit, smtputf8, context, return_to, header_id, requiretls, *handling = row[9:]
        transfer = Transfer(
            reverse_path=reverse_path,
            recipients=tuple(paths[message_id]),
            prefix=prefix,
            account_id=account_id,
            ret=ret,
            envid=envid,
            eightbit=bool(eightbit),
            smtputf8=bool(smtputf8),
            context=context,
            return_to=return_to,
            handling=Handling(bool(requiretls), *handling),
        )
        body = BodyRef(body_id or 0, size, size > SMALL_BODY)
        made[message_id] = QueueMessage(
            message_id, transfer, body, accepted, tuple(recipients[message_id]), header_id
        )
    return tuple(made[message_id] for message_id in recipients)


def renew_leases(tx: Transaction, unit: RenewLeases) -> int:
    until = tx.now + unit.seconds
    return tx.run(
        "UPDATE queue_recipients SET lease_until = ?, due = ?"
        " WHERE lease_owner = ? AND id IN (SELECT value FROM json_each(?))",
        (until, until, unit.owner, json.dumps(unit.recipient_ids)),
    )


#: All outcomes of a unit at once, in place of a statement each: with the ends of their leases, and what the
#: operator asked for meanwhile. ?1 is their list, ?2 the time, ?3 the owner of the leases.
_END = (
    "UPDATE queue_recipients AS r SET next_attempt = iif(r.give_up, ?2, o.next_attempt),"
    " due = iif(r.give_up, ?2, o.next_attempt), last_error = o.error,"
    " delay_warned = max(r.delay_warned, o.warned), lease_owner = '', lease_until = 0, wish = '',"
    " state = CASE WHEN o.state = 'waiting' AND r.wish <> '' THEN r.wish ELSE o.state END"
    " FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS number,"
    " json_extract(value, '$[2]') AS state, json_extract(value, '$[3]') AS next_attempt,"
    " json_extract(value, '$[4]') AS error, json_extract(value, '$[5]') AS warned FROM json_each(?1)) AS o"
    " WHERE r.id = o.id AND r.lease_owner = ?3 AND r.attempts = o.number RETURNING id, message_id, attempts"
)
_ATTEMPTS = (
    "INSERT OR REPLACE INTO attempts (recipient_id, number, started, ended, remote, outcome, dialogue)"
    " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),"
    " json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),"
    " json_extract(value, '$[6]') FROM json_each(?)"
)


def record_outcomes(tx: Transaction, unit: RecordOutcomes) -> tuple[int, ...]:
    """A report is taken even where its account is over quota, and left out where the account is gone:
    an outcome that cannot be recorded would mean a message sent again."""
    # Of two outcomes of one attempt the first counts.
    told = {(o.recipient_id, o.attempt.number): o for o in reversed(unit.outcomes)}
    ended = tx.all(_END, (json.dumps([_ended(o) for o in told.values()]), tx.now, unit.owner))
    ours = {(recipient_id, number) for recipient_id, _, number in ended}
    taken = [o for key, o in reversed(told.items()) if key in ours]
    if taken:
        tx.run(_ATTEMPTS, (json.dumps([_attempted(outcome.attempt) for outcome in taken]),))
        _settle(tx, {message_id for _, message_id, _ in ended})
    if len(taken) == len(unit.outcomes):
        for report in unit.reports:
            before = len(tx.changes)
            tx.run("SAVEPOINT report")
            try:
                admit(tx, report, hold_to_quota=False)
            except NoSuchAccount:
                tx.run("ROLLBACK TO report")
                del tx.changes[before:]
            tx.run("RELEASE report")
    if any(outcome.state is RecipientState.WAITING for outcome in taken):
        # It is due some day; what is over for good is nothing for anybody to do.
        tx.changes.append(Change("queue"))
    return tuple(outcome.recipient_id for outcome in taken)


def _ended(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.recipient_id,
        outcome.attempt.number,
        outcome.state.value,
        float(outcome.next_attempt),
        outcome.error,
        int(outcome.delay_warned),
    )


def _attempted(attempt: Attempt) -> tuple[object, ...]:
    return (
        attempt.recipient_id,
        attempt.number,
        float(attempt.started),
        float(attempt.ended),
        attempt.remote,
        attempt.outcome,
        attempt.dialogue,
    )


#: What each action does to a recipient that is waiting or held; with ?1 the message and ?2 the time.
#: Under a lease HOLD and DROP become a wish, which the end of the lease fulfils.
_ACTIONS = {
    QueueAction.RETRY: (
        "UPDATE queue_recipients SET next_attempt = ?2, due = ?2"
        " WHERE message_id = ?1 AND state = 'waiting' AND lease_owner = ''",
    ),
    QueueAction.HOLD: (
        "UPDATE queue_recipients SET wish = 'held'"
        " WHERE message_id = ?1 AND state = 'waiting' AND lease_owner <> '' AND wish = ''",
        "UPDATE queue_recipients SET state = 'held'"
        " WHERE message_id = ?1 AND state = 'waiting' AND lease_owner = ''",
    ),
    QueueAction.RELEASE: (
        "UPDATE queue_recipients SET wish = '' WHERE message_id = ?1 AND state = 'waiting' AND wish = 'held'",
        "UPDATE queue_recipients SET state = 'waiting', next_attempt = ?2, due = ?2"
        " WHERE message_id = ?1 AND state = 'held'",
    ),
    QueueAction.DROP: (
        "UPDATE queue_recipients SET wish = 'dropped'"
        " WHERE message_id = ?1 AND state = 'waiting' AND lease_owner <> '' AND wish <> 'dropped'",
        "UPDATE queue_recipients SET state = 'dropped'"
        " WHERE message_id = ?1 AND state IN ('waiting', 'held') AND lease_owner = ''",
    ),
    QueueAction.BOUNCE: (
        "UPDATE queue_recipients SET give_up = 1, wish = ''"
        " WHERE message_id = ?1 AND state = 'waiting' AND lease_owner <> '' AND NOT give_up",
        "UPDATE queue_recipients SET give_up = 1, state = 'waiting', next_attempt = ?2, due = ?2"
        " WHERE message_id = ?1 AND state IN ('waiting', 'held') AND lease_owner = '' AND NOT give_up",
    ),
}


def act_on_queue(tx: Transaction, unit: ActOnQueue) -> int:
    changed = 0
    for message_id in unit.message_ids:
        for sql in _ACTIONS[unit.action]:
            values = (message_id, tx.now) if "?2" in sql else (message_id,)
            changed += tx.run(sql, values)
    if changed:
        _settle(tx, unit.message_ids)
        tx.changes.append(Change("queue"))
        if unit.action in AT_ONCE:
            tx.changes.append(Change("retry"))
    return changed


def set_route(tx: Transaction, unit: SetRoute) -> int:
    changed = tx.run(
        "UPDATE queue_recipients SET route = ?1 WHERE message_id IN (SELECT value FROM json_each(?2))"
        " AND state IN ('waiting', 'held') AND route <> ?1",
        (unit.route, json.dumps(unit.message_ids)),
    )
    if changed:
        tx.changes.append(Change("queue"))
    return changed
