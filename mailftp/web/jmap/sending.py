"""A message that an EmailSubmission names, given to mailftp.intake: RFC 8621 section 7.5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.intake.intake import Envelope, Intake, Recipient, Refused
from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.message.fields import header_end
from mailftp.store.emails import Email, EmailsById
from mailftp.store.engine import MissingBody, StoreFault
from mailftp.store.queries import ReadStart
from mailftp.store.records import Handling
from mailftp.web.jmap.arguments import Arguments, parse_utc_date, utc_date
from mailftp.web.jmap.blobs import Blob, blob_pieces
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import SetError
from mailftp.web.jmap.headers import as_addresses, fields_of
from mailftp.web.jmap.identities import origin_of
from mailftp.web.jmap.ids import EMAIL, THREAD, number_of, spell

#: Seconds that a message is held at most (RFC 4865), as in SMTP.
HOLD = 60 * 86400
#: Octets of a header that are looked at.
_HEADER = 256 * 1024
_SECONDS = re.compile(r"[0-9]{1,9}")
_NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})


@dataclass(slots=True)
class _Mail:
    """An Envelope as the client gave it, or as the message says it."""

    sender: str
    parameters: Mapping[str, Any]
    #: Address and parameters.
    recipients: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)


async def send(
    context: Context, given: Mapping[str, Any], identities: Mapping[int, Mapping[str, Any]]
) -> dict[str, Any]:
    """What is kept of it. Raises SetError."""
    intake = context.ground.intake
    assert intake is not None, "the capability is offered with an intake alone"
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the submission")
    identity = _identity(context, values.string("identityId"), identities)
    email = await _email(context, values.string("emailId"))
    envelope = values.mapping("envelope", None, nullable=True)
    values.done()
    limits = context.ground.settings.limits
    if email.size > limits.message_size:
        raise SetError("tooLarge", "the message is too large", maxSize=limits.message_size)
    header = await _header(context, email)
    authors = _addresses(header, b"from")
    if len(authors) != 1:
        words = "a message that is sent has one author, or a Sender"
        if not authors or len(_addresses(header, b"sender")) != 1:
            raise SetError("invalidEmail", words, properties=["from"])
    mail = _from_header(header, identity) if envelope is None else _from_client(envelope)
    if not mail.recipients:
        raise SetError("noRecipients", "nobody is named in To, Cc and Bcc")
    if len(mail.recipients) > limits.recipients:
        raise SetError("tooManyRecipients", "", maxRecipients=limits.recipients)
    now = context.ground.now()
    made = await _envelope(context, intake, mail, now)
    made.smtputf8 = not header.isascii() or not all(address.isascii() for address, _ in mail.recipients)
    queued = await _accept(context, intake, made, email)
    held = made.handling.hold_until
    return {
        "identityId": spell("I", identity[0]),
        "emailId": spell(EMAIL, email.id),
        "threadId": spell(THREAD, email.thread_id),
        "envelope": _told(mail),
        "sendAt": utc_date(held or now),
        "undoStatus": "pending" if held and queued else "final",
        "queued": queued or 0,
        "recipients": [address for address, _ in mail.recipients],
        "filed": [str(each.address) for each in made.recipients if each.account_id is not None and not held],
    }


def _identity(
    context: Context, given: str, identities: Mapping[int, Mapping[str, Any]]
) -> tuple[int, Mapping[str, Any]]:
    name = context.resolved(given)
    number = number_of("I", name) if name is not None else None
    if number is None or number not in identities:
        raise SetError("invalidProperties", "there is no such identity", properties=["identityId"])
    return number, identities[number]


async def _email(context: Context, given: str) -> Email:
    name = context.resolved(given)
    number = number_of(EMAIL, name) if name is not None else None
    if number is not None:
        found = await context.store.read(EmailsById(context.account.id, (number,)))
        if found.emails:
            return found.emails[0]
    raise SetError("invalidProperties", "there is no such Email", properties=["emailId"])


async def _header(context: Context, email: Email) -> bytes:
    try:
        start = await context.store.read(ReadStart(email.body, _HEADER))
    except MissingBody:
        raise SetError("invalidProperties", "the Email is gone", properties=["emailId"]) from None
    return start[: header_end(start)]


def _addresses(header: bytes, name: bytes) -> list[str]:
    found = [each.value for each in fields_of(header) if each.key == name]
    return [str(each["email"]) for value in found for each in as_addresses(value)]


def _from_header(header: bytes, identity: tuple[int, Mapping[str, Any]]) -> _Mail:
    """RFC 8621 section 7: where the envelope is not given."""
    sender = (_addresses(header, b"sender") or _addresses(header, b"from"))[-1]
    own = str(identity[1]["email"])
    domain = own.removeprefix("*") if own.startswith("*@") else None
    if sender.lower() != own.lower() and not (domain and sender.lower().endswith(domain.lower())):
        sender = own
    names: dict[str, None] = {}
    for name in (b"to", b"cc", b"bcc"):
        names.update(dict.fromkeys(_addresses(header, name)))
    return _Mail(sender, {}, [(each, {}) for each in names])


def _from_client(envelope: Mapping[str, Any]) -> _Mail:
    """Raises SetError."""

    def wrong(text: str) -> SetError:
        return SetError("invalidProperties", text, properties=["envelope"])

    values = Arguments(envelope, wrong, "the envelope")
    sender, parameters = _address(values.take("mailFrom"), wrong)
    recipients: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for each in values.objects("rcptTo"):
        address, given = _address(each, wrong)
        recipients.setdefault(address, (address, given))
    values.done()
    return _Mail(sender, parameters, list(recipients.values()))


def _address(given: Any, wrong: Any) -> tuple[str, Mapping[str, Any]]:
    values = Arguments(given, wrong, "the address")
    email = values.string("email")
    parameters = values.mapping("parameters", None, nullable=True) or {}
    values.done()
    if not all(value is None or isinstance(value, str) for value in parameters.values()):
        raise wrong("a parameter is a String or null")
    return email, {str(name).upper(): value for name, value in parameters.items()}


async def _envelope(context: Context, intake: Intake, mail: _Mail, now: float) -> Envelope:
    """Raises SetError."""
    origin = origin_of(context)
    sender: Address | None = None
    try:
        if mail.sender:
            sender = parse_address(mail.sender)
        waiting = intake.sender(origin, sender)
        if isinstance(waiting, Deferred):
            await waiting
    except AddressFault as fault:
        raise SetError("forbiddenMailFrom", str(fault)) from None
    except Refused as refused:
        raise SetError("forbiddenMailFrom", refused.text) from None
    made = Envelope(origin, sender, handling=_handling(mail.parameters, now))
    made.ret, made.envid = _report(mail.parameters)
    wrong: dict[str, str] = {}
    for email, parameters in mail.recipients:
        try:
            found = intake.recipient(origin, parse_address(email), sender)
            recipient: Recipient = await found if isinstance(found, Deferred) else found
            made.recipients.append(_with_report(recipient, parameters))
        except AddressFault as fault:
            wrong[email] = str(fault)
        except Refused as refused:
            wrong[email] = refused.text
    if wrong:
        words = "; ".join(dict.fromkeys(wrong.values()))
        raise SetError("invalidRecipients", words[:1000], invalidRecipients=list(wrong))
    return made


def _bad_parameter(name: str) -> SetError:
    return SetError("invalidProperties", f"no parameter {name[:50]} so", properties=["envelope"])


def _handling(parameters: Mapping[str, Any], now: float) -> Handling:
    """RFC 4865. Raises SetError for what is not known: it would be lost."""
    hold = 0.0
    for name, value in parameters.items():
        if name == "HOLDFOR" and _SECONDS.fullmatch(value or ""):
            hold = now + int(value)
        elif name == "HOLDUNTIL" and (until := parse_utc_date(value or "")) is not None:
            hold = until
        elif name not in ("RET", "ENVID", "SIZE", "BODY", "SMTPUTF8"):
            raise _bad_parameter(name)
    if hold > now + HOLD:
        raise SetError(
            "invalidProperties", f"a message is held for {HOLD} seconds at most", properties=["envelope"]
        )
    return Handling(hold_until=hold if hold > now else 0.0)


def _report(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """RET and ENVID (RFC 3461). Raises SetError."""
    ret = str(parameters.get("RET") or "").upper()
    envid = str(parameters.get("ENVID") or "")
    if ret not in ("", "FULL", "HDRS"):
        raise _bad_parameter("RET")
    if len(envid) > 100 or not envid.isascii() or not envid.isprintable():
        raise _bad_parameter("ENVID")
    return ret, envid


def _with_report(recipient: Recipient, parameters: Mapping[str, Any]) -> Recipient:
    """NOTIFY and ORCPT (RFC 3461). Raises SetError."""
    notify: frozenset[str] = frozenset()
    orcpt = ""
    for name, value in parameters.items():
        if name == "NOTIFY":
            notify = frozenset(str(value or "").upper().split(","))
            if not notify <= _NOTIFY or "NEVER" in notify and len(notify) > 1:
                raise _bad_parameter(name)
        elif name == "ORCPT":
            orcpt = str(value or "")
            if ";" not in orcpt or len(orcpt) > 500 or not orcpt.isprintable():
                raise _bad_parameter(name)
        else:
            raise _bad_parameter(name)
    return replace(recipient, notify=notify, orcpt=orcpt)


async def _accept(context: Context, intake: Intake, envelope: Envelope, email: Email) -> int | None:
    """The queue's id, or None when nothing is queued. Raises SetError."""
    sink = intake.stage(envelope)
    try:
        # Without the trace of how it came here.
        async for piece in blob_pieces(context.ground, Blob("", email.body)):
            envelope.eightbit = envelope.eightbit or not piece.isascii()
            wait = sink.write(piece)
            if wait is not None:
                await wait
        body = await sink.finish()
        accepted = await intake.accept(envelope, body)
    except Refused as refused:
        sink.abort()
        raise _refused(refused) from None
    except StoreFault as fault:
        sink.abort()
        context.journal.warn("method failed", method="EmailSubmission/set", reason=str(fault))
        raise SetError("serverFail", str(fault)) from None
    except BaseException:
        sink.abort()
        raise
    return accepted.queued


def _refused(refused: Refused) -> SetError:
    if refused.status == "5.7.1":
        return SetError("forbiddenFrom", refused.text)
    if refused.status in ("5.3.4", "5.4.6"):
        return SetError("invalidEmail", refused.text, properties=[])
    return SetError("forbiddenToSend", refused.text)


def _told(mail: _Mail) -> Mapping[str, Any]:
    def one(email: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"email": email, "parameters": dict(parameters) or None}

    recipients: Sequence[tuple[str, Mapping[str, Any]]] = mail.recipients
    return {"mailFrom": one(mail.sender, mail.parameters), "rcptTo": [one(*each) for each in recipients]}
