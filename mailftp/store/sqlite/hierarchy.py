"""Names of mailboxes: deleting, renaming, subscribing."""

from __future__ import annotations

from mailftp.store.engine import MailboxExists, MailboxRefused, NoSuchAccount, NoSuchMailbox
from mailftp.store.names import check_name, check_subscriptions, mailbox_name, renamed
from mailftp.store.records import Change, Mailbox
from mailftp.store.sqlite.copying import move_messages
from mailftp.store.sqlite.expunging import Gone, note_destroyed
from mailftp.store.sqlite.mailboxes import (
    MAILBOX_COLUMNS,
    hold_to_limits,
    mailbox_of,
    make_mailbox,
    next_modseq,
    note_beneath,
)
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import DeleteMailbox, MoveMessages, RenameMailbox, SetSubscription


def delete_mailbox(tx: Transaction, unit: DeleteMailbox) -> Mailbox:
    """Its messages go later, a few at a time, as those of a removed account; they count no more at once."""
    mailbox = _mailbox(tx, unit.account_id, mailbox_name(unit.name))
    if mailbox.name == "INBOX":
        raise MailboxRefused("INBOX cannot be deleted")
    modseq = next_modseq(tx, unit.account_id)
    row = tx.one(
        "SELECT coalesce(sum(size), 0), count(*) FROM mailbox_messages NOT INDEXED WHERE mailbox_id = ?",
        (mailbox.id,),
    )
    assert row is not None
    tx.run(
        "UPDATE accounts SET octets = octets - ?, messages = messages - ? WHERE id = ?",
        (*row, unit.account_id),
    )
    tx.run("INSERT INTO removed_mailboxes (id) VALUES (?)", (mailbox.id,))
    ((created,),) = tx.all("DELETE FROM mailboxes WHERE id = ? RETURNING created_modseq", (mailbox.id,))
    tx.run("DELETE FROM metadata WHERE account_id = ? AND mailbox_id = ?", (unit.account_id, mailbox.id))
    note_destroyed(tx, unit.account_id, modseq, "mailbox", (Gone(mailbox.id, created),))
    note_beneath(tx, unit.account_id, mailbox.name, modseq)
    tx.changes.append(Change("mail", unit.account_id, mailbox.id, modseq))
    return mailbox


def rename_mailbox(tx: Transaction, unit: RenameMailbox) -> tuple[Mailbox, ...]:
    old, new = mailbox_name(unit.name), mailbox_name(unit.new_name)
    if old == "INBOX":
        return (_empty_inbox(tx, unit.account_id, new),)
    ids: dict[str, int] = dict(
        tx.all("SELECT name, id FROM mailboxes WHERE account_id = ?", (unit.account_id,))
    )
    names = renamed(ids, old, new)
    modseq = next_modseq(tx, unit.account_id)
    tx.each(
        "UPDATE mailboxes SET name = ?1, modseq = ?2, changed_modseq = ?2 WHERE id = ?3",
        [(name, modseq, ids[before]) for before, name in names.items()],
    )
    for name in {old, new} - ids.keys():
        # It was only a name, or is one now.
        note_beneath(tx, unit.account_id, name, modseq)
    subscribed = {name for (name,) in tx.all(_SUBSCRIBED, (unit.account_id,))}
    _subscribe(
        tx, unit.account_id, subscribed, {name for before, name in names.items() if before in subscribed}
    )
    tx.changes += [Change("mail", unit.account_id, ids[before], modseq) for before in names]
    return tuple(_mailbox(tx, unit.account_id, name) for name in sorted(names.values()))


_SUBSCRIBED = "SELECT name FROM subscriptions WHERE account_id = ?"


def _subscribe(tx: Transaction, account_id: int, there: set[str], names: set[str]) -> None:
    """Raises LimitReached."""
    new = names - there
    if new:
        check_subscriptions(len(there) + len(new) - 1)
    tx.each(
        "INSERT INTO subscriptions (account_id, name) VALUES (?, ?)", [(account_id, name) for name in new]
    )


def _empty_inbox(tx: Transaction, account_id: int, new: str) -> Mailbox:
    """RFC 9051 section 6.3.6: INBOX stays, and its messages are in a new mailbox."""
    inbox = _mailbox(tx, account_id, "INBOX")
    if new == "INBOX":
        raise MailboxExists("there is a mailbox INBOX already")
    check_name(new)
    make_mailbox(tx, account_id, new, subscribe=inbox.subscribed)
    hold_to_limits(tx, account_id)
    uids = tx.all("SELECT uid FROM mailbox_messages NOT INDEXED WHERE mailbox_id = ?", (inbox.id,))
    move_messages(tx, MoveMessages(account_id, inbox.id, tuple(uid for (uid,) in uids), new))
    return _mailbox(tx, account_id, new)


def set_subscription(tx: Transaction, unit: SetSubscription) -> bool:
    name = mailbox_name(unit.name)
    if not tx.one("SELECT 1 FROM accounts WHERE id = ?", (unit.account_id,)):
        raise NoSuchAccount(f"there is no account {unit.account_id}")
    there = {name for (name,) in tx.all(_SUBSCRIBED, (unit.account_id,))}
    if (name in there) == unit.subscribed:
        return False
    modseq = next_modseq(tx, unit.account_id)
    if unit.subscribed:
        check_name(name)
        _subscribe(tx, unit.account_id, there, {name})
    else:
        tx.run("DELETE FROM subscriptions WHERE account_id = ? AND name = ?", (unit.account_id, name))
    row = tx.one(
        "UPDATE mailboxes SET modseq = ?1, changed_modseq = ?1 WHERE account_id = ?2 AND name = ?3"
        " RETURNING id",
        (modseq, unit.account_id, name),
    )
    tx.changes.append(Change("mail", unit.account_id, row[0] if row else 0, modseq))
    return True


def _mailbox(tx: Transaction, account_id: int, name: str) -> Mailbox:
    """Raises NoSuchMailbox."""
    row = tx.one(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? AND name = ?", (account_id, name)
    )
    if row is None:
        raise NoSuchMailbox(f"there is no mailbox {name}")
    return mailbox_of(row)
