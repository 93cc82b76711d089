"""Sections of messages: RFC 3501 section 6.4.5."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.sections import (
    MAX_NUMBERS,
    Kind,
    Section,
    Span,
    Split,
    find_part,
    locate,
    parse_specifier,
    partial,
    select,
    split,
)
from mailftp.message.index import index_message

PREFIX = b"Return-Path: <a@b.test>\r\nDelivered-To: c@d.test\r\n"

#: The message that the RFC gives as its example, made real.
INNER = b"\r\n".join([
    b"Subject: inner", b"Content-Type: multipart/alternative; boundary=in", b"",
    b"--in", b"Content-Type: text/plain", b"", b"4.2.2.1", b"--in", b"Content-Type: text/richtext", b"",
    b"4.2.2.2", b"--in--",
])  # fmt: skip
BODY = b"\r\n".join([
    b"Subject: outer", b"From: a@b.test", b"Content-Type: multipart/mixed; boundary=out", b"", b"preamble",
    b"--out", b"Content-Type: text/plain", b"", b"one",
    b"--out", b"Content-Type: application/octet-stream", b"X-Two: yes", b"", b"two",
    b"--out", b"Content-Type: message/rfc822", b"", INNER,
    b"--out", b"Content-Type: message/rfc822", b"", b"Subject: plain", b"", b"leaf",
    b"--out--", b"",
])  # fmt: skip
INDEX = index_message(BODY)
SEEN = PREFIX + BODY


def octets(specifier: bytes) -> bytes | None:
    span = locate(INDEX, len(PREFIX), Section(*parse_specifier(specifier)))
    return None if span is None else SEEN[span.start : span.end]


class LocateTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """The prefix is part of the message and of its header, and of nothing else."""
        end = BODY.index(b"\r\n\r\n") + 4
        self.assertEqual(octets(b""), SEEN)
        self.assertEqual(octets(b"HEADER"), PREFIX + BODY[:end])
        self.assertEqual(octets(b"TEXT"), BODY[end:])

    def test_parts(self) -> None:
        """Numbers, MIME headers, and messages within."""
        expected = {
            b"1": b"one",
            b"1.MIME": b"Content-Type: text/plain\r\n\r\n",
            b"2": b"two",
            b"2.MIME": b"Content-Type: application/octet-stream\r\nX-Two: yes\r\n\r\n",
            # As in Dovecot, the line end of the inner close-delimiter is the inner message's.
            b"3": INNER + b"\r\n",
            b"3.HEADER": INNER[: INNER.index(b"\r\n\r\n") + 4],
            b"3.TEXT": INNER[INNER.index(b"\r\n\r\n") + 4 :] + b"\r\n",
            b"3.1": b"4.2.2.1",
            b"3.2": b"4.2.2.2",
            b"3.2.MIME": b"Content-Type: text/richtext\r\n\r\n",
            b"4": b"Subject: plain\r\n\r\nleaf",
            b"4.1": b"leaf",
            b"4.1.MIME": b"Subject: plain\r\n\r\n",
            b"4.TEXT": b"leaf",
        }
        self.assertEqual({name: octets(name) for name in expected}, expected)

    def test_absent(self) -> None:
        """What the message does not have; a text has no HEADER and no parts."""
        for name in (b"5", b"1.1", b"1.HEADER", b"1.TEXT", b"3.3", b"3.1.1", b"4.2", b"4.1.1", b"4294967295"):
            self.assertIsNone(octets(name), name)

    def test_message_without_parts(self) -> None:
        """It is its own part 1, whose MIME header is the message's."""
        body = b"Subject: x\r\n\r\ntext\r\n"
        index = index_message(body)
        self.assertEqual(locate(index, 10, Section((1,))), Span(24, 30))
        self.assertEqual(locate(index, 10, Section((1,), Kind.MIME)), Span(0, 24))
        self.assertIsNone(find_part(index.root, (1, 1)))
        self.assertIsNone(find_part(index.root, (2,)))

    def test_partial_and_split(self) -> None:
        """RFC 3501: what begins beyond the end is empty, what ends there is cut."""
        self.assertEqual(partial(Span(10, 20), 3, 4), Span(13, 17))
        self.assertEqual(partial(Span(10, 20), 3, 400), Span(13, 20))
        self.assertEqual(partial(Span(10, 20), 11, 4), Span(20, 20))
        for start in range(len(SEEN) + 1):
            end = min(start + 40, len(SEEN))
            parts: Split = split(Span(start, end), len(PREFIX))
            joined = PREFIX[slice(*parts.prefix)] + BODY[slice(*parts.body)]
            self.assertEqual(joined, SEEN[start:end])


class SpecifierTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Any case; numbers before any kind."""
        self.assertEqual(parse_specifier(b""), ((), Kind.WHOLE))
        self.assertEqual(parse_specifier(b"header"), ((), Kind.HEADER))
        self.assertEqual(parse_specifier(b"1.20.Header.Fields.Not"), ((1, 20), Kind.FIELDS_NOT))
        self.assertEqual(parse_specifier(b"1.2"), ((1, 2), Kind.WHOLE))
        self.assertEqual(parse_specifier(b"3.mime"), ((3,), Kind.MIME))

    def test_bad(self) -> None:
        """Each of these is refused."""
        for text in (
            b"0", b"1.", b".1", b"1..2", b"01", b"MIME", b"1HEADER", b"1 ", b"TEXT.1", b"HEADER.FIELDS.",
            b"x", b"4294967296",
            b"\xd9\xa3", b"1_0", b"1\n", b"TEXT\n", b".".join([b"1"] * (MAX_NUMBERS + 1)),
            b"1." * 100_000,
        ):  # fmt: skip
            self.assertRaises(ValueError, parse_specifier, text)


class SelectTests(SynchronousTestCase):
    HEADER = (
        b"To: a@b.test,\r\n\tc@d.test\r\nX-To: no\r\nto : again\r\n"
        b"rubbish\r\nSubject: To: me\r\n To: fold\r\n\r\n"
    )

    def test_chosen(self) -> None:
        """All fields of a name, folded ones whole, in their order; the empty line stays."""
        self.assertEqual(select(self.HEADER, (b"tO",)), b"To: a@b.test,\r\n\tc@d.test\r\nto : again\r\n\r\n")
        self.assertEqual(select(self.HEADER, (b"Nothing",)), b"\r\n")
        self.assertEqual(select(self.HEADER, (b".*", b"X-T.")), b"\r\n")

    def test_others(self) -> None:
        """What is not chosen is the rest: no octet is in both, none is lost."""
        self.assertEqual(
            select(self.HEADER, (b"to",), excluding=True),
            b"X-To: no\r\nrubbish\r\nSubject: To: me\r\n To: fold\r\n\r\n",
        )
        for names in ((b"to",), (b"subject", b"x-to"), (b"nothing",)):
            size = len(select(self.HEADER, names)) - 2 + len(select(self.HEADER, names, excluding=True))
            self.assertEqual(size, len(self.HEADER))

    def test_no_empty_line(self) -> None:
        """A message that is cut within its header has none to repeat."""
        self.assertEqual(select(b"To: a\r\nSubject: b", (b"subject",)), b"Subject: b")
        self.assertEqual(select(b"", (b"subject",)), b"")
