"""When the next attempt is, when the sender is warned, when it is given up; in seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

from mailftp.settings import Delivery

#: The part of a wait by which it is made shorter or longer, so that what failed together does not come
#: back together.
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows a failed attempt: another at `next_attempt`, or, when that is None, a bounce."""

    next_attempt: float | None
    #: The sender is to be told now that it is late.
    warn: bool


def plan(
    settings: Delivery, *, number: int, accepted: float, now: float, warned: bool, chance: float
) -> Plan:
    """`number` counts attempts from 1; `chance` is in [0, 1).

    There is an attempt when the warning is due and one when the time is up, so that neither comes late by
    a whole interval of the schedule.
    """
    give_up, warning = accepted + settings.give_up, accepted + settings.delay_warning
    if now >= give_up:
        return Plan(None, False)
    wait = settings.retry[min(max(number, 1), len(settings.retry)) - 1]
    due = now + wait * (1 - JITTER + 2 * JITTER * chance)
    if not warned and now < warning:
        due = min(due, warning)
    return Plan(min(due, give_up), not warned and now >= warning)
