"""What is counted for whoever watches the server: numbers that only grow, of the process as its log is.

Counting must cost nothing that shows: a count is one item of a dictionary, a time one of a dozen numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

#: Seconds that commits are told apart by: from a page cache's to a disk's that is failing.
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

#: Log lines by event and by the service whose connection they are about ("" where it is none's).
events: Counter[tuple[str, str]] = Counter()


class Histogram:
    """Seconds, in steps. One thread observes; others may read meanwhile."""

    def __init__(self, steps: tuple[float, ...] = COMMIT_SECONDS) -> None:
        self.steps = steps
        #: How many fell into each step and no lower one; the last is beyond all.
        self.counts = [0] * (len(steps) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.steps, seconds)] += 1
        self.sum += seconds


class ByName:
    """Counts by a name that strangers choose: the first `most` names are told apart, the rest is OTHERS."""

    OTHERS = "(others)"

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, what: str) -> None:
        if name not in self._names:
            if len(self._names) >= self._most:
                name = self.OTHERS
            else:
                self._names.add(name)
        self.counts[name, what] += 1


#: What came of deliveries: by destination, and "delivered", "deferred" or "bounced".
deliveries = ByName(200)
#: Octets of the messages that were accepted, by service.
accepted_octets: Counter[str] = Counter()
