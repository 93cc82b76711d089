"""Verdicts made into what the store records: states, next attempts, bounces, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mailftp.delivery.reports import Reports
from mailftp.delivery.schedule import Plan, in_time, plan
from mailftp.delivery.verdict import Result, Verdict
from mailftp.message.address import parse_address
from mailftp.settings import Delivery
from mailftp.store.records import Attempt, QueueMessage, RecipientState
from mailftp.store.units import NoteRefusedAddress, Outcome, RecordOutcomes
from mailftp.wire.journal import Journal
from mailftp.wire.tally import deliveries

#: RFC 3463 section 3.2: no such mailbox, no such system, one that has moved; RFC 7505: a null MX.
NO_SUCH_MAILBOX = frozenset({"5.1.1", "5.1.2", "5.1.6", "5.1.10"})
#: Characters of a far side's reply that are kept of it: it is said in a reply of ours.
_REASON = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """A verdict and what follows from it."""

    verdict: Verdict
    state: RecipientState
    plan: Plan | None = None
    #: No success is reported of it, though one was asked for.
    silent: bool = False


class Bookkeeping:
    """`owner` is whose leases end. `chance` gives numbers in [0, 1) for the jitter."""

    def __init__(
        self,
        settings: Delivery,
        reports: Reports,
        owner: str,
        now: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._settings, self._reports, self._owner = settings, reports, owner
        self._now, self._chance = now, chance

    def conclude(self, message: QueueMessage, verdicts: list[Verdict], stopping: bool) -> list[Ended]:
        """What follows from each verdict now. When the server is `stopping`, what did not succeed is given
        back, due at once."""
        return [self._conclude(message, verdict, stopping) for verdict in verdicts]

    def _conclude(self, message: QueueMessage, verdict: Verdict, stopping: bool) -> Ended:
        if verdict.result is Result.DELIVERED:
            return Ended(verdict, RecipientState.DELIVERED)
        if verdict.result is Result.FAILED:
            return Ended(verdict, RecipientState.FAILED)
        if stopping:
            return Ended(verdict, RecipientState.WAITING, Plan(self._now(), False))
        following = plan(
            self._settings,
            number=verdict.recipient.attempt,
            accepted=max(message.accepted, message.transfer.handling.hold_until),
            now=self._now(),
            warned=verdict.recipient.delay_warned,
            chance=self._chance(),
        )
        following = in_time(following, message.transfer.handling, verdict.recipient, self._now())
        given_up = following.next_attempt is None
        return Ended(verdict, RecipientState.FAILED if given_up else RecipientState.WAITING, following)

    async def unit(self, message: QueueMessage, ended: list[Ended], started: float) -> RecordOutcomes:
        """The unit to commit. Fails with StoreFault or OSError when a report cannot be made."""
        failed = [e.verdict for e in ended if e.state is RecipientState.FAILED]
        warned = [e.verdict for e in ended if e.plan and e.plan.warn]
        done = [e.verdict for e in ended if e.state is RecipientState.DELIVERED and not e.silent]
        until = message.accepted + self._settings.give_up
        reports = (
            *(e.verdict.filing for e in ended if e.verdict.filing is not None),
            *await self._reports.failures(message, failed),
            *await self._reports.delays(message, warned, until),
            *await self._reports.successes(message, done),
        )
        shown: dict[str, str] = {}
        outcomes = tuple(self._outcome(e, started, _dialogue(e.verdict, shown)) for e in ended)
        return RecordOutcomes(self._owner, outcomes, reports)

    def unreported(self, ended: list[Ended]) -> list[Ended]:
        """When no report can be made (a full disk): what was delivered is delivered, and the rest waits, so
        that its sender is told another time and not never."""
        return [self._unreported(e) for e in ended]

    def _unreported(self, ended: Ended) -> Ended:
        if ended.state is RecipientState.DELIVERED:
            return replace(ended, silent=True)
        again = self._now() + self._settings.retry[0]
        if ended.plan is not None and ended.plan.next_attempt is not None:
            again = ended.plan.next_attempt
        return replace(ended, state=RecipientState.WAITING, plan=Plan(again, False))

    def _outcome(self, ended: Ended, started: float, dialogue: str) -> Outcome:
        verdict, now = ended.verdict, self._now()
        recipient = verdict.recipient
        error = "" if ended.state is RecipientState.DELIVERED else verdict.text
        following = ended.plan.next_attempt if ended.plan else None
        return Outcome(
            recipient_id=recipient.id,
            attempt=Attempt(
                recipient.id,
                recipient.attempt,
                started,
                now,
                verdict.remote,
                f"{verdict.result.value}: {verdict.text}",
                dialogue,
            ),
            state=ended.state,
            next_attempt=following or 0.0,
            error=error,
            delay_warned=bool(ended.plan and ended.plan.warn),
        )

    def refused(self, ended: list[Ended], taken: frozenset[int]) -> list[NoteRefusedAddress]:
        """To be counted: addresses of which their servers said to our own RCPT or DATA that there is no such
        mailbox. What a report says that comes as mail, and what only this message or sender was refused for,
        is not counted."""
        after, seconds = self._settings.suppress_after, self._settings.suppress_for
        return [
            NoteRefusedAddress(parse_address(v.recipient.address).key, _shortened(v.text), after, seconds)
            for v in (e.verdict for e in ended)
            if after
            and v.result is Result.FAILED
            and v.smtp
            and v.status in NO_SUCH_MAILBOX
            and v.recipient.id in taken
        ]

    def log(self, message: QueueMessage, ended: list[Ended], taken: frozenset[int]) -> None:
        """A line for each recipient, under the context that the message came by."""
        journal = Journal(message.transfer.context or f"queue-{message.id}")
        for e in ended:
            verdict = e.verdict
            domain = verdict.recipient.domain.lower()
            fields: dict[str, object] = {
                "queue": message.id,
                "sender": message.transfer.reverse_path,
                "recipient": verdict.recipient.address,
                "remote": verdict.remote,
                "status": verdict.status,
                "reply": verdict.text,
                "tls": verdict.tls,
                "attempt": verdict.recipient.attempt,
            }
            if verdict.recipient.id not in taken:
                journal.warn("lease_lost", result=verdict.result.value, **fields)
            elif e.state is RecipientState.DELIVERED:
                deliveries.add(domain, "delivered")
                journal.record("delivered", delay=round(self._now() - message.accepted, 1), **fields)
            elif e.state is RecipientState.FAILED:
                deliveries.add(domain, "bounced")
                journal.record("bounced", **fields)
            else:
                again = e.plan.next_attempt if e.plan and e.plan.next_attempt else self._now()
                deliveries.add(domain, "deferred")
                journal.record("deferred", retry_in=round(again - self._now(), 1), **fields)


def _dialogue(verdict: Verdict, shown: dict[str, str]) -> str:
    """A transaction of a hundred recipients has a dialogue of a hundred lines: it is kept once, and not a
    hundred times."""
    first = shown.setdefault(verdict.dialogue, verdict.recipient.address)
    if not verdict.dialogue or first == verdict.recipient.address:
        return verdict.dialogue
    return f"[as for {first}]"


def _shortened(text: str) -> str:
    """One line of ASCII."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    return plain if len(plain) <= _REASON else f"{plain[: _REASON - 3]}..."
