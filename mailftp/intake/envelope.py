"""An envelope as it is put together, and the unit and the trace fields that it becomes.

Trace fields stand in a prefix beside the shared body: Received in every copy, Return-Path and Delivered-To
in the copies that are filed, which is final delivery (RFC 5321 section 4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from mailftp.accounts.avatars import ISubmitter
from mailftp.intake.expansion import Route
from mailftp.intake.header import HeaderWatch
from mailftp.intake.structure import PartsWatch
from mailftp.message import trace
from mailftp.message.address import Address
from mailftp.origin.inspection import Inspection
from mailftp.store.records import Alias, Filing, ForwardPath, Handling, StagedBody, Transfer
from mailftp.store.units import Accept, Submission
from mailftp.wire.peer import Peer
from mailftp.wire.tokens import Tokens

_new_id = Tokens(8)

#: The reverse-path for what an alias at a domain of ours sends on, and its `Transfer.return_to`.
SendingOn = Callable[[Address, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Origin:
    """By whom and how a message came: what the Received field and the log say (RFC 5321 section 4.4)."""

    peer: Peer
    #: What HELO or EHLO said.
    helo: str
    #: "SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", "LMTP", "HTTP" (RFC 3848), "UTF8SMTP"
    #: and its like (RFC 6531 section 4.3).
    with_protocol: str
    context: str
    submitter: ISubmitter | None = None
    #: "TLSv1.3 TLS_AES_256_GCM_SHA384", or "".
    tls: str = ""
    #: Our end of the connection.
    local: Peer = Peer(None)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient that was accepted at RCPT: an account here, somebody elsewhere, or an alias."""

    address: Address
    #: None for an alias too.
    account_id: int | None
    orcpt: str = ""
    notify: frozenset[str] = frozenset()
    #: Lives here; `account_id` alone may also be that of the mailbox that captures what is for elsewhere.
    resident: bool = False
    #: A hook took it: it is neither filed nor queued.
    application: bool = False
    #: Where an alias leads.
    routes: tuple[Route, ...] = ()

    @property
    def account_ids(self) -> frozenset[int]:
        """Accounts that get a copy because of it."""
        if self.account_id is not None:
            return frozenset((self.account_id,))
        return frozenset(route.account_id for route in self.routes if route.account_id is not None)

    def without(self, delivered_to: Collection[str]) -> tuple[Route, ...] | None:
        """The routes by which the message has not come already; None when there were some and none is
        left."""
        left = tuple(route for route in self.routes if not _been(route, delivered_to))
        return left if left or not self.routes else None

    @property
    def leaves(self) -> bool:
        """Whether it alone is what leaves the house, under the sender's own reverse-path."""
        return self.account_id is None and not self.application and not self.routes


@dataclass(slots=True)
class Envelope:
    origin: Origin
    #: None is the null reverse-path.
    sender: Address | None
    recipients: list[Recipient] = field(default_factory=list)
    eightbit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    handling: Handling = Handling()
    #: BINARYMIME: it is made a message of lines before it is kept.
    binary: bool = False
    #: Names the message in its Received field and in the log.
    id: str = field(default_factory=_new_id)
    #: What its header told; `Intake.stage` feeds it.
    header: HeaderWatch = field(default_factory=HeaderWatch)
    #: Of a submitted message: whom it says it is from, and the Bcc that was taken out of it.
    authors: tuple[Address, ...] = ()
    bcc: bytes = b""
    #: The Sender field that is added to it, or b"".
    sender_field: bytes = b""
    #: The beginning of the message, where a report will need it; filled like `header`.
    kept: bytearray = field(default_factory=bytearray)
    #: What is looked at in a message that nobody submitted; `Intake.stage` begins, `Intake.judge` ends it.
    inspection: Inspection | None = None
    parts: PartsWatch | None = None
    #: What they found: the Authentication-Results field, and for the log.
    results: bytes = b""
    checks: str = ""
    #: Where the copies are filed.
    mailbox: str = "INBOX"
    #: Nobody is told that it was accepted; see mailftp.intake.faults.
    hang_up: bool = False

    def leave_out(self, account_ids: frozenset[int]) -> list[tuple[Recipient, Route]]:
        """Take these accounts from behind the aliases, which others then still get the message by; nothing is
        taken, and nothing answered, where that cannot be done for each."""
        left_out: list[tuple[Recipient, Route]] = []
        recipients = []
        for recipient in self.recipients:
            full = [route for route in recipient.routes if route.account_id in account_ids]
            if recipient.account_id in account_ids or (full and len(full) == len(recipient.routes)):
                return []
            left_out += [(recipient, route) for route in full]
            routes = tuple(route for route in recipient.routes if route not in full)
            recipients.append(replace(recipient, routes=routes) if full else recipient)
        self.recipients[:] = recipients
        return left_out

    @property
    def reverse_path(self) -> str:
        return str(self.sender) if self.sender else ""


def submission(envelope: Envelope, daily_messages: int, daily_new_recipients: int) -> Submission | None:
    """What an account of the store is held to; None for anybody else."""
    submitter = envelope.origin.submitter
    if submitter is None or submitter.account_id is None:
        return None
    elsewhere = dict.fromkeys(recipient.address.key for recipient in envelope.recipients if recipient.leaves)
    return Submission(
        submitter.account_id, tuple(elsewhere), daily_messages, daily_new_recipients, envelope.bcc
    )


def _been(route: Route, delivered_to: Collection[str]) -> bool:
    here = (*route.via, route.address) if route.account_id is not None else route.via
    return any(str(address).lower() in delivered_to for address in here)


def acceptance(
    envelope: Envelope,
    body: StagedBody,
    hostname: str,
    now: float,
    sending: SendingOn,
    submitted: Submission | None = None,
) -> Accept:
    """Filings and transfers of one message, to be committed together."""
    received = envelope.results + received_field(envelope, hostname, now) + envelope.sender_field
    return Accept(
        body,
        now,
        filings(envelope, received),
        transfer(envelope, received),
        forwards(envelope, received, sending),
        submitted,
    )


def received_field(envelope: Envelope, hostname: str, now: float) -> bytes:
    origin = envelope.origin
    # With more than one recipient, "for" would tell one of them of another (RFC 5321 section 7.2).
    single = envelope.recipients[0] if len(envelope.recipients) == 1 else None
    return trace.received(
        from_helo=origin.helo,
        peer=_literal(origin.peer),
        by=hostname,
        with_protocol=origin.with_protocol,
        id=envelope.id,
        for_=str(single.address) if single else "",
        tls=origin.tls,
        when=now,
    )


def filings(envelope: Envelope, received: bytes) -> tuple[Filing, ...]:
    """One copy for each account, whatever number of its addresses was named."""
    if envelope.handling.hold_until:
        return ()
    owners: dict[int, dict[bytes, None]] = {}
    for recipient in envelope.recipients:
        if recipient.account_id is not None:
            owners.setdefault(recipient.account_id, {})[trace.delivered_to(str(recipient.address))] = None
        for route in recipient.routes:
            if route.account_id is not None:
                owners.setdefault(route.account_id, {}).update(_way(route, (*route.via, route.address)))
    if not owners:
        return ()
    above = trace.return_path(envelope.reverse_path)
    return tuple(
        Filing(account_id, envelope.mailbox, prefix=b"".join([above, *fields, received]))
        for account_id, fields in owners.items()
    )


def _way(route: Route, addresses: tuple[Address, ...]) -> dict[bytes, None]:
    """Header fields of the aliases that a copy came by, the last above, as every server on its way puts its
    own on top; those of a list below them."""
    fields = dict.fromkeys(trace.delivered_to(str(address)) for address in reversed(addresses))
    if route.list is not None:
        fields[trace.list_fields(route.list.address, route.list.owner)] = None
    return fields


def transfer(envelope: Envelope, received: bytes) -> Transfer | None:
    """What leaves the house under the sender's reverse-path; None when nothing does. What is held is looked
    at again when it is released, whoever it is for."""
    held = envelope.handling.hold_until
    paths = {
        str(r.address): ForwardPath(str(r.address), r.orcpt, r.notify)
        for r in envelope.recipients
        if r.leaves or (held and not r.application)
    }
    if not paths:
        return None
    return _transfer(envelope, envelope.reverse_path, tuple(paths.values()), received)


def _transfer(
    envelope: Envelope, reverse_path: str, paths: tuple[ForwardPath, ...], prefix: bytes, return_to: str = ""
) -> Transfer:
    submitter = envelope.origin.submitter
    # An alias can lead to an address that the client did not need SMTPUTF8 for (RFC 6531 section 3.6).
    utf8 = not reverse_path.isascii() or any(not path.address.isascii() for path in paths)
    return Transfer(
        reverse_path=reverse_path,
        recipients=paths,
        prefix=prefix,
        account_id=submitter.account_id if submitter else None,
        ret=envelope.ret,
        envid=envelope.envid,
        eightbit=envelope.eightbit,
        smtputf8=envelope.smtputf8 or utf8,
        context=envelope.origin.context,
        return_to=return_to,
        handling=envelope.handling,
    )


def forwards(envelope: Envelope, received: bytes, sending: SendingOn) -> tuple[Transfer, ...]:
    """What aliases send on, one for each way by which it goes: the trace fields of one are not the other's,
    nor are the reports."""
    if envelope.handling.hold_until:
        return ()
    named = {str(r.address) for r in envelope.recipients if r.leaves}
    ways: dict[tuple[tuple[Address, ...], Alias | None], dict[str, ForwardPath]] = {}
    for recipient in envelope.recipients:
        for route in recipient.routes:
            address = str(route.address)
            if route.account_id is None and address not in named:
                named.add(address)
                path = ForwardPath(address, recipient.orcpt, _notify(recipient, route))
                ways.setdefault((route.via, route.list), {})[address] = path
    return tuple(
        _forward(envelope, received, via, alias, tuple(paths.values()), sending)
        for (via, alias), paths in ways.items()
    )


def _forward(
    envelope: Envelope,
    received: bytes,
    via: tuple[Address, ...],
    alias: Alias | None,
    paths: tuple[ForwardPath, ...],
    sending: SendingOn,
) -> Transfer:
    if not via:
        # A report that goes back to the sender of what was sent on: nothing is put in its place.
        return _transfer(envelope, envelope.reverse_path, paths, received)
    reverse_path, return_to = envelope.reverse_path, ""
    if alias is not None:
        # RFC 5321 section 3.9.2.
        reverse_path = alias.owner
    elif envelope.sender is not None:
        reverse_path, return_to = sending(envelope.sender, via[-1].domain)
    fields = _way(Route(via[-1], None, via, alias), via)
    return _transfer(envelope, reverse_path, paths, b"".join([*fields, received]), return_to)


def _notify(recipient: Recipient, route: Route) -> frozenset[str]:
    """RFC 3461 section 5.2.7. A list's reports go to its owner, who asked for none but failures; behind an
    alias to several nobody reports a success for all of them but this server."""
    if route.list is not None:
        return frozenset({"FAILURE"})
    if len(recipient.routes) == 1 or "SUCCESS" not in recipient.notify:
        return recipient.notify
    return recipient.notify - {"SUCCESS"} or frozenset({"NEVER"})


def _literal(peer: Peer) -> str:
    """The client as an address literal (RFC 5321 section 4.1.3)."""
    return peer.literal or "local"
