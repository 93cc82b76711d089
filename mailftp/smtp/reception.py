"""How a client is received: whether it is let in, when it is greeted, and how fast it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from mailftp.intake.refused import Refused
from mailftp.origin.policy import Refusal
from mailftp.origin.strangers import EARLY, Pace, Visitor
from mailftp.smtp.rules import State
from mailftp.smtp.session import Session
from mailftp.smtp.syntax import Reply
from mailftp.smtp.trail import Trail
from mailftp.wire.connection import Connection, Expiry

if TYPE_CHECKING:
    from mailftp.smtp.server import SMTPFactory

_TURNED_AWAY = Reply(421, "4.3.0", "Something went wrong here, try again later")
_MESSAGE = frozenset({State.DATA, State.CHUNK, State.CHUNKS})


class Reception(Connection):
    """What comes before the commands and beside them; the commands are SMTPConnection's."""

    factory: SMTPFactory
    _session: Session
    _trail: Trail
    #: Nothing is done for the client at present: a hook thinks, or the sink takes no more.
    _blocked = False
    #: None: no stranger.
    _visitor: Visitor | None = None
    _pace: Pace | None = None
    #: When a command line was first seen to be there in part.
    _line_since: float | None = None
    #: What is held back from the client.
    _waiting: Deferred[None] | None = None

    # What SMTPConnection has.

    def _advance(self) -> None:
        raise NotImplementedError("SMTPConnection knows how")

    def _unblock(self, _: object) -> None:
        raise NotImplementedError("SMTPConnection knows how")

    def _faulted(self, failure: Failure) -> None:
        raise NotImplementedError("SMTPConnection knows how")

    # The greeting.

    def _receive(self) -> None:
        """Greet, or turn away; at once where there is nothing to wait for."""
        visitor = self._visitor = self.factory.visitor(self.peer)
        refused = None if visitor is None else visitor.admit()
        if refused is not None:
            self._turn_away(_reply(refused))
            self._advance()
            return
        delay = 0.0 if visitor is None else visitor.greeting_delay
        if visitor is not None and not delay:
            visitor.ask_lists()
        if not delay and not self.factory.stages:
            self._session.greet()
            self._advance()
            return
        # Nothing is read while a hook thinks: what comes before the greeting stays in the network.
        self._blocked = True
        asked = Deferred.fromCoroutine(self._look_at_client(delay))
        asked.addCallbacks(lambda _: self._session.greet(), self._not_welcome)
        asked.addCallback(self._unblock).addErrback(self._faulted)

    async def _look_at_client(self, delay: float) -> None:
        """Raises Refused, and what a hook raises."""
        visitor = self._visitor
        if visitor is not None and delay:
            await self._hold_back(delay)
            if self._session.unread:
                raise Refused(EARLY.code, EARLY.status, EARLY.text)
            visitor.waited()
            visitor.ask_lists()
        if self.factory.stages:
            await self.factory.stages.ask("connect", self.peer)

    def _not_welcome(self, failure: Failure) -> None:
        if isinstance(failure.value, Refused):
            self._turn_away(_reply(failure.value))
        elif not isinstance(failure.value, CancelledError):
            self._trail.fault(failure)
            self._session.turn_away(_TURNED_AWAY)

    def _turn_away(self, reply: Reply) -> None:
        self._trail.refused(reply)
        self._session.turn_away(reply)

    # How fast.

    def _hold_back(self, seconds: float) -> Deferred[None]:
        """Fires in so many seconds; fails when the client has gone by then."""
        waiting: Deferred[None] = deferLater(self.factory.wiring.clock, seconds, lambda: None)
        self._waiting = waiting
        return waiting

    def _too_fast(self) -> bool:
        """Count a command; True when the connection ends for it."""
        if self._visitor is None or self._visitor.command():
            return False
        self._session.cut("4.7.0", "too many commands from your network")
        return True

    def _begin_pace(self) -> None:
        self._pace = None if self._visitor is None else self._visitor.pace()

    def tick(self, now: float) -> None:
        super().tick(now)
        self._look_at_line(now)
        pace = self._pace
        if pace is None:
            return
        if self._session.state not in _MESSAGE:
            self._pace = None
        elif self._blocked or self._session.waiting:
            pace.restart(now)
        elif pace.too_slow(now):
            self._call(self._too_slow)

    def _look_at_line(self, now: float) -> None:
        """A line has to be whole in the time that a client may be silent, or an octet now and then would hold
        a connection for ever."""
        if not self._opened:
            return
        session, limit = self._session, self.idle_limit
        if not session.unread or session.waiting or self._blocked or session.state in _MESSAGE:
            self._line_since = None
        elif self._line_since is None:
            self._line_since = now
        elif limit is not None and now - self._line_since >= limit:
            self._line_since = None
            self._call(self.expired, Expiry.IDLE)

    def _too_slow(self) -> None:
        self._pace = None
        self._session.cut("4.4.2", "the message comes too slowly")
        self._advance()

    def _leave(self) -> None:
        """The client has gone: what it waited for is no longer wanted."""
        self._pace = None
        if self._visitor is not None:
            self._visitor.leave()
        if self._waiting is not None and not self._waiting.called:
            self._waiting.addErrback(lambda _: None)
            self._waiting.cancel()


def _reply(refused: Refused | Refusal) -> Reply:
    return Reply(refused.code, refused.status, refused.text)
