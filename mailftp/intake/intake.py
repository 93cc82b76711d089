"""Between a protocol and the store: who may send, to whom it goes, filed or queued.

SMTP calls `sender` at MAIL, `recipient` at each RCPT, `stage` at DATA and `accept` at its end; delivery calls
`report` for bounces. What goes to one of our own accounts is filed and never leaves the house; with
`[delivery] capture` nothing else leaves it either.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NoReturn

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from mailftp.intake.directory import Directory, always
from mailftp.intake.envelope import Envelope, Origin, Recipient, acceptance, filings, transfer
from mailftp.intake.header import WatchedSink
from mailftp.intake.inspected import InspectedSink
from mailftp.intake.refused import Refused
from mailftp.intake.submission import CompletingSink, complete_header
from mailftp.intake.success import KeepingSink, success_report, told_of
from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.origin.checks import Checks
from mailftp.origin.findings import results_field, without_forged
from mailftp.origin.policy import quarantined, refusal
from mailftp.settings import Settings
from mailftp.store.engine import BodySink, NoSuchAccount, OverQuota, Store, StoreFull
from mailftp.store.records import Accepted, Account, Change, StagedBody
from mailftp.store.units import Accept
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

__all__ = ["Envelope", "Intake", "Origin", "Recipient", "Refused"]

#: Received fields of a message that goes round and round (RFC 5321 section 6.3 asks for 100 at most).
HOPS = 50
#: Seconds that a mailbox found full is refused at RCPT, and how many such are remembered.
FULL_SECONDS = 3600.0
FULL_ACCOUNTS = 1000
#: Where what DMARC puts in quarantine is filed (RFC 6154, \\Junk).
JUNK = "Junk"


class Intake:
    """One for the whole server. `now` gives seconds since the epoch; without `checks` nothing is asked about
    the messages of strangers."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        now: Callable[[], float] = time.time,
        checks: Checks | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._now = now
        self._checks = checks
        self._directory = Directory(store, settings.domains, now, settings.addresses.separator)
        self._capture = _capture_address(settings.delivery.capture)
        self._full: OrderedDict[int, float] = OrderedDict()
        self._subscription = store.subscribe(self._hear)

    def stop(self) -> Deferred[None]:
        """Hear no more of the store, and ask nothing more; fires when the last socket is closed."""
        self._directory.stop()
        self._subscription.cancel()
        return succeed(None) if self._checks is None else self._checks.stop()

    def sender(self, origin: Origin, sender: Address | None) -> None:
        """Raises Refused when this submitter may not use this reverse-path (553 5.7.1).

        From outside anybody may say anything, our own domains included (a mailing list may, and SPF
        decides better than a rule here). The null reverse-path is everybody's: it is for notices.
        """
        if origin.submitter is None or sender is None:
            return
        if not origin.submitter.may_send_as(sender):
            raise Refused(553, "5.7.1", f"{origin.submitter.address} may not send as {sender}")

    def recipient(self, origin: Origin, address: Address) -> Recipient | Deferred[Recipient]:
        """Where a recipient leads.

        Raises (or fails with) Refused: no such user 550 5.1.1, account disabled 550 5.2.1, mailbox full
        452 4.2.2, relaying denied 550 5.7.1. "postmaster" alone is the postmaster of this server
        (RFC 5321 section 4.5.1).
        """
        if self._directory.is_local(address):
            found = self._directory.find(address)
        elif self._capture is not None:
            found = self._directory.find(self._capture)
        elif origin.submitter is not None:
            return Recipient(address, None)
        else:
            raise Refused(550, "5.7.1", f"{address} is not here, and relaying is denied")
        if isinstance(found, Deferred):
            return found.addCallback(lambda account: self._resident(address, account))
        return self._resident(address, found)

    def _resident(self, address: Address, account: Account | None) -> Recipient:
        if account is None and not self._directory.is_local(address):
            # Temporary: the sender did nothing wrong, and the operator can add the account.
            raise Refused(451, "4.3.5", "The account that captures mail does not exist")
        if account is None:
            name = str(address) if address.domain else address.local
            raise Refused(550, "5.1.1", f"{name} is nobody here")
        if account.disabled:
            raise Refused(550, "5.2.1", f"{address} takes no mail at present")
        until = self._full.get(account.id)
        if until is not None and self._now() < until:
            raise Refused(452, "4.2.2", f"The mailbox of {address} is full")
        # A postmaster without a domain gets one, for Delivered-To.
        named = address if address.domain else parse_address(account.address)
        return Recipient(named, account.id, resident=self._directory.is_local(address))

    def stage(self, envelope: Envelope) -> BodySink:
        """Where the message of this envelope goes while it arrives. A submitted one's header is completed
        on the way; `finish` then fails with Refused (552 5.3.4) when the header has no end."""
        sink: BodySink = WatchedSink(self._store.stage(), envelope.header)
        if told_of(envelope):
            sink = KeepingSink(sink, envelope.kept)
        if envelope.origin.submitter is None:
            return self._inspected(envelope, sink)
        now, hostname = self._now(), self._settings.hostname

        def complete(header: bytes) -> bytes:
            return complete_header(without_forged(header, hostname), hostname=hostname, now=now)

        return CompletingSink(sink, complete)

    def _inspected(self, envelope: Envelope, sink: BodySink) -> BodySink:
        """What comes by LMTP was checked by the server beside us, and says so itself."""
        origin, checks = envelope.origin, self._checks
        if checks is None or "LMTP" in origin.with_protocol:
            return sink
        inspection = checks.begin(origin.peer, origin.helo, envelope.sender, self._now())
        if inspection is None:
            return sink
        envelope.inspection = inspection
        return InspectedSink(
            sink,
            inspection,
            lambda header: checks.read_header(inspection, header, origin.peer),
            self._settings.hostname,
        )

    async def judge(self, envelope: Envelope) -> None:
        """Wait for the checks of a message that is here whole, and note in its envelope what they found.

        Raises Refused where the settings say that it counts; what is found of trusted clients never does.
        """
        inspection, checks = envelope.inspection, self._checks
        if inspection is None or checks is None:
            return
        findings = await inspection.conclude()
        envelope.checks = str(findings)
        envelope.results = results_field(self._settings.hostname, findings.found)
        if checks.trusts(envelope.origin.peer):
            return
        refused = refusal(findings, checks.settings)
        if refused is not None:
            raise Refused(refused.code, refused.status, refused.text)
        if quarantined(findings, checks.settings):
            envelope.mailbox = JUNK

    def accept(self, envelope: Envelope, body: StagedBody) -> Deferred[Accepted]:
        """File and queue it in one transaction, with its trace headers; fires when it is durable.

        Fails with Refused (over quota 452 4.2.2, disk full 452 4.3.1, mail loop 554 5.4.6) or StoreFault.
        """
        try:
            self._check_loop(envelope)
        except Refused:
            return fail()
        unit = acceptance(envelope, body, self._settings.hostname, self._now())
        accepted = self._store.commit(unit).addErrback(self._not_kept, envelope)
        if told_of(envelope):
            accepted.addCallback(lambda answer: Deferred.fromCoroutine(self._tell_success(envelope, answer)))
        return accepted

    async def _tell_success(self, envelope: Envelope, accepted: Accepted) -> Accepted:
        """Before the 250, so that a crash in between loses no report: the message is then sent again."""
        assert envelope.sender is not None, "nobody is told of what nobody sent"
        try:
            message = success_report(envelope, told_of(envelope), self._settings.hostname, self._now())
            unit = await self._report(envelope.sender, message)
            if unit is not None:
                await self._store.commit(unit)
        except Exception:
            # The message itself is safe, and is not to be sent again for want of a report.
            Journal(envelope.origin.context).fault("report_not_made", id=envelope.id)
        return accepted

    def _not_kept(self, failure: Failure, envelope: Envelope) -> NoReturn:
        """Say what the store says in SMTP's words; its other faults are the caller's."""
        match failure.value:
            case OverQuota(account_ids=account_ids):
                self._note_full(envelope, account_ids)
                raise Refused(452, "4.2.2", "The mailbox is full", account_ids)
            case NoSuchAccount():
                # Removed since RCPT. When the sender tries again, RCPT says so for that recipient alone.
                raise Refused(451, "4.2.1", "An account has just been removed, try again")
            case StoreFull():
                raise Refused(452, "4.3.1", "There is no room for the message now")
        failure.raiseException()

    def _check_loop(self, envelope: Envelope) -> None:
        """RFC 5321 section 6.3. Our own Delivered-To means that a message came back from elsewhere; a
        submitter may send such a message on, which is a new one."""
        if envelope.header.hops > HOPS:
            raise Refused(554, "5.4.6", f"The message has passed more than {HOPS} servers: it is in a loop")
        if envelope.origin.submitter is not None or not envelope.header.delivered_to:
            return
        for recipient in envelope.recipients:
            if str(recipient.address).lower() in envelope.header.delivered_to:
                ids = () if recipient.account_id is None else (recipient.account_id,)
                text = f"The message was delivered to {recipient.address} before"
                raise Refused(554, "5.4.6", text, ids)

    def _note_full(self, envelope: Envelope, account_ids: tuple[int, ...]) -> None:
        """One full mailbox must not keep a message from the others for days: when the sender tries again, the
        full one is refused at RCPT and the rest get it. Alone, a smaller message may still fit."""
        if len(envelope.recipients) == 1:
            return
        for account_id in account_ids:
            self._full[account_id] = self._now() + FULL_SECONDS
            self._full.move_to_end(account_id)
            if len(self._full) > FULL_ACCOUNTS:
                self._full.popitem(last=False)

    def _hear(self, changes: tuple[Change, ...]) -> None:
        if self._full:
            for change in changes:
                self._full.pop(change.account_id, None)

    def report(self, to: Address, message: bytes) -> Deferred[Accept | None]:
        """The unit that accepts a bounce to one of ours or to somebody elsewhere, from the null sender.

        None when there is nobody to tell any more. Fails with StoreFault.
        """
        return Deferred.fromCoroutine(self._report(to, message))

    async def _report(self, to: Address, message: bytes) -> Accept | None:
        origin = Origin(Peer(None), self._settings.hostname, "LOCAL", "report")
        target = to if self._directory.is_local(to) else self._capture
        account_id = None
        if target is not None:
            account = await always(self._directory.find(target))
            if account is None or account.disabled:
                return None
            account_id = account.id
        envelope = Envelope(
            origin,
            None,
            [Recipient(to, account_id)],
            eightbit=not message.isascii(),
            smtputf8=not message.partition(b"\r\n\r\n")[0].isascii(),
        )
        sink = self._store.stage()
        try:
            wait = sink.write(message)
            if wait is not None:
                await wait
            body = await sink.finish()
        except BaseException:
            sink.abort()
            raise
        # Made here and sent by nobody: it has a Return-Path, and no Received field yet.
        return Accept(body, self._now(), filings(envelope, b""), transfer(envelope, b""))


def _capture_address(capture: str | None) -> Address | None:
    if capture is None:
        return None
    try:
        return parse_address(capture)
    except AddressFault as fault:
        raise ValueError(f"delivery.capture: {fault}") from fault
