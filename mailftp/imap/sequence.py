"""Sets of sequence numbers and UIDs: RFC 3501 section 9, RFC 9051 section 9, and `$` of RFC 5182.

A set is kept as ranges and resolved by bisection, so that `1:*` or `1:4294967295` costs what is there and not
what it names. How many ranges there are is bounded by the length of the command.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

#: RFC 9051 section 9, nz-number: 32 bits without a sign.
LARGEST = 0xFFFFFFFF
#: How `*` is kept; no number has this value.
_STAR = 0

_RANGE = rb"(?:\*|[1-9][0-9]{0,9})(?::(?:\*|[1-9][0-9]{0,9}))?"
_SET = re.compile(rb"%b(?:,%b)*+\Z" % (_RANGE, _RANGE))


class SequenceSet(NamedTuple):
    """As the client wrote it. `ranges` are pairs of ends in any order, 0 for `*`; a lone number is both ends.
    `saved` is `$`, the result of the last SEARCH RETURN (SAVE), and has no ranges."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    @property
    def star(self) -> bool:
        """Whether `*` is in it."""
        return any(_STAR in ends for ends in self.ranges)

    def spans(self, largest: int) -> list[tuple[int, int]]:
        """First and last of each stretch, in order and apart, with `largest` for `*`.

        `559:*` holds the largest number also when that is less than 559 (RFC 3501 section 6.4.8).
        """
        if self.saved:
            raise ValueError("$ has no ranges of its own")
        wanted = sorted(
            (first, last) if first <= last else (last, first)
            for first, last in ((a or largest, b or largest) for a, b in self.ranges)
        )
        spans: list[tuple[int, int]] = []
        start, end = wanted[0]
        for first, last in wanted[1:]:
            if first > end + 1:
                spans.append((start, end))
                start, end = first, last
            elif last > end:
                end = last
        spans.append((start, end))
        return spans

    def among(self, uids: Sequence[int]) -> list[range]:
        """As UIDs: indexes into `uids`, which is sorted, as ranges that are in order and apart and not empty.

        A UID that is not there is passed over (RFC 3501 section 6.4.8), and so is `*` where nothing is.
        """
        if not uids:
            return []
        found = []
        for first, last in self.spans(uids[-1]):
            there = range(bisect_left(uids, first), bisect_right(uids, last))
            if there:
                found.append(there)
        return found

    def numbers(self, count: int) -> list[range]:
        """As sequence numbers in a mailbox of `count` messages: indexes from 0, as `among` gives them.

        Raises ValueError for a number that no message has, `*` in an empty mailbox included: RFC 3501
        section 9 asks for BAD, as the client and we do not see the same mailbox.
        """
        spans = self.spans(count)
        if spans[-1][1] > count or not count:
            raise ValueError(f"no message has that number: the mailbox has {count}")
        return [range(first - 1, last) for first, last in spans]


#: `$`.
SAVED = SequenceSet((), saved=True)


def parse_set(text: bytes) -> SequenceSet:
    """A sequence-set, or `$` alone. Raises ValueError."""
    if text == b"$":
        return SAVED
    if _SET.match(text) is None:
        raise ValueError("numbers are expected as 1,3:5,9:*")
    ranges = []
    for item in text.split(b","):
        first, colon, last = item.partition(b":")
        start = _STAR if first == b"*" else int(first)
        end = start if not colon else _STAR if last == b"*" else int(last)
        if start > LARGEST or end > LARGEST:
            raise ValueError(f"a number is above {LARGEST}")
        ranges.append((start, end))
    return SequenceSet(tuple(ranges))


def format_set(numbers: Sequence[int]) -> bytes:
    """The shortest set of exactly these numbers, which are sorted and each there once; b"" of none, for which
    no set stands."""
    if not numbers:
        return b""
    start = end = numbers[0]
    if numbers[-1] - start == len(numbers) - 1:
        return _format(start, numbers[-1])
    parts = []
    for number in numbers:
        if number > end + 1:
            parts.append(_format(start, end))
            start = number
        end = number
    parts.append(_format(start, end))
    return b",".join(parts)


def _format(first: int, last: int) -> bytes:
    return b"%d" % first if first == last else b"%d:%d" % (first, last)
