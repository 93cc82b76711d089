"""Sections and partials compared with Dovecot's, octet by octet, on sound messages and on spoilt ones.

MAILFTP_DIFFERENTIAL in the environment is how many spoilt messages are compared; CI takes 300.
"""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.sections import Kind, Section, Span, find_part, locate, parse_specifier, partial, select
from mailftp.message.index import MessageIndex, index_message
from tests.message import dovecot
from tests.message.test_dovecot import samples, spoil

SPECIFIERS = [
    b"", b"HEADER", b"TEXT", b"1", b"1.MIME", b"1.HEADER", b"1.TEXT", b"1.1", b"1.1.MIME", b"1.2", b"1.1.1",
    b"2", b"2.MIME", b"2.HEADER", b"2.TEXT", b"2.1", b"2.1.MIME", b"2.2", b"2.1.1", b"2.2.MIME", b"3",
    b"3.MIME", b"3.HEADER", b"3.1", b"4", b"9",
]  # fmt: skip
FIELDS = [b"", b"1.", b"2."]
NAMES = (b"SUBJECT", b"CONTENT-TYPE", b"TO")
PARTIALS = [(b"", 0, 70), (b"TEXT", 10, 50), (b"1", 3, 1000000), (b"HEADER", 5, 1), (b"2", 900000, 10)]


def section_of(
    index: MessageIndex, message: bytes, section: Section, cut: tuple[int, int] | None
) -> bytes | None:
    span = locate(index, 0, section)
    if span is None:
        return None
    if section.kind in (Kind.FIELDS, Kind.FIELDS_NOT):
        header = message[span.start : span.end]
        text = select(header, section.names, excluding=section.kind is Kind.FIELDS_NOT)
        message, span = text, Span(0, len(text))
    if cut:
        span = partial(span, *cut)
    return message[span.start : span.end]


def items() -> tuple[bytes, dict[bytes, tuple[Section, tuple[int, int] | None]]]:
    """What is asked of Dovecot, and for each item that it answers the section that it is."""
    asked = []
    wanted: dict[bytes, tuple[Section, tuple[int, int] | None]] = {}
    for specifier in SPECIFIERS:
        asked.append(b"BODY.PEEK[%b]" % specifier)
        wanted[b"BODY[%b]" % specifier] = (Section(*parse_specifier(specifier)), None)
    for before in FIELDS:
        for kind in (b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
            name = b"%b%b (%b)" % (before, kind, b" ".join(NAMES))
            asked.append(b"BODY.PEEK[%b]" % name)
            wanted[b"BODY[%b]" % name] = (Section(*parse_specifier(before + kind), NAMES), None)
    for specifier, origin, octets in PARTIALS:
        asked.append(b"BODY.PEEK[%b]<%d.%d>" % (specifier, origin, octets))
        wanted[b"BODY[%b]<%d>" % (specifier, origin)] = (
            Section(*parse_specifier(specifier)),
            (origin, octets),
        )
    return b" ".join(asked), wanted


def absent_one(index: MessageIndex, message: bytes, section: Section, theirs: bytes) -> bool:
    """Dovecot has a part `.1` in a part that is neither a multipart nor a message: the part itself, again.
    RFC 3501 section 6.4.5 numbers the parts of multiparts and of messages only."""
    numbers = section.numbers
    while numbers and locate(index, 0, section) is None:
        if numbers[-1] != 1:
            return False
        numbers = numbers[:-1]
        section = section._replace(numbers=numbers)
    # An empty line right before a delimiter is not shown: see `excused`.
    return bool(numbers) and section_of(index, message, section, None) in (theirs, theirs + b"\r\n")


def no_empty_line(index: MessageIndex, message: bytes, section: Section) -> bool:
    """The header is ended by a delimiter or the message's end, and no empty line is its own."""
    span = locate(index, 0, section)
    if span is None:
        return False
    header = message[span.start : span.end]
    # The empty line may be the line end that belongs to the delimiter (RFC 2046 section 5.1.1).
    return not header.endswith(b"\r\n\r\n") or message.startswith(b"--", span.end)


def excused(
    index: MessageIndex, message: bytes, section: Section, cut: tuple[int, int] | None, theirs: bytes
) -> bool:
    """Where the two may differ, and why."""
    mine = section_of(index, message, section, cut)
    if mine is None and index.root.media_type.startswith("multipart/") and not index.root.parts:
        # A Content-Type that is cut short: for us a multipart without parts, whose one part BODYSTRUCTURE
        # shows to be empty; for Dovecot not even a multipart.
        return section.numbers[0] == 1
    if mine is None:
        return absent_one(index, message, section, theirs)
    if section.kind in (Kind.FIELDS, Kind.FIELDS_NOT, Kind.HEADER, Kind.MIME):
        # RFC 3501 section 6.4.5: the empty line "is included in all header fetches, except in the case of a
        # message which has no body and no blank line". Dovecot adds one to such a header, and takes
        # away one that stands right before a delimiter; of a message within that ends so, its HEADER.FIELDS
        # run on into the next part.
        whole = section._replace(kind=Kind.HEADER) if section.kind is not Kind.MIME else section
        within = bool(section.numbers) and section.kind in (Kind.FIELDS, Kind.FIELDS_NOT)
        return no_empty_line(index, message, whole) and (
            within or theirs + b"\r\n" == mine or mine + b"\r\n" == theirs
        )
    # A multipart, or a message within, that an outer delimiter ends: Dovecot counts that one's line end in.
    # RFC 2046 section 5.1.1: "the CRLF preceding the boundary delimiter line is conceptually attached to the
    # boundary".
    part = find_part(index.root, section.numbers)
    if part is None or not part.parts and not part.media_type.startswith("multipart/"):
        return False
    return message.startswith(b"\r\n--", part.end) and theirs == mine + b"\r\n"


class DifferentialTests(SynchronousTestCase):
    def _compare(self, messages: list[bytes], excuses: float) -> None:
        """`excuses` is the share of sections that may differ for a reason that is written above."""
        asked, wanted = items()
        faults = []
        passed_over = 0
        for number, (message, theirs) in enumerate(
            zip(messages, dovecot.fetch(messages, asked), strict=True)
        ):
            index = index_message(message)
            for name, (section, cut) in wanted.items():
                mine = section_of(index, message, section, cut) or b""
                if mine == theirs[name]:
                    continue
                if excused(index, message, section, cut, theirs[name]):
                    passed_over += 1
                else:
                    faults.append(f"{number} {name!r}: ours {mine!r}, Dovecot's {theirs[name]!r}")
        self.assertEqual(faults, [])
        self.assertLessEqual(passed_over, excuses * len(messages) * len(wanted))

    def test_samples(self) -> None:
        """The standard library's test messages, many of them broken in ways that were met."""
        self._compare(samples(), excuses=0.06)

    def test_spoilt(self) -> None:
        """Messages with accidents."""
        sources = samples()
        source = random.Random(9051)
        count = int(os.environ.get("MAILFTP_DIFFERENTIAL", "300"))
        self._compare([spoil(source.choice(sources), source) for _ in range(count)], excuses=0.06)
