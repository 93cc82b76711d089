"""Emails with all their places, threads, and the listing of an account that counts and searches work on."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from mailftp.store import flags as flag_sets
from mailftp.store.email_listing import EmailListing, EmailPlaces, combined, hidden
from mailftp.store.emails import (
    CountedMailboxes,
    CountMailboxes,
    Email,
    EmailsById,
    FoundEmails,
    FoundThreads,
    ListEmails,
    Place,
    ThreadsById,
)
from mailftp.store.engine import SMALL_BODY
from mailftp.store.mailbox_tree import counted
from mailftp.store.records import BodyRef
from mailftp.store.sqlite.changing import touched_emails
from mailftp.store.sqlite.listing import PIECE, numbers, times
from mailftp.store.sqlite.mailboxes import MAILBOX_COLUMNS, mailbox_of
from mailftp.store.sqlite.reading import View, modseq_of

#: Of what changed since a listing was made, how much is put in its place one by one.
FEW = 5_000

#: A place as JMAP sees it, of mailbox_messages AS p.
VISIBLE = "NOT instr(' ' || p.flags || ' ', ' \\Deleted ')"


def emails_by_id(view: View, query: EmailsById) -> FoundEmails:
    rows = view.all(
        "SELECT e.id, e.thread_id, e.body_id, e.body_size, e.prefix, e.received, p.mailbox_id, p.uid,"
        " p.modseq,"
        " p.flags, p.saved FROM json_each(?) CROSS JOIN emails AS e ON e.id = value CROSS JOIN"
        " mailbox_messages AS p INDEXED BY mailbox_messages_by_email ON p.email_id = e.id CROSS JOIN"
        " mailboxes AS m"
        f" ON m.id = p.mailbox_id WHERE e.account_id = ? AND {VISIBLE} ORDER BY e.id, p.mailbox_id, p.uid",
        (json.dumps(sorted(set(query.email_ids))), query.account_id),
    )
    found = {}
    for fields, places in groupby(rows, itemgetter(0, 1, 2, 3, 4, 5)):
        email_id, thread_id, body_id, size, prefix, received = fields
        found[email_id] = Email(
            email_id,
            thread_id,
            BodyRef(body_id, size, size > SMALL_BODY),
            prefix,
            received,
            tuple(
                Place(mailbox_id, uid, modseq, flag_sets.from_text(flags), saved)
                for *_, mailbox_id, uid, modseq, flags, saved in places
            ),
        )
    asked = dict.fromkeys(query.email_ids)
    return FoundEmails(
        modseq_of(view, query.account_id), tuple(found[each] for each in asked if each in found)
    )


def threads_by_id(view: View, query: ThreadsById) -> FoundThreads:
    rows = view.all(
        "SELECT e.thread_id, e.id FROM json_each(?) CROSS JOIN emails AS e ON e.thread_id = value"
        " WHERE e.account_id = ? AND EXISTS (SELECT 1 FROM mailbox_messages AS p CROSS JOIN mailboxes AS m"
        f" ON m.id = p.mailbox_id WHERE p.email_id = e.id AND {VISIBLE})"
        " ORDER BY e.thread_id, e.received, e.id",
        (json.dumps(sorted(set(query.thread_ids))), query.account_id),
    )
    threads = {
        thread_id: tuple(email_id for _, email_id in emails)
        for thread_id, emails in groupby(rows, itemgetter(0))
    }
    return FoundThreads(modseq_of(view, query.account_id), threads)


def list_emails(view: View, query: ListEmails) -> EmailListing:
    modseq = modseq_of(view, query.account_id)
    known = view.emails.get(query.account_id)
    if known is not None and known.modseq == modseq:
        return known
    listing = None
    if known is not None and known.modseq < modseq:
        listing = _newer(view, query.account_id, known, modseq)
    if listing is None:
        listing = EmailListing.of(modseq, _merged(_rows(view, query.account_id)))
    view.emails.keep(query.account_id, listing)
    return listing


def _newer(view: View, account_id: int, known: EmailListing, modseq: int) -> EmailListing | None:
    """None where it is as well made from the beginning."""
    touched = touched_emails(view, account_id, known.modseq, FEW)
    if touched is None:
        return None
    rows = list(_merged(_rows(view, account_id, touched)))
    return known.changed(modseq, rows, touched.difference(row.email_id for row in rows))


_Row = tuple[int, int, int, int, int, float, str]


def _rows(view: View, account_id: int, among: Collection[int] | None = None) -> list[_Row]:
    """Email id, mailbox id, thread id, modseq, octets, received and flags of all places, or of those of some
    Emails; by email id and mailbox id."""
    rows: list[_Row] = []
    if among is not None:
        return view.all(
            "SELECT p.email_id, p.mailbox_id, e.thread_id, p.modseq, p.size, e.received, p.flags"
            " FROM json_each(?) CROSS JOIN mailbox_messages AS p INDEXED BY mailbox_messages_by_email"
            " ON p.email_id = value CROSS JOIN mailboxes AS m ON m.id = p.mailbox_id"
            " CROSS JOIN emails AS e ON e.id = p.email_id WHERE m.account_id = ?"
            " ORDER BY p.email_id, p.mailbox_id",
            (json.dumps(sorted(among)), account_id),
        )
    for (mailbox_id,) in view.all("SELECT id FROM mailboxes WHERE account_id = ?", (account_id,)):
        uid = 0
        while (row := view.one(_PLACES, (mailbox_id, uid, PIECE))) is not None and row[0] is not None:
            columns = (
                numbers("Q", row[1]),
                [mailbox_id] * len(numbers("I", row[0])),
                numbers("Q", row[2]),
                numbers("Q", row[3]),
                numbers("Q", row[4]),
                times(row[5]),
                row[6].split("\n"),
            )
            rows += zip(*columns, strict=True)
            uid = numbers("I", row[0])[-1]
    rows.sort(key=itemgetter(0, 1))
    return rows


# As in listing.py: a text for each column.
_PLACES = (
    "SELECT group_concat(uid), group_concat(email_id), group_concat(thread_id), group_concat(modseq),"
    " group_concat(size), group_concat(CASE WHEN received = CAST(received AS INTEGER)"
    " THEN CAST(received AS INTEGER) ELSE printf('%!.17g', received) END), group_concat(flags, char(10)) FROM"
    " (SELECT p.uid, p.email_id, e.thread_id, p.modseq, p.size, e.received, p.flags FROM mailbox_messages AS"
    " p"
    " NOT INDEXED CROSS JOIN emails AS e ON e.id = p.email_id WHERE mailbox_id = ? AND uid > ?"
    " ORDER BY uid LIMIT ?)"
)


def _merged(rows: Iterable[_Row]) -> Iterator[EmailPlaces]:
    """A row for each Email that JMAP sees. `rows` by email id."""
    for email_id, places in groupby(rows, itemgetter(0)):
        there = [place for place in places if not hidden(flag_sets.from_text(place[6]))]
        if there:
            _, _, thread_id, _, size, received, _ = there[0]
            yield EmailPlaces(
                email_id,
                thread_id,
                max(place[3] for place in there),
                size,
                received,
                combined(flag_sets.from_text(place[6]) for place in there),
                tuple(sorted({place[1] for place in there})),
            )


def count_mailboxes(view: View, query: CountMailboxes) -> CountedMailboxes:
    rows = view.all(
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS m WHERE account_id = ? ORDER BY name",
        (query.account_id,),
    )
    return counted(list_emails(view, ListEmails(query.account_id)), tuple(map(mailbox_of, rows)))
