"""Encoded words: RFC 2047, with RFC 2231's language, and what senders make of them."""

from __future__ import annotations

import binascii
import encodings.aliases
import re

_WORD = re.compile(rb"=\?([!#-'*+.\-0-9A-Z^-~]{1,40}+)\?([BbQq])\?([!->@-~]*+)\?=")
#: Between two encoded words space does not count (RFC 2047 section 6.2).
_SPACE = re.compile(rb"[ \t\r\n]*+\Z")
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
#: Only character sets are looked up. Any other name would make Python look for a module of that name,
#: and keep each one that there is not for ever; and some of its "encodings" are programs (idna is quadratic).
_CHARSETS = frozenset({*encodings.aliases.aliases, *encodings.aliases.aliases.values()}) - {
    "idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem", "rot_13", "rot13",
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec", "hex", "uu", "bz2",
    "base64", "base_64", "zip", "zlib", "quopri", "quoted_printable", "quotedprintable", "dbcs",
}  # fmt: skip


def decode_words(text: bytes) -> str:
    """A field's text for people: encoded words decoded, 8-bit octets taken as UTF-8 or else Latin-1.

    Never raises; an encoded word of an unknown character set stays as it is. What comes out can be
    stored anywhere: it has no NUL, which PostgreSQL refuses, and no half of a surrogate pair (UTF-7 can
    make one), which nothing encodes."""
    return _storable(_decode_words(text) if b"=?" in text else _raw(text))


def decode_charset(octets: bytes, charset: bytes) -> str:
    """A text of that character set, of which the last character may be cut; UTF-8 or else Latin-1 where the
    name is empty or nobody knows it. Storable, as `decode_words`."""
    name = known_charset(charset)
    # US-ASCII is what mail says that was never looked at.
    if not name or name in ("us_ascii", "ascii"):
        return _storable(octets.decode("utf-8", "ignore") if _cut_utf8(octets) else _raw(octets))
    return _storable(_decode(octets, name))


def _cut_utf8(octets: bytes) -> bool:
    """Whether it is UTF-8 but for a character that is cut at the end."""
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end == len(octets) and error.reason == "unexpected end of data"
    return True


def _decode_words(text: bytes) -> str:
    out: list[str] = []
    pending: list[bytes] = []
    charset = ""
    at = 0
    for found in _WORD.finditer(text):
        between = text[at : found.start()]
        name = known_charset(found[1])
        adjacent = at and _SPACE.match(between)
        if not name:
            continue
        # A character may be cut in two by the end of a word: the octets are joined before they are decoded.
        if pending and not (adjacent and name == charset):
            out.append(_decode(b"".join(pending), charset))
            pending = []
        if not adjacent:
            out.append(_raw(between))
        charset = name
        pending.append(_octets(found[2], found[3]))
        at = found.end()
    if pending:
        out.append(_decode(b"".join(pending), charset))
    out.append(_raw(text[at:]))
    return "".join(out)


def known_charset(name: bytes) -> str:
    """As Python's codecs have it, with _ for -; "" for one that nobody knows, and for what is no charset."""
    known = name.partition(b"*")[0].decode("ascii").lower().replace("-", "_")
    return known if known in _CHARSETS or known.replace(".", "_") in _CHARSETS else ""


def _octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Qq":
        return _Q_ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), text.replace(b"_", b" "))
    text = _NOT_BASE64.sub(b"", text)
    # One character over is no octet; the rest is padded, which binascii insists on.
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _decode(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):
        return _raw(octets)


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _raw(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")
