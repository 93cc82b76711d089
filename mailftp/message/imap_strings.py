"""Strings as IMAP sends them: RFC 3501 section 4.3 (RFC 9051 section 4.3 is the same here)."""

from __future__ import annotations

import re

#: What a quoted string may hold without an escape. NUL may be in neither form.
_PLAIN = re.compile(rb'[^"\\\r\n\0\x80-\xff]*+\Z')
_QUOTABLE = re.compile(rb"[^\r\n\0\x80-\xff]*+\Z")
_ESCAPED = re.compile(rb'(["\\])')
_REPLACEMENT = b"\xef\xbf\xbd"


def string(text: bytes) -> bytes:
    """A quoted string, or a literal for what has 8-bit octets or a line end, or would be all escapes."""
    if _PLAIN.match(text):
        return b'"' + text + b'"'
    if _QUOTABLE.match(text) and text.count(b'"') + text.count(b"\\") <= 4:
        return b'"' + _ESCAPED.sub(rb"\\\1", text) + b'"'
    text = text.replace(b"\0", _REPLACEMENT)
    return b"{%d}\r\n%s" % (len(text), text)


def nstring(text: bytes | None) -> bytes:
    """NIL, or a string."""
    return b"NIL" if text is None else string(text)
