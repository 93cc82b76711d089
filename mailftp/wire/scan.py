"""Lines and counted octets out of what a connection receives, however the network cuts it.

The caller pulls, so that it can change its mind between two lines of one chunk: after DATA the rest is no
commands, after STARTTLS it is thrown away, after a literal's "{10}" ten octets are taken as they are.
"""

from __future__ import annotations

import enum
from typing import Final


class TooLong(enum.Enum):
    """What `LineScanner.line` gives for a line above the limit."""

    TOO_LONG = "too long"


TOO_LONG: Final = TooLong.TOO_LONG


class LineScanner:
    """A buffer that gives lines. It holds what was fed and not taken, and of a line that has no end yet
    never more than the limit.

        scanner.feed(data)
        while (line := scanner.line()) is not None:
            if line is TOO_LONG: ...
    """

    __slots__ = ("_data", "_end", "_looked", "_position", "_skipping", "limit")

    def __init__(self, limit: int, lone_lf: bool = False) -> None:
        """`limit` is in octets, the line end not counted.

        Lines end in CRLF and a CR or LF alone is part of the line, for the caller's syntax to refuse (it
        is how commands are smuggled). With `lone_lf` a line also ends in LF alone, as FTP clients and
        people at telnet send it.
        """
        self.limit = limit
        self._end = b"\n" if lone_lf else b"\r\n"
        self._data = b""
        self._position = 0
        # Where to look on for the line's end: a line fed octet by octet is looked at once, not n times.
        self._looked = 0
        self._skipping = False

    def __len__(self) -> int:
        """Octets fed and not taken."""
        return len(self._data) - self._position

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        if self._position == len(self._data):
            self._data = data
            self._looked = 0
        else:
            self._data = self._data[self._position :] + data
            self._looked = max(0, self._looked - self._position)
        self._position = 0

    def line(self) -> bytes | TooLong | None:
        """The next line without its end; None when it is not complete yet.

        TOO_LONG is given as soon as a line is known to be too long, once; the rest of it, up to its end,
        is dropped as it comes.
        """
        if self._position == len(self._data):
            # Behind the last command of most chunks.
            return None
        while True:
            found = self._data.find(self._end, max(self._looked, self._position))
            if found < 0:
                return self._incomplete()
            start, self._position = self._position, found + len(self._end)
            self._looked = self._position
            if self._skipping:
                self._skipping = False
                continue
            if len(self._end) == 1 and found > start and self._data[found - 1] == 13:
                found -= 1
            return TOO_LONG if found - start > self.limit else self._data[start:found]

    def take(self, most: int) -> bytes:
        """The next octets, at most `most`, whatever they are: b"" when there are none."""
        end = min(len(self._data), self._position + most)
        taken = self._data[self._position : end]
        self._position = end
        self._looked = max(self._looked, end)
        return taken

    def clear(self) -> None:
        """Throw everything away, as STARTTLS demands."""
        self._data = b""
        self._position = self._looked = 0
        self._skipping = False

    def _incomplete(self) -> TooLong | None:
        # The last octet may be the CR of a line end that is cut in two.
        tail = 1 if self._data.endswith(b"\r") else 0
        self._looked = max(self._position, len(self._data) - tail)
        if self._skipping:
            self._position = len(self._data) - tail
        elif len(self) - tail > self.limit:
            self._skipping = True
            self._position = len(self._data) - tail
            return TOO_LONG
        return None
