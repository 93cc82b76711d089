"""What was counted in mailboxes and listed of accounts, kept for who asks again."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from mailftp.store.email_listing import EmailListing
from mailftp.store.records import Mailbox


class MailboxCounts(NamedTuple):
    """As in MailboxStatus."""

    messages: int
    unseen: int
    deleted: int
    size: int
    deleted_size: int


class Counts:
    """A client that asks for the STATUS of a thousand mailboxes each minute finds one that changed.

    Each use is one step under Python's lock, so the readers share it."""

    def __init__(self, most: int = 20_000) -> None:
        self._most = most
        #: Mailbox id -> its modseq and the counts.
        self._known: OrderedDict[int, tuple[int, MailboxCounts]] = OrderedDict()

    def get(self, mailbox: Mailbox) -> MailboxCounts | None:
        known = self._known.get(mailbox.id)
        return known[1] if known is not None and known[0] == mailbox.modseq else None

    def keep(self, mailbox: Mailbox, counts: MailboxCounts) -> None:
        self._known[mailbox.id] = (mailbox.modseq, counts)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


class EmailListings:
    """Of the accounts that asked last. Each use is one step under Python's lock, so the readers share it."""

    def __init__(self, most: int = 2_000_000) -> None:
        """`most` Emails of all together are kept, of 48 octets each."""
        self._most = most
        self._known: OrderedDict[int, EmailListing] = OrderedDict()

    def get(self, account_id: int) -> EmailListing | None:
        return self._known.get(account_id)

    def keep(self, account_id: int, listing: EmailListing) -> None:
        self._known[account_id] = listing
        self._known.move_to_end(account_id)
        while (
            len(self._known) > 1 and sum(len(each.uids) for each in list(self._known.values())) > self._most
        ):
            self._known.popitem(last=False)
