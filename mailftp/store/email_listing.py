"""All Emails of an account as columns: what JMAP's queries and counts are answered from.

An Email may lie in several mailboxes, each place with flags of its own. Its flags here are what RFC 8621
section 4.1.1 shows as keywords: those of any of its places, but \\Seen only where all have it. So mail that
is unread somewhere is unread, and a mark that was set by IMAP in one place is seen. A place with \\Deleted is
not there for JMAP, nor is an Email that has no other.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

_SEEN, _DRAFT, _DELETED = "\\Seen", "\\Draft", "\\Deleted"


def combined(places: Iterable[frozenset[str]]) -> frozenset[str]:
    """The flags of an Email whose places have these; none of them has \\Deleted."""
    sets = list(places)
    flags = frozenset[str]().union(*sets)
    return flags if all(_SEEN in each for each in sets) else flags - {_SEEN}


def hidden(flags: Collection[str]) -> bool:
    """A place with these flags is not there for JMAP (RFC 8621 section 4.1.1)."""
    return _DELETED in flags


def unread(flags: Collection[str]) -> bool:
    """RFC 8621 section 2, unreadEmails."""
    return _SEEN not in flags and _DRAFT not in flags


@dataclass(frozen=True, slots=True)
class MailCounts:
    """RFC 8621 section 2: totalEmails, unreadEmails, totalThreads, unreadThreads."""

    emails: int = 0
    unread_emails: int = 0
    threads: int = 0
    unread_threads: int = 0


@dataclass(frozen=True, slots=True)
class EmailPlaces:
    """An Email's row, as a listing is made of them."""

    email_id: int
    thread_id: int
    modseq: int
    size: int
    received: float
    flags: frozenset[str]
    #: Ascending.
    mailbox_ids: tuple[int, ...]


@dataclass(frozen=True)
class EmailListing:
    """Parallel arrays by Email id, ascending; never changed, so it can be shared by threads. A hundred
    thousand Emails are 4 MB and no object each. `uids` has the name that searches know it by (columns.py)."""

    #: The account's counter: all of this was read at one time.
    modseq: int
    #: "Q" but for received, "d", and the numbers, "I".
    uids: array[int]
    thread_ids: array[int]
    #: When anything of the Email last changed.
    modseqs: array[int]
    sizes: array[int]
    received: array[float]
    #: Index into `flag_sets` and `mailbox_sets`.
    flag_numbers: array[int]
    mailbox_numbers: array[int]
    flag_sets: tuple[frozenset[str], ...]
    mailbox_sets: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, modseq: int, rows: Iterable[EmailPlaces]) -> EmailListing:
        """`rows` by Email id, ascending."""
        flags: dict[frozenset[str], int] = {}
        mailboxes: dict[tuple[int, ...], int] = {}
        listing = cls(
            modseq, array("Q"), array("Q"), array("Q"), array("Q"), array("d"), array("I"), array("I"), (), ()
        )
        for row in rows:
            listing._append(row, flags, mailboxes)
        return listing._with_sets(modseq, flags, mailboxes)

    def changed(self, modseq: int, rows: Iterable[EmailPlaces], gone: Collection[int]) -> EmailListing:
        """As it is at `modseq`, where these, by Email id, are new or different, and those are there no
        more."""
        flags = {each: number for number, each in enumerate(self.flag_sets)}
        mailboxes = {each: number for number, each in enumerate(self.mailbox_sets)}
        new = EmailListing(
            modseq,
            self.uids[:],
            self.thread_ids[:],
            self.modseqs[:],
            self.sizes[:],
            self.received[:],
            self.flag_numbers[:],
            self.mailbox_numbers[:],
            (),
            (),
        )
        late = []
        for row in rows:
            at = bisect_left(new.uids, row.email_id)
            if at == len(new.uids):
                new._append(row, flags, mailboxes)
            elif new.uids[at] != row.email_id:
                late.append(row)
            else:
                new._put(at, row, flags, mailboxes)
        for at in sorted((place for each in gone if (place := self._find(each)) is not None), reverse=True):
            for column in new._columns():
                del column[at]
        # Shown again: it was gone for as long as all its places had \Deleted.
        for row in late:
            at = bisect_left(new.uids, row.email_id)
            for column in new._columns():
                column.insert(at, 0)
            new._put(at, row, flags, mailboxes)
        return new._with_sets(modseq, flags, mailboxes)

    def _columns(self) -> tuple[array[int], ...]:
        received: array[int] = self.received  # type: ignore[assignment]  # All are treated alike.
        return (
            self.uids,
            self.thread_ids,
            self.modseqs,
            self.sizes,
            received,
            self.flag_numbers,
            self.mailbox_numbers,
        )

    def _append(
        self, row: EmailPlaces, flags: dict[frozenset[str], int], mailboxes: dict[tuple[int, ...], int]
    ) -> None:
        for column in self._columns():
            column.append(0)
        self._put(-1, row, flags, mailboxes)

    def _put(
        self,
        at: int,
        row: EmailPlaces,
        flags: dict[frozenset[str], int],
        mailboxes: dict[tuple[int, ...], int],
    ) -> None:
        self.uids[at] = row.email_id
        self.thread_ids[at] = row.thread_id
        self.modseqs[at] = row.modseq
        self.sizes[at] = row.size
        self.received[at] = row.received
        self.flag_numbers[at] = flags.setdefault(row.flags, len(flags))
        self.mailbox_numbers[at] = mailboxes.setdefault(row.mailbox_ids, len(mailboxes))

    def _with_sets(
        self, modseq: int, flags: Iterable[frozenset[str]], mailboxes: Iterable[tuple[int, ...]]
    ) -> EmailListing:
        return EmailListing(
            modseq,
            self.uids,
            self.thread_ids,
            self.modseqs,
            self.sizes,
            self.received,
            self.flag_numbers,
            self.mailbox_numbers,
            tuple(flags),
            tuple(mailboxes),
        )

    def _find(self, email_id: int) -> int | None:
        at = bisect_left(self.uids, email_id)
        return at if at < len(self.uids) and self.uids[at] == email_id else None

    @cached_property
    def by_received(self) -> array[int]:
        """Indexes of all Emails, the newest first; those of one time by id, the highest first. The order in
        which every client lists mail, so it is kept."""
        order = sorted(range(len(self.uids)), key=self.received.__getitem__)
        order.reverse()
        return array("I", order)

    def emails_with(self, number: int) -> bytes:
        """A byte for each Email, 1 where its mailboxes are these of `mailbox_sets`."""
        return bytes(each == number for each in self.mailbox_numbers)

    @cached_property
    def _counted(self) -> dict[int, dict[int, MailCounts]]:
        return {}

    def counts(self, trash: int) -> dict[int, MailCounts]:
        """Of each mailbox that has Emails, by id; `trash` is the id of the mailbox of that role, or 0.
        Counted once.

        RFC 8621 section 2: a thread is unread where any of its Emails is; those in the trash and nowhere else
        count for the trash alone, and the trash counts no others.
        """
        if trash not in self._counted:
            self._counted[trash] = self._count(trash)
        return self._counted[trash]

    def _count(self, trash: int) -> dict[int, MailCounts]:
        unread_set = [unread(flags) for flags in self.flag_sets]
        emails: Counter[int] = Counter()
        unread_emails: Counter[int] = Counter()
        for (flags, where), count in Counter(
            zip(self.flag_numbers, self.mailbox_numbers, strict=True)
        ).items():
            for mailbox_id in self.mailbox_sets[where]:
                emails[mailbox_id] += count
                unread_emails[mailbox_id] += count if unread_set[flags] else 0
        threads: dict[int, set[int]] = {}
        unread_in: set[int] = set()
        unread_trash: set[int] = set()
        rows = set(zip(self.thread_ids, self.flag_numbers, self.mailbox_numbers, strict=True))
        for thread_id, flags, where in rows:
            mailboxes = self.mailbox_sets[where]
            for mailbox_id in mailboxes:
                threads.setdefault(mailbox_id, set()).add(thread_id)
            if unread_set[flags]:
                if mailboxes != (trash,):
                    unread_in.add(thread_id)
                if trash in mailboxes:
                    unread_trash.add(thread_id)
        return {
            mailbox_id: MailCounts(
                emails[mailbox_id],
                unread_emails[mailbox_id],
                len(there),
                len(there & (unread_trash if mailbox_id == trash else unread_in)),
            )
            for mailbox_id, there in threads.items()
        }
