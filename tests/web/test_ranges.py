"""Parts of files and requests with conditions: RFC 9110 sections 13 and 14."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.web.conditions import Validators, failed, http_date, parse_date, range_holds
from mailftp.web.ranges import RangeFault, Unsatisfiable, asked_range, sent_part


class RangeTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Those of section 14.1.2, of a file of 10,000 octets."""
        for field, expected in (
            ("bytes=0-499", (0, 500)),
            ("bytes=500-999", (500, 1000)),
            ("bytes=-500", (9500, 10000)),
            ("bytes=9500-", (9500, 10000)),
            ("bytes=9999-20000", (9999, 10000)),
            ("bytes=-20000", (0, 10000)),
            ("BYTES=0-0", (0, 1)),
        ):
            self.assertEqual(asked_range(field, 10000), expected, field)

    def test_ignored(self) -> None:
        for field in (
            None,
            "",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,4-5",
            "lines=0-1",
            "bytes=0x1-2",
            "bytes=١-٢",
            "bytes=" + "0" * 300,
            "bytes=1-" + "9" * 19,
            "bytes=+1-2",
        ):
            self.assertIsNone(asked_range(field, 10), field)

    def test_unsatisfiable(self) -> None:
        for field, size in (("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-5", 0)):
            with self.assertRaises(Unsatisfiable):
                asked_range(field, size)

    @given(st.text(max_size=40), st.integers(0, 1 << 40))
    def test_anything(self, field: str, size: int) -> None:
        try:
            found = asked_range(field, size)
        except Unsatisfiable:
            return
        if found is not None:
            self.assertTrue(0 <= found[0] < found[1] <= size)

    def test_sent(self) -> None:
        self.assertEqual(sent_part("bytes 0-9/10"), (0, 9, 10))
        self.assertEqual(sent_part("bytes 5-9/*"), (5, 9, None))
        for field in ("bytes 0-9/9", "bytes 9-0/10", "bytes */10", "bytes 0-9", "octets 0-9/10"):
            with self.assertRaises(RangeFault, msg=field):
                sent_part(field)


class ConditionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.there = Validators('"a-1"', 1_000_000_000)
        self.date = http_date(self.there.modified)

    def judged(self, there: Validators | None, reading: bool = True, **fields: str) -> int | None:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        return failed(named.get, there, reading)

    def test_match(self) -> None:
        there = self.there
        self.assertIsNone(self.judged(there, If_Match='"b", "a-1"'))
        self.assertIsNone(self.judged(there, If_Match="*"))
        self.assertEqual(self.judged(there, If_Match='"b"'), 412)
        self.assertEqual(self.judged(there, If_Match='W/"a-1"'), 412)
        self.assertEqual(self.judged(None, If_Match="*"), 412)
        self.assertEqual(self.judged(there, If_Match="a-1"), 412)
        weak = Validators('W/"a-1"', there.modified)
        self.assertEqual(self.judged(weak, If_Match='W/"a-1"'), 412)

    def test_none_match(self) -> None:
        there = self.there
        self.assertEqual(self.judged(there, If_None_Match='W/"a-1"'), 304)
        self.assertEqual(self.judged(there, reading=False, If_None_Match="*"), 412)
        self.assertIsNone(self.judged(None, reading=False, If_None_Match="*"))
        self.assertIsNone(self.judged(there, If_None_Match='"b"'))

    def test_dates(self) -> None:
        there, later = self.there, http_date(self.there.modified + 1)
        earlier = http_date(self.there.modified - 1)
        self.assertEqual(self.judged(there, If_Modified_Since=self.date), 304)
        self.assertIsNone(self.judged(there, If_Modified_Since=earlier))
        self.assertIsNone(self.judged(there, reading=False, If_Modified_Since=later))
        self.assertEqual(self.judged(there, If_Unmodified_Since=earlier), 412)
        self.assertIsNone(self.judged(there, If_Unmodified_Since=self.date))
        # The tag is asked first (section 13.2.2).
        self.assertIsNone(self.judged(there, If_None_Match='"b"', If_Modified_Since=self.date))
        self.assertIsNone(self.judged(there, If_Modified_Since="yesterday"))

    def test_range(self) -> None:
        there = self.there
        self.assertTrue(range_holds({}.get, there))
        self.assertTrue(range_holds({"If-Range": '"a-1"'}.get, there))
        self.assertTrue(range_holds({"If-Range": self.date}.get, there))
        for field in ('W/"a-1"', '"b"', http_date(there.modified + 1), "*", "yesterday"):
            self.assertFalse(range_holds({"If-Range": field}.get, there), field)
        fresh = Validators('W/"a-1"', there.modified)
        self.assertFalse(range_holds({"If-Range": self.date}.get, fresh))

    def test_of_a_file(self) -> None:
        self.assertEqual(Validators.of("1g2", 16, 5.5).tag, '"1g2-10-53ec60"')

    @given(st.text(max_size=60))
    def test_anything(self, field: str) -> None:
        for reading in (False, True):
            for name in ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"):
                self.assertIn(failed({name: field}.get, self.there, reading), (None, 304, 412))
        self.assertIn(range_holds({"If-Range": field}.get, self.there), (True, False))

    @given(st.integers(0, 4_000_000_000))
    def test_dates_come_back(self, seconds: int) -> None:
        self.assertEqual(parse_date(http_date(seconds)), seconds)
