"""The wildcards of LIST: `*` for anything, `%` for anything within a level (RFC 9051 section 6.3.9).

No regular expression: `*a*a*a*b` against a long name would take minutes. All places where a pattern may stand
are the bits of one number, so a name takes a step a character.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mailftp.store.names import SEPARATOR

_WILD = re.compile(r"[*%]+")

Matches = Callable[[str], bool]


def matcher(pattern: str) -> Matches:
    """Whether a name is of the pattern."""
    pattern = _WILD.sub(lambda found: "*" if "*" in found[0] else "%", pattern)
    wild = len(_WILD.findall(pattern))
    if not wild:
        return lambda name: name == pattern
    if wild == 1 and pattern[-1] in "*%":
        # What nearly every client asks.
        start = pattern[:-1]
        if pattern[-1] == "*":
            return lambda name: name.startswith(start)
        length = len(start)
        return lambda name: name.startswith(start) and SEPARATOR not in name[length:]
    return _Machine(pattern).matches


class _Machine:
    """No two wildcards stand side by side in `pattern`."""

    def __init__(self, pattern: str) -> None:
        self._letters: dict[str, int] = {}
        #: Places that stay where they are, by any character and by all but the separator.
        self._any = self._within = 0
        for place, letter in enumerate(pattern):
            if letter == "*":
                self._any |= 1 << place
            elif letter == "%":
                self._within |= 1 << place
            else:
                self._letters[letter] = self._letters.get(letter, 0) | 1 << place
        self._wild = self._any | self._within
        self._end = 1 << len(pattern)

    def matches(self, name: str) -> bool:
        places = 1
        places |= (places & self._wild) << 1
        for letter in name:
            stay = self._any if letter == SEPARATOR else self._wild
            places = (places & stay) | (places & self._letters.get(letter, 0)) << 1
            if not places:
                return False
            places |= (places & self._wild) << 1
        return bool(places & self._end)
