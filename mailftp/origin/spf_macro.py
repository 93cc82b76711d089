"""SPF macros: RFC 7208 section 7. Reading and expanding are pure; who needs %{p} looks it up before."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass

#: Octets of a domain or explanation before it is expanded: each five of them may become a whole address.
MACRO = 512

_PIECE = re.compile(
    r"%\{(?P<letter>[A-Za-z])(?P<digits>[0-9]{0,9})(?P<reverse>[rR]?)(?P<cut>[-.+,/_=]*)\}"
    r"|%(?P<escape>[%_-])|(?P<text>[ -$&-~]+)"
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
#: Section 7.2: c, r and t mean something in an explanation only.
_LETTERS, _EXPLAINING = frozenset("slodiphv"), frozenset("slodiphvcrt")


class SyntaxFault(Exception):
    """The text says what is wrong with the record."""


@dataclass(frozen=True, slots=True)
class Expansion:
    #: Lower case.
    letter: str
    #: Labels kept from the right; 0 keeps all.
    kept: int
    reverse: bool
    #: Characters that part the value; the parts are put together with dots.
    cut: str
    #: An upper-case letter stands for the value escaped as in a URL.
    escaped: bool


@dataclass(frozen=True, slots=True)
class Macro:
    pieces: tuple[str | Expansion, ...]

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(piece.letter for piece in self.pieces if isinstance(piece, Expansion))

    @property
    def ends_in_expansion(self) -> bool:
        return bool(self.pieces) and isinstance(self.pieces[-1], Expansion)

    def expand(self, values: Mapping[str, str]) -> str:
        """`values` has every letter of `letters`, lower case."""
        return "".join(piece if isinstance(piece, str) else _expanded(piece, values) for piece in self.pieces)


def parse_macro(text: str, explaining: bool = False) -> Macro:
    """Section 7.1; spaces and the letters c, r, t only where `explaining`. Raises SyntaxFault."""
    pieces: list[str | Expansion] = []
    allowed = _EXPLAINING if explaining else _LETTERS
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise SyntaxFault("malformed macro")
        at = match.end()
        if match["text"] is not None:
            if " " in match["text"] and not explaining:
                raise SyntaxFault("a space within a term")
            pieces.append(match["text"])
        elif match["escape"] is not None:
            pieces.append(_ESCAPES[match["escape"]])
        else:
            pieces.append(_expansion(match, allowed))
    return Macro(tuple(pieces))


def _expansion(match: re.Match[str], allowed: frozenset[str]) -> Expansion:
    letter, digits = match["letter"], match["digits"]
    if letter.lower() not in allowed:
        raise SyntaxFault("unknown macro letter")
    if digits and int(digits) == 0:
        raise SyntaxFault("a macro that keeps no label")
    kept = int(digits) if digits else 0
    return Expansion(letter.lower(), kept, bool(match["reverse"]), match["cut"] or ".", letter.isupper())


def _expanded(piece: Expansion, values: Mapping[str, str]) -> str:
    parts = re.split("[" + re.escape(piece.cut) + "]", values[piece.letter])
    if piece.reverse:
        parts.reverse()
    value = ".".join(parts[-piece.kept :])
    return urllib.parse.quote(value, safe="-._~") if piece.escaped else value
