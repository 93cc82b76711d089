"""The factory behind the connections of one service: it counts them, sweeps their clocks, drains them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall

from mailftp.settings import Settings
from mailftp.wire.journal import Journal
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.peer import Peer
from mailftp.wire.reading import FileReader
from mailftp.wire.tls import ServiceTLS

if TYPE_CHECKING:
    from mailftp.wire.connection import Connection

#: Seconds between two looks at the clocks of all connections of a factory.
SWEEP = 1.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a factory is given by the composition root.

    `service` is a key of `[listen]` ("submission"); `protocol` is the key under which limits and
    timeouts are found ("smtp"). `tls` is None where no certificate is configured: STARTTLS is then
    not offered.
    `implicit_tls` says that the transport is TLS already.
    """

    service: str
    protocol: str
    settings: Settings
    clock: IReactorTime
    limits: ConnectionLimits
    tls: ServiceTLS | None = None
    implicit_tls: bool = False
    #: Reads the files that are streamed.
    reader: FileReader = field(default_factory=FileReader)


class ConnectionFactory(ServerFactory):
    """Makes the connections of one service, counts them, sweeps their clocks, drains them.

    `drain(seconds)` fires when the last connection is gone.
    """

    noisy = False
    protocol: type[Connection]  # type: ignore[assignment]  # narrower than Twisted declares

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        #: Seconds, for connections that do not set their own.
        self.idle_limit: float = wiring.settings.limits.idle_timeout.get(wiring.protocol, 300.0)
        self._connections: set[Connection] = set()
        self._sweep = LoopingCall(self._look)
        self._sweep.clock = wiring.clock
        self._drained: list[Deferred[None]] = []
        self._deadline: IDelayedCall | None = None
        self._journal = Journal(wiring.service)
        self._refused = 0
        self._refusal_logged = -SWEEP

    @property
    def connections(self) -> Iterable[Connection]:
        return tuple(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Connection:  # type: ignore[override]  # as `protocol`
        connection = self.protocol()
        connection.factory = self
        return connection

    def drain(self, seconds: float) -> Deferred[None]:
        """Ask every connection to finish, abort after `seconds` those that have not; new ones are refused
        until the last is gone."""
        if not self._connections:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if self._deadline is None:
            self._deadline = self.wiring.clock.callLater(seconds, self._abort_all)
            for connection in self.connections:
                connection.stop()
        return drained

    # What connections ask.

    def enter(self, connection: Connection) -> str | None:
        """Count a new connection; the reason in words why it may not be."""
        if self._drained:
            return "the server is stopping"
        reason = self.wiring.limits.enter(connection.peer)
        if reason is not None:
            self._log_refusal(connection.peer, reason)
            return reason
        self._connections.add(connection)
        self.wiring.limits.come[self.wiring.service] += 1
        if not self._sweep.running:
            # Should it end all the same, the next connection begins it anew.
            self._sweep.start(SWEEP, now=False).addErrback(partial(self._journal.fault, "sweep"))
        return None

    def leave(self, connection: Connection) -> None:
        """Take a connection that had entered out of the count."""
        self._connections.discard(connection)
        self.wiring.limits.gone[self.wiring.service] += 1
        self.wiring.limits.leave(connection.peer)
        if self._connections:
            return
        self._sweep.stop()
        if self._deadline is not None:
            if self._deadline.active():
                self._deadline.cancel()
            self._deadline = None
        drained, self._drained = self._drained, []
        for waiting in drained:
            waiting.callback(None)

    def _look(self) -> None:
        now = self.wiring.clock.seconds()
        for connection in self.connections:
            try:
                connection.tick(now)
            except Exception:
                # One that cannot be looked at must not stop the clocks of all.
                connection.journal.fault("sweep")
                connection.abort()

    def _abort_all(self) -> None:
        for connection in self.connections:
            connection.abort()

    def _log_refusal(self, peer: Peer, reason: str) -> None:
        """One line a second, or a flood of connections would become a flood of lines."""
        self._refused += 1
        now = self.wiring.clock.seconds()
        if now - self._refusal_logged >= SWEEP:
            self._journal.warn("refused", peer=str(peer), reason=reason, count=self._refused)
            self._refused, self._refusal_logged = 0, now
