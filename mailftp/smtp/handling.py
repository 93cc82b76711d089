"""How a message wants to be handled on its way, as MAIL's parameters say it and as the queue keeps it."""

from __future__ import annotations

from datetime import UTC, datetime

from mailftp.intake.refused import Refused
from mailftp.smtp.rules import HOLD
from mailftp.smtp.syntax import MailFrom
from mailftp.store.records import Handling

_PLAIN = Handling()


def handling_of(mail: MailFrom, now: float, trusted: bool) -> Handling:
    """`now` is in seconds since the epoch. A stranger's priority is not believed (RFC 6710 section 5): who
    would not say that theirs is the highest. Raises Refused for a time that is too far off (RFC 4865 section
    4.2)."""
    if not mail.parameters:
        return _PLAIN
    hold_until = mail.hold_until or 0.0
    if mail.hold_for is not None:
        hold_until = now + mail.hold_for
    if hold_until > now + HOLD:
        raise Refused(501, "5.5.4", f"A message is held for {HOLD} seconds at most")
    seconds, mode = mail.deliver_by or (0, "")
    return Handling(
        requiretls=mail.requiretls,
        priority=mail.priority if trusted else 0,
        deliver_by=now + seconds if mode else 0.0,
        by_mode=mode,
        hold_until=hold_until if hold_until > now else 0.0,
    )


def latest_release(now: float) -> str:
    """What the EHLO keyword FUTURERELEASE names as the last moment."""
    return datetime.fromtimestamp(int(now) + HOLD, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
