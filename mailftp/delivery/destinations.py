"""How much runs at one time, to whom, and the connections that are kept for the next message."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailftp.delivery.routes import Hop
from mailftp.delivery.verdict import Job
from mailftp.settings import Concurrency
from mailftp.smtp.client import SMTPClient

#: Seconds that a connection waits for another message, and messages that it carries at most: a far side that
#: spreads its load by new connections gets one now and then.
IDLE_SECONDS = 3.0
MESSAGES = 100


class Destinations:
    """Which jobs run and which wait for their destination; a destination is a domain."""

    def __init__(self, settings: Concurrency) -> None:
        self._settings = settings
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Job]] = {}
        self.total = 0

    @property
    def full(self) -> bool:
        return self.total >= self._settings.total

    @property
    def busy(self) -> frozenset[str]:
        """Domains that can take no more now: lease nothing for them."""
        most = self._settings.per_destination
        return frozenset(d for d, n in self._running.items() if n >= most) | frozenset(self._waiting)

    @property
    def waiting(self) -> list[Job]:
        return [job for jobs in self._waiting.values() for job in jobs]

    def enter(self, job: Job) -> None:
        """It waits until `ready` gives it out."""
        self._waiting.setdefault(job.domain, deque()).append(job)

    def ready(self) -> Iterator[Job]:
        """The jobs that may run now; each counts as running when it is given out."""
        for domain in list(self._waiting):
            jobs = self._waiting[domain]
            while jobs and not self.full and self._running[domain] < self._settings.per_destination:
                self._running[domain] += 1
                self.total += 1
                yield jobs.popleft()
            if not jobs:
                del self._waiting[domain]

    def leave(self, domain: str) -> None:
        """A job is done."""
        self._running[domain] -= 1
        if not self._running[domain]:
            del self._running[domain]
        self.total -= 1

    def drop_waiting(self) -> list[Job]:
        """Take out all that wait."""
        waiting = self.waiting
        self._waiting.clear()
        return waiting


@dataclass(slots=True)
class Link:
    """A connection, to whom, and how many messages it has carried."""

    hop: Hop
    client: SMTPClient
    used: int = 0


class Connections:
    """Connections between two messages."""

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock, self._most = clock, most
        self._kept: dict[Hop, list[tuple[Link, IDelayedCall]]] = {}
        self._quitting: set[Deferred[None]] = set()

    def take(self, hop: Hop) -> Link | None:
        """A connection that can carry another message, if one is kept."""
        while hop in self._kept:
            link, timer = self._pop(hop)
            timer.cancel()
            if link.client.usable:
                return link
            self._quit(link)
        return None

    def give(self, link: Link) -> None:
        """Keep it for a while, or say goodbye."""
        full = sum(map(len, self._kept.values())) >= self._most
        if full or not link.client.usable or link.used >= MESSAGES:
            self._quit(link)
            return
        timer = self._clock.callLater(IDLE_SECONDS, self._too_long, link)
        self._kept.setdefault(link.hop, []).append((link, timer))

    async def close(self) -> None:
        """Say goodbye to all; done when they are gone."""
        for hop in list(self._kept):
            while hop in self._kept:
                link, timer = self._pop(hop)
                timer.cancel()
                self._quit(link)
        await gatherResults(list(self._quitting))

    def _pop(self, hop: Hop) -> tuple[Link, IDelayedCall]:
        kept = self._kept[hop].pop()
        if not self._kept[hop]:
            del self._kept[hop]
        return kept

    def _too_long(self, link: Link) -> None:
        kept = [(other, timer) for other, timer in self._kept.pop(link.hop) if other is not link]
        if kept:
            self._kept[link.hop] = kept
        self._quit(link)

    def _quit(self, link: Link) -> None:
        quitting = link.client.quit()
        self._quitting.add(quitting)
        quitting.addCallback(lambda _: self._quitting.discard(quitting))
