"""The sections of a message that FETCH names, as offsets: RFC 3501 section 6.4.5, RFC 9051 section 6.4.5.

The message that a client sees is the prefix of its own copy (trace header fields) and the stored body. All
offsets that leave this module are into that; `split` says which of it lies where. No octet of a message is
needed but for HEADER.FIELDS, whose header is read whole and cut by `select`.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import NamedTuple

from mailftp.message.index import MessageIndex, Part

#: Numbers in a part specifier; no message that we open is nested as deep (mailftp.message.mime.MAX_DEPTH).
MAX_NUMBERS = 200

#: RFC 3501 section 9, section-spec: part numbers (nz-number, 32 bits), then what of the part.
_SPECIFIER = re.compile(
    rb"((?:[1-9][0-9]{0,9}(?:\.(?=[0-9A-Za-z])|\Z))*+)(HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME)?\Z",
    re.IGNORECASE | re.ASCII,
)


class Kind(enum.Enum):
    #: A whole message without part numbers, or a part's body.
    WHOLE = b""
    HEADER = b"HEADER"
    FIELDS = b"HEADER.FIELDS"
    FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


class Section(NamedTuple):
    """What stands between the brackets. `names` are those of the two HEADER.FIELDS, as the client wrote them:
    the response repeats them."""

    numbers: tuple[int, ...] = ()
    kind: Kind = Kind.WHOLE
    names: tuple[bytes, ...] = ()


class Span(NamedTuple):
    """Octets of the message that the client sees."""

    start: int
    end: int


class Split(NamedTuple):
    """Where a Span lies: in the prefix of the copy, and in the stored body. Either may be empty."""

    prefix: Span
    body: Span


def parse_specifier(text: bytes) -> tuple[tuple[int, ...], Kind]:
    """`1.2.HEADER.FIELDS`: the atom between the brackets, before a list of names. Raises ValueError."""
    found = _SPECIFIER.match(text)
    if found is None or text.endswith(b"."):
        raise ValueError("no section of a message has that form")
    digits = [number for number in found[1].split(b".") if number]
    numbers = tuple(int(number) for number in digits)
    if len(numbers) > MAX_NUMBERS or any(number > 0xFFFFFFFF for number in numbers):
        raise ValueError("a part number is too large, or there are too many")
    kind = Kind((found[2] or b"").upper())
    if kind is Kind.MIME and not numbers:
        raise ValueError("MIME wants the number of a part before it")
    return numbers, kind


def locate(index: MessageIndex, prefix: int, section: Section) -> Span | None:
    """Where the section lies, in a copy whose prefix has so many octets; None when there is no such part. For
    HEADER.FIELDS it is the header, for `select` to cut.

    For None the response is "" and not NIL, and the command is OK: so do Dovecot and UW, and clients that ask
    for parts by a guess (1.TEXT of a text) are used to it.
    """
    root = index.root
    kind = section.kind
    if not section.numbers:
        if kind is Kind.WHOLE:
            return Span(0, prefix + root.end)
        if kind is Kind.TEXT:
            return Span(prefix + root.body, prefix + root.end)
        return Span(0, prefix + root.body)
    part = find_part(root, section.numbers)
    if part is None:
        return None
    if kind is Kind.WHOLE:
        return Span(prefix + part.body, prefix + part.end)
    if kind is Kind.MIME:
        # Part 1 of a message without parts: its MIME header is the message's own.
        return Span(prefix + part.header if part is not root else 0, prefix + part.body)
    if part.media_type != "message/rfc822":
        # HEADER and TEXT are of a message within; nothing else has them.
        return None
    inner = part.parts[0]
    if kind is Kind.TEXT:
        return Span(prefix + inner.body, prefix + inner.end)
    return Span(prefix + inner.header, prefix + inner.body)


def find_part(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """The part of that number, RFC 3501 section 6.4.5: a message without parts is its own part 1, and the
    numbers below a message/rfc822 are those of the message within."""
    holder: Part | None = root
    part = root
    for number in numbers:
        if holder is None:
            return None
        if holder.media_type.startswith("multipart/"):
            if number > len(holder.parts):
                return None
            part = holder.parts[number - 1]
        elif number == 1:
            part = holder
        else:
            return None
        if part.media_type == "message/rfc822":
            holder = part.parts[0]
        else:
            holder = part if part is not holder and part.parts else None
    return part


def partial(span: Span, origin: int, octets: int) -> Span:
    """`<origin.octets>` of a section: what there is of it, perhaps nothing."""
    start = min(span.start + origin, span.end)
    return Span(start, min(start + octets, span.end))


def split(span: Span, prefix: int) -> Split:
    """Where a span of the message lies, in a copy whose prefix has so many octets."""
    return Split(
        Span(min(span.start, prefix), min(span.end, prefix)),
        Span(max(span.start - prefix, 0), max(span.end - prefix, 0)),
    )


def select(header: bytes, names: tuple[bytes, ...], *, excluding: bool = False) -> bytes:
    """The fields of these names (ASCII case does not count), or with `excluding` all others, in the order of
    the header; then the empty line, when the header has one."""
    pattern = _pattern(names)
    if excluding:
        return pattern.sub(b"", header)
    chosen = pattern.findall(header)
    if header.endswith(b"\n\r\n") or header == b"\r\n":
        chosen.append(b"\r\n")
    elif header.endswith(b"\n\n") or header == b"\n":
        chosen.append(b"\n")
    return b"".join(chosen)


@lru_cache(maxsize=64)
def _pattern(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """One search for all fields of these names: a list of 10,000 messages asks for the same three."""
    different = dict.fromkeys(name.lower().rstrip(b" \t") for name in names)
    wanted = b"|".join(map(re.escape, different))
    return re.compile(
        rb"^(?:%b)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?+" % wanted, re.IGNORECASE | re.MULTILINE
    )
