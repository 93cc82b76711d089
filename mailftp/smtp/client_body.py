"""The message on its way out: what BDAT sends, and what DATA sends, exactly stuffed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class OutgoingBody:
    """What is sent, unstuffed: `prefix`, then `data` or `length` octets of the file
    `descriptor` from its start."""

    prefix: bytes
    length: int
    data: bytes | None = None
    descriptor: int = -1
    eightbit: bool = False
    #: Its header holds UTF-8 (RFC 6532), so that only a far side with SMTPUTF8 may have it.
    smtputf8: bool = False

    @property
    def size(self) -> int:
        return len(self.prefix) + self.length


class LineEnds:
    """Over pieces cut anywhere.

    Stored bodies have CRLF line ends, and so has what is sent: a CR or LF that stands alone is sent as a
    line end. A far side that took one for the end of a line while we did not would read "<LF>.<CR><LF>" in
    a body as the end of the message, and what comes after it as commands of ours (SMTP smuggling).
    """

    def __init__(self) -> None:
        self._line_start = True
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        data = self._held + piece
        self._held = b""
        if data.endswith(b"\r"):
            # Its LF may come with the next piece.
            data, self._held = data[:-1], b"\r"
        if not data:
            return b""
        ends = data.count(b"\r\n")
        if data.count(b"\n") != ends or data.count(b"\r") != ends:
            data = _LINE_END.sub(b"\r\n", data)
        self._line_start = data.endswith(b"\r\n")
        return data

    def finish(self) -> bytes:
        """What completes a last line without its CRLF."""
        return b"\r\n" if self._held or not self._line_start else b""


class DotStuffer(LineEnds):
    """RFC 5321 section 4.5.2, for DATA."""

    def feed(self, piece: bytes) -> bytes:
        line_start = self._line_start
        data = super().feed(piece)
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        return b"." + stuffed if line_start and data.startswith(b".") else stuffed

    def finish(self) -> bytes:
        """The end of the message."""
        return super().finish() + b".\r\n"
