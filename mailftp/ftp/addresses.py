"""Which address PASV tells: ours, or the one that the settings give for clients beyond NAT.

It may be a name, whose address changes with the provider's mood: it is looked up when a client comes, and
again after a while, and never in the way of a command.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mailftp.settings import FTP
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

#: Seconds for which an answer is good; and after a look-up that failed, until the next one.
GOOD, AGAIN = 60.0, 10.0

Resolve = Callable[[str], Deferred[str]]


class PassiveAddresses:
    """The addresses of one settings file; `resolve` gives the IPv4 address of a host's name."""

    def __init__(self, ftp: FTP, resolve: Resolve, clock: IReactorTime) -> None:
        self._tables: tuple[tuple[tuple[IPv4Network | IPv6Network, ...], str], ...] = tuple(
            (each.networks, each.address) for each in ftp.passive
        )
        self._otherwise = ftp.passive_address
        self._resolve, self._clock = resolve, clock
        self._journal = Journal.new("ftp")
        self._known: dict[str, IPv4Address] = {}
        #: When a name is to be looked up again.
        self._stale: dict[str, float] = {}

    def freshen(self, peer: Peer) -> None:
        """A client came: have what it will be told looked up, if that is a name."""
        name = self._given(peer)
        if not name or _literal(name) is not None or self._clock.seconds() < self._stale.get(name, 0.0):
            return
        self._stale[name] = self._clock.seconds() + AGAIN
        self._resolve(name).addCallbacks(
            self._found, self._not_found, callbackArgs=(name,), errbackArgs=(name,)
        )

    def _found(self, address: str, name: str) -> None:
        known = _literal(address)
        if known is not None:
            self._known[name] = known
            self._stale[name] = self._clock.seconds() + GOOD

    def _not_found(self, failure: Failure, name: str) -> None:
        """The address that was good before may be good still."""
        self._journal.warn("passive address unknown", host=name, reason=failure.getErrorMessage()[:200])

    def told(self, peer: Peer) -> IPv4Address | None:
        """What to tell this client; None for our own address. Raises LookupError when nobody knows."""
        name = self._given(peer)
        if not name:
            return None
        known = _literal(name) or self._known.get(name)
        if known is None:
            raise LookupError(name)
        return known

    def _given(self, peer: Peer) -> str:
        for networks, address in self._tables:
            if peer.address is not None and any(peer.address in network for network in networks):
                return address
        return "" if peer.local else self._otherwise


def _literal(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
