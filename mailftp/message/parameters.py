"""Content-Type, Content-Disposition and their parameters: RFC 2045 section 5.1, RFC 2231.

Values come in unfolded: one line, no NUL (`envelope.text_of`). Nothing here raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Parameters = tuple[tuple[bytes, bytes], ...]

#: RFC 2045 token, and the octets above 127 that people put into names.
_TOKEN = rb"[A-Za-z0-9!#$%&'*+.^_`{|}~\x80-\xff-]"
_SPACE = re.compile(rb"[ \t]*+")
_WORD = re.compile(_TOKEN + rb"*+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_MARK = re.compile(rb"[()\\]")
#: `name==?utf-8?b?...?=`, unquoted: against the grammar, and seen daily.
_BARE_ENCODED = re.compile(rb"=[^; \t]*+")
#: What nearly every field looks like: no comments.
_PLAIN_TYPE = re.compile(rb"(" + _TOKEN + rb"++)/(" + _TOKEN + rb"++)[ \t]*+(?=;|\Z)")
_PLAIN_PARAMETER = re.compile(
    rb";[ \t]*+(" + _TOKEN + rb'++)=(?:"([^"\\]*+)"|(' + _TOKEN + rb"++))[ \t]*+(?=;|\Z)"
)
#: RFC 2231 section 3: name*3, name*3*, name*.
_CONTINUED = re.compile(rb"([^*]++)\*(?:([0-9]{1,4})(\*)?)?+\Z")


@dataclass(frozen=True, slots=True)
class ContentType:
    """As written: `maintype` and `subtype` in their own case. Parameters in their order; those that
    RFC 2231 split are joined, in its encoding still, and come last."""

    maintype: bytes
    subtype: bytes
    parameters: Parameters

    def parameter(self, name: bytes) -> bytes | None:
        """The first value of a parameter; `name` in lower case."""
        return next((value for key, value in self.parameters if key.lower() == name), None)


def parse_content_type(value: bytes) -> ContentType | None:
    """None when there is no `type/subtype`: RFC 2045 section 5.2 wants text/plain then."""
    plain = _PLAIN_TYPE.match(value)
    if plain:
        return ContentType(plain[1], plain[2], _parse_parameters(value, plain.end()))
    at = skip_cfws(value, 0)
    maintype, at = _token(value, at)
    if not maintype or value[at : at + 1] != b"/":
        return None
    subtype, at = _token(value, skip_cfws(value, at + 1))
    if not subtype or value[at : at + 1] not in (b";", b""):
        return None
    return ContentType(maintype, subtype, _parse_parameters(value, at))


def parse_disposition(value: bytes) -> tuple[bytes, Parameters] | None:
    """RFC 2183: the disposition as written and its parameters."""
    word, at = _token(value, skip_cfws(value, 0))
    return (word, _parse_parameters(value, at)) if word else None


def parse_token(value: bytes) -> bytes | None:
    """A field that is one token (Content-Transfer-Encoding), or None when it is more or less."""
    word, at = _token(value, skip_cfws(value, 0))
    return word if word and at >= len(value) else None


def skip_cfws(value: bytes, at: int) -> int:
    """Past space and comments (RFC 5322 section 3.2.2); a comment that does not end takes the rest."""
    while True:
        at = _space(value, at)
        if value[at : at + 1] != b"(":
            return at
        at = skip_comment(value, at)[0]


def skip_comment(value: bytes, at: int) -> tuple[int, bytes]:
    """Past the comment at `at`, and what it says. Comments nest; a counter and not a stack, so that a
    megabyte of brackets costs no memory."""
    depth = 0
    start = at + 1
    skip = -1
    for mark in _COMMENT_MARK.finditer(value, at):
        octet = mark[0]
        if mark.start() == skip:
            continue
        if octet == b"\\":
            skip = mark.end()
        elif octet == b"(":
            depth += 1
        else:
            depth -= 1
            if not depth:
                return mark.end(), unescape(value[start : mark.start()])
    return len(value), unescape(value[start:])


def unescape(text: bytes) -> bytes:
    """Quoted pairs resolved (RFC 5322 section 3.2.1)."""
    return _PAIR.sub(rb"\1", text) if b"\\" in text else text


def quoted_string(value: bytes, at: int) -> tuple[bytes, int] | None:
    """The quoted string at `at`, unquoted, and where it ends; None when it does not end."""
    found = _QUOTED.match(value, at)
    return (unescape(found[1]), found.end()) if found else None


def _space(value: bytes, at: int) -> int:
    found = _SPACE.match(value, at)
    return found.end() if found else at


def _token(value: bytes, at: int) -> tuple[bytes, int]:
    found = _WORD.match(value, at)
    if not found:
        return b"", at
    return found[0], skip_cfws(value, found.end())


def _parse_parameters(value: bytes, at: int) -> Parameters:
    out: list[tuple[bytes, bytes]] = []
    continued = False
    size = len(value)
    while at < size:
        plain = _PLAIN_PARAMETER.match(value, at)
        if plain:
            name, at = plain[1], plain.end()
            out.append((name, plain[3] if plain[2] is None else plain[2]))
        else:
            one, at = _parse_parameter(value, at)
            if one is None:
                continue
            name = one[0]
            out.append(one)
        continued = continued or b"*" in name
    return _join_continued(out) if continued else tuple(out)


def _parse_parameter(value: bytes, at: int) -> tuple[tuple[bytes, bytes] | None, int]:
    """The parameter at `at`, which ought to be a semicolon, and where to go on. A broken one is passed
    over up to the next semicolon."""
    if value[at : at + 1] != b";":
        found = value.find(b";", at)
        return None, (found if found >= 0 else len(value))
    name, at = _token(value, skip_cfws(value, at + 1))
    if not name or value[at : at + 1] != b"=":
        return None, at
    at = skip_cfws(value, at + 1)
    opening = value[at : at + 1]
    if opening == b'"':
        quoted = quoted_string(value, at)
        if quoted is None:
            return None, at + 1
        return (name, quoted[0]), skip_cfws(value, quoted[1])
    if opening == b"=":
        bare = _BARE_ENCODED.match(value, at)
        if bare:
            return (name, bare[0]), bare.end()
    word, at = _token(value, at)
    return (name, word), at


def _join_continued(given: list[tuple[bytes, bytes]]) -> Parameters:
    """RFC 2231 section 3: `name*0*=...; name*1=...` is one `name*`. The percent signs stay: a client
    wants the charset with them. With a number missing nothing is joined."""
    out = []
    pieces: dict[bytes, list[tuple[int, bool, bytes, bytes]]] = {}
    for name, value in given:
        found = _CONTINUED.match(name) if b"*" in name else None
        if found is None:
            out.append((name, value))
            continue
        key, number, star = found.groups()
        extended = star is not None or number is None
        pieces.setdefault(key.lower(), []).append((int(number or 0), extended, key, value))
    for key in sorted(pieces):
        many = sorted(pieces[key], key=lambda piece: piece[0])
        if [piece[0] for piece in many] != list(range(len(many))):
            out += [
                (b"%s*%d%s" % (written, number, b"*" if extended else b""), value)
                for number, extended, written, value in many
            ]
            continue
        encoded = any(extended for _, extended, _, _ in many)
        joined = b"".join(
            value.replace(b"%", b"%25") if encoded and not extended else value
            for _, extended, _, value in many
        )
        if encoded and not many[0][1]:
            joined = b"''" + joined
        out.append((many[0][2] + (b"*" if encoded else b""), joined))
    return tuple(out)
