"""What maildrops held when they were last listed.

POP3 clients look every minute, most of them at thousands of messages that they leave on the server: a mailbox
that has not changed since is not read again.
"""

from __future__ import annotations

from collections import OrderedDict

from mailftp.store.engine import Store
from mailftp.store.queries import ListMaildrop
from mailftp.store.records import MaildropListing

#: Messages remembered over all accounts: twelve octets each.
MOST = 1_000_000


class Listings:
    """Lately used last; the least lately used go first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, str], MaildropListing] = OrderedDict()
        self._count = 0

    async def read(self, store: Store, account_id: int, folder: str = "INBOX") -> MaildropListing | None:
        """The mailbox as it is now; None when there is none."""
        key = (account_id, folder)
        known = self._known.get(key)
        mark = (known.mailbox.id, known.mailbox.modseq) if known is not None else (0, 0)
        listing = await store.read(ListMaildrop(account_id, folder, mark))
        if known is not None and listing is not None and listing.unchanged:
            listing = known
        self._forget(key)
        if listing is not None and len(listing.uids) <= self._most:
            self._known[key] = listing
            self._count += len(listing.uids)
            while self._count > self._most:
                self._forget(next(iter(self._known)))
        return listing

    def _forget(self, key: tuple[int, str]) -> None:
        listing = self._known.pop(key, None)
        if listing is not None:
            self._count -= len(listing.uids)
