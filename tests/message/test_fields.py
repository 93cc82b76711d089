"""Header fields as spans."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message import fields

MESSAGE = (
    b"Received: from a\r\n\tby b\r\nReceived: from c\r\nSubject : one\r\n two\r\nBCC: x@y\r\n"
    b"no colon here\r\nDate: now\r\n\r\nReceived: not a field\r\n"
)


class FieldTests(SynchronousTestCase):
    def test_fields(self) -> None:
        """Names in lower case, folded lines belong to their field, and the spans join up."""
        found = list(fields.iter_fields(MESSAGE))
        self.assertEqual(
            [f.name for f in found], [b"received", b"received", b"subject", b"bcc", b"", b"date"]
        )
        self.assertEqual(found[0].start, 0)
        for one, two in zip(found, found[1:], strict=False):
            self.assertEqual(one.end, two.start)
        self.assertEqual(MESSAGE[found[-1].end :], b"\r\nReceived: not a field\r\n")

    def test_look_up(self) -> None:
        """Fields are found, counted and unfolded by name in any case."""
        self.assertEqual(fields.count(MESSAGE, "RECEIVED"), 2)
        self.assertEqual(fields.get(MESSAGE, "subject"), b"one two")
        self.assertEqual(fields.get(MESSAGE, "Received"), b"from a\tby b")
        self.assertIsNone(fields.get(MESSAGE, "To"))

    def test_without(self) -> None:
        """Fields are removed whole, every one of that name, and nothing else changes."""
        self.assertEqual(
            fields.without(MESSAGE, ["bcc", "Received"]),
            b"Subject : one\r\n two\r\nno colon here\r\nDate: now\r\n\r\nReceived: not a field\r\n",
        )
        self.assertIs(fields.without(MESSAGE, ["To"]), MESSAGE)

    def test_header_end(self) -> None:
        """The body begins after the first empty line, also when that is the first line."""
        for data, end in [
            (b"", 0),
            (b"a: b", 4),
            (b"a: b\r\n", 6),
            (b"a: b\r\n\r\nc", 8),
            (b"a: b\n\nc", 6),
            (b"a: b\n\r\nc", 7),
            (b"\r\nbody\r\n\r\n", 2),
            (b"\nbody", 1),
            (b"a: b\r\n \r\n\r\n", 11),
        ]:
            self.assertEqual(fields.header_end(data), end, data)

    def test_no_header(self) -> None:
        """A message that starts with its empty line has no fields."""
        self.assertEqual(list(fields.iter_fields(b"\r\na: b\r\n")), [])

    def test_time_is_linear(self) -> None:
        """Twice the header takes about twice the time: one endless line, folds, or empty names."""
        for unit in (b"x", b" x\r\n", b":\r\n", b"a b\r\n", b"a: b\r\n\t\r\n"):
            spent = []
            for size in (2 * 10**6, 4 * 10**6):
                data = b"a:\r\n" + unit * (size // len(unit))
                start = time.process_time()
                for _ in fields.iter_fields(data):
                    pass
                spent.append(time.process_time() - start)
            self.assertLess(spent[1], 4 * spent[0] + 0.1, unit)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"a", b"\0", b"\xff"]), max_size=30))
    def test_any_header(self, pieces: list[bytes]) -> None:
        """The fields of any octets are the header without a gap."""
        data = b"".join(pieces)
        at = 0
        for field in fields.iter_fields(data):
            self.assertEqual(field.start, at)
            self.assertGreater(field.end, field.start)
            at = field.end
        self.assertEqual(at, fields.header_bounds(data)[0])
        self.assertEqual(
            fields.without(data, ["a"]).count(b"\0"),
            data.count(b"\0")
            - sum(data[f.start : f.end].count(b"\0") for f in fields.iter_fields(data) if f.name == b"a"),
        )
