"""Zones by TCP. What is said to a query is mailftp.dns.responder's."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.python.failure import Failure

from mailftp.dns.authority import Authority
from mailftp.dns.datagrams import QUERY
from mailftp.wire.connection import Connection, ConnectionFactory, Wiring

#: Seconds that a client may be silent, or may read nothing (RFC 7766 section 6.2.3 asks for a few).
IDLE = 10.0
#: Clients at one time: RFC 7766 section 6.2.2. What they take, mail's clients cannot have.
CLIENTS = 500
#: Messages of a transfer in one turn of the reactor.
TURN = 4


class Queries(Connection):
    """Answers queries by TCP: RFC 1035 section 4.2.2, two octets of length before each message. Several may
    come at once (RFC 7766 section 6.2.1.1) and are answered in their order.

    A client that drips goes when its login time is over, which no client here ever ends; but a transfer may
    take as long as it moves.
    """

    factory: QueryFactory
    _buffered: bytes = b""
    _transfer: Iterator[bytes] | None = None
    _full: bool = False

    def opened(self) -> None:
        self.idle_limit = IDLE

    def received(self, data: bytes) -> None:
        self._buffered += data
        if self._transfer is None:
            self._answer()

    def closed(self, reason: Failure) -> None:
        self._transfer = None

    def unread(self, full: bool) -> None:
        super().unread(full)
        self._full = full
        if self._transfer is not None and not full:
            self._later()

    def _answer(self) -> None:
        """Answer what has come whole, up to a transfer."""
        held, start = self._buffered, 0
        while len(held) - start >= 2 and self._transfer is None:
            end = start + 2 + int.from_bytes(held[start : start + 2], "big")
            if end - start > QUERY + 2:
                self.close()
                return
            if len(held) < end:
                break
            self._one(held[start + 2 : end])
            start = end
        self._buffered = held[start:]

    def _one(self, packet: bytes) -> None:
        transfer = self.factory.authority.transfer(packet, self.peer, self.journal)
        if transfer is not None:
            self._transfer, self.login_deadline = transfer, None
            self.pause()
            self._later()
            return
        reply = self.factory.authority.answer_stream(packet)
        if reply is None:
            # What is no query: there is nothing to say to whoever sends it.
            self.close()
        else:
            self._send(reply)

    def _send(self, message: bytes) -> None:
        self.send(len(message).to_bytes(2, "big") + message)

    def _later(self) -> None:
        """Go on in the next turn, in which what is sent leaves at once and `unread` says when it is much."""
        self.factory.wiring.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self._transfer is None or self._stuffed():
            return
        for _ in range(TURN):
            message = next(self._transfer, None)
            if message is None:
                self._transfer = None
                wiring = self.factory.wiring
                self.login_deadline = wiring.clock.seconds() + wiring.settings.limits.login_timeout
                self.resume()
                self._answer()
                return
            self._send(message)
            if self._stuffed():
                return
        self._later()

    def _stuffed(self) -> bool:
        return self._full


class QueryFactory(ConnectionFactory):
    """One endpoint's connections."""

    protocol = Queries

    def __init__(self, wiring: Wiring, authority: Authority) -> None:
        super().__init__(wiring)
        self.authority = authority

    def enter(self, connection: Connection) -> str | None:
        if len(self._connections) >= CLIENTS:
            reason = "too many questions by TCP"
            self._log_refusal(connection.peer, reason)
            return reason
        return super().enter(connection)
