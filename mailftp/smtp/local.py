"""LMTP's end of a message: a reply for each recipient (RFC 2033 section 4.2).

One commit for all of them, as a rule. Where an account is in the way (its mailbox is full, the message was
there before) it is left out and the others are committed again without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mailftp.intake.intake import Envelope, Intake, Refused
from mailftp.message.address import Address
from mailftp.smtp.syntax import Reply
from mailftp.store.records import Accepted, StagedBody


@dataclass(slots=True)
class Outcome:
    """`replies` are those to the envelope's recipients, in their order; `accepted` what was kept, and for
    whom."""

    replies: list[Reply] = field(default_factory=list)
    accepted: list[tuple[Envelope, Accepted]] = field(default_factory=list)


async def accept_each(intake: Intake, envelope: Envelope, body: StagedBody) -> Outcome:
    """Raises what `Intake.accept` fails with, but for Refused, which becomes replies."""
    outcome, asked = Outcome(), tuple(envelope.recipients)
    refused: dict[Address, Reply] = {}
    rest = Reply(250, "2.0.0", f"OK, accepted as {envelope.id}")
    # Each round leaves out an account at least, so this ends.
    left = envelope
    while left.recipients:
        try:
            outcome.accepted.append((left, await intake.accept(left, body)))
            break
        except Refused as fault:
            reply = Reply(fault.code, fault.status, fault.text)
            named = [r for r in left.recipients if r.account_ids and r.account_ids <= set(fault.account_ids)]
            if not named:
                rest = reply
                break
            refused.update((r.address, reply) for r in named)
            left = replace(left, recipients=[r for r in left.recipients if r not in named])
    outcome.replies = [refused.get(r.address, rest) for r in asked]
    return outcome
