"""RFC 5322 sections 3.3 and 4.3."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.dates import format_date, parse_date

WHEN = 1795312135.0  # Sun, 22 Nov 2026 01:48:55 UTC

SAME = [
    b"Sun, 22 Nov 2026 01:48:55 +0000",
    b"sun, 22 nov 2026 01:48:55 -0000",
    b"22 Nov 2026 02:48:55 +0100",
    b"Sun, 22 Nov 2026 01:48:55",
    b"Sun, 22 Nov 26 01:48:55 GMT",
    b"Sun, 22 Nov 126 01:48:55 UT",
    b"Sat, 21 Nov 2026 20:48:55 EST",
    b"Sat, 21 Nov 2026 18:48:55 PDT",
    b"Sun, 22 Nov 2026 01:48:55 Z",
    b"Sun, 22 Nov 2026 01:48:55 A",
    b"Sun, 22 Nov 2026 01:48:55 +0000 (UTC)",
    b"Sun,\r\n 22 Nov (eleven) 2026 01:48:55 +0000",
    b"Sunday, 22-Nov-26 01:48:55 GMT",
    b"Sun 22 November 2026 01 : 48 : 55 +0000",
    b"Sun, 22 Nov 2026 01.48.55 +0000",
    b"Sun Nov 22 01:48:55 2026",
    b"Sun, 22 Nov 2026 07:18:55 +05:30",
]

NONE = [
    b"", b" ", b"yesterday", b"Sun, 32 Nov 2026 01:48:55 +0000", b"22 Foo 2026 01:48:55", b"22 Nov 2026",
    b"22 Nov 2026 24:00:00 +0000", b"22 Nov 2026 23:60:00 +0000", b"0 Nov 2026 01:00:00",
    b"22 Nov 0000 01:00:00", b"22 Nov 2026 01:00:00 +9900", b"(" * 100, b"\xd9\xa3 Nov 2026 01:00:00",
]  # fmt: skip


class DateTests(SynchronousTestCase):
    def test_format(self) -> None:
        """The format is RFC 5322's, in UTC, and what is out of range is the nearest that can be said."""
        self.assertEqual(format_date(WHEN + 0.9), "Sun, 22 Nov 2026 01:48:55 +0000")
        self.assertEqual(format_date(-5), "Thu, 01 Jan 1970 00:00:00 +0000")
        self.assertEqual(format_date(1e300), "Fri, 31 Dec 9999 23:59:59 +0000")

    def test_parse(self) -> None:
        """Today's syntax, the obsolete one and what broken senders write."""
        for text in SAME:
            self.assertEqual(parse_date(text), WHEN, text)

    def test_no_date(self) -> None:
        """What is no date is None."""
        for text in NONE:
            self.assertIsNone(parse_date(text), text)

    def test_seconds_may_be_missing(self) -> None:
        """Seconds are optional in RFC 5322."""
        self.assertEqual(parse_date(b"Sun, 22 Nov 2026 01:48 +0000"), WHEN - 55)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.integers(0, 253402300799))
    def test_round_trip(self, when: int) -> None:
        """What is written is read back, by us and by the standard library."""
        text = format_date(when)
        self.assertEqual(parse_date(text.encode()), when)
        self.assertEqual(parsedate_to_datetime(text).timestamp(), when)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.binary(max_size=60))
    def test_any_octets(self, value: bytes) -> None:
        """Nothing raises."""
        parse_date(value)
        parse_date(b"22 Nov 2026 01:" + value)
