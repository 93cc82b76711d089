"""Which names of a web server are ours: the Host that a request names (RFC 9110 section 7.2).

A request for a name that is not ours is refused: a page elsewhere whose name is made to lead to this address
(DNS rebinding) would otherwise speak to us with the rights of where its reader sits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

#: Names below a domain that speak for it: RFC 8461 section 3.3, and those of mail programs.
SERVANTS = ("mta-sts", "autoconfig", "autodiscover")

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"({_LABEL}(?:\.{_LABEL}){{0,126}})\.?(?::([0-9]{{1,5}}))?", re.ASCII)
_LITERAL = re.compile(r"\[([0-9a-f:.]{2,45})\](?::([0-9]{1,5}))?", re.ASCII)


class HostFault(ValueError):
    """It names no host."""


@dataclass(frozen=True, slots=True)
class Host:
    #: In lower case, without a last dot; an address without brackets.
    name: str
    #: None: the scheme's own.
    port: int | None = None
    #: The name is an address.
    literal: bool = False

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


def parse_host(text: str) -> Host:
    """RFC 9110 section 7.2, RFC 3986 section 3.2.2. Raises HostFault."""
    lower = text.lower()
    match = _LITERAL.fullmatch(lower) or _NAME.fullmatch(lower)
    if match is None or len(match[1]) > 253:
        raise HostFault("a Host that cannot be read")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise HostFault("a Host with a port that cannot be")
    name = match[1]
    try:
        address = ip_address(name)
    except ValueError:
        if lower.startswith("["):
            raise HostFault("a Host with an address that cannot be read")
        return Host(name, port)
    if (address.version == 6) != lower.startswith("["):
        raise HostFault("a Host with an address that cannot be read")
    return Host(str(address), port, literal=True)


class OwnHosts:
    """The names that this server is asked by: `hostname`, the domains, what speaks for them, and `others`."""

    def __init__(self, hostname: str, domains: Iterable[str], others: Iterable[str] = ()) -> None:
        self.domains = tuple(domain.lower() for domain in domains)
        self._servants = {f"{label}.{domain}": domain for label in SERVANTS for domain in self.domains}
        plain = (hostname, *self.domains, *others)
        self._names = {"localhost", *(name.lower() for name in plain), *self._servants}

    def __contains__(self, host: Host) -> bool:
        # Nobody can make an address lead elsewhere; load balancers and proxies ask by it.
        return host.literal or host.name in self._names

    def served_by(self, label: str, host: Host) -> str | None:
        """The domain D where the host is "<label>.D"."""
        domain = self._servants.get(host.name)
        return domain if domain is not None and host.name == f"{label}.{domain}" else None

    def domain_of(self, host: Host) -> str | None:
        """The domain that the host speaks for, if it is one of ours or below one by a name of `SERVANTS`."""
        return host.name if host.name in self.domains else self._servants.get(host.name)
