"""How much runs at one time, to whom, and the connections that are kept for the next message."""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailftp.delivery.routes import Hop
from mailftp.delivery.verdict import Job
from mailftp.settings import Concurrency
from mailftp.smtp.client import SMTPClient
from mailftp.smtp.client_limits import most_messages

#: Seconds that a connection waits for another message, and messages that it carries at most: a far side that
#: spreads its load by new connections gets one now and then.
IDLE_SECONDS = 3.0
MESSAGES = 100


#: Deliveries at one time to a destination that has not answered yet.
START = 2
#: Seconds in which a destination that nobody of answered is not called again.
DEAD_SECONDS = 120.0
#: Destinations that are asked about one by one when nothing else may be leased: each is a look at an index.
AMONG = 200
#: Messages that wait in memory for a destination.
WAITING = 500
#: Destinations of which it is remembered how they answered: the rest begin anew.
REMEMBERED = 10_000


class Answer(enum.Enum):
    """What a destination did with an attempt."""

    #: It talked SMTP, whatever it said of the message.
    ANSWERED = "answered"
    #: It turned us away (421), or a connection broke.
    BUSY = "busy"
    #: None of its hosts could be connected to.
    SILENT = "silent"
    #: We did not get so far as to call it.
    UNKNOWN = "unknown"

    @property
    def weight(self) -> int:
        """Which of several counts: the highest."""
        return _WEIGHTS.index(self)


_WEIGHTS = (Answer.UNKNOWN, Answer.SILENT, Answer.BUSY, Answer.ANSWERED)


@dataclass(slots=True)
class _Record:
    #: Deliveries at one time that it takes.
    places: int = START
    #: It has answered since it was last silent.
    proven: bool = False
    dead_until: float = 0.0
    #: Why it is called dead, one line.
    reason: str = ""


class Destinations:
    """Which jobs run and which wait for their destination; a destination is a domain.

    A destination begins with two places at one time, gets one more for each job that it answers, up to the
    settings' number, and half of them when it turns us away. One that is silent is dead for a while: its jobs
    are not tried and hold no place for the minutes that timeouts take. Those that have not answered yet may
    fill half of all places; the other half is for those that have, so that no number of dead ones slows them.
    """

    def __init__(self, settings: Concurrency, seconds: Callable[[], float]) -> None:
        self._settings, self._seconds = settings, seconds
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Job]] = {}
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._unproven = 0
        self.total = 0

    @property
    def waiting_count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def may_wait(self, domain: str) -> bool:
        """Whether one more may wait for it in memory, in place of in the store."""
        if self._unproven_full and not self._is_proven(domain):
            return False
        return len(self._waiting.get(domain, ())) < WAITING

    @property
    def full(self) -> bool:
        return self.total >= self._settings.total

    @property
    def crowded(self) -> bool:
        """Those that have not answered yet fill their half, and others of them may wait."""
        return self._unproven_full

    @property
    def _unproven_full(self) -> bool:
        return self._unproven >= max(1, self._settings.total // 2)

    @property
    def busy(self) -> frozenset[str]:
        """Domains that can take no more now: lease nothing for them."""
        taken = {d for d, n in self._running.items() if n >= self._places(d)}
        return frozenset(taken) | frozenset(self._waiting)

    @property
    def among(self) -> frozenset[str] | None:
        """The only domains that anything may be leased for, or None when all may: the last to answer."""
        if not self._unproven_full:
            return None
        proven = (domain for domain, record in reversed(self._records.items()) if record.proven)
        return frozenset(islice(proven, AMONG)) - self.busy

    @property
    def waiting(self) -> list[Job]:
        return [job for jobs in self._waiting.values() for job in jobs]

    def forgive(self) -> None:
        """Call the dead ones again."""
        for record in self._records.values():
            record.dead_until = 0.0

    def dead(self, domain: str) -> str:
        """Why it is not called at present, or ""."""
        record = self._records.get(domain)
        return record.reason if record is not None and self._seconds() < record.dead_until else ""

    def enter(self, job: Job) -> None:
        """It waits until `ready` gives it out."""
        self._waiting.setdefault(job.domain, deque()).append(job)

    def ready(self) -> Iterator[Job]:
        """The jobs that may run now; each counts as running when it is given out."""
        for domain in list(self._waiting):
            jobs = self._waiting[domain]
            while jobs and self._has_place(domain):
                self._running[domain] += 1
                self.total += 1
                self._unproven += not self._is_proven(domain)
                yield jobs.popleft()
            if not jobs:
                del self._waiting[domain]

    def leave(self, domain: str, answer: Answer, reason: str = "") -> None:
        """A job is done; `reason` says in words why a destination is silent."""
        proven = self._is_proven(domain)
        self._learn(domain, answer, reason)
        running = self._running[domain]
        # A job is of the half that its destination is in now: all its jobs change over at once.
        self._unproven += (running if proven else 0) - (running if self._is_proven(domain) else 0)
        self._running[domain] -= 1
        self._unproven -= not self._is_proven(domain)
        if not self._running[domain]:
            del self._running[domain]
        self.total -= 1

    def drop_waiting(self) -> list[Job]:
        """Take out all that wait."""
        waiting = self.waiting
        self._waiting.clear()
        return waiting

    def drop(self, job: Job) -> None:
        """Take out one that waits, if it still does."""
        jobs = self._waiting.get(job.domain, deque())
        if job in jobs:
            jobs.remove(job)
        if not jobs:
            self._waiting.pop(job.domain, None)

    def _has_place(self, domain: str) -> bool:
        if self.full or self._running[domain] >= self._places(domain):
            return False
        return self._is_proven(domain) or not self._unproven_full

    def _places(self, domain: str) -> int:
        record = self._records.get(domain)
        return min(record.places if record else START, self._settings.per_destination)

    def _is_proven(self, domain: str) -> bool:
        record = self._records.get(domain)
        return record is not None and record.proven

    def _learn(self, domain: str, answer: Answer, reason: str) -> None:
        if answer is Answer.UNKNOWN:
            return
        record = self._records.setdefault(domain, _Record())
        self._records.move_to_end(domain)
        if len(self._records) > REMEMBERED:
            self._forget_oldest()
        if answer is Answer.ANSWERED:
            record.proven, record.dead_until = True, 0.0
            record.places = min(record.places + 1, self._settings.per_destination)
        elif answer is Answer.BUSY:
            record.places = max(1, record.places // 2)
        else:
            record.proven, record.places = False, 1
            record.dead_until, record.reason = self._seconds() + DEAD_SECONDS, reason

    def _forget_oldest(self) -> None:
        """One that is being talked to is counted by what is known of it, and stays."""
        oldest = next((domain for domain in self._records if domain not in self._running), None)
        if oldest is not None:
            del self._records[oldest]


@dataclass(slots=True)
class Link:
    """A connection, to whom, and how many messages it has carried."""

    hop: Hop
    client: SMTPClient
    used: int = 0

    @property
    def spent(self) -> bool:
        """It has carried as many messages as it may."""
        return self.used >= most_messages(self.client.extensions, MESSAGES)


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
        if full or not link.client.usable or link.spent:
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
