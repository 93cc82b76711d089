"""A mailbox's columns: listings, identifiers, counts.

Each column is one text that SQLite puts together and json takes apart: 100,000 numbers in 6 ms and 5 ms. With
a row for each message Python's lock would be let go, and won back from the reactor's thread, as many times.
"""

from __future__ import annotations

import json
from array import array

from mailftp.store import flags as flag_sets
from mailftp.store.names import mailbox_name
from mailftp.store.queries import ListMailbox, ListPlaces, ListStatus
from mailftp.store.records import Mailbox, MailboxListing, MailboxStatus, Places
from mailftp.store.sqlite.counts import MailboxCounts
from mailftp.store.sqlite.mailboxes import MAILBOX_COLUMNS, mailbox_of
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Row

#: Rows that go into one text: what a mailbox of millions takes in memory at one time.
PIECE = 100_000


def numbers(kind: str, text: str | None) -> array[int]:
    return array(kind, json.loads(f"[{text}]")) if text else array(kind)


def times(text: str | None) -> array[float]:
    return array("d", json.loads(f"[{text}]")) if text else array("d")


def find_mailbox(view: View, account_id: int, mailbox: str | int) -> Mailbox | None:
    """By name or id; another account's is none."""
    column = "id" if isinstance(mailbox, int) else "name"
    row = view.one(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? AND {column} = ?",
        (account_id, mailbox_name(mailbox) if isinstance(mailbox, str) else mailbox),
    )
    return None if row is None else mailbox_of(row)


def list_mailbox(view: View, query: ListMailbox) -> MailboxListing | None:
    mailbox = find_mailbox(view, query.account_id, query.mailbox)
    if mailbox is None:
        return None
    columns = _Columns()
    vanished: array[int] = array("I")
    if not query.modseq:
        after = 0
        # Pieces by UID, which are not above each other: nothing is written while this transaction is open.
        while columns.take(view.one(_LISTING + _WHOLE, (mailbox.id, after, PIECE))):
            after = columns.uids[-1]
    elif query.modseq < mailbox.modseq:
        columns.take(view.one(_LISTING + _NEWER, (mailbox.id, query.modseq)))
        gone = view.one(
            "SELECT group_concat(uid) FROM (SELECT uid FROM tombstones WHERE mailbox_id = ? AND modseq > ?"
            " ORDER BY uid)",
            (mailbox.id, query.modseq),
        )
        assert gone is not None
        vanished = numbers("I", gone[0])
    horizon = view.one("SELECT horizon FROM mailboxes WHERE id = ?", (mailbox.id,))
    assert horizon is not None
    return MailboxListing(
        mailbox,
        columns.uids,
        columns.modseqs,
        columns.sizes,
        columns.received,
        columns.flag_numbers,
        tuple(columns.sets),
        vanished,
        not query.modseq or query.modseq >= horizon[0],
    )


# As whole numbers where they are whole, which all that arrive by mail are: a fraction costs ten times as much
# to print and read.
_LISTING = (
    "SELECT group_concat(uid), group_concat(modseq), group_concat(size),"
    " group_concat(CASE WHEN received = CAST(received AS INTEGER) THEN CAST(received AS INTEGER)"
    " ELSE printf('%!.17g', received) END), group_concat(flags, char(10)) FROM (SELECT mm.uid, mm.modseq,"
    " mm.size, e.received, mm.flags FROM mailbox_messages AS mm "
)
_WHOLE = (
    "NOT INDEXED CROSS JOIN emails AS e ON e.id = mm.email_id"
    " WHERE mailbox_id = ? AND uid > ? ORDER BY uid LIMIT ?)"
)
_NEWER = (
    "INDEXED BY mailbox_messages_by_modseq CROSS JOIN emails AS e ON e.id = mm.email_id"
    " WHERE mailbox_id = ? AND modseq > ? ORDER BY uid)"
)


class _Columns:
    def __init__(self) -> None:
        self.uids = array("I")
        self.modseqs = array("Q")
        self.sizes = array("Q")
        self.received = array("d")
        self.flag_numbers = array("I")
        #: Flag set -> its number; in order.
        self.sets: dict[frozenset[str], int] = {}
        self._numbers: dict[str, int] = {}

    def take(self, row: Row | None) -> bool:
        """Of _LISTING. Whether there was anything."""
        assert row is not None
        uids, modseqs, sizes, received, flags = row
        if uids is None:
            return False
        self.uids += numbers("I", uids)
        self.modseqs += numbers("Q", modseqs)
        self.sizes += numbers("Q", sizes)
        self.received += times(received)
        texts = flags.split("\n")
        for text in set(texts) - self._numbers.keys():
            self._numbers[text] = self.sets.setdefault(flag_sets.from_text(text), len(self.sets))
        self.flag_numbers += array("I", map(self._numbers.__getitem__, texts))
        return True


def chosen(uids: range | tuple[int, ...]) -> tuple[str, tuple[object, ...]]:
    """mailbox_messages AS mm of these UIDs, in UID order: what follows FROM up to the values of WHERE's
    mailbox_id = ?, and the values that follow it."""
    if isinstance(uids, range):
        return "mm.uid BETWEEN ? AND ?", (uids.start, uids.stop - 1)
    return "mm.uid IN (SELECT value FROM json_each(?))", (json.dumps(uids),)


def list_places(view: View, query: ListPlaces) -> Places | None:
    if not view.one(_OWNED, (query.mailbox_id, query.account_id)):
        return None
    which, values = chosen(query.uids)
    row = view.one(
        "SELECT group_concat(uid), group_concat(email_id), group_concat(thread_id),"
        " group_concat(printf('%!.17g', saved)) FROM (SELECT mm.uid, mm.email_id, e.thread_id, mm.saved"
        " FROM mailbox_messages AS mm NOT INDEXED CROSS JOIN emails AS e ON e.id = mm.email_id"
        f" WHERE mm.mailbox_id = ? AND {which} ORDER BY mm.uid)",
        (query.mailbox_id, *values),
    )
    assert row is not None
    return Places(numbers("I", row[0]), numbers("Q", row[1]), numbers("Q", row[2]), times(row[3]))


_OWNED = "SELECT 1 FROM mailboxes WHERE id = ? AND account_id = ?"


def owned(view: View, account_id: int, mailbox_id: int) -> bool:
    return view.one(_OWNED, (mailbox_id, account_id)) is not None


def list_status(view: View, query: ListStatus) -> tuple[MailboxStatus, ...]:
    names = None if query.names is None else sorted(set(map(mailbox_name, query.names)))
    found = [
        mailbox_of(row)
        for row in view.all(
            f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ?1"
            " AND (?2 IS NULL OR name IN (SELECT value FROM json_each(?2))) ORDER BY name",
            (query.account_id, None if names is None else json.dumps(names)),
        )
    ]
    counted = {mailbox.id: view.counts.get(mailbox) for mailbox in found}
    asked = {mailbox.id: mailbox for mailbox in found if counted[mailbox.id] is None}
    for mailbox_id, *row in view.all(
        "SELECT value, count(uid), count(uid) - coalesce(sum(instr(' ' || flags || ' ', ' \\Seen ') > 0), 0),"
        " coalesce(sum(instr(' ' || flags || ' ', ' \\Deleted ') > 0), 0), coalesce(sum(size), 0),"
        " coalesce(sum(iif(instr(' ' || flags || ' ', ' \\Deleted ') > 0, size, 0)), 0)"
        " FROM json_each(?) LEFT JOIN mailbox_messages NOT INDEXED ON mailbox_id = value GROUP BY value",
        (json.dumps(list(asked)),),
    ):
        counts = MailboxCounts(*row)
        counted[mailbox_id] = counts
        view.counts.keep(asked[mailbox_id], counts)
    return tuple(
        MailboxStatus(mailbox, *known) for mailbox in found if (known := counted[mailbox.id]) is not None
    )
