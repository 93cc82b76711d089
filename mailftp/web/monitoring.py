"""/metrics and /health, for those networks alone that `http.monitoring` names."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailftp.settings import Network
from mailftp.store.engine import Store, StoreFault
from mailftp.store.queries import QueueDepth
from mailftp.store.records import QueueFigures
from mailftp.store.units import RenewLeases
from mailftp.web.exposition import KIND, Exposition
from mailftp.web.pages import Answer, Page, Visit, refusal
from mailftp.wire import tally
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.peer import Peer

#: Seconds for which the figures of the queue are given again: they cost a look at all that is held.
FIGURES_SECONDS = 5.0
_STARTED = time.time()
#: Seconds that the store has to commit, and to count.
PATIENCE = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at."""

    store: Store
    limits: ConnectionLimits
    clock: IReactorTime
    #: Seconds since the epoch.
    now: Callable[[], float]
    #: Of FTP: a flat table of numbers that only grow.
    files: Callable[[], Mapping[str, int]]
    #: Why the queue is not worked on, or "".
    idle_queue: Callable[[], str]


class Monitoring(Page):
    """A page for some networks."""

    def __init__(self, networks: tuple[Network, ...], watched: Watched) -> None:
        self._networks, self.watched = networks, watched

    def answer(self, visit: Visit) -> Answer | Deferred[Answer]:
        if visit.origin.unknown or not self._allowed(visit.origin.peer):
            return refusal(HTTPStatus.FORBIDDEN, "http.monitoring does not name your network")
        return Deferred.fromCoroutine(self.shown())

    def _allowed(self, peer: Peer) -> bool:
        # Who may open a Unix socket is the file system's decision.
        return peer.address is None or any(peer.address in network for network in self._networks)

    async def shown(self) -> Answer:
        raise NotImplementedError


class Health(Monitoring):
    """200 when mail can be taken and sent on, else 503; a line for each that is looked at."""

    async def shown(self) -> Answer:
        found = {"store": await self._store_fault(), "queue": self.watched.idle_queue()}
        status = HTTPStatus.SERVICE_UNAVAILABLE if any(found.values()) else HTTPStatus.OK
        text = "".join(f"{part}: {fault or 'ok'}\n" for part, fault in found.items())
        return Answer(text.encode(), status=status)

    async def _store_fault(self) -> str:
        """Whether a commit comes to its end, behind all that wait."""
        try:
            await in_time(self.watched.store.commit(RenewLeases("health", (), 0.0)), self.watched.clock)
        except StoreFault as fault:
            return str(fault)
        except (TimeoutError, CancelledError):
            return f"no commit in {PATIENCE:g} seconds"
        return ""


class Metrics(Monitoring):
    """The exposition format."""

    def __init__(self, networks: tuple[Network, ...], watched: Watched) -> None:
        super().__init__(networks, watched)
        self._figures: QueueFigures | None = None
        self._figured = 0.0

    async def shown(self) -> Answer:
        text = Exposition()
        _connections(text, self.watched.limits)
        _mail(text)
        self._queue(text, await self._queue_figures())
        histogram = self.watched.store.commit_seconds
        if histogram is not None:
            words = "Group commits of the store, by how long they took."
            text.histogram("mailftp_store_commit_seconds", words, histogram)
        _files(text, self.watched.files())
        _process(text)
        return Answer(text.text, KIND)

    async def _queue_figures(self) -> QueueFigures | None:
        """None where the store cannot say: the other figures are worth having then."""
        now = self.watched.clock.seconds()
        if self._figures is None or not 0 <= now - self._figured < FIGURES_SECONDS:
            try:
                self._figures = await in_time(self.watched.store.read(QueueDepth()), self.watched.clock)
            except (StoreFault, TimeoutError, CancelledError):
                return None
            self._figured = now
        return self._figures

    def _queue(self, text: Exposition, figures: QueueFigures | None) -> None:
        if figures is None:
            return
        states = {
            "waiting": figures.waiting - figures.leased,
            "active": figures.leased,
            "held": figures.held,
        }
        text.gauge(
            "mailftp_queue_recipients",
            "Recipients in the queue.",
            [({"state": state}, number) for state, number in states.items()],
        )
        age = 0.0 if figures.oldest is None else max(0.0, self.watched.now() - figures.oldest)
        text.gauge("mailftp_queue_oldest_seconds", "Age of the oldest message in the queue.", [({}, age)])


def in_time(deferred: Deferred[T], clock: IReactorTime) -> Deferred[T]:
    """Fails with TimeoutError where it takes too long; the store goes on with it all the same."""
    waiting: Deferred[T] = Deferred()
    deferred.chainDeferred(waiting)
    waiting.addTimeout(PATIENCE, clock)
    return waiting


def _connections(text: Exposition, limits: ConnectionLimits) -> None:
    come, gone = dict(limits.come), dict(limits.gone)
    text.gauge(
        "mailftp_connections",
        "Connections that are open.",
        [({"service": service}, number - gone.get(service, 0)) for service, number in sorted(come.items())],
    )
    text.counter(
        "mailftp_connections_total",
        "Connections that were let in.",
        [({"service": service}, number) for service, number in sorted(come.items())],
    )


#: Name, words, and the log's event that it counts, of those that are told by service.
_BY_SERVICE = (
    ("mailftp_logins_total", "Logins.", "login"),
    ("mailftp_login_failures_total", "Logins that failed.", "login refused"),
    ("mailftp_messages_accepted_total", "Messages that SMTP took.", "accepted"),
    ("mailftp_messages_refused_total", "Senders, recipients and messages that SMTP refused.", "refused"),
)


def _mail(text: Exposition) -> None:
    events = sorted(tally.events.items())
    for name, words, wanted in _BY_SERVICE:
        text.counter(
            name, words, [({"service": s}, number) for (event, s), number in events if event == wanted and s]
        )
    text.counter(
        "mailftp_accepted_bytes_total",
        "Octets of the messages that SMTP took.",
        [({"service": service}, number) for service, number in sorted(tally.accepted_octets.items())],
    )
    text.counter(
        "mailftp_deliveries_total",
        "Recipients of outgoing mail, by what came of an attempt; the first 200 destinations are told apart.",
        [
            ({"destination": domain, "result": what}, number)
            for (domain, what), number in sorted(tally.deliveries.counts.items())
        ],
    )


def _files(text: Exposition, counted: Mapping[str, int]) -> None:
    octets = {name: number for name, number in counted.items() if name.endswith("_octets")}
    text.counter(
        "mailftp_ftp_events_total",
        "What was done by FTP.",
        [({"what": name}, number) for name, number in counted.items() if name not in octets],
    )
    text.counter(
        "mailftp_ftp_bytes_total",
        "Octets of files that were moved by FTP.",
        [({"direction": name.removesuffix("_octets")}, number) for name, number in octets.items()],
    )


def _process(text: Exposition) -> None:
    """Under the names that every exporter uses."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    text.counter("process_cpu_seconds_total", "CPU time.", [({}, used.ru_utime + used.ru_stime)])
    try:
        # Of the kernel's memory: no disk is asked.
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = file.read().split()[:2]
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        # Not Linux, or /proc is not there.
        return
    text.gauge("process_resident_memory_bytes", "Resident memory.", [({}, int(resident) * _PAGE)])
    text.gauge("process_virtual_memory_bytes", "Virtual memory.", [({}, int(virtual) * _PAGE)])
    text.gauge("process_open_fds", "Open descriptors.", [({}, descriptors)])
    text.gauge("process_start_time_seconds", "When it started.", [({}, _STARTED)])
