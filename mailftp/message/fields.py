"""Header fields as spans of octets (RFC 5322 section 2.2). Nothing here copies a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: A field with its continuation lines. Possessive throughout: a header of 50 MB is looked at once.
#: RFC 5322 section 2.1.1 lets no line pass 998 octets, so no name does.
FIELD = re.compile(rb"(?:([^:\r\n]{0,998}+):)?+[^\n]*+(?:\n[ \t][^\n]*+)*+\n?+")
#: The empty line; a bare LF ends a line as well, for bodies that were stored so by others.
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


class Field(NamedTuple):
    """A header field: lower-case name; `start` and `end` span name, colon, value and its CRLF.

    A line that is no field (no colon, or more than 998 octets before it) has the name "".
    A tuple, because every message has dozens and a frozen dataclass costs four times as much to make.
    """

    name: bytes
    start: int
    end: int


def header_bounds(data: bytes, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """Where the fields that begin at `start` end, and where the body begins (after the empty line)."""
    if end is None:
        end = len(data)
    if data.startswith(b"\r\n", start, end):
        return start, start + 2
    if data.startswith(b"\n", start, end):
        return start, start + 1
    found = _EMPTY_LINE.search(data, start, end)
    if found is None:
        return end, end
    return found.start() + 1, found.end()


def header_end(data: bytes) -> int:
    """Offset of the body: after the empty line, or the end of `data` when there is none."""
    return header_bounds(data)[1]


def iter_spans(header: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Each field from `start` to `stop`: lower-case name, its start, the start of its value, its end."""
    for found in FIELD.finditer(header, start, stop):
        first, last = found.span()
        if last > first:
            colon = found.end(1)
            if colon < 0:
                yield b"", first, first, last
            else:
                yield found[1].rstrip(b" \t").lower(), first, colon + 1, last


def iter_fields(header: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Each field of `header` from `start`, up to the empty line or `end`. Offsets are into `header`."""
    stop = header_bounds(header, start, end)[0]
    for name, first, _, last in iter_spans(header, start, stop):
        yield Field(name, first, last)


def find(header: bytes, name: str) -> Field | None:
    """The first field of that name, in any case."""
    wanted = name.lower().encode("ascii")
    return next((field for field in iter_fields(header) if field.name == wanted), None)


def count(header: bytes, name: str) -> int:
    """How many fields have that name: `count(header, "Received")` are the hops."""
    wanted = name.lower().encode("ascii")
    return sum(field.name == wanted for field in iter_fields(header))


def value(header: bytes, field: Field) -> bytes:
    """The text after the colon, unfolded (RFC 5322 section 2.2.3) and without space around it."""
    text = header[field.start : field.end].partition(b":")[2].strip(b" \t\r\n")
    return _FOLD.sub(b"", text) if b"\n" in text else text


def get(header: bytes, name: str) -> bytes | None:
    """The `value` of the first field of that name, or None."""
    field = find(header, name)
    return None if field is None else value(header, field)


def without(data: bytes, names: Iterable[str]) -> bytes:
    """`data`, a header or a whole message, without the fields of these names (Bcc, Return-Path)."""
    unwanted = {name.lower().encode("ascii") for name in names}
    kept = []
    at = 0
    for field in iter_fields(data):
        if field.name in unwanted:
            kept.append(data[at : field.start])
            at = field.end
    if not at:
        return data
    kept.append(data[at:])
    return b"".join(kept)
