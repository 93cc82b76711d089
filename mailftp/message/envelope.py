"""IMAP's ENVELOPE: RFC 3501 section 7.4.2."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailftp.message.address_list import MAX_ADDRESSES, Entry, parse_address_list
from mailftp.message.imap_strings import nstring, string

#: Offsets of the fields of one name, in their order: after the colon, and after the last line end.
Spans = Mapping[bytes, Sequence[tuple[int, int]]]

_FOLD = re.compile(rb"[\r\n]+(?=[ \t])")
_BREAK = re.compile(rb"[\r\n]+")
_SPACES = re.compile(rb"[ \t]+")

_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_TEXT_FIELDS = (b"date", b"subject", b"in-reply-to", b"message-id")
FIELDS = frozenset(_ADDRESS_FIELDS + _TEXT_FIELDS)

#: No value of more octets is looked at, nor more than the budget in one message: what a thousand
#: nested messages can make us do must not grow with what they hold (CVE-2024-23185).
_MOST_VALUE = 1 << 16
_MOST_ADDRESSES = 1 << 20
#: Octets of an address field that is remembered; it has no more addresses than octets.
_MOST_KNOWN = 200


@dataclass(slots=True)
class Budget:
    """Work left for one message."""

    octets: int = 4 << 20
    addresses: int = MAX_ADDRESSES
    fields: int = 100_000


def text_of(data: bytes, span: tuple[int, int], budget: Budget, most: int = _MOST_VALUE) -> bytes:
    """A field's value on one line: unfolded, without space around it, NUL replaced (IMAP has none)."""
    start, end = span
    size = min(end - start, most, budget.octets)
    budget.octets -= size
    text = data[start : start + size].strip(b" \t\r\n")
    if b"\n" in text or b"\r" in text:
        text = _BREAK.sub(b" ", _FOLD.sub(b"", text))
    if b"\0" in text:
        text = text.replace(b"\0", b"\xef\xbf\xbd")
    return text


def unstructured(data: bytes, spans: Spans, budget: Budget) -> dict[bytes, bytes | None]:
    """The fields of the ENVELOPE that are no addresses."""
    return {name: _last(data, spans, name, budget) for name in _TEXT_FIELDS}


def envelope(
    data: bytes, spans: Spans, budget: Budget, texts: Mapping[bytes, bytes | None] | None = None
) -> bytes:
    """The ENVELOPE of a message whose fields are `spans`, with its brackets; `texts` is `unstructured`
    of the same, where that is known.

    Address fields that are there twice count together, as one list: whoever checked one of them and
    shows the other would be fooled. Of other fields the last counts.
    """
    given = {name: _addresses(data, spans.get(name, ()), budget) for name in _ADDRESS_FIELDS}
    sender = given[b"from"]
    if texts is None:
        texts = unstructured(data, spans, budget)
    subject = texts[b"subject"]
    return b"(%b)" % b" ".join(
        [
            nstring(texts[b"date"]),
            b"NIL" if subject is None else string(_SPACES.sub(b" ", subject)),
            sender,
            given[b"sender"] if given[b"sender"] != b"NIL" else sender,
            given[b"reply-to"] if given[b"reply-to"] != b"NIL" else sender,
            given[b"to"],
            given[b"cc"],
            given[b"bcc"],
            nstring(texts[b"in-reply-to"]),
            nstring(texts[b"message-id"]),
        ]
    )


def _last(data: bytes, spans: Spans, name: bytes, budget: Budget) -> bytes | None:
    found = spans.get(name)
    return text_of(data, found[-1], budget) if found else None


def _addresses(data: bytes, spans: Sequence[tuple[int, int]], budget: Budget) -> bytes:
    if not spans:
        return b"NIL"
    if len(spans) == 1 and spans[0][1] - spans[0][0] <= _MOST_KNOWN and budget.addresses > _MOST_KNOWN:
        known, number = _known(text_of(data, spans[0], budget))
        budget.addresses -= number
        return known
    entries: list[Entry] = []
    for span in spans:
        found = parse_address_list(text_of(data, span, budget, _MOST_ADDRESSES), budget.addresses)
        budget.addresses -= len(found)
        entries += found
    if not entries:
        return b"NIL"
    return b"(%b)" % b"".join(map(_address, entries))


@lru_cache(maxsize=1024)
def _known(text: bytes) -> tuple[bytes, int]:
    """What a short field comes to, and how many addresses are in it: the same few are in most of what a
    server gets, and to take them apart is a quarter of indexing a message."""
    entries = parse_address_list(text, _MOST_KNOWN)
    return b"(%b)" % b"".join(map(_address, entries)) if entries else b"NIL", len(entries)


def _address(entry: Entry) -> bytes:
    name = b"NIL" if entry.name is None else string(_SPACES.sub(b" ", entry.name).strip(b" "))
    return b"(%b %b %b %b)" % (name, nstring(entry.route), nstring(entry.mailbox), nstring(entry.host))
