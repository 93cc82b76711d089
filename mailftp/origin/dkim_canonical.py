"""The two canonical forms of a header field and of a body: RFC 6376 section 3.4.

A body comes in pieces and is hashed as it arrives, in constant memory: 50 MB of empty lines are a count.
"""

from __future__ import annotations

import hashlib
import re

_BLANKS = re.compile(rb"[ \t]+")
_HELD = re.compile(rb" ?\r?\Z")
#: Empty lines hashed in one go.
_EMPTY_LINES = 16384


def canonical_field(field: bytes, relaxed: bool) -> bytes:
    """`field` is name, colon, value and its CRLF (sections 3.4.1 and 3.4.2)."""
    if not relaxed:
        return field
    name, _, value = field.partition(b":")
    value = _one_blank(value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"


class BodyHash:
    """SHA-256 of a canonical body (sections 3.4.3 to 3.4.5)."""

    def __init__(self, relaxed: bool, length: int | None = None) -> None:
        """`length` is the l= tag: octets of the canonical body that are hashed."""
        self._relaxed = relaxed
        self._room = length
        self._hash = hashlib.sha256()
        self._held = b""
        #: Line ends that count only when something follows them.
        self._ends = 0
        self._empty = True
        self._finished: tuple[bytes, bool] | None = None
        #: There was more than `length` octets: the rest is nobody's word.
        self.beyond = False

    def feed(self, piece: bytes) -> None:
        data = self._held + piece
        if self._relaxed:
            data = _one_blank(data).replace(b" \r\n", b"\r\n")
            # Not found by search(), which would try each octet of the piece.
            self._held = _last(data)
        else:
            self._held = b"\r" if data.endswith(b"\r") else b""
        self._lines(data[: len(data) - len(self._held)])

    def finish(self) -> tuple[bytes, bool]:
        """The digest, and whether the body had all the octets that l= counts. Several signatures may ask."""
        if self._finished is None:
            self._finished = self._end()
        return self._finished

    def _end(self) -> tuple[bytes, bool]:
        self._lines(self._held if b"\r" in self._held or not self._relaxed else b"")
        if not (self._relaxed and self._empty):
            self._update(b"\r\n")
        return self._hash.digest(), not self._room

    def _lines(self, data: bytes) -> None:
        end = len(data)
        while data.endswith(b"\r\n", 0, end):
            end -= 2
        ends = (len(data) - end) // 2
        if end == 0:
            self._ends += ends
            return
        while self._ends:
            count = min(self._ends, _EMPTY_LINES)
            self._update(b"\r\n" * count)
            self._ends -= count
        self._empty = False
        self._update(data[:end])
        self._ends = ends

    def _update(self, data: bytes) -> None:
        if self._room is not None:
            self.beyond = self.beyond or len(data) > self._room
            data = data[: self._room]
            self._room -= len(data)
        self._hash.update(data)


def _one_blank(data: bytes) -> bytes:
    """Each run of blanks as one space. Most text has none that is longer, and to see that takes a twentieth
    of the time."""
    return _BLANKS.sub(b" ", data) if b"  " in data or b"\t" in data else data


def _last(data: bytes) -> bytes:
    """What may belong to the blanks at the end of a line that the next piece ends."""
    found = _HELD.search(data, max(0, len(data) - 2))
    assert found is not None
    return found[0]
