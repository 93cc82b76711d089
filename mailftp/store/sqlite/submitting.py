"""What an account sends: counted, held to its limits, and filed if it asks for that."""

from __future__ import annotations

import json

from mailftp.store.engine import NoSuchAccount, SendingLimit
from mailftp.store.names import SENT, SENT_FLAGS, effective
from mailftp.store.records import Filing
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import Submission


def submit(tx: Transaction, body_id: int, submission: Submission) -> tuple[Filing, ...]:
    """Count it, and answer where it is to be filed besides. Raises SendingLimit, NoSuchAccount."""
    row = tx.one(
        "SELECT daily_messages, daily_new_recipients, file_sent FROM accounts WHERE id = ?",
        (submission.account_id,),
    )
    if row is None:
        raise NoSuchAccount(f"there is no account {submission.account_id}")
    if submission.recipients:
        messages, new_recipients = _count(tx, submission)
        for what, there, own, general in (
            ("messages", messages, row[0], submission.daily_messages),
            ("new recipients", new_recipients, row[1], submission.daily_new_recipients),
        ):
            most = effective(own, general)
            if most and there > most:
                raise SendingLimit(what, most)
    return _copy(tx, body_id, submission) if row[2] else ()


def _count(tx: Transaction, submission: Submission) -> tuple[int, int]:
    """Messages and new recipients of today, with this one."""
    new = tx.run(
        "INSERT INTO correspondents (account_id, address, since) SELECT ?, value, ? FROM json_each(?) WHERE 1"
        " ON CONFLICT DO NOTHING",
        (submission.account_id, tx.now, json.dumps(submission.recipients)),
    )
    row = tx.one(
        "INSERT INTO sent (account_id, day, messages, new_recipients) VALUES (?1, ?2, 1, ?3)"
        " ON CONFLICT (account_id) DO UPDATE SET day = ?2,"
        " messages = 1 + CASE WHEN day = ?2 THEN messages ELSE 0 END,"
        " new_recipients = ?3 + CASE WHEN day = ?2 THEN new_recipients ELSE 0 END"
        " RETURNING messages, new_recipients",
        (submission.account_id, int(tx.now // 86400), new),
    )
    assert row is not None
    return int(row[0]), int(row[1])


def _copy(tx: Transaction, body_id: int, submission: Submission) -> tuple[Filing, ...]:
    """Once: a client that sends again, because it did not hear the answer, has it already."""
    row = tx.one(
        "SELECT id, name FROM mailboxes WHERE account_id = ?1"
        " AND (special_use = '\\Sent' OR name = ?2) ORDER BY special_use <> '\\Sent', id LIMIT 1",
        (submission.account_id, SENT),
    )
    name = row[1] if row else SENT
    if row and tx.one(
        "SELECT 1 FROM emails AS e JOIN mailbox_messages AS m ON m.email_id = e.id"
        " WHERE e.body_id = ? AND m.mailbox_id = ? LIMIT 1",
        (body_id, row[0]),
    ):
        return ()
    return (Filing(submission.account_id, name, SENT_FLAGS, submission.copy_prefix),)
