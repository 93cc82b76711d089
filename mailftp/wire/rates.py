"""How often something was done of late, by the network that it came from."""

from __future__ import annotations

from mailftp.wire.peer import Peer

#: A wider network may do so many times what an address may: /32, /24, /16 or /64, /56, /48.
WIDER = (1, 3, 9)
_SHIFTS = {4: (0, 8, 16), 6: (64, 72, 80)}
#: Networks counted in one span; what is beyond, of a flood from everywhere, is not.
NETWORKS = 30_000

Keys = tuple[int, ...]


def keys(peer: Peer) -> Keys:
    """What a client is counted by; nothing for one on a Unix socket. Integers: see mailftp.wire.limits."""
    address = peer.address
    if address is None:
        return ()
    number, version = int(address), address.version
    # The width and the version in the lowest bits, so that no two networks share a key.
    return tuple(
        (number >> shift) << 3 | width << 1 | (version == 6) for width, shift in enumerate(_SHIFTS[version])
    )


class Rates:
    """Counts over a span of `seconds` that slides: the span before counts for the part that is still in it.

    Times are the reactor's."""

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        """`most` is for one address (one /64); 0 is no limit."""
        self._most, self._seconds = most, seconds
        self._span = 0
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def count(self, keys: Keys, now: float) -> bool:
        """Count once; False when that is once too often. What is too often counts as well: whoever goes on
        is kept out until it slows down."""
        if not self._most:
            return True
        span, gone = divmod(now, self._seconds)
        if span != self._span:
            self._before = self._now if span == self._span + 1 else {}
            self._now, self._span = {}, int(span)
        left = 1 - gone / self._seconds
        within = True
        for key, wider in zip(keys, WIDER, strict=False):
            number = self._now.get(key, 0) + 1
            if number > 1 or len(self._now) < NETWORKS:
                # An entry stays at its limit, so that a burst is over when its span is.
                self._now[key] = min(number, self._most * wider + 1)
            within = within and number + self._before.get(key, 0) * left <= self._most * wider
        return within
