"""What leaves for the client: whole responses, in pieces, no faster than they are read.

A command writes untagged responses with `write` and, where there may be many, awaits `room` between pieces
that are whole lines. A response of which a part was written and the rest has yet to be read from a disk is
bracketed by `torn`, so that nobody says BYE in the middle of a literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed

from mailftp.wire.connection import Connection
from mailftp.wire.stream import send_file

#: Octets that are gathered before they are sent, and after which others have their turn.
PIECE = 256 * 1024
#: The same where many small replies are made in one turn, to pipelined commands; before the login there is
#: nothing to be had that is worth as much memory.
TURN, TURN_BEFORE_LOGIN = 64 * 1024, 16 * 1024


class Output:
    """One connection's."""

    __slots__ = ("_chunks", "_connection", "_gathered", "_waiting", "encode", "full", "torn_now")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunks: list[bytes] = []
        self._gathered = 0
        self._waiting: Deferred[None] | None = None
        #: The transport has more than it can send.
        self.full = False
        #: Part of a response is out.
        self.torn_now = False
        #: What becomes of octets on their way out: COMPRESS (RFC 4978). One call a flush.
        self.encode: Callable[[bytes], bytes] | None = None

    def write(self, data: bytes) -> None:
        """Whole lines, but within `torn`. They leave with the next `flush` or `room`, or when the session
        waits for the client."""
        self._chunks.append(data)
        self._gathered += len(data)

    def flush(self) -> None:
        """What was written leaves now, or waits in the transport."""
        if self._chunks:
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._gathered = 0
            self._connection.send(data if self.encode is None else self.encode(data))

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._connection.factory.wiring.clock.seconds()

    async def room(self, most: int = PIECE) -> None:
        """Return when it is good to write on: the client has read what it was sent, and others have had their
        turn. At once, as long as less than `most` was gathered."""
        if self._gathered < most and not self.full:
            return
        self.flush()
        self._waiting = Deferred(self._forget)
        if not self.full:
            self._connection.factory.wiring.clock.callLater(0, self._go_on)
        await self._waiting

    async def file(self, descriptor: int, offset: int, length: int) -> None:
        """A part of an open file, without gathering it. Fails with OSError, or EOFError when the file is
        shorter, and as if it was cancelled when the connection is lost."""
        self.flush()
        if self.encode is None:
            try:
                await send_file(self._connection, descriptor, offset, length)
            except ConnectionClosed:
                # The stream hears of it before the session does.
                raise CancelledError from None
            return
        end = offset + length
        while offset < end:
            piece = await self.read(descriptor, offset, min(PIECE, end - offset))
            if not piece:
                raise EOFError(f"the file ends before its octet {end}")
            offset += len(piece)
            self.write(piece)
            await self.room()

    async def read(self, descriptor: int, offset: int, length: int) -> bytes:
        """Of an open file, without waiting for the disk here; PIECE at most, b"" at its end. Fails with
        OSError."""
        reader, length = self._connection.reader, min(length, PIECE)
        cached = reader.cached(descriptor, offset, length)
        return await reader.read(descriptor, offset, length) if cached is None else bytes(cached)

    @contextmanager
    def torn(self) -> Iterator[None]:
        """Around a response that is written in parts. When it is left by an exception the response can never
        be whole, and the session ends the connection without a word."""
        self.torn_now = True
        yield
        self.torn_now = False

    # What the connection tells.

    def unread(self, full: bool) -> None:
        """The transport is full, or empty again."""
        self.full = full
        if not full and self._waiting is not None:
            # Not from within the transport's own call.
            self._connection.factory.wiring.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        waiting = self._waiting
        if waiting is not None and not self.full:
            self._waiting = None
            waiting.callback(None)

    def _forget(self, waiting: Deferred[Any]) -> None:
        self._waiting = None
