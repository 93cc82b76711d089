"""Messages, staged bodies and units for the store's tests."""

from __future__ import annotations

from mailftp.store.records import (
    Attempt,
    Filing,
    ForwardPath,
    RecipientState,
    ScramKeys,
    StagedBody,
    Transfer,
    Verifier,
)
from mailftp.store.units import Outcome

VERIFIER = Verifier(
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", ScramKeys(b"salt", 4096, b"stored", b"server")
)
OTHER_VERIFIER = Verifier("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$b3RoZXI")


def message(
    subject: str = "hello", message_id: str = "", references: str = "", body: bytes = b"Hi.\r\n"
) -> bytes:
    lines = [b"From: bob@example.test", b"Subject: " + subject.encode()]
    if message_id:
        lines.append(b"Message-ID: <" + message_id.encode() + b">")
    if references:
        lines.append(b"References: " + b" ".join(b"<%s>" % r.encode() for r in references.split()))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def staged(store, data: bytes, piece: int = 0) -> StagedBody:
    """`data` through the store's sink, in pieces when `piece` says so."""
    sink = store.stage()
    step = piece or max(1, len(data))
    for start in range(0, len(data), step):
        held_up = sink.write(data[start : start + step])
        if held_up is not None:
            await held_up
    return await sink.finish()


def inbox(*accounts, **fields) -> tuple[Filing, ...]:
    return tuple(Filing(account.id, **fields) for account in accounts)


def transfer(*addresses: str, sender: str = "bob@example.test", **fields) -> Transfer:
    return Transfer(sender, tuple(ForwardPath(address) for address in addresses), **fields)


def outcome(
    recipient, state: RecipientState, next_attempt: float = 0.0, number: int | None = None, **fields
) -> Outcome:
    number = recipient.attempt if number is None else number
    attempt = Attempt(recipient.id, number, 1.0, 2.0, "mx.test [192.0.2.1]", state.value, "C: QUIT\n")
    return Outcome(recipient.id, attempt, state, next_attempt, **fields)
