"""When the next attempt is, when the sender is warned, when it is given up; in seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

from mailftp.settings import Delivery
from mailftp.store.records import Handling, QueueRecipient

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


def expired(handling: Handling, now: float) -> bool:
    """RFC 2852 section 4.1.4: it came too late, and is to be returned."""
    return handling.by_mode == "R" and now >= handling.deliver_by


def in_time(following: Plan, handling: Handling, recipient: QueueRecipient, now: float) -> Plan:
    """`following` for a message that must be there by a certain time: then it is returned, or its sender is
    told (RFC 2852 section 4.1.4)."""
    if not handling.by_mode or following.next_attempt is None:
        return following
    if expired(handling, now):
        return Plan(None, False)
    late = now >= handling.deliver_by
    again = following.next_attempt if late else min(following.next_attempt, handling.deliver_by)
    return Plan(again, following.warn or (late and not recipient.delay_warned))
