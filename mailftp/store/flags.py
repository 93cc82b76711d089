"""Flags as the store keeps them: one spelling a flag, and a canonical text.

RFC 9051 section 2.3.2: system flags start with a backslash, everything else is a keyword, and neither
has case. A keyword keeps the spelling that it first came with on a message, because clients show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from mailftp.store.units import FlagChange


def _spell(flag: str) -> str:
    return "\\" + flag[1:].capitalize() if flag.startswith("\\") else flag


def canonical(flags: Iterable[str]) -> frozenset[str]:
    """The same flags, each once: of two spellings of a keyword the first in sort order stays."""
    by_fold: dict[str, str] = {}
    for flag in sorted(map(_spell, flags)):
        by_fold.setdefault(flag.lower(), flag)
    return frozenset(by_fold.values())


def changed(old: frozenset[str], change: FlagChange, flags: frozenset[str]) -> frozenset[str]:
    """`old` (canonical) after a change; the very same object when nothing changes."""
    had = {flag.lower(): flag for flag in old}
    named = {flag.lower(): flag for flag in canonical(flags)}
    if change is FlagChange.REMOVE:
        new = {fold: flag for fold, flag in had.items() if fold not in named}
    elif change is FlagChange.ADD:
        new = named | had
    else:
        new = {fold: had.get(fold, flag) for fold, flag in named.items()}
    return old if new.keys() == had.keys() else frozenset(new.values())


@lru_cache(maxsize=4096)
def to_text(flags: frozenset[str]) -> str:
    """Canonical text: sorted, one space between (a flag is an IMAP atom and holds none)."""
    return " ".join(sorted(canonical(flags)))


@lru_cache(maxsize=4096)
def from_text(text: str) -> frozenset[str]:
    """Cached: a mailbox of 100,000 messages has a handful of different flag sets."""
    return frozenset(text.split())
