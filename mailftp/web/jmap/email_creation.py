"""The Email object that a client creates, as a message: RFC 8621 sections 4.1.2 and 4.6."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailftp.message.composing import NewPart, body_of, compose
from mailftp.message.dates import format_date
from mailftp.message.header_writing import (
    FieldFault,
    addresses_field,
    check_name,
    message_ids_field,
    raw_field,
    text_field,
    urls_field,
)
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.blobs import find_blob, read_blob
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_patches import flags_in, mailboxes_in
from mailftp.web.jmap.faults import SetError
from mailftp.web.jmap.mail import ATTACHMENTS

#: Property -> field and form (section 4.1.3).
_CONVENIENT = {
    "messageId": ("Message-ID", "MessageIds"),
    "inReplyTo": ("In-Reply-To", "MessageIds"),
    "references": ("References", "MessageIds"),
    "sender": ("Sender", "Addresses"),
    "from": ("From", "Addresses"),
    "to": ("To", "Addresses"),
    "cc": ("Cc", "Addresses"),
    "bcc": ("Bcc", "Addresses"),
    "replyTo": ("Reply-To", "Addresses"),
    "subject": ("Subject", "Text"),
    "sentAt": ("Date", "Date"),
}
_ADDRESSES, _IDS, _DATE, _TEXT, _URLS = (
    frozenset({"Addresses", "GroupedAddresses"}),
    frozenset({"MessageIds"}),
    frozenset({"Date"}),
    frozenset({"Text"}),
    frozenset({"URLs"}),
)
#: Forms of the fields that RFC 5322 and RFC 2369 define; any other field may have each (section 4.1.2).
_FORMS = {
    **dict.fromkeys(("from", "sender", "reply-to", "to", "cc", "bcc"), _ADDRESSES),
    **dict.fromkeys(("resent-from", "resent-sender", "resent-to", "resent-cc", "resent-bcc"), _ADDRESSES),
    **dict.fromkeys(("message-id", "in-reply-to", "references", "resent-message-id"), _IDS),
    **dict.fromkeys(("date", "resent-date"), _DATE),
    **dict.fromkeys(("subject", "comments", "keywords", "list-id"), _TEXT),
    **dict.fromkeys(
        ("list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive"), _URLS
    ),
}
_ALL_FORMS = _ADDRESSES | _IDS | _DATE | _TEXT | _URLS
_HEADER = re.compile(r"header:([!-9;-~]+)((?::as[A-Za-z]+)?)((?::all)?)")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
#: Fields of one message.
_FIELDS_LIMIT = 1_000


def invalid(words: str, *properties: str) -> SetError:
    return SetError("invalidProperties", words, properties=list(properties))


@dataclass(slots=True)
class Composition:
    fields: bytes
    body: NewPart
    mailbox_ids: frozenset[int]
    flags: frozenset[str]
    received: float

    def pieces(self) -> Iterator[bytes]:
        return compose(self.fields, self.body, lambda: f"={secrets.token_hex(16)}=")


@dataclass(slots=True)
class _Given:
    """What a part may name."""

    context: Context
    values: Mapping[str, Any]
    octets: int = 0
    missing: list[str] = field(default_factory=list)


async def compose_email(context: Context, given: Mapping[str, Any]) -> Composition:
    """Raises SetError."""
    values = Arguments(given, lambda text: invalid(text), "the Email")
    mailbox_ids = mailboxes_in(context, values.take("mailboxIds", {}))
    flags = flags_in(values.take("keywords", None) or {})
    now = context.ground.now()
    received = values.utc_date("receivedAt", now)
    body_values = _body_values(values.take("bodyValues", {}))
    texts = {
        name: values.take(name, None) for name in ("bodyStructure", "textBody", "htmlBody", "attachments")
    }
    written = _Given(context, body_values)
    try:
        fields, names = _fields(values.rest(), top=True)
        body = await _body(texts, written)
        own = _names_in(body.fields)
        if names & own:
            raise invalid("a field is there twice", *sorted(names & own))
    except FieldFault as fault:
        raise invalid(str(fault)) from None
    if written.missing:
        raise SetError("blobNotFound", "", notFound=written.missing)
    if "date" not in names:
        fields += f"Date: {format_date(now)}\r\n".encode()
    if "message-id" not in names:
        hostname = context.ground.settings.hostname
        fields += f"Message-ID: <{secrets.token_hex(16)}@{hostname}>\r\n".encode()
    made = Composition(fields, body, mailbox_ids, flags, received)
    try:
        # Everything is looked at before anything is made.
        for piece in compose(fields, _empty(body), lambda: "x"):
            assert piece is not None
    except FieldFault as fault:
        raise invalid(str(fault)) from None
    return made


def _empty(part: NewPart) -> NewPart:
    """The same without content, to look at its fields."""
    return NewPart(
        part.type,
        "",
        [_empty(each) for each in part.parts],
        part.charset,
        part.name,
        part.disposition,
        part.cid,
        part.language,
        part.location,
        part.fields,
    )


def _names_in(fields: bytes) -> set[str]:
    return {
        line.partition(b":")[0].decode().lower()
        for line in fields.split(b"\r\n")
        if line and not line.startswith(b" ")
    }


# The header.


def _fields(given: Mapping[str, Any], *, top: bool) -> tuple[bytes, set[str]]:
    """Fields ready, and their names in lower case. Raises SetError, FieldFault."""
    made, names = b"", set()
    if len(given) > _FIELDS_LIMIT:
        raise invalid(f"a message has at most {_FIELDS_LIMIT} fields")
    for name, value in given.items():
        field_name, form, several = _named(name, top)
        lower = field_name.lower()
        if lower in names:
            raise invalid("two properties stand for one field", name)
        if lower.startswith("content-") and (top or lower == "content-transfer-encoding"):
            raise invalid("that field is made by the server", name)
        if lower == "mime-version":
            raise invalid("that field is made by the server", name)
        names.add(lower)
        if value is None:
            names.discard(lower)
            continue
        if several and not isinstance(value, list):
            raise invalid("a list is wanted", name)
        for each in value if several else [value]:
            try:
                made += _field(field_name, form, each)
            except (FieldFault, TypeError, KeyError, AttributeError, ValueError) as fault:
                words = str(fault) if isinstance(fault, FieldFault) else "the value has not that form"
                raise invalid(words, name) from None
    return made, names


def _named(name: str, top: bool) -> tuple[str, str, bool]:
    """Field, form, and whether there are several. Raises SetError."""
    if top and name in _CONVENIENT:
        return *_CONVENIENT[name], False
    match = _HEADER.fullmatch(name)
    if match is None:
        raise invalid("that cannot be set", name[:200])
    field_name, form = match[1], match[2].removeprefix(":as") or "Raw"
    allowed = _FORMS.get(field_name.lower(), _ALL_FORMS) | {"Raw"}
    if form not in allowed:
        raise invalid("that field has not this form", name[:200])
    return check_name(field_name), form, bool(match[3])


def _field(name: str, form: str, value: Any) -> bytes:
    """Raises FieldFault, and what Python raises for a value of another type."""
    if form == "Raw":
        return raw_field(name, _text(value))
    if form == "Text":
        return text_field(name, _text(value))
    if form == "Date":
        return _date_field(name, _text(value))
    if form in ("MessageIds", "URLs"):
        texts = [_text(each) for each in _list(value)]
        return message_ids_field(name, texts) if form == "MessageIds" else urls_field(name, texts)
    if form == "Addresses":
        return addresses_field(name, [(None, [_address(each) for each in _list(value)])])
    groups = [
        (_optional(each.get("name")), [_address(member) for member in _list(each["addresses"])])
        for each in _list(value)
    ]
    return addresses_field(name, groups)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FieldFault("a String is wanted")
    return value


def _optional(value: Any) -> str | None:
    return None if value is None else _text(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FieldFault("a list is wanted")
    return value


def _address(value: Any) -> tuple[str | None, str]:
    if not isinstance(value, dict) or value.keys() - {"name", "email"}:
        raise FieldFault("an address is an object of name and email")
    return _optional(value.get("name")), _text(value["email"])


def _date_field(name: str, text: str) -> bytes:
    """RFC 8620 section 1.4: with its own zone, which is told."""
    if _DATE_TIME.fullmatch(text) is None:
        raise FieldFault("that is no Date")
    moment = datetime.fromisoformat(text)
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    words = f"{days[moment.weekday()]}, {moment.day} {months[moment.month - 1]} {moment:%Y %H:%M:%S %z}"
    return raw_field(name, words)


# The body.


def _body_values(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise invalid("bodyValues is no object", "bodyValues")
    for value in given.values():
        flags = isinstance(value, dict) and (value.get("isEncodingProblem"), value.get("isTruncated"))
        if not flags or any(flags) or not isinstance(value.get("value"), str):
            raise invalid("a body value is a text, whole and without a problem", "bodyValues")
    return given


async def _body(texts: Mapping[str, Any], given: _Given) -> NewPart:
    """Raises SetError, FieldFault."""
    if texts["bodyStructure"] is not None:
        for name in ("textBody", "htmlBody", "attachments"):
            if texts[name] is not None:
                raise invalid("with bodyStructure there is no other body", "bodyStructure", name)
        return await _part(texts["bodyStructure"], given, "bodyStructure")
    text = await _only(texts, "textBody", "text/plain", given)
    html = await _only(texts, "htmlBody", "text/html", given)
    attached = texts["attachments"] or []
    if not isinstance(attached, list):
        raise invalid("a list is wanted", "attachments")
    return body_of(text, html, [await _part(each, given, "attachments") for each in attached])


async def _only(texts: Mapping[str, Any], name: str, kind: str, given: _Given) -> NewPart | None:
    parts = texts[name]
    if parts is None:
        return None
    if not isinstance(parts, list) or len(parts) != 1:
        raise invalid("there is exactly one part", name)
    part = await _part(parts[0], given, name, kind)
    if part.type != kind:
        raise invalid(f"it is of type {kind}", name)
    return part


async def _part(value: Any, given: _Given, where: str, usual: str = "text/plain", depth: int = 0) -> NewPart:
    """Raises SetError, FieldFault."""
    if not isinstance(value, dict) or depth > 20:
        raise invalid("a part is an object", where)
    left = Arguments(value, lambda text: invalid(text, where), "the part")
    part_id = left.string("partId", None, nullable=True)
    blob_id = left.string("blobId", None, nullable=True)
    parts = left.objects("subParts", None, nullable=True) or []
    # What is there in a part that was read, and is not the client's to say.
    left.take("size", None)
    made = NewPart(
        left.string("type", None, nullable=True) or ("multipart/mixed" if parts else usual),
        charset=left.string("charset", None, nullable=True),
        name=left.string("name", None, nullable=True),
        disposition=left.string("disposition", None, nullable=True),
        cid=left.string("cid", None, nullable=True),
        language=left.strings("language", None, nullable=True) or (),
        location=left.string("location", None, nullable=True),
    )
    made.type = made.type.lower()
    made.fields, names = _fields(left.rest(), top=False)
    if names & {"content-type", "content-disposition", "content-id", "content-language", "content-location"}:
        raise invalid("a field is there twice", where)
    if made.is_multipart:
        if part_id is not None or blob_id is not None:
            raise invalid("a multipart has no content of its own", where)
        made.parts = [await _part(each, given, where, depth=depth + 1) for each in parts]
        return made
    if parts or (part_id is None) == (blob_id is None):
        raise invalid("a part has a partId or a blobId", where)
    if part_id is not None:
        if part_id not in given.values or made.charset is not None:
            raise invalid("its text is in bodyValues, and it has no charset", where)
        made.content = given.values[part_id]["value"]
    else:
        made.content = await _blob(given, str(blob_id))
    given.octets += len(made.content or b"")
    if given.octets > ATTACHMENTS:
        raise SetError("tooLarge", f"a message has at most {ATTACHMENTS} octets", maxSize=ATTACHMENTS)
    return made


async def _blob(given: _Given, blob_id: str) -> bytes | None:
    """Its octets; noted where it is not there. Raises SetError."""
    ground = given.context.ground
    blob = await find_blob(ground.store, given.context.account.id, blob_id)
    if blob is None:
        given.missing.append(blob_id)
        return None
    octets = await read_blob(ground, blob, ATTACHMENTS)
    if octets is None:
        raise SetError("tooLarge", f"a message has at most {ATTACHMENTS} octets", maxSize=ATTACHMENTS)
    return octets
