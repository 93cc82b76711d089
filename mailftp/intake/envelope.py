"""An envelope as it is put together, and the unit and the trace fields that it becomes.

Trace fields stand in a prefix beside the shared body: Received in every copy, Return-Path and Delivered-To
in the copies that are filed, which is final delivery (RFC 5321 section 4.4).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from mailftp.accounts.avatars import ISubmitter
from mailftp.intake.header import HeaderWatch
from mailftp.message import trace
from mailftp.message.address import Address
from mailftp.origin.inspection import Inspection
from mailftp.store.records import Filing, ForwardPath, StagedBody, Transfer
from mailftp.store.units import Accept
from mailftp.wire.peer import Peer


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


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient that was accepted at RCPT: an account here, or somebody elsewhere."""

    address: Address
    account_id: int | None
    orcpt: str = ""
    notify: frozenset[str] = frozenset()
    #: Lives here; `account_id` alone may also be that of the mailbox that captures what is for elsewhere.
    resident: bool = False
    #: A hook took it: it is neither filed nor queued.
    application: bool = False


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
    #: Names the message in its Received field and in the log.
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    #: What its header told; `Intake.stage` feeds it.
    header: HeaderWatch = field(default_factory=HeaderWatch)
    #: The beginning of the message, where a report will need it; filled like `header`.
    kept: bytearray = field(default_factory=bytearray)
    #: The checks of a stranger's message; `Intake.stage` begins them, `Intake.judge` ends them.
    inspection: Inspection | None = None
    #: What they found: the Authentication-Results field, and for the log.
    results: bytes = b""
    checks: str = ""
    #: Where the copies are filed.
    mailbox: str = "INBOX"

    @property
    def reverse_path(self) -> str:
        return str(self.sender) if self.sender else ""


def acceptance(envelope: Envelope, body: StagedBody, hostname: str, now: float) -> Accept:
    """Filings and transfer of one message, to be committed together."""
    received = envelope.results + received_field(envelope, hostname, now)
    return Accept(body, now, filings(envelope, received), transfer(envelope, received))


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
    owners: dict[int, dict[str, None]] = {}
    for recipient in envelope.recipients:
        if recipient.account_id is not None:
            owners.setdefault(recipient.account_id, {})[str(recipient.address)] = None
    if not owners:
        return ()
    above = trace.return_path(envelope.reverse_path)
    return tuple(
        Filing(
            account_id,
            envelope.mailbox,
            prefix=b"".join([above, *map(trace.delivered_to, addresses), received]),
        )
        for account_id, addresses in owners.items()
    )


def transfer(envelope: Envelope, received: bytes) -> Transfer | None:
    """What leaves the house; None when nothing does."""
    paths = {
        str(r.address): ForwardPath(str(r.address), r.orcpt, r.notify)
        for r in envelope.recipients
        if r.account_id is None and not r.application
    }
    if not paths:
        return None
    submitter = envelope.origin.submitter
    return Transfer(
        reverse_path=envelope.reverse_path,
        recipients=tuple(paths.values()),
        prefix=received,
        account_id=submitter.account_id if submitter else None,
        ret=envelope.ret,
        envid=envelope.envid,
        eightbit=envelope.eightbit,
        smtputf8=envelope.smtputf8,
        context=envelope.origin.context,
    )


def _literal(peer: Peer) -> str:
    """The client as an address literal (RFC 5321 section 4.1.3)."""
    if peer.address is None:
        return "local"
    return f"[IPv6:{peer.address}]" if peer.address.version == 6 else f"[{peer.address}]"
