"""Parts of open files as bodies, read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable

from mailftp.wire.reading import FileReader

#: Octets that are read and written at a time.
PIECE = 256 * 1024


class FileContent:
    """A part of an open file, which is closed with it (mailftp.web.streaming.Pieces)."""

    def __init__(
        self, reader: FileReader, descriptor: int, offset: int, length: int, close: Callable[[], None]
    ) -> None:
        self._reader, self._descriptor, self._close = reader, descriptor, close
        self._at, self._end = offset, offset + length

    def __aiter__(self) -> FileContent:
        return self

    async def __anext__(self) -> bytes:
        """Raises EOFError when the file became shorter: the answer is cut off, so that nobody takes it for
        whole."""
        wanted = min(PIECE, self._end - self._at)
        if wanted == 0:
            raise StopAsyncIteration
        found = self._reader.cached(self._descriptor, self._at, wanted)
        data = bytes(found) if found is not None else None
        if data is None:
            data = await self._reader.read(self._descriptor, self._at, wanted)
        if not data:
            raise EOFError("the file became shorter")
        self._at += len(data)
        return data

    async def aclose(self) -> None:
        self._close()
