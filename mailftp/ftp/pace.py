"""How fast, and how many: the limits of `[[ftp.limits]]` at work.

A `Bucket` is shared by all that it counts together: an account's connections, a network's. Octets are paid
for when they have moved, and whoever has spent ahead waits: the data still go from the page cache to the
socket in one call, only less often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from mailftp.files.rules import Rulebook
from mailftp.settings import FTPLimit
from mailftp.wire.peer import Peer

#: Seconds of its rate that may move at once: less would wake us for every few packets.
_BURST = 0.1


class Bucket:
    """A rate that several transfers share."""

    __slots__ = ("__weakref__", "_free", "rate")

    def __init__(self, rate: int) -> None:
        #: Octets a second.
        self.rate = rate
        #: When all that has moved is paid for, on the reactor's clock.
        self._free = 0.0

    def pay(self, octets: int, now: float) -> float:
        """Seconds to wait before more may move."""
        self._free = max(self._free, now - _BURST) + octets / self.rate
        return max(0.0, self._free - now)


class Pace:
    """All the rates that hold for one transfer."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = tuple(buckets)
        #: Octets that should move at a time.
        self.portion = max(1024, int(min(bucket.rate for bucket in self._buckets) * _BURST))

    def pay(self, octets: int, now: float) -> float:
        """Seconds to wait before more may move."""
        return max(bucket.pay(octets, now) for bucket in self._buckets)


class Count:
    """Logins and transfers that are counted together."""

    __slots__ = ("__weakref__", "connections", "download", "transfers", "upload")

    def __init__(self, limit: FTPLimit) -> None:
        self.connections = self.transfers = 0
        self.download = None if limit.download is None else Bucket(limit.download)
        self.upload = None if limit.upload is None else Bucket(limit.upload)


@dataclass(frozen=True, slots=True)
class _Held:
    limit: FTPLimit
    count: Count


class Allowance:
    """What one login may do. It counts as long as it is not released."""

    def __init__(self, held: tuple[_Held, ...]) -> None:
        self._held = held
        self._entered = self._transferring = False
        down = [each.count.download for each in held if each.count.download is not None]
        up = [each.count.upload for each in held if each.count.upload is not None]
        self.download = Pace(down) if down else None
        self.upload = Pace(up) if up else None

    def enter(self) -> bool:
        """Whether there may be one more connection; it is counted then."""
        for each in self._held:
            most = each.limit.connections
            if most is not None and each.count.connections >= most:
                return False
        self._entered = True
        for each in self._held:
            each.count.connections += 1
        return True

    def begin(self) -> bool:
        """Whether there may be one more transfer; it is counted then, until `end`."""
        for each in self._held:
            most = each.limit.transfers
            if most is not None and each.count.transfers >= most:
                return False
        self._transferring = True
        for each in self._held:
            each.count.transfers += 1
        return True

    def end(self) -> None:
        """Idempotent."""
        if self._transferring:
            self._transferring = False
            for each in self._held:
                each.count.transfers -= 1

    def release(self) -> None:
        """The login is over. Idempotent."""
        self.end()
        if self._entered:
            self._entered = False
            for each in self._held:
                each.count.connections -= 1


class Allowances:
    """All logins of the services, counted as the tables say."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._counts: WeakValueDictionary[tuple[int, str], Count] = WeakValueDictionary()

    def of(self, account: str, peer: Peer) -> Allowance:
        held = []
        for limit in self._rulebook.limits(account):
            if limit.networks and not any(_in(peer, network) for network in limit.networks):
                continue
            held.append(_Held(limit, self._count(limit, account, peer)))
        return Allowance(tuple(held))

    def _count(self, limit: FTPLimit, account: str, peer: Peer) -> Count:
        if limit.per == "connection":
            return Count(limit)
        together = {"account": account, "network": peer.network()}.get(limit.per, "")
        count = self._counts.get((id(limit), together))
        if count is None:
            count = self._counts[id(limit), together] = Count(limit)
        return count


def _in(peer: Peer, network: object) -> bool:
    return peer.address is not None and peer.address in network  # type: ignore[operator]  # IPv4 or IPv6 networks
