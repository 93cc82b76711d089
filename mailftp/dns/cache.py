"""What was answered before, until its time is up. Bounded by entries and by octets."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")


class Remembered(Generic[K]):
    """A cache by time to live; the least recently used goes first. Times are the caller's clock's."""

    def __init__(self, entries: int = 10_000, octets: int = 8 * 1024 * 1024) -> None:
        self._entries, self._octets = entries, octets
        self._kept: OrderedDict[K, tuple[float, int, object]] = OrderedDict()
        self._held = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K, now: float) -> tuple[object, int] | None:
        """The value and the whole seconds that it still holds."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        expires, _, value = kept
        if expires <= now:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return value, int(expires - now)

    def put(self, key: K, value: object, size: int, ttl: float, now: float) -> None:
        """Keep it for `ttl` seconds; 0 keeps nothing."""
        self._forget(key)
        if ttl <= 0 or size > self._octets:
            return
        self._kept[key] = (now + ttl, size, value)
        self._held += size
        while len(self._kept) > self._entries or self._held > self._octets:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: K) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._held -= kept[1]
