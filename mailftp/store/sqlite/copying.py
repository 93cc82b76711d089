"""Messages put into another mailbox of their account: COPY and MOVE."""

from __future__ import annotations

import json

from mailftp.store.engine import NoSuchMailbox, OverQuota
from mailftp.store.names import mailbox_name
from mailftp.store.records import Copied
from mailftp.store.sqlite.expunging import take_away
from mailftp.store.sqlite.mailboxes import owns, touch
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import CopyMessages, MoveMessages


def copy_messages(tx: Transaction, unit: CopyMessages) -> Copied:
    """Raises NoSuchMailbox, OverQuota."""
    return _copy(tx, unit, hold_to_quota=True)


def move_messages(tx: Transaction, unit: MoveMessages) -> Copied:
    """Raises NoSuchMailbox."""
    copied = _copy(tx, unit, hold_to_quota=False)
    # After the copy, so that the emails are never in no mailbox and are kept.
    take_away(tx, unit.account_id, unit.mailbox_id, copied.sources, moved=True)
    return copied


def _copy(tx: Transaction, unit: CopyMessages | MoveMessages, hold_to_quota: bool) -> Copied:
    target_id, uidvalidity, uidnext = _mailboxes(tx, unit)
    row = tx.one(
        "SELECT group_concat(uid), sum(size) FROM (SELECT uid, size FROM mailbox_messages NOT INDEXED"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) ORDER BY uid)",
        (unit.mailbox_id, json.dumps(unit.uids)),
    )
    assert row is not None
    if row[0] is None:
        return Copied(target_id, uidvalidity)
    there = f"[{row[0]}]"
    sources = tuple(json.loads(there))
    _charge(tx, unit.account_id, row[1], len(sources), hold_to_quota)
    modseq = touch(tx, unit.account_id, target_id)
    tx.run("UPDATE mailboxes SET uidnext = uidnext + ? WHERE id = ?", (len(sources), target_id))
    # key counts from 0: the list is in UID order. One statement, whatever is copied.
    tx.run(
        "INSERT INTO mailbox_messages (mailbox_id, uid, modseq, email_id, flags, saved, size)"
        " SELECT ?, ? + key, ?, email_id, flags, ?, size FROM json_each(?)"
        " CROSS JOIN mailbox_messages ON mailbox_id = ? AND uid = value",
        (target_id, uidnext, modseq, tx.now, there, unit.mailbox_id),
    )
    return Copied(target_id, uidvalidity, sources, tuple(range(uidnext, uidnext + len(sources))))


def _mailboxes(tx: Transaction, unit: CopyMessages | MoveMessages) -> tuple[int, int, int]:
    """The target's id, UIDVALIDITY and UIDNEXT, when both mailboxes are the account's."""
    name = mailbox_name(unit.target)
    if not owns(tx, unit.account_id, unit.mailbox_id):
        raise NoSuchMailbox("the mailbox is gone")
    row = tx.one(
        "SELECT id, uidvalidity, uidnext FROM mailboxes WHERE account_id = ? AND name = ?",
        (unit.account_id, name),
    )
    if row is None:
        raise NoSuchMailbox(f"there is no mailbox {name}")
    return int(row[0]), int(row[1]), int(row[2])


def _charge(tx: Transaction, account_id: int, octets: int, messages: int, hold_to_quota: bool) -> None:
    row = tx.one(
        "UPDATE accounts SET octets = octets + ?, messages = messages + ? WHERE id = ?"
        " RETURNING octets, messages, mail_quota, message_quota",
        (octets, messages, account_id),
    )
    assert row is not None  # Its mailboxes were there.
    if hold_to_quota and tx.quota.of(*row[2:]).exceeded(*row[:2]):
        raise OverQuota((account_id,))
