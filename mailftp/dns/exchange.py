"""One question to one server: by UDP from a socket of its own, by TCP where that is too small."""

from __future__ import annotations

from collections.abc import Callable

import dns.message
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from mailftp.dns.answers import EDNS_PAYLOAD, Question
from mailftp.dns.servers import Server

#: Room for servers that send more than we said that we take; a packet that fills it may be cut.
_PACKET = 4096
#: Packets that are no answer, after which somebody is guessing ids: ask by TCP, which cannot be guessed.
_STRAYS = 16


class NoReply(Exception):
    """This server gave no answer; the text says why."""


class TooLarge(Exception):
    """The answer does not fit a datagram, or datagrams cannot be trusted now: ask by TCP."""


class Network:
    """Asks servers, and knows which sockets are still closing."""

    def __init__(self, reactor: IReactorTime) -> None:
        """Raises TypeError when the reactor has no UDP or TCP."""
        self.clock = reactor
        self.udp, self.tcp = IReactorUDP(reactor), IReactorTCP(reactor)
        self._open: set[Deferred[None]] = set()

    def ask_udp(self, server: Server, question: Question, seconds: float) -> Deferred[dns.message.Message]:
        """Fails with NoReply, TooLarge or, when it takes longer than `seconds`, TimeoutError."""
        asking = _Datagrams(self, server, question)
        asking.start()
        return asking.done.addTimeout(seconds, self.clock)

    def ask_tcp(self, server: Server, question: Question, seconds: float) -> Deferred[dns.message.Message]:
        """Fails with NoReply or TimeoutError; `seconds` are for connecting and answering together."""
        asking = _StreamFactory(self, server, question)
        asking.start(seconds)
        return asking.done.addTimeout(seconds, self.clock)

    def opened(self) -> Callable[[], None]:
        """Count a socket; what it gives is called when the socket is closed."""
        gone: Deferred[None] = Deferred()
        self._open.add(gone)

        def closed() -> None:
            if gone in self._open:
                self._open.discard(gone)
                gone.callback(None)

        return closed

    async def all_closed(self) -> None:
        while self._open:
            await next(iter(self._open))


class _Datagrams(DatagramProtocol):
    """A socket of its own for each question: its port is random too, which a forger has to guess (RFC 5452
    section 9.2). It is connected, so the kernel drops what others send and tells of a closed port."""

    noisy = False

    def __init__(self, network: Network, server: Server, question: Question) -> None:
        self._network, self._server, self._question = network, server, question
        self.done: Deferred[dns.message.Message] = Deferred(lambda _: self._close())
        self._port: IListeningPort | None = None
        self._strays = 0

    def start(self) -> None:
        interface = "::" if self._server.family == 6 else "0.0.0.0"
        try:
            port = self._network.udp.listenUDP(0, self, interface, _PACKET)
        except error.CannotListenError as fault:
            return self._fail(NoReply(f"no socket: {fault.socketError}"))
        self._port, self._closed = port, self._network.opened()
        try:
            port.connect(self._server.address, self._server.port)  # type: ignore[attr-defined]  # UDP's own
            port.write(self._question.wire)  # type: ignore[attr-defined]  # likewise
        except OSError as fault:
            # No route to it, for one.
            self._fail(NoReply(str(fault)))

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        if self.done.called or addr[1] != self._server.port:
            return
        reply = self._question.read(datagram)
        if reply is not None and reply.flags & dns.flags.TC or len(datagram) >= _PACKET:
            self._fail(TooLarge())
        elif reply is not None and not self._question.echoed:
            # A forger who guessed the id, or a server that does not keep the case: TCP tells.
            self._fail(TooLarge())
        elif reply is not None:
            self._close()
            self.done.callback(reply)
        else:
            self._strays += 1
            if self._strays >= _STRAYS:
                self._fail(TooLarge())

    def connectionRefused(self) -> None:
        if not self.done.called:
            self._fail(NoReply("nothing listens there"))

    def stopProtocol(self) -> None:
        """On epoll a refused datagram is a hangup: Twisted closes the port and tells nobody."""
        if self._port is not None:
            self._port = None
            self._closed()
            self.connectionRefused()

    def _fail(self, fault: Exception) -> None:
        self._close()
        self.done.errback(fault)

    def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            closing = port.stopListening()
            if closing is None:
                self._closed()
            else:
                closing.addBoth(lambda _: self._closed())


class _Stream(Protocol):
    """RFC 1035 section 4.2.2: two octets of length before each message."""

    factory: _StreamFactory
    _held = b""

    def connectionMade(self) -> None:
        wire = self.factory.question.wire
        assert self.transport is not None
        self.transport.write(len(wire).to_bytes(2, "big") + wire)

    def dataReceived(self, data: bytes) -> None:
        # At most one message's worth and a segment is held: 64 KiB.
        self._held += data
        while len(self._held) >= 2:
            end = 2 + int.from_bytes(self._held[:2], "big")
            if len(self._held) < end:
                return
            message, self._held = self._held[2:end], self._held[end:]
            reply = self.factory.question.read(message)
            self.factory.answered(reply)
            return


class _StreamFactory(ClientFactory):
    protocol = _Stream  # type: ignore[assignment]  # Twisted's annotation wants a bare callable
    noisy = False

    def __init__(self, network: Network, server: Server, question: Question) -> None:
        self._network, self._server, self.question = network, server, question
        self.done: Deferred[dns.message.Message] = Deferred(lambda _: self._connector.disconnect())
        self._connector: IConnector

    def start(self, seconds: float) -> None:
        self._closed = self._network.opened()
        self._connector = self._network.tcp.connectTCP(
            self._server.address, self._server.port, self, timeout=seconds
        )

    def answered(self, reply: dns.message.Message | None) -> None:
        if not self.done.called:
            if reply is None:
                self.done.errback(NoReply("what it sent by TCP is no answer to the question"))
            else:
                self.done.callback(reply)
        self._connector.disconnect()

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._closed()
        if not self.done.called:
            self.done.errback(NoReply(f"no connection by TCP: {reason.getErrorMessage()}"))

    def clientConnectionLost(self, connector: IConnector, reason: Failure = connectionDone) -> None:
        self._closed()
        if not self.done.called:
            self.done.errback(NoReply("it closed the TCP connection without an answer"))


assert EDNS_PAYLOAD < _PACKET
