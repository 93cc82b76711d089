"""A TCP transport that sends at once what the socket takes.

Twisted's own puts every write in a buffer and asks to be told when the socket is writable: six system
calls for a request and its answer, against three here (recv, send, epoll_wait). Closing with nothing left
to send saves another round through the reactor, and a stream of a file writes without buffering at all.

This is the one module that touches what Twisted does not promise: `dataBuffer`, `offset`,
`_tempDataBuffer`, `_tempDataLen`, `_maybePauseProducer`, `_writeDisconnected` and `_aborting` of
`abstract.FileDescriptor` and `tcp.Connection`. tests/wire/test_transport.py fails when they change, and
every user of the additions works without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socket import MSG_PEEK, SHUT_WR
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

#: The most that one call hands to the socket, in octets.
PIECE = 1024 * 1024

#: Seconds for which a client that is told to go may go on sending, and the octets are thrown away.
DISCARDING = 2.0

#: Connections that the kernel holds for us between two turns; Twisted's 50 makes the 51st of a burst wait
#: for a second.
BACKLOG = 1024


class FastServer(tcp.Server):
    """The server's end of a TCP connection.

    `unsent`, `send_now` and `when_writable` are additions; mailftp.wire.stream asks for
    them with getattr, and does without where they are missing.
    """

    _writable: Callable[[], None] | None = None
    #: Runs while we read away what a client sends after our last word.
    _patience: IDelayedCall | None = None
    #: In `doRead`; and there the connection was told to close, with nothing left to send.
    _in_read = False
    _close_after_read = False

    @property
    def unsent(self) -> int:
        """Octets that were written and have not left."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def write(self, data: bytes) -> None:
        # A pull producer is asked for more when the buffer has run empty, so it has to go through it.
        if (
            self.TLS
            or self._tempDataLen
            or self.dataBuffer
            or not self.connected
            or self._aborting
            or self._writeDisconnected
            or (self.producer is not None and not self.streamingProducer)
        ):
            super().write(data)  # type: ignore[no-untyped-call]  # upstream
            return
        sent = self._send(data)
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[no-untyped-call]  # upstream

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self.TLS or self.unsent or self.producer is not None or not self.connected or self.disconnecting:
            super().loseConnection()  # type: ignore[no-untyped-call]  # upstream
        elif self._in_read:
            # In this very turn, when the protocol has returned: no further trip through the reactor.
            self.disconnecting = self._close_after_read = True
        elif not self._aborting:
            self.stopReading()  # type: ignore[no-untyped-call]  # upstream
            self.disconnecting = True
            self.reactor.callLater(0, self._close_unless_lost)  # type: ignore[attr-defined]  # it is both

    def doRead(self) -> Any:
        self._in_read = True
        why = super().doRead()
        self._in_read = False
        if self._close_after_read and why is None and self.connected and not self._aborting:
            if not self.unsent:
                return self._postLoseConnection()
            # It said more after that: what closes now is the end of writing, as ever.
            self._close_after_read = False
            self.stopReading()  # type: ignore[no-untyped-call]  # upstream
        return why

    def _close_unless_lost(self) -> None:
        if self.connected and not self._aborting and self._postLoseConnection() is not None:
            self._close()

    def _close(self) -> None:
        self.connectionLost(Failure(main.CONNECTION_DONE))  # type: ignore[no-untyped-call]  # upstream

    def _postLoseConnection(self) -> Any:
        """All has left: close, or first read away what the client still sends.

        A socket that is closed over unread octets is reset, and the reset takes our last reply from the
        client: a 421 to one that has gone on talking would never be seen.
        """
        try:
            waiting = bool(self.socket.recv(1, MSG_PEEK))
        except OSError:
            waiting = False
        if not waiting:
            return main.CONNECTION_DONE
        try:
            self.socket.shutdown(SHUT_WR)
        except OSError:
            return main.CONNECTION_DONE
        self.doRead = self._discard  # type: ignore[method-assign]  # as abortConnection does
        self._patience = self.reactor.callLater(DISCARDING, self._close)  # type: ignore[attr-defined]  # it is both
        self.startReading()  # type: ignore[no-untyped-call]  # upstream
        return None

    def _discard(self) -> Any:
        try:
            return None if self.socket.recv(PIECE) else main.CONNECTION_DONE
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST

    def readConnectionLost(self, reason: Failure) -> None:
        if self._patience is not None or self._close_after_read:
            self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        super().connectionLost(reason)

    def send_now(self, data: memoryview) -> int:
        """Send what the socket takes of `data` and give the number of octets; nothing is buffered.

        0 when it takes none, or when something is buffered that has to leave first; `when_writable` tells
        when to try again. A broken connection is 0 as well: the reactor finds out by itself.
        """
        if not self.connected or self._aborting or self.unsent:
            return 0
        return self._send(data[:PIECE])

    def when_writable(self, call: Callable[[], None]) -> None:
        """Call once, when all that was written has left and the socket takes more."""
        self._writable = call
        self.startWriting()  # type: ignore[no-untyped-call]  # upstream

    def doWrite(self) -> Any:
        if self._writable is None or self.unsent:
            result = super().doWrite()  # type: ignore[no-untyped-call]  # upstream
            if self._writable is not None and result is None:
                self.startWriting()  # type: ignore[no-untyped-call]  # upstream
            return result
        call, self._writable = self._writable, None
        call()
        if self._writable is None and not self.unsent and self.connected:
            self.stopWriting()  # type: ignore[no-untyped-call]  # upstream
            if self.disconnecting:
                return self._postLoseConnection()
        return None

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.socket.send(data)
        except OSError:
            # Full, or lost: then the octets go to the buffer, and the reactor's own attempt to send them
            # reports the loss, outside of anybody's call.
            return 0


class Transparent:
    """Base of a protocol wrapper that passes octets on unchanged, so that a stream may go past it."""

    transport: Any


def below(transport: object) -> FastServer | None:
    """The socket's own transport beneath any wrapper, TLS included: to wait for, never to send by."""
    while not isinstance(transport, FastServer):
        transport = getattr(transport, "transport", None)
        if transport is None:
            return None
    return transport


def direct(transport: object) -> FastServer | None:
    """The socket's own transport, if what it sends is what the client sees; None under TLS."""
    while isinstance(transport, Transparent):
        transport = transport.transport
    return transport if isinstance(transport, FastServer) and not transport.TLS else None


def install(port: object, backlog: int | None = None) -> bool:
    """Make a listening port use FastServer for connections from now on, and keep as many waiting as
    `backlog` says; False when it is not a TCP port, which works all the same."""
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = FastServer
        if backlog is not None:
            port.socket.listen(backlog)
        return True
    return False
