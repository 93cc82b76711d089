"""What SORT and THREAD want of an ENVELOPE that was made by mailftp.message.envelope: RFC 5256, RFC 5957."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailftp.message.casemap import casemap
from mailftp.message.words import decode_words

_STRING = rb'(?:NIL|"(?:[^"\\]|\\.)*+")'
_ADDRESS = rb"\(%b %b %b %b\)" % ((_STRING,) * 4)
_FIRST = rb"(?:NIL|\(\((%b) %b (%b) (%b)\)(?:%b)*+\))" % ((_STRING,) * 4 + (_ADDRESS,))
_LIST = rb"(?:NIL|\((?:%b)++\))" % _ADDRESS
#: Date, subject, from, sender, reply-to, to, cc; without literals, as nearly all are.
_PLAIN = re.compile(rb"\(%b (%b) %b %b %b %b %b" % (_STRING, _STRING, _FIRST, _LIST, _LIST, _FIRST, _FIRST))
_TOKEN = re.compile(rb' *(?:([()])|NIL|"((?:[^"\\]|\\.)*+)"|\{([0-9]+)\}\r\n)')
_ESCAPE = re.compile(rb"\\(.)")


class Address(NamedTuple):
    name: bytes | None
    mailbox: bytes | None
    host: bytes | None

    def local_part(self) -> bytes:
        """As RFC 5256 section 3 sorts by it: addr-mailbox, casemapped."""
        return casemap(decode_words(self.mailbox or b""))

    def shown(self) -> bytes:
        """As RFC 5957 section 3 has it: the name, or the address."""
        if self.name:
            return casemap(decode_words(self.name))
        if self.host is None:
            # The start of a group, or no address at all.
            return casemap(decode_words(self.mailbox or b""))
        return casemap(decode_words(b"%b@%b" % (self.mailbox or b"", self.host)))


_NOBODY = Address(None, None, None)


class Envelope(NamedTuple):
    subject: bytes
    #: The first of each field.
    sender: Address
    to: Address
    cc: Address


def read_envelope(envelope: bytes) -> Envelope:
    found = _PLAIN.match(envelope)
    if found is None:
        return _by_token(envelope)
    subject, *parts = (None if part is None else _unquoted(part) for part in found.groups())
    return Envelope(subject or b"", Address(*parts[:3]), Address(*parts[3:6]), Address(*parts[6:9]))


def _unquoted(text: bytes) -> bytes | None:
    if text == b"NIL":
        return None
    text = text[1:-1]
    return _ESCAPE.sub(rb"\1", text) if b"\\" in text else text


def _by_token(envelope: bytes) -> Envelope:
    """With literals."""
    values: list[list[bytes | None]] = [[]]
    depth = at = 0
    while (found := _TOKEN.match(envelope, at)) is not None:
        at = found.end()
        if found[1] == b"(":
            depth += 1
        elif found[1] == b")":
            depth -= 1
        else:
            value = None
            if found[2] is not None:
                value = _ESCAPE.sub(rb"\1", found[2])
            elif found[3] is not None:
                value = envelope[at : at + int(found[3])]
                at += int(found[3])
            values[-1].append(value)
        if depth == 1:
            values.append([])
    fields = [value for value in values if value]
    subject = fields[1][0] or b""
    first = [Address(f[0], f[2], f[3]) if len(f) >= 4 else _NOBODY for f in fields[2:7]]
    return Envelope(subject, first[0], first[3], first[4])
