"""Lines out of octets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire.scan import TOO_LONG, LineScanner, TooLong


def lines(scanner: LineScanner, pieces: list[bytes]) -> list[bytes | TooLong]:
    """Everything that a scanner gives for what it is fed."""
    found: list[bytes | TooLong] = []
    for piece in pieces:
        scanner.feed(piece)
        while (line := scanner.line()) is not None:
            found.append(line)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Data cut at places, which may be anything."""
    at = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in zip(at, at[1:], strict=False)]


class Lines(SynchronousTestCase):
    """LineScanner."""

    def test_crlf(self) -> None:
        """Lines end in CRLF; CR and LF alone are part of a line."""
        self.assertEqual(lines(LineScanner(100), [b"a\r\nb\nc\rd\r\n\r\ne"]), [b"a", b"b\nc\rd", b""])

    def test_lone_lf(self) -> None:
        """On request LF alone ends a line too."""
        self.assertEqual(
            lines(LineScanner(100, lone_lf=True), [b"a\r\nb\nc\rd\n\n\r\n"]), [b"a", b"b", b"c\rd", b"", b""]
        )

    def test_every_cut(self) -> None:
        """Wherever the input is cut in two, or cut into single octets, the lines are the same."""
        data = b"EHLO a\r\n\r\nx" * 3 + b"0123456789\r\n01234567890\r\nb\r\r\nc\n\r\n"
        for lone_lf in False, True:
            whole = lines(LineScanner(10, lone_lf), [data])
            self.assertIn(TOO_LONG, whole)
            for place in range(len(data)):
                self.assertEqual(lines(LineScanner(10, lone_lf), [data[:place], data[place:]]), whole)
            self.assertEqual(lines(LineScanner(10, lone_lf), [bytes([octet]) for octet in data]), whole)

    def test_limit(self) -> None:
        """A line of exactly the limit passes; one octet more is too long, told once and before its end."""
        self.assertEqual(lines(LineScanner(3), [b"abc\r\nabcd\r\nx\r\n"]), [b"abc", TOO_LONG, b"x"])
        scanner = LineScanner(3)
        self.assertEqual(lines(scanner, [b"abc\r"]), [])
        self.assertEqual(lines(scanner, [b"d"]), [TOO_LONG])
        self.assertEqual(lines(scanner, [b"e" * 100, b"\r", b"\n", b"ok\r\n"]), [b"ok"])

    def test_bounded(self) -> None:
        """A line without end takes no memory."""
        scanner = LineScanner(1000)
        for _ in range(1000):
            lines(scanner, [b"x" * 1000])
            self.assertLessEqual(len(scanner), 1001)

    def test_take(self) -> None:
        """Counted octets come between lines, whatever they hold."""
        scanner = LineScanner(100)
        scanner.feed(b"one\r\n\r\nab\r")
        self.assertEqual(scanner.line(), b"one")
        self.assertEqual(scanner.take(4), b"\r\nab")
        self.assertIsNone(scanner.line())
        scanner.feed(b"\ntwo\r\n")
        self.assertEqual(scanner.line(), b"")
        self.assertEqual(scanner.take(2), b"tw")
        self.assertEqual(scanner.line(), b"o")
        self.assertEqual(scanner.take(5), b"")

    def test_clear(self) -> None:
        """Clearing leaves nothing behind, half a line included."""
        scanner = LineScanner(100)
        scanner.feed(b"a\r\nEVIL\r\nhalf\r")
        self.assertEqual(scanner.line(), b"a")
        scanner.clear()
        scanner.feed(b"\nb\r\n")
        self.assertEqual(scanner.line(), b"\nb")

    @given(
        st.text("ab\r\n", max_size=60).map(str.encode),
        st.lists(st.integers(0, 60)),
        st.booleans(),
        st.integers(0, 9),
    )
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_cuts_do_not_matter(self, data: bytes, places: list[int], lone_lf: bool, limit: int) -> None:
        """For any input and any cuts, the lines are those of the input in one piece."""
        self.assertEqual(
            lines(LineScanner(limit, lone_lf), cut(data, places)), lines(LineScanner(limit, lone_lf), [data])
        )

    @given(st.text("ab\r\n", max_size=60).map(str.encode))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_as_split(self, data: bytes) -> None:
        """Without a limit that matters, it is what bytes.split says."""
        self.assertEqual(lines(LineScanner(1000), [data]), data.split(b"\r\n")[:-1])
