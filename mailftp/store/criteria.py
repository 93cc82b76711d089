"""What a search asks for, as values: RFC 9051 section 6.4.4, RFC 5032, 7162, 8474 and 8514, and JMAP's
filters (RFC 8621 section 4.4.1).

A criterion is a tree of And, Or and Not over tests of one message. `mailftp.store.searching` evaluates it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class Uids:
    """In one of these stretches, first and last."""

    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag or a keyword, which have no case."""

    flag: str


@dataclass(frozen=True, slots=True)
class Received:
    """Not before `since`, and before `before`: INTERNALDATE in seconds since the epoch."""

    since: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Octets, more and fewer than these."""

    above: int | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Modseq:
    """Changed with this one or since."""

    least: int


@dataclass(frozen=True, slots=True)
class Saved:
    """As Received, when it came into this mailbox (RFC 8514)."""

    since: float | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Email:
    """EMAILID (RFC 8474)."""

    email_id: int


@dataclass(frozen=True, slots=True)
class Thread:
    """THREADID (RFC 8474)."""

    thread_id: int


@dataclass(frozen=True, slots=True)
class Sent:
    """As Received, in whole days since the epoch as the Date field is written; a message without a date is in
    none."""

    since: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class HeaderHas:
    """A field of this name, in lower case, with the text in its value; with any value where it is ""."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class BodyHas:
    """The text in a part that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class TextHas:
    """The text in the header, in those of the parts, or in a part that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    criterion: Criterion


@dataclass(frozen=True, slots=True)
class And:
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Or:
    criteria: tuple[Criterion, ...]


#: Answered by a mailbox's columns, by its identifiers, by messages' headers, by all of a message.
ColumnTest = All | Uids | HasFlag | Received | Size | Modseq
PlaceTest = Saved | Email | Thread
HeaderTest = Sent | HeaderHas
TextTest = BodyHas | TextHas
Test = ColumnTest | PlaceTest | HeaderTest | TextTest
Criterion = Test | Not | And | Or
