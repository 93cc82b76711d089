"""What has come from the client and is not read yet: command lines are taken off its front, one by one."""

from __future__ import annotations

import enum

_CR = 13


class LineFault(enum.Enum):
    """Why what stands before an LF is no command line."""

    TOO_LONG = "too long"
    #: RFC 5321 section 2.3.8 knows no line end but CR LF.
    BARE_LF = "bare LF"


class Lines:
    """A line longer than allowed is not stored: its octets are dropped until its LF has come."""

    __slots__ = ("_buffer", "_position", "_skipping")

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._skipping = False

    def __len__(self) -> int:
        """Octets not read yet."""
        return len(self._buffer) - self._position

    def add(self, data: bytes) -> None:
        rest = self._buffer[self._position :] if self._position < len(self._buffer) else b""
        self._buffer, self._position = (rest + data if rest else data), 0

    def clear(self) -> None:
        self._buffer, self._position, self._skipping = b"", 0, False

    def startswith(self, prefix: bytes) -> bool:
        """`prefix` in upper case; letters in either case are found."""
        return self._buffer[self._position : self._position + len(prefix)].upper() == prefix

    def take_all(self) -> bytes:
        data = self._buffer[self._position :] if self._position else self._buffer
        self._buffer, self._position = b"", 0
        return data

    def take_most(self, most: int) -> bytes:
        """At most `most` octets of what is here."""
        if len(self) <= most:
            return self.take_all()
        start, self._position = self._position, self._position + most
        return self._buffer[start : self._position]

    def take(self, limit: int) -> bytes | LineFault | None:
        """The next line without its CRLF, of at most `limit` octets with it; None when it is not whole."""
        start = self._position
        if self._skipping:
            return self._skip()
        end = self._buffer.find(b"\n", start, start + limit)
        if end < 0:
            if len(self) < limit:
                return None
            self._skipping = True
            return self._skip()
        self._position = end + 1
        line = self._buffer[start : end - 1] if end > start and self._buffer[end - 1] == _CR else None
        if not len(self):
            # An idle connection holds nothing.
            self.clear()
        return LineFault.BARE_LF if line is None else line

    def _skip(self) -> LineFault | None:
        end = self._buffer.find(b"\n", self._position)
        if end < 0:
            self._buffer, self._position = b"", 0
            return None
        self._position = end + 1
        self._skipping = False
        return LineFault.TOO_LONG
