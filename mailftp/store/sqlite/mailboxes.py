"""Mailboxes and what is in them: flags, expunging."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mailftp.store import flags as flag_sets
from mailftp.store.engine import MailboxExists, NoSuchAccount
from mailftp.store.names import check_mailboxes, check_name, check_subscriptions, mailbox_name
from mailftp.store.records import Change, Flagged, Mailbox
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import CreateMailbox, Expunge, StoreFlags

#: From mailboxes AS m.
MAILBOX_COLUMNS = (
    "m.id, m.account_id, m.name, m.uidvalidity, m.uidnext, m.modseq, m.special_use, EXISTS"
    " (SELECT 1 FROM subscriptions AS s WHERE s.account_id = m.account_id AND s.name = m.name)"
)


def mailbox_of(row: Row) -> Mailbox:
    """Of MAILBOX_COLUMNS."""
    number, account_id, name, uidvalidity, uidnext, modseq, special_use, subscribed = row
    return Mailbox(number, account_id, name, uidvalidity, uidnext, modseq, special_use, bool(subscribed))


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
        "INSERT INTO mailboxes (account_id, name, uidvalidity, modseq, created_modseq, special_use)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account_id, name) DO NOTHING RETURNING id",
        (account_id, name, uidvalidity, modseq, modseq, special_use),
    )
    if made is None:
        raise MailboxExists(f"there is a mailbox {name} already")
    wanted = (account_id, name)
    if subscribe:
        tx.run("INSERT OR IGNORE INTO subscriptions (account_id, name) VALUES (?, ?)", wanted)
    else:
        subscribe = bool(tx.one("SELECT 1 FROM subscriptions WHERE account_id = ? AND name = ?", wanted))
    tx.changes.append(Change("mail", account_id, made[0], modseq))
    return Mailbox(made[0], account_id, name, uidvalidity, 1, modseq, special_use, subscribe)


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
    owner = tx.one("SELECT account_id FROM mailboxes WHERE id = ?", (unit.mailbox_id,))
    if owner is None:
        return Flagged()
    limit = unit.unchanged_since
    new: list[tuple[str, int]] = []
    refused: list[int] = []
    for uid, text, at in tx.all(
        "SELECT uid, flags, modseq FROM mailbox_messages"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))",
        (unit.mailbox_id, json.dumps(unit.uids)),
    ):
        if limit is not None and at > limit:
            refused.append(uid)
            continue
        before = flag_sets.from_text(text)
        after = flag_sets.changed(before, unit.change, unit.flags)
        if after is not before:
            new.append((flag_sets.to_text(after), uid))
    refused.sort()
    if not new:
        return Flagged(0, tuple(refused))
    modseq = touch(tx, owner[0], unit.mailbox_id)
    tx.each(
        "UPDATE mailbox_messages SET flags = ?, modseq = ? WHERE mailbox_id = ? AND uid = ?",
        [(text, modseq, unit.mailbox_id, uid) for text, uid in new],
    )
    return Flagged(modseq, tuple(refused))


def touch(tx: Transaction, account_id: int, mailbox_id: int) -> int:
    """Something in the mailbox changes; answers the modseq."""
    modseq = next_modseq(tx, account_id)
    tx.run("UPDATE mailboxes SET modseq = ? WHERE id = ?", (modseq, mailbox_id))
    tx.changes.append(Change("mail", account_id, mailbox_id, modseq))
    return modseq


def expunge(tx: Transaction, unit: Expunge) -> tuple[int, ...]:
    owner = tx.one("SELECT account_id FROM mailboxes WHERE id = ?", (unit.mailbox_id,))
    if owner is None:
        return ()
    gone = tx.all(
        "DELETE FROM mailbox_messages"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) RETURNING uid, email_id",
        (unit.mailbox_id, json.dumps(unit.uids)),
    )
    if not gone:
        return ()
    (account_id,) = owner
    modseq = touch(tx, account_id, unit.mailbox_id)
    uids = sorted(uid for uid, _ in gone)
    tx.each(
        "INSERT INTO tombstones (mailbox_id, modseq, uid) VALUES (?, ?, ?)",
        [(unit.mailbox_id, modseq, uid) for uid in uids],
    )
    left = [email_id for _, email_id in gone]
    row = tx.one(
        "SELECT sum(length(prefix) + body_size) FROM json_each(?) JOIN emails ON emails.id = value",
        (json.dumps(left),),
    )
    assert row is not None
    tx.run(
        "UPDATE accounts SET octets = octets - ?, messages = messages - ? WHERE id = ?",
        (row[0], len(gone), account_id),
    )
    destroyed = drop_emails(tx, left)
    tx.each(
        "INSERT INTO destroyed (account_id, modseq, kind, id) VALUES (?, ?, 'email', ?)",
        [(account_id, modseq, email_id) for email_id in destroyed],
    )
    return tuple(uids)


def drop_emails(tx: Transaction, candidates: Iterable[int]) -> list[int]:
    """Remove those that are in no mailbox any more, with their threads' keys when they were the last,
    and mark bodies that nothing names now. Answers the ids removed."""
    gone = tx.all(
        "DELETE FROM emails WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM mailbox_messages WHERE email_id = emails.id)"
        " RETURNING id, thread_id, body_id",
        (json.dumps(list(candidates)),),
    )
    tx.each(
        "DELETE FROM thread_keys WHERE thread_id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM emails WHERE thread_id = ?1)",
        list({(thread_id,) for _, thread_id, _ in gone}),
    )
    mark_unused(tx, {body_id for *_, body_id in gone})
    return [email_id for email_id, *_ in gone]


def mark_unused(tx: Transaction, body_ids: Iterable[int]) -> None:
    """Note the time for bodies that nothing names."""
    tx.each(
        "INSERT OR REPLACE INTO unused_bodies (body_id, since) SELECT ?1, ?2"
        " WHERE NOT EXISTS (SELECT 1 FROM emails WHERE body_id = ?1)"
        " AND NOT EXISTS (SELECT 1 FROM queue_messages WHERE body_id = ?1)",
        [(body_id, tx.now) for body_id in body_ids],
    )
