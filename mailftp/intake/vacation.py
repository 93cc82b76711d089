"""Answers to mail for somebody who is away: RFC 3834, RFC 8621 section 8.

They go to whoever the envelope names, with a null reverse-path, once in a week to each, and never to a list,
to another machine or to oneself. Nobody waits for them, and one that cannot be sent is only told in the log.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.intake.envelope import Envelope
from mailftp.message.address import Address
from mailftp.message.address_list import Entry, parse_address_list
from mailftp.message.composing import NewPart, body_of, compose
from mailftp.message.dates import format_date
from mailftp.message.fields import get, iter_fields, value
from mailftp.message.header_writing import FieldFault, addresses_field, message_ids_field, text_field
from mailftp.message.words import decode_words
from mailftp.store.email_units import SetObjects
from mailftp.store.emails import Objects
from mailftp.store.engine import Store, StoreFault
from mailftp.store.queries import ReadMessages
from mailftp.store.records import Accepted, Change
from mailftp.store.units import Accept
from mailftp.wire.journal import Journal

#: The kinds that the store has the settings by, and whom an account has answered.
SETTINGS, ANSWERED = "VacationResponse", "VacationAnswered"
#: Seconds until the same sender is answered again.
AGAIN = 7 * 86400.0
#: Accounts whose settings are remembered, and senders that are, of all accounts and of each.
_ACCOUNTS, _SENDERS, _OF_EACH = 10_000, 10_000, 1_000

#: Senders that are programs (RFC 3834 section 2).
_PROGRAM = re.compile(
    r"(?i)(?:mailer-daemon|postmaster|listserv|majordomo|mailman|no-?reply|do-?not-?reply|owner-.*|bounces?(?:[-+].*)?"
    r"|.*-(?:request|owner|relay|bounces?))"
)
_ADDRESSED = (b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

#: The unit that sends a message from the null sender; None when there is nobody any more.
Report = Callable[[Address, bytes], Awaitable[Accept | None]]


def is_active(settings: Mapping[str, Any], now: float) -> bool:
    since, until = settings.get("from"), settings.get("to")
    return (
        bool(settings.get("isEnabled")) and (since is None or now >= since) and (until is None or now < until)
    )


def wants_answer(header: bytes, sender: Address, own: Address) -> bool:
    """Whether a person wrote it, to `own` by that name."""
    if sender.key == own.key or _PROGRAM.fullmatch(sender.local):
        return False
    named: set[str] = set()
    for field in iter_fields(header):
        name, text = field.name, value(header, field).strip().lower()
        if name.startswith(b"list-") or name in (b"x-loop", b"feedback-id"):
            return False
        if name == b"auto-submitted" and text.partition(b";")[0].strip() != b"no":
            return False
        if name == b"precedence" and text in (b"bulk", b"junk", b"list"):
            return False
        if name == b"x-auto-response-suppress" and (b"all" in text or b"oof" in text or b"autoreply" in text):
            return False
        if name == b"content-type" and text.startswith(b"multipart/report"):
            return False
        if name in _ADDRESSED:
            named.update(map(_address, parse_address_list(value(header, field))))
    return str(own).lower() in named


def _address(entry: Entry) -> str:
    return (b"%b@%b" % (entry.mailbox or b"", entry.host or b"")).decode("utf-8", "replace").lower()


def make_answer(
    settings: Mapping[str, Any], header: bytes, sender: Address, own: Address, now: float, hostname: str
) -> bytes:
    """RFC 3834 section 3."""
    subject = settings.get("subject")
    if not subject:
        subject = "Auto: " + _CONTROL.sub(" ", decode_words(get(header, "Subject") or b"")).strip()
    fields = [
        addresses_field("From", [(None, [(None, str(own))])]),
        addresses_field("To", [(None, [(None, str(sender))])]),
        text_field("Subject", _CONTROL.sub(" ", subject)[:1000]),
        f"Date: {format_date(now)}\r\n".encode(),
        f"Message-ID: <{secrets.token_hex(16)}@{hostname}>\r\n".encode(),
        b"Auto-Submitted: auto-replied\r\n",
        b"X-Auto-Response-Suppress: All\r\n",
    ]
    answered = (get(header, "Message-ID") or b"").decode("latin-1").strip().strip("<>")
    try:
        fields += [message_ids_field(name, [answered]) for name in ("In-Reply-To", "References")]
    except FieldFault:
        # A thread that cannot be named is none.
        pass
    text, html = settings.get("textBody"), settings.get("htmlBody")
    if not text and not html:
        text = "I am away and will read your message when I am back.\n"
    body = body_of(
        NewPart("text/plain", text) if text else None, NewPart("text/html", html) if html else None, []
    )
    return b"".join(compose(b"".join(fields), body, lambda: f"={secrets.token_hex(16)}="))


class Vacations:
    """`report` is Intake's."""

    def __init__(self, store: Store, hostname: str, now: Callable[[], float], report: Report) -> None:
        self._store, self._hostname, self._now, self._report = store, hostname, now, report
        #: Account -> its settings, None where it has none: what nearly every message finds.
        self._known: OrderedDict[int, Mapping[str, Any] | None] = OrderedDict()
        #: Account and sender -> when they were answered.
        self._answered: OrderedDict[tuple[int, str], float] = OrderedDict()

    def hear(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.kind == "object" and SETTINGS in change.entries or change.kind == "account":
                self._known.pop(change.account_id, None)
                for key in [key for key in self._answered if key[0] == change.account_id]:
                    # Other words are news to those who had the old ones.
                    del self._answered[key]

    def accepted(self, accepted: Accepted, envelope: Envelope) -> Accepted:
        """A message was filed; its answers, if any, go out by themselves."""
        if envelope.sender is None or envelope.mailbox != "INBOX":
            return accepted
        for recipient in envelope.recipients:
            accounts = [recipient.account_id] if recipient.resident else []
            accounts += [route.account_id for route in recipient.routes if route.list is None]
            for account_id in accounts:
                if account_id is not None and self._may_be_away(account_id):
                    Deferred.fromCoroutine(self._try(account_id, recipient.address, envelope, accepted))
        return accepted

    def _may_be_away(self, account_id: int) -> bool:
        return account_id not in self._known or self._known[account_id] is not None

    async def _try(self, account_id: int, own: Address, envelope: Envelope, accepted: Accepted) -> None:
        journal = Journal(envelope.origin.context)
        try:
            await self._answer(account_id, own, envelope, accepted)
        except StoreFault as fault:
            journal.warn("answer_not_sent", id=envelope.id, reason=str(fault))
        except Exception:
            journal.fault("answer_not_sent", id=envelope.id)

    async def _answer(self, account_id: int, own: Address, envelope: Envelope, accepted: Accepted) -> None:
        settings = await self._settings(account_id)
        sender, now = envelope.sender, self._now()
        if settings is None or sender is None or not is_active(settings, now):
            return
        place = next((each for each in accepted.filed if each[0] == account_id), None)
        if place is None:
            return
        found = await self._store.read(ReadMessages(account_id, place[1], (place[2],), header_only=True))
        if found is None or not found.texts or not wants_answer(found.texts[0], sender, own):
            return
        if not await self._is_first(account_id, sender.key, now):
            return
        message = make_answer(settings, found.texts[0], sender, own, now, self._hostname)
        unit = await self._report(sender, message)
        if unit is not None:
            await self._store.commit(unit)

    async def _settings(self, account_id: int) -> Mapping[str, Any] | None:
        if account_id not in self._known:
            found = await self._store.read(Objects(account_id, SETTINGS))
            values = [json.loads(text) for text in found.objects.values()]
            kept = values[0] if values and values[0].get("isEnabled") else None
            self._known[account_id] = kept
            if len(self._known) > _ACCOUNTS:
                self._known.popitem(last=False)
        return self._known[account_id]

    async def _is_first(self, account_id: int, sender: str, now: float) -> bool:
        """Whether this sender is to be answered; noted at once, so that two messages get one answer."""
        key = (account_id, sender)
        if now < self._answered.get(key, -AGAIN) + AGAIN:
            return False
        self._answered[key] = now
        if len(self._answered) > _SENDERS:
            self._answered.popitem(last=False)
        found = await self._store.read(Objects(account_id, ANSWERED))
        number = max(found.objects, default=0)
        known = json.loads(found.objects[number]) if number else {}
        recent = {name: at for name, at in known.items() if now < at + AGAIN}
        if sender in recent:
            return False
        recent[sender] = now
        text = json.dumps(dict(list(recent.items())[-_OF_EACH:]))
        unit = (
            SetObjects(account_id, ANSWERED, update=((number, text),))
            if number
            else SetObjects(account_id, ANSWERED, (text,))
        )
        await self._store.commit(unit)
        return True
