"""What the store keeps, as values. Times are seconds since the epoch, sizes are octets."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What SCRAM-SHA-256 needs of a password (RFC 5802 section 3); no password can be had from it."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    #: Keys of other passwords that open the account too, by the same salt and iterations; never stored.
    others: tuple[ScramKeys, ...] = ()


@dataclass(frozen=True, slots=True)
class Verifier:
    """How a password is checked: an argon2id PHC string and the SCRAM keys, changed only together."""

    password: str
    scram: ScramKeys | None = None
    #: The account's, where it was read with them; AddAccount and SetVerifier leave them as they are.
    app_passwords: tuple[AppPassword, ...] = ()


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password beside the account's own, made for one program."""

    id: int
    #: For people; unique within the account.
    name: str
    #: The part of the password that says which one it is; unique within the account.
    selector: str
    #: "imap", "ftp" and the like, sorted; () for every protocol.
    protocols: tuple[str, ...]
    #: With it FTP changes nothing.
    read_only: bool
    created: float
    verifier: Verifier
    #: When it last opened the account, to the hour; None for never.
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    #: Full address, lower case, A-labels: the login name everywhere.
    address: str
    created: float
    disabled: bool = False
    #: None: the server's default holds.
    mail_quota: int | None = None
    message_quota: int | None = None
    files_quota: int | None = None
    #: Messages and new recipients elsewhere in a day; 0: no limit.
    daily_messages: int | None = None
    daily_new_recipients: int | None = None
    #: A copy of what it submits is filed in Sent.
    file_sent: bool = False
    #: Changes whenever the verifier does; open sessions compare it.
    verifier_version: int = 1


@dataclass(frozen=True, slots=True)
class WebSession:
    """A browser that is logged in. Times are seconds since the epoch."""

    #: Never given twice; what its owner names it by.
    id: int
    account_id: int
    #: The account's when it was opened.
    verifier_version: int
    opened: float
    #: Written now and then, not at each use.
    used: float
    #: Where it was opened from, and by what: for people.
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that leads to others. All are keys (`Address.key`), or "@domain": as `address` all names of
    a domain that nothing else has, as the only target the same names of another domain."""

    address: str
    #: Sorted.
    targets: tuple[str, ...]
    #: The account of the same address gets a copy.
    keep: bool = False
    #: Not "" for a list: where reports about its mail go (RFC 5321 section 3.9.2).
    owner: str = ""
    #: Only members, and the owner, may send to the list.
    members_only: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """What the store has under one name."""

    account: Account | None = None
    alias: Alias | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The account `account` may send as `address`, which may be "@domain"."""

    address: str
    account: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    id: int
    account_id: int
    name: str
    uidvalidity: int
    uidnext: int
    #: The account's counter when something in this mailbox last changed.
    modseq: int
    #: "\\Sent" and the like, or "".
    special_use: str = ""
    subscribed: bool = True
    #: Where it stands among others in a client (RFC 8621 section 2).
    sort_order: int = 0


@dataclass(frozen=True, slots=True)
class BodyRef:
    """A stored body. Kept once, whoever holds it; CRLF line ends."""

    id: int
    size: int
    #: In a file of its own and not in the database.
    large: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message in a mailbox. What a client reads is `prefix` + the body."""

    mailbox_id: int
    uid: int
    modseq: int
    #: The Email of JMAP and EMAILID of IMAP: kept when copied or moved within the account.
    email_id: int
    thread_id: int
    body: BodyRef
    #: Trace headers of this recipient's copy (Return-Path, Delivered-To, Received), CRLF ended.
    prefix: bytes
    #: IMAP's INTERNALDATE.
    received: float
    flags: frozenset[str] = frozenset()
    #: When it came into this mailbox (RFC 8514).
    saved: float = 0.0

    @property
    def size(self) -> int:
        return len(self.prefix) + self.body.size


@dataclass(frozen=True, slots=True)
class StagedBody:
    """A body on its way in. Small ones are in memory, large ones in a file that no row names yet and that the
    commit brings to the disk."""

    size: int
    sha256: bytes
    data: bytes | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Filing:
    """One copy for one mailbox. The mailbox is made when it is missing."""

    account_id: int
    mailbox: str = "INBOX"
    flags: frozenset[str] = frozenset()
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class ForwardPath:
    """A recipient elsewhere, with what RFC 3461 asks to carry."""

    address: str
    #: "rfc822;user@example.test", xtext decoded, or "".
    orcpt: str = ""
    #: Subset of {"NEVER", "SUCCESS", "FAILURE", "DELAY"}; empty when the sender did not say.
    notify: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Handling:
    """What the sender of a message asks of every server on its way."""

    #: TLS with a checked certificate at every step, or no step (RFC 8689).
    requiretls: bool = False
    #: -9 to 9 (RFC 6710).
    priority: int = 0
    #: RFC 2852: when it must be there, and what then becomes of it: "R" it is returned, "N" its sender is
    #: told. 0: at no time.
    deliver_by: float = 0.0
    by_mode: str = ""
    #: Not before (RFC 4865); 0: at once.
    hold_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is to leave the house. `reverse_path` "" is the null sender."""

    reverse_path: str
    recipients: tuple[ForwardPath, ...]
    prefix: bytes = b""
    #: The account that submitted it, if one did.
    account_id: int | None = None
    #: RFC 3461 RET ("FULL", "HDRS" or "") and ENVID.
    ret: str = ""
    envid: str = ""
    eightbit: bool = False
    smtputf8: bool = False
    #: Context id of the connection or message that it came by, for the log.
    context: str = ""
    #: Who sent it, where `reverse_path` is one of ours because it is sent on; or "".
    return_to: str = ""
    handling: Handling = Handling()


class RecipientState(enum.Enum):
    WAITING = "waiting"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class QueueRecipient:
    id: int
    address: str
    domain: str
    state: RecipientState
    #: Number of the next attempt, from 1; the fence: an outcome for an older number is refused.
    attempt: int
    next_attempt: float
    orcpt: str = ""
    notify: frozenset[str] = frozenset()
    delay_warned: bool = False
    #: The last reply or error in words, one line.
    last_error: str = ""
    #: Who works on it now, or "".
    lease_owner: str = ""
    lease_until: float = 0.0
    #: "HOST:PORT" or "lmtp:HOST:PORT": where the operator sends it in place of where it would go; or "".
    route: str = ""
    #: The operator wants no further attempt: the next one gives up and tells the sender.
    give_up: bool = False


@dataclass(frozen=True, slots=True)
class QueueMessage:
    id: int
    transfer: Transfer
    #: Id 0 once nothing is left to send: the body is let go.
    body: BodyRef
    accepted: float
    recipients: tuple[QueueRecipient, ...]
    #: Of its Message-ID field, without brackets, or "".
    message_id: str = ""

    @property
    def size(self) -> int:
        return len(self.transfer.prefix) + self.body.size


@dataclass(frozen=True, slots=True)
class TracedCopy:
    """A copy of a message in a mailbox, for an operator to look at."""

    #: The account's address.
    account: str
    mailbox: str
    uid: int
    #: When it was accepted, and when it came into this mailbox.
    received: float
    saved: float
    flags: frozenset[str]
    #: When a POP3 client that leaves its mail here first took it; or None.
    retrieved: float | None
    #: Its trace header fields.
    prefix: bytes
    #: Without brackets, or "".
    message_id: str
    #: RFC 5256 section 2.1, without "Re:" and the like.
    subject: str


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address elsewhere that no mail is taken for."""

    address: str
    since: float
    #: 0: until somebody removes it.
    until: float
    #: One line: what its server said, or the operator.
    reason: str
    #: Messages that were refused for it; 0: it was put on the list by hand.
    failures: int


@dataclass(frozen=True, slots=True)
class TLSMemory:
    """A domain that took mail over STARTTLS."""

    domain: str
    #: Name of the host that did.
    host: str
    #: When that was last written down.
    since: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, kept for the operator to read."""

    recipient_id: int
    number: int
    started: float
    ended: float
    #: Host and address talked to, or "".
    remote: str
    outcome: str
    #: The dialogue, "C: ..." and "S: ..." lines; no message body, no password.
    dialogue: str


@dataclass(frozen=True, slots=True)
class Change:
    """What the feed tells after a commit. A hint: whoever hears it reads what is newer than the
    modseq it knows."""

    #: "mail", "metadata", "queue" when something is due now or later, "account", "alias" for aliases and
    #: grants, "suppression", or "retry" when the operator has queued mail tried at once.
    kind: str
    account_id: int = 0
    #: 0 when a subscription changed whose mailbox is gone, and for the account's own annotations.
    mailbox_id: int = 0
    modseq: int = 0
    #: Annotations that were set or removed, lower case.
    entries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an Accept unit made."""

    #: (account_id, mailbox_id, uid) for each Filing, in order.
    filed: tuple[tuple[int, int, int], ...]
    #: The queue's message id, or None when nothing leaves.
    queued: int | None
    #: Those of the unit's `forwards`.
    forwarded: tuple[int, ...] = ()
    #: What the unit's `claim` took.
    claimed: QueueMessage | None = None


@dataclass(frozen=True, slots=True)
class Flagged:
    """What a StoreFlags came to."""

    #: The new modseq of the messages that changed; 0 when none did.
    modseq: int = 0
    #: UIDs left as they are because something had changed there, ascending: what MODIFIED tells
    #: (RFC 7162 section 3.1.3).
    refused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Copied:
    """Where messages are now, as COPYUID tells it (RFC 9051 section 7.1); both rows of UIDs ascend and are
    empty when none of the messages was there."""

    #: The target's.
    mailbox_id: int
    uidvalidity: int
    sources: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """Where messages came to lie, as APPENDUID tells it (RFC 9051 section 7.1)."""

    mailbox_id: int
    uidvalidity: int
    #: In the order given; they ascend.
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MailboxChanges:
    """Everything of a mailbox newer than a modseq."""

    mailbox: Mailbox
    messages: tuple[Message, ...]
    #: UIDs expunged since.
    vanished: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MailboxListing:
    """Everything of a mailbox newer than a modseq, as parallel arrays in UID order: a hundred thousand
    messages are 3 MB and no object each."""

    mailbox: Mailbox
    #: "I", "Q", "Q", "d" and "I".
    uids: array[int]
    modseqs: array[int]
    #: Octets, prefix and body.
    sizes: array[int]
    #: IMAP's INTERNALDATE.
    received: array[float]
    #: Index into `flag_sets`.
    flag_numbers: array[int]
    flag_sets: tuple[frozenset[str], ...]
    #: "I": UIDs expunged since, ascending.
    vanished: array[int]
    #: False: expunges from that modseq on are not all remembered; what the asker knows and a listing from
    #: modseq 0 does not have is gone.
    vanished_complete: bool = True


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """What STATUS tells of a mailbox (RFC 9051 section 6.3.11); the rest is in `mailbox`."""

    mailbox: Mailbox
    messages: int
    #: Without \\Seen; with \\Deleted.
    unseen: int
    deleted: int
    #: Octets of all messages, and of those with \\Deleted.
    size: int
    deleted_size: int


@dataclass(frozen=True, slots=True)
class Places:
    """Messages' identifiers, as parallel arrays in UID order."""

    #: "I".
    uids: array[int]
    #: "Q": EMAILID and THREADID (RFC 8474).
    email_ids: array[int]
    thread_ids: array[int]
    #: "d": SAVEDATE (RFC 8514).
    saved: array[float]


class ReadyItem(enum.Enum):
    """What is kept ready to send in a FETCH response; the value is its place in the stored index."""

    ENVELOPE = 0
    BODY = 1
    BODYSTRUCTURE = 2


@dataclass(frozen=True, slots=True)
class ReadyTexts:
    #: "I", ascending.
    uids: array[int]
    #: A row of texts for each item asked, beside `uids`.
    texts: tuple[Sequence[bytes], ...]


@dataclass(frozen=True, slots=True)
class MessageTexts:
    """Messages as they are read, beside each other in UID order."""

    #: "I", ascending.
    uids: array[int]
    #: Octets of the prefix at the start of the text.
    prefix_sizes: array[int]
    #: Prefix and body; the prefix alone where the body is large.
    texts: Sequence[bytes]
    bodies: Sequence[BodyRef]
    #: Encoded mailftp.message.index, where it was asked for; else empty.
    indexes: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class MaildropListing:
    """What a mailbox holds, as POP3 asks: twelve octets a message, in UID order."""

    mailbox: Mailbox
    #: Nothing has changed since what the asker knows: the rest is empty.
    unchanged: bool
    uids: Sequence[int]
    #: Octets, prefix and body.
    sizes: Sequence[int]
    #: UID -> the UIDL that was set for it; the others have none of their own.
    uidls: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it is read: `prefix`, then the body."""

    prefix: bytes
    body: BodyRef
    #: None for a large body.
    data: bytes | None
    #: No line of the body starts with a dot; None when that is not known.
    dot_free: bool | None = None


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which queue messages a listing wants; empty fields match all."""

    ids: tuple[int, ...] = ()
    sender: str = ""
    recipient: str = ""
    domain: str = ""
    message_id: str = ""
    #: An address that it is from or to, or that it is sent on for; without case.
    party: str = ""
    #: Part of a recipient's last error, in any case of letters.
    error: str = ""
    #: Accepted at this time or before; None is any.
    accepted_by: float | None = None
    states: frozenset[RecipientState] = field(
        default_factory=lambda: frozenset({RecipientState.WAITING, RecipientState.HELD})
    )


#: Mailboxes of a new account: name -> special use (RFC 6154).
NEW_ACCOUNT_MAILBOXES: Mapping[str, str] = {
    "INBOX": "",
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """Recipients by what becomes of them."""

    waiting: int
    #: Of those that wait: what is being tried now.
    leased: int
    held: int
    #: When the oldest message that still has to go somewhere was accepted; None where there is none.
    oldest: float | None
