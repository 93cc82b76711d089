"""A network in memory under a clock that stands still: Twisted's own TCP transports over sockets that are
lists.

    network = Network()
    network.listen("127.0.0.2", 25, lambda: FarEnd(script))
    network.connectTCP(...)          # what the code under test calls
    network.settle()                 # until no octet moves and no call is due
    network.advance_to(300)          # seconds, settling at each call that comes due

No thread, no descriptor, no time: thousands of connections a minute, each the same every time.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Protocol

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet._newtls import _BypassTLS
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError, UserError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTCP, IReactorTime
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

#: Turns after which something is taken to go round in circles.
TURNS = 100_000


class FarEnd(Protocol):
    """What stands at the other end of a connection; it answers by `line.say` and `line.hang_up`."""

    def connected(self, line: Line) -> None: ...

    def received(self, data: bytes) -> None: ...

    def lost(self) -> None: ...


class Line:
    """The far end's view of a connection, and the near end's socket. With `start_tls` all that follows goes
    through OpenSSL."""

    def __init__(self, far: FarEnd) -> None:
        self._far = far
        self._to_near: deque[memoryview] = deque()
        self._to_far = bytearray()
        self._tls: SSL.Connection | None = None
        self._clear = bytearray()
        self.hung_up = self.reset = self.gone = False
        #: Set to False to be a host that reads nothing more: the near end's buffers fill up.
        self.reading = True
        far.connected(self)

    # The far end's.

    def say(self, data: bytes) -> None:
        if self.hung_up or not data:
            return
        if self._tls is None:
            self.say_raw(data)
        else:
            self._clear += data
            self._pump()

    def say_raw(self, data: bytes) -> None:
        """Beside TLS, as somebody in between can."""
        self._to_near.append(memoryview(data))

    def hang_up(self, reset: bool = False) -> None:
        """FIN behind all that was said; or RST, which the near end sees as a connection that was lost."""
        self.hung_up, self.reset = True, reset

    def start_tls(self, context: SSL.Context) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()

    def _pump(self) -> None:
        """What OpenSSL has to say, and what it has made of what came."""
        assert self._tls is not None
        heard = b""
        try:
            while True:
                heard += self._tls.recv(65536)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            pass
        except SSL.Error:
            self.hang_up()
        while self._clear:
            try:
                del self._clear[: self._tls.send(bytes(self._clear[:16384]))]
            except SSL.Error:
                break
        try:
            while True:
                self.say_raw(self._tls.bio_read(65536))
        except SSL.Error:
            pass
        if heard:
            self._far.received(heard)

    def carry(self) -> bool:
        """Give the far end what the near end sent; whether there was something."""
        if not self._to_far or self.hung_up:
            return False
        data = bytes(self._to_far)
        self._to_far.clear()
        if self._tls is None:
            self._far.received(data)
        else:
            self._tls.bio_write(data)
            self._pump()
        return True

    @property
    def readable(self) -> bool:
        return bool(self._to_near) or self.hung_up

    # The near end's: what Twisted's TCP transport asks of a socket.

    def recv(self, size: int) -> bytes:
        if self._to_near:
            data = self._to_near.popleft()
            if len(data) > size:
                self._to_near.appendleft(data[size:])
            return bytes(data[:size])
        if self.reset:
            raise OSError(errno.ECONNRESET, "reset")
        if self.hung_up:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, "nothing there")

    def send(self, data: bytes | memoryview) -> int:
        if self.hung_up:
            raise OSError(errno.EPIPE, "gone")
        if not self.reading:
            raise BlockingIOError(errno.EWOULDBLOCK, "full")
        self._to_far += data
        return len(data)

    def close(self) -> None:
        if not self.gone:
            self.gone = self.hung_up = True
            self._far.lost()

    def shutdown(self, how: int) -> None:
        self.carry()

    def setblocking(self, blocking: bool) -> None:
        pass

    def setsockopt(self, *words: object) -> None:
        pass

    def getsockopt(self, *words: object) -> int:
        return 1

    def fileno(self) -> int:
        return -1 if self.gone else 1


class _Near(tcp.Connection):
    """The near end of a connection, as Twisted has it."""

    _tlsClientDefault = True

    def __init__(self, line: Line, protocol, network: Network, address: IPv4Address) -> None:
        super().__init__(line, protocol, network)
        self.line, self._address = line, address
        self.connected = 1

    def startTLS(self, ctx, normal=True):
        """As Twisted's, which would gather small writes by the global reactor's clock."""
        factory = TLSMemoryBIOFactory(ctx, True, None, clock=self.reactor)
        secured = factory.protocol(factory, self.protocol, False)
        self.protocol, self.TLS, self.getHandle = secured, True, secured.getHandle
        secured.makeConnection(_BypassTLS(FileDescriptor, self))

    def getPeer(self) -> IPv4Address:
        return self._address

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 50000)


class _Connector:
    """Twisted's, as far as endpoints use it."""

    def __init__(self, network: Network, address: IPv4Address, factory) -> None:
        self._network, self._address, self._factory = network, address, factory
        self._call = network.callLater(0, self._connect)
        factory.doStart()

    def _connect(self) -> None:
        make = self._network.hosts.get((self._address.host, self._address.port))
        if make is None:
            self._factory.clientConnectionFailed(self, Failure(ConnectionRefusedError()))
            return
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            raise AssertionError("a factory that wants no connection")
        self._network.connect(make(), protocol, self._address)

    def getDestination(self) -> IPv4Address:
        return self._address

    def stopConnecting(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        if self._call.active():
            self._call.cancel()
            self._factory.clientConnectionFailed(self, Failure(UserError()))


@implementer(IReactorTime, IReactorTCP, IReactorFromThreads)
class Network(Clock):
    def __init__(self) -> None:
        super().__init__()
        #: (address, port) -> what makes the far end of a connection there; nothing else listens.
        self.hosts: dict[tuple[str, int], Callable[[], FarEnd]] = {}
        self._readers: dict[_Near, None] = {}
        self._writers: dict[_Near, None] = {}
        self._near: list[_Near] = []

    def listen(self, address: str, port: int, make: Callable[[], FarEnd]) -> None:
        self.hosts[address, port] = make

    def connect(self, far: FarEnd, protocol, address: IPv4Address) -> None:
        near = _Near(Line(far), protocol, self, address)
        self._near.append(near)
        near.startReading()
        protocol.makeConnection(near)

    @property
    def open_connections(self) -> int:
        return sum(not near.disconnected for near in self._near)

    def settle(self) -> None:
        """Turn until nothing moves. The clock stands."""
        for _ in range(TURNS):
            if not self._turn():
                return
        raise AssertionError("it never settles")

    def _turn(self) -> bool:
        moved = False
        for near in list(self._writers):
            if near in self._writers and near.line.reading:
                self._ended(near, near.doWrite())
                moved = True
        for near in list(self._near):
            moved |= near.line.carry()
            if near in self._readers and near.line.readable:
                self._ended(near, near.doRead())
                moved = True
        self._near = [near for near in self._near if not near.disconnected or near.line._to_far]
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        self.advance(0)
        return moved or bool(due)

    def _ended(self, near: _Near, reason: object) -> None:
        if reason is not None:
            self._readers.pop(near, None)
            self._writers.pop(near, None)
            near.connectionLost(Failure(reason))

    def pass_time(self, seconds: float) -> None:
        """Move the clock, stopping at each call that comes due on the way."""
        end = self.seconds() + seconds
        self.settle()
        while True:
            times = [call.getTime() for call in self.getDelayedCalls()]
            following = min([*times, end])
            self.advance(max(0.0, min(following, end) - self.seconds()))
            self.settle()
            if self.seconds() >= end:
                return

    # What transports and the code under test ask of a reactor.

    def connectTCP(self, host, port, factory, timeout=30, bindAddress=None):
        return _Connector(self, IPv4Address("TCP", host, port), factory)

    def listenTCP(self, port, factory, backlog=50, interface=""):
        raise AssertionError("nothing of ours listens here")

    def callFromThread(self, callable, *args, **kwargs):
        raise AssertionError("no thread is for this network")

    def callInThread(self, callable, *args, **kwargs):
        raise AssertionError("no thread is for this network")

    def suggestThreadPoolSize(self, size):
        raise AssertionError("no thread is for this network")

    def addReader(self, near):
        self._readers[near] = None

    def removeReader(self, near):
        self._readers.pop(near, None)

    def addWriter(self, near):
        self._writers[near] = None

    def removeWriter(self, near):
        self._writers.pop(near, None)
