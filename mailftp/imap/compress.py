"""The two directions of COMPRESS=DEFLATE: RFC 4978, over the raw streams of RFC 1951.

Memory is bounded whatever the client sends, and given back while nothing is said. Our own direction has a
window of 16 KiB, 128 KiB in all (zlib: 2^(window bits + 2) + 2^(memory level + 9)); the client's has the
32 KiB that every client may use, and what it inflates to is taken in pieces: 64 KiB of a bomb are 64 MiB of
commands, and none of it exists before somebody has room for it.
"""

from __future__ import annotations

import zlib

#: RFC 4978 section 3: raw, without zlib's header; a client may use the largest window.
_INFLATE_WINDOW = -15
_DEFLATE_WINDOW = -14
_MEMORY_LEVEL = 7
#: zlib's own default. A window of 32 KiB saves nothing more on a listing of ENVELOPEs, level 7
#: saves 4 in 100.
_LEVEL = 6


class CompressionFault(Exception):
    """What the client sent is no deflate stream, or its stream has ended: nothing after it can be read, so
    the connection has to end."""


class Deflater:
    """Server to client."""

    def __init__(self) -> None:
        self._deflate: zlib._Compress | None = None
        self._used = False

    def compress(self, data: bytes) -> bytes:
        """The octets to send for `data`: all of it, so that the client waits for nothing that we hold.

        One call a reply or a piece of 256 KiB, and not one a line: each costs four octets and the flush.
        """
        if not data:
            return b""
        self._used = True
        if self._deflate is None:
            self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _DEFLATE_WINDOW, _MEMORY_LEVEL)
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def rest(self) -> None:
        """Called now and then: nothing was sent since the last time, so the 128 KiB are given back.

        A flush ends with a whole octet and no block is ever the last, so whatever comes next goes on with the
        same stream; it refers to nothing before it (RFC 1951 section 3.2).
        """
        if not self._used:
            self._deflate = None
        self._used = False


class Inflater:
    """Client to server. Feed what was read; then take until there is b"", before more is fed."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_INFLATE_WINDOW)
        self._waiting = b""

    @property
    def waiting(self) -> int:
        """Compressed octets that were fed and not looked at yet."""
        return len(self._waiting)

    def feed(self, data: bytes) -> None:
        """Take in compressed octets; nothing is inflated yet."""
        self._waiting += data

    def take(self, most: int) -> bytes:
        """At most so many inflated octets, which is at least 1; b"" when more has to be fed.

        Raises CompressionFault when the stream is damaged, or was ended by the client and goes on.
        """
        if most < 1:
            raise ValueError("there must be room for one octet: 0 would be no limit for zlib")
        if self._inflate.eof:
            if self._waiting or self._inflate.unused_data:
                raise CompressionFault("octets after the end of the compressed stream")
            return b""
        try:
            # Also with nothing waiting: zlib may hold octets that the last call had no room for.
            data = self._inflate.decompress(self._waiting, most)
        except zlib.error as error:
            raise CompressionFault(f"no deflate stream: {error}") from None
        self._waiting = self._inflate.unconsumed_tail
        return data
