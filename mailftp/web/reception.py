"""A body that is taken as it comes, once the page has said that it takes it: who asks is known before
anything is kept for him."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from mailftp.web.pages import Answer


class BodyTaker(Protocol):
    def write(self, data: bytes) -> Deferred[None] | None:
        """None: go on. A Deferred: no more until it fires."""

    def finish(self) -> Deferred[Any]:
        """The body is whole; what this gives is `Visit.received`."""

    def abort(self) -> None:
        """It never will be; idempotent, also after a `finish` that failed."""


#: What a page answers before the body: who takes it, or that nobody does.
Begun = Deferred[BodyTaker | Answer]


class Reception:
    """Between the octets that come and the taker. `hold(True)` is called to have no more of them,
    `hold(False)` to go on; what comes all the same is kept, and is no more than the transport reads at once.

    `done` fires when the body is whole and taken: with what `finish` gave, or an Answer in its place.
    """

    def __init__(self, begun: Begun, hold: Callable[[bool], None]) -> None:
        self.done: Deferred[Any] = Deferred(lambda _: self.abort())
        #: What was said in place of taking it; the rest of the body is thrown away.
        self.answer: Answer | None = None
        self._hold = hold
        self._taker: BodyTaker | None = None
        self._waiting: list[bytes] = []
        self._busy = True
        self._whole = self._over = False
        self._begun = begun
        begun.addCallbacks(self._begin, self._fail)
        if self._busy:
            hold(True)

    def write(self, data: bytes) -> None:
        if self._busy:
            self._waiting.append(data)
        elif self._taker is not None and not self._over:
            self._pass(data)

    def finish(self) -> None:
        self._whole = True
        self._go_on()

    def abort(self) -> None:
        """The client is gone, or the request was refused."""
        if not self._over:
            self._over = True
            self._waiting.clear()
            if self._taker is not None:
                self._taker.abort()
            else:
                self._begun.cancel()
        # Nobody asks any more.
        self.done.addErrback(lambda _: None)

    def _begin(self, taker: BodyTaker | Answer) -> None:
        if isinstance(taker, Answer):
            self.answer = taker
        elif self._over:
            taker.abort()
            return
        else:
            self._taker = taker
        self._ready()

    def _pass(self, data: bytes) -> None:
        assert self._taker is not None
        try:
            later = self._taker.write(data)
        except Exception:
            self._fail(Failure())  # type: ignore[no-untyped-call]  # untyped upstream
            return
        if later is not None and not later.called:
            self._busy = True
            self._hold(True)
        if later is not None:
            later.addCallbacks(lambda _: self._ready(), self._fail)

    def _ready(self) -> None:
        if self._busy and not self._over:
            self._busy = False
            self._hold(False)
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self._busy and not self._over:
            data = self._waiting.pop(0)
            if self._taker is not None:
                self._pass(data)
        if not self._whole or self._busy or self._over:
            return
        self._over = True
        if self.answer is not None:
            self.done.callback(self.answer)
        elif self._taker is not None:
            maybeDeferred(self._taker.finish).addErrback(self._unfinished).chainDeferred(self.done)

    def _unfinished(self, failure: Failure) -> Failure:
        assert self._taker is not None
        self._taker.abort()
        return failure

    def _fail(self, failure: Failure) -> None:
        if self._over and failure.check(CancelledError):  # type: ignore[no-untyped-call]  # untyped upstream
            return
        if not self._over:
            self._over = True
            self._waiting.clear()
            if self._taker is not None:
                self._taker.abort()
            if self._busy:
                self._busy = False
                self._hold(False)
            self.done.errback(failure)


def take_whole(begun: Begun, data: bytes) -> Deferred[Any]:
    """As a Reception of a body that is there already."""
    reception = Reception(begun, lambda held: None)
    reception.write(data)
    reception.finish()
    return reception.done
