"""Header fields in the forms of RFC 8621 section 4.1.2, and the properties that ask for them (4.1.3)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

from mailftp.message.address_list import MISSING_DOMAIN, MISSING_MAILBOX, SYNTAX_ERROR, parse_address_list
from mailftp.message.dates import parse_date
from mailftp.message.fields import iter_spans
from mailftp.message.words import decode_words

#: Octets of a field's value that are looked at, and addresses of one.
_LONGEST, _ADDRESSES = 1 << 20, 10_000

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,998})>")
_ONLY_IDS = re.compile(r"(?:[\s,]|<[^<>\s]{1,998}>|\((?:[^()\\]|\\.)*+\))++")
_URL = re.compile(r"<([^<>]{1,8192})>")
_ZONE = re.compile(rb"([+-])([0-9]{2})([0-9]{2})[ \t]*(?:\(|\Z)")
_NAME = re.compile(r"[!-9;-~]{1,998}")


class HeaderField(NamedTuple):
    #: As it is written, and in lower case.
    name: bytes
    key: bytes
    #: After the colon, with its folds, without the last line end.
    value: bytes


def fields_of(header: bytes) -> list[HeaderField]:
    """All of a header; what is no field is left out."""
    return [
        HeaderField(header[start : value - 1].rstrip(b" \t"), key, _without_end(header[value:end]))
        for key, start, value, end in iter_spans(header, 0, len(header))
        if key
    ]


def _without_end(value: bytes) -> bytes:
    return value[:-2] if value.endswith(b"\r\n") else value.removesuffix(b"\n")


# The forms.


def as_raw(value: bytes) -> str:
    """Section 4.1.2.1."""
    return value[:_LONGEST].replace(b"\0", b"").decode("utf-8", "replace")


def unfolded(value: bytes) -> bytes:
    return _FOLD.sub(b"", value[:_LONGEST]).strip(b" \t\r\n")


def as_text(value: bytes) -> str:
    """Section 4.1.2.2."""
    return unicodedata.normalize("NFC", decode_words(unfolded(value)))


def as_addresses(value: bytes) -> list[Mapping[str, Any]]:
    """Section 4.1.2.3: groups are left out, their members are not."""
    return [each for group in _groups(value) for each in group["addresses"]]


def as_grouped_addresses(value: bytes) -> list[Mapping[str, Any]]:
    """Section 4.1.2.4: what stands outside of groups is in groups without a name."""
    return [group for group in _groups(value) if group["name"] is not None or group["addresses"]]


def _groups(value: bytes) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [{"name": None, "addresses": []}]
    for entry in parse_address_list(unfolded(value), _ADDRESSES):
        if entry.host is None:
            name = None if entry.mailbox is None else _text(entry.mailbox)
            groups.append({"name": name, "addresses": []})
        elif SYNTAX_ERROR not in (entry.mailbox, entry.host):
            name = _text(entry.name) if entry.name is not None else None
            groups[-1]["addresses"].append({"name": name or None, "email": _email(entry)})
    return groups


def _email(entry: Any) -> str:
    local = b"" if entry.mailbox == MISSING_MAILBOX else entry.mailbox
    if entry.host == MISSING_DOMAIN:
        return _text(local)
    return f"{local.decode('utf-8', 'replace')}@{entry.host.decode('utf-8', 'replace')}"


def _text(octets: bytes) -> str:
    return unicodedata.normalize("NFC", decode_words(octets).strip())


def as_message_ids(value: bytes) -> list[str] | None:
    """Section 4.1.2.5."""
    text = unfolded(value).decode("utf-8", "replace")
    return _MESSAGE_ID.findall(text) or None if _ONLY_IDS.fullmatch(text) else None


def as_date(value: bytes) -> str | None:
    """Section 4.1.2.6, in the zone that it is written in."""
    text = unfolded(value)
    seconds = parse_date(text)
    if seconds is None:
        return None
    found = _ZONE.search(text)
    zone = UTC
    if found is not None and int(found[2]) < 24 and int(found[3]) < 60:
        minutes = int(found[2]) * 60 + int(found[3])
        zone = timezone(timedelta(minutes=-minutes if found[1] == b"-" else minutes))
    try:
        moment = datetime.fromtimestamp(seconds, zone)
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def as_urls(value: bytes) -> list[str] | None:
    """Section 4.1.2.7."""
    found = _URL.findall(unfolded(value).decode("utf-8", "replace"))
    return [re.sub(r"\s+", "", each) for each in found] or None


_FORMS: Mapping[str, Callable[[bytes], Any]] = {
    "asRaw": as_raw,
    "asText": as_text,
    "asAddresses": as_addresses,
    "asGroupedAddresses": as_grouped_addresses,
    "asMessageIds": as_message_ids,
    "asDate": as_date,
    "asURLs": as_urls,
}
_ADDRESSED = {"from", "sender", "reply-to", "to", "cc", "bcc"}
_ADDRESSED |= {f"resent-{name}" for name in _ADDRESSED}
_IDS = {"message-id", "in-reply-to", "references", "resent-message-id"}
_DATES = {"date", "resent-date"}
_URLS = {f"list-{name}" for name in ("help", "unsubscribe", "subscribe", "post", "owner", "archive")}
_TEXTS = {"subject", "comments", "keywords", "list-id"}
#: Of fields that RFC 5322 and 2369 define, those that a form is for; all others may be had in any.
_FORMS_OF: Mapping[str, Iterable[str]] = {
    "asText": _TEXTS,
    "asAddresses": _ADDRESSED,
    "asGroupedAddresses": _ADDRESSED,
    "asMessageIds": _IDS,
    "asDate": _DATES,
    "asURLs": _URLS,
}
_DEFINED = _ADDRESSED | _IDS | _DATES | _URLS | _TEXTS | {"return-path", "received"}


class HeaderProperty(NamedTuple):
    """ "header:Name:asForm:all"."""

    key: bytes
    form: Callable[[bytes], Any]
    all: bool

    def of(self, fields: Sequence[HeaderField]) -> Any:
        found = [field.value for field in fields if field.key == self.key]
        if self.all:
            return [self.form(value) for value in found]
        return self.form(found[-1]) if found else None


@lru_cache(maxsize=512)
def header_property(text: str) -> HeaderProperty | None:
    """None where that is none (section 4.1.3)."""
    parts = text.split(":")
    if len(parts) < 2 or parts[0] != "header" or _NAME.fullmatch(parts[1]) is None:
        return None
    name, *rest = parts[1:]
    every = rest[-1:] == ["all"]
    if every:
        rest.pop()
    form = rest.pop() if rest else "asRaw"
    if rest or form not in _FORMS:
        return None
    lower = name.lower()
    if form != "asRaw" and lower in _DEFINED and lower not in _FORMS_OF[form]:
        return None
    return HeaderProperty(lower.encode(), _FORMS[form], every)


def _convenient(name: str, form: str) -> HeaderProperty:
    found = header_property(f"header:{name}:{form}")
    assert found is not None
    return found


#: Section 4.1.3: properties of their own.
CONVENIENT: Mapping[str, HeaderProperty] = {
    "messageId": _convenient("Message-ID", "asMessageIds"),
    "inReplyTo": _convenient("In-Reply-To", "asMessageIds"),
    "references": _convenient("References", "asMessageIds"),
    "sender": _convenient("Sender", "asAddresses"),
    "from": _convenient("From", "asAddresses"),
    "to": _convenient("To", "asAddresses"),
    "cc": _convenient("Cc", "asAddresses"),
    "bcc": _convenient("Bcc", "asAddresses"),
    "replyTo": _convenient("Reply-To", "asAddresses"),
    "subject": _convenient("Subject", "asText"),
    "sentAt": _convenient("Date", "asDate"),
}
