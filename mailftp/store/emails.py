"""Emails as JMAP sees them: with all their places, in threads, and what has changed since a state.

An Email is one message of an account however many mailboxes it lies in (mailftp.store, and email_listing.py
for how its flags come together). Every answer says at which modseq of the account it was read: JMAP's state.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from mailftp.store.email_listing import EmailListing, MailCounts, combined
from mailftp.store.queries import Query
from mailftp.store.records import BodyRef, Mailbox

#: In place of a mailbox id: all mail of the account, and Email ids in place of UIDs (SearchMessages,
#: SearchIndex, SortMessages, ReadMessages).
ALL_MAIL = 0


@dataclass(frozen=True, slots=True)
class Place:
    """An Email in a mailbox."""

    mailbox_id: int
    uid: int
    modseq: int
    flags: frozenset[str]
    saved: float


@dataclass(frozen=True, slots=True)
class Email:
    """What a client reads is `prefix` + the body."""

    id: int
    thread_id: int
    body: BodyRef
    #: Trace header fields of this recipient's copy.
    prefix: bytes
    received: float
    #: By mailbox and UID; one at least, and none with \\Deleted.
    places: tuple[Place, ...]

    @property
    def size(self) -> int:
        return len(self.prefix) + self.body.size

    @property
    def mailbox_ids(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(place.mailbox_id for place in self.places))

    @property
    def flags(self) -> frozenset[str]:
        """Of all places together."""
        return combined(place.flags for place in self.places)


@dataclass(frozen=True, slots=True)
class FoundEmails:
    modseq: int
    emails: tuple[Email, ...]


@dataclass(frozen=True, slots=True)
class EmailsById(Query[FoundEmails]):
    """In the order asked; ids of no Email, or of none of this account, are left out. Fails with
    NoSuchAccount, as all of these."""

    account_id: int
    email_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FoundThreads:
    modseq: int
    #: Thread id -> its Emails, the oldest first (RFC 8621 section 3).
    threads: dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ThreadsById(Query[FoundThreads]):
    account_id: int
    thread_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListEmails(Query[EmailListing]):
    """All Emails of an account. What did not change since it was last asked is not read again."""

    account_id: int


@dataclass(frozen=True, slots=True)
class CountedMailbox:
    mailbox: Mailbox
    #: 0: none. Where "a/b" has no mailbox "a", it is one of the top level whose own name is "a/b".
    parent_id: int
    #: Without that of the parent.
    own_name: str
    #: RFC 8621 section 2, or ""; of two mailboxes with one use the older has the role.
    role: str
    counts: MailCounts


@dataclass(frozen=True, slots=True)
class CountedMailboxes:
    modseq: int
    #: By name.
    mailboxes: tuple[CountedMailbox, ...]


@dataclass(frozen=True, slots=True)
class CountMailboxes(Query[CountedMailboxes]):
    """All mailboxes of an account with what is in them."""

    account_id: int


# What has changed. An id is in one of the lists; with it is the modseq at which that came about, so that an
# answer can be cut to what there was up to some modseq.


@dataclass(slots=True)
class Dated:
    """By modseq and id, ascending."""

    #: "Q" both.
    modseqs: array[int] = field(default_factory=lambda: array("Q"))
    ids: array[int] = field(default_factory=lambda: array("Q"))

    @classmethod
    def of(cls, rows: list[tuple[int, int]]) -> Dated:
        """(modseq, id), in any order."""
        rows.sort()
        return cls(array("Q", [modseq for modseq, _ in rows]), array("Q", [number for _, number in rows]))


@dataclass(frozen=True, slots=True)
class Changed:
    """Since a modseq (RFC 8620 section 5.2). What came and went meanwhile is in none."""

    #: The account's counter by now.
    modseq: int
    created: Dated
    updated: Dated
    destroyed: Dated
    #: Of mailboxes: those of `updated` of which more than counts changed.
    properties: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class EmailsSince(Query[Changed | None]):
    """Emails that came, changed their places or flags, or went. None where that is not known any more, or
    where the account never was at that modseq: cannotCalculateChanges."""

    account_id: int
    since: int


@dataclass(frozen=True, slots=True)
class ThreadsSince(Query[Changed | None]):
    """Threads that Emails came into or went out of."""

    account_id: int
    since: int


@dataclass(frozen=True, slots=True)
class MailboxesSince(Query[Changed | None]):
    account_id: int
    since: int


# Small objects (mailftp.store.email_units.SetObjects).


@dataclass(frozen=True, slots=True)
class FoundObjects:
    modseq: int
    #: Id -> value, by id.
    objects: dict[int, str]


@dataclass(frozen=True, slots=True)
class Objects(Query[FoundObjects]):
    """All of a kind that an account has."""

    account_id: int
    kind: str


@dataclass(frozen=True, slots=True)
class ObjectsSince(Query[Changed | None]):
    account_id: int
    kind: str
    since: int
