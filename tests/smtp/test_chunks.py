"""BDAT: chunks of any size, bad ones, and what hides in them (RFC 3030)."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.data import PIECE, ChunkScanner, DataFault, LineEnds
from mailftp.smtp.rules import State
from tests.smtp.driver import Dialogue, terms

ENVELOPE = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"


def begun(**changed: object) -> Dialogue:
    """A dialogue with an envelope."""
    dialogue = Dialogue(terms(**changed))
    dialogue.exchange(ENVELOPE)
    return dialogue


TEXT = (LineEnds.STRICT, LineEnds.NORMALISED)


class ScannerTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.text("ab.\r\n", max_size=40), st.sampled_from(TEXT), st.integers(1, 7))
    def test_pieces(self, text: str, line_ends: LineEnds, step: int) -> None:
        """However a message is cut, what comes of it is the same, and its line ends are CR LF."""
        data = text.encode()
        whole, cut = ChunkScanner(100, line_ends), ChunkScanner(100, line_ends)
        first = whole.feed(data) + whole.finish()
        second = b"".join(cut.feed(data[at : at + step]) for at in range(0, len(data), step)) + cut.finish()
        self.assertEqual((whole.fault, first), (cut.fault, second))
        rest = data.replace(b"\r\n", b"")
        if line_ends is LineEnds.STRICT and (b"\r" in rest or b"\n" in rest):
            self.assertIs(whole.fault, DataFault.BARE_LINE_END)
        else:
            self.assertIsNone(whole.fault)
            self.assertEqual(first.replace(b"\r\n", b"").strip(b"ab."), b"")
            self.assertTrue(first.endswith(b"\r\n") or not data)
        self.assertEqual(whole.finish(), b"")

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.binary(max_size=40), st.integers(1, 7))
    def test_binary(self, data: bytes, step: int) -> None:
        """A binary message is handed on octet for octet."""
        scanner = ChunkScanner(100, LineEnds.BINARY)
        pieces = [scanner.feed(data[at : at + step]) for at in range(0, len(data), step)]
        self.assertEqual((b"".join(pieces) + scanner.finish(), scanner.fault), (data, None))

    def test_large_piece(self) -> None:
        """A CR at the end of a piece that is passed on waits for its LF."""
        scanner = ChunkScanner(10 * PIECE, LineEnds.STRICT)
        given_ = scanner.feed(b"x" * PIECE + b"\r")
        self.assertEqual(given_, b"x" * PIECE)
        self.assertEqual(scanner.feed(b"\ny") + scanner.finish(), b"\r\ny\r\n")
        self.assertIsNone(scanner.fault)


class ChunkTests(SynchronousTestCase):
    def test_tiny_chunks(self) -> None:
        """A message of 20,000 chunks of one octet is one message, at a cost that grows with its size alone,
        and is handed on in few pieces."""
        dialogue = begun(size=1_000_000)
        taken: list[float] = []
        for count in (2_000, 20_000):
            before = time.process_time()
            answer = dialogue.exchange(b"BDAT 1\r\nx" * count + b"BDAT 0 LAST\r\n")
            taken.append(time.process_time() - before)
            self.assertEqual(answer.count(b"250 2.0.0 "), count + 1)
            self.assertEqual(dialogue.messages[-1], b"x" * count + b"\r\n")
            dialogue.exchange(ENVELOPE)
        self.assertLess(taken[1], 40 * taken[0] + 0.1)

    def test_a_million_chunks(self) -> None:
        """Each is answered, the message is whole, and nothing is kept of a chunk but its octet."""
        dialogue = begun(size=2_000_000)
        said, answered, most = b"BDAT 1\r\nx" * 5_000, 0, 0
        for _ in range(200):
            answered += dialogue.exchange(said).count(b"250 2.0.0 ")
            most = max(most, dialogue.session.unread)
        self.assertEqual((answered, most), (1_000_000, 0))
        self.assertEqual(dialogue.exchange(b"BDAT 0 LAST\r\n").count(b"250 "), 1)
        self.assertEqual(len(dialogue.messages[-1]), 1_000_002)

    def test_smuggled(self) -> None:
        """The end of DATA is content in a chunk, and so are commands."""
        body = b"a\r\n.\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nb\r\n.\r\n"
        dialogue = begun()
        answer = dialogue.exchange(b"BDAT %d LAST\r\n" % len(body) + body + b"NOOP\r\n")
        self.assertEqual(dialogue.messages, [body])
        self.assertEqual(answer.count(b"\r\n"), 2)

    def test_too_large_in_sum(self) -> None:
        """Chunks that are small and many come to the limit too; the rest is read and thrown away."""
        dialogue = begun(size=100)
        answer = dialogue.exchange((b"BDAT 60\r\n" + b"x" * 58 + b"\r\n") * 3 + b"BDAT 0 LAST\r\nNOOP\r\n")
        codes = [line[:9] for line in answer.splitlines()]
        self.assertEqual(codes, [b"250 2.0.0", *[b"552 5.3.4"] * 3, b"250 2.0.0"])
        self.assertEqual(dialogue.messages, [])
        self.assertEqual(len(dialogue.spoiled), 1)

    def test_far_too_large(self) -> None:
        """Before a chunk that would be thrown away for hours the connection is closed."""
        dialogue = begun(size=100)
        answer = dialogue.exchange(b"BDAT 99999999999999999999 LAST\r\nQUIT\r\n")
        self.assertTrue(answer.startswith(b"552 5.3.4 "))
        self.assertTrue(dialogue.closed())

    def test_numbers(self) -> None:
        """A size is ASCII digits and nothing else; after another the connection ends, as nobody knows where
        its chunk does."""
        for size in (b"", b"-1", b"+1", b"1_0", b"0x1", b"1 LAS", b"1 LAST x", "٣".encode(), b"1" * 21):
            dialogue = begun()
            self.assertTrue(dialogue.exchange(b"BDAT " + size + b"\r\nQUIT\r\n").startswith(b"50"), size)
            self.assertTrue(dialogue.closed() or dialogue.session.state is State.RCPT, size)
            if not size.isascii():
                continue
            self.assertTrue(dialogue.closed(), size)

    def test_data_after_failure(self) -> None:
        """After a chunk that failed DATA is refused, and the message behind it is not taken for commands."""
        dialogue = begun()
        dialogue.exchange(b"BDAT 4\r\na\nb\n")
        answer = dialogue.exchange(b"DATA\r\nMAIL FROM:<evil@b.test>\r\n.\r\n")
        self.assertTrue(answer.startswith(b"503 5.5.1 "))
        self.assertTrue(dialogue.closed())

    def test_new_transaction(self) -> None:
        """EHLO and RSET forget the chunks before them."""
        for command in (b"RSET\r\n", b"EHLO c.test\r\n"):
            dialogue = begun()
            dialogue.exchange(b"BDAT 5\r\nold\r\n" + command)
            dialogue.exchange(ENVELOPE + b"BDAT 5 LAST\r\nnew\r\n")
            self.assertEqual(dialogue.messages, [b"new\r\n"])

    def test_empty(self) -> None:
        """A message of no octets is a message."""
        dialogue = begun()
        self.assertTrue(dialogue.exchange(b"BDAT 0 LAST\r\n").startswith(b"250 "))
        self.assertEqual(dialogue.messages, [b""])
