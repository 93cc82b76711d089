"""The threads on which files are opened, read, written and synced.

Apart from the reactor's own pool, which name resolution shares: a disk that stalls must not stop DNS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

#: Enough for a disk's queue; beyond it more threads only wait for the interpreter lock.
THREADS = 8


class Runner(Protocol):
    """What runs a function off the reactor thread."""

    def run(self, work: Callable[[], T]) -> Deferred[T]: ...


class FileThreads(Service):
    """A thread pool that lives as long as the service runs."""

    def __init__(self, reactor: IReactorFromThreads, threads: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=threads, name="mailftp-files")

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # untyped upstream
        self._pool.start()

    def stopService(self) -> None:
        """Waits for what is being written, so that a stop leaves nothing half done."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped upstream
        self._pool.stop()

    def run(self, work: Callable[[], T]) -> Deferred[T]:
        """Fires with what `work` returns, or fails with what it raises."""
        return deferToThreadPool(self._reactor, self._pool, work)
