"""Leases what is due, runs attempts, records what came of them: the outbound queue as a Twisted service."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorFromThreads,
    IReactorTime,
)
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailftp.delivery.attempt import Attempt, Means
from mailftp.delivery.destinations import Connections, Destinations
from mailftp.delivery.fetching import PolicyFetcher
from mailftp.delivery.outcomes import Bookkeeping, Ended
from mailftp.delivery.policies import Policies, PolicyFile
from mailftp.delivery.recording import Recording
from mailftp.delivery.reports import Reports
from mailftp.delivery.routes import Address, Router
from mailftp.delivery.rules import Rules
from mailftp.delivery.signing import Signer
from mailftp.delivery.transports import Transports, installed
from mailftp.delivery.verdict import Job, NotNow, Verdict, for_all
from mailftp.dns.resolver import Resolver
from mailftp.intake.intake import Intake
from mailftp.settings import DeliveryRule, Settings
from mailftp.store.engine import Store, StoreFault, Subscription
from mailftp.store.names import domain_of
from mailftp.store.queries import NextDue
from mailftp.store.records import Change, QueueMessage, QueueRecipient, StagedBody, Transfer
from mailftp.store.units import Claim, LeaseDue, NoteRefusedAddress, RememberTLS, RenewLeases, VoidLeases
from mailftp.wire.journal import Journal

T = TypeVar("T")

#: Seconds that a lease holds, and after which it is renewed: three chances before it is lost.
LEASE_SECONDS, RENEW_SECONDS = 120.0, 40.0
#: Recipients leased at a time.
BATCH = 100
#: Seconds that a host has for its first word while mail for others waits for the place.
SILENT_SECONDS = 20.0
#: Jobs that run and wait here, beyond which what is accepted waits in the store.
CLAIMS = 1000
#: Attempts that are over and whose outcome is being written down, beyond which no other begins for one that
#: ends: a crash would send them all again.
UNRECORDED = 100
#: Seconds until we look again, though nothing was due or all that is due is busy: a clock may be set.
LOOK_AGAIN, BUSY_AGAIN = 600.0, 5.0
#: Seconds that attempts have to end by themselves when the service stops.
STOP_SECONDS = 5.0
#: Seconds between tries to record what a full or failing disk would not take.
RECORD_AGAIN = 10.0
#: Threads that read bodies from files.
THREADS = 2


@dataclass(slots=True)
class _Running:
    job: Job
    attempt: Attempt
    #: By the reactor's clock.
    began: float
    #: It counts for its destination; no more while only its outcome is being written down.
    placed: bool = True
    #: The attempt itself, while it lasts; what comes after it is never cut.
    trying: Deferred[list[Verdict]] | None = None
    done: Deferred[None] | None = None


class DeliveryService(Service):
    """`local_addresses` are (address, port) of our own SMTP listeners, which are never called; the collection
    is looked at each time. `now` gives the seconds since the epoch that the store's clock gives too.

    Stop it before the intake, the resolver and the store, which it uses to the end.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        resolver: Resolver,
        intake: Intake,
        reactor: IReactorTime,
        local_addresses: Collection[Address] = (),
        *,
        now: Callable[[], float] = time.time,
        creator: IOpenSSLClientConnectionCreator | None = None,
        transports: Transports | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises ValueError for a route, smarthost or its password file that cannot be read. `creator` makes
        the smarthost's TLS connections in place of one that trusts the machine's authorities."""
        delivery = settings.delivery
        self._store, self._reactor, self._now = store, reactor, now
        self._owner = f"{settings.hostname}/{secrets.token_hex(8)}"
        self._threads = ThreadPool(0, THREADS, "delivery")
        self._policy_file: PolicyFile | None = None
        self._rules = Rules(delivery.rules)
        self._connections = Connections(reactor, delivery.concurrency.total)
        self._destinations = Destinations(delivery.concurrency, reactor.seconds)
        self._means = Means(
            store,
            self._router(settings, resolver, local_addresses, now),
            self._connections,
            reactor,
            self._threads,
            delivery.helo or settings.hostname,
            creator,
            Signer(
                settings.data / "dkim",
                settings.domains,
                cast(IReactorFromThreads, reactor),
                self._threads,
                now,
            ),
            intake,
            now,
            _with_all_named(transports or installed(reactor), delivery.rules),
            tls_memory=delivery.tls_memory,
        )
        reports = Reports(self._means, intake, settings.hostname, now)
        self._books = Bookkeeping(delivery, reports, self._owner, now, chance)
        self._recording = Recording(store, self._owner)
        self._jobs: dict[int, _Running] = {}
        self._numbers = 0
        self._timer: IDelayedCall | None = None
        self._looking = self._look_again = self._voided = False
        #: Something may be due that is not leased; and the busy destinations that it was all for when last
        #: looked at.
        self._backlog = True
        self._fruitless: frozenset[str] | None = None
        #: Claims that are being committed.
        self._claims = 0
        self._beginning = self._begin_more = False
        self._intake = intake
        self._look_ended: Deferred[None] | None = None
        self._stopping = False
        #: Why the last look at the queue came to nothing.
        self._trouble = ""
        self._capturing = delivery.capture is not None
        self._subscription: Subscription | None = None
        #: When the leases that are held were sure to hold for LEASE_SECONDS more, by the store's clock.
        self._renewed = 0.0
        self._renewing = LoopingCall(self._renew)
        self._renewing.clock = reactor
        self._journal = Journal("delivery")

    def _router(
        self,
        settings: Settings,
        resolver: Resolver,
        local_addresses: Collection[Address],
        now: Callable[[], float],
    ) -> Router:
        """Raises ValueError."""
        if not settings.delivery.mta_sts:
            return Router(settings, resolver, local_addresses)
        # Policies are fetched from where mail may be sent.
        bare = Router(settings, resolver, local_addresses)
        fetcher = PolicyFetcher(resolver, self._reactor, bare.reachable)
        self._policy_file = PolicyFile(settings.data / "mta-sts.sqlite") if settings.data else None
        policies = Policies(resolver, fetcher.fetch, now, self._policy_file, self._on_a_thread)
        return Router(settings, resolver, local_addresses, policies.of)

    def _on_a_thread(self, work: Callable[[], T]) -> Deferred[T]:
        return deferToThreadPool(cast(IReactorFromThreads, self._reactor), self._threads, work)

    # Its life.

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's is untyped
        self._stopping = False
        self._threads.start()
        if self._capturing:
            # What was queued before is not to leave either.
            self._journal.record("capturing", reason="delivery.capture is set: nothing is sent")
            return
        self._subscription = self._store.subscribe(self._hear)
        self._renewed = self._now()
        self._renewing.start(RENEW_SECONDS, now=False)
        self._intake.outbound = self
        self._wake()

    def stopService(self) -> Deferred[None]:
        """Attempts under way have five seconds to end; then they are cut, and what they had is due again."""
        super().stopService()  # type: ignore[no-untyped-call]  # likewise
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self._intake.outbound is self:
            self._intake.outbound = None
        if self._subscription is not None:
            self._subscription.cancel()
        self._set_timer(None)
        if self._looking and self._look_ended is not None:
            await _over(self._look_ended)
        for job in self._destinations.drop_waiting():
            verdicts = for_all(job, NotNow("4.3.2", "the server was stopped"))
            await self._record(job.message, verdicts, self._now())
        for running in self._jobs.values():
            running.attempt.stop()
        cutting = self._reactor.callLater(STOP_SECONDS, self._cut)
        for running in list(self._jobs.values()):
            if running.done is not None:
                await _over(running.done)
        if cutting.active():
            cutting.cancel()
        if self._renewing.running:
            self._renewing.stop()
        await self._connections.close()
        if self._policy_file is not None and self._policy_file.opened:
            await self._on_a_thread(self._policy_file.close)
        # Nothing is left for them to do, so this does not wait.
        self._threads.stop()

    def _cut(self) -> None:
        for running in list(self._jobs.values()):
            if running.trying is not None:
                running.trying.cancel()

    @property
    def idle(self) -> str:
        """Why the queue is not worked on, or ""."""
        if not self.running:
            return "it is stopped"
        return self._trouble

    # What is due.

    def _hear(self, changes: tuple[Change, ...]) -> None:
        kinds = {change.kind for change in changes}
        if "retry" in kinds:
            self._destinations.forgive()
        if "queue" in kinds:
            self._wake()

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None else self._reactor.callLater(seconds, self._wake)

    def _wake(self) -> None:
        """Look for work, now or once more after the look that is under way."""
        if self._stopping:
            return
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._look_ended = Deferred.fromCoroutine(self._look())

    async def _look(self) -> None:
        try:
            if not self._voided:
                await self._store.commit(VoidLeases(self._owner))
                self._voided = True
            while await self._look_once() or self._look_again:
                self._look_again = False
            self._trouble = ""
        except StoreFault as fault:
            self._trouble = f"the queue cannot be read: {fault}"
            self._journal.warn("queue_unreadable", reason=str(fault))
            self._look_later(BUSY_AGAIN)
        except Exception:
            self._trouble = "an error in the server, which the log tells"
            self._journal.fault("delivery_fault")
            self._look_later(BUSY_AGAIN)
        finally:
            self._looking = False

    async def _look_once(self) -> bool:
        """Begin what can begin; whether there may be more."""
        if self._stopping:
            return False
        if not self._leases_hold() and not await self._renew():
            self._look_later(BUSY_AGAIN)
            return False
        self._hurry()
        self._begin_ready()
        self._fruitless = None
        if not self._may_lease():
            # The end of any job wakes us.
            self._backlog = True
            return False
        if not self._backlog and not await self._is_due():
            return False
        self._backlog = True
        busy, among = self._destinations.busy, self._destinations.among
        leased: tuple[QueueMessage, ...] = ()
        if self._may_lease() and (among is None or among):
            leased = await self._store.commit(LeaseDue(self._owner, LEASE_SECONDS, BATCH, busy, among))
        for message in leased:
            for job in _jobs_of(message, self._rules):
                self._destinations.enter(job)
        if not leased and await self._is_due():
            # All of it is for those who can take no more.
            self._fruitless = busy
            self._look_later(BUSY_AGAIN)
        return bool(leased)

    async def _is_due(self) -> bool:
        """Whether anything is; else we look when the first will be."""
        wait = await self._store.read(NextDue())
        self._backlog = wait is not None and wait <= 0
        if not self._backlog:
            again = BUSY_AGAIN if self._destinations.waiting_count else LOOK_AGAIN
            self._look_later(again if wait is None else min(wait, again))
        return self._backlog

    def _may_lease(self) -> bool:
        return not self._stopping and not self._destinations.full

    def _look_later(self, seconds: float) -> None:
        if not self._stopping:
            self._set_timer(seconds)

    def _leases_hold(self) -> bool:
        """The machine slept, or its clock was set: then what we work on may look as if nobody did, and we
        would lease it ourselves once more and send it twice."""
        return 0 <= self._now() - self._renewed < LEASE_SECONDS - RENEW_SECONDS

    async def _renew(self) -> bool:
        """Whether the store took it."""
        held = [*self._destinations.waiting, *(running.job for running in self._jobs.values())]
        ids = tuple(recipient.id for job in held for recipient in job.recipients)
        began = self._now()
        try:
            ours = await self._store.commit(RenewLeases(self._owner, ids, LEASE_SECONDS)) if ids else 0
            self._renewed = began
            if ours < len(ids):
                self._journal.warn("lease_lost", leases=len(ids) - ours)
                await self._give_up_lost()
        except StoreFault as fault:
            # The next round may still be in time.
            self._journal.warn("lease_not_renewed", reason=str(fault))
            return False
        return True

    async def _give_up_lost(self) -> None:
        """Another process has taken what we held, and sends it now: what has not been sent here is not."""
        for job in self._destinations.waiting:
            if await self._lost(job):
                self._destinations.drop(job)
        for running in list(self._jobs.values()):
            if running.trying is not None and await self._lost(running.job) and running.trying is not None:
                running.attempt.ending = "another process has taken it over"
                running.trying.cancel()

    async def _lost(self, job: Job) -> bool:
        ids = tuple(recipient.id for recipient in job.recipients)
        return await self._store.commit(RenewLeases(self._owner, ids, LEASE_SECONDS)) < len(ids)

    # What is accepted now.

    def claim(self, transfer: Transfer) -> Claim | None:
        """Leave a message that can begin soon to us; not while others have waited for longer."""
        if self._stopping or not self._voided or self._backlog or transfer.handling.hold_until:
            return None
        domains = {domain_of(path.address) for path in transfer.recipients}
        held = self._claims + self._destinations.waiting_count + self._destinations.total
        if held + len(domains) > CLAIMS or not all(map(self._destinations.may_wait, domains)):
            return None
        self._claims += 1
        return Claim(self._owner, LEASE_SECONDS)

    def claimed(self, message: QueueMessage | None, body: StagedBody) -> None:
        self._claims -= 1
        if message is None:
            return
        if self._stopping:
            for job in _jobs_of(message, self._rules):
                back = for_all(job, NotNow("4.3.2", "the server was stopped"))
                recording = self._record(message, back, self._now())
                Deferred.fromCoroutine(recording).addErrback(self._fault)
            return
        self._means.at_hand.keep(message.id, body.data)
        for job in _jobs_of(message, self._rules):
            self._destinations.enter(job)
        self._begin_ready()

    # One job.

    def _hurry(self) -> None:
        """Mail for others is not to wait for the minutes that hosts may take for their first word (RFC 5321
        section 4.5.3.2.1): where they fill all places, their time is short."""
        if not self._destinations.crowded or not (self._backlog or self._destinations.waiting_count):
            return
        before = self._reactor.seconds() - SILENT_SECONDS
        for running in list(self._jobs.values()):
            if running.began <= before and running.trying is not None and not running.attempt.met:
                running.attempt.hurry()
                running.trying.cancel()

    def _begin_ready(self) -> None:
        """All that may; after a sleep a look at the queue renews the leases first."""
        if not self._leases_hold():
            self._wake()
            return
        if self._beginning:
            # One that ended as it began: whoever began it goes on.
            self._begin_more = True
            return
        self._beginning = self._begin_more = True
        try:
            while self._begin_more:
                self._begin_more = False
                for job in self._destinations.ready():
                    self._begin(job)
        finally:
            self._beginning = False

    def _begin(self, job: Job) -> None:
        self._numbers += 1
        dead = self._destinations.dead(job.domain)
        number, running = (
            self._numbers,
            _Running(job, Attempt(self._means, job, dead), self._reactor.seconds()),
        )
        self._jobs[number] = running
        running.done = Deferred.fromCoroutine(self._work(running))
        running.done.addErrback(self._fault)
        running.done.addCallback(lambda _: self._end(number))

    def _fault(self, failure: Failure) -> None:
        """The lease runs out, and the recipients are tried again then."""
        self._journal.fault("delivery_fault", failure)

    def _end(self, number: int) -> None:
        running = self._jobs.pop(number)
        if running.placed:
            self._leave(running)

    def _leave(self, running: _Running) -> None:
        """Its place is free for the next."""
        running.placed, attempt = False, running.attempt
        self._destinations.leave(running.job.domain, attempt.answer, attempt.reason)
        if self._stopping:
            return
        if self._backlog and not (self._fruitless and self._fruitless <= self._destinations.busy):
            self._wake()
        else:
            self._begin_ready()

    async def _work(self, running: _Running) -> None:
        job, started = running.job, self._now()
        try:
            running.trying = Deferred.fromCoroutine(running.attempt.run())
            verdicts = await running.trying
        except Exception:
            self._journal.fault("attempt_fault", queue=job.message.id, domain=job.domain)
            verdicts = for_all(job, NotNow("4.3.0", "an error in the server"))
        running.trying = None
        recording = Deferred.fromCoroutine(self._record(job.message, verdicts, started))
        if len(self._jobs) - self._destinations.total < UNRECORDED:
            self._leave(running)
        await recording
        if running.attempt.tls_learnt is not None:
            await self._remember_tls(running.attempt.tls_learnt)

    async def _remember_tls(self, unit: RememberTLS) -> None:
        """Not with the outcome: the next message says it again."""
        try:
            await self._store.commit(unit)
        except StoreFault as fault:
            self._journal.warn("tls_not_remembered", domain=unit.domain, reason=str(fault))

    async def _record(self, message: QueueMessage, verdicts: list[Verdict], started: float) -> None:
        """Once a far side has taken a message, nothing is worth more than to write that down."""
        books = self._books
        while True:
            ended = books.conclude(message, verdicts, stopping=self._stopping)
            try:
                unit = await books.unit(message, ended, started)
            except Exception as fault:
                # A full disk; or an error of ours, which must not have the message sent again and again.
                self._journal.fault("report_not_made", queue=message.id, reason=str(fault))
                ended = books.unreported(ended)
                unit = await books.unit(message, ended, started)
            try:
                recorded = await self._recording.record(unit)
                break
            except Exception as fault:
                # Whatever it is: to give up here would send a message again that was taken.
                self._journal.fault("outcome_not_recorded", queue=message.id, reason=str(fault))
                if self._stopping:
                    return
            await deferLater(self._reactor, RECORD_AGAIN)
        taken = frozenset(recorded)
        books.log(message, ended, taken)
        for refused in books.refused(ended, taken):
            Deferred.fromCoroutine(self._note_refused(refused)).addErrback(self._fault)
        if len(ended) == len(message.transfer.recipients):
            self._means.at_hand.forget(message.id)
        if unit.reports and len(taken) < len(ended):
            await self._report_alone(message, [e for e in ended if e.verdict.recipient.id in taken], started)

    async def _note_refused(self, unit: NoteRefusedAddress) -> None:
        """Not with the outcome: nothing is lost where this one is not counted."""
        try:
            suppressed = await self._store.commit(unit)
        except StoreFault as fault:
            self._journal.warn("refusal_not_counted", recipient=unit.address, reason=str(fault))
            return
        if suppressed:
            self._journal.record("suppressed", recipient=unit.address, reason=unit.reason)

    async def _report_alone(self, message: QueueMessage, ended: list[Ended], started: float) -> None:
        """Some leases were lost, and the reports refused with them: whoever has those leases will report on
        them, and of the others nobody else will."""
        for report in (await self._books.unit(message, ended, started)).reports:
            await self._store.commit(report)


def _with_all_named(transports: Transports, rules: Iterable[DeliveryRule]) -> Transports:
    """`transports`, once each that a rule names is there. Raises ValueError."""
    for rule in rules:
        kind, _, name = rule.to.partition(":")
        if kind == "plugin" and name not in transports:
            raise ValueError(f"delivery.rules: no installed plugin brings the transport {name}")
    return transports


def _jobs_of(message: QueueMessage, rules: Rules) -> list[Job]:
    alike: dict[tuple[str, str, bool, int], list[QueueRecipient]] = {}
    found: dict[int, DeliveryRule | None] = {}
    for recipient in message.recipients:
        rule = rules.of(message, recipient)
        found[id(rule)] = rule
        key = (recipient.domain.lower(), recipient.route, recipient.give_up, id(rule))
        alike.setdefault(key, []).append(recipient)
    return [
        Job(message, domain, tuple(recipients), found[rule])
        for (domain, _, _, rule), recipients in alike.items()
    ]


def _over(deferred: Deferred[None]) -> Deferred[None]:
    """Fires when the other has, and leaves it alone."""
    over: Deferred[None] = Deferred()

    def fired(result: object) -> object:
        over.callback(None)
        return result

    deferred.addBoth(fired)
    return over
