"""The end of a message: the hooks have their say, it is committed, and only then comes 250."""

from __future__ import annotations

from mailftp.intake.hooks import Stages
from mailftp.intake.intake import Envelope, Intake, Refused
from mailftp.intake.refused import HungUp
from mailftp.smtp.local import Outcome, accept_each
from mailftp.smtp.syntax import Reply
from mailftp.smtp.trail import Trail
from mailftp.store.engine import BodySink, StoreFull
from mailftp.store.records import Accepted, StagedBody

FULL = Reply(452, "4.3.1", "There is no room for the message now")


class Acceptance:
    """Of one connection."""

    __slots__ = ("_intake", "_stages", "_trail")

    def __init__(self, intake: Intake, stages: Stages, trail: Trail) -> None:
        self._intake, self._stages, self._trail = intake, stages, trail

    async def accept(self, envelope: Envelope, sink: BodySink) -> Reply:
        """Commit a message; its 250 is a promise (RFC 5321 section 6.1)."""
        try:
            body = await self._body(envelope, sink)
            accepted = await self._intake.accept(envelope, body)
        except (Refused, StoreFull) as fault:
            sink.abort()
            return self._refuse(envelope, fault)
        except BaseException:
            sink.abort()
            raise
        self._note(envelope, accepted, body.size)
        if envelope.hang_up:
            raise HungUp
        return Reply(250, "2.0.0", f"OK, accepted as {envelope.id}")

    async def accept_each(self, envelope: Envelope, sink: BodySink) -> list[Reply]:
        """RFC 2033 section 4.2: a recipient who cannot have it keeps it from nobody else."""
        try:
            body = await self._body(envelope, sink)
            outcome = await accept_each(self._intake, envelope, body)
        except (Refused, StoreFull) as fault:
            sink.abort()
            return [self._refuse(envelope, fault)] * len(envelope.recipients)
        except BaseException:
            sink.abort()
            raise
        if not outcome.accepted:
            sink.abort()
        self._note_each(envelope, outcome, body.size)
        if envelope.hang_up:
            raise HungUp
        return outcome.replies

    async def _body(self, envelope: Envelope, sink: BodySink) -> StagedBody:
        """The body whole, when the checks and the hooks let it pass."""
        body = await sink.finish()
        if envelope.parts is not None:
            await self._intake.judge(envelope, body)
        if self._stages:
            await self._stages.ask("data", envelope, body)
        return body

    def _refuse(self, envelope: Envelope, fault: Refused | StoreFull) -> Reply:
        reply = Reply(fault.code, fault.status, fault.text) if isinstance(fault, Refused) else FULL
        self._trail.refused(reply, sender=envelope.sender)
        return reply

    def _note_each(self, envelope: Envelope, outcome: Outcome, size: int) -> None:
        for taken, accepted in outcome.accepted:
            self._note(taken, accepted, size)
        for recipient, reply in zip(envelope.recipients, outcome.replies, strict=True):
            if reply.code >= 400:
                self._trail.refused(reply, sender=envelope.sender, to=recipient.address)

    def _note(self, envelope: Envelope, accepted: Accepted, size: int) -> None:
        """Write it down, and tell the hooks."""
        self._trail.accepted(envelope, accepted, size)
        if self._stages:
            self._stages.ask("delivered", envelope, accepted).addErrback(self._trail.fault)
