"""Email/query and Email/queryChanges: RFC 8621 sections 4.4 and 4.5.

All of an account's Emails are columns of numbers in memory (mailftp.store.email_listing), shared by all who
ask until something changes; a result is an array of ids. The last results are remembered: a client that
scrolls through a hundred thousand messages asks for the same result a piece at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from mailftp.message.casemap import casemap
from mailftp.message.envelope_reading import read_envelope
from mailftp.message.index import MessageIndex
from mailftp.store.email_listing import EmailListing
from mailftp.store.emails import Email, EmailsById, EmailsSince, ListEmails, ThreadsSince
from mailftp.store.engine import MissingBody
from mailftp.store.queries import Indexes
from mailftp.web.jmap import email_filters
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import cannot_calculate
from mailftp.web.jmap.email_filters import MUTABLE, SORTED_BY_KEYWORD, ThreadHas
from mailftp.web.jmap.email_search import Attachments, Sieve, flag_sets_with, threads_with
from mailftp.web.jmap.emails import EmailType
from mailftp.web.jmap.ids import EMAIL, number_of, spell
from mailftp.web.jmap.querying import Comparator, Found, Operator, Queryable, Sought, Touched
from mailftp.web.jmap.states import modseq_in

#: Ids of all results that are remembered, 8 octets each.
_REMEMBERED = 1_000_000
#: Emails that are read at a time for what they are sorted by.
_PIECE = 500

_NEWEST_FIRST = (Comparator("receivedAt", ascending=False),)


class _Results:
    """Least lately used out first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, array[int]] = OrderedDict()
        self._ids = 0

    def find(self, key: Any) -> array[int] | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Any, ids: array[int]) -> None:
        if key in self._kept:
            return
        self._kept[key] = ids
        self._ids += len(ids) + 100
        while self._ids > _REMEMBERED and self._kept:
            _, gone = self._kept.popitem(last=False)
            self._ids -= len(gone) + 100


class EmailQueries(EmailType, Queryable):
    """Email, with its queries."""

    def __init__(self) -> None:
        super().__init__()
        self._results = _Results()
        self._attachments = Attachments()

    def read_query_arguments(self, arguments: Arguments) -> bool:
        """collapseThreads."""
        return arguments.boolean("collapseThreads", False)

    def read_condition(self, context: Context, condition: Arguments) -> Operator:
        return email_filters.read_condition(condition)

    def read_comparator(self, name: str, comparator: Arguments) -> str | None:
        return email_filters.read_comparator(name, comparator)

    async def query(self, context: Context, sought: Sought) -> Found:
        listing = await context.store.read(ListEmails(context.account.id))
        key = (context.account.id, listing.modseq, sought)
        ids = self._results.find(key)
        if ids is None:
            row = await Sieve(context, listing, self._attachments).passing(sought.filter)
            places = await self._sorted(context, listing, row, sought.sort or _NEWEST_FIRST)
            if sought.extra:
                places = _collapsed(listing, places)
            ids = array("Q", map(listing.uids.__getitem__, places))
            self._results.keep(key, ids)
        return Found(str(listing.modseq), ids, _spell, _number)

    async def _sorted(
        self, context: Context, listing: EmailListing, row: bytes, sort: Sequence[Comparator]
    ) -> Sequence[int]:
        """Places in the listing. Equals are in the order of `by_received`, so that it is always the same."""
        if sort[0].property == "receivedAt" and not sort[0].ascending:
            order: Sequence[int] = listing.by_received
            return array("I", compress(order, map(row.__getitem__, order)))
        places = list(compress(listing.by_received, map(row.__getitem__, listing.by_received)))
        # From the least telling key: each sort keeps what the one before made of equals.
        for comparator in reversed(sort):
            values = await self._values(context, listing, places, comparator)
            places.sort(key=values.__getitem__, reverse=not comparator.ascending)
        return places

    async def _values(
        self, context: Context, listing: EmailListing, places: Sequence[int], comparator: Comparator
    ) -> Any:
        """Of each place what it is sorted by."""
        name = comparator.property
        if name == "receivedAt":
            return listing.received
        if name == "size":
            return listing.sizes
        if name == "hasKeyword":
            has = flag_sets_with(listing, comparator.extra)
            return [has[number] for number in listing.flag_numbers]
        if name in SORTED_BY_KEYWORD:
            every = name == "allInThreadHaveKeyword"
            threads = threads_with(listing, comparator.extra, every)
            return [thread in threads for thread in listing.thread_ids]
        return await self._read_values(context, listing, places, name)

    async def _read_values(
        self, context: Context, listing: EmailListing, places: Sequence[int], name: str
    ) -> dict[int, Any]:
        # What is gone by now is among the first; the next /queryChanges says so.
        values: dict[int, Any] = dict.fromkeys(places, 0.0 if name == "sentAt" else b"")
        for start in range(0, len(places), _PIECE):
            by_id = {listing.uids[place]: place for place in places[start : start + _PIECE]}
            emails = (await context.store.read(EmailsById(context.account.id, tuple(by_id)))).emails
            for email, found in await _keys(context, emails, name):
                values[by_id[email.id]] = found
        return values

    # Email/queryChanges.

    def immutable(self, sought: Sought) -> bool:
        changing = any(comparator.property in SORTED_BY_KEYWORD for comparator in sought.sort)
        return not (changing or sought.extra or _uses(sought.filter, MUTABLE))

    async def touched(self, context: Context, sought: Sought, since: str) -> Touched:
        account_id, modseq = context.account.id, modseq_in(since)
        changed = await context.store.read(EmailsSince(account_id, modseq))
        if changed is None:
            raise cannot_calculate()
        created = set(changed.created.ids)
        touched = created | set(changed.updated.ids) | set(changed.destroyed.ids)
        by_thread = any(each.property in SORTED_BY_KEYWORD[1:] for each in sought.sort)
        if sought.extra or by_thread or _uses(sought.filter, (ThreadHas,)):
            # Another Email of the thread may stand for it now, or pass.
            threads = await context.store.read(ThreadsSince(account_id, modseq))
            if threads is None:
                raise cannot_calculate()
            listing = await context.store.read(ListEmails(account_id))
            around = {*threads.created.ids, *threads.updated.ids, *_threads_of(listing, touched)}
            touched.update(
                email
                for email, thread in zip(listing.uids, listing.thread_ids, strict=True)
                if thread in around
            )
        return Touched(touched, created)


def _threads_of(listing: EmailListing, email_ids: Iterable[int]) -> Iterable[int]:
    for each in email_ids:
        at = bisect_left(listing.uids, each)
        if at < len(listing.uids) and listing.uids[at] == each:
            yield listing.thread_ids[at]


def _collapsed(listing: EmailListing, places: Iterable[int]) -> array[int]:
    """Section 4.4.3: of each thread the first."""
    seen: set[int] = set()
    threads = listing.thread_ids
    made = array("I")
    for place in places:
        thread = threads[place]
        if thread not in seen:
            seen.add(thread)
            made.append(place)
    return made


def _uses(condition: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(condition, Operator):
        return any(_uses(each, kinds) for each in condition.conditions)
    return isinstance(condition, kinds)


async def _keys(context: Context, emails: Sequence[Email], name: str) -> Sequence[tuple[Email, Any]]:
    """What each is sorted by, out of its stored index alone."""
    try:
        indexes = await context.store.read(Indexes(tuple(email.body for email in emails)))
    except MissingBody:
        # One of them went since.
        apart = [await _keys(context, [email], name) for email in emails] if len(emails) > 1 else []
        return [pair for pairs in apart for pair in pairs]
    found = await context.ground.run(
        lambda: [_sort_value(*pair, name) for pair in zip(emails, indexes, strict=True)]
    )
    return list(zip(emails, found, strict=True))


def _sort_value(email: Email, index: MessageIndex, name: str) -> Any:
    """Section 4.4.2."""
    if name == "sentAt":
        return email.received if index.sent is None else index.sent
    if name == "subject":
        return casemap(index.base_subject)
    envelope = read_envelope(index.envelope)
    # The name of the first, or its address.
    return envelope.sender.shown() if name == "from" else envelope.to.shown()


def _spell(number: int) -> str:
    return spell(EMAIL, number)


def _number(text: str) -> int | None:
    return number_of(EMAIL, text)
