"""Accept: the body, the mailbox rows and the queue rows of one 250.

The path that every message takes. Five statements a filing beside the body's two; each statement
lets go of Python's lock and has to win it back from the reactor's thread, so their number counts for more
than their work.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailftp.store import flags as flag_sets
from mailftp.store.engine import SMALL_BODY, MissingBody, NoSuchAccount, OverQuota
from mailftp.store.names import domain_of, first_attempt, mailbox_name
from mailftp.store.records import (
    Accepted,
    BodyRef,
    Change,
    Filing,
    QueueMessage,
    QueueRecipient,
    RecipientState,
    StagedBody,
    Transfer,
)
from mailftp.store.sqlite.mailboxes import make_mailbox
from mailftp.store.sqlite.submitting import submit
from mailftp.store.sqlite.transaction import ReadyBody, Transaction
from mailftp.store.threads import thread_keys
from mailftp.store.units import Accept


def accept(tx: Transaction, unit: Accept) -> Accepted:
    """Raises OverQuota, NoSuchAccount, MissingBody, SendingLimit."""
    return admit(tx, unit, hold_to_quota=True)


def admit(tx: Transaction, unit: Accept, hold_to_quota: bool) -> Accepted:
    ready = tx.bodies.get(unit.body.sha256)
    if ready is None:
        raise MissingBody("this body was never staged here")
    body_id = keep_body(tx, unit.body, ready)
    filed: tuple[tuple[int, int, int], ...] = ()
    filings = unit.filings
    if unit.submission is not None:
        filings += submit(tx, body_id, unit.submission)
    if filings:
        filed = file_body(tx, body_id, ready, filings, unit.received, hold_to_quota)
    queued = claimed = None
    if unit.transfer is not None:
        queued = _enqueue(tx, body_id, ready, unit.transfer, unit.received, unit.claim is not None)
        if unit.claim is not None:
            claimed = _claim(tx, queued, BodyRef(body_id, ready.size, ready.size > SMALL_BODY), unit)
    forwarded = tuple(_enqueue(tx, body_id, ready, transfer, unit.received) for transfer in unit.forwards)
    if not filed and queued is None and not forwarded:
        # Nothing names it. It is swept after the grace time like any other.
        tx.run("INSERT OR REPLACE INTO unused_bodies (body_id, since) VALUES (?, ?)", (body_id, tx.now))
    return Accepted(filed, queued, forwarded, claimed)


def keep_body(tx: Transaction, staged: StagedBody, ready: ReadyBody) -> int:
    body_id = ready.id
    if body_id is None:
        row = tx.one(
            "INSERT INTO bodies (sha256, size, data) VALUES (?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING RETURNING id",
            (staged.sha256, staged.size, ready.data),
        )
        if row is not None:
            tx.run("INSERT INTO body_indexes (body_id, stored) VALUES (?, ?)", (row[0], ready.encoded))
            return int(row[0])
        # An earlier unit of this very batch brought it.
        row = tx.one("SELECT id FROM bodies WHERE sha256 = ?", (staged.sha256,))
        assert row is not None
        body_id = int(row[0])
    tx.run("DELETE FROM unused_bodies WHERE body_id = ?", (body_id,))
    return body_id


def file_body(
    tx: Transaction,
    body_id: int,
    ready: ReadyBody,
    filings: Sequence[Filing],
    received: float,
    hold_to_quota: bool,
) -> tuple[tuple[int, int, int], ...]:
    """(account id, mailbox id, UID) for each. Raises OverQuota, NoSuchAccount."""
    keys = thread_keys(ready.index)
    emails: dict[tuple[int, bytes], int] = {}
    over: dict[int, None] = {}
    filed = []
    for filing in filings:
        account_id = filing.account_id
        size = len(filing.prefix) + ready.size
        modseq = _charge(tx, account_id, size, over)
        mailbox_id, uid, modseq = _next_uid(tx, account_id, mailbox_name(filing.mailbox), modseq)
        # Two filings of one text in one account are one Email in two mailboxes.
        same = (account_id, filing.prefix)
        if same not in emails:
            emails[same] = _make_email(tx, keys, body_id, ready.size, filing, received, modseq)
        tx.run(
            "INSERT INTO mailbox_messages (mailbox_id, uid, modseq, email_id, flags, saved, size)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (mailbox_id, uid, modseq, emails[same], flag_sets.to_text(filing.flags), tx.now, size),
        )
        tx.changes.append(Change("mail", account_id, mailbox_id, modseq))
        filed.append((account_id, mailbox_id, uid))
    if over and hold_to_quota:
        raise OverQuota(tuple(over))
    return tuple(filed)


def _charge(tx: Transaction, account_id: int, size: int, over: dict[int, None]) -> int:
    """Count a message in; answers its modseq and notes an account that is over its quota by now."""
    row = tx.one(
        "UPDATE accounts SET modseq = modseq + 1, octets = octets + ?, messages = messages + 1"
        " WHERE id = ? RETURNING modseq, octets, messages, mail_quota, message_quota",
        (size, account_id),
    )
    if row is None:
        raise NoSuchAccount(f"there is no account {account_id}")
    if tx.quota.of(*row[3:]).exceeded(row[1], row[2]):
        over[account_id] = None
    return int(row[0])


def _next_uid(tx: Transaction, account_id: int, name: str, modseq: int) -> tuple[int, int, int]:
    """(mailbox id, uid, modseq); makes the mailbox when it is missing."""
    sql = (
        "UPDATE mailboxes SET uidnext = uidnext + 1, modseq = ? WHERE account_id = ? AND name = ?"
        " RETURNING id, uidnext - 1"
    )
    row = tx.one(sql, (modseq, account_id, name))
    if row is None:
        # The mailbox takes the number after the one just taken, and the message the next.
        modseq = make_mailbox(tx, account_id, name).modseq + 1
        tx.run("UPDATE accounts SET modseq = ? WHERE id = ?", (modseq, account_id))
        row = tx.one(sql, (modseq, account_id, name))
    assert row is not None
    return int(row[0]), int(row[1]), modseq


def _make_email(
    tx: Transaction,
    keys: Sequence[bytes],
    body_id: int,
    size: int,
    filing: Filing,
    received: float,
    modseq: int,
) -> int:
    account_id = filing.account_id
    thread_id = _find_thread(tx, account_id, keys)
    # A thread's id is its first email's: the subquery is the id that AUTOINCREMENT is about to give.
    row = tx.one(
        "INSERT INTO emails (account_id, thread_id, body_id, body_size, received, created_modseq, prefix)"
        " VALUES (?, coalesce(?, (SELECT seq + 1 FROM sqlite_sequence WHERE name = 'emails'), 1),"
        " ?, ?, ?, ?, ?) RETURNING id, thread_id",
        (account_id, thread_id, body_id, size, received, modseq, filing.prefix),
    )
    assert row is not None
    email_id, thread_id = row
    if keys:
        tx.each(
            "INSERT INTO thread_keys (account_id, key, thread_id) VALUES (?, ?, ?)"
            " ON CONFLICT (account_id, key) DO NOTHING",
            [(account_id, key, thread_id) for key in keys],
        )
    return int(email_id)


def _find_thread(tx: Transaction, account_id: int, keys: Sequence[bytes]) -> int | None:
    if not keys:
        return None
    marks = ", ".join("?" * len(keys))
    known: dict[bytes, int] = dict(
        tx.all(
            f"SELECT key, thread_id FROM thread_keys WHERE account_id = ? AND key IN ({marks})",
            (account_id, *keys),
        )
    )
    return next((known[key] for key in keys if key in known), None)


def _enqueue(
    tx: Transaction,
    body_id: int,
    ready: ReadyBody,
    transfer: Transfer,
    received: float,
    claimed: bool = False,
) -> int:
    """The row of the message, and those of its recipients unless they are `claimed`."""
    handling = transfer.handling
    message_id = tx.insert(
        "INSERT INTO queue_messages (body_id, body_size, accepted, reverse_path, prefix, account_id, ret,"
        " envid, eightbit, smtputf8, context, return_to, message_id, requiretls, priority, deliver_by,"
        " by_mode, hold_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            body_id,
            ready.size,
            received,
            transfer.reverse_path,
            transfer.prefix,
            transfer.account_id,
            transfer.ret,
            transfer.envid,
            transfer.eightbit,
            transfer.smtputf8,
            transfer.context,
            transfer.return_to,
            ready.index.message_id,
            handling.requiretls,
            handling.priority,
            handling.deliver_by,
            handling.by_mode,
            handling.hold_until,
        ),
    )
    if claimed:
        return message_id
    first, ahead = first_attempt(handling, tx.now)
    tx.each(
        "INSERT INTO queue_recipients (message_id, address, domain, state, next_attempt, due, orcpt, notify)"
        " VALUES (?, ?, ?, 'waiting', ?, ?, ?, ?)",
        [
            (
                message_id,
                path.address,
                domain_of(path.address),
                first,
                first - ahead,
                path.orcpt,
                " ".join(sorted(path.notify)),
            )
            for path in transfer.recipients
        ],
    )
    tx.changes.append(Change("queue"))
    return message_id


def _claim(tx: Transaction, message_id: int, body: BodyRef, unit: Accept) -> QueueMessage:
    """Recipients whose first attempt has begun. Nobody else hears of them: there is nothing to do."""
    assert unit.transfer is not None and unit.claim is not None, "only what is claimed is asked about"
    owner, until = unit.claim.owner, tx.now + unit.claim.seconds
    recipients = []
    for path in unit.transfer.recipients:
        domain = domain_of(path.address)
        recipient_id = tx.insert(
            "INSERT INTO queue_recipients (message_id, address, domain, state, attempts, next_attempt, due,"
            " lease_owner, lease_until, orcpt, notify) VALUES (?, ?, ?, 'waiting', 1, ?, ?, ?, ?, ?, ?)",
            (
                message_id,
                path.address,
                domain,
                tx.now,
                until,
                owner,
                until,
                path.orcpt,
                " ".join(sorted(path.notify)),
            ),
        )
        recipients.append(
            QueueRecipient(
                id=recipient_id,
                address=path.address,
                domain=domain,
                state=RecipientState.WAITING,
                attempt=1,
                next_attempt=tx.now,
                orcpt=path.orcpt,
                notify=path.notify,
                lease_owner=owner,
                lease_until=until,
            )
        )
    ready = tx.bodies[unit.body.sha256]
    return QueueMessage(
        message_id, unit.transfer, body, unit.received, tuple(recipients), ready.index.message_id
    )
