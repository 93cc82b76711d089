"""What a mailbox holds, once for all sessions of this process that have it selected.

Arrays, not an object for each message: 100,000 messages take about 3 MB, however many sessions look at them.
Each session has a `SelectedView` (mailftp.imap.selected) on it. No I/O: whoever hears of a change reads what
is newer than `modseq` and gives it to `apply`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import compress
from typing import Protocol

from mailftp.store.records import Mailbox, MailboxListing

#: Expunges at once from which the arrays are made anew: each one alone moves what lies behind it.
_MANY = 8
#: Flag sets that no message has any more and that may lie about before the table is made anew.
_SPARE_SETS = 1024


class View(Protocol):
    """A session's view, told in this order what one `apply` changed."""

    def note_changed(self, uid: int) -> None:
        """Flags of a message that was there."""

    def note_expunged(self, uids: list[int]) -> None:
        """In UID order; they are in the arrays no longer."""


class MailboxState:
    """The arrays are parallel and in UID order. Nobody but `apply` writes them; nobody keeps one, or an index
    into one, over an await."""

    __slots__ = (
        "_numbers",
        "_unseen",
        "_views",
        "flag_numbers",
        "flag_sets",
        "mailbox",
        "modseq",
        "modseqs",
        "received",
        "sizes",
        "uidnext",
        "uids",
    )

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        #: All up to this one is in the arrays; 0: nothing was read yet.
        self.modseq = 0
        self.uidnext = 1
        self.uids = array("I")
        self.modseqs = array("Q")
        #: Octets, as a client reads the message.
        self.sizes = array("Q")
        #: INTERNALDATE, seconds since the epoch.
        self.received = array("d")
        #: Index into `flag_sets`: a mailbox has a handful of different ones.
        self.flag_numbers = array("I")
        self.flag_sets: list[frozenset[str]] = []
        self._numbers: dict[frozenset[str], int] = {}
        #: The modseq that it is of, and the first message without \\Seen.
        self._unseen: tuple[int, int | None] = (0, None)
        self._views: dict[View, None] = {}

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def watched(self) -> bool:
        """Whether a session has a view of it; one without may be forgotten and read again."""
        return bool(self._views)

    def add_view(self, view: View) -> None:
        self._views[view] = None

    def remove_view(self, view: View) -> None:
        """Idempotent."""
        self._views.pop(view, None)

    def index(self, uid: int) -> int | None:
        """Where in the arrays a message is; None when it is not there (any more)."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else None

    def flags(self, at: int) -> frozenset[str]:
        return self.flag_sets[self.flag_numbers[at]]

    def first_unseen(self) -> int | None:
        """Where the first message without \\Seen is; None when there is none. Kept until something changes:
        each SELECT asks."""
        if self._unseen[0] != self.modseq or not self.modseq:
            unseen = {number for number, flags in enumerate(self.flag_sets) if "\\Seen" not in flags}
            numbers = enumerate(self.flag_numbers)
            found = next((at for at, number in numbers if number in unseen), None) if unseen else None
            self._unseen = (self.modseq, found)
        return self._unseen[1]

    def apply(self, changes: MailboxListing) -> None:
        """Take in everything newer than a modseq that is not above `modseq`; its `vanished` is complete.

        Reads may overlap and come in any order: UIDs are never given twice and a message's modseq only grows,
        so what is known already, and what is gone already, is recognised and passed over.
        """
        if changes.mailbox.id != self.mailbox.id:
            raise ValueError("changes of another mailbox")
        numbers = [self._number(flags) for flags in changes.flag_sets]
        new = bisect_left(changes.uids, self.uidnext)
        changed = [changes.uids[at] for at in range(new) if self._change(changes, at, numbers)]
        self._append(changes, new, numbers)
        self.uidnext = max(self.uidnext, changes.mailbox.uidnext)
        gone = self._remove(changes.vanished)
        if changes.mailbox.modseq >= self.modseq:
            self.modseq, self.mailbox = changes.mailbox.modseq, changes.mailbox
        if len(self.flag_sets) > len(self.uids) + _SPARE_SETS:
            self._renumber()
        for view in tuple(self._views):
            for uid in changed:
                view.note_changed(uid)
            if gone:
                view.note_expunged(gone)

    def _append(self, changes: MailboxListing, new: int, numbers: list[int]) -> None:
        """Those from `new` on; `numbers` are ours for the listing's flag sets."""
        self.uids += changes.uids[new:]
        self.modseqs += changes.modseqs[new:]
        self.sizes += changes.sizes[new:]
        self.received += changes.received[new:]
        flag_numbers = changes.flag_numbers[new:]
        if numbers != list(range(len(numbers))):
            flag_numbers = array("I", map(numbers.__getitem__, flag_numbers))
        self.flag_numbers += flag_numbers

    def _change(self, changes: MailboxListing, there: int, numbers: list[int]) -> bool:
        at = self.index(changes.uids[there])
        if at is None or self.modseqs[at] >= changes.modseqs[there]:
            return False
        self.modseqs[at] = changes.modseqs[there]
        self.flag_numbers[at] = numbers[changes.flag_numbers[there]]
        return True

    def _number(self, flags: frozenset[str]) -> int:
        number = self._numbers.get(flags)
        if number is None:
            number = self._numbers[flags] = len(self.flag_sets)
            self.flag_sets.append(flags)
        return number

    def _renumber(self) -> None:
        """A client that gives every message a new keyword all day must not fill the memory."""
        used = [self.flag_sets[number] for number in self.flag_numbers]
        self.flag_sets, self._numbers = [], {}
        self.flag_numbers = array("I", map(self._number, used))

    def _remove(self, vanished: Iterable[int]) -> list[int]:
        """Answers those that were there, in UID order."""
        gone = sorted({uid for uid in vanished if self.index(uid) is not None})
        if len(gone) < _MANY:
            for uid in gone:
                at = bisect_left(self.uids, uid)
                for column in (self.uids, self.modseqs, self.sizes, self.received, self.flag_numbers):
                    del column[at]
            return gone
        dead = set(gone)
        stays = bytes(uid not in dead for uid in self.uids)
        self.uids = array("I", compress(self.uids, stays))
        self.modseqs = array("Q", compress(self.modseqs, stays))
        self.sizes = array("Q", compress(self.sizes, stays))
        self.received = array("d", compress(self.received, stays))
        self.flag_numbers = array("I", compress(self.flag_numbers, stays))
        return gone
