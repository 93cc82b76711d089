"""Address lists of header fields: RFC 5322 sections 3.4 and 4.4, for IMAP's ENVELOPE.

Header fields are written by anybody, so this takes what it can get and never raises; the envelope's
strict syntax is `mailftp.message.address`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailftp.message.parameters import skip_comment, unescape

#: More than these nobody reads, and each costs 60 octets of ENVELOPE for ever (CVE-2024-23184).
MAX_ADDRESSES = 10_000
#: Words and marks of one address; what is beyond them is dropped.
_MAX_TOKENS = 2000
#: Of these, how many may be a route.
_MAX_ROUTE = 100


class Entry(NamedTuple):
    """RFC 3501's address structure. A group opens with an entry that has a mailbox and no host, and
    closes with one that has neither."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


#: What stands where something is missing: a NIL host would mean a group (RFC 3501 section 7.4.2).
MISSING_MAILBOX = b"MISSING_MAILBOX"
MISSING_DOMAIN = b"MISSING_DOMAIN"
SYNTAX_ERROR = b"SYNTAX_ERROR"

_GROUP_END = Entry(None, None, None, None)

_ATEXT = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
_DOTTED = _ATEXT + rb"++(?:\." + _ATEXT + rb"++)*+"
#: What nearly every address looks like. It leaves the comma for the loop, and everything with a
#: comment, a group, a route or an escape to the tokens.
_PLAIN = re.compile(
    rb'[ \t]*+(?:(?:"([^"\\]*+)"|(' + _ATEXT + rb"++(?:[ \t.]++" + _ATEXT + rb"++)*+))?[ \t]*+"
    rb"<(" + _DOTTED + rb")@(" + _DOTTED + rb")>|(" + _DOTTED + rb")@(" + _DOTTED + rb"))[ \t]*+(?=,|\Z)"
)
_TOKEN = re.compile(
    rb'[ \t\r\n]++|"(?:[^"\\]|\\.)*+"|\[(?:[^\[\]\\]|\\.)*+\]|' + _ATEXT + rb"++|.", re.DOTALL
)
#: Used from the first quote or bracket on that does not end: to look for the end of each of a million
#: would be quadratic.
_LOOSE_TOKEN = re.compile(rb"[ \t\r\n]++|" + _ATEXT + rb"++|.", re.DOTALL)
_NEXT_AT = re.compile(rb"[ \t]*+@")
_ATOM = re.compile(_ATEXT)
_RUN = re.compile(rb"[ \t]++")


def parse_address_list(value: bytes, most: int = MAX_ADDRESSES) -> list[Entry]:
    """The addresses of an unfolded field value, at most `most` of them."""
    out: list[Entry] = []
    at = 0
    size = len(value)
    while at < size and len(out) < most:
        plain = _PLAIN.match(value, at)
        if plain is None:
            _Tokens(value, at, most).parse(out)
            break
        quoted, words, local, domain, bare_local, bare_domain = plain.groups()
        if local:
            name = quoted if quoted is not None else words and _RUN.sub(b" ", words)
            out.append(Entry(name or None, None, local, domain))
        else:
            out.append(Entry(None, None, bare_local, bare_domain))
        at = plain.end() + 1
    return out


class _Tokens:
    """The list from `at` on, token by token: each octet is looked at once."""

    def __init__(self, value: bytes, at: int, most: int) -> None:
        self._value = value
        self._at = at
        self._most = most
        self._token = _TOKEN
        #: The words of the address being read, with `b" "` where there was space.
        self._words: list[bytes] = []
        self._angle: list[bytes] | None = None
        self._closed = False
        self._comment: bytes | None = None
        self._in_group = False

    def parse(self, out: list[Entry]) -> None:
        size = len(self._value)
        while self._at < size and len(out) < self._most:
            self._step(out)
        if len(out) < self._most:
            self._finish(out, at_end=True)
        if self._in_group:
            out.append(_GROUP_END)

    def _step(self, out: list[Entry]) -> None:
        if self._value[self._at] == 0x28:
            self._at, comment = skip_comment(self._value, self._at)
            self._comment = comment
            self._add(b" ")
            return
        found = self._token.match(self._value, self._at)
        assert found is not None  # The last alternative takes any octet.
        self._at = found.end()
        token = found[0]
        if token in (b'"', b"["):
            self._token = _LOOSE_TOKEN
        if token == b"," and not self._in_route():
            self._finish(out)
        elif token == b"<" and self._angle is None:
            self._angle = []
        elif token == b">" and self._angle is not None:
            self._closed = True
        elif token == b":" and self._angle is None and not self._in_group and b"@" not in self._words:
            self._open_group(out)
        elif token == b";" and self._in_group:
            self._finish(out, at_end=True)
            out.append(_GROUP_END)
            self._in_group = False
        elif not self._closed:
            self._add(b" " if token.isspace() else token)

    def _in_route(self) -> bool:
        """The comma just read stands between two domains of a route: "<@a,@b:user@c>"."""
        if self._angle is None or self._closed or b":" in self._angle[:_MAX_ROUTE]:
            return False
        is_route = next((token for token in self._angle[:2] if token != b" "), b"") == b"@"
        return is_route and len(self._angle) < _MAX_ROUTE and bool(_NEXT_AT.match(self._value, self._at))

    def _add(self, word: bytes) -> None:
        target = self._words if self._angle is None else self._angle
        if len(target) < _MAX_TOKENS:
            target.append(word)

    def _open_group(self, out: list[Entry]) -> None:
        out.append(Entry(None, None, _phrase(self._words) or MISSING_MAILBOX, None))
        self._in_group = True
        self._words = []
        self._comment = None

    def _finish(self, out: list[Entry], at_end: bool = False) -> None:
        words, angle, comment, closed = self._words, self._angle, self._comment, self._closed
        self._words, self._angle, self._comment, self._closed = [], None, None, False
        if angle is not None:
            out.append(_angle_address(words, angle, closed))
        elif b"@" in words:
            out.append(_bare_address(words, comment))
        elif any(word != b" " for word in words):
            out.append(_without_at(words, comment))
        elif comment and not at_end:
            out.append(Entry(comment, None, MISSING_MAILBOX, MISSING_DOMAIN))


def _angle_address(words: list[bytes], angle: list[bytes], closed: bool) -> Entry:
    route = None
    first = next((token for token in angle if token != b" "), b"")
    if first == b"@":
        # RFC 5322 section 4.4: "<@a,@b:user@c>".
        if b":" in angle:
            colon = angle.index(b":")
            route, angle = b"".join(angle[:colon]).replace(b" ", b""), angle[colon + 1 :]
        else:
            route = b"INVALID_ROUTE"
    local, host = _split(angle)
    if not host:
        host = MISSING_DOMAIN if closed else SYNTAX_ERROR
    return Entry(_phrase(words) or None, route, local or MISSING_MAILBOX, host)


def _bare_address(words: list[bytes], comment: bytes | None) -> Entry:
    local, host = _split(words)
    if local and host:
        return Entry(comment or None, None, local, host)
    # A name in front of an address without brackets: that it belongs to it would be a guess.
    return Entry(comment or _phrase(words) or None, None, MISSING_MAILBOX, MISSING_DOMAIN)


def _without_at(words: list[bytes], comment: bytes | None) -> Entry:
    """A lone word is the mailbox of somebody here; more than one are a name that lacks its address."""
    plain = b"".join(words).strip(b" ")
    if b" " not in plain and not plain.startswith(b'"'):
        return Entry(comment or None, None, plain, MISSING_DOMAIN)
    return Entry(comment or _phrase(words), None, MISSING_MAILBOX, MISSING_DOMAIN)


def _split(tokens: list[bytes]) -> tuple[bytes, bytes]:
    """Local part and domain around the first @; either is empty when it is none."""
    if b"@" not in tokens:
        return _local(tokens), b""
    at = tokens.index(b"@")
    return _local(tokens[:at]), _domain(tokens[at + 1 :])


def _local(tokens: list[bytes]) -> bytes:
    """Without the space around dots that RFC 822 allowed. Two words side by side are no local part."""
    out: list[bytes] = []
    gap = False
    for token in tokens:
        if token == b" ":
            gap = bool(out)
            continue
        if gap and b"." not in (token, out[-1]):
            return b""
        gap = False
        out.append(token)
    return b"".join(map(_unquote, out))


def _domain(tokens: list[bytes]) -> bytes:
    """A literal, or atoms and dots up to the first thing that is neither."""
    words = [token for token in tokens if token != b" "]
    if words and words[0].startswith(b"["):
        return words[0] if len(words[0]) > 1 else b""
    out = []
    for number, word in enumerate(words):
        if not (word == b"." if number % 2 else _ATOM.match(word)):
            break
        out.append(word)
    return b"".join(out) if len(out) % 2 else b""


def _phrase(words: list[bytes]) -> bytes:
    """A display name: words with one space between them, unquoted. A quoted string is a word by itself,
    whether there is space around it or not."""
    spaced = [b" %b " % _unquote(word) if word[:1] == b'"' else word for word in words]
    return _RUN.sub(b" ", b"".join(spaced)).strip(b" ")


def _unquote(word: bytes) -> bytes:
    return unescape(word[1:-1]) if len(word) > 1 and word[:1] == b'"' == word[-1:] else word
