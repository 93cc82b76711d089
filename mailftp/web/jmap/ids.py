"""Ids (RFC 8620 section 1.2) of what the store numbers. IMAP's object ids are the same (RFC 8474)."""

from __future__ import annotations

import re
from collections.abc import Iterable

ACCOUNT, MAILBOX, EMAIL, THREAD = "A", "F", "M", "T"

#: What may be an id at all.
ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_NUMBERED = re.compile(r"([A-Z])([1-9][0-9]{0,18})")
_LARGEST = 2**63 - 1


def spell(kind: str, number: int) -> str:
    return f"{kind}{number}"


def number_of(kind: str, text: str) -> int | None:
    """None for an id that is none of ours of this kind: there is no such object."""
    match = _NUMBERED.fullmatch(text)
    if match is None or match[1] != kind:
        return None
    number = int(match[2])
    return number if number <= _LARGEST else None


def numbers_of(kind: str, texts: Iterable[str]) -> dict[int, str]:
    """Number -> id of those that can be; in their order."""
    found = ((number_of(kind, text), text) for text in texts)
    return {number: text for number, text in found if number is not None}
