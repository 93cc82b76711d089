"""Reading files for streams without the reactor's thread waiting for a disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EOPNOTSUPP
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

#: The most that is read at once, in octets.
PIECE = 1024 * 1024


class FileReader:
    """Reads in the calling thread: for tests, and for files that are in memory whatever happens.

    A server has a `PooledReader`.
    """

    def __init__(self) -> None:
        # One for all streams: each takes out of it what it can use before the next one reads.
        self._scratch = memoryview(bytearray(PIECE))

    def cached(self, descriptor: int, offset: int, length: int) -> memoryview | None:
        """What the page cache has of a range, at once; None when the disk would have to be asked.

        An empty view means that the file ends there. The view is good until the next call. Raises OSError.
        """
        try:
            size = os.preadv(descriptor, [self._scratch[: min(length, PIECE)]], offset, os.RWF_NOWAIT)
        except (BlockingIOError, NotImplementedError):
            return None
        except OSError as error:
            # Some file systems cannot say what is cached (EOPNOTSUPP).
            if error.errno == EOPNOTSUPP:
                return None
            raise
        return self._scratch[:size]

    def read(self, descriptor: int, offset: int, length: int) -> Deferred[bytes]:
        """Read up to `length` octets, PIECE at most; b"" at the end of the file. Fails with OSError."""
        return execute(os.pread, descriptor, min(length, PIECE), offset)

    def off(self, work: Callable[[], None]) -> Deferred[None] | None:
        """Run on a thread; None where there is none."""
        return None


class PooledReader(Service, FileReader):
    """Reads in threads of its own, as many as a disk can use at once; runs while the service does."""

    def __init__(self, reactor: Any, threads: int = 4) -> None:
        """`reactor` provides IReactorFromThreads."""
        FileReader.__init__(self)
        self._reactor = reactor
        self._pool = ThreadPool(0, threads, "file-reader")

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # upstream
        self._pool.start()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # upstream
        self._pool.stop()

    def read(self, descriptor: int, offset: int, length: int) -> Deferred[bytes]:
        return deferToThreadPool(self._reactor, self._pool, os.pread, descriptor, min(length, PIECE), offset)

    def off(self, work: Callable[[], None]) -> Deferred[None] | None:
        return deferToThreadPool(self._reactor, self._pool, work)
