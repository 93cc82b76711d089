"""Zones by TCP. What is said to a query is mailftp.dns.responder's."""

from __future__ import annotations

from mailftp.dns.authority import Authority
from mailftp.dns.datagrams import QUERY
from mailftp.wire.connection import Connection, ConnectionFactory, Wiring

#: Seconds that a client may be silent (RFC 7766 section 6.2.3 asks for a few). One that drips goes when its
#: login time is over, which no client here ever ends.
IDLE = 10.0
#: Clients at one time: RFC 7766 section 6.2.2. What they take, mail's clients cannot have.
CLIENTS = 500


class Queries(Connection):
    """Answers queries by TCP: RFC 1035 section 4.2.2, two octets of length before each message. Several may
    come at once (RFC 7766 section 6.2.1.1) and are answered in their order."""

    factory: QueryFactory
    _buffered: bytes = b""

    def opened(self) -> None:
        self.idle_limit = IDLE

    def received(self, data: bytes) -> None:
        held, start = self._buffered + data, 0
        while len(held) - start >= 2:
            end = start + 2 + int.from_bytes(held[start : start + 2], "big")
            if end - start > QUERY + 2:
                self.close()
                return
            if len(held) < end:
                break
            reply = self.factory.authority.answer_stream(held[start + 2 : end])
            if reply is None:
                # What is no query: there is nothing to say to whoever sends it.
                self.close()
                return
            self.send(len(reply).to_bytes(2, "big") + reply)
            start = end
        self._buffered = held[start:]


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
