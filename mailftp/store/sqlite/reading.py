"""Reading: a function for each query, on a reader's connection.

store.py puts a transaction around each, so that several statements see one state, and ends it before
the answer goes out.
"""

from __future__ import annotations

import json
import mmap
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailftp.message.index import MessageIndex
from mailftp.store import flags as flag_sets
from mailftp.store.engine import SMALL_BODY, MissingBody, NoSuchAccount
from mailftp.store.names import mailbox_name
from mailftp.store.queries import (
    Accounts,
    Bodies,
    Indexes,
    Mailboxes,
    MailboxSince,
    MailUsage,
    NextDue,
    OpenBody,
    QueueAttempts,
    QueueDepth,
    QueueList,
    ReadStart,
    Subscriptions,
)
from mailftp.store.records import (
    Account,
    Attempt,
    BodyRef,
    Mailbox,
    MailboxChanges,
    Message,
    QueueFigures,
    QueueMessage,
    QueueRecipient,
)
from mailftp.store.sqlite.accounts import ACCOUNT_COLUMNS, account_of
from mailftp.store.sqlite.blobs import Blobs
from mailftp.store.sqlite.counts import Counts, EmailListings
from mailftp.store.sqlite.index_folder import IndexFolder
from mailftp.store.sqlite.mailboxes import MAILBOX_COLUMNS, mailbox_of
from mailftp.store.sqlite.queue import RECIPIENT_COLUMNS, messages_of, recipient_of
from mailftp.store.sqlite.transaction import Row


@dataclass(slots=True)
class View:
    """What a query's function reads from."""

    connection: sqlite3.Connection
    blobs: Blobs
    now: Callable[[], float]
    index: Callable[[bytes | memoryview], MessageIndex]
    #: Told of an index that was made again, to be stored.
    remade: Callable[[int, bytes], None]
    counts: Counts
    texts: IndexFolder
    #: Told of a full-text index that could not be used: whose, and why.
    damaged: Callable[[int, str], None]
    emails: EmailListings

    def all(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        return self.connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: tuple[object, ...] = ()) -> Row | None:
        rows = self.all(sql, values)
        return rows[0] if rows else None


def accounts(view: View, query: Accounts) -> tuple[Account, ...]:
    return tuple(map(account_of, view.all(f"SELECT {ACCOUNT_COLUMNS} FROM accounts ORDER BY address")))


def mailboxes(view: View, query: Mailboxes) -> tuple[Mailbox, ...]:
    rows = view.all(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? ORDER BY name",
        (query.account_id,),
    )
    return tuple(map(mailbox_of, rows))


def subscriptions(view: View, query: Subscriptions) -> tuple[str, ...]:
    rows = view.all("SELECT name FROM subscriptions WHERE account_id = ? ORDER BY name", (query.account_id,))
    return tuple(name for (name,) in rows)


def mailbox_since(view: View, query: MailboxSince) -> MailboxChanges | None:
    row = view.one(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? AND name = ?",
        (query.account_id, mailbox_name(query.name)),
    )
    if row is None:
        return None
    mailbox = mailbox_of(row)
    # The whole mailbox lies in UID order; what is new of it is found by modseq.
    order = "INDEXED BY mailbox_messages_by_modseq" if query.modseq else "NOT INDEXED"
    rows = view.all(
        "SELECT mm.uid, mm.modseq, mm.flags, e.id, e.thread_id, e.body_id, e.body_size, e.prefix, e.received,"
        " mm.saved"
        f" FROM mailbox_messages AS mm {order} CROSS JOIN emails AS e ON e.id = mm.email_id"
        " WHERE mm.mailbox_id = ? AND mm.modseq > ? ORDER BY mm.uid",
        (mailbox.id, query.modseq),
    )
    messages = tuple(
        Message(
            mailbox.id,
            uid,
            modseq,
            email_id,
            thread_id,
            BodyRef(body_id, size, size > SMALL_BODY),
            prefix,
            received,
            flag_sets.from_text(flags),
            saved,
        )
        for uid, modseq, flags, email_id, thread_id, body_id, size, prefix, received, saved in rows
    )
    gone: list[Row] = []
    if query.modseq:
        gone = view.all(
            "SELECT uid FROM tombstones WHERE mailbox_id = ? AND modseq > ? ORDER BY uid",
            (mailbox.id, query.modseq),
        )
    return MailboxChanges(mailbox, messages, tuple(uid for (uid,) in gone))


def bodies(view: View, query: Bodies) -> tuple[bytes, ...]:
    found = {}
    for body_id in {ref.id for ref in query.refs}:
        row = view.one("SELECT data FROM bodies WHERE id = ?", (body_id,))
        if row is None:
            raise MissingBody(f"there is no body {body_id}")
        if row[0] is None:
            raise MissingBody("a large body is read from its file")
        found[body_id] = row[0]
    return tuple(found[ref.id] for ref in query.refs)


def open_body(view: View, query: OpenBody) -> int:
    row = view.one("SELECT sha256, data IS NULL FROM bodies WHERE id = ?", (query.ref.id,))
    if row is None:
        raise MissingBody(f"there is no body {query.ref.id}")
    if not row[1]:
        raise MissingBody("a small body has no file")
    return view.blobs.open(row[0])


def read_start(view: View, query: ReadStart) -> bytes:
    row = view.one("SELECT sha256, substr(data, 1, ?) FROM bodies WHERE id = ?", (query.most, query.ref.id))
    if row is None:
        raise MissingBody(f"there is no body {query.ref.id}")
    sha256, data = row
    if data is not None:
        return bytes(data)
    with open(view.blobs.open(sha256), "rb", buffering=0) as file:
        return os.pread(file.fileno(), query.most, 0)


def indexes(view: View, query: Indexes) -> tuple[MessageIndex, ...]:
    found: dict[int, MessageIndex] = {}
    ids = {ref.id for ref in query.refs}
    for body_id, stored in _stored_indexes(view, ids):
        index = MessageIndex.decode(stored)
        found[body_id] = remake(view, body_id) if index is None else index
    if len(found) < len(ids):
        raise MissingBody(f"there is no body {min(ids - found.keys())}")
    return tuple(found[ref.id] for ref in query.refs)


def _stored_indexes(view: View, ids: Iterable[int]) -> list[Row]:
    return view.all(
        "SELECT body_id, stored FROM json_each(?) CROSS JOIN body_indexes ON body_id = value",
        (json.dumps(sorted(ids)),),
    )


def remake(view: View, body_id: int) -> MessageIndex:
    row = view.one("SELECT sha256, data FROM bodies WHERE id = ?", (body_id,))
    assert row is not None  # A foreign key says so.
    sha256, data = row
    if data is not None:
        index = view.index(data)
    else:
        descriptor = view.blobs.open(sha256)
        try:
            index = index_file(descriptor, view.index)
        finally:
            os.close(descriptor)
    view.remade(body_id, index.encode())
    return index


def index_file(descriptor: int, index: Callable[[bytes | memoryview], MessageIndex]) -> MessageIndex:
    """Of a large body, without having it in memory."""
    with (
        mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        return index(data)


def mail_usage(view: View, query: MailUsage) -> tuple[int, int]:
    row = view.one("SELECT octets, messages FROM accounts WHERE id = ?", (query.account_id,))
    return (row[0], row[1]) if row else (0, 0)


def modseq_of(view: View, account_id: int) -> int:
    """Raises NoSuchAccount."""
    row = view.one("SELECT modseq FROM accounts WHERE id = ?", (account_id,))
    if row is None:
        raise NoSuchAccount(f"there is no account {account_id}")
    return int(row[0])


def state_of(view: View, account_id: int) -> tuple[int, int]:
    """The account's modseq, and the last id that an email was given."""
    row = view.one(
        "SELECT modseq, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'emails')"
        " FROM accounts WHERE id = ?",
        (account_id,),
    )
    return (row[0], row[1]) if row is not None else (0, 0)


def queue_list(view: View, query: QueueList) -> tuple[QueueMessage, ...]:
    wanted = query.filter
    states = sorted(state.value for state in wanted.states)
    # Each pair is "any, or this one". With state first the optimizer starts from the partial indexes
    # where it can; a listing is for people and may take its time on a reader's thread.
    rows = view.all(
        "SELECT id FROM queue_messages AS q WHERE (?1 = '[]' OR id IN (SELECT value FROM json_each(?1)))"
        " AND (?2 = '' OR reverse_path = ?3) AND EXISTS (SELECT 1 FROM queue_recipients AS r"
        " WHERE r.message_id = q.id AND r.state IN (SELECT value FROM json_each(?4))"
        " AND (?5 = '' OR r.address = ?5) AND (?6 = '' OR r.domain = ?6)"
        " AND (?7 = '' OR instr(lower(r.last_error), lower(?7)))) AND (?8 IS NULL OR accepted <= ?8)"
        " AND (?9 = '' OR message_id = ?9)"
        " AND (?10 = '' OR lower(reverse_path) = ?10 OR lower(return_to) = ?10 OR EXISTS"
        " (SELECT 1 FROM queue_recipients AS r WHERE r.message_id = q.id AND lower(r.address) = ?10))"
        f" ORDER BY id {'DESC' if query.newest else ''} LIMIT ?11",
        (
            json.dumps(wanted.ids),
            wanted.sender,
            wanted.sender.replace("<>", ""),
            json.dumps(states),
            wanted.recipient,
            wanted.domain.lower(),
            wanted.error,
            wanted.accepted_by,
            wanted.message_id,
            wanted.party.lower(),
            query.limit,
        ),
    )
    recipients: dict[int, list[QueueRecipient]] = {message_id: [] for (message_id,) in rows}
    for message_id, *row in view.all(
        f"SELECT message_id, {RECIPIENT_COLUMNS} FROM queue_recipients"
        " WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps(list(recipients)),),
    ):
        recipients[message_id].append(recipient_of(tuple(row)))
    return messages_of(view.all, recipients)


def queue_attempts(view: View, query: QueueAttempts) -> tuple[Attempt, ...]:
    rows = view.all(
        "SELECT a.recipient_id, a.number, a.started, a.ended, a.remote, a.outcome, a.dialogue"
        " FROM queue_recipients AS r JOIN attempts AS a ON a.recipient_id = r.id"
        " WHERE r.message_id = ? ORDER BY a.recipient_id, a.number",
        (query.message_id,),
    )
    return tuple(Attempt(*row) for row in rows)


def next_due(view: View, query: NextDue) -> float | None:
    row = view.one("SELECT min(due) FROM queue_recipients WHERE state = 'waiting'")
    assert row is not None
    return None if row[0] is None else max(0.0, row[0] - view.now())


def queue_depth(view: View, query: QueueDepth) -> QueueFigures:
    # The first two by indexes that hold all that is asked.
    row = view.one(
        "SELECT (SELECT count(*) FROM queue_recipients WHERE state = 'waiting'),"
        " (SELECT count(*) FROM queue_recipients WHERE lease_owner <> ''),"
        " (SELECT count(*) FROM queue_recipients WHERE state = 'held'),"
        " (SELECT min(accepted) FROM queue_messages WHERE finished IS NULL)"
    )
    assert row is not None
    return QueueFigures(*row)
