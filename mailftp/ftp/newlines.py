"""TYPE A: lines end in CR LF on the wire and in LF on disk (RFC 959 section 3.1.1.1).

The two are inverses: what is stored and retrieved in ASCII, or stored here and retrieved by a client on a
Unix system, is the same octets again. A CR that is not before a LF is a character like any other.
"""

from __future__ import annotations


def to_network(data: bytes) -> bytes:
    """Octets of a file for the wire; needs no memory of the chunk before."""
    return data.replace(b"\n", b"\r\n")


class FromNetwork:
    """Octets of the wire for a file, whatever the chunks are."""

    __slots__ = ("_return",)

    def __init__(self) -> None:
        #: The last chunk ended in CR, and what follows decides what it is.
        self._return = False

    def feed(self, data: bytes) -> bytes:
        if self._return:
            data = b"\r" + data
        self._return = data.endswith(b"\r")
        if self._return:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """What is still held when the upload is over."""
        held, self._return = (b"\r" if self._return else b""), False
        return held
