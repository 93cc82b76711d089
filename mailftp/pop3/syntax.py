"""POP3 as octets: command lines, numbers, base64, replies, and a message as RETR and TOP send it.

RFC 1939 sections 3 and 9, RFC 2449 section 4, RFC 5034 section 4. Pure functions, and two small machines that
take a message in pieces.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

#: Octets of a command line, its CRLF not counted. RFC 2449 section 4 says 255 with it.
COMMAND_LINE = 255
#: Octets of a line in a SASL exchange (RFC 5034 section 4).
SASL_LINE = 12288

_COMMAND = re.compile(rb"([A-Za-z][A-Za-z0-9]{0,11})(?: (.*))?\Z", re.DOTALL)
_NUMBER = re.compile(rb"[0-9]{1,10}\Z")
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}\Z")


class SyntaxFault(Exception):
    """The text is what the client is told after -ERR."""


@dataclass(frozen=True, slots=True)
class Command:
    #: Upper case.
    verb: bytes
    #: What follows the space, blanks at its end taken off; b"" where there is nothing.
    argument: bytes


def parse_command(line: bytes) -> Command:
    """RFC 1939 section 3: a keyword in any case, then arguments after a space. Raises SyntaxFault.

    Blanks at the end are passed over, which some clients send; not those of PASS, as a password may end
    in one (section 7).
    """
    match = _COMMAND.match(line if line[:5].upper() == b"PASS " else line.rstrip(b" \t"))
    if match is None:
        raise SyntaxFault("malformed command")
    verb = match[1].upper()
    argument = match[2] or b""
    return Command(verb, argument if verb == b"PASS" else argument.lstrip(b" "))


def parse_number(text: bytes) -> int:
    """A number of at most ten digits. Raises SyntaxFault."""
    if _NUMBER.match(text) is None:
        raise SyntaxFault("a number is expected")
    return int(text)


def parse_top(argument: bytes) -> tuple[int, int]:
    """TOP's message number and number of lines (RFC 1939 section 7). Raises SyntaxFault."""
    parts = argument.split()
    if len(parts) != 2:
        raise SyntaxFault("TOP wants a message number and a number of lines")
    return parse_number(parts[0]), parse_number(parts[1])


def parse_auth(argument: bytes) -> tuple[str, bytes | None]:
    """AUTH's mechanism, upper case, and the initial response or None (RFC 5034 section 4).

    Raises SyntaxFault.
    """
    mechanism, _, initial = argument.partition(b" ")
    if _MECHANISM.match(mechanism) is None:
        raise SyntaxFault("malformed mechanism name")
    initial = initial.strip(b" ")
    if not initial:
        return mechanism.decode("ascii").upper(), None
    return mechanism.decode("ascii").upper(), b"" if initial == b"=" else parse_base64(initial)


def parse_base64(text: bytes) -> bytes:
    """RFC 4648, strictly: one text for one value. Raises SyntaxFault."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SyntaxFault("malformed base64") from None
    if base64.b64encode(data) != text:
        raise SyntaxFault("malformed base64")
    return data


def challenge(data: bytes) -> bytes:
    """A SASL challenge (RFC 5034 section 4)."""
    return b"+ " + base64.b64encode(data) + b"\r\n"


class Stuffing:
    """Doubles the dot at the start of a line (RFC 1939 section 3), in a message that comes in pieces, so that
    none of its lines ends the reply before its time."""

    __slots__ = ("_line_start",)

    def __init__(self) -> None:
        self._line_start = True

    def feed(self, piece: bytes) -> bytes:
        if not piece:
            return piece
        stuffed = piece.replace(b"\n.", b"\n..")
        if self._line_start and piece.startswith(b"."):
            stuffed = b"." + stuffed
        self._line_start = piece.endswith(b"\n")
        return stuffed

    def end(self) -> bytes:
        """The end of the reply; a last line that lacks its CRLF gets it."""
        return b".\r\n" if self._line_start else b"\r\n.\r\n"


class Excerpt:
    """TOP (RFC 1939 section 7) of a message that comes in pieces: header, empty line, so many lines."""

    __slots__ = ("_before", "_in_header", "_left")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_header = True
        # A message whose first line is empty has no header.
        self._before = b"\r\n"

    @property
    def complete(self) -> bool:
        """No more of the message is wanted."""
        return not self._in_header and not self._left

    def feed(self, piece: bytes) -> bytes:
        """What of this piece belongs to the reply."""
        if not self._in_header:
            return self._lines(piece)
        text = self._before + piece
        found = text.find(b"\r\n\r\n")
        if found < 0:
            self._before = text[-3:]
            return piece
        self._in_header = False
        end = found + 4 - len(self._before)
        return piece[:end] + self._lines(piece[end:])

    def _lines(self, piece: bytes) -> bytes:
        there = piece.count(b"\n")
        if there < self._left:
            self._left -= there
            return piece
        end = 0
        while self._left:
            end = piece.index(b"\n", end) + 1
            self._left -= 1
        return piece[:end]


def message_reply(heading: bytes, prefix: bytes, body: bytes, dot_free: bool, lines: int | None) -> bytes:
    """`heading` and a message that is in memory: all of it, or for TOP its header and `lines`. Its octets are
    copied once."""
    if lines is not None:
        excerpt = Excerpt(lines)
        prefix = excerpt.feed(prefix)
        body = excerpt.feed(body)
    if dot_free:
        last = body or prefix
        end = b".\r\n" if not last or last.endswith(b"\n") else b"\r\n.\r\n"
        return b"".join((heading, prefix, body, end))
    stuffing = Stuffing()
    return b"".join((heading, stuffing.feed(prefix), stuffing.feed(body), stuffing.end()))
