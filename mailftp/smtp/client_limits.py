"""What a far side's LIMITS says that one connection may carry (RFC 9422)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LIMIT = re.compile(r"(MAILMAX|RCPTMAX)=([1-9][0-9]{0,5})", re.ASCII)


def _least(name: str, extensions: Mapping[str, str], most: int) -> int:
    told = [
        match for word in extensions.get("LIMITS", "").split() if (match := _LIMIT.fullmatch(word.upper()))
    ]
    return min([most, *(int(match[2]) for match in told if match[1] == name)])


def most_messages(extensions: Mapping[str, str], most: int) -> int:
    """Section 4.1: MAILMAX, `most` where that is less or nothing is said."""
    return _least("MAILMAX", extensions, most)


def most_recipients(extensions: Mapping[str, str], most: int) -> int:
    """Section 4.2: RCPTMAX, of one message."""
    return _least("RCPTMAX", extensions, most)
