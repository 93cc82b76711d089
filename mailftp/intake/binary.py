"""BINARYMIME messages on their way in (RFC 3030): kept as they come, then made messages of lines.

Where their parts are is known only when all of it is here, so it is staged twice; small ones in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from mailftp.intake.refused import Refused
from mailftp.message.binary import BinaryFault, as_lines
from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

T = TypeVar("T")

#: Runs a function off the reactor's thread.
Run = Callable[[Callable[[], T]], Deferred[T]]
#: Octets that are handed on at a time.
PIECE = 256 * 1024


def at_once(work: Callable[[], T]) -> Deferred[T]:
    """Here and now, for a store in memory."""
    return maybeDeferred(work)


class BinarySink:
    """A body sink in front of two others of the store: the first takes the message as it comes."""

    def __init__(self, stage: Callable[[], BodySink], run: Run[bytes]) -> None:
        self._stage, self._run = stage, run
        self._raw = stage()
        self._made: BodySink | None = None

    def write(self, data: bytes) -> Deferred[None] | None:
        return self._raw.write(data)

    def finish(self) -> Deferred[StagedBody]:
        """Fails with Refused (554 5.6.3) for a message that cannot be made one of lines."""
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> StagedBody:
        raw = await self._raw.finish()
        pieces = _pieces(raw)
        self._made = self._stage()
        try:
            while piece := await self._run(lambda: next(pieces, b"")):
                wait = self._made.write(piece)
                if wait is not None:
                    await wait
        except BinaryFault as fault:
            raise Refused(554, "5.6.3", f"The message cannot be kept as text: {fault}")
        self._raw.abort()
        return await self._made.finish()

    def abort(self) -> None:
        self._raw.abort()
        if self._made is not None:
            self._made.abort()


def _pieces(raw: StagedBody) -> Iterator[bytes]:
    """Of some size each, as every one costs a turn of the reactor."""
    if raw.data is not None:
        data = raw.data
    else:
        assert raw.path is not None
        data = raw.path.read_bytes()
    gathered = bytearray()
    for piece in as_lines(data):
        gathered += piece
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
