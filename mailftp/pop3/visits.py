"""When each account was last here, for LOGIN-DELAY (RFC 2449 section 6.5)."""

from __future__ import annotations

from collections import OrderedDict

#: Accounts remembered, the latest ones.
MOST = 100_000


class Visits:
    def __init__(self) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()

    def too_soon(self, name: str, delay: float, now: float) -> float:
        """Seconds to wait; 0.0 lets in, and counts from now. Who was refused need not wait longer for it."""
        if not delay:
            return 0.0
        wait = self._last.get(name, now - delay) + delay - now
        if wait > 0:
            return wait
        self._last[name] = now
        self._last.move_to_end(name)
        if len(self._last) > MOST:
            self._last.popitem(last=False)
        return 0.0
