"""Annotations of mailboxes and of the account."""

from __future__ import annotations

from mailftp.store.engine import NoSuchAccount, NoSuchMailbox
from mailftp.store.names import check_annotations, entry_name, mailbox_name
from mailftp.store.queries import Metadata
from mailftp.store.records import Change
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import SetMetadata


def set_metadata(tx: Transaction, unit: SetMetadata) -> None:
    if not tx.one("SELECT 1 FROM accounts WHERE id = ?", (unit.account_id,)):
        raise NoSuchAccount(f"there is no account {unit.account_id}")
    mailbox_id = _mailbox_id(tx, unit.account_id, unit.mailbox)
    if mailbox_id is None:
        raise NoSuchMailbox(f"there is no mailbox {unit.mailbox}")
    for entry, value in unit.entries:
        if value is None:
            tx.run(
                "DELETE FROM metadata WHERE account_id = ? AND mailbox_id = ? AND entry = ?",
                (unit.account_id, mailbox_id, entry_name(entry)),
            )
        else:
            tx.run(
                "INSERT OR REPLACE INTO metadata (account_id, mailbox_id, entry, value) VALUES (?, ?, ?, ?)",
                (unit.account_id, mailbox_id, entry_name(entry), value),
            )
    there = tx.one(
        "SELECT coalesce(sum(mailbox_id = ?2), 0), coalesce(sum(length(value)), 0)"
        " FROM metadata WHERE account_id = ?1",
        (unit.account_id, mailbox_id),
    )
    assert there is not None
    check_annotations(unit.entries, *there)
    changed = frozenset(entry_name(entry) for entry, _ in unit.entries)
    tx.changes.append(Change("metadata", unit.account_id, mailbox_id, entries=changed))


def read_metadata(view: View, query: Metadata) -> tuple[tuple[str, bytes], ...] | None:
    mailbox_id = _mailbox_id(view, query.account_id, query.mailbox)
    if mailbox_id is None:
        return None
    return tuple(
        view.all(
            "SELECT entry, value FROM metadata WHERE account_id = ? AND mailbox_id = ? ORDER BY entry",
            (query.account_id, mailbox_id),
        )
    )


def _mailbox_id(reading: Transaction | View, account_id: int, mailbox: str | None) -> int | None:
    """0 for the account's own; None when there is no such mailbox."""
    if mailbox is None:
        return 0
    row = reading.one(
        "SELECT id FROM mailboxes WHERE account_id = ? AND name = ?", (account_id, mailbox_name(mailbox))
    )
    return None if row is None else int(row[0])
