"""Sending much without holding much: files and generated data with back-pressure.

On a plain socket of ours a file's octets go from the page cache to the socket, and nothing is buffered: at
first in the reactor's thread, which asks the page cache only (RWF_NOWAIT) where sendfile would wait for the
disk; and by turns of a thread (mailftp.wire.moving) to a client that has taken FAST octets as fast as they
came. On any other transport, TLS first of all, pieces of 256 KiB are written when the one before has left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.wire.connection import Stream
from mailftp.wire.moving import MOST, WORTH, Turn, Ways
from mailftp.wire.reading import PIECE, FileReader
from mailftp.wire.transport import FastServer, below, direct

#: Octets written at once where a transport buffers; 16 KiB, a TLS record, goes into it evenly.
CHUNK = 256 * 1024

#: Octets that a client has taken in pieces of CHUNK or more when a thread begins to send.
FAST = 4 * 1024 * 1024

#: The least that is worth reading for a socket that takes little.
LEAST = 64 * 1024


class Target(Shape):
    """What can be streamed to: a `Connection`, or a `StreamTarget`."""

    transport: Any

    @property
    def reader(self) -> FileReader: ...

    def begin_stream(self, stream: Stream) -> None:
        """Hold back other sends and pass the loss of the connection on; raises ConnectionDone when lost."""

    def end_stream(self) -> None:
        """The transport is free again."""


class Rate(Shape):
    """How fast something may be sent."""

    #: Octets that should be sent at a time.
    portion: int

    def pay(self, octets: int, now: float) -> float:
        """They were sent; seconds to wait before more may be."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """A rate, and the clock to keep it by."""

    rate: Rate
    clock: IReactorTime


class StreamTarget(Protocol):
    """A protocol that streams and is no Connection: FTP's data connection.

    Subclasses set `reader`, and call this `connectionLost` when they override it.
    """

    transport: Any
    reader: FileReader
    _stream: Stream | None = None
    _lost: Failure | None = None

    def begin_stream(self, stream: Stream) -> None:
        if self._lost is not None or self.transport is None:
            raise ConnectionDone()
        if self._stream is not None:
            raise RuntimeError("a stream is under way")
        self._stream = stream

    def end_stream(self) -> None:
        self._stream = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.lost(reason)


def send_file(
    connection: Target, descriptor: int, offset: int, length: int, pacing: Pacing | None = None
) -> Deferred[int]:
    """Send a range of an open file; fires with the octets sent when the last has gone to the transport.

    Fails with the reason when the connection is lost, with OSError when the file cannot be read and with
    EOFError when it is shorter: the connection is then still there, with part of the range sent. The caller
    keeps the descriptor open until it fires. Cancelling ends the stream between two octets, or closes the
    connection where a thread is sending; one may then still be reading the descriptor, and what it reads goes
    nowhere.
    """
    socket = direct(connection.transport)
    if socket is not None:
        return _DirectFile(connection, pacing, socket, descriptor, offset, length).start()
    return _BufferedFile(connection, pacing, descriptor, offset, length).start()


def send_chunks(
    connection: Target, read: Callable[[], Deferred[bytes]], pacing: Pacing | None = None
) -> Deferred[int]:
    """Send what `read` gives, asking for the next piece when the last has left, until it gives b"".

    Fails with the reason when the connection is lost, and with whatever `read` fails with. Cancelling
    ends the stream, and cancels a read that is under way.
    """
    return _Chunks(connection, pacing, read).start()


def _failure(error: Exception) -> Failure:
    return Failure(error)  # type: ignore[no-untyped-call]  # upstream


class _Sending:
    """What all streams share: one beginning, one end, and no end while a read is under way (the caller
    closes the file at the end, and another might get its number)."""

    def __init__(self, target: Target, pacing: Pacing | None) -> None:
        self.sent = 0
        self._target = target
        self._pacing = pacing
        #: Runs while what was sent is paid for.
        self._rest: IDelayedCall | None = None
        self._done: Deferred[int] = Deferred(self._cancelled)
        self._over = False
        self._read: Deferred[Any] | None = None
        self._outcome: Failure | None = None

    def start(self) -> Deferred[int]:
        try:
            self._target.begin_stream(self)
        except ConnectionDone as lost:
            return fail(lost)
        self._begin()
        return self._done

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        self._over = True
        self._fire(reason)

    def _portion(self, size: int) -> int:
        """How much of `size` may be sent at once."""
        return size if self._pacing is None else min(size, self._pacing.rate.portion)

    def _rests(self, octets: int) -> bool:
        """Pay for what was sent; True: `_step` comes when more may be."""
        if self._pacing is None or self._over:
            return False
        clock = self._pacing.clock
        seconds = self._pacing.rate.pay(octets, clock.seconds())
        if seconds <= 0:
            return False
        self._rest = clock.callLater(seconds, self._rested)
        return True

    def _rested(self) -> None:
        self._rest = None
        if not self._over:
            self._step()

    def _begin(self) -> None:
        raise NotImplementedError

    def _step(self) -> None:
        """Send on."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of the transport."""

    def _finish(self, failure: Failure | None = None) -> None:
        if self._over:
            return
        self._over = True
        self._release()
        self._target.end_stream()
        self._fire(failure)

    def _fire(self, failure: Failure | None) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.cancel()
        if self._read is not None:
            self._outcome = failure
        elif self._done.called:
            return
        elif failure is not None:
            self._done.errback(failure)
        else:
            self._done.callback(self.sent)

    def _cancelled(self, done: Deferred[int]) -> None:
        if not self._over:
            self._over = True
            self._release()
            self._target.end_stream()
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.cancel()
        if self._read is not None:
            self._read.cancel()

    def _await(self, read: Deferred[bytes]) -> None:
        """Go on with what a read gives, perhaps at once."""
        self._read = read
        read.addCallbacks(self._got, self._failed)

    def _got(self, data: bytes) -> None:
        self._read = None
        if self._over:
            self._fire(self._outcome)
        else:
            self._take(data)

    def _failed(self, failure: Failure) -> None:
        self._read = None
        if self._over:
            self._fire(self._outcome)
        else:
            self._finish(failure)

    def _take(self, data: bytes) -> None:
        raise NotImplementedError


class _DirectFile(_Sending):
    """From the page cache to the socket."""

    def __init__(
        self,
        target: Target,
        pacing: Pacing | None,
        socket: FastServer,
        descriptor: int,
        offset: int,
        length: int,
    ) -> None:
        super().__init__(target, pacing)
        self._socket, self._descriptor = socket, descriptor
        self._offset, self._length = offset, length
        #: What a thread has read and the socket has not taken.
        self._piece = memoryview(b"")
        self._ask = CHUNK
        #: Octets that the socket took in much at a time; then a thread sends, in this turn of its.
        self._taken = 0
        self._ways = Ways()
        self._turn: Turn | None = None
        #: A thread met an error: the kernel tells it once, and an end of the stream to whoever asks again.
        self._broken = False

    def _begin(self) -> None:
        self._step()

    def _step(self) -> None:
        """Send one piece; then let the reactor look after the others."""
        while not self._over:
            left = self._length - self.sent
            if not left:
                self._finish()
                return
            if self._taken >= FAST and left > CHUNK and not self._piece and self._move(left):
                return
            data: memoryview | None = self._piece
            if not data:
                data = self._cached(self._portion(min(left, self._ask)))
            if data is None:
                return
            sent = self._socket.send_now(data[: self._portion(len(data))])
            self.sent += sent
            self._taken = self._taken + sent if sent >= CHUNK else 0
            if self._piece:
                self._piece = self._piece[sent:]
            if sent < len(data):
                # A socket that takes little is not worth reading much for, again and again.
                self._ask = max(LEAST, 2 * sent)
            else:
                self._ask = min(PIECE, 2 * self._ask)
            if self.sent < self._length:
                if not self._rests(sent):
                    self._socket.when_writable(self._step)
                return

    def _move(self, left: int) -> bool:
        """Have a thread send on; False where none can."""
        if self._socket.unsent:
            return False
        offset, portion = self._offset + self.sent, self._portion(min(left, MOST))
        try:
            turn = Turn.of(self._ways.choose(), self._socket.fileno(), self._descriptor, offset, portion)
        except OSError:
            # Lost, or no descriptor is left.
            return False
        moving = self._target.reader.off(turn.run)
        if moving is None:
            turn.stop()
            return False
        self._turn, self._read = turn, moving
        moving.addCallbacks(lambda _: self._moved(turn), self._failed)
        return True

    def _moved(self, turn: Turn) -> None:
        self._read = self._turn = None
        self.sent += turn.sent
        self._broken = turn.broken
        if self._over:
            self._fire(self._outcome and self._loss(self._outcome))
            return
        if turn.ended:
            self._take(b"")
            return
        if turn.sent < min(WORTH, turn.length) or turn.broken:
            # What is wrong shows when the next piece is sent from here.
            self._taken = 0
        else:
            self._ways.tell(turn.way, turn.sent, turn.seconds)
        if self._rests(turn.sent):
            return
        if self._taken:
            self._step()
        else:
            self._socket.when_writable(self._step)

    def lost(self, reason: Failure) -> None:
        if self._turn is not None:
            self._turn.stopped = True
        super().lost(self._loss(reason))

    def _loss(self, reason: Failure) -> Failure:
        return _failure(ConnectionLost()) if self._broken and reason.check(ConnectionDone) else reason  # type: ignore[no-untyped-call]  # upstream

    def _cancelled(self, done: Deferred[int]) -> None:
        if self._turn is not None:
            # Nobody knows between which octets the thread will stop; it has descriptors of its own.
            self._turn.stopped, self._read = True, None
            self._socket.abortConnection()  # type: ignore[no-untyped-call]  # upstream
        super()._cancelled(done)

    def _cached(self, size: int) -> memoryview | None:
        """The next octets; None when they have to be waited for or do not come."""
        offset = self._offset + self.sent
        try:
            data = self._target.reader.cached(self._descriptor, offset, size)
        except OSError as error:
            self._finish(_failure(error))
            return None
        if data is None:
            self._await(
                self._target.reader.read(self._descriptor, offset, min(PIECE, self._length - self.sent))
            )
        elif not data:
            self._take(b"")
        else:
            return data
        return None

    def _take(self, data: bytes) -> None:
        if not data:
            self._finish(_failure(EOFError(f"the file ends after {self.sent} of {self._length} octets")))
            return
        self._piece = memoryview(data)
        self._step()


@implementer(IPushProducer)
class _Buffered(_Sending):
    """To any transport, as fast as it says."""

    _paused = _stepping = False

    def _begin(self) -> None:
        self._target.transport.registerProducer(self, True)
        self._step()

    def _release(self) -> None:
        self._target.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._step()

    def stopProducing(self) -> None:
        """The connection is lost, which `lost` tells."""

    def _step(self) -> None:
        if self._stepping or self._rest is not None:
            # A read that was answered at once: the loop below goes on. Or it is not time yet.
            return
        self._stepping = True
        try:
            while not self._over and not self._paused and self._read is None:
                before = self.sent
                self._next()
                if self._rests(self.sent - before):
                    return
                socket = below(self._target.transport)
                if socket is not None and not self._over and self._read is None:
                    # It sends at once, so a client that reads as fast would keep the reactor here.
                    socket.when_writable(self._step)
                    return
        finally:
            self._stepping = False

    def _next(self) -> None:
        """Write one piece, or ask for it, or finish."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        self.sent += len(data)
        self._target.transport.write(data)


class _BufferedFile(_Buffered):
    def __init__(
        self, target: Target, pacing: Pacing | None, descriptor: int, offset: int, length: int
    ) -> None:
        super().__init__(target, pacing)
        self._descriptor, self._offset, self._length = descriptor, offset, length

    def _next(self) -> None:
        left = self._portion(min(CHUNK, self._length - self.sent))
        if not left:
            self._finish()
            return
        offset = self._offset + self.sent
        try:
            data = self._target.reader.cached(self._descriptor, offset, left)
        except OSError as error:
            self._finish(_failure(error))
            return
        if data is None:
            self._await(self._target.reader.read(self._descriptor, offset, left))
        else:
            self._take(bytes(data))

    def _take(self, data: bytes) -> None:
        if not data:
            self._finish(_failure(EOFError(f"the file ends after {self.sent} of {self._length} octets")))
            return
        self._write(data)
        self._step()


class _Chunks(_Buffered):
    def __init__(self, target: Target, pacing: Pacing | None, read: Callable[[], Deferred[bytes]]) -> None:
        super().__init__(target, pacing)
        self._source = read

    def _next(self) -> None:
        try:
            read = self._source()
        except Exception as error:
            self._finish(_failure(error))
        else:
            self._await(read)

    def _take(self, data: bytes) -> None:
        if data:
            self._write(data)
            self._step()
        else:
            self._finish()
