"""What SEARCH looks for words in: header fields and texts of a message, decoded and casemapped.

RFC 3501 section 6.4.4 has TEXT look at header and body, and BODY at the body: that is here the parts that are
text, with their transfer encodings and character sets undone. What is in an image is not looked for.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence

from mailftp.message.casemap import casemap
from mailftp.message.dates import written_day
from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import FIELD, get
from mailftp.message.index import MessageIndex, Part
from mailftp.message.parameters import parse_content_type
from mailftp.message.transfer_encoding import decode, decoder
from mailftp.message.words import decode_charset, decode_words, known_charset

#: Octets of a part, encoded, that are decoded at one time.
PIECE = 1 << 20
#: Octets of a header that are looked at; a longer one is nobody's words.
MOST_HEADER = 1 << 20

_SPACE = re.compile(rb"(?:\r?\n)?[ \t]+")
_NO_LINES = bytes.maketrans(b"\r\n", b"  ")
_OCTETS = bytes | memoryview


def casemap_header(octets: bytes) -> bytes:
    """A header, or a field's value: unfolded, encoded words decoded, one space for several."""
    if b"=?" in octets or not octets.isascii():
        # A line end in an encoded word ends no line.
        octets = casemap(decode_words(octets)).translate(_NO_LINES)
    else:
        octets = octets.replace(b"\0", b"\xef\xbf\xbd").upper()
    return _SPACE.sub(b" ", octets)


def needle(text: str, header: bool = False) -> bytes:
    """What is looked for, as the texts here have it."""
    mapped = casemap(text.replace("\0", "\ufffd"))
    return _SPACE.sub(b" ", mapped) if header else mapped


def field_values(header: bytes, name: bytes) -> list[bytes]:
    """Of the fields of that name, in lower case, as octets; `header` may go on behind its end."""
    values = []
    for found in FIELD.finditer(header):
        if found[0] in (b"", b"\r\n", b"\n"):
            break
        written = found[1]
        if written is not None and written.rstrip(b" \t").lower() == name:
            values.append(found[0][len(written) + 1 :].strip(b" \t\r\n"))
    return values


def headers(prefix: bytes, data: _OCTETS, index: MessageIndex) -> Iterator[bytes]:
    """The message's header, then those of its parts; a field's value in it is as `casemap_header` has it."""
    yield _casemap_fields(prefix + bytes(data[: min(index.root.body, MOST_HEADER)]))
    for part in _within(index.root):
        if part.body > part.header:
            yield _casemap_fields(bytes(data[part.header : min(part.body, part.header + MOST_HEADER)]))


def _casemap_fields(header: bytes) -> bytes:
    if header.isascii() and b"=?" not in header:
        return casemap_header(header)
    # Each for itself: octets of one that are no UTF-8 say nothing of the next one.
    fields = (found[0].rstrip(b"\r\n") for found in FIELD.finditer(header))
    return b"".join(b"%b\r\n" % casemap_header(field) for field in fields)


def sent_day(header: bytes) -> int | None:
    """The day of the last Date field as it is written, in days since the epoch; None without one."""
    dates = field_values(header, b"date")
    return written_day(text_of(dates[-1], (0, len(dates[-1])), Budget())) if dates else None


def texts(data: _OCTETS, index: MessageIndex, overlap: int) -> Iterator[bytes]:
    """Of the parts that are text. A long one comes in pieces, each of which begins with the last `overlap`
    octets, or somewhat more, of the one before."""
    for part in (index.root, *_within(index.root)):
        if not part.parts and part.media_type.startswith(("text/", "message/")) and part.end > part.body:
            charset = _charset(bytes(data[part.header : min(part.body, part.header + MOST_HEADER)]))
            if part.end - part.body <= PIECE:
                yield _text(bytes(data[part.body : part.end]), part.encoding, charset)
            else:
                yield from _pieces(data, part, charset, overlap)


def _within(part: Part) -> Iterator[Part]:
    for child in part.parts:
        yield child
        yield from _within(child)


def _charset(header: bytes) -> bytes:
    value = get(header, "Content-Type") if b"charset" in header.lower() else None
    if value is None:
        return b""
    kind = parse_content_type(text_of(value, (0, len(value)), Budget()))
    return (kind.parameter(b"charset") or b"") if kind else b""


def _text(data: bytes, encoding: str, charset: bytes) -> bytes:
    decoded = decode(data, encoding)
    if decoded is None:
        decoded = data
    if known_charset(charset) in _ASCII_BASED and decoded.isascii() and b"\0" not in decoded:
        return decoded.upper()
    return casemap(decode_charset(decoded, charset))


#: Octets up to 127 are what they are in ASCII, and there are no escapes.
_ASCII_BASED = frozenset(
    (
        "",
        "ascii",
        "us_ascii",
        "utf_8",
        "utf8",
        "latin_1",
        "iso_8859_1",
        "iso_8859_15",
        "windows_1252",
        "cp1252",
    )
)


def _pieces(data: _OCTETS, part: Part, charset: bytes, overlap: int) -> Iterator[bytes]:
    work = decoder(part.encoding) or decoder("binary")
    assert work is not None
    name = known_charset(charset)
    if name in ("", "ascii", "us_ascii"):
        name = "utf_8"
    text = codecs.getincrementaldecoder(name)("replace")
    kept = b""
    for start in range(part.body, part.end, PIECE):
        piece = work.feed(bytes(data[start : min(start + PIECE, part.end)]))
        last = start + PIECE >= part.end
        if last:
            piece += work.finish()
        kept += casemap(_UNSTORABLE.sub("\ufffd", text.decode(piece, last)))
        yield kept
        kept = kept[-overlap:] if overlap else b""


_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")


def found_in(pieces: Iterable[bytes], needles: Sequence[bytes]) -> frozenset[bytes]:
    """Those of the needles that one of the pieces holds."""
    left = list(needles)
    found = []
    for piece in pieces:
        here = [word for word in left if word in piece]
        if here:
            found += here
            left = [word for word in left if word not in here]
            if not left:
                break
    return frozenset(found)
