"""The contract that every engine keeps: SQLite, PostgreSQL, and the plain one in memory.

Invariants, shown by the conformance suite (tests/store/conformance.py) on each engine:

- When the Deferred of `commit` fires, the unit survives kill -9 and a power cut (not in memory).
- UID and MODSEQ are taken in the insert's own transaction, so the order in which messages become
visible is the order of
  their numbers.
- The feed speaks after the commit, on the reactor thread, never before.
- No read transaction outlives a query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred

from mailftp.store.queries import Query
from mailftp.store.records import Change, StagedBody
from mailftp.store.units import Unit
from mailftp.wire.tally import Histogram

R = TypeVar("R")

#: Bodies up to this many octets live in the database.
SMALL_BODY = 64 * 1024
#: Seconds that what has left the queue is kept for the operator to read, unless the settings say otherwise.
HISTORY = 7 * 86400.0


class StoreFault(Exception):
    """Base of what the store refuses; its text is for people."""


class AccountExists(StoreFault):
    pass


class NoSuchAccount(StoreFault):
    pass


class NoSuchAlias(StoreFault):
    """Or it has no such target, or nobody has such a grant; its text says which."""


class AppPasswordExists(StoreFault):
    pass


class NoSuchSuppression(StoreFault):
    pass


class NoSuchTLSMemory(StoreFault):
    pass


class NoSuchAppPassword(StoreFault):
    pass


class MailboxExists(StoreFault):
    pass


class NoSuchMailbox(StoreFault):
    """Or it is another account's: who asks is not told which."""


class NoSuchMessage(StoreFault):
    pass


class MailboxRefused(StoreFault):
    """What can be done to no mailbox of this name: IMAP says NO [CANNOT]."""


class LimitReached(StoreFault):
    """IMAP says NO [LIMIT]."""


class TooManyAnnotations(LimitReached):
    """IMAP says NO [METADATA TOOMANY] (RFC 5464 section 4.3)."""


class AnnotationTooLarge(LimitReached):
    """IMAP says NO [METADATA MAXSIZE n]."""

    def __init__(self, text: str, most: int) -> None:
        super().__init__(text)
        self.most = most


class MissingBody(StoreFault):
    pass


class StoreFull(StoreFault):
    """The disk is full: SMTP says 452, FTP 452, IMAP NO."""


class SchemaTooNew(StoreFault):
    """The store was written by a later version; its text names both."""


class OverQuota(StoreFault):
    def __init__(self, account_ids: tuple[int, ...]) -> None:
        super().__init__("the mailbox is full")
        self.account_ids = account_ids


class SendingLimit(StoreFault):
    """An account has sent what it may in a day; `what` is "messages" or "new recipients"."""

    def __init__(self, what: str, most: int) -> None:
        super().__init__(f"more than {most} {what} in a day")
        self.what, self.most = what, most


class BodySink(Protocol):
    """Takes a body as it arrives. Beyond SMALL_BODY it goes to a file, written by a thread."""

    def write(self, data: bytes) -> Deferred[None] | None:
        """None: go on. A Deferred: read no more from the client until it fires (it fails with
        StoreFull)."""

    def finish(self) -> Deferred[StagedBody]:
        """The body whole; a large one is in a file, which the commit brings to the disk."""

    def abort(self) -> None:
        """Forget it; idempotent, also after finish when no commit follows."""


class Subscription(Protocol):
    def cancel(self) -> None: ...


class Store(ABC):
    #: How long its commits took, where it has a disk.
    commit_seconds: Histogram | None = None

    @abstractmethod
    def start(self) -> Deferred[None]:
        """Open it, upgrading an older schema. Fails with SchemaTooNew, or StoreFault in words."""

    @abstractmethod
    def stop(self) -> Deferred[None]:
        """Commit what waits, then close."""

    @abstractmethod
    def stage(self) -> BodySink: ...

    @abstractmethod
    def commit(self, unit: Unit[R]) -> Deferred[R]: ...

    @abstractmethod
    def read(self, query: Query[R]) -> Deferred[R]: ...

    @abstractmethod
    def subscribe(self, hear: Callable[[tuple[Change, ...]], None]) -> Subscription:
        """`hear` is called on the reactor thread with the changes of each group commit."""
