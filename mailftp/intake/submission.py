"""What a submission server does to a header: complete it, and keep Bcc from being told (RFC 6409 section 8).

The header section is held until its end is seen, then completed and sent on; the rest of the message, which
may be a large file, passes through untouched.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from mailftp.intake.refused import Refused
from mailftp.message.dates import format_date
from mailftp.message.fields import without
from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

#: Octets of a header section, where nothing else is set.
HEADER_LIMIT = 256 * 1024

# A name of RFC 5322 section 3.6.8, the obsolete blank before the colon, and continuation lines.
_FIELDS = re.compile(rb"(?:[!-9;-~]{1,200}[ \t]*:[^\r\n]*+\r\n(?:[ \t][^\r\n]*+\r\n)*+)*+")
_DATE = re.compile(rb"(?im)^Date[ \t]*:")
_MESSAGE_ID = re.compile(rb"(?im)^Message-ID[ \t]*:")


def complete_header(header: bytes, *, hostname: str, now: float) -> bytes:
    """A header section (each line with its CRLF, no empty line) with Date and Message-ID where it has none
    (RFC 6409 section 8).

    They go on top, so that the message ends octet for octet as it was sent. Bcc and Resent-Bcc are taken
    out: whom they name is in the envelope (RFC 5322 section 3.6.3); below a broken line too, because there
    are readers that pass over one. Text whose first line is no field is no header, and loses nothing; a
    Date below an mbox "From " line counts as one.
    """
    added = b""
    if not _DATE.search(header):
        added += f"Date: {format_date(now)}\r\n".encode()
    if not _MESSAGE_ID.search(header):
        added += f"Message-ID: <{secrets.token_hex(16)}@{hostname}>\r\n".encode()
    if not header.startswith(b"From ") and not _fields_end(header):
        return added + header
    return added + without(header, ("Bcc", "Resent-Bcc"))


def _fields_end(held: bytes | bytearray) -> int:
    """Where the fields end: at the empty line, or at a line that is no field."""
    match = _FIELDS.match(held)
    return match.end() if match else 0


class CompletingSink:
    """A body sink that completes the header on its way."""

    def __init__(self, sink: BodySink, complete: Callable[[bytes], bytes], limit: int = HEADER_LIMIT) -> None:
        """`limit` is in octets of header, so of what one submitting connection holds here."""
        self._sink, self._limit = sink, limit
        self._complete = complete
        self._held: bytearray | None = bytearray()
        self._overflow = False

    def write(self, data: bytes) -> Deferred[None] | None:
        if self._held is None:
            return self._sink.write(data)
        if self._overflow:
            return None
        # The empty line may have begun in the piece before.
        searched = max(0, len(self._held) - 3)
        self._held += data
        if self._held.startswith(b"\r\n") or self._held.find(b"\r\n\r\n", searched) >= 0:
            return self._pass()
        if len(self._held) > self._limit:
            if self._held.find(b"\r\n", _fields_end(self._held)) >= 0:
                return self._pass()
            self._overflow = True
            self._held.clear()
        return None

    def _pass(self) -> Deferred[None] | None:
        """Send on the completed header and what is here of the body."""
        held, self._held = bytes(self._held or b""), None
        # The CRLF of the last line belongs to the header; no header at all starts with the empty line.
        end = 0 if held.startswith(b"\r\n") else held.find(b"\r\n\r\n") + 2
        if end == 1:
            end = _fields_end(held)
        return self._sink.write(self._complete(held[:end]) + held[end:])

    def finish(self) -> Deferred[StagedBody]:
        if self._overflow:
            return fail(Refused(552, "5.3.4", f"The header has more than {self._limit} octets"))
        wait = self._pass() if self._held is not None else None
        if wait is None:
            return self._sink.finish()
        return wait.addCallback(lambda _: self._sink.finish())

    def abort(self) -> None:
        self._held = bytearray()
        self._sink.abort()
