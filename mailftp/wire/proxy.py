"""The PROXY protocol, versions 1 and 2, as HAProxy publishes it (proxy-protocol.txt, 2.2).

Only a connection from a trusted network may bring a header, and it must: then everything above sees the
client that the header names. Anybody else's "PROXY ..." is data of the protocol, and an error in it. Proxies
that speak HTTP themselves may say it in a header of theirs instead, so there it need not come.
The header comes before everything, TLS too: TCP, PROXY, TLS, connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.address import IPv4Address as TCP4
from twisted.internet.address import IPv6Address as TCP6
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, directlyProvides, implementer, providedBy

from mailftp.settings import Network
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Address, IProxied, Peer
from mailftp.wire.transport import Transparent

#: Seconds in which a trusted proxy has to send the header.
PATIENCE = 5.0

#: Longest version 1 header, its CRLF included (section 2.1).
LINE = 107

#: Most octets after the 16 fixed ones of version 2: addresses and TLVs. A TLV that carries a client
#: certificate's name takes some hundred.
BLOCK = 2048

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PORT = rb"(0|[1-9][0-9]{0,4})"
_V1 = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]{2,39}) ([0-9A-Fa-f.:]{2,39}) " + _PORT + b" " + _PORT)
_FAMILIES: dict[int, tuple[type[IPv4Address] | type[IPv6Address], int]] = {
    0x11: (IPv4Address, 4),
    0x21: (IPv6Address, 16),
}
#: AF_UNSPEC, and AF_UNIX with SOCK_STREAM: valid, and no address that we could use.
_UNSPECIFIC = (0x00, 0x31)


class MalformedHeader(Exception):
    """The octets are no PROXY header, or not one that may be believed."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says. `source` and `destination` are (address, port); both are None when the proxy
    does not know, or speaks for itself (a health check)."""

    source: tuple[Address, int] | None = None
    destination: tuple[Address, int] | None = None


def parse(data: bytes) -> tuple[Header, int] | None:
    """A header at the beginning of `data` and its length; None when there must come more.

    Raises MalformedHeader as soon as the octets cannot become a header any more.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _parse_v2(data) if len(data) >= 16 else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise MalformedHeader("no PROXY header")


def _parse_v1(data: bytes) -> tuple[Header, int] | None:
    """Section 2.1, the human-readable header."""
    end = data.find(b"\r\n", 0, LINE)
    if end < 0:
        if len(data) >= LINE:
            raise MalformedHeader(f"a version 1 header of more than {LINE} octets")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        # The rest of the line is to be ignored.
        return Header(), end + 2
    match = _V1.fullmatch(line)
    if match is None:
        raise MalformedHeader("a version 1 header that cannot be read")
    try:
        source, destination = (_address(match[1], match[n]) for n in (2, 3))
    except ValueError:
        raise MalformedHeader("a version 1 header with a wrong address")
    ports = [int(match[n]) for n in (4, 5)]
    if max(ports) > 65535:
        raise MalformedHeader("a version 1 header with a wrong port")
    return Header((source, ports[0]), (destination, ports[1])), end + 2


def _address(family: bytes, text: bytes) -> Address:
    return (IPv4Address if family == b"4" else IPv6Address)(text.decode("ascii"))


def _parse_v2(data: bytes) -> tuple[Header, int] | None:
    """Section 2.2, the binary header."""
    command, family = data[12], data[13]
    size = int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21):
        raise MalformedHeader(f"a version 2 header with version and command {command:#04x}")
    if size > BLOCK:
        raise MalformedHeader(f"a version 2 header with {size} octets of addresses and TLVs")
    if command == 0x20 or family in _UNSPECIFIC:
        return (Header(), 16 + size) if len(data) >= 16 + size else None
    if family not in _FAMILIES:
        raise MalformedHeader(f"a version 2 header with family and transport {family:#04x}")
    kind, width = _FAMILIES[family]
    if size < 2 * width + 4:
        raise MalformedHeader("a version 2 header too short for its addresses")
    if len(data) < 16 + size:
        return None
    block = data[16 : 16 + size]
    source: Address = kind(block[:width])
    destination: Address = kind(block[width : 2 * width])
    ports = [int.from_bytes(block[at : at + 2], "big") for at in (2 * width, 2 * width + 2)]
    return Header((source, ports[0]), (destination, ports[1])), 16 + size


@implementer(IHalfCloseableProtocol)
class ProxiedConnection(ProtocolWrapper, Transparent):
    """Reads the header, then is the transport of the protocol that the wrapped factory makes for the
    client it names."""

    factory: ProxyFactory
    transport: Any
    #: None until the header is there, and when the connection is gone.
    wrappedProtocol: IProtocol | None  # type: ignore[assignment]  # upstream sets None and does not say so
    _waiting: bytes | None = b""
    _timer: IDelayedCall | None = None
    _source: IAddress | None = None
    _destination: IAddress | None = None

    def makeConnection(self, transport: ITransport) -> None:
        # Not ProtocolWrapper's: there is nothing above yet that could be told.
        directlyProvides(self, providedBy(transport))
        alsoProvides(self, IProxied)
        self.factory.registerProtocol(self)  # type: ignore[no-untyped-call]  # upstream
        self._timer = self.factory.clock.callLater(PATIENCE, self._refuse, "no header in time")
        Protocol.makeConnection(self, transport)  # type: ignore[no-untyped-call]  # upstream

    def getPeer(self) -> IAddress:
        return self._source or self.transport.getPeer()

    def getHost(self) -> IAddress:
        return self._destination or self.transport.getHost()

    def dataReceived(self, data: bytes) -> None:
        if self._waiting is None:
            if self.wrappedProtocol is not None:
                self.wrappedProtocol.dataReceived(data)
            return
        self._waiting += data
        try:
            parsed = parse(self._waiting)
        except MalformedHeader as error:
            if self.factory.required or self._waiting[:6] == b"PROXY " or self._waiting[:12] == _SIGNATURE:
                self._refuse(str(error))
            else:
                rest, self._waiting = self._waiting, None
                self._connect(Header(), rest)
            return
        if parsed is not None:
            header, length = parsed
            rest, self._waiting = self._waiting[length:], None
            self._connect(header, rest)

    def readConnectionLost(self) -> None:
        above: Any = self.wrappedProtocol
        if IHalfCloseableProtocol.providedBy(above):
            above.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """We never close one half."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
        self._waiting = None
        self.factory.unregisterProtocol(self)  # type: ignore[no-untyped-call]  # upstream
        above, self.wrappedProtocol = self.wrappedProtocol, None
        if above is not None:
            above.connectionLost(reason)

    def _connect(self, header: Header, rest: bytes) -> None:
        self._stop_timer()
        self._source = _twisted(header.source)
        self._destination = _twisted(header.destination)
        above = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        if above is None:
            self.transport.loseConnection()
            return
        self.wrappedProtocol = above
        above.makeConnection(self)
        if rest and self.wrappedProtocol is not None:
            above.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._stop_timer()
        self._waiting = None
        self.factory.journal.warn("proxy-refused", peer=str(Peer.far(self.transport)), reason=reason)
        self.transport.abortConnection()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _twisted(end: tuple[Address, int] | None) -> IAddress | None:
    if end is None:
        return None
    address, port = end
    return (TCP4 if address.version == 4 else TCP6)("TCP", str(address), port)


class ProxyFactory(WrappingFactory[ProxiedConnection]):
    """Wraps the factory of a listener, outside of TLS."""

    noisy = False
    protocol = ProxiedConnection

    def __init__(
        self,
        factory: IProtocolFactory,
        trusted: Iterable[Network],
        clock: IReactorTime,
        required: bool = True,
    ) -> None:
        """Without `required`, a trusted network may send no header, and then all is the protocol's."""
        super().__init__(factory)  # type: ignore[no-untyped-call]  # upstream
        self.required = required
        self.trusted = tuple(trusted)
        self.clock = clock
        self.journal = Journal("proxy")

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """For a client that is no trusted proxy, the wrapped factory's own protocol."""
        peer = Peer.of(getattr(addr, "host", None))
        if peer.address is not None and any(peer.address in network for network in self.trusted):
            return ProxiedConnection(self, None)  # type: ignore[arg-type]  # None until there is a header
        return self.wrappedFactory.buildProtocol(addr)

    def stopFactory(self) -> None:
        """Nothing listens any more: who has not sent a header gets no answer."""
        for waiting in list(self.protocols):
            if waiting.wrappedProtocol is None:
                waiting.transport.abortConnection()
