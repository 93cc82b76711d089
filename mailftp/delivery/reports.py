"""What the sender is told: bounces, delay warnings and, where asked for, successes (RFC 3461, RFC 3464)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from mailftp.delivery.attempt import Means
from mailftp.delivery.verdict import Verdict
from mailftp.intake.intake import Intake
from mailftp.message.address import AddressFault, parse_address
from mailftp.message.report import ReportedRecipient, build_report
from mailftp.origin.findings import read_results
from mailftp.store.engine import MissingBody
from mailftp.store.queries import ReadStart
from mailftp.store.records import QueueMessage
from mailftp.store.units import Accept

#: Of a message in a file, what is given back at most: a film and its bounce fill the sender's mailbox twice.
RETURNED = 1024 * 1024

_DEFAULT = frozenset({"FAILURE", "DELAY"})


def wants(verdict: Verdict, word: str) -> bool:
    """RFC 3461 section 4.1; without NOTIFY failures and delays are told."""
    return word in (verdict.recipient.notify or _DEFAULT)


class Reports:
    def __init__(self, means: Means, intake: Intake, hostname: str, now: Callable[[], float]) -> None:
        self._means, self._intake, self._hostname, self._now = means, intake, hostname, now

    async def failures(self, message: QueueMessage, verdicts: list[Verdict]) -> tuple[Accept, ...]:
        """The bounce about these, or nothing where nobody is to be told. Fails with StoreFault or OSError."""
        told = [self._reported(v, "failed") for v in verdicts if wants(v, "FAILURE")]
        return await self._report(message, told, whole=message.transfer.ret != "HDRS")

    async def delays(
        self, message: QueueMessage, verdicts: list[Verdict], until: float
    ) -> tuple[Accept, ...]:
        told = [self._reported(v, "delayed", until) for v in verdicts if wants(v, "DELAY")]
        return await self._report(message, told, whole=False)

    async def successes(self, message: QueueMessage, verdicts: list[Verdict]) -> tuple[Accept, ...]:
        """RFC 3461 section 5.2.2: "relayed" to a host that will not report itself, "delivered" by LMTP."""
        told = [
            self._reported(v, "delivered" if v.final else "relayed")
            for v in verdicts
            if wants(v, "SUCCESS") and (v.final or not v.reports_itself)
        ]
        return await self._report(message, told, whole=False)

    async def _report(
        self, message: QueueMessage, told: list[ReportedRecipient], whole: bool
    ) -> tuple[Accept, ...]:
        transfer = message.transfer
        if not told or not transfer.reverse_path:
            # RFC 5321 section 6.1: a notice about a notice would never end.
            return ()
        if read_results(transfer.prefix, self._hostname).get("dmarc") == "fail":
            # Sent on for a stranger, and its author is forged: he would hear of what he never wrote.
            return ()
        try:
            to = parse_address(transfer.reverse_path)
        except AddressFault:
            return ()
        original, complete = await self._original(message, whole)
        report = build_report(
            hostname=self._hostname,
            to=transfer.reverse_path,
            recipients=tuple(told),
            arrival=message.accepted,
            now=self._now(),
            message_id=f"{secrets.token_hex(10)}@{self._hostname}",
            envid=transfer.envid,
            original=original,
            whole=complete,
        )
        unit = await self._intake.report(to, report)
        return (unit,) if unit is not None else ()

    async def _original(self, message: QueueMessage, whole: bool) -> tuple[bytes, bool]:
        """What is given back, and whether it is all of the message. A body that is lost must not keep its
        sender from hearing that it was not delivered."""
        ref, prefix = message.body, message.transfer.prefix
        try:
            data = await self._means.store.read(ReadStart(ref, RETURNED if ref.large else ref.size))
        except MissingBody:
            return prefix, False
        # Unless all of a large message was asked for, its header is enough.
        whole = whole and len(data) == ref.size and (not ref.large or message.transfer.ret == "FULL")
        return prefix + (data if whole else data.partition(b"\r\n\r\n")[0] + b"\r\n"), whole

    def _reported(self, verdict: Verdict, action: str, until: float = 0.0) -> ReportedRecipient:
        return ReportedRecipient(
            address=verdict.recipient.address,
            action=action,
            status=verdict.status,
            diagnostic=verdict.text,
            diagnostic_type="smtp" if verdict.smtp else "x-mailftp",
            orcpt=verdict.recipient.orcpt,
            remote=verdict.remote,
            last_attempt=self._now(),
            will_retry_until=until,
        )
