"""What a login gives, by protocol. A realm hands these out by interface; one portal serves all protocols.

FTP asks for `mailftp.files.home.IHome` or `twisted.protocols.ftp.IFTPShell`, POP3 for `IMaildrop` or
`twisted.mail.pop3.IMailbox`, submission for `ISubmitter`, IMAP for `IMailAccount`.
mailftp.accounts.adapters turns Twisted's two into ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from mailftp.message.address import Address
from mailftp.store.engine import Store
from mailftp.store.records import Account


class MaildropLocked(Exception):
    """Another session has it: POP3 says -ERR [IN-USE] (RFC 2449 section 8.1.1)."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A message of a maildrop: its exact size in octets as RETR sends it (without dot-stuffing),
    and its UIDL."""

    size: int
    uidl: bytes


@dataclass(frozen=True, slots=True)
class Drops:
    """The messages of a maildrop. A hundred thousand of them are no objects of their own: an array of sizes,
    and UIDLs made when they are asked for."""

    sizes: Sequence[int]
    #: Of the messages from a 0-based number up to another, that one not included.
    uidls: Callable[[int, int], Sequence[bytes]]

    @classmethod
    def of(cls, drops: Iterable[Drop]) -> Drops:
        there = tuple(drops)
        known = tuple(drop.uidl for drop in there)
        return cls(tuple(drop.size for drop in there), lambda start, stop: known[start:stop])

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(slots=True)
class Content:
    """What RETR sends: `prefix`, then `data`, or `size - len(prefix)` octets of the file
    `descriptor`, which the
    receiver closes. With `dot_free` no line of the body starts with a dot."""

    prefix: bytes
    size: int
    dot_free: bool
    data: bytes | None = None
    descriptor: int = -1


class ISubmitter(Interface):
    """Somebody who may send mail."""

    address: str = Attribute("The login name: a full address.")
    account_id: int | None = Attribute("The account in the store, or None for a foreign realm's user.")

    def may_send_as(address: Address) -> bool:
        """Whether this address may stand in MAIL FROM."""


class IMailAccount(Interface):
    """All mail of an account: its owner works with the store's units and queries, each of which names the
    account."""

    address: str = Attribute("The login name: a full address.")
    account: Account = Attribute("The account as it was at login.")
    store: Store = Attribute("Where its mail is; the server's own store.")


class IMaildrop(Interface):
    """A POP3 maildrop: a view of a mailbox, fixed when it is opened (RFC 1939 section 8)."""

    def open(folder: str = "INBOX") -> Deferred[Drops]:
        """Lock it and list it. Fails with MaildropLocked, or LookupError when there is no such folder."""

    def read(numbers: tuple[int, ...]) -> Deferred[tuple[Content, ...]]:
        """Contents by 0-based number. A message that has gone since fails the whole with LookupError."""

    def update(deleted: tuple[int, ...], retrieved: tuple[int, ...] = ()) -> Deferred[None]:
        """Remove these, in one transaction (the UPDATE state); `retrieved` were fetched whole and are left on
        the server, which may remove them after a time."""

    def release() -> None:
        """Give up the lock; idempotent."""
