"""A large file on its way to a client that takes it as fast as it comes, or from one: sent and received by a
thread, in turns.

The interpreter is let go during each system call, so that other connections are answered meanwhile; and a
thread may wait for the disk, so that it may use sendfile.

There are two ways. sendfile copies nothing and wins to whoever does little with what it gets: a network card,
a client that drops it (5.9 against 5.0 GB/s over loopback). Reading into a buffer that stays in the
processor's cache and sending from it wins to a client that copies it on the same machine (3.5 against 3.0).
Nobody can know which client it is, so each stream tries both and goes on with the faster one.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from mailftp.wire.reading import PIECE

#: Octets and seconds after which a turn ends: others wait for the thread.
MOST, LONGEST = 32 * 1024 * 1024, 0.02
#: Milliseconds for which a turn waits for a client that takes no more just now.
PATIENCE = 2
#: Turns after which the way that was slower is tried once more.
AGAIN = 24
#: A client that took less than this in a turn is left to the reactor.
WORTH = 4 * 1024 * 1024
#: sendfile is not given up for less than this: at the same speed it takes less of the processor.
MARGIN = 1.05


class Way(Enum):
    READ = "read"
    SENDFILE = "sendfile"


class Ways:
    """Which way was how fast on one stream."""

    def __init__(self) -> None:
        #: Octets a second of the last turns.
        self._rates: dict[Way, float] = {}
        self._turns = 0

    def choose(self) -> Way:
        for way in Way:
            if way not in self._rates:
                return way
        read_wins = self._rates[Way.READ] > MARGIN * self._rates[Way.SENDFILE]
        better, other = (Way.READ, Way.SENDFILE) if read_wins else (Way.SENDFILE, Way.READ)
        self._turns += 1
        return better if self._turns % AGAIN else other

    def tell(self, way: Way, octets: int, seconds: float) -> None:
        if octets < MOST // 2:
            # The first turn, while the kernel's buffers grow, or the last, or a pause of the client's.
            return
        rate = octets / max(seconds, 1e-6)
        before = self._rates.get(way, rate)
        self._rates[way] = (before + rate) / 2


@dataclass(slots=True)
class Turn:
    """One turn: its work, done on a thread by `run`, and what came of it.

    It has descriptors of its own, closed at its end: meanwhile the connection may be lost, and the numbers of
    the others belong to somebody else.
    """

    way: Way
    socket: int
    descriptor: int
    offset: int
    length: int
    #: Set by whoever does not want the rest.
    stopped: bool = False
    sent: int = 0
    seconds: float = 0.0
    #: The file ended before `length`.
    ended: bool = False
    #: An error, of the file or of the connection: whoever goes on finds out which.
    broken: bool = False

    @classmethod
    def of(cls, way: Way, socket: int, descriptor: int, offset: int, length: int) -> Turn:
        """Raises OSError when there are no descriptors left."""
        own = os.dup(socket)
        try:
            return cls(way, own, os.dup(descriptor), offset, length)
        except OSError:
            os.close(own)
            raise

    def stop(self) -> None:
        """It will not run."""
        os.close(self.socket)
        os.close(self.descriptor)

    def run(self) -> None:
        began = time.perf_counter()
        try:
            waiter = select.poll()
            waiter.register(self.socket, select.POLLOUT)
            step = self._send_file if self.way is Way.SENDFILE else self._read_and_send
            while self.sent < self.length and not self.stopped and not self.ended:
                if time.perf_counter() - began >= LONGEST:
                    break
                if not step() and not waiter.poll(PATIENCE):
                    break
        except OSError:
            self.broken = True
        finally:
            self.seconds = time.perf_counter() - began
            self.stop()

    def _send_file(self) -> bool:
        """False when the socket takes no more just now. Raises OSError."""
        try:
            left = min(PIECE, self.length - self.sent)
            sent = os.sendfile(self.socket, self.descriptor, self.offset + self.sent, left)
        except BlockingIOError:
            return False
        self.sent += sent
        self.ended = not sent
        return True

    def _read_and_send(self) -> bool:
        """The same; a whole piece is sent before the next one is read."""
        scratch = _scratch()
        left = min(PIECE, self.length - self.sent)
        size = os.preadv(self.descriptor, [scratch[:left]], self.offset + self.sent)
        self.ended = not size
        try:
            sent = os.write(self.socket, scratch[:size]) if size else 0
        except BlockingIOError:
            return False
        self.sent += sent
        return sent == size


@dataclass(slots=True)
class Intake:
    """One turn of a large upload: what comes is written by the thread that reads it."""

    #: Its own, as that of a Turn.
    socket: int
    stopped: bool = False
    came: int = 0
    #: The client has sent all.
    ended: bool = False
    #: The connection was lost: the kernel says so once, and afterwards that the client has sent all.
    broken: bool = False

    @classmethod
    def of(cls, socket: int) -> Intake:
        """Raises OSError when there are no descriptors left."""
        return cls(os.dup(socket))

    def stop(self) -> None:
        """It has run, or will not. Idempotent."""
        if self.socket >= 0:
            os.close(self.socket)
            self.socket = -1

    def run(self, write: Callable[[memoryview], None]) -> None:
        """Raises what `write` raises."""
        end = time.perf_counter() + LONGEST
        try:
            waiter = select.poll()
            waiter.register(self.socket, select.POLLIN)
            scratch = _scratch()
            while self.came < MOST and not self.stopped:
                try:
                    size = os.readv(self.socket, [scratch])
                except BlockingIOError:
                    if waiter.poll(PATIENCE):
                        continue
                    return
                except OSError:
                    self.broken = True
                    return
                if not size:
                    self.ended = True
                    return
                write(scratch[:size])
                self.came += size
                if time.perf_counter() >= end:
                    return
        finally:
            self.stop()


def _scratch() -> memoryview:
    """The calling thread's buffer."""
    scratch: memoryview | None = getattr(_own, "scratch", None)
    if scratch is None:
        scratch = _own.scratch = memoryview(bytearray(PIECE))
    return scratch


_own = threading.local()
