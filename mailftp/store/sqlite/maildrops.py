"""Mailboxes as POP3 sees them: listings, messages on their way out, UIDLs, what was fetched.

Each of the two queries is one row whatever it holds: sqlite3 lets go of Python's lock for each row and has to
win it back from the reactor's thread.
"""

from __future__ import annotations

import json
import sqlite3
from array import array

from mailftp.message.index import DOT_FREE_SIZE, stored_dot_free
from mailftp.store.engine import SMALL_BODY, StoreFault
from mailftp.store.names import check_uidl, mailbox_name
from mailftp.store.queries import Copies, ListMaildrop
from mailftp.store.records import BodyRef, Copy, MaildropListing
from mailftp.store.sqlite.expunging import take_away
from mailftp.store.sqlite.mailboxes import MAILBOX_COLUMNS, mailbox_of, touch
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import ExpireRetrieved, NoteRetrieved, SetUidls


def list_maildrop(view: View, query: ListMaildrop) -> MaildropListing | None:
    row = view.one(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? AND name = ?",
        (query.account_id, mailbox_name(query.name)),
    )
    if row is None:
        return None
    mailbox = mailbox_of(row)
    if query.known == (mailbox.id, mailbox.modseq):
        return MaildropListing(mailbox, True, (), (), {})
    # The table itself lies in UID order.
    row = view.one(
        "SELECT group_concat(uid), group_concat(size) FROM"
        " (SELECT uid, size FROM mailbox_messages NOT INDEXED WHERE mailbox_id = ? ORDER BY uid)",
        (mailbox.id,),
    )
    assert row is not None
    uidls = view.all("SELECT uid, uidl FROM uidls WHERE mailbox_id = ?", (mailbox.id,))
    return MaildropListing(
        mailbox, False, _numbers("I", row[0]), _numbers("Q", row[1]), {u: t.encode() for u, t in uidls}
    )


def _numbers(kind: str, text: str | None) -> array[int]:
    return array(kind, map(int, text.split(","))) if text else array(kind)


def copies(view: View, query: Copies) -> tuple[Copy | None, ...]:
    # || and group_concat take octets as they are, NUL and what is no UTF-8 included.
    row = view.one(
        "SELECT group_concat(key || ' ' || length(prefix) || ' ' || body_id || ' ' || body_size"
        f" || ' ' || hex(substr(stored, 1, {DOT_FREE_SIZE}))),"
        " CAST(group_concat(prefix || coalesce(data, x''), '') AS BLOB) FROM"
        " (SELECT j.key, e.prefix, e.body_id, e.body_size, b.data, i.stored FROM json_each(?) AS j"
        " CROSS JOIN mailbox_messages AS mm ON mm.mailbox_id = ? AND mm.uid = j.value"
        " CROSS JOIN emails AS e ON e.id = mm.email_id CROSS JOIN bodies AS b ON b.id = e.body_id"
        " CROSS JOIN body_indexes AS i ON i.body_id = e.body_id)",
        (json.dumps(query.uids), query.mailbox_id),
    )
    assert row is not None
    found: list[Copy | None] = [None] * len(query.uids)
    numbers, octets = row
    position = 0
    for line in numbers.split(",") if numbers else ():
        *head, stored = line.split(" ")
        place, ahead, body_id, size = map(int, head)
        start, position = position, position + ahead
        prefix = octets[start:position]
        data = None
        if size <= SMALL_BODY:
            data = octets[position : position + size]
            position += size
        found[place] = Copy(
            prefix, BodyRef(body_id, size, size > SMALL_BODY), data, stored_dot_free(bytes.fromhex(stored))
        )
    return tuple(found)


def set_uidls(tx: Transaction, unit: SetUidls) -> tuple[int, ...]:
    owner = tx.one("SELECT account_id, uidvalidity FROM mailboxes WHERE id = ?", (unit.mailbox_id,))
    if owner is None:
        return ()
    account_id, uidvalidity = owner
    set_for = []
    for uid, uidl in unit.uidls:
        text = check_uidl(uidl, uidvalidity)
        try:
            changed = tx.run(
                "INSERT INTO uidls (mailbox_id, uid, uidl) SELECT mailbox_id, uid, ? FROM mailbox_messages"
                " WHERE mailbox_id = ? AND uid = ?"
                " ON CONFLICT (mailbox_id, uid) DO UPDATE SET uidl = excluded.uidl",
                (text, unit.mailbox_id, uid),
            )
        except sqlite3.IntegrityError:
            raise StoreFault(f"another message has the UIDL {text}") from None
        if changed:
            set_for.append(uid)
    if set_for:
        # Whoever remembers a listing by its modseq must read it again.
        touch(tx, account_id, unit.mailbox_id)
    return tuple(set_for)


def note_retrieved(tx: Transaction, unit: NoteRetrieved) -> int:
    return tx.run(
        "INSERT INTO retrieved (mailbox_id, uid, since) SELECT mailbox_id, uid, ? FROM mailbox_messages"
        " WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))"
        " ON CONFLICT (mailbox_id, uid) DO NOTHING",
        (tx.now, unit.mailbox_id, json.dumps(unit.uids)),
    )


def expire_retrieved(tx: Transaction, unit: ExpireRetrieved) -> int:
    due: dict[int, list[int]] = {}
    for mailbox_id, uid in tx.all(
        "SELECT mailbox_id, uid FROM retrieved WHERE since <= ? ORDER BY since, mailbox_id, uid LIMIT ?",
        (tx.now - unit.seconds, unit.limit),
    ):
        due.setdefault(mailbox_id, []).append(uid)
    gone = 0
    for mailbox_id, uids in due.items():
        owner = tx.one("SELECT account_id FROM mailboxes WHERE id = ?", (mailbox_id,))
        if owner is not None:
            gone += len(take_away(tx, owner[0], mailbox_id, uids))
        # Of a mailbox that is being removed nothing is expunged: it must not be found again and again.
        tx.run(
            "DELETE FROM retrieved WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?))",
            (mailbox_id, json.dumps(uids)),
        )
    return gone
