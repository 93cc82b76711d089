"""A client on a real socket, for what memory cannot show."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """Collects what comes; `lost` fires when the connection is gone."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[bytes] = Deferred()
        self._wanted: list[tuple[int, Deferred[bytes]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._serve()

    def expect(self, size: int) -> Deferred[bytes]:
        """Fires with the next `size` octets, which are taken off."""
        waiting: Deferred[bytes] = Deferred()
        self._wanted.append((size, waiting))
        self._serve()
        return waiting

    def _serve(self) -> None:
        while self._wanted and len(self.data) >= self._wanted[0][0]:
            size, waiting = self._wanted.pop(0)
            taken, self.data = self.data[:size], self.data[size:]
            waiting.callback(taken)

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        waiting, self._wanted = self._wanted, []
        for _, one in waiting:
            one.errback(reason)
        self.lost.callback(self.data)


async def dial(reactor: Any, port: int) -> Client:
    """A connected client."""
    client: Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
    client.transport.setTcpNoDelay(True)
    return client
