"""Messages on their way out: read ahead while they are small, streamed while they are large.

A client that fetches one message after another would cost a trip to the store's threads for each; the next
few are read with the one that it asked for, and while it takes those, the next few after them.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailftp.accounts.avatars import Content, Drops, IMaildrop
from mailftp.pop3.session import Fetch, error
from mailftp.pop3.syntax import Excerpt, Stuffing, message_reply
from mailftp.store.engine import SMALL_BODY
from mailftp.wire.connection import Connection
from mailftp.wire.reading import FileReader
from mailftp.wire.stream import send_chunks, send_file

#: Octets and messages that are read ahead of the client at one time, at most; of two such batches one is on
#: its way out while the other one comes in.
AHEAD_OCTETS = 384 * 1024
AHEAD_MOST = 32
#: The same for whoever has not yet asked for two in a row.
AHEAD_FIRST = 4

_GONE = error("the message is gone")


class Retrieval:
    """What one session fetches from its maildrop."""

    def __init__(self, connection: Connection, maildrop: IMaildrop, drops: Drops) -> None:
        self._connection = connection
        self._maildrop = maildrop
        self._sizes = drops.sizes
        self._ahead: dict[int, Content] = {}
        self._window = AHEAD_FIRST
        #: The message that follows those read last.
        self._following = -1
        #: The next batch, while it is being read.
        self._coming: Deferred[None] | None = None

    def ready(self, wish: Fetch, deleted: set[int]) -> bytes | None:
        """The reply, when the message is here already."""
        content = self._ahead.pop(wish.number, None)
        if content is None:
            return None
        if self._coming is None and AHEAD_FIRST < self._window and len(self._ahead) < self._window:
            self._look_ahead(deleted)
        return _reply(content, wish.lines)

    def _look_ahead(self, deleted: set[int]) -> None:
        following = self._following
        if following < len(self._sizes) and self._sizes[following] <= SMALL_BODY:
            numbers = self._numbers(following, deleted)
            reading = self._maildrop.read(numbers)
            self._coming = arriving = reading.addCallback(self._keep, numbers)
            arriving.addBoth(self._arrived)

    def _arrived(self, result: None | Failure) -> None | Failure:
        self._coming = None
        if isinstance(result, Failure) and isinstance(result.value, CancelledError):
            # By whom waits for it.
            return result
        # Any other failure the client hears of when it asks for that message.
        return None

    def _keep(self, contents: Iterable[Content], numbers: tuple[int, ...]) -> None:
        for number, content in zip(numbers, contents, strict=True):
            if content.data is None:
                # A foreign mailbox, whose sizes need not be true.
                os.close(content.descriptor)
            else:
                self._ahead[number] = content

    async def fetch(self, wish: Fetch, deleted: set[int]) -> bytes:
        """The reply, or the end of one whose beginning was streamed. The connection is aborted when a file
        fails in the middle."""
        if self._coming is not None:
            await self._coming
            ready = self.ready(wish, deleted)
            if ready is not None:
                return ready
        self._ahead.clear()
        numbers = self._numbers(wish.number, deleted)
        try:
            first, *rest = await self._maildrop.read(numbers)
        except LookupError:
            # One of those read ahead may be the one that is gone.
            if len(numbers) == 1:
                return _GONE
            rest, numbers = [], (wish.number,)
            try:
                (first,) = await self._maildrop.read(numbers)
            except LookupError:
                return _GONE
        self._keep(rest, numbers[1:])
        if first.data is not None:
            return _reply(first, wish.lines)
        try:
            return await self._stream(first, wish.lines)
        finally:
            os.close(first.descriptor)

    def _numbers(self, number: int, deleted: set[int]) -> tuple[int, ...]:
        octets = self._sizes[number]
        if octets > SMALL_BODY:
            return (number,)
        self._window = min(AHEAD_MOST, self._window * 2) if number == self._following else AHEAD_FIRST
        numbers = [number]
        for following in range(number + 1, min(number + self._window, len(self._sizes))):
            octets += self._sizes[following]
            if self._sizes[following] > SMALL_BODY or octets > AHEAD_OCTETS:
                break
            if following not in deleted:
                numbers.append(following)
        self._following = numbers[-1] + 1
        return tuple(numbers)

    async def _stream(self, content: Content, lines: int | None) -> bytes:
        length = content.size - len(content.prefix)
        if lines is None and content.dot_free:
            self._connection.send(_heading(content, lines) + content.prefix)
            sending = send_file(self._connection, content.descriptor, 0, length)
            return await self._sent(sending) and await self._end(content.descriptor, length)
        pieces = _Pieces(self._connection.reader, content.descriptor, length, lines)
        self._connection.send(_heading(content, lines) + pieces.cut(content.prefix))
        return await self._sent(send_chunks(self._connection, pieces.read)) and pieces.stuffing.end()

    async def _sent(self, sending: Deferred[int]) -> bytes:
        """Something when all has left, b"" when the connection is gone."""
        try:
            await sending
        except (OSError, EOFError):
            return self._unreadable()
        except Exception:
            # Lost; Connection.closed says so too.
            return b""
        return b"."

    def _unreadable(self) -> bytes:
        """Half of a reply is out: only the end of the connection can tell the client so."""
        self._connection.journal.fault("message not read")
        self._connection.abort()
        return b""

    async def _end(self, descriptor: int, length: int) -> bytes:
        try:
            last = await self._connection.reader.read(descriptor, max(0, length - 1), 1)
        except OSError:
            return self._unreadable()
        return b".\r\n" if last in (b"", b"\n") else b"\r\n.\r\n"


class _Pieces:
    """A file in pieces as RETR or TOP sends it."""

    def __init__(self, reader: FileReader, descriptor: int, length: int, lines: int | None) -> None:
        self._reader = reader
        self._descriptor = descriptor
        self._length = length
        self._offset = 0
        self._excerpt = None if lines is None else Excerpt(lines)
        self.stuffing = Stuffing()

    def cut(self, piece: bytes) -> bytes:
        return self.stuffing.feed(piece if self._excerpt is None else self._excerpt.feed(piece))

    def read(self) -> Deferred[bytes]:
        work: Coroutine[Deferred[Any], Any, bytes] = self._read()
        return Deferred.fromCoroutine(work)

    async def _read(self) -> bytes:
        left = self._length - self._offset
        if not left or (self._excerpt is not None and self._excerpt.complete):
            return b""
        piece = await self._reader.read(self._descriptor, self._offset, min(left, 256 * 1024))
        if not piece:
            raise EOFError("the file is shorter than it was")
        self._offset += len(piece)
        return self.cut(piece)


def _heading(content: Content, lines: int | None) -> bytes:
    return b"+OK %d octets\r\n" % content.size if lines is None else b"+OK\r\n"


def _reply(content: Content, lines: int | None) -> bytes:
    heading = _heading(content, lines)
    return message_reply(heading, content.prefix, content.data or b"", content.dot_free, lines)
