"""Searches of one mailbox, over any engine: what the columns know is answered at once, identifiers, headers
and texts are read for those messages alone that are still in doubt, a piece at a time.

What is known of a test is two rows of bits, a byte for each message, as one large number: whether it was
answered, and the answer. So And, Or and Not of a hundred thousand messages are one operation of a few
microseconds, and of each message it is known whether it matches for sure, and whether it may.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from mailftp.store.columns import Columns, Copied, answer, within
from mailftp.store.criteria import (
    And,
    ColumnTest,
    Criterion,
    Email,
    HeaderTest,
    Not,
    Or,
    PlaceTest,
    Saved,
    Test,
    TextTest,
)
from mailftp.store.engine import LimitReached
from mailftp.store.queries import ListPlaces, Query, SearchColumns, SearchIndex, SearchMessages

#: Tests of one search, and those that look into texts: each of the latter may read every message.
TESTS_LIMIT = 1_000
TEXTS_LIMIT = 50
#: Octets that the answers take, one for each test and message; a few tests are always allowed.
BITS_LIMIT = 32 << 20
FEW_TESTS = 50
#: Trees are walked by functions that call themselves.
DEPTH_LIMIT = 200

#: Tests times messages that are answered in the reactor's thread: 10 ms; more is done on the store's threads.
AT_ONCE = 200_000
#: What one read of messages takes at most: it holds a thread and a state of the database.
PIECE_MESSAGES = 2_000
PIECE_OCTETS = 8 << 20
#: The same of headers, whose length nobody knows beforehand.
PIECE_HEADERS = 2_000
#: The same of a full-text index, of which a word that is nearly everywhere makes it look into every text.
PIECE_INDEX = 10_000


class Reads(Protocol):
    """A store, as far as this module goes."""

    def read(self, query: Query[Any]) -> Deferred[Any]: ...


class Search:
    """Made on the columns as they are now, and run at once or later: it keeps what it needs of them.

    Raises LimitReached.
    """

    def __init__(self, criterion: Criterion, columns: Columns) -> None:
        tests = check(criterion)
        most = max(FEW_TESTS, BITS_LIMIT // max(1, len(columns.uids)))
        if len(tests) > most:
            raise LimitReached(f"a search of so many messages has at most {most} different keys")
        self._criterion = criterion
        self._columns = Copied.of(columns)
        self._uids = self._columns.uids
        self._full = _number(b"\1" * len(self._uids))
        #: What was answered, and how.
        self._known: dict[Test, tuple[int, int]] = dict.fromkeys(tests, (0, 0))
        self._by_columns = tuple(test for test in tests if isinstance(test, ColumnTest))
        self._others = tuple(test for test in tests if not isinstance(test, ColumnTest))

    def _bounds(self, criterion: Criterion) -> tuple[int, int]:
        """Those that match for sure, and those that may."""
        if isinstance(criterion, Not):
            sure, may = self._bounds(criterion.criterion)
            return self._full ^ may, self._full ^ sure
        if isinstance(criterion, And | Or):
            both = [self._bounds(each) for each in criterion.criteria]
            if isinstance(criterion, And):
                sure = may = self._full
                for one, other in both:
                    sure, may = sure & one, may & other
            else:
                sure = may = 0
                for one, other in both:
                    sure, may = sure | one, may | other
            return sure, may
        known, answer = self._known[criterion]
        return answer & known, answer | (self._full ^ known)

    def doubtful(self) -> array[int]:
        """UIDs of messages of which it is not known yet whether they match; ascending."""
        sure, may = self._bounds(self._criterion)
        return self._named(may ^ sure)

    def matches(self) -> array[int]:
        """UIDs of those that match for sure, ascending."""
        return self._named(self._bounds(self._criterion)[0])

    def _named(self, bits: int) -> array[int]:
        if not bits:
            return array("I")
        return array("I", compress(self._uids, bits.to_bytes(len(self._uids), "little")))

    def _bits(self, uids: Iterable[int]) -> int:
        row = bytearray(len(self._uids))
        for uid in uids:
            at = bisect_left(self._uids, uid)
            # What came since is none of ours.
            if at < len(row) and self._uids[at] == uid:
                row[at] = 1
        return _number(row)

    def _learn(self, test: Test, asked: int, answer: int) -> None:
        known, before = self._known[test]
        self._known[test] = known | asked, before | answer

    async def run(
        self,
        store: Reads,
        account_id: int,
        mailbox_id: int,
        progress: Callable[[int, int], None] = lambda done, whole: None,
    ) -> array[int]:
        """The UIDs of what matches, ascending; a message that is gone by now is in it or not.

        `progress` is told how many messages of how many were looked into. Fails with what the store fails
        with, NoSuchMailbox included.
        """
        await self._ask_columns(store)
        places = [test for test in self._others if isinstance(test, PlaceTest)]
        if places and (doubtful := self.doubtful()):
            await self._ask_places(store, account_id, mailbox_id, places, doubtful)
        for kind in (HeaderTest, TextTest):
            tests = tuple(test for test in self._others if isinstance(test, kind))
            if tests and (doubtful := self.doubtful()):
                unknown = await self._ask_index(store, account_id, mailbox_id, tests, doubtful)
                done = len(doubtful) - len(unknown)
                for piece in self._pieces(unknown, whole=kind is TextTest):
                    found = await store.read(SearchMessages(account_id, mailbox_id, tuple(piece), tests))
                    self._learn_all(tests, self._bits(piece), found)
                    done += len(piece)
                    progress(done, len(doubtful))
        return self.matches()

    def _learn_all(self, tests: Sequence[Test], asked: int, found: Sequence[Iterable[int]]) -> None:
        for test, uids in zip(tests, found, strict=True):
            self._learn(test, asked, self._bits(uids))

    async def _ask_index(
        self,
        store: Reads,
        account_id: int,
        mailbox_id: int,
        tests: tuple[HeaderTest | TextTest, ...],
        doubtful: array[int],
    ) -> array[int]:
        """Answers those that are still to be read."""
        sure, may = self._bounds(self._criterion)
        answer = await store.read(
            SearchIndex(account_id, mailbox_id, range(doubtful[0], doubtful[-1] + 1), tests)
        )
        if answer is not None:
            asked = (may ^ sure) & ~self._bits(answer.unknown)
            self._learn_all(tests, asked, answer.found)
            return self._named((may ^ sure) ^ asked)
        unknown = array("I")
        for start in range(0, len(doubtful), PIECE_INDEX):
            piece = doubtful[start : start + PIECE_INDEX]
            answer = await store.read(SearchIndex(account_id, mailbox_id, tuple(piece), tests))
            left = set(answer.unknown)
            self._learn_all(tests, self._bits(uid for uid in piece if uid not in left), answer.found)
            unknown.extend(answer.unknown)
        return unknown

    async def _ask_columns(self, store: Reads) -> None:
        if len(self._by_columns) * len(self._uids) <= AT_ONCE:
            rows = tuple(answer(test, self._columns) for test in self._by_columns)
        else:
            rows = await store.read(SearchColumns(self._columns, self._by_columns))
        for test, row in zip(self._by_columns, rows, strict=True):
            self._known[test] = self._full, _number(row)

    async def _ask_places(
        self, store: Reads, account_id: int, mailbox_id: int, tests: Iterable[Test], doubtful: array[int]
    ) -> None:
        there = range(doubtful[0], doubtful[-1] + 1)
        places = await store.read(ListPlaces(account_id, mailbox_id, there))
        asked = self._bits(doubtful)
        known = set(self._uids)
        for test in tests:
            if isinstance(test, Saved):
                hits = [within(test, when) for when in places.saved]
            elif isinstance(test, Email):
                hits = [number == test.email_id for number in places.email_ids]
            else:
                hits = [number == test.thread_id for number in places.thread_ids]  # type: ignore[union-attr]
            self._learn(test, asked, self._bits(uid for uid in compress(places.uids, hits) if uid in known))

    def _pieces(self, uids: array[int], *, whole: bool) -> Iterable[array[int]]:
        if not whole:
            for start in range(0, len(uids), PIECE_HEADERS):
                yield uids[start : start + PIECE_HEADERS]
            return
        piece = array("I")
        octets = 0
        for uid in uids:
            size = self._columns.sizes[bisect_left(self._uids, uid)]
            if piece and (octets + size > PIECE_OCTETS or len(piece) >= PIECE_MESSAGES):
                yield piece
                piece, octets = array("I"), 0
            piece.append(uid)
            octets += size
        if piece:
            yield piece


def _number(row: bytes | bytearray) -> int:
    return int.from_bytes(row, "little")


def tests_of(criterion: Criterion, depth: int = 0) -> Iterator[Test]:
    """All tests of a tree. Raises LimitReached when it is too deep."""
    if depth > DEPTH_LIMIT:
        raise LimitReached(f"a search has at most {DEPTH_LIMIT} levels")
    if isinstance(criterion, Not):
        yield from tests_of(criterion.criterion, depth + 1)
    elif isinstance(criterion, And | Or):
        for each in criterion.criteria:
            yield from tests_of(each, depth + 1)
    else:
        yield criterion


def check(criterion: Criterion) -> tuple[Test, ...]:
    """All tests of a search that is about to be evaluated, each once. Raises LimitReached for one that would
    keep the server busy."""
    tests = tuple(tests_of(criterion))
    if len(tests) > TESTS_LIMIT:
        raise LimitReached(f"a search has at most {TESTS_LIMIT} keys, and this one has {len(tests)}")
    looking = sum(isinstance(test, HeaderTest | TextTest) for test in tests)
    if looking > TEXTS_LIMIT:
        raise LimitReached(f"a search looks for at most {TEXTS_LIMIT} texts, and this one for {looking}")
    return tuple(dict.fromkeys(tests))
