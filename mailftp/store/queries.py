"""Everything that can be read, as values. Answered on threads of their own, never on the reactor's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mailftp.message.index import MessageIndex
from mailftp.store.columns import Copied
from mailftp.store.criteria import ColumnTest, HeaderTest, TextTest
from mailftp.store.findings import IndexAnswer, SortKey, ThreadAlgorithm, Threads
from mailftp.store.records import (
    Account,
    Alias,
    AppPassword,
    Attempt,
    BodyRef,
    Copy,
    Destination,
    Grant,
    Mailbox,
    MailboxChanges,
    MailboxListing,
    MailboxStatus,
    MaildropListing,
    MessageTexts,
    Places,
    QueueFigures,
    QueueFilter,
    QueueMessage,
    ReadyItem,
    ReadyTexts,
    Suppression,
    TLSMemory,
    TracedCopy,
    Verifier,
    WebSession,
)

R = TypeVar("R")


class Query(Generic[R]):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Accounts(Query[tuple[Account, ...]]):
    """All accounts, by address."""


@dataclass(frozen=True, slots=True)
class AccountWithVerifier(Query[tuple[Account, Verifier] | None]):
    """With its app passwords, all of which say None for `last_used`."""

    address: str


@dataclass(frozen=True, slots=True)
class AppPasswords(Query[tuple[AppPassword, ...]]):
    """Of an account, by name."""

    account_id: int


@dataclass(frozen=True, slots=True)
class FindWebSession(Query[tuple[WebSession, Account] | None]):
    """The session of a token, with its account as it is now."""

    token_hash: bytes


@dataclass(frozen=True, slots=True)
class WebSessions(Query[tuple[WebSession, ...]]):
    """Of an account, last used first."""

    account_id: int


@dataclass(frozen=True, slots=True)
class Named(Query[Destination]):
    """What there is under the name of an account or alias."""

    address: str


@dataclass(frozen=True, slots=True)
class Aliases(Query[tuple[Alias, ...]]):
    """All aliases, by address."""


@dataclass(frozen=True, slots=True)
class Grants(Query[tuple[Grant, ...]]):
    """By address and account; of one account where its id is given."""

    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class ReturnTo(Query[str | None]):
    """Who sent the message that left under this reverse-path of ours; None when that is not, or no longer,
    known."""

    reverse_path: str


@dataclass(frozen=True, slots=True)
class Mailboxes(Query[tuple[Mailbox, ...]]):
    account_id: int


@dataclass(frozen=True, slots=True)
class Subscriptions(Query[tuple[str, ...]]):
    """Names subscribed to, sorted; those whose mailbox is gone, too (RFC 9051 section 6.3.7)."""

    account_id: int


@dataclass(frozen=True, slots=True)
class MailboxSince(Query[MailboxChanges | None]):
    """A mailbox by id or by (account, name), with its messages and tombstones newer than `modseq`,
    in UID order.

    None when there is no such mailbox. With modseq 0, the asker knows nothing yet: no tombstones.
    """

    account_id: int
    name: str = "INBOX"
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class ListMailbox(Query[MailboxListing | None]):
    """A mailbox of an account, by name or id, with what is newer than `modseq`; None when there is none.

    With modseq 0 the asker knows nothing yet, and is told of no expunges.
    """

    account_id: int
    mailbox: str | int = "INBOX"
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class ListStatus(Query[tuple[MailboxStatus, ...]]):
    """Of those of an account's mailboxes that are named, by name; of all when `names` is None.

    What did not change since it was last asked is not counted again.
    """

    account_id: int
    names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ListPlaces(Query[Places | None]):
    """Of the UIDs that are there; None when the account has no such mailbox. A `range` of UIDs, of step 1, is
    read as it lies and costs what is there, not what it names."""

    account_id: int
    mailbox_id: int
    uids: range | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadReady(Query[ReadyTexts | None]):
    """Ready-made ENVELOPEs and the like of messages, of the UIDs that are there; `uids` as in ListPlaces.

    The caller bounds it: a message is about a kilobyte, all are in memory at one time.
    """

    account_id: int
    mailbox_id: int
    uids: range | tuple[int, ...]
    items: tuple[ReadyItem, ...]


@dataclass(frozen=True, slots=True)
class ReadMessages(Query[MessageTexts | None]):
    """Messages of a mailbox, of the UIDs that are there; `uids` as in ListPlaces. The caller bounds what the
    small bodies come to: all are in memory at one time.

    With `header_only`, of a body only its header with the empty line, of a large one as well (as far as its
    first SMALL_BODY octets go). With `with_index`, their stored indexes too: an index of an older version is
    b"", and `Indexes` makes it again.
    """

    account_id: int
    mailbox_id: int
    uids: range | tuple[int, ...]
    header_only: bool = False
    with_index: bool = False


@dataclass(frozen=True, slots=True)
class SearchMessages(Query[tuple[tuple[int, ...], ...]]):
    """Of these UIDs those that pass, for each of the tests, ascending; a UID that is gone passes none.

    All are read: mailftp.store.searching asks for a piece at a time. Raises NoSuchMailbox.
    """

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    tests: tuple[HeaderTest | TextTest, ...]


@dataclass(frozen=True, slots=True)
class SearchColumns(Query[tuple[bytes, ...]]):
    """For each test a byte for each message, 1 for those that pass. Nothing is read: it is work for the
    store's threads and not for the reactor's."""

    columns: Copied
    tests: tuple[ColumnTest, ...]


@dataclass(frozen=True, slots=True)
class SearchIndex(Query[IndexAnswer | None]):
    """As SearchMessages, without reading messages: what the account's full-text index knows. Raises
    NoSuchMailbox.

    Of a `range` of UIDs, whatever it holds, None where too many texts would have to be looked into: single
    UIDs are asked for then, a piece at a time.
    """

    account_id: int
    mailbox_id: int
    uids: range | tuple[int, ...]
    tests: tuple[HeaderTest | TextTest, ...]


@dataclass(frozen=True, slots=True)
class SortMessages(Query[tuple[int, ...]]):
    """These UIDs, but for those that are gone, sorted (RFC 5256): by the first key, equals by the next, and
    at last by UID. Each key is with whether it is reversed. Raises NoSuchMailbox."""

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    order: tuple[tuple[SortKey, bool], ...]


@dataclass(frozen=True, slots=True)
class ThreadMessages(Query[Threads]):
    """The threads of these UIDs, but for those that are gone (RFC 5256). Raises NoSuchMailbox, and
    LimitReached for what would take too long."""

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    algorithm: ThreadAlgorithm


@dataclass(frozen=True, slots=True)
class ListMaildrop(Query[MaildropListing | None]):
    """A mailbox as a maildrop; None when there is no such mailbox.

    `known` is the id and modseq of the mailbox as the asker knows it: a client that looks every minute mostly
    finds it unchanged.
    """

    account_id: int
    name: str = "INBOX"
    known: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Copies(Query[tuple[Copy | None, ...]]):
    """Messages of a mailbox by UID, in the order asked, each UID once; None for one that is gone.

    The caller bounds what the small bodies come to: all are in memory at one time.
    """

    mailbox_id: int
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bodies(Query[tuple[bytes, ...]]):
    """Small bodies, whole, in the order asked. Raises MissingBody for a large one."""

    refs: tuple[BodyRef, ...]


@dataclass(frozen=True, slots=True)
class OpenBody(Query[int]):
    """A large body's open file descriptor, which the caller closes. Raises MissingBody."""

    ref: BodyRef


@dataclass(frozen=True, slots=True)
class ReadStart(Query[bytes]):
    """The first octets of a body, small or large, `most` of them at most. Raises MissingBody."""

    ref: BodyRef
    most: int


@dataclass(frozen=True, slots=True)
class Indexes(Query[tuple[MessageIndex, ...]]):
    """Ready-made metadata of bodies; made again where it is of an older version."""

    refs: tuple[BodyRef, ...]


@dataclass(frozen=True, slots=True)
class Metadata(Query[tuple[tuple[str, bytes], ...] | None]):
    """Annotations of a mailbox by name, or of the account where that is None: entry, lower case, and value,
    by entry. None when there is no such mailbox."""

    account_id: int
    mailbox: str | None = None


@dataclass(frozen=True, slots=True)
class MailUsage(Query[tuple[int, int]]):
    """(octets, messages) of an account."""

    account_id: int


@dataclass(frozen=True, slots=True)
class TraceMail(Query[tuple[TracedCopy, ...]]):
    """Copies in anybody's mailboxes, newest first, `limit` at most: of one Message-ID (without brackets), or
    all that an address has or sent, or both. It walks over all mail, on a reader's thread."""

    message_id: str = ""
    address: str = ""
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Suppressions(Query[tuple[Suppression, ...]]):
    """Those that hold now, by address."""


@dataclass(frozen=True, slots=True)
class FindTLSMemory(Query[TLSMemory | None]):
    """What is remembered of a domain (lower case), for however long."""

    domain: str


@dataclass(frozen=True, slots=True)
class TLSMemories(Query[tuple[TLSMemory, ...]]):
    """All, by domain."""


@dataclass(frozen=True, slots=True)
class QueueList(Query[tuple[QueueMessage, ...]]):
    """Oldest first, or `newest`."""

    filter: QueueFilter = field(default_factory=QueueFilter)
    limit: int = 1000
    newest: bool = False


@dataclass(frozen=True, slots=True)
class QueueAttempts(Query[tuple[Attempt, ...]]):
    message_id: int


@dataclass(frozen=True, slots=True)
class NextDue(Query[float | None]):
    """Seconds from now, by the database's clock, until LeaseDue would find something; None when
    nothing waits."""


@dataclass(frozen=True, slots=True)
class QueueDepth(Query[QueueFigures]):
    """How much waits."""


#: Those that may take long.
LONG = (SearchColumns, SearchIndex, SearchMessages, SortMessages, ThreadMessages)
