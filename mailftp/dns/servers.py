"""Which servers are asked about which names: `[dns] servers` and `forward`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import dns.name

from mailftp.dns.answers import domain_name

_WITH_PORT = re.compile(r"(?:\[([^\[\]]{1,64})\]|([^\[\]:]{1,64}))(?::([0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    address: str
    port: int = 53

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.family == 6 else f"{self.address}:{self.port}"


def parse_server(text: str) -> Server:
    """ "address", "address:port" or "[address]:port"; raises ValueError in words."""
    try:
        return Server(_address(text))
    except ValueError:
        pass
    match = _WITH_PORT.fullmatch(text)
    port = int(match[3] or 53) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError(
            f"{text!r} is not the address of a DNS server: address, address:port, [address]:port"
        )
    try:
        return Server(_address(match[1] or match[2]), port)
    except ValueError:
        raise ValueError(f"{text!r}: a DNS server is named by its address, not by a name") from None


def _address(text: str) -> str:
    ip_address(text.partition("%")[0])
    return text


def system_server(text: str) -> Server | None:
    """A server as resolv.conf(5) names it, by its address alone; None for what is no address."""
    try:
        return Server(_address(text))
    except ValueError:
        return None


class Routing:
    """From a name to the servers that are asked about it."""

    def __init__(self, servers: tuple[str, ...], forward: Mapping[str, tuple[str, ...]]) -> None:
        """Raises ValueError for a server or a domain that cannot be read."""
        self._forward = {
            domain_name(domain): tuple(map(parse_server, texts)) for domain, texts in forward.items()
        }
        #: Empty: those of the machine.
        self.default = tuple(map(parse_server, servers))

    def of(self, name: dns.name.Name) -> tuple[Server, ...]:
        """The servers of the longest domain in `forward` that `name` is at or below, or the default ones,
        which may be none."""
        if self._forward:
            while True:
                servers = self._forward.get(name)
                if servers is not None:
                    return servers
                if name == dns.name.root:
                    break
                name = name.parent()
        return self.default
