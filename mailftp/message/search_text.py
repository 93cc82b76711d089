"""What SEARCH looks for words in: header fields and texts of a message, decoded and casemapped.

RFC 3501 section 6.4.4 has TEXT look at header and body, and BODY at the body: that is here the parts that are
text, with their transfer encodings and character sets undone. What is in an image is not looked for.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterable, Iterator, Sequence

from mailftp.message.casemap import casemap
from mailftp.message.dates import written_day
from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import FIELD, header_bounds
from mailftp.message.index import Part
from mailftp.message.parameters import parse_content_type
from mailftp.message.transfer_encoding import decode, decoder
from mailftp.message.words import decode_charset, decode_words, known_charset

#: Octets of a part, encoded, that are decoded at one time.
PIECE = 1 << 20
#: Octets of a header that are looked at; a longer one is nobody's words.
MOST_HEADER = 1 << 20

_SPACES = re.compile(rb" {2,}")
_FOLDS = (b"\r\n ", b"\r\n\t", b"\n ", b"\n\t", b"\t")
_NO_LINES = bytes.maketrans(b"\r\n", b"  ")
_OCTETS = bytes | memoryview


def casemap_header(octets: bytes) -> bytes:
    """A header, or a field's value: unfolded, encoded words decoded, one space for several."""
    if b"=?" in octets or not octets.isascii():
        # A line end in an encoded word ends no line.
        octets = casemap(decode_words(octets)).translate(_NO_LINES)
    else:
        octets = octets.replace(b"\0", b"\xef\xbf\xbd").upper()
    return _spaced(octets)


def _spaced(octets: bytes) -> bytes:
    """One space for several, and for the end of a line that goes on. Five searches are faster than one for
    any of them."""
    for fold in _FOLDS:
        octets = octets.replace(fold, b" ")
    return _SPACES.sub(b" ", octets) if b"  " in octets else octets


def needle(text: str, header: bool = False) -> bytes:
    """What is looked for, as the texts here have it."""
    mapped = casemap(text.replace("\0", "\ufffd"))
    return _spaced(mapped) if header else mapped


@functools.lru_cache(maxsize=256)
def _field(name: bytes) -> re.Pattern[bytes]:
    value = rb"[^\n]*+(?:\n[ \t][^\n]*+)*+"
    return re.compile(rb"^%b[ \t]*+:(%b)" % (re.escape(name), value), re.IGNORECASE | re.MULTILINE)


def field_values(header: bytes, name: bytes) -> list[bytes]:
    """Of the fields of that name, in lower case, as octets; `header` may go on behind its end."""
    end = header_bounds(header)[0]
    return [value.strip(b" \t\r\n") for value in _field(name).findall(header, 0, end)]


def headers(prefix: bytes, data: _OCTETS, root: Part) -> Iterator[bytes]:
    """The message's header, then those of its parts; a field's value in it is as `casemap_header` has it."""
    yield _casemap_fields(prefix + bytes(data[: min(root.body, MOST_HEADER)]))
    for part in _within(root):
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


def texts(data: _OCTETS, root: Part, overlap: int) -> Iterator[bytes]:
    """Of the parts that are text. A long one comes in pieces, each of which begins with the last `overlap`
    octets, or somewhat more, of the one before."""
    for part in (root, *_within(root)):
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
    values = field_values(header, b"content-type")
    if not values or b"charset" not in values[0].lower():
        return b""
    return _charset_of(values[0])


@functools.lru_cache(maxsize=1024)
def _charset_of(content_type: bytes) -> bytes:
    """Cached: of ten thousand messages most have one of a handful."""
    kind = parse_content_type(text_of(content_type, (0, len(content_type)), Budget()))
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
