"""A client endpoint through a SOCKS5 proxy (RFC 1928): CONNECT, without a login or with RFC 1929's."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds that the proxy has to connect us: longer than it takes to try a host that is not there.
PATIENCE = 60.0

#: RFC 1928 section 6.
_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "it does not know CONNECT",
    8: "it does not know this kind of address",
}
#: Octets of an address by its type; of a name the first octet says how many follow (section 5).
_LENGTHS = {1: 4, 4: 16}


class SOCKSFault(Exception):
    """The proxy would not connect us; its text says why."""


class _Negotiation(Protocol):
    """Talks to the proxy, then gives the transport to the protocol that it is for."""

    transport: Any

    def __init__(
        self,
        factory: IProtocolFactory,
        target: tuple[str, int],
        login: tuple[str, str] | None,
        clock: IReactorTime,
    ) -> None:
        self.connected_to: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())
        self._factory, self._target, self._login, self._clock = factory, target, login, clock
        self._buffer = b""
        self._step = self._choose_method
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._timer = self._clock.callLater(PATIENCE, self._fail, f"no answer in {PATIENCE:g} seconds")
        methods = b"\x00\x02" if self._login else b"\x00"
        self.transport.write(b"\x05" + bytes([len(methods)]) + methods)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while self._timer is not None and self._step():
            pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail("it closed the connection")

    def _take(self, length: int) -> bytes:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def _choose_method(self) -> bool:
        """Section 3. Whether there may be more to look at."""
        if len(self._buffer) < 2:
            return False
        version, method = self._take(2)
        if version != 5 or method not in (0, 2) or (method == 2 and self._login is None):
            return self._fail("it wants a login" if version == 5 else "it is no SOCKS5 proxy")
        if method == 0:
            self._connect()
            return True
        assert self._login is not None
        name, password = (part.encode() for part in self._login)
        self.transport.write(b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password)
        self._step = self._logged_in
        return True

    def _logged_in(self) -> bool:
        """RFC 1929 section 2."""
        if len(self._buffer) < 2:
            return False
        if self._take(2)[1] != 0:
            return self._fail("it does not let us log in")
        self._connect()
        return True

    def _connect(self) -> None:
        """Section 4."""
        host, port = self._target
        ip = ip_address(host.partition("%")[0])
        kind = b"\x01" if isinstance(ip, IPv4Address) else b"\x04"
        self.transport.write(b"\x05\x01\x00" + kind + ip.packed + port.to_bytes(2, "big"))
        self._step = self._connected

    def _connected(self) -> bool:
        """Section 6. What stands behind it is the far side's."""
        if len(self._buffer) < 5:
            return False
        version, code, _, kind, first = self._buffer[:5]
        length = 1 + first if kind == 3 else _LENGTHS.get(kind, 0)
        if version != 5 or not length:
            return self._fail("its answer makes no sense")
        if code:
            return self._fail(_REPLIES.get(code, f"code {code}"))
        if len(self._buffer) < 4 + length + 2:
            return False
        self._take(4 + length + 2)
        self._hand_over()
        return False

    def _hand_over(self) -> None:
        self._end()
        protocol = self._factory.buildProtocol(self.transport.getPeer())
        if protocol is None:
            self.transport.abortConnection()
            self.connected_to.errback(SOCKSFault("nobody wants the connection"))
            return
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        rest, self._buffer = self._buffer, b""
        self.connected_to.callback(protocol)
        if rest:
            protocol.dataReceived(rest)

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _fail(self, reason: str) -> bool:
        if self._timer is not None:
            self._end()
            self.transport.abortConnection()
            self.connected_to.errback(SOCKSFault(f"the SOCKS proxy: {reason}"))
        return False


@implementer(IStreamClientEndpoint)
class SOCKSEndpoint:
    """Connects to an address and port through the proxy at `proxy`. Fails with SOCKSFault or as `proxy`."""

    def __init__(
        self,
        clock: IReactorTime,
        proxy: IStreamClientEndpoint,
        address: str,
        port: int,
        login: tuple[str, str] | None = None,
    ) -> None:
        """Raises ValueError where a name or a password has more than 255 octets (RFC 1929), or `address` is
        none."""
        ip_address(address.partition("%")[0])
        if login is not None and not all(0 < len(part.encode()) < 256 for part in login):
            raise ValueError("a SOCKS login has a name and a password of 1 to 255 octets")
        self._clock, self._proxy, self._login = clock, proxy, login
        self._target = address, port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        negotiation = _Negotiation(factory, self._target, self._login, self._clock)
        factory = Factory.forProtocol(lambda: negotiation)
        factory.noisy = False
        await self._proxy.connect(factory)
        return await negotiation.connected_to
