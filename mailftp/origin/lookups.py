"""Drives checks that ask questions with the resolver, within a number of questions and a total time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol, TypeVar

from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailftp.dns.answers import Answer, NoSuchData, NoSuchName, Unresolved
from mailftp.origin.spf import Asking, Question, TemporaryFault

T = TypeVar("T")

#: Seconds for all questions of one check. RFC 7208 section 4.6.4 asks for at least 20.
TOTAL_SECONDS = 20.0
#: Questions that one message may cost: SPF alone asks 123 at the very most.
TOTAL_QUESTIONS = 150
#: Answers that are kept, octets of each, and seconds for which they are at most; what the resolver does not
#: have is asked for again sooner.
KEPT, KEPT_OCTETS, KEPT_SECONDS, NOTHING_SECONDS = 4096, 2048, 300.0, 5.0


class Lookup(Protocol):
    """What is asked of a resolver (mailftp.dns.resolver)."""

    def lookup(self, name: str, kind: str) -> Deferred[Answer]: ...


class Known:
    """Answers in the form that the checks want, for as long as they hold: to ask the resolver what it has in
    its cache takes 60 us, and a message asks six questions."""

    def __init__(self) -> None:
        #: Oldest first; the reactor time until which each holds.
        self._kept: OrderedDict[Question, tuple[float, tuple[str, ...]]] = OrderedDict()

    def get(self, question: Question, now: float) -> tuple[str, ...] | None:
        kept = self._kept.get(question)
        return kept[1] if kept is not None and now < kept[0] else None

    def put(self, question: Question, texts: tuple[str, ...], seconds: float, now: float) -> None:
        if len(question.name) + sum(map(len, texts)) > KEPT_OCTETS:
            return
        self._kept[question] = now + min(seconds, KEPT_SECONDS), texts
        self._kept.move_to_end(question)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


class Enquiry:
    """What one message may ask. What the resolver cannot answer, or not in the time left, or what would be a
    question too many, is a temporary fault of the check that asks."""

    def __init__(
        self,
        resolver: Lookup,
        clock: IReactorTime,
        seconds: float = TOTAL_SECONDS,
        questions: int = TOTAL_QUESTIONS,
        known: Known | None = None,
    ) -> None:
        """`seconds` are those of each check, which run side by side; `questions` is for all of them. `known`
        is shared with other messages."""
        self._resolver, self._clock, self._seconds = resolver, clock, seconds
        self._left = questions
        self._known = known or Known()

    async def answer(self, check: Asking[T]) -> T:
        """Run `check` to its end. Raises TemporaryFault where the check itself lets it pass."""
        deadline = self._clock.seconds() + self._seconds
        try:
            question = next(check)
            while True:
                try:
                    records = self._known.get(question, self._clock.seconds())
                    if records is None:
                        records = await self._ask(question, deadline - self._clock.seconds())
                except TemporaryFault as fault:
                    question = check.throw(fault)
                else:
                    question = check.send(records)
        except StopIteration as end:
            found: T = end.value
            return found

    async def _ask(self, question: Question, seconds: float) -> tuple[str, ...]:
        if seconds <= 0:
            raise TemporaryFault(f"the check took more than {self._seconds:.0f} seconds")
        if not self._left:
            raise TemporaryFault("the message asks too much of the DNS")
        self._left -= 1
        texts: tuple[str, ...] = ()
        holds = NOTHING_SECONDS
        try:
            asked = self._resolver.lookup(question.name, question.kind)
            answer = await asked.addTimeout(seconds, self._clock)
            texts, holds = tuple(map(_text, sorted(answer.records, key=_preference))), answer.ttl
        except (NoSuchName, NoSuchData):
            # The resolver knows how long that holds, and does not tell.
            pass
        except (Unresolved, TimeoutError) as fault:
            raise TemporaryFault(str(fault)) from None
        self._known.put(question, texts, holds, self._clock.seconds())
        return texts


async def answer_check(check: Asking[T], resolver: Lookup, clock: IReactorTime) -> T:
    """Run one check that stands alone."""
    return await Enquiry(resolver, clock).answer(check)


def _preference(record: Rdata) -> int:
    return record.preference if isinstance(record, MX) else 0


def _text(record: Rdata) -> str:
    if isinstance(record, TXT):
        # RFC 7208 section 3.3: the strings are put together without anything between them.
        return b"".join(record.strings).decode("latin-1")
    return (record.exchange if isinstance(record, MX) else record).to_text().removesuffix(".")
