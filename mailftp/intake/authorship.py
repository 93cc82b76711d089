"""What the header of a submitted message says of its author: whom it claims to be from, and its Bcc.

The envelope alone is not enough: a colleague's name in From would be signed by this domain's DKIM key, and
nobody who reads it could tell (RFC 6409 section 6.1).
"""

from __future__ import annotations

import re

from mailftp.message.address import Address, AddressFault, parse_domain
from mailftp.message.address_list import parse_address_list
from mailftp.message.fields import iter_spans

#: Authors that are looked at; more than one is rare.
AUTHORS = 100
_FOLD = re.compile(rb"\r\n(?=[ \t])")


def authors(header: bytes) -> tuple[Address, ...]:
    """The addresses of From, or of Resent-From where a message is sent again (RFC 5322 section 3.6.6); those
    that cannot be read are nobody's."""
    return _named(header, b"resent-from") or _named(header, b"from")


def senders(header: bytes) -> tuple[Address, ...]:
    """Those of Sender, who sent it for the authors (RFC 5322 section 3.6.2)."""
    return _named(header, b"sender")


def _named(header: bytes, wanted: bytes) -> tuple[Address, ...]:
    spans = iter_spans(header, 0, len(header))
    values = [
        _FOLD.sub(b"", header[colon:end].strip(b" \t\r\n")) for name, _, colon, end in spans if name == wanted
    ]
    entries = [entry for value in values for entry in parse_address_list(value, AUTHORS)]
    addresses = (_address(entry.mailbox, entry.host) for entry in entries[:AUTHORS])
    return tuple(address for address in addresses if address is not None)


def _address(local: bytes | None, domain: bytes | None) -> Address | None:
    if not local or not domain:
        return None
    try:
        return Address(local.decode("utf-8", "replace"), parse_domain(domain.decode("utf-8", "replace")))
    except AddressFault:
        return None


def bcc(header: bytes) -> bytes:
    """The Bcc fields, which the author's own copy keeps."""
    if b"bcc" not in header.lower():
        return b""
    spans = iter_spans(header, 0, len(header))
    return b"".join(header[start:end] for name, start, _, end in spans if name == b"bcc")
