"""What the plain engine holds.

A unit checks everything that can fail before it changes anything, so that a unit that fails leaves
no trace, as a SAVEPOINT gives it to the other engines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mailftp.message.index import MessageIndex
from mailftp.store.engine import SMALL_BODY, MissingBody, NoSuchAccount
from mailftp.store.names import SEPARATOR, TOMBSTONES_AGE, TOMBSTONES_LIMIT
from mailftp.store.quota import MailQuota
from mailftp.store.records import (
    Account,
    Alias,
    AppPassword,
    Attempt,
    BodyRef,
    Change,
    Mailbox,
    Message,
    QueueMessage,
    QueueRecipient,
    RecipientState,
    StagedBody,
    Suppression,
    TLSMemory,
    Transfer,
    Verifier,
    WebSession,
)

#: How long a body that nothing names is kept: somebody may be reading it.
GRACE = 3600.0


@dataclass(slots=True)
class Body:
    ref: BodyRef
    sha256: bytes
    data: bytes
    index: MessageIndex
    holders: int = 0
    unused_since: float = 0.0


@dataclass(slots=True)
class Box:
    mailbox: Mailbox
    #: By UID, ascending.
    messages: dict[int, Message] = field(default_factory=dict)
    #: (modseq, uid), ascending, and when each came to be.
    tombstones: list[tuple[int, int]] = field(default_factory=list)
    expunged: list[float] = field(default_factory=list)
    #: From this modseq on the tombstones are all there.
    horizon: int = 0
    #: Annotations.
    metadata: dict[str, bytes] = field(default_factory=dict)
    #: By UID; of messages that are gone, too.
    uidls: dict[int, bytes] = field(default_factory=dict)
    #: The account's counter when it was made, and when more of it changed than what is in it.
    created_modseq: int = 0
    changed_modseq: int = 0
    retrieved: dict[int, float] = field(default_factory=dict)


class Note(NamedTuple):
    """What JMAP is told of an account and cannot be seen in what is there: as the table "destroyed" of the
    SQL engines."""

    modseq: int
    kind: str
    id: int
    created_modseq: int = 0
    thread_id: int = 0
    since: float = 0.0


@dataclass(slots=True)
class Holder:
    """An account and all that is in it."""

    account: Account
    verifier: Verifier
    modseq: int = 0
    octets: int = 0
    messages: int = 0
    boxes: dict[str, Box] = field(default_factory=dict)
    subscriptions: set[str] = field(default_factory=set)
    #: Annotations of its own.
    metadata: dict[str, bytes] = field(default_factory=dict)
    #: By the hash of their token.
    web_sessions: dict[bytes, WebSession] = field(default_factory=dict)
    #: The last day on which it sent, messages, new recipients.
    sent: tuple[int, int, int] = (0, 0, 0)
    correspondents: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    #: By id.
    app_passwords: dict[int, AppPassword] = field(default_factory=dict)
    thread_keys: dict[bytes, int] = field(default_factory=dict)
    #: Thread id -> its emails, each with the number of mailboxes that it is in.
    threads: dict[int, dict[int, int]] = field(default_factory=dict)
    #: Email id -> the modseq that it came with.
    created: dict[int, int] = field(default_factory=dict)
    #: By modseq; from the horizon on they are all there.
    notes: list[Note] = field(default_factory=list)
    #: Kind -> id -> (modseq at which it was made, last changed, value).
    objects: dict[str, dict[int, tuple[int, int, str]]] = field(default_factory=dict)
    horizon: int = 0


@dataclass(frozen=True, slots=True)
class Uploaded:
    account_id: int
    body: BodyRef
    created: float


@dataclass(slots=True)
class Recipient:
    id: int
    message_id: int
    address: str
    domain: str
    orcpt: str
    notify: frozenset[str]
    next_attempt: float
    #: Seconds that its first attempt counts as due before that.
    ahead: float = 0.0
    state: RecipientState = RecipientState.WAITING
    #: Attempts begun so far.
    attempts: int = 0
    delay_warned: bool = False
    last_error: str = ""
    lease_owner: str = ""
    lease_until: float = 0.0
    #: What the operator asked for while it was leased.
    wish: RecipientState | None = None
    route: str = ""
    give_up: bool = False

    @property
    def due(self) -> float:
        return self.lease_until if self.lease_owner else self.next_attempt - self.ahead

    @property
    def unfinished(self) -> bool:
        return self.state in (RecipientState.WAITING, RecipientState.HELD)

    def value(self) -> QueueRecipient:
        return QueueRecipient(
            id=self.id,
            address=self.address,
            domain=self.domain,
            state=self.state,
            attempt=self.attempts if self.lease_owner else self.attempts + 1,
            next_attempt=self.next_attempt,
            orcpt=self.orcpt,
            notify=self.notify,
            delay_warned=self.delay_warned,
            last_error=self.last_error,
            lease_owner=self.lease_owner,
            lease_until=self.lease_until,
            route=self.route,
            give_up=self.give_up,
        )


@dataclass(slots=True)
class Queued:
    id: int
    transfer: Transfer
    body: BodyRef
    accepted: float
    recipients: list[Recipient]
    message_id: str
    finished: float | None = None

    def value(self, recipients: list[Recipient]) -> QueueMessage:
        return QueueMessage(
            id=self.id,
            transfer=self.transfer,
            body=self.body,
            accepted=self.accepted,
            recipients=tuple(recipient.value() for recipient in recipients),
            message_id=self.message_id,
        )


class State:
    def __init__(
        self,
        now: Callable[[], float],
        quota: MailQuota,
        index: Callable[[bytes | memoryview], MessageIndex],
        history: float,
    ) -> None:
        self.history = history
        self.now = now
        self._quota = quota
        self.index = index
        self.holders: dict[int, Holder] = {}
        self.by_address: dict[str, int] = {}
        self.aliases: dict[str, Alias] = {}
        self.boxes: dict[int, Box] = {}
        self.bodies: dict[int, Body] = {}
        self.by_sha256: dict[bytes, Body] = {}
        self.queue: dict[int, Queued] = {}
        self.recipients: dict[int, Recipient] = {}
        self.attempts: dict[int, list[Attempt]] = {}
        #: By id, ascending.
        self.uploads: dict[int, Uploaded] = {}
        self.suppressions: dict[str, Suppression] = {}
        #: Counted, but not often enough yet.
        self.refused: dict[str, Suppression] = {}
        self.tls_memories: dict[str, TLSMemory] = {}
        self.changes: list[Change] = []
        self._last: dict[str, int] = {}

    def next_id(self, kind: str) -> int:
        """Ids are never given twice, not even after what had them is gone."""
        self._last[kind] = number = self._last.get(kind, 0) + 1
        return number

    def next_uidvalidity(self) -> int:
        """RFC 9051 section 2.3.1.1: ascending, never repeated; 32 bits."""
        self._last["uidvalidity"] = number = max(self._last.get("uidvalidity", 0) + 1, int(self.now()))
        return number

    def holder(self, account_id: int) -> Holder:
        try:
            return self.holders[account_id]
        except KeyError:
            raise NoSuchAccount(f"there is no account {account_id}") from None

    def holder_of(self, address: str) -> Holder:
        try:
            return self.holders[self.by_address[address]]
        except KeyError:
            raise NoSuchAccount(f"there is no account {address}") from None

    def quota(self, account: Account) -> MailQuota:
        return self._quota.of(account.mail_quota, account.message_quota)

    def touch(self, box: Box, holder: Holder) -> int:
        """The next modseq of the account, set on the mailbox too, and told to the feed."""
        holder.modseq += 1
        box.mailbox = replace(box.mailbox, modseq=holder.modseq)
        self.changes.append(Change("mail", holder.account.id, box.mailbox.id, holder.modseq))
        return holder.modseq

    def add_box(self, holder: Holder, name: str, special_use: str = "", subscribe: bool = True) -> Box:
        if subscribe:
            holder.subscriptions.add(name)
        mailbox = Mailbox(
            id=self.next_id("mailbox"),
            account_id=holder.account.id,
            name=name,
            uidvalidity=self.next_uidvalidity(),
            uidnext=1,
            modseq=0,
            special_use=special_use,
            subscribed=name in holder.subscriptions,
        )
        box = holder.boxes[name] = self.boxes[mailbox.id] = Box(mailbox)
        box.created_modseq = box.changed_modseq = self.touch(box, holder)
        self.note_beneath(holder, name)
        return box

    def note_beneath(self, holder: Holder, name: str) -> None:
        """A mailbox came or went: those beneath it have another parent."""
        for each, box in holder.boxes.items():
            if each.startswith(name + SEPARATOR):
                box.changed_modseq = holder.modseq

    def take_body(self, staged: StagedBody) -> Body:
        """The body as it is kept, made when it is new. Raises MissingBody."""
        body = self.by_sha256.get(staged.sha256)
        if body is None:
            if staged.data is None:
                raise MissingBody("this body was never staged here")
            ref = BodyRef(self.next_id("body"), staged.size, staged.size > SMALL_BODY)
            body = Body(ref, staged.sha256, staged.data, self.index(staged.data), unused_since=self.now())
            self.bodies[ref.id] = self.by_sha256[staged.sha256] = body
        return body

    def let_go(self, body_id: int) -> None:
        body = self.bodies[body_id]
        body.holders -= 1
        body.unused_since = self.now()

    def sweep(self) -> None:
        """Forget bodies that nothing has named for the grace time."""
        before = self.now() - GRACE
        gone = [b for b in self.bodies.values() if not b.holders and b.unused_since <= before]
        for body in gone:
            del self.bodies[body.ref.id], self.by_sha256[body.sha256]
        for box in self.boxes.values():
            old = bisect_right(box.expunged, self.now() - TOMBSTONES_AGE)
            old = max(old, len(box.tombstones) - TOMBSTONES_LIMIT)
            if old:
                box.horizon = box.tombstones[old - 1][0]
                del box.tombstones[:old], box.expunged[:old]
        for holder in self.holders.values():
            old = bisect_right(holder.notes, self.now() - TOMBSTONES_AGE, key=lambda note: note.since)
            old = max(old, len(holder.notes) - TOMBSTONES_LIMIT)
            if old:
                holder.horizon = holder.notes[old - 1].modseq
                del holder.notes[:old]
