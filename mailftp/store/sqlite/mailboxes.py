"""Mailboxes, and the flags of what is in them."""

from __future__ import annotations

import json

from mailftp.store import flags as flag_sets
from mailftp.store.email_listing import hidden
from mailftp.store.engine import MailboxExists, NoSuchAccount
from mailftp.store.names import SEPARATOR, check_mailboxes, check_name, check_subscriptions, mailbox_name
from mailftp.store.records import Change, Flagged, Mailbox
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import CreateMailbox, StoreFlags

#: From mailboxes AS m.
MAILBOX_COLUMNS = (
    "m.id, m.account_id, m.name, m.uidvalidity, m.uidnext, m.modseq, m.special_use, EXISTS"
    " (SELECT 1 FROM subscriptions AS s WHERE s.account_id = m.account_id AND s.name = m.name), m.sort_order"
)


def mailbox_of(row: Row) -> Mailbox:
    """Of MAILBOX_COLUMNS."""
    number, account_id, name, uidvalidity, uidnext, modseq, special_use, subscribed, sort_order = row
    return Mailbox(
        number, account_id, name, uidvalidity, uidnext, modseq, special_use, bool(subscribed), sort_order
    )


def next_modseq(tx: Transaction, account_id: int) -> int:
    row = tx.one("UPDATE accounts SET modseq = modseq + 1 WHERE id = ? RETURNING modseq", (account_id,))
    if row is None:
        raise NoSuchAccount(f"there is no account {account_id}")
    return int(row[0])


def make_mailbox(
    tx: Transaction, account_id: int, name: str, special_use: str = "", subscribe: bool = True
) -> Mailbox:
    """`name` as of mailftp.store.names. Raises NoSuchAccount, MailboxExists."""
    modseq = next_modseq(tx, account_id)
    row = tx.one(
        "UPDATE counters SET value = max(value + 1, ?) WHERE name = 'uidvalidity' RETURNING value",
        (int(tx.now),),
    )
    assert row is not None
    (uidvalidity,) = row
    made = tx.one(
        "INSERT INTO mailboxes (account_id, name, uidvalidity, modseq, created_modseq, changed_modseq,"
        " special_use) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, name) DO NOTHING RETURNING id",
        (account_id, name, uidvalidity, modseq, modseq, modseq, special_use),
    )
    if made is None:
        raise MailboxExists(f"there is a mailbox {name} already")
    note_beneath(tx, account_id, name, modseq)
    wanted = (account_id, name)
    if subscribe:
        tx.run("INSERT OR IGNORE INTO subscriptions (account_id, name) VALUES (?, ?)", wanted)
    else:
        subscribe = bool(tx.one("SELECT 1 FROM subscriptions WHERE account_id = ? AND name = ?", wanted))
    tx.changes.append(Change("mail", account_id, made[0], modseq))
    return Mailbox(made[0], account_id, name, uidvalidity, 1, modseq, special_use, subscribe)


def note_beneath(tx: Transaction, account_id: int, name: str, modseq: int) -> None:
    """A mailbox came or went: those beneath it have another parent."""
    tx.run(
        "UPDATE mailboxes SET changed_modseq = ? WHERE account_id = ? AND name > ? AND name < ?",
        (modseq, account_id, name + SEPARATOR, name + chr(ord(SEPARATOR) + 1)),
    )


def create_mailbox(tx: Transaction, unit: CreateMailbox) -> Mailbox:
    name = mailbox_name(unit.name)
    check_name(name)
    made = make_mailbox(tx, unit.account_id, name, unit.special_use, unit.subscribe)
    hold_to_limits(tx, unit.account_id)
    return made


def hold_to_limits(tx: Transaction, account_id: int) -> None:
    """After a mailbox was made for a client. Raises LimitReached."""
    row = tx.one(
        "SELECT (SELECT count(*) FROM mailboxes WHERE account_id = ?1),"
        " (SELECT count(*) FROM subscriptions WHERE account_id = ?1)",
        (account_id,),
    )
    assert row is not None
    check_mailboxes(row[0] - 1)
    check_subscriptions(row[1] - 1)


def store_flags(tx: Transaction, unit: StoreFlags) -> Flagged:
    """A statement for each set of flags that there was, not for each message: ten thousand messages have a
    handful."""
    if not owns(tx, unit.account_id, unit.mailbox_id):
        return Flagged()
    row = tx.one(
        "SELECT group_concat(uid), group_concat(modseq), group_concat(flags, char(10)) FROM"
        " (SELECT uid, modseq, flags FROM mailbox_messages NOT INDEXED"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) ORDER BY uid)",
        (unit.mailbox_id, json.dumps(unit.uids)),
    )
    assert row is not None
    if row[0] is None:
        return Flagged()
    limit = unit.unchanged_since
    by_text: dict[str, list[int]] = {}
    refused: list[int] = []
    uids, modseqs = json.loads(f"[{row[0]}]"), json.loads(f"[{row[1]}]")
    for uid, at, text in zip(uids, modseqs, row[2].split("\n"), strict=True):
        if limit is not None and at > limit:
            refused.append(uid)
        else:
            by_text.setdefault(text, []).append(uid)
    new: list[tuple[str, list[int]]] = []
    shown: list[int] = []
    for text, those in by_text.items():
        before = flag_sets.from_text(text)
        after = flag_sets.changed(before, unit.change, unit.flags)
        if after is not before:
            new.append((flag_sets.to_text(after), those))
            if hidden(before) and not hidden(after):
                shown += those
    if not new:
        return Flagged(0, tuple(refused))
    modseq = touch(tx, unit.account_id, unit.mailbox_id)
    if shown:
        note_shown(tx, unit.account_id, unit.mailbox_id, modseq, shown)
    for text, those in new:
        tx.run(
            "UPDATE mailbox_messages SET flags = ?, modseq = ?"
            " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))",
            (text, modseq, unit.mailbox_id, json.dumps(those)),
        )
    return Flagged(modseq, tuple(refused))


def note_shown(tx: Transaction, account_id: int, mailbox_id: int, modseq: int, uids: list[int]) -> None:
    """Those that JMAP did not see so far come into being for it."""
    noted = tx.run(
        "INSERT OR IGNORE INTO destroyed (account_id, modseq, kind, id, since)"
        " SELECT DISTINCT ?, ?, 'shown', email_id, ? FROM mailbox_messages AS mm NOT INDEXED"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
        " (SELECT 1 FROM mailbox_messages AS p CROSS JOIN mailboxes AS m ON m.id = p.mailbox_id"
        " WHERE p.email_id = mm.email_id AND NOT instr(' ' || p.flags || ' ', ' \\Deleted '))",
        (account_id, modseq, tx.now, mailbox_id, json.dumps(uids)),
    )
    tx.run("UPDATE accounts SET destroyed = destroyed + ? WHERE id = ?", (noted, account_id))


def owns(tx: Transaction, account_id: int, mailbox_id: int) -> bool:
    """Whether the mailbox is there and the account's."""
    row = tx.one("SELECT 1 FROM mailboxes WHERE id = ? AND account_id = ?", (mailbox_id, account_id))
    return row is not None


def touch(tx: Transaction, account_id: int, mailbox_id: int) -> int:
    """Something in the mailbox changes; answers the modseq."""
    modseq = next_modseq(tx, account_id)
    tx.run("UPDATE mailboxes SET modseq = ? WHERE id = ?", (modseq, mailbox_id))
    tx.changes.append(Change("mail", account_id, mailbox_id, modseq))
    return modseq
