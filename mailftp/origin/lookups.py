"""Drives a check that asks questions with the resolver, within a total time."""

from __future__ import annotations

from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailftp.dns.answers import NoSuchData, NoSuchName, Unresolved
from mailftp.dns.resolver import Resolver
from mailftp.origin.spf import Asking, Question, TemporaryFault, Verdict

#: Seconds for all questions of one check. RFC 7208 section 4.6.4 asks for at least 20.
TOTAL_SECONDS = 20.0


async def answer_check(check: Asking[Verdict], resolver: Resolver, clock: IReactorTime) -> Verdict:
    """Run `check` to its end. What the resolver cannot answer, or not in the time left, is a temporary fault
    of the check."""
    deadline = clock.seconds() + TOTAL_SECONDS
    try:
        question = next(check)
        while True:
            try:
                records = await _ask(question, resolver, clock, deadline - clock.seconds())
            except TemporaryFault as fault:
                question = check.throw(fault)
            else:
                question = check.send(records)
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict


async def _ask(
    question: Question, resolver: Resolver, clock: IReactorTime, seconds: float
) -> tuple[str, ...]:
    if seconds <= 0:
        raise TemporaryFault(f"the check took more than {TOTAL_SECONDS:.0f} seconds")
    try:
        answer = await resolver.lookup(question.name, question.kind).addTimeout(seconds, clock)
    except (NoSuchName, NoSuchData):
        return ()
    except (Unresolved, TimeoutError) as fault:
        raise TemporaryFault(str(fault)) from None
    return tuple(map(_text, sorted(answer.records, key=_preference)))


def _preference(record: Rdata) -> int:
    return record.preference if isinstance(record, MX) else 0


def _text(record: Rdata) -> str:
    if isinstance(record, TXT):
        # Section 3.3: the strings are put together without anything between them.
        return b"".join(record.strings).decode("latin-1")
    return (record.exchange if isinstance(record, MX) else record).to_text().removesuffix(".")
