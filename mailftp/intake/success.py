"""RFC 3461 section 5.3: the sender who asked (NOTIFY=SUCCESS) is told that a message was filed here."""

from __future__ import annotations

import secrets

from twisted.internet.defer import Deferred

from mailftp.intake.envelope import Envelope, Recipient
from mailftp.message.report import ReportedRecipient, build_report
from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

#: Octets of the message's header that are kept for the report, which gives back the header alone (RFC 3461
#: section 4.3).
KEPT = 16 * 1024


def told_of(envelope: Envelope) -> tuple[Recipient, ...]:
    """The recipients of whom the sender wants to hear that it was delivered; captured mail was not."""
    if envelope.sender is None or envelope.handling.hold_until:
        # RFC 5321 section 4.5.5: there is nobody to tell; or nothing yet to tell of.
        return ()
    if "dmarc=fail" in envelope.checks.split():
        # Its author is forged, and so may its sender be: he would hear of what he never sent.
        return ()
    return tuple(r for r in envelope.recipients if "SUCCESS" in r.notify and _action(r))


def _action(recipient: Recipient) -> str:
    """RFC 3461 section 5.2.7: a list has it when it is sent to the members; an alias to several is
    "expanded", and of one to a single address elsewhere the report comes from there, so "" here."""
    if not recipient.routes:
        return "delivered" if recipient.resident else ""
    if any(route.list is not None for route in recipient.routes):
        return "delivered"
    if len(recipient.routes) > 1:
        return "expanded"
    return "delivered" if recipient.routes[0].account_id is not None and recipient.resident else ""


class KeepingSink:
    """A body sink that keeps the beginning of what passes."""

    def __init__(self, sink: BodySink, kept: bytearray) -> None:
        self._sink, self._kept = sink, kept

    def write(self, data: bytes) -> Deferred[None] | None:
        if len(self._kept) < KEPT:
            self._kept += data[: KEPT - len(self._kept)]
        return self._sink.write(data)

    def finish(self) -> Deferred[StagedBody]:
        return self._sink.finish()

    def abort(self) -> None:
        self._sink.abort()


def success_report(envelope: Envelope, told: tuple[Recipient, ...], hostname: str, now: float) -> bytes:
    """One report for all of `told`, who are not none."""
    kept = bytes(envelope.kept)
    end = kept.find(b"\r\n\r\n")
    # A header that is longer than what was kept ends at its last whole line.
    original = kept[: end + 2 if end >= 0 else kept.rfind(b"\r\n") + 2]
    recipients = tuple(
        ReportedRecipient(
            address=str(recipient.address),
            action=_action(recipient),
            status="2.0.0",
            diagnostic="",
            orcpt=recipient.orcpt,
        )
        for recipient in told
    )
    return build_report(
        hostname=hostname,
        to=envelope.reverse_path,
        recipients=recipients,
        arrival=now,
        now=now,
        message_id=f"{secrets.token_hex(10)}@{hostname}",
        envid=envelope.envid,
        original=original,
        whole=False,
    )
