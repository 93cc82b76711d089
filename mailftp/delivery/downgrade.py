"""Who took mail over STARTTLS is sent none in the clear: whoever sits in between can strip the offer.

RFC 3207 section 6 has clients that remember this as its remedy.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mailftp.store.records import TLSMemory
from mailftp.store.units import RememberTLS

#: Of the time that it is remembered, the part after which it is written down anew: not with every message.
REFRESH = 0.1


def holds(memory: TLSMemory | None, seconds: float, now: float) -> bool:
    """Whether STARTTLS is insisted on. A clock that was set back forgets nothing."""
    return memory is not None and now < memory.since + seconds


def to_remember(
    domain: str, host: str, memory: TLSMemory | None, seconds: float, now: float
) -> RememberTLS | None:
    """What is to be written down after a host took mail over STARTTLS."""
    if memory is not None and memory.since <= now < memory.since + seconds * REFRESH:
        return None
    return RememberTLS(domain, host, seconds)


def explained(fault: str, memory: TLSMemory, seconds: float) -> str:
    """One line for the operator."""
    return (
        f"downgrade: {fault}; {memory.domain} took mail over STARTTLS at {_time(memory.since)} and gets none"
        f" in the clear before {_time(memory.since + seconds)};"
        f" `mailftp tls forget {memory.domain}` allows it"
    )


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
    except (ValueError, OverflowError, OSError):
        return "the end of time"
