"""Emails changed, made and destroyed with all their places, and mailboxes by id."""

from __future__ import annotations

import json

from mailftp.store import flags as flag_sets
from mailftp.store.email_listing import hidden
from mailftp.store.email_units import (
    EmailsSet,
    MailboxHasChild,
    MailboxHasEmail,
    Plan,
    PutEmail,
    PutMailbox,
    RemoveMailbox,
    SetEmails,
    StateMismatch,
    check_role,
    plan_emails,
)
from mailftp.store.emails import Place
from mailftp.store.engine import MailboxRefused, MissingBody, NoSuchAccount, NoSuchMailbox
from mailftp.store.mailbox_tree import path_of
from mailftp.store.names import SEPARATOR
from mailftp.store.quota import UNLIMITED
from mailftp.store.records import Change, Filing, Mailbox
from mailftp.store.sqlite.accepting import file_body, keep_body
from mailftp.store.sqlite.expunging import take_away
from mailftp.store.sqlite.hierarchy import delete_mailbox, rename_mailbox, set_subscription
from mailftp.store.sqlite.mailboxes import MAILBOX_COLUMNS, create_mailbox, mailbox_of, next_modseq, touch
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import CreateMailbox, DeleteMailbox, RenameMailbox, SetSubscription


def set_emails(tx: Transaction, unit: SetEmails) -> EmailsSet:
    row = tx.one(
        "SELECT modseq, octets, messages, mail_quota, message_quota FROM accounts WHERE id = ?",
        (unit.account_id,),
    )
    if row is None:
        raise NoSuchAccount(f"there is no account {unit.account_id}")
    before, octets, messages, *own = row
    if unit.state is not None and unit.state != before:
        raise StateMismatch(f"the account is at {before}")
    places, unseen, sizes = _places(tx, unit)
    mailboxes = {number for (number,) in tx.all(_MAILBOX_IDS, (unit.account_id,))}
    quota = tx.quota.of(*own)
    left = (
        UNLIMITED if quota.octets is None else quota.octets - octets,
        UNLIMITED if quota.messages is None else quota.messages - messages,
    )
    plan = plan_emails(unit, places, unseen, mailboxes, sizes, left)
    _carry_out(tx, unit.account_id, plan)
    after = tx.one("SELECT modseq FROM accounts WHERE id = ?", (unit.account_id,))
    assert after is not None
    return EmailsSet(before, after[0], plan.faults)


_MAILBOX_IDS = "SELECT id FROM mailboxes WHERE account_id = ?"


def _places(
    tx: Transaction, unit: SetEmails
) -> tuple[dict[int, list[Place]], dict[int, list[Place]], dict[int, int]]:
    """Places that JMAP sees, by Email id, those that it does not see, and octets."""
    wanted = {*unit.destroy, *(patch.email_id for patch in unit.patches)}
    places: dict[int, list[Place]] = {}
    unseen: dict[int, list[Place]] = {}
    sizes: dict[int, int] = {}
    for email_id, size, text, *row in tx.all(
        "SELECT p.email_id, p.size, p.flags, p.mailbox_id, p.uid, p.modseq, p.saved FROM json_each(?)"
        " CROSS JOIN mailbox_messages AS p INDEXED BY mailbox_messages_by_email ON p.email_id = value"
        " CROSS JOIN mailboxes AS m ON m.id = p.mailbox_id WHERE m.account_id = ?"
        " ORDER BY p.email_id, p.mailbox_id, p.uid",
        (json.dumps(sorted(wanted)), unit.account_id),
    ):
        flags = flag_sets.from_text(text)
        mailbox_id, uid, modseq, saved = row
        there = (unseen if hidden(flags) else places).setdefault(email_id, [])
        there.append(Place(mailbox_id, uid, modseq, flags, saved))
        sizes[email_id] = size
    return places, unseen, sizes


def _carry_out(tx: Transaction, account_id: int, plan: Plan) -> None:
    # What comes before what goes: an Email that is moved is never in no mailbox.
    for mailbox_id, emails in plan.add.items():
        modseq = touch(tx, account_id, mailbox_id)
        row = tx.one(
            "UPDATE mailboxes SET uidnext = uidnext + ?1 WHERE id = ?2 RETURNING uidnext - ?1",
            (len(emails), mailbox_id),
        )
        assert row is not None
        new = [
            (email_id, row[0] + at, flag_sets.to_text(flags))
            for at, (email_id, flags) in enumerate(emails.items())
        ]
        tx.run(
            "INSERT INTO mailbox_messages (mailbox_id, uid, modseq, email_id, flags, saved, size)"
            " SELECT ?1, json_extract(value, '$[1]'), ?2, e.id, json_extract(value, '$[2]'), ?3,"
            " length(e.prefix) + e.body_size"
            " FROM json_each(?4) CROSS JOIN emails AS e ON e.id = json_extract(value, '$[0]')",
            (mailbox_id, modseq, tx.now, json.dumps(new)),
        )
        tx.run(
            "UPDATE accounts SET messages = messages + ?1, octets = octets + (SELECT sum(size)"
            " FROM mailbox_messages WHERE mailbox_id = ?2 AND uid >= ?3) WHERE id = ?4",
            (len(emails), mailbox_id, row[0], account_id),
        )
    for mailbox_id, changed in plan.flags.items():
        modseq = touch(tx, account_id, mailbox_id)
        for flags, uids in changed.items():
            tx.run(
                "UPDATE mailbox_messages SET flags = ?, modseq = ?"
                " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))",
                (flag_sets.to_text(flags), modseq, mailbox_id, json.dumps(uids)),
            )
    for mailbox_id, uids in plan.remove.items():
        take_away(tx, account_id, mailbox_id, uids)


def put_email(tx: Transaction, unit: PutEmail) -> tuple[int, int]:
    names: dict[int, str] = dict(
        tx.all(
            "SELECT id, name FROM mailboxes WHERE account_id = ? AND id IN (SELECT value FROM json_each(?))",
            (unit.account_id, json.dumps(unit.mailbox_ids)),
        )
    )
    if not names or len(names) < len(set(unit.mailbox_ids)):
        raise NoSuchMailbox("there is no such mailbox")
    ready = tx.bodies.get(unit.message.body.sha256)
    if ready is None:
        raise MissingBody("this body was never staged here")
    body_id = keep_body(tx, unit.message.body, ready)
    filings = [Filing(unit.account_id, names[each], unit.message.flags) for each in sorted(names)]
    filed = file_body(tx, body_id, ready, filings, unit.message.received, hold_to_quota=True)
    row = tx.one(
        "SELECT e.id, e.thread_id FROM mailbox_messages AS p JOIN emails AS e ON e.id = p.email_id"
        " WHERE p.mailbox_id = ? AND p.uid = ?",
        filed[0][1:],
    )
    assert row is not None
    return int(row[0]), int(row[1])


# Mailboxes.


def put_mailbox(tx: Transaction, unit: PutMailbox) -> Mailbox:
    there = {
        mailbox.id: mailbox
        for mailbox in map(
            mailbox_of,
            tx.all(f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ?", (unit.account_id,)),
        )
    }
    old = there.get(unit.mailbox_id) if unit.mailbox_id is not None else None
    if unit.mailbox_id is not None and old is None:
        raise NoSuchMailbox("there is no such mailbox")
    name = path_of(unit, old, there)
    check_role(unit, there)
    if old is None:
        subscribed = unit.subscribed is not False
        made = create_mailbox(tx, CreateMailbox(unit.account_id, name, unit.special_use or "", subscribed))
    else:
        made = old
        if name != old.name:
            rename_mailbox(tx, RenameMailbox(unit.account_id, old.name, name))
        if unit.subscribed is not None:
            set_subscription(tx, SetSubscription(unit.account_id, name, unit.subscribed))
    _set_properties(tx, unit, made)
    row = tx.one(f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE id = ?", (made.id,))
    assert row is not None
    return mailbox_of(row)


def _set_properties(tx: Transaction, unit: PutMailbox, made: Mailbox) -> None:
    order = made.sort_order if unit.sort_order is None else unit.sort_order
    use = made.special_use if unit.special_use is None else unit.special_use
    if (order, use) == (made.sort_order, made.special_use):
        return
    modseq = next_modseq(tx, unit.account_id)
    tx.run(
        "UPDATE mailboxes SET sort_order = ?1, special_use = ?2, modseq = ?3, changed_modseq = ?3 WHERE id ="
        " ?4",
        (order, use, modseq, made.id),
    )
    tx.changes.append(Change("mail", unit.account_id, made.id, modseq))


def remove_mailbox(tx: Transaction, unit: RemoveMailbox) -> Mailbox:
    row = tx.one(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE id = ? AND account_id = ?",
        (unit.mailbox_id, unit.account_id),
    )
    if row is None:
        raise NoSuchMailbox("there is no such mailbox")
    mailbox = mailbox_of(row)
    if mailbox.name == "INBOX":
        raise MailboxRefused("the inbox cannot be destroyed")
    beneath = mailbox.name + SEPARATOR
    if tx.one(
        "SELECT 1 FROM mailboxes WHERE account_id = ? AND name > ? AND name < ? LIMIT 1",
        (unit.account_id, beneath, mailbox.name + chr(ord(SEPARATOR) + 1)),
    ):
        raise MailboxHasChild("there are mailboxes beneath it")
    if not unit.with_emails and tx.one(
        "SELECT 1 FROM mailbox_messages AS p WHERE mailbox_id = ?"
        " AND NOT instr(' ' || p.flags || ' ', ' \\Deleted ') LIMIT 1",
        (mailbox.id,),
    ):
        raise MailboxHasEmail("there are Emails in it")
    # Nobody subscribes by hand to what JMAP has taken away.
    set_subscription(tx, SetSubscription(unit.account_id, mailbox.name, False))
    return delete_mailbox(tx, DeleteMailbox(unit.account_id, mailbox.name))
