"""AppendMessages: what a client puts into a mailbox itself."""

from __future__ import annotations

from mailftp.store.engine import MissingBody, NoSuchMailbox, NoSuchMessage, OverQuota
from mailftp.store.names import mailbox_name
from mailftp.store.records import Appended, Filing
from mailftp.store.sqlite.accepting import file_body, keep_body
from mailftp.store.sqlite.expunging import take_away
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import AppendMessages


def append_messages(tx: Transaction, unit: AppendMessages) -> Appended:
    """Raises NoSuchMailbox, NoSuchMessage, OverQuota, MissingBody."""
    name = mailbox_name(unit.mailbox)
    row = tx.one(
        "SELECT m.id, uidvalidity, octets, messages"
        " FROM mailboxes AS m JOIN accounts AS a ON a.id = account_id WHERE account_id = ? AND name = ?",
        (unit.account_id, name),
    )
    if row is None:
        raise NoSuchMailbox(f"there is no mailbox {name}")
    mailbox_id, uidvalidity, *before = row
    if unit.replaces is not None:
        _find(tx, unit.account_id, *unit.replaces)
    uids: list[int] = []
    for message in unit.messages:
        ready = tx.bodies.get(message.body.sha256)
        if ready is None:
            raise MissingBody("this body was never staged here")
        body_id = keep_body(tx, message.body, ready)
        filing = Filing(unit.account_id, name, message.flags)
        # The quota holds for what is left at the end.
        filed = file_body(tx, body_id, ready, (filing,), message.received, hold_to_quota=False)
        uids += (uid for *_, uid in filed)
    if unit.replaces is not None:
        source, uid = unit.replaces
        take_away(tx, unit.account_id, source, (uid,))
    _hold_to_quota(tx, unit.account_id, (before[0], before[1]))
    return Appended(mailbox_id, uidvalidity, tuple(uids))


def _find(tx: Transaction, account_id: int, mailbox_id: int, uid: int) -> None:
    """Before anything is appended: a client that names the next UID must not replace what it brings."""
    there = tx.one(
        "SELECT 1 FROM mailboxes JOIN mailbox_messages ON mailbox_id = id"
        " WHERE id = ? AND account_id = ? AND uid = ?",
        (mailbox_id, account_id, uid),
    )
    if not there:
        raise NoSuchMessage("the message to be replaced is gone")


def _hold_to_quota(tx: Transaction, account_id: int, before: tuple[int, int]) -> None:
    row = tx.one(
        "SELECT octets, messages, mail_quota, message_quota FROM accounts WHERE id = ?", (account_id,)
    )
    assert row is not None  # Its mailbox was there.
    if tx.quota.of(*row[2:]).exceeded(row[0], row[1], before):
        raise OverQuota((account_id,))
