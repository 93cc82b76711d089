"""Accept for many messages at once: what a group commit mostly is, in a dozen statements for all of them.

Each statement lets go of Python's lock and has to win it back from the reactor's thread, so nine statements a
message were half of what the writer did. Here ids, UIDs and modseqs of all are reserved first, and rows go in
with many to a statement. What one after the other would give comes out, to the number; what is not plain
(a mailbox that is missing, a quota that is full) is left to mailftp.store.sqlite.accepting, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailftp.store import flags as flag_sets
from mailftp.store.names import mailbox_name
from mailftp.store.records import Accepted, Change, Filing
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.threads import thread_keys
from mailftp.store.units import Accept, Unit


class Apart(Exception):
    """These have to be carried out one by one; what this did is to be rolled back."""


def is_plain(unit: Unit[object]) -> bool:
    """Whether a unit files a message in mailboxes and does nothing else."""
    return (
        isinstance(unit, Accept)
        and bool(unit.filings)
        and unit.transfer is None
        and not unit.forwards
        and unit.submission is None
    )


@dataclass(slots=True)
class _Slots:
    """What several filings need of one account or one mailbox: how much, then from where on."""

    count: int = 0
    octets: int = 0
    modseq: int = 0
    id: int = 0
    next: int = 0


@dataclass(slots=True)
class _Email:
    id: int
    account_id: int
    body_id: int
    size: int
    received: float
    modseq: int
    prefix: bytes
    keys: Sequence[bytes]


@dataclass(slots=True)
class _Plan:
    accounts: dict[int, _Slots] = field(default_factory=dict)
    mailboxes: dict[tuple[int, str], _Slots] = field(default_factory=dict)
    emails: list[_Email] = field(default_factory=list)
    #: (account id, mailbox, modseq, email id, flags, size), in the order of the filings.
    copies: list[tuple[int, str, int, int, str, int]] = field(default_factory=list)


def accept_together(tx: Transaction, units: Sequence[Accept]) -> list[Accepted]:
    """What each unit made; their changes are in `tx.changes`. Raises Apart, sqlite3.Error."""
    row = tx.one(
        "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'bodies'),"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'emails')"
    )
    assert row is not None
    bodies = _keep_bodies(tx, units, row[0] or 0)
    plan = _Plan()
    _charge(tx, units, plan)
    _plan_copies(tx, units, bodies, plan, row[1] or 0)
    _reserve_uids(tx, plan)
    _file_emails(tx, plan)
    filed = _file_copies(tx, plan)
    answers = []
    at = 0
    for unit in units:
        answers.append(Accepted(tuple(filed[at : at + len(unit.filings)]), None))
        at += len(unit.filings)
    return answers


def _keep_bodies(tx: Transaction, units: Iterable[Accept], last: int) -> dict[bytes, int]:
    """SHA-256 -> id."""
    ids: dict[bytes, int] = {}
    rows, indexes, kept = [], [], []
    for unit in units:
        sha256 = unit.body.sha256
        if sha256 in ids:
            continue
        ready = tx.bodies.get(sha256)
        if ready is None:
            raise Apart
        if ready.id is not None:
            kept.append(ready.id)
            ids[sha256] = ready.id
            continue
        last += 1
        ids[sha256] = last
        rows.append((last, sha256, ready.size, ready.data))
        indexes.append((last, ready.encoded))
    # One that an earlier unit of this batch brought is a conflict, and its error parts them all.
    tx.insert_all("INSERT INTO bodies (id, sha256, size, data) VALUES", rows)
    tx.insert_all("INSERT INTO body_indexes (body_id, stored) VALUES", indexes)
    if kept:
        tx.each("DELETE FROM unused_bodies WHERE body_id = ?", [(number,) for number in kept])
    return ids


def _charge(tx: Transaction, units: Iterable[Accept], plan: _Plan) -> None:
    """Count all messages in, and reserve a modseq for each."""
    accounts = plan.accounts
    for unit in units:
        for filing in unit.filings:
            slots = accounts.get(filing.account_id)
            if slots is None:
                slots = accounts[filing.account_id] = _Slots()
            slots.count += 1
            slots.octets += len(filing.prefix) + unit.body.size
    for account_id, slots in accounts.items():
        row = tx.one(
            "UPDATE accounts SET modseq = modseq + ?1, octets = octets + ?2, messages = messages + ?1"
            " WHERE id = ?3 RETURNING modseq, octets, messages, mail_quota, message_quota",
            (slots.count, slots.octets, account_id),
        )
        if row is None or tx.quota.of(*row[3:]).exceeded(row[1], row[2]):
            raise Apart
        slots.next = row[0] - slots.count + 1


def _plan_copies(
    tx: Transaction, units: Iterable[Accept], bodies: dict[bytes, int], plan: _Plan, last: int
) -> None:
    for unit in units:
        body_id, size, received = bodies[unit.body.sha256], unit.body.size, unit.received
        keys = thread_keys(tx.bodies[unit.body.sha256].index)
        # Two filings of one text in one account are one Email in two mailboxes.
        emails: dict[tuple[int, bytes], int] = {}
        for filing in unit.filings:
            account_id, prefix = filing.account_id, filing.prefix
            account = plan.accounts[account_id]
            modseq = account.next
            account.next += 1
            email_id = emails.get((account_id, prefix))
            if email_id is None:
                last += 1
                email_id = emails[account_id, prefix] = last
                plan.emails.append(
                    _Email(email_id, account_id, body_id, size, received, modseq, prefix, keys)
                )
            plan.copies.append(_copy(plan, filing, modseq, email_id, len(prefix) + size))


def _copy(
    plan: _Plan, filing: Filing, modseq: int, email_id: int, size: int
) -> tuple[int, str, int, int, str, int]:
    name = mailbox_name(filing.mailbox)
    slots = plan.mailboxes.get((filing.account_id, name))
    if slots is None:
        slots = plan.mailboxes[filing.account_id, name] = _Slots()
    slots.count += 1
    slots.modseq = modseq
    return filing.account_id, name, modseq, email_id, flag_sets.to_text(filing.flags), size


def _reserve_uids(tx: Transaction, plan: _Plan) -> None:
    for (account_id, name), slots in plan.mailboxes.items():
        row = tx.one(
            "UPDATE mailboxes SET uidnext = uidnext + ?1, modseq = ?2 WHERE account_id = ?3 AND name = ?4"
            " RETURNING id, uidnext - ?1",
            (slots.count, slots.modseq, account_id, name),
        )
        if row is None:
            raise Apart
        slots.id, slots.next = row


def _file_emails(tx: Transaction, plan: _Plan) -> None:
    """With their threads, which those that came before them in this very batch may have begun."""
    threads = _known_threads(tx, plan)
    rows, keys = [], []
    for email in plan.emails:
        known = threads[email.account_id]
        thread_id = next((known[key] for key in email.keys if key in known), email.id)
        rows.append(
            (
                email.id,
                email.account_id,
                thread_id,
                email.body_id,
                email.size,
                email.received,
                email.modseq,
                email.prefix,
            )
        )
        for key in email.keys:
            if key not in known:
                known[key] = thread_id
                keys.append((email.account_id, key, thread_id))
    tx.insert_all(
        "INSERT INTO emails (id, account_id, thread_id, body_id, body_size, received, created_modseq, prefix)"
        " VALUES",
        rows,
    )
    tx.insert_all("INSERT INTO thread_keys (account_id, key, thread_id) VALUES", keys)


def _known_threads(tx: Transaction, plan: _Plan) -> dict[int, dict[bytes, int]]:
    """Account id -> key -> thread id."""
    wanted: dict[int, dict[bytes, None]] = {account_id: {} for account_id in plan.accounts}
    for email in plan.emails:
        wanted[email.account_id].update(dict.fromkeys(email.keys))
    return {
        account_id: dict(
            tx.all_of(
                "SELECT key, thread_id FROM thread_keys WHERE account_id = ? AND key IN", [account_id], keys
            )
        )
        for account_id, keys in wanted.items()
    }


def _file_copies(tx: Transaction, plan: _Plan) -> list[tuple[int, int, int]]:
    """(account id, mailbox id, UID) for each."""
    rows, filed = [], []
    for account_id, name, modseq, email_id, flags, size in plan.copies:
        slots = plan.mailboxes[account_id, name]
        uid = slots.next
        slots.next += 1
        rows.append((slots.id, uid, modseq, email_id, flags, tx.now, size))
        filed.append((account_id, slots.id, uid))
    tx.insert_all(
        "INSERT INTO mailbox_messages (mailbox_id, uid, modseq, email_id, flags, saved, size) VALUES", rows
    )
    tx.changes += [
        Change("mail", account_id, slots.id, slots.modseq)
        for (account_id, _), slots in plan.mailboxes.items()
    ]
    return filed
