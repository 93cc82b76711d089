"""Mail that clients fetched and left here goes after a time, where the settings say so."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from mailftp.store.engine import Store
from mailftp.store.units import ExpireRetrieved
from mailftp.wire.journal import Journal

#: Seconds between two looks.
EVERY = 3600.0
#: Messages that one unit removes: the writer has others to serve.
PIECE = 500


class Expiry:
    """`after` is in seconds, None for never; a reload may change it."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self.after: float | None = None
        self._store = store
        self._journal = Journal("pop3-expiry")
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        self._loop.start(EVERY)

    def stop(self) -> None:
        """Idempotent. A unit that is under way is the store's to finish."""
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._expire())

    async def _expire(self) -> None:
        total, gone = 0, PIECE
        try:
            while gone == PIECE and self.after is not None and self._loop.running:
                gone = await self._store.commit(ExpireRetrieved(self.after, PIECE))
                total += gone
        except Exception:
            # What was not removed now is found again in an hour.
            self._journal.fault("expiry failed")
        if total:
            self._journal.record("expired", messages=total)
