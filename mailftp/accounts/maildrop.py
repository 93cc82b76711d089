"""The POP3 maildrop of an account: its INBOX, or another folder, as it was when the session opened it."""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailftp.accounts.avatars import Content, Drops, IMaildrop, MaildropLocked
from mailftp.accounts.listings import Listings
from mailftp.message.index import MessageIndex
from mailftp.store.engine import MissingBody, Store
from mailftp.store.names import mailbox_name
from mailftp.store.queries import Copies, Indexes, OpenBody
from mailftp.store.records import Account, BodyRef, Copy, MaildropListing
from mailftp.store.units import Expunge, NoteRetrieved
from mailftp.wire.eager import eager


class MaildropLocks:
    """Which maildrops are open (RFC 1939 section 4): one session at a time for each folder of an account.

    In the memory of the process, and, once `share` named a file, in the kernel for the other processes over
    the same data. Neither outlives its process, so nothing needs cleaning up after a crash.
    """

    __slots__ = ("_descriptor", "_held")

    def __init__(self) -> None:
        self._held: dict[tuple[int, str], object] = {}
        self._descriptor = -1

    def share(self, path: Path) -> None:
        """Also keep out sessions of other processes. Raises OSError."""
        self.close()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Give up every lock that others see; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def take(self, account_id: int, holder: object, folder: str = "INBOX") -> bool:
        key = (account_id, folder)
        if key in self._held:
            return self._held[key] is holder
        if not self._lock(fcntl.F_WRLCK, key):
            return False
        self._held[key] = holder
        return True

    def release(self, account_id: int, holder: object, folder: str = "INBOX") -> None:
        """Idempotent; of somebody else's lock it does nothing."""
        key = (account_id, folder)
        if self._held.get(key) is holder:
            del self._held[key]
            self._lock(fcntl.F_UNLCK, key)

    def _lock(self, kind: int, key: tuple[int, str]) -> bool:
        """One octet of the file, which need not be there, stands for a maildrop: no disk is waited for.
        The lock is the open file's, and a descriptor that is closed elsewhere does not end it."""
        if self._descriptor < 0:
            return True
        account_id, folder = key
        # Two folders of one account that fall on one octet only keep each other out.
        octet = (account_id << 20 | zlib.crc32(folder.encode("utf-8", "surrogateescape")) >> 12) & (2**62 - 1)
        wanted = struct.pack("hhqqi4x", kind, os.SEEK_SET, octet, 1, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            return False
        return True


@implementer(IMaildrop)
class StoreMaildrop:
    """With `expiring`, what a client fetches and leaves is noted, for the sweep to remove in time."""

    def __init__(
        self,
        store: Store,
        account: Account,
        locks: MaildropLocks,
        listings: Listings | None = None,
        *,
        expiring: bool = False,
    ) -> None:
        self._store = store
        self._account = account
        self._locks = locks
        self._listings = listings or Listings()
        self._expiring = expiring
        self._mailbox_id = 0
        self._uids: Sequence[int] = ()
        self._folder = ""

    @property
    def address(self) -> str:
        """The account's; Login names the session by it."""
        return self._account.address

    def open(self, folder: str = "INBOX") -> Deferred[Drops]:
        return eager(self._open(folder))

    async def _open(self, folder: str) -> Drops:
        self._folder = mailbox_name(folder)
        if not self._locks.take(self._account.id, self, self._folder):
            raise MaildropLocked("another session has this maildrop")
        try:
            listing = await self._listings.read(self._store, self._account.id, self._folder)
        except BaseException:
            self.release()
            raise
        if listing is None:
            if self._folder != "INBOX":
                self.release()
                raise LookupError(f"there is no folder {folder}")
            return Drops.of(())
        self._mailbox_id, self._uids = listing.mailbox.id, listing.uids
        return Drops(listing.sizes, _uidls(listing))

    def read(self, numbers: tuple[int, ...]) -> Deferred[tuple[Content, ...]]:
        return eager(self._read(numbers))

    async def _read(self, numbers: tuple[int, ...]) -> tuple[Content, ...]:
        found = await self._store.read(Copies(self._mailbox_id, tuple(self._uids[n] for n in numbers)))
        copies = [copy for copy in found if copy is not None]
        if len(copies) < len(numbers):
            raise LookupError("a message is gone")
        large = tuple(copy.body for copy in copies if copy.data is None)
        if not large:
            return tuple(map(_small, copies))
        descriptors: list[int] = []
        try:
            indexes = await self._store.read(Indexes(large))
            for ref in large:
                descriptors.append(await self._open_body(ref))
        except BaseException as error:
            for descriptor in descriptors:
                os.close(descriptor)
            if isinstance(error, MissingBody):
                raise LookupError("a message is gone") from None
            raise
        opened = iter(zip(descriptors, indexes, strict=True))
        return tuple(
            _small(copy) if copy.data is not None else _large(copy, *next(opened)) for copy in copies
        )

    async def _open_body(self, ref: BodyRef) -> int:
        """Opened even when nobody waits any more: a descriptor that arrives late is closed, not lost."""
        opening = self._store.read(OpenBody(ref))
        waiting: Deferred[int] = Deferred()
        opening.addCallbacks(_hand_over, waiting.errback, callbackArgs=(waiting,))
        return await waiting

    def update(self, deleted: tuple[int, ...], retrieved: tuple[int, ...] = ()) -> Deferred[None]:
        return eager(self._update(deleted, retrieved))

    async def _update(self, deleted: tuple[int, ...], retrieved: tuple[int, ...]) -> None:
        commits: list[Deferred[Any]] = []
        if deleted:
            # What IMAP has expunged meanwhile is passed over by the store.
            commits.append(self._store.commit(Expunge(self._account.id, self._mailbox_id, self._of(deleted))))
        if retrieved and self._expiring:
            commits.append(self._store.commit(NoteRetrieved(self._mailbox_id, self._of(retrieved))))
        for done in commits:
            await done

    def _of(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self._uids[number] for number in numbers)

    def release(self) -> None:
        self._locks.release(self._account.id, self, self._folder)


def _uidls(listing: MaildropListing) -> Callable[[int, int], Sequence[bytes]]:
    # Both numbers, so that a maildrop whose UIDs begin anew repeats no identifier: a client that knew it
    # would never fetch the message.
    form = b"%d.%%d" % listing.mailbox.uidvalidity
    uids, known = listing.uids, listing.uidls

    def made(start: int, stop: int) -> Sequence[bytes]:
        wanted = uids[start:stop]
        if not known:
            return [form % uid for uid in wanted]
        return [known.get(uid) or form % uid for uid in wanted]

    return made


def _small(copy: Copy) -> Content:
    body = copy.data or b""
    dot_free = _dot_free(body) if copy.dot_free is None else copy.dot_free
    return Content(copy.prefix, len(copy.prefix) + len(body), dot_free and _dot_free(copy.prefix), body)


def _large(copy: Copy, descriptor: int, index: MessageIndex) -> Content:
    dot_free = index.dot_free and _dot_free(copy.prefix)
    return Content(copy.prefix, len(copy.prefix) + copy.body.size, dot_free, None, descriptor)


def _dot_free(text: bytes) -> bool:
    return not text.startswith(b".") and b"\n." not in text


def _hand_over(descriptor: int, waiting: Deferred[int]) -> None:
    if waiting.called:
        os.close(descriptor)
    else:
        waiting.callback(descriptor)
