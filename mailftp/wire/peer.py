"""Who is at the other end of a connection.

IPv4-mapped IPv6 addresses are normalised here, before any limit counts by network: otherwise
::ffff:192.0.2.1 and 192.0.2.1 would be two clients to one and a whole /64 to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.internet.interfaces import ITransport
from zope.interface import Interface

Address = IPv4Address | IPv6Address


class IProxied(Interface):
    """Marks a transport whose getPeer and getHost tell what a trusted proxy's header said."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The client as limits, guards and logs see it.

    `address` is None on a Unix socket. `proxied` says that the address was told by a PROXY header
    and that the connection itself came from somebody else.
    """

    address: Address | None
    port: int = 0
    proxied: bool = False

    @classmethod
    def of(cls, host: str | None, port: int = 0, proxied: bool = False) -> Peer:
        """Make a peer of the text form of an address; anything unreadable is a local socket."""
        address = _read(host or "")
        return cls(address, 0 if address is None else port, proxied)

    @classmethod
    def far(cls, transport: ITransport) -> Peer:
        """The client at the other end of a transport."""
        return cls._end(transport, transport.getPeer())

    @classmethod
    def near(cls, transport: ITransport) -> Peer:
        """Our own end of a transport: the address that the client connected to."""
        return cls._end(transport, transport.getHost())

    @classmethod
    def _end(cls, transport: ITransport, address: object) -> Peer:
        # A Unix socket's address has neither host nor port.
        host, port = getattr(address, "host", None), getattr(address, "port", 0)
        return cls.of(host, port, proxied=IProxied.providedBy(transport))

    @property
    def local(self) -> bool:
        """On this very machine and not through a proxy: a password may be sent in the clear."""
        return not self.proxied and (self.address is None or self.address.is_loopback)

    def network(self, wider: int = 0) -> str:
        """The network that limits count by: /32 or /64; `wider` 1 and 2 give /24, /16 and /56, /48."""
        if self.address is None:
            return "local"
        lengths = (32, 24, 16) if self.address.version == 4 else (64, 56, 48)
        return str(ip_network((self.address, lengths[wider]), strict=False))

    @property
    def literal(self) -> str:
        """As a domain (RFC 5321 section 4.1.3): "[192.0.2.1]", "[IPv6:2001:db8::1]"; "" on a Unix socket."""
        return "" if self.address is None else _literal(self.address)

    def __str__(self) -> str:
        if self.address is None:
            return "local"
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@lru_cache(maxsize=1024)
def _literal(address: Address) -> str:
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


@lru_cache(maxsize=1024)
def _read(host: str) -> Address | None:
    # Remembered, because the same clients come again and again (FTP opens a connection for each file) and
    # reading an address costs as much as counting and greeting the client.
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
