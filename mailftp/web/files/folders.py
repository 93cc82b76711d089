"""A folder that is sent while it is read: a hundred thousand names are never in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mailftp.files.home import IEntries, Path
from mailftp.web.files.listing import CLOSING, opening, rows


class FolderContent:
    """Takes `entries` over (mailftp.web.streaming.Pieces)."""

    def __init__(self, path: Path, entries: IEntries) -> None:
        self._entries = entries
        self._texts = self._written(path)

    def __aiter__(self) -> FolderContent:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._texts)

    async def aclose(self) -> None:
        self._entries.close()

    async def _written(self, path: Path) -> AsyncIterator[bytes]:
        yield opening(path)
        comma = b""
        while entries := await self._entries.next():
            text = rows(path, entries)
            if text:
                yield comma + text
                comma = b","
        yield CLOSING
