"""The end of data, and nothing that only looks like it."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.data import DataFault, DataScanner, LineEnds

END = b"\r\n.\r\n"


def scan(stream: bytes, ends: LineEnds, piece: int, limit: int = 10**9) -> tuple[bytes, bytes, DataScanner]:
    """Message, what followed it, and the scanner, of a stream cut into pieces."""
    scanner = DataScanner(limit, ends)
    message, rest = [], b""
    for start in range(0, len(stream), piece):
        if scanner.finished:
            rest += stream[start : start + piece]
            continue
        part, rest = scanner.feed(stream[start : start + piece])
        if part[-1:] == b"\r":
            raise AssertionError("a piece ends between CR and LF")
        message.append(part)
    return b"".join(message), rest, scanner


def reference(stream: bytes) -> tuple[bytes, bytes] | None:
    """(message as sent, the rest) by the letter of RFC 5321: lines end with CR LF and nothing else."""
    lines, rest = [], stream
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if line == b".":
            return b"".join(lines), rest
        lines.append((line[1:] if line[:1] == b"." else line) + b"\r\n")


class ScannerTests(SynchronousTestCase):
    def check(self, stream: bytes, piece: int) -> None:
        expected = reference(stream)
        for ends in (LineEnds.STRICT, LineEnds.NORMALISED):
            message, rest, scanner = scan(stream, ends, piece)
            if expected is None:
                self.assertFalse(scanner.finished, (stream, piece))
                continue
            self.assertTrue(scanner.finished, (stream, piece))
            body, after = expected
            self.assertEqual(rest, after, (stream, piece))
            bare = re.search(rb"(?<!\r)\n|\r(?!\n)", body) is not None
            if ends is LineEnds.NORMALISED:
                self.assertEqual(message, re.sub(rb"\r\n|\r|\n", b"\r\n", body), (stream, piece))
                self.assertIsNone(scanner.fault)
            else:
                self.assertEqual(scanner.fault, DataFault.BARE_LINE_END if bare else None, (stream, piece))
                if not bare:
                    self.assertEqual(message, body, (stream, piece))

    def test_every_combination(self) -> None:
        """All 3^k combinations of CR, LF and dot before and after a dot, k up to 6, whole and in pieces: only
        CR LF . CR LF ends a message, and what follows it is what a strict reader finds there."""
        for k in range(7):
            for parts in product((b"\r", b"\n", b"."), repeat=k):
                odd = b"".join(parts)
                for stream in (
                    b"a" + odd + b"MAIL FROM:<smuggled@x.test>\r\n" + END + b"QUIT\r\n",
                    odd + b"x" + END,
                    b"a\r\n" + odd + b"\r\nb" + END + odd,
                ):
                    for piece in (len(stream), 1, 2, 3):
                        self.check(stream, piece)

    def test_cut_anywhere(self) -> None:
        """It does not matter where the network cuts: every stream of these octets, in pieces of any size."""

        @settings(max_examples=400, deadline=None, derandomize=True)
        @given(
            st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.", END])), st.integers(1, 7)
        )
        def check(parts: list[bytes], piece: int) -> None:
            self.check(b"".join(parts) + END, piece)

        check()

    def test_smuggling(self) -> None:
        """Endings by which one server's message has been another's two (CVE-2023-51764 and its family)."""
        for odd in (
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\r\r\n.\r\r\n",
            b"\n\n.\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r.\r\n",
        ):
            stream = b"first" + odd + b"MAIL FROM:<smuggled@x.test>\r\nDATA\r\nsecond" + END + b"QUIT\r\n"
            for piece in (1, 2, 5, len(stream)):
                _, rest, scanner = scan(stream, LineEnds.STRICT, piece)
                self.assertEqual(rest, b"QUIT\r\n", odd)
                self.assertIsNotNone(scanner.fault, odd)

    def test_normalised_message_has_no_bare_line_end(self) -> None:
        """What submission keeps can be sent on: every line of it ends with CR LF."""

        @settings(max_examples=300, deadline=None, derandomize=True)
        @given(st.text("\r\n.a").map(str.encode), st.integers(1, 5))
        def check(text: bytes, piece: int) -> None:
            message, _, scanner = scan(text + END, LineEnds.NORMALISED, piece)
            self.assertTrue(scanner.finished)
            self.assertIsNone(re.search(rb"(?<!\r)\n|\r(?!\n)", message))

        check()

    def test_dots(self) -> None:
        """One dot is taken from the front of a line, the first line too; a line of one dot was two."""
        self.assertEqual(
            scan(b"..\r\n...x\r\n.y\r\nz.\r\n.\r\n", LineEnds.STRICT, 3)[0], b".\r\n..x\r\ny\r\nz.\r\n"
        )

    def test_empty(self) -> None:
        """A lone dot is a message of no octets."""
        self.assertEqual(scan(b".\r\nQUIT\r\n", LineEnds.STRICT, 1)[:2], (b"", b"QUIT\r\n"))

    def test_limit(self) -> None:
        """The limit counts octets of message without stuffing; beyond it nothing is given out."""
        exact = scan(b"..34567\r\n.\r\n", LineEnds.STRICT, 4, limit=8)
        self.assertEqual((exact[0], exact[2].fault), (b".34567\r\n", None))
        over = scan(b"..345678\r\n.\r\nQ", LineEnds.STRICT, 4, limit=8)
        self.assertEqual((over[2].fault, over[1]), (DataFault.TOO_LARGE, b"Q"))
        self.assertLessEqual(len(over[0]), 8)

    def test_nul(self) -> None:
        """NUL is refused on either service."""
        for ends in (LineEnds.STRICT, LineEnds.NORMALISED):
            self.assertIs(scan(b"a\0b\r\n.\r\n", ends, 2)[2].fault, DataFault.NUL)

    def test_eightbit(self) -> None:
        """Whether a message needs 8BITMIME is seen and not believed."""
        self.assertFalse(scan(b"plain\r\n.\r\n", LineEnds.STRICT, 4)[2].eightbit)
        self.assertTrue(scan("grün\r\n.\r\n".encode(), LineEnds.STRICT, 4)[2].eightbit)

    def test_long_lines_pass(self) -> None:
        """A line longer than RFC 5322's 998 octets is kept as it is."""
        line = b"x" * 300_000 + b"\r\n"
        self.assertEqual(scan(line + b".\r\n", LineEnds.STRICT, 65536)[0], line)
