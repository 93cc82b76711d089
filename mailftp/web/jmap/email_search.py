"""Which Emails pass a filter, over the columns of an account's listing; texts by the store's searches."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from mailftp.store.criteria import Criterion
from mailftp.store.email_listing import EmailListing
from mailftp.store.emails import EmailsById
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.queries import ListMailbox, ListPlaces
from mailftp.store.records import MailboxListing
from mailftp.store.searching import Search
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_filters import (
    HasAttachment,
    HasKeyword,
    Holds,
    InMailbox,
    InOtherThan,
    Received,
    Sized,
    ThreadHas,
)
from mailftp.web.jmap.emails import has_attachment
from mailftp.web.jmap.keywords import keyword_of
from mailftp.web.jmap.octets import each_read
from mailftp.web.jmap.querying import Operator

#: Emails that are read at a time, to see whether they have attachments.
_PIECE = 500
#: Bodies of which that is remembered.
_REMEMBERED = 200_000


class Attachments:
    """What is known of bodies: whether they have attachments."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}

    async def among(self, context: Context, email_ids: Iterable[int]) -> set[int]:
        """Those that have some."""
        found: set[int] = set()
        asked = list(email_ids)
        for start in range(0, len(asked), _PIECE):
            piece = tuple(asked[start : start + _PIECE])
            emails = (await context.store.read(EmailsById(context.account.id, piece))).emails
            unknown = [each for each in emails if each.body.id not in self._known]
            async for email, has in each_read(context.store, unknown, context.ground.run, has_attachment):
                self._known[email.body.id] = has
            found.update(each.id for each in emails if self._known.get(each.body.id))
            while len(self._known) > _REMEMBERED:
                del self._known[next(iter(self._known))]
        return found


class Sieve:
    """One evaluation over a listing. A row of bits, a byte for each Email, is one large number."""

    def __init__(self, context: Context, listing: EmailListing, attachments: Attachments) -> None:
        self._context, self._listing, self._attachments = context, listing, attachments
        self._full = _number(b"\1" * len(listing.uids))
        self._columns: dict[int, MailboxListing | None] = {}

    async def passing(self, condition: Any) -> bytes:
        """A byte for each Email of the listing, 1 for those that pass."""
        bits = self._full if condition is None else await self._bits(condition, self._full)
        return bits.to_bytes(len(self._listing.uids), "little")

    async def _bits(self, condition: Any, among: int) -> int:
        """Of those in `among`; what is cheap is asked first, so that little is read."""
        if not isinstance(condition, Operator):
            return await self._test(condition, among)
        if condition.operator == "NOT":
            some = 0
            for each in condition.conditions:
                some |= await self._bits(each, among)
            return among & ~some
        ordered = sorted(condition.conditions, key=_cost)
        if condition.operator == "AND":
            for each in ordered:
                if not among:
                    break
                among = await self._bits(each, among)
            return among
        found = 0
        for each in ordered:
            found |= await self._bits(each, among & ~found)
        return found

    async def _test(self, test: Any, among: int) -> int:
        if isinstance(test, Holds):
            return await self._holds(test.criterion, among)
        if isinstance(test, HasAttachment):
            return self._of_ids(await self._attachments.among(self._context, self._ids(among)))
        return _number(_row(test, self._listing)) & among

    def _ids(self, bits: int) -> array[int]:
        return array("Q", compress(self._listing.uids, bits.to_bytes(len(self._listing.uids), "little")))

    def _of_ids(self, email_ids: Iterable[int]) -> int:
        uids = self._listing.uids
        row = bytearray(len(uids))
        for each in email_ids:
            at = bisect_left(uids, each)
            if at < len(row) and uids[at] == each:
                row[at] = 1
        return _number(row)

    async def _holds(self, criterion: Criterion, among: int) -> int:
        """By the searches of each mailbox that has one of them."""
        row = among.to_bytes(len(self._listing.uids), "little")
        sets = self._listing.mailbox_sets
        numbers = set(compress(self._listing.mailbox_numbers, row))
        mailboxes = sorted({sets[number][0] for number in numbers if sets[number]})
        found: set[int] = set()
        for mailbox_id in mailboxes:
            found.update(await self._holding(criterion, mailbox_id))
        return self._of_ids(found) & among

    async def _holding(self, criterion: Criterion, mailbox_id: int) -> Sequence[int]:
        store, account_id = self._context.store, self._context.account.id
        if mailbox_id not in self._columns:
            self._columns[mailbox_id] = await store.read(ListMailbox(account_id, mailbox_id))
        columns = self._columns[mailbox_id]
        if columns is None or not columns.uids:
            return ()
        try:
            uids = await Search(criterion, columns).run(store, account_id, mailbox_id)
        except NoSuchMailbox:
            return ()
        if not uids:
            return ()
        places = await store.read(ListPlaces(account_id, mailbox_id, range(uids[0], uids[-1] + 1)))
        if places is None:
            return ()
        matching = set(uids)
        return [email for uid, email in zip(places.uids, places.email_ids, strict=True) if uid in matching]


def _cost(condition: Any) -> int:
    if isinstance(condition, Operator):
        return max(map(_cost, condition.conditions), default=0)
    return 3 if isinstance(condition, HasAttachment) else 2 if isinstance(condition, Holds) else 0


def _number(row: bytes | bytearray) -> int:
    return int.from_bytes(row, "little")


def _row(test: Any, listing: EmailListing) -> bytes:
    """A test of columns: a byte for each Email."""
    if isinstance(test, InMailbox):
        wanted = test.mailbox_id
        return _chosen([wanted in each for each in listing.mailbox_sets], listing.mailbox_numbers)
    if isinstance(test, InOtherThan):
        others = [not test.mailbox_ids.issuperset(each) for each in listing.mailbox_sets]
        return _chosen(others, listing.mailbox_numbers)
    if isinstance(test, HasKeyword):
        return _chosen(flag_sets_with(listing, test.keyword), listing.flag_numbers)
    if isinstance(test, ThreadHas):
        threads = threads_with(listing, test.keyword, test.all)
        return bytes(thread in threads for thread in listing.thread_ids)
    if isinstance(test, Sized):
        least, below = test.least or 0, test.below
        if below is None:
            return bytes(size >= least for size in listing.sizes)
        return bytes(least <= size < below for size in listing.sizes)
    if isinstance(test, Received):
        if test.before is not None:
            before = test.before
            return bytes(when < before for when in listing.received)
        after = test.after or 0.0
        return bytes(when >= after for when in listing.received)
    raise TypeError(f"{type(test).__name__} is no test of columns")


def _chosen(chosen: Sequence[bool], numbers: Iterable[int]) -> bytes:
    return bytes(map(chosen.__getitem__, numbers))


def flag_sets_with(listing: EmailListing, keyword: str) -> list[bool]:
    return [any(keyword_of(flag) == keyword for flag in flags) for flags in listing.flag_sets]


def threads_with(listing: EmailListing, keyword: str, every: bool) -> set[int]:
    """Threads of which one Email has a keyword, or each has it."""
    has = flag_sets_with(listing, keyword)
    row = _chosen(has, listing.flag_numbers)
    some = set(compress(listing.thread_ids, row))
    if not every:
        return some
    lacking = _chosen([not each for each in has], listing.flag_numbers)
    return some - set(compress(listing.thread_ids, lacking))
