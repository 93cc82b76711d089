"""Content-Transfer-Encoding undone: RFC 2045 section 6. Piece by piece, so that nothing is held of a part of
50 MB; what is broken is decoded as far as it goes, as every client does."""

from __future__ import annotations

import binascii
import re
from typing import Protocol

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
#: Line ends, and what has no meaning (RFC 2045 section 6.8: it is ignored).
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
#: Space before a line end was added on the way (RFC 2045 section 6.7, rule 3). The look behind keeps a line
#: of a million spaces from being looked at from each of them.
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
#: Octets of quoted-printable without a line end that are looked at together.
_LONG_LINE = 8192


class Decoder(Protocol):
    def feed(self, data: bytes) -> bytes:
        """What can be decoded by now."""

    def finish(self) -> bytes:
        """The rest, when all was fed."""


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Base64:
    def __init__(self) -> None:
        self._left = b""
        self._over = False

    def feed(self, data: bytes) -> bytes:
        if self._over:
            # After the padding: what a mailing list has put beneath.
            return b""
        text = self._left + data.translate(None, _NOT_BASE64)
        padding = text.find(b"=")
        if padding >= 0:
            self._over = True
            text = text[:padding]
        whole = len(text) & ~3
        self._left = text[whole:]
        return binascii.a2b_base64(text[:whole])

    def finish(self) -> bytes:
        left, self._left = self._left, b""
        # One character alone is no octet.
        return binascii.a2b_base64(left + b"=" * (4 - len(left))) if len(left) > 1 else b""


class _QuotedPrintable:
    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> bytes:
        text = self._left + data
        # Whole lines: an escape or a soft line end may be cut.
        end = text.rfind(b"\n") + 1
        if not end and len(text) > _LONG_LINE:
            end = text.rfind(b"=", len(text) - 2)
            if end < 0:
                end = len(text)
            # Spaces may turn out to be at the end of the line, but not without end.
            kept = len(text[:end].rstrip(b" \t\r"))
            end = kept if end - kept < _LONG_LINE else end
        self._left = text[end:]
        return _unquote(text[:end])

    def finish(self) -> bytes:
        left, self._left = self._left, b""
        return _unquote(left)


def _unquote(text: bytes) -> bytes:
    if b" \r\n" in text or b"\t\r\n" in text or b" \n" in text or b"\t\n" in text:
        text = _TRAILING.sub(b"", text)
    return binascii.a2b_qp(text)


def decoder(encoding: str) -> Decoder | None:
    """For a part's encoding, in lower case (mailftp.message.index.Part); None for one that nobody knows."""
    if encoding in ("7bit", "8bit", "binary"):
        return _Identity()
    if encoding == "base64":
        return _Base64()
    if encoding == "quoted-printable":
        return _QuotedPrintable()
    return None


def decode(data: bytes, encoding: str) -> bytes | None:
    """All at once; None for an encoding that nobody knows."""
    work = decoder(encoding)
    return None if work is None else work.feed(data) + work.finish()
