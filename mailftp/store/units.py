"""Everything that can be written, as values. A unit is committed whole or not at all.

A unit is data and not a closure, so that it can be sent to the process that writes; an engine has one
function for each class. Within a group commit each unit is a SAVEPOINT: one that fails never fails
its neighbours.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mailftp.store.records import (
    Accepted,
    Account,
    Alias,
    Appended,
    AppPassword,
    Attempt,
    Copied,
    Filing,
    Flagged,
    Grant,
    Mailbox,
    QueueMessage,
    RecipientState,
    StagedBody,
    Suppression,
    TLSMemory,
    Transfer,
    Verifier,
    WebSession,
)

R = TypeVar("R")


class Unit(Generic[R]):
    """Something to commit; R is what the commit answers."""

    __slots__ = ()


# Accounts.


@dataclass(frozen=True, slots=True)
class AddAccount(Unit[Account]):
    """Raises AccountExists. Makes the mailboxes of NEW_ACCOUNT_MAILBOXES."""

    address: str
    verifier: Verifier


@dataclass(frozen=True, slots=True)
class RemoveAccount(Unit[Account]):
    """Raises NoSuchAccount. Mail goes with it, and so do its alias, its grants and its places in other
    aliases; a later account of that name inherits nothing, UIDVALIDITY included."""

    address: str


@dataclass(frozen=True, slots=True)
class SetVerifier(Unit[Account]):
    """Raises NoSuchAccount."""

    address: str
    verifier: Verifier


@dataclass(frozen=True, slots=True)
class SetAccount(Unit[Account]):
    """Sets the fields named in `changes`, of mailftp.store.names.ACCOUNT_FIELDS. Raises NoSuchAccount."""

    address: str
    changes: tuple[tuple[str, bool | int | None], ...]


@dataclass(frozen=True, slots=True)
class AddAppPassword(Unit[AppPassword]):
    """A password more for an account. Raises NoSuchAccount, AppPasswordExists, LimitReached; StoreFault when
    its SCRAM keys are not by the salt of the account's own."""

    address: str
    name: str
    selector: str
    verifier: Verifier
    protocols: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class RemoveAppPasswords(Unit[tuple[AppPassword, ...]]):
    """One by its name, or with None all of an account; answers what was removed. Raises NoSuchAccount,
    NoSuchAppPassword."""

    address: str
    name: str | None


@dataclass(frozen=True, slots=True)
class NoteAppPasswordUse(Unit[None]):
    """It was used now; nothing happens when it is gone. The feed does not tell."""

    id: int


# Browsers that are logged in.


@dataclass(frozen=True, slots=True)
class OpenWebSession(Unit[WebSession]):
    """Raises NoSuchAccount. Of an account's sessions, those used least lately go when there are more than
    WEB_SESSIONS, and those not used since `stale` go too."""

    account_id: int
    token_hash: bytes
    #: The account's when the password was checked: one that was changed meanwhile opens nothing.
    verifier_version: int
    address: str
    agent: str
    stale: float = 0.0


@dataclass(frozen=True, slots=True)
class UseWebSession(Unit[None]):
    """Note that it is used; one that is gone stays gone."""

    id: int


@dataclass(frozen=True, slots=True)
class CloseWebSessions(Unit[int]):
    """Close these of an account's sessions, all where `ids` is None; answers how many there were."""

    account_id: int
    ids: tuple[int, ...] | None = None


# Aliases.


@dataclass(frozen=True, slots=True)
class AddAlias(Unit[Alias]):
    """Add targets to an alias, which is made when it is missing; None leaves the others as they are. Answers
    it as it is now. Raises LimitReached."""

    address: str
    targets: tuple[str, ...] = ()
    keep: bool | None = None
    owner: str | None = None
    members_only: bool | None = None


@dataclass(frozen=True, slots=True)
class RemoveAlias(Unit[Alias]):
    """Remove an alias, or these of its targets; with the last of them it goes too. Answers it as it was.
    Raises NoSuchAlias, also for a target that it does not have."""

    address: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrantAddress(Unit[Grant]):
    """An account may send as an address from now on. Raises NoSuchAccount."""

    address: str
    account: str


@dataclass(frozen=True, slots=True)
class RevokeAddress(Unit[Grant]):
    """Raises NoSuchAccount, NoSuchAlias."""

    address: str
    account: str


# Mail.


@dataclass(frozen=True, slots=True)
class Submission:
    """An account sends. Without recipients nothing is counted."""

    account_id: int
    #: Elsewhere, by key.
    recipients: tuple[str, ...] = ()
    #: What holds for accounts that have no limits of their own; 0: no limit.
    daily_messages: int = 0
    daily_new_recipients: int = 0
    #: Of the copy that is filed in Sent, if the account asks for it.
    copy_prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is to send a message as soon as it is accepted: its recipients are under a lease from the start, as
    if LeaseDue had taken them at once."""

    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Accept(Unit[Accepted]):
    """Take responsibility for a message: the mailbox rows and the queue rows of one 250, in one
    transaction.

    Raises OverQuota (naming the accounts) when a filing does not fit, and SendingLimit; then nothing of it is
    kept. A copy in Sent is the last of what was filed.
    """

    body: StagedBody
    received: float
    filings: tuple[Filing, ...] = ()
    transfer: Transfer | None = None
    #: What leaves under other reverse-paths than `transfer`, because an alias sends it on.
    forwards: tuple[Transfer, ...] = ()
    submission: Submission | None = None
    #: Of `transfer`; for one that is held until later there is none.
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class CreateMailbox(Unit[Mailbox]):
    """Raises MailboxExists, LimitReached. Where `subscribe` is not set, a subscription of that name from
    before stays."""

    account_id: int
    name: str
    special_use: str = ""
    subscribe: bool = True


@dataclass(frozen=True, slots=True)
class DeleteMailbox(Unit[Mailbox]):
    """Remove a mailbox with its messages; what is beneath it stays, and so does a subscription (RFC 9051
    sections 6.3.5 and 6.3.7).

    Answers it as it was. Raises NoSuchMailbox, and MailboxRefused for INBOX.
    """

    account_id: int
    name: str


@dataclass(frozen=True, slots=True)
class RenameMailbox(Unit[tuple[Mailbox, ...]]):
    """Rename a mailbox and all that is beneath it: all or none (RFC 9051 section 6.3.6). Answers what was
    renamed, by name, as it is now; ids, UIDVALIDITY, UIDs and uses stay.

    A name that is none but has mailboxes beneath it can be renamed too. The messages of INBOX are moved to a
    new mailbox, which alone is answered; INBOX stays and so does what is beneath it. Where the old name is
    subscribed the new one becomes so; the old one is left for the client to remove.

    Raises NoSuchMailbox; MailboxExists, also for a name beneath the new one; MailboxRefused for a new name
    beneath the old; LimitReached.
    """

    account_id: int
    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class SetSubscription(Unit[bool]):
    """Answers whether that changed anything. The name need not be a mailbox's (RFC 9051 section 6.3.7).
    Raises NoSuchAccount, LimitReached."""

    account_id: int
    name: str
    subscribed: bool


class FlagChange(enum.Enum):
    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class StoreFlags(Unit[Flagged]):
    """UIDs that are gone are passed over, and so are all when the account has no such mailbox.

    With `unchanged_since`, messages whose modseq is above it are left as they are and named in the answer
    (RFC 7162 section 3.1.3): the others are changed.
    """

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    change: FlagChange
    flags: frozenset[str]
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Expunge(Unit[tuple[int, ...]]):
    """Remove messages, leaving tombstones; answers the UIDs that were still there, of a mailbox of the
    account.

    With `marked` only those that have \\Deleted by then: another session may have taken the mark away since
    it was looked at.
    """

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    marked: bool = False


@dataclass(frozen=True, slots=True)
class SetMetadata(Unit[None]):
    """Set annotations (RFC 5464), and remove those whose value is None: all or none. Of the account itself,
    IMAP's server annotations, where `mailbox` is None. An entry's name has no case.

    Raises NoSuchMailbox, NoSuchAccount, AnnotationTooLarge, TooManyAnnotations.
    """

    account_id: int
    mailbox: str | None
    entries: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class CopyMessages(Unit[Copied]):
    """Put messages of one mailbox of an account into another of the same account, by name, or into the same
    one again: all or none (RFC 9051 section 6.4.7). UIDs that are gone are passed over.

    Flags, INTERNALDATE and the email and thread ids are kept; all copies have one modseq. Raises
    NoSuchMailbox for either mailbox, and OverQuota, since each place in a mailbox counts.
    """

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    target: str


@dataclass(frozen=True, slots=True)
class MoveMessages(Unit[Copied]):
    """CopyMessages, and the sources expunged in the same transaction (RFC 9051 section 6.4.8).

    Nobody sees a message in both mailboxes or in neither. The quota does not hold it up, so a full account
    can be tidied. Raises NoSuchMailbox for either mailbox.
    """

    account_id: int
    mailbox_id: int
    uids: tuple[int, ...]
    target: str


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One that a client brings; `received` becomes its INTERNALDATE."""

    body: StagedBody
    received: float
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AppendMessages(Unit[Appended]):
    """Put messages into a mailbox, by name: all or none (RFC 9051 section 6.3.12, RFC 3502).

    `replaces` is the (mailbox id, UID) of a message of the same account that is expunged in the same
    transaction (RFC 8508). Raises NoSuchMailbox, and makes none: the client is told TRYCREATE. Raises
    NoSuchMessage when what was to be replaced is gone, and OverQuota; what makes an account that is over its
    quota no larger is taken.
    """

    account_id: int
    mailbox: str
    messages: tuple[NewMessage, ...]
    replaces: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SetUidls(Unit[tuple[int, ...]]):
    """Give messages the UIDLs that they had on another server, so that clients do not fetch them again;
    answers the UIDs that were there.

    A UIDL is 1 to 70 octets from 0x21 to 0x7E (RFC 1939 section 7). Raises StoreFault, with none set, for any
    other, for one that another message of the mailbox has, and for the form that the store gives itself,
    "<UIDVALIDITY>.<number>".
    """

    mailbox_id: int
    uidls: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class NoteRetrieved(Unit[int]):
    """These were fetched now by a client that keeps them here; the first time counts. Answers how many are
    new."""

    mailbox_id: int
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExpireRetrieved(Unit[int]):
    """Expunge at most `limit` messages that were first fetched `seconds` ago or earlier, the oldest first;
    answers how many."""

    seconds: float
    limit: int


# The queue.


@dataclass(frozen=True, slots=True)
class VoidLeases(Unit[int]):
    """At start: leases of earlier boots of this owner end now. `owner` is "<node>/<boot id>";
    answers how many."""

    owner: str


@dataclass(frozen=True, slots=True)
class LeaseDue(Unit[tuple[QueueMessage, ...]]):
    """Take waiting recipients whose time has come, by the database's clock, oldest first.

    Each message comes with only the recipients leased; their `attempt` is the number of the
    attempt that now begins.
    `busy` names destinations (domains) that can take no more now; where `among` is not None, only its
    destinations are asked about.
    """

    owner: str
    seconds: float
    limit: int
    busy: frozenset[str] = frozenset()
    among: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class RenewLeases(Unit[int]):
    """While DATA is being sent. Answers how many of them are still ours."""

    owner: str
    recipient_ids: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to for one recipient. WAITING with `next_attempt` is "try again then"."""

    recipient_id: int
    attempt: Attempt
    state: RecipientState
    next_attempt: float = 0.0
    error: str = ""
    delay_warned: bool = False


@dataclass(frozen=True, slots=True)
class RecordOutcomes(Unit[tuple[int, ...]]):
    """End leases with what came of them; `reports` (bounces, warnings) are accepted in the same
    transaction, so that
    none is lost or sent twice. Answers the recipient ids taken; an outcome whose lease or attempt
    number is no longer ours is
    refused, and if any is refused no report is accepted.

    A report is filed even where its account is over quota, and left out where that account is gone."""

    owner: str
    outcomes: tuple[Outcome, ...]
    reports: tuple[Accept, ...] = ()


@dataclass(frozen=True, slots=True)
class NoteRefusedAddress(Unit[bool]):
    """The server of an address has refused it for good once more. After `after` such times, each within
    `seconds` of the one before, it is suppressed for `seconds`; answers whether it is from now on. One that
    is suppressed already stays as it is."""

    address: str
    reason: str
    after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Suppress(Unit[Suppression]):
    """Put an address on the list; without `seconds` until it is removed. Raises LimitReached."""

    address: str
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Unsuppress(Unit[Suppression]):
    """Take it off the list, and answer how it stood there. Raises NoSuchSuppression."""

    address: str


@dataclass(frozen=True, slots=True)
class RememberTLS(Unit[None]):
    """A host of a domain (lower case) took mail over STARTTLS. What was written down longer ago than
    `seconds` is forgotten, and the oldest where there are too many."""

    domain: str
    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ForgetTLS(Unit[TLSMemory]):
    """Forget that of a domain, and answer what was remembered. Raises NoSuchTLSMemory."""

    domain: str


class QueueAction(enum.Enum):
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    DROP = "drop"
    BOUNCE = "bounce"


#: What makes mail due at once: the feed tells "retry".
AT_ONCE = frozenset({QueueAction.RETRY, QueueAction.RELEASE})


@dataclass(frozen=True, slots=True)
class ActOnQueue(Unit[int]):
    """What the operator does to messages (all their unfinished recipients); answers the number of
    recipients changed.

    A recipient that is leased at the moment: HOLD and DROP take effect when the attempt ends, unless
    it ended for good. RETRY makes waiting recipients due now and leaves held ones; RELEASE makes held
    ones due now. BOUNCE makes both due now with `give_up` set; one that is leased is due when an attempt
    that does not end for good ends. No ids: none.
    """

    action: QueueAction
    message_ids: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class SetRoute(Unit[int]):
    """Send the unfinished recipients of messages by a route of the operator's, from the next attempt on; ""
    is the one that they would go anyway. Answers the number of recipients changed."""

    route: str
    message_ids: tuple[int, ...]
