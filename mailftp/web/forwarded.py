"""Who is behind a web server that passes requests on to us: X-Forwarded-For, -Proto and -Host, or Forwarded
(RFC 7239).

The headers are believed from trusted networks alone, and only the one kind that the settings name: a proxy
that writes the one lets the other through as the client made it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from mailftp.settings import Network
from mailftp.wire.peer import Address, Peer

#: Proxies in a row that are followed; what is farther away is not believed.
MOST = 16
#: Octets of all the header's lines together.
LARGEST = 4096

#: An address as proxies write it: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80".
_NODE = re.compile(
    r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15})(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'\s*({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")\s*')


@dataclass(frozen=True, slots=True)
class Told:
    """What the headers of one request say, each value as it came; from the first proxy to the last."""

    #: Addresses, the client's first; each added by the proxy that it called.
    nodes: Sequence[str] = ()
    proto: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks, by what name, and whether what he sends is encrypted."""

    peer: Peer
    secure: bool
    #: "": the request's own Host.
    host: str = ""
    #: A header says that somebody stands between, and he is not to be believed: nothing of this is known.
    unknown: bool = False


def x_forwarded(addresses: str, proto: str, host: str) -> Told:
    """Of the three headers, each with its lines joined by commas."""
    nodes = [part.strip() for part in addresses[-LARGEST:].split(",")] if addresses else []
    return Told(nodes[-MOST:], _last(proto), _last(host))


def forwarded(text: str) -> Told:
    """Of Forwarded, RFC 7239 section 4. What cannot be read is as if nobody had said it: no nodes."""
    if not text:
        return Told()
    if len(text) > LARGEST:
        return Told(("unknown",))
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return Told(("unknown",))
        name, value = match[1].lower(), match[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elements[-1].setdefault(name, value)
        at = match.end()
        if at < len(text):
            if text[at] not in ",;":
                return Told(("unknown",))
            if text[at] == ",":
                elements.append({})
            at += 1
    nodes = [element.get("for", "unknown") for element in elements]
    return Told(nodes[-MOST:], elements[-1].get("proto", ""), elements[-1].get("host", ""))


def behind(peer: Peer, secure: bool, told: Told, trusted: Iterable[Network]) -> Origin:
    """Who asks. `peer` and `secure` are the connection's own."""
    networks = tuple(trusted)
    if not told.nodes and not told.proto and not told.host:
        return Origin(peer, secure)
    if not _trusted(peer.address, networks):
        return Origin(peer, secure, unknown=bool(told.nodes))
    # The last proxy speaks of the connection that it had.
    proto = told.proto.lower()
    return Origin(
        _client(peer, told.nodes, networks),
        proto == "https" if proto else secure,
        told.host,
        unknown=not told.nodes,
    )


def _client(peer: Peer, nodes: Sequence[str], networks: Sequence[Network]) -> Peer:
    """The last one in the row that is no trusted proxy: what stands before it, anybody may have written."""
    for node in reversed(nodes):
        address = _read(node)
        if address is None:
            # "unknown", "_hidden" (section 6.3) or nonsense: the proxy that said so is all that we know.
            return Peer(peer.address, peer.port, proxied=True)
        peer = Peer(address, 0, proxied=True)
        if not _trusted(address, networks):
            break
    return peer


def _read(node: str) -> Address | None:
    match = _NODE.fullmatch(node)
    if match is None:
        return None
    try:
        ip_address(match[1] or match[2] or match[3])
    except ValueError:
        return None
    # IPv4-mapped addresses are made IPv4 there.
    return Peer.of(match[1] or match[2] or match[3]).address


def _trusted(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _last(text: str) -> str:
    return text.rpartition(",")[2].strip()
