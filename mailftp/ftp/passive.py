"""A passive port: a listening port that is the session's own, out of the reactor until it is waited at.

Twisted's says in the log when it starts and when it is closed: two lines a file, and a tenth of the time
that a small file takes. And it is in the reactor all the time, which costs a turn for each connection; most
clients have come before they say RETR or STOR, and are taken without one. It touches private attributes of
`tcp.Port`; tests/ftp/test_sockets.py guards them.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet import tcp
from twisted.internet.base import ReactorBase
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IReactorTCP
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from mailftp.wire.transport import install

#: Connections that wait to be accepted: one is wanted, strangers may be quicker.
BACKLOG = 32


@dataclass(frozen=True, slots=True)
class Accepted:
    """A connection that was taken from a port and has no protocol yet."""

    port: QuietPort
    socket: socket.socket
    address: tuple[Any, ...]

    def adopt(self, protocol: IProtocol) -> None:
        """Make it a connection of the reactor's, as the port's `doRead` does."""
        port = self.port
        made = port.transport(self.socket, protocol, self.address, port, port.sessionno, port.reactor)
        port.sessionno += 1
        protocol.makeConnection(made)


class QuietPort(tcp.Port):
    """A TCP port that starts and closes without a word."""

    #: Connections that were taken for transfers.
    uses = 0

    def startListening(self) -> None:
        """Raises CannotListenError."""
        listening: Any = self.createInternetSocket()  # type: ignore[no-untyped-call]  # upstream
        try:
            listening.bind((self.interface, self.port))
            listening.listen(self.backlog)
        except OSError as error:
            listening.close()
            raise CannotListenError(  # type: ignore[no-untyped-call]  # upstream
                self.interface, self.port, error
            ) from None
        self._realPortNumber = listening.getsockname()[1]
        assert self.factory is not None
        self.factory.doStart()  # type: ignore[no-untyped-call]  # upstream
        self.connected = True
        self.socket = listening
        self.fileno = listening.fileno  # type: ignore[method-assign]  # as upstream does
        self.numberAccepts = 1

    def wait(self) -> None:
        """Have the factory build a protocol for whoever comes."""
        self.startReading()  # type: ignore[no-untyped-call]  # upstream

    def rest(self) -> None:
        """Nobody is waited for any more; one was taken."""
        self.uses += 1
        self.stopReading()  # type: ignore[no-untyped-call]  # upstream

    def take(self) -> Accepted | None:
        """Whoever has come, if anybody has."""
        try:
            found, address = self.socket.accept()
        except OSError:
            # Nobody (BlockingIOError), one that is gone again, or no descriptor free: wait.
            return None
        found.setblocking(False)
        if len(address) == 4:
            # With the scope of a link-local address, as Twisted does.
            numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            address = (socket.getnameinfo(address, numeric)[0], *address[1:])
        return Accepted(self, found, address)

    def fresh(self) -> bool:
        """Turn away who came while nobody was asked to; False when there is no end of them."""
        for _ in range(BACKLOG):
            try:
                found, _address = self.socket.accept()
            except BlockingIOError:
                return True
            except OSError:
                return False
            found.close()
        return False

    def shut(self) -> None:
        """Close it now, not in the reactor's next turn; not for use while it accepts."""
        self.stopReading()  # type: ignore[no-untyped-call]  # upstream
        self.connectionLost(Failure(CONNECTION_DONE))  # type: ignore[no-untyped-call]  # upstream

    def _logConnectionLostMsg(self) -> None:
        pass


def listen(
    reactor: IReactorTCP, number: int, factory: ServerFactory, interface: str
) -> QuietPort | IListeningPort:
    """A port for data connections; 0 for any. Raises CannotListenError.

    A QuietPort has to be told to `wait`; any other lets in whoever comes.
    """
    port: Any
    if isinstance(reactor, ReactorBase):
        port = QuietPort(number, factory, BACKLOG, interface, reactor)
        port.startListening()
    else:
        # A test's, or another package's reactor, which knows best how to listen.
        port = reactor.listenTCP(number, factory, BACKLOG, interface)
    install(port)
    found: QuietPort | IListeningPort = port
    return found
