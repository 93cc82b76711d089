"""Between a protocol and the store: who may send, to whom it goes, filed or queued.

SMTP calls `sender` at MAIL, `recipient` at each RCPT, `stage` at DATA and `accept` at its end; delivery calls
`report` for bounces. What goes to one of our own accounts is filed and never leaves the house; with
`[delivery] capture` nothing else leaves it either.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from mailftp.intake.authorship import bcc
from mailftp.intake.binary import BinarySink, Run, at_once
from mailftp.intake.directory import Directory, always
from mailftp.intake.envelope import (
    Envelope,
    Origin,
    Recipient,
    acceptance,
    filings,
    forwards,
    submission,
    transfer,
)
from mailftp.intake.expansion import Expansion, Route
from mailftp.intake.header import WatchedSink
from mailftp.intake.outbound import Outbound
from mailftp.intake.refused import Refused
from mailftp.intake.scrutiny import Scrutiny
from mailftp.intake.senders import Senders
from mailftp.intake.srs import SenderRewriting, is_rewritten
from mailftp.intake.submission import CompletingSink, complete_header
from mailftp.intake.success import KeepingSink, success_report, told_of
from mailftp.intake.suppressed import Suppressed
from mailftp.intake.vacation import Vacations
from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.origin.checks import Checks
from mailftp.origin.findings import without_forged
from mailftp.settings import Settings
from mailftp.store.engine import BodySink, NoSuchAccount, OverQuota, SendingLimit, Store, StoreFull
from mailftp.store.queries import ReturnTo
from mailftp.store.records import (
    Accepted,
    Account,
    Alias,
    Change,
    Destination,
    QueueMessage,
    QueueRecipient,
    StagedBody,
)
from mailftp.store.units import Accept
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

__all__ = ["Envelope", "Intake", "Origin", "Recipient", "Refused"]

#: Received fields of a message that goes round and round (RFC 5321 section 6.3 asks for 100 at most).
HOPS = 50
#: Seconds that a mailbox found full is refused at RCPT, and how many such are remembered.
FULL_SECONDS = 3600.0
FULL_ACCOUNTS = 1000


class Intake:
    """One for the whole server. `now` gives seconds since the epoch; without `checks` nothing is asked about
    the messages of strangers."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        now: Callable[[], float] = time.time,
        checks: Checks | None = None,
        secret: bytes | None = None,
        run: Run[bytes] = at_once,
    ) -> None:
        """`secret` is this server's, the same at each start: without it, reports about what was sent on
        before this start find nobody."""
        self._settings = settings
        self._store = store
        self._now = now
        self._checks = checks
        self._scrutiny = None if checks is None else Scrutiny(settings, checks)
        self._run = run
        self._rewriting = SenderRewriting(secret or secrets.token_bytes(32))
        self._directory = Directory(
            store, settings.domains, now, settings.addresses.separator, settings.hostname
        )
        self._capture = _capture_address(settings.delivery.capture)
        self._full: OrderedDict[int, float] = OrderedDict()
        self._suppressed = Suppressed(store, now)
        self._senders = Senders(self._directory, store, now)
        self._vacations = Vacations(store, settings.hostname, now, self._report)
        self._subscription = store.subscribe(self._hear)
        #: Who sends what leaves as soon as it is accepted, while somebody does.
        self.outbound: Outbound | None = None

    def stop(self) -> Deferred[None]:
        """Hear no more of the store, and ask nothing more; fires when the last socket is closed."""
        self._directory.stop()
        self._subscription.cancel()
        return succeed(None) if self._checks is None else self._checks.stop()

    def sender(self, origin: Origin, sender: Address | None) -> Deferred[None] | None:
        """Raises (or fails with) Refused when this submitter may not use this reverse-path (553 5.7.1)."""
        if origin.submitter is None or sender is None:
            return None
        return self._senders.check(origin.submitter, self._at_home(origin, sender))

    def _at_home(self, origin: Origin, address: Address) -> Address:
        return self._directory.at_home(address, origin.local.literal)

    def recipient(
        self, origin: Origin, address: Address, sender: Address | None = None
    ) -> Recipient | Deferred[Recipient]:
        """Where a recipient leads, for mail of `sender`.

        Raises (or fails with) Refused: no such user 550 5.1.1, account disabled 550 5.2.1, mailbox full
        452 4.2.2, relaying denied 550 5.7.1, an address elsewhere that is suppressed 550 5.1.1, an alias that
        leads nowhere 550 5.4.6, a list that is closed to the sender 550 5.7.2.
        "postmaster" alone is the postmaster of this server (RFC 5321 section 4.5.1).
        """
        address = self._at_home(origin, address)
        if not self._directory.is_local(address):
            if self._capture is not None:
                return Deferred.fromCoroutine(self._captured(address))
            if origin.submitter is not None:
                self._suppressed.check(address)
                return Recipient(address, None)
            raise Refused(550, "5.7.1", f"{address} is not here, and relaying is denied")
        if is_rewritten(address):
            return Deferred.fromCoroutine(self._reported(origin, address, sender))
        found = self._directory.find(address)
        if isinstance(found, Deferred):
            resident: Deferred[Any] = found
            return resident.addCallback(lambda found: self._resident(origin, address, found, sender))
        return self._resident(origin, address, found, sender)

    def _resident(
        self, origin: Origin, address: Address, found: Destination, sender: Address | None
    ) -> Recipient | Deferred[Recipient]:
        if found.alias is not None:
            return Deferred.fromCoroutine(self._expand(origin, address, found, sender))
        if found.account is None:
            name = str(address) if address.domain else address.local
            raise Refused(550, "5.1.1", f"{name} is nobody here")
        self._check_account(address, found.account)
        # A postmaster without a domain gets one, for Delivered-To.
        named = address if address.domain else parse_address(found.account.address)
        return Recipient(named, found.account.id, resident=True)

    def _check_account(self, address: Address, account: Account) -> None:
        """Raises Refused for one that takes no mail now."""
        if account.disabled:
            raise Refused(550, "5.2.1", f"{address} takes no mail at present")
        until = self._full.get(account.id)
        if until is not None and self._now() < until:
            raise Refused(452, "4.2.2", f"The mailbox of {address} is full")

    async def _captured(self, address: Address) -> Recipient:
        """Nothing leaves; the mailbox that captures what is for elsewhere has it instead."""
        assert self._capture is not None
        found = await always(self._directory.find(self._capture))
        if found.account is None:
            # Temporary: the sender did nothing wrong, and the operator can add the account.
            raise Refused(451, "4.3.5", "The account that captures mail does not exist")
        self._check_account(address, found.account)
        return Recipient(address, found.account.id)

    async def _expand(
        self, origin: Origin, address: Address, found: Destination, sender: Address | None
    ) -> Recipient:
        """An alias with all its ends."""
        alias = found.alias
        assert alias is not None
        if not address.domain:
            address = parse_address(alias.address)
        expansion = Expansion(
            self._directory.find,
            self._directory.is_local,
            self._check_account,
            partial(self._check_poster, origin, sender),
        )
        await expansion.follow(address, found)
        if not expansion.routes:
            for _, refused in expansion.left_out:
                raise refused
            raise Refused(550, "5.1.1", f"{address} leads to nobody")
        for left, refused in expansion.left_out:
            self._note_left_out(origin, address, left, refused.text)
        routes = tuple(expansion.routes.values())
        if self._capture is not None:
            routes = tuple([await self._capture_route(route) for route in routes])
        return Recipient(address, None, resident=True, routes=routes)

    def _note_left_out(self, origin: Origin, recipient: Address, member: Address, reason: str) -> None:
        journal = Journal(origin.context)
        journal.warn("left out", recipient=str(recipient), member=str(member), reason=reason)

    async def _capture_route(self, route: Route) -> Route:
        if route.account_id is not None:
            return route
        return replace(route, account_id=(await self._captured(route.address)).account_id)

    def _check_poster(self, origin: Origin, sender: Address | None, alias: Alias) -> None:
        """Raises Refused. A list takes no reports: they would go to all its members, and whoever answers them
        by itself would be answered by the next (RFC 3834 section 2)."""
        if not alias.owner:
            return
        if sender is None:
            raise Refused(550, "5.7.2", f"{alias.address} takes no reports")
        posters = {*alias.targets, alias.owner}
        known = {sender.key, origin.submitter.address if origin.submitter else ""}
        if alias.members_only and not known & posters:
            raise Refused(550, "5.7.2", f"Only its members may send to {alias.address}")

    async def _restore(self, address: Address) -> Address | None:
        """Whom one of our reverse-paths stands for; None for any other address."""
        restored = self._rewriting.restore(address, self._now())
        if restored is None:
            return None
        if restored.sender is not None:
            return restored.sender
        known = await self._store.read(ReturnTo(restored.kept))
        return parse_address(known) if known else None

    async def _reported(self, origin: Origin, address: Address, sender: Address | None) -> Recipient:
        """A report about what an alias sent on, to be passed to who sent it. A name of that form can be
        somebody's."""
        to = await self._restore(address)
        if to is None:
            found = await always(self._directory.find(address))
            resident = self._resident(origin, address, found, sender)
            return await resident if isinstance(resident, Deferred) else resident
        if sender is not None:
            raise Refused(550, "5.7.1", f"{address} takes reports and nothing else")
        if self._capture is not None:
            return await self._captured(to)
        return Recipient(address, None, routes=(Route(to, None),))

    async def members(self, origin: Origin, address: Address) -> tuple[str, ...]:
        """Where an address leads, one step of it. Raises Refused (550 5.1.1)."""
        address = self._at_home(origin, address)
        if self._directory.is_local(address):
            found = await always(self._directory.find(address))
            own = (found.account.address,) if found.account is not None else ()
            if found.alias is None and own:
                return own
            if found.alias is not None:
                return (*own, *found.alias.targets) if found.alias.keep else found.alias.targets
        raise Refused(550, "5.1.1", f"{address} is nobody here")

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now()

    def stage(self, envelope: Envelope) -> BodySink:
        """Where the message of this envelope goes while it arrives. A submitted one's header is completed
        on the way; `finish` then fails with Refused (552 5.3.4) when the header has no end."""
        stage = self._store.stage
        kept = BinarySink(stage, self._run) if envelope.binary else stage()
        sink: BodySink = WatchedSink(kept, envelope.header)
        if told_of(envelope):
            sink = KeepingSink(sink, envelope.kept)
        if envelope.origin.submitter is None:
            return sink if self._scrutiny is None else self._scrutiny.watch(envelope, sink, self._now())
        now, hostname = self._now(), self._settings.hostname

        def complete(header: bytes) -> bytes:
            envelope.bcc = bcc(header)
            if self._settings.submission.authors != "off":
                header = self._senders.read_authors(envelope, header)
            return complete_header(without_forged(header, hostname), hostname=hostname, now=now)

        return CompletingSink(sink, complete, self._settings.limits.header_size)

    async def judge(self, envelope: Envelope, body: StagedBody) -> None:
        """Wait for what is asked about a stranger's message that is here whole. Raises Refused."""
        if self._scrutiny is not None:
            await self._scrutiny.judge(envelope, body)

    def accept(self, envelope: Envelope, body: StagedBody) -> Deferred[Accepted]:
        """File and queue it in one transaction, with its trace headers; fires when it is durable.

        Fails with Refused (over quota 452 4.2.2, disk full 452 4.3.1, mail loop 554 5.4.6, another's name in
        From 550 5.7.1, more sent than an account may in a day 450 4.7.1) or StoreFault.
        """
        try:
            self._check_loop(envelope)
        except Refused:
            return fail()
        if envelope.authors:
            checked = Deferred.fromCoroutine(
                self._senders.check_authors(envelope, self._settings.submission.authors)
            )
            accepted: Deferred[Accepted] = checked.addCallback(lambda _: self._keep(envelope, body))
        else:
            accepted = self._keep(envelope, body)
        if told_of(envelope):
            accepted.addCallback(lambda answer: Deferred.fromCoroutine(self._tell_success(envelope, answer)))
        return accepted.addCallback(self._vacations.accepted, envelope)

    def _keep(self, envelope: Envelope, body: StagedBody) -> Deferred[Accepted]:
        limits = self._settings.submission
        submitted = submission(envelope, limits.daily_messages, limits.daily_new_recipients)
        unit = acceptance(envelope, body, self._settings.hostname, self._now(), self._sending_on, submitted)
        outbound = self.outbound
        claim = None if outbound is None or unit.transfer is None else outbound.claim(unit.transfer)
        if outbound is None or claim is None:
            return self._store.commit(unit).addErrback(self._not_kept, envelope, body)
        accepted = self._store.commit(replace(unit, claim=claim))
        accepted.addBoth(_hand_over, outbound, body)
        return accepted.addErrback(self._not_kept, envelope, body)

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

    def _sending_on(self, sender: Address, domain: str) -> tuple[str, str]:
        """The reverse-path of what an alias at `domain` sends on. For a sender of ours this host may send
        already."""
        if self._directory.is_local(sender):
            return str(sender), ""
        made = self._rewriting.rewrite(sender, domain, self._now())
        return str(made.reverse_path), made.return_to

    def _not_kept(self, failure: Failure, envelope: Envelope, body: StagedBody) -> Deferred[Accepted]:
        """Say what the store says in SMTP's words; its other faults are the caller's."""
        match failure.value:
            case OverQuota(account_ids=account_ids):
                left_out = envelope.leave_out(frozenset(account_ids))
                for recipient, route in left_out:
                    self._note_left_out(
                        envelope.origin, recipient.address, route.address, "the mailbox is full"
                    )
                if left_out:
                    return self._keep(envelope, body)
                self._note_full(envelope, account_ids)
                raise Refused(452, "4.2.2", "The mailbox is full", account_ids)
            case SendingLimit(what=what, most=most):
                self._senders.alarm(envelope, what, most)
                text = f"More than {most} {what} in a day are not allowed; try again tomorrow"
                raise Refused(450, "4.7.1", text)
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
        for number, recipient in enumerate(envelope.recipients):
            routes = recipient.without(envelope.header.delivered_to)
            if str(recipient.address).lower() in envelope.header.delivered_to or routes is None:
                text = f"The message was delivered to {recipient.address} before"
                raise Refused(554, "5.4.6", text, tuple(recipient.account_ids))
            if len(routes) < len(recipient.routes):
                envelope.recipients[number] = replace(recipient, routes=routes)

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
        if any(change.kind == "suppression" for change in changes):
            self._suppressed.forget()
        self._vacations.hear(changes)
        if self._full:
            for change in changes:
                self._full.pop(change.account_id, None)

    def serves(self, domain: str) -> bool:
        """Whether it is one of ours."""
        return self._directory.is_local(Address("postmaster", domain))

    async def release(self, message: QueueMessage, recipient: QueueRecipient, body: StagedBody) -> Accept:
        """The unit that files for one of ours what was held for later. Raises Refused as `recipient` does."""
        held = message.transfer
        sender = parse_address(held.reverse_path) if held.reverse_path else None
        origin = Origin(Peer(None), self._settings.hostname, "LOCAL", held.context or "release")
        found = self.recipient(origin, parse_address(recipient.address), sender)
        envelope = Envelope(
            origin,
            sender,
            [await found if isinstance(found, Deferred) else found],
            eightbit=held.eightbit,
            smtputf8=held.smtputf8,
            handling=replace(held.handling, hold_until=0.0),
        )
        return Accept(
            body,
            self._now(),
            filings(envelope, held.prefix),
            transfer(envelope, held.prefix),
            forwards(envelope, held.prefix, self._sending_on),
        )

    def report(self, to: Address, message: bytes) -> Deferred[Accept | None]:
        """The unit that accepts a bounce to one of ours or to somebody elsewhere, from the null sender.

        None when there is nobody to tell any more. Fails with StoreFault.
        """
        return Deferred.fromCoroutine(self._report(to, message))

    async def _report(self, to: Address, message: bytes) -> Accept | None:
        origin = Origin(Peer(None), self._settings.hostname, "LOCAL", "report")
        recipient = await self._reported_to(origin, to)
        if recipient is None:
            return None
        envelope = Envelope(
            origin,
            None,
            [recipient],
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
        return Accept(
            body,
            self._now(),
            filings(envelope, b""),
            transfer(envelope, b""),
            forwards(envelope, b"", self._sending_on),
        )

    async def _reported_to(self, origin: Origin, to: Address) -> Recipient | None:
        """Full mailboxes too hear of what was not delivered."""
        if self._directory.is_local(to) and is_rewritten(to):
            to = await self._restore(to) or to
        if not self._directory.is_local(to):
            if self._capture is None:
                return Recipient(to, None)
            found = await always(self._directory.find(self._capture))
        else:
            found = await always(self._directory.find(to))
        if found.alias is None:
            account = found.account
            return None if account is None or account.disabled else Recipient(to, account.id)
        expansion = Expansion(
            self._directory.find, self._directory.is_local, _check_enabled, lambda alias: None
        )
        await expansion.follow(to, found)
        routes = tuple(expansion.routes.values())
        return Recipient(to, None, routes=routes) if routes else None


def _check_enabled(address: Address, account: Account) -> None:
    if account.disabled:
        raise Refused(550, "5.2.1", f"{address} takes no mail at present")


def _hand_over(answer: Accepted | Failure, outbound: Outbound, body: StagedBody) -> Accepted | Failure:
    outbound.claimed(answer.claimed if isinstance(answer, Accepted) else None, body)
    return answer


def _capture_address(capture: str | None) -> Address | None:
    if capture is None:
        return None
    try:
        return parse_address(capture)
    except AddressFault as fault:
        raise ValueError(f"delivery.capture: {fault}") from fault
