"""How many connections there may be, in all and from one address."""

from __future__ import annotations

from collections import Counter

from mailftp.wire.peer import Peer


class ConnectionLimits:
    """Counts over every service of the server. `None` from `enter` means that there is room.

    An IPv4 client counts by its address, an IPv6 client by its /64, which is what one subscriber has to
    choose addresses from. A client on a Unix socket counts towards the total alone: who may open that
    socket is the file system's decision.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.open = 0
        #: Connections that have come and gone, by service.
        self.come: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()
        self._counts: dict[tuple[int, int], int] = {}

    def enter(self, peer: Peer) -> str | None:
        """Count a connection; the reason in words when it is one too many (and then it is not counted)."""
        if self.open >= self.total:
            return "too many connections"
        key = self._key(peer)
        if key is not None:
            count = self._counts.get(key, 0)
            if count >= self.per_address:
                return "too many connections from your address"
            self._counts[key] = count + 1
        self.open += 1
        return None

    def leave(self, peer: Peer) -> None:
        """Take back what `enter` counted for an equal peer."""
        self.open -= 1
        key = self._key(peer)
        if key is None:
            return
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]

    @staticmethod
    def _key(peer: Peer) -> tuple[int, int] | None:
        # Integers, not `Peer.network()`: making an ip_network costs 10 us, and this runs for every
        # connection of a flood.
        address = peer.address
        if address is None:
            return None
        return (4, int(address)) if address.version == 4 else (6, int(address) >> 64)
