"""An answer whose body is sent as it is read, no faster than the client takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mailftp.wire.journal import Journal


class Pieces(Protocol):
    """As async generators are; one that was never asked for a piece closes nothing, so that what is open
    before is no generator's but mailftp.web.content's."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def __anext__(self) -> Coroutine[Any, Any, bytes]: ...

    def aclose(self) -> Coroutine[Any, Any, None]:
        """Called once when no more is wanted, the end of it included."""


@implementer(IPushProducer)
class Streaming:
    """Between what makes the pieces and the request that they are written to."""

    def __init__(self, request: Any, pieces: Pieces, journal: Journal) -> None:
        self._request, self._pieces, self._journal = request, pieces, journal
        self._gone = False
        self._resumed: Deferred[None] | None = None

    def begin(self) -> None:
        self._request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self._request.registerProducer(self, True)
        Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        try:
            async for piece in self._pieces:
                if self._gone:
                    break
                self._request.write(piece)
                if self._resumed is not None:
                    await self._resumed
        except Exception:
            self._journal.fault("page failed")
            if not self._gone:
                # What was sent looks whole in nobody's eyes: the connection breaks off.
                self._request.unregisterProducer()
                self._request.loseConnection()
            return
        finally:
            # What is open is closed, however this ends.
            await self._pieces.aclose()
        if not self._gone:
            self._request.unregisterProducer()
            self._request.finish()

    # IPushProducer.

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        self._gone = True
        self.resumeProducing()
