"""An IMAP server over the SQLite store, whose threads are waited for."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailftp.store.sqlite import SQLiteStore
from tests.imap.mailboxes import IMAPTestCase

#: Seconds until a thread that does not answer is a fault.
PATIENCE = 60


class Threads:
    """What threads hand to the reactor, for whoever stands in for it."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        #: Answers that threads still owe.
        self._owed = 0

    def callFromThread(self, call: Any, *args: Any, **kwargs: Any) -> None:
        self._calls.put(lambda: call(*args, **kwargs))

    def owed(self, answer: Deferred[Any]) -> Deferred[Any]:
        self._owed += 1

        def given(result: Any) -> Any:
            self._owed -= 1
            return result

        return answer.addBoth(given)

    def settle(self) -> None:
        """Until nothing is owed."""
        while self._owed or not self._calls.empty():
            self._calls.get(timeout=PATIENCE)()


class SettlingClock(Clock):
    """Before time passes, threads answer: `Client.pump` lets no time pass again and again."""

    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self.threads = threads

    def advance(self, amount: float) -> None:
        self.threads.settle()
        super().advance(amount)


class SettlingSink:
    """A large body goes to a file, which a thread writes."""

    def __init__(self, sink: Any, threads: Threads) -> None:
        self._sink, self._threads = sink, threads
        self.abort = sink.abort

    def write(self, data: bytes) -> Deferred[None] | None:
        later = self._sink.write(data)
        return None if later is None else self._threads.owed(later)

    def finish(self) -> Deferred[Any]:
        return self._threads.owed(self._sink.finish())


class SettlingStore(SQLiteStore):
    threads: Threads

    def stage(self) -> Any:
        return SettlingSink(super().stage(), self.threads)

    def start(self) -> Deferred[None]:
        return self.threads.owed(super().start())

    def stop(self) -> Deferred[None]:
        return self.threads.owed(super().stop())

    def commit(self, unit: Any) -> Deferred[Any]:
        return self.threads.owed(super().commit(unit))

    def read(self, query: Any) -> Deferred[Any]:
        return self.threads.owed(super().read(query))


class SQLiteTestCase(IMAPTestCase):
    def make_store(self) -> Any:
        self.threads = Threads()
        self.clock = SettlingClock(self.threads)
        self.folder = folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        # Without the index of words: it is built in the background, by the clock.
        store = SettlingStore(
            folder / "mail.sqlite", folder / "blobs", self.threads, self.clock, text_index=False
        )
        store.threads = self.threads
        self.addCleanup(self._stop, store)
        return store

    def _stop(self, store: SettlingStore) -> None:
        self.successResultOf(store.stop())
        # Lives are many.
        shutil.rmtree(self.folder)

    def successResultOf(self, answer: Any) -> Any:
        self.threads.settle()
        return super().successResultOf(answer)
