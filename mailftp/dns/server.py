"""Zones on the network: queries by datagram and by TCP. What is said to them is mailftp.dns.responder's."""

from __future__ import annotations

from twisted.internet.protocol import DatagramProtocol

from mailftp.dns.ready import ReadyAnswers
from mailftp.dns.responder import respond
from mailftp.dns.zone import Zones
from mailftp.wire.connection import Connection, ConnectionFactory, Wiring
from mailftp.wire.journal import Journal

#: Octets of one query. A name has 255, and options add some hundreds; a client that announces more is held
#: no memory for.
QUERY = 4096
#: Seconds that a client may be silent (RFC 7766 section 6.2.3 asks for a few). One that drips goes when its
#: login time is over, which no client here ever ends.
IDLE = 10.0


class Datagrams(DatagramProtocol):
    """Answers queries by UDP. Nothing is kept of those who ask."""

    noisy = False

    def __init__(self, zones: Zones) -> None:
        self._journal = Journal("dns")
        self.change(zones)

    def change(self, zones: Zones) -> None:
        """Answer from these zones from now on."""
        self._ready = ReadyAnswers(zones)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        # Port 0 cannot be answered, and the kernel would say so with an error.
        if len(datagram) > QUERY or not addr[1]:
            return
        try:
            reply = self._ready.respond(datagram)
            if reply is not None and self.transport is not None:
                self.transport.write(reply, addr)
        except OSError as fault:
            # No route back, or the socket's buffer is full: the client asks again.
            self._journal.detail("dns unanswered", peer=addr[0], reason=str(fault))
        except Exception:
            self._journal.fault("dns_fault", question=datagram[:300].hex())


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
            reply = respond(self.factory.zones, held[start + 2 : end], stream=True)
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

    def __init__(self, wiring: Wiring, zones: Zones) -> None:
        super().__init__(wiring)
        self.zones = zones
