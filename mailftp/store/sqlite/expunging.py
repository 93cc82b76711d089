"""Expunging, and what is remembered of it: tombstones for IMAP, `destroyed` for JMAP, both with a bound.

No statement is run for each message: a mailbox of a hundred thousand is emptied in a few.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mailftp.store.names import TOMBSTONES_AGE, TOMBSTONES_LIMIT
from mailftp.store.sqlite.mailboxes import owns, touch
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import Expunge


def expunge(tx: Transaction, unit: Expunge) -> tuple[int, ...]:
    if not owns(tx, unit.account_id, unit.mailbox_id):
        return ()
    uids: Sequence[int] = unit.uids
    if unit.marked:
        row = tx.one(
            "SELECT json_group_array(uid) FROM mailbox_messages NOT INDEXED"
            " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))"
            " AND instr(' ' || flags || ' ', ' \\Deleted ')",
            (unit.mailbox_id, json.dumps(uids)),
        )
        assert row is not None
        uids = json.loads(row[0])
    return take_away(tx, unit.account_id, unit.mailbox_id, uids)


def take_away(
    tx: Transaction, account_id: int, mailbox_id: int, wanted: Sequence[int], *, moved: bool = False
) -> tuple[int, ...]:
    """Of a mailbox that is the account's. Answers the UIDs that were there, ascending. Where they are
    `moved`, their emails are known to be in another mailbox."""
    row = tx.one(
        "SELECT group_concat(uid), group_concat(email_id), sum(size) FROM (SELECT uid, email_id, size"
        " FROM mailbox_messages NOT INDEXED"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) ORDER BY uid)",
        (mailbox_id, json.dumps(wanted)),
    )
    assert row is not None
    if row[0] is None:
        return ()
    there = f"[{row[0]}]"
    uids: list[int] = json.loads(there)
    tx.run(
        "DELETE FROM mailbox_messages WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))",
        (mailbox_id, there),
    )
    modseq = touch(tx, account_id, mailbox_id)
    tx.run(
        "INSERT INTO tombstones (mailbox_id, modseq, uid, expunged) SELECT ?, ?, value, ? FROM json_each(?)",
        (mailbox_id, modseq, tx.now, there),
    )
    tx.run("UPDATE mailboxes SET tombstones = tombstones + ? WHERE id = ?", (len(uids), mailbox_id))
    tx.run(
        "UPDATE accounts SET octets = octets - ?, messages = messages - ? WHERE id = ?",
        (row[2], len(uids), account_id),
    )
    if not moved:
        note_taken(tx, account_id, modseq, json.loads(f"[{row[1]}]"))
    return tuple(uids)


class Gone(NamedTuple):
    """An email, or a mailbox, which has no thread."""

    id: int
    created_modseq: int
    thread_id: int = 0


def note_taken(tx: Transaction, account_id: int, modseq: int, email_ids: Sequence[int]) -> list[Gone]:
    """Emails were taken from a mailbox: those that are in no other any more are removed and answered."""
    gone = drop_emails(tx, email_ids)
    note_destroyed(tx, account_id, modseq, "email", gone)
    left = set(email_ids).difference(email.id for email in gone)
    # What is told of a mailbox's expunges has no email ids.
    note_destroyed(tx, account_id, modseq, "left", [Gone(email_id, 0) for email_id in sorted(left)])
    return gone


def note_destroyed(tx: Transaction, account_id: int, modseq: int, kind: str, gone: Sequence[Gone]) -> None:
    """`kind` is "email" or "mailbox", or "left" for emails that are still somewhere."""
    if gone:
        tx.run(
            "INSERT INTO destroyed (account_id, modseq, kind, id, since, created_modseq, thread_id)"
            " SELECT ?, ?, ?, json_extract(value, '$[0]'), ?, json_extract(value, '$[1]'),"
            " json_extract(value, '$[2]') FROM json_each(?)",
            (account_id, modseq, kind, tx.now, json.dumps(gone)),
        )
        tx.run("UPDATE accounts SET destroyed = destroyed + ? WHERE id = ?", (len(gone), account_id))


def drop_emails(tx: Transaction, candidates: Iterable[int]) -> list[Gone]:
    """Remove those that are in no mailbox any more, with their threads' keys when they were the last,
    and mark bodies that nothing names now. Answers those removed."""
    row = tx.one(
        "SELECT group_concat(id), group_concat(thread_id), group_concat(body_id),"
        " group_concat(created_modseq)"
        " FROM emails WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM mailbox_messages WHERE email_id = emails.id)",
        (json.dumps(list(candidates)),),
    )
    assert row is not None
    if row[0] is None:
        return []
    gone, threads, bodies, created = (json.loads(f"[{text}]") for text in row)
    tx.run("DELETE FROM emails WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(gone),))
    tx.run(
        "DELETE FROM thread_keys WHERE thread_id IN (SELECT value FROM json_each(?)"
        " WHERE NOT EXISTS (SELECT 1 FROM emails WHERE thread_id = value))",
        (json.dumps(threads),),
    )
    mark_unused(tx, bodies)
    return list(map(Gone, gone, created, threads))


def mark_unused(tx: Transaction, body_ids: Iterable[int]) -> None:
    """Note the time for bodies that nothing names."""
    tx.run(
        "INSERT OR REPLACE INTO unused_bodies (body_id, since) SELECT value, ? FROM json_each(?)"
        " WHERE NOT EXISTS (SELECT 1 FROM emails WHERE body_id = value)"
        " AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE body_id = value)",
        (tx.now, json.dumps(sorted(set(body_ids)))),
    )


def forget_expunged(tx: Transaction, most: int) -> int:
    """Remove the oldest of what is past TOMBSTONES_AGE or beyond TOMBSTONES_LIMIT, at most so many of each
    kind, and note from where on what is left is complete. Answers the largest number removed of a kind."""
    # The limit stands in the statements as in the partial indexes, which are mostly empty.
    removed = _forget(
        tx,
        most,
        "SELECT mailbox_id, modseq, uid FROM tombstones WHERE expunged <= ? ORDER BY expunged LIMIT ?",
        f"SELECT id, tombstones - {TOMBSTONES_LIMIT} FROM mailboxes WHERE tombstones > {TOMBSTONES_LIMIT}",
        "SELECT mailbox_id, modseq, uid FROM tombstones WHERE mailbox_id = ? ORDER BY modseq LIMIT ?",
        "DELETE FROM tombstones WHERE (mailbox_id, modseq, uid)",
        "UPDATE mailboxes SET tombstones = tombstones - 1, horizon = max(horizon, ?2) WHERE id = ?1",
    )
    return max(
        removed,
        _forget(
            tx,
            most,
            "SELECT account_id, modseq, kind, id FROM destroyed WHERE since <= ? ORDER BY since LIMIT ?",
            f"SELECT id, destroyed - {TOMBSTONES_LIMIT} FROM accounts WHERE destroyed > {TOMBSTONES_LIMIT}",
            "SELECT account_id, modseq, kind, id FROM destroyed WHERE account_id = ? ORDER BY modseq LIMIT ?",
            "DELETE FROM destroyed WHERE (account_id, modseq, kind, id)",
            "UPDATE accounts SET destroyed = destroyed - 1, horizon = max(horizon, ?2) WHERE id = ?1",
        ),
    )


def _forget(tx: Transaction, most: int, aged: str, crowded: str, oldest: str, delete: str, note: str) -> int:
    gone = tx.all(f"{delete} IN ({aged}) RETURNING *", (tx.now - TOMBSTONES_AGE, most))
    row = tx.one(crowded)
    if row is not None:
        gone += tx.all(f"{delete} IN ({oldest}) RETURNING *", (row[0], min(row[1], most)))
    # Both tables begin with whose it is and the modseq.
    tx.each(note, [(owner, modseq) for owner, modseq, *_ in gone])
    return min(len(gone), most)
