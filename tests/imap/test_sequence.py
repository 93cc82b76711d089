"""Sets of numbers: RFC 9051 section 9."""

from __future__ import annotations

from array import array
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.sequence import LARGEST, SAVED, SequenceSet, format_set, parse_set

_UIDS = st.sets(st.integers(1, 60) | st.integers(LARGEST - 5, LARGEST), max_size=40).map(sorted)
_END = st.integers(1, 70).map(lambda n: b"%d" % n) | st.just(b"*") | st.just(b"%d" % LARGEST)
_RANGE = _END | st.tuples(_END, _END).map(b":".join)
_SET = st.lists(_RANGE, min_size=1, max_size=8).map(b",".join)


def named(text: bytes, largest: int) -> list[tuple[int, int]]:
    """The ranges of a set, slowly."""
    ranges = []
    for item in text.split(b","):
        ends = [largest if end == b"*" else int(end) for end in item.split(b":")]
        ranges.append((min(ends), max(ends)))
    return ranges


class ParseTests(SynchronousTestCase):
    def test_sets(self) -> None:
        """Numbers, ranges in both orders, the star, and the saved result."""
        self.assertEqual(parse_set(b"1"), SequenceSet(((1, 1),)))
        self.assertEqual(parse_set(b"2,4:7,9,12:*"), SequenceSet(((2, 2), (4, 7), (9, 9), (12, 0))))
        self.assertEqual(parse_set(b"*:4,5:3"), SequenceSet(((0, 4), (5, 3))))
        self.assertEqual(parse_set(b"$"), SAVED)
        self.assertTrue(parse_set(b"1,2:*").star)
        self.assertFalse(parse_set(b"1,2:3").star)

    def test_refused(self) -> None:
        """Nothing but ASCII digits without leading zeros, of 32 bits."""
        for text in (
            b"", b"0", b"01", b"-1", b"+1", b"1,", b",1", b"1:", b":1", b"1:2:3", b"1 2", b"1_0", b"1\n",
            b"1,$", b"$,1", b"**", "\u0661".encode(), b"4294967296", b"1:4294967296", b"9" * 100,
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=repr(text)):
                parse_set(text)
        self.assertEqual(parse_set(b"4294967295").ranges, ((LARGEST, LARGEST),))

    @given(st.text(alphabet="019:,*$ ", max_size=12).map(str.encode))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, text: bytes) -> None:
        """What is taken is a set that its own ranges write again."""
        try:
            parsed = parse_set(text)
        except ValueError:
            return
        again = b",".join(
            b":".join(b"%d" % end if end else b"*" for end in (ends if b":" in item else ends[:1]))
            for item, ends in zip(text.split(b","), parsed.ranges, strict=True)
        ) if not parsed.saved else b"$"  # fmt: skip
        self.assertEqual(again, text)


class ResolveTests(SynchronousTestCase):
    def test_the_last_is_always_in(self) -> None:
        """RFC 3501 section 6.4.8: 559:* is the last message where none is as high."""
        self.assertEqual(parse_set(b"559:*").among([3, 7]), [range(1, 2)])
        self.assertEqual(parse_set(b"*").among([]), [])
        self.assertEqual(parse_set(b"1:*").among([]), [])

    def test_sequence_numbers(self) -> None:
        """A number that no message has is refused."""
        self.assertEqual(parse_set(b"2:3,*").numbers(5), [range(1, 3), range(4, 5)])
        self.assertEqual(parse_set(b"*:1").numbers(5), [range(5)])
        for text, count in ((b"6", 5), (b"1:6", 5), (b"*", 0), (b"1:*", 0), (b"6:*", 5)):
            with self.assertRaises(ValueError, msg=repr(text)):
                parse_set(text).numbers(count)

    def test_saved_has_no_ranges(self) -> None:
        """The session knows what $ is, the set does not."""
        with self.assertRaises(ValueError):
            SAVED.among([1])

    @given(_SET, _UIDS)
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_uids(self, text: bytes, uids: list[int]) -> None:
        """The same as a look at each UID; in order, each once."""
        there = array("I", uids)
        found = parse_set(text).among(there)
        expected = [
            index
            for index, uid in enumerate(uids)
            if any(low <= uid <= high for low, high in named(text, uids[-1]))
        ]
        self.assertEqual(list(chain(*found)), expected)
        self.assertTrue(all(found))

    @given(_SET, st.integers(0, 80))
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_numbers(self, text: bytes, count: int) -> None:
        """The same as a look at each number, or refused where one is beyond the last."""
        ranges = named(text, count)
        if not count or max(high for _, high in ranges) > count:
            with self.assertRaises(ValueError):
                parse_set(text).numbers(count)
            return
        expected = [n - 1 for n in range(1, count + 1) if any(low <= n <= high for low, high in ranges)]
        self.assertEqual(list(chain(*parse_set(text).numbers(count))), expected)


class FormatTests(SynchronousTestCase):
    def test_shortest(self) -> None:
        """Neighbours become a range."""
        for numbers, text in (
            ([], b""), ([7], b"7"), ([1, 2], b"1:2"), ([1, 3], b"1,3"), (range(1, 100001), b"1:100000"),
            ([1, 2, 3, 5, 7, 8], b"1:3,5,7:8"),
            (array("I", [LARGEST - 1, LARGEST]), b"4294967294:4294967295"),
        ):  # fmt: skip
            self.assertEqual(format_set(numbers), text)

    @given(_UIDS)
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_read_again(self, uids: list[int]) -> None:
        """Exactly these numbers, and no two ranges that could be one."""
        text = format_set(uids)
        if not uids:
            self.assertEqual(text, b"")
            return
        spans = parse_set(text).spans(0)
        self.assertEqual([n for low, high in spans for n in range(low, high + 1)], uids)
        self.assertEqual(len(spans), text.count(b",") + 1)
