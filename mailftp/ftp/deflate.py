"""MODE Z: transfers in the form of zlib (draft-preston-ftpext-deflate-03, RFC 1950), as lftp has it.

Octets are compressed and taken apart on the reactor's thread, so in portions that take less than a
millisecond each. What arrives may be a bomb, a thousand times as large as it came: each portion goes through
the same limits as any upload, and between two of them others have their turn.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock

from mailftp.ftp.data import DataLost

#: The fastest level: higher ones win some percent and cost several times as much.
LEVEL = 1
#: Octets of a file that are compressed at a time, and at most made of what came.
PIECE = 64 * 1024
PORTION = 256 * 1024


class Deflating:
    """Pieces of a transfer, compressed: `read` gives them, and b"" at the end, and so does `piece`."""

    def __init__(self, read: Callable[[], Deferred[bytes]]) -> None:
        self._read = read
        self._compressor = zlib.compressobj(LEVEL)
        self._over = False

    def piece(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self._piece())

    async def _piece(self) -> bytes:
        made = b""
        while not made and not self._over:
            data = await self._read()
            self._over = not data
            made = self._compressor.compress(data) if data else self._compressor.flush()
        return made


class Inflating:
    """An upload that comes compressed; `write` takes what is in it."""

    def __init__(
        self, write: Callable[[bytes], Deferred[None] | None], moment: Callable[[], Deferred[None]]
    ) -> None:
        """`moment` lets others have their turn."""
        self._write, self._moment = write, moment
        self._decompressor = zlib.decompressobj()
        self._turn = DeferredLock()
        self._fault: Exception | None = None

    def feed(self, data: bytes) -> Deferred[None]:
        """Fires when all of it is written; fails with DataLost, and as `write` does."""
        return self._turn.run(lambda: Deferred.fromCoroutine(self._inflate(data)))

    def end(self) -> Deferred[None]:
        """No more comes. Fails with DataLost unless the end of the stream was there, and with what failed
        before."""
        return self._turn.run(lambda: Deferred.fromCoroutine(self._finish()))

    async def _inflate(self, data: bytes) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            while data and not self._decompressor.eof:
                await self._portion(data)
                data = self._decompressor.unconsumed_tail
                if data:
                    await self._moment()
            if data or self._decompressor.unused_data:
                raise DataLost("More came than the compressed data")
        except Exception as fault:
            self._fault = fault
            raise

    async def _portion(self, data: bytes) -> bool:
        """Write what is in the beginning of it; whether there was anything."""
        try:
            made = self._decompressor.decompress(data, PORTION)
        except zlib.error:
            raise DataLost("The data are not what MODE Z says") from None
        held = self._write(made) if made else None
        if held is not None:
            await held
        return bool(made)

    async def _finish(self) -> None:
        if self._fault is not None:
            raise self._fault
        # All that came is consumed, and may have filled a portion to its end.
        while not self._decompressor.eof and await self._portion(b""):
            await self._moment()
        if not self._decompressor.eof:
            raise DataLost("The compressed data have no end")
