"""A mailbox's columns, and the tests of a search that they answer."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailftp.store.criteria import All, HasFlag, Modseq, Received, Saved, Size, Test, Uids


class Columns(Protocol):
    """A mailbox's listing, or what is kept of it (mailftp.imap.mailbox_state)."""

    @property
    def uids(self) -> array[int]: ...

    @property
    def modseqs(self) -> array[int]: ...

    @property
    def sizes(self) -> array[int]: ...

    @property
    def received(self) -> array[float]: ...

    @property
    def flag_numbers(self) -> array[int]: ...

    @property
    def flag_sets(self) -> Sequence[frozenset[str]]: ...


@dataclass(frozen=True, slots=True)
class Copied:
    """Columns as they were: those of a mailbox change while a search waits."""

    uids: array[int]
    modseqs: array[int]
    sizes: array[int]
    received: array[float]
    flag_numbers: array[int]
    flag_sets: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, columns: Columns) -> Copied:
        return cls(
            columns.uids[:],
            columns.modseqs[:],
            columns.sizes[:],
            columns.received[:],
            columns.flag_numbers[:],
            tuple(columns.flag_sets),
        )


def within(test: Received | Saved, when: float) -> bool:
    return (test.since is None or when >= test.since) and (test.before is None or when < test.before)


def answer(test: Test, columns: Copied) -> bytes:
    """A byte for each message, 1 for those that pass a test of columns."""
    if isinstance(test, All):
        return b"\1" * len(columns.uids)
    if isinstance(test, Uids):
        row = bytearray(len(columns.uids))
        for first, last in test.spans:
            start, end = bisect_left(columns.uids, first), bisect_right(columns.uids, last)
            row[start:end] = b"\1" * (end - start)
        return bytes(row)
    if isinstance(test, HasFlag):
        wanted = test.flag.lower()
        has = [any(flag.lower() == wanted for flag in flags) for flags in columns.flag_sets]
        return bytes(map(has.__getitem__, columns.flag_numbers))
    if isinstance(test, Received):
        return bytes(within(test, when) for when in columns.received)
    if isinstance(test, Size):
        above = -1 if test.above is None else test.above
        if test.below is None:
            return bytes(size > above for size in columns.sizes)
        below = test.below
        return bytes(above < size < below for size in columns.sizes)
    if isinstance(test, Modseq):
        least = test.least
        return bytes(modseq >= least for modseq in columns.modseqs)
    raise TypeError(f"{type(test).__name__} is no test of columns")
