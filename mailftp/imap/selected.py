"""A session's view of its selected mailbox: which sequence number is which message, and what the client has
yet to be told (RFC 9051 sections 2.3.1.2, 5.2 and 7.5.1; RFC 3501 is the same here).

A sequence number changes only by what the client was told. A view keeps no numbers: they follow from the
shared UIDs up to the last one told (`_horizon`) and from the messages that are gone and not yet told to be.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress

from mailftp.imap.mailbox_state import MailboxState

#: Messages whose changed flags are remembered one by one.
MANY = 4096


@dataclass(frozen=True, slots=True)
class News:
    """What to tell the client, in this order. UIDs stand beside sequence numbers for VANISHED, RFC 7162
    section 3.2.10."""

    #: Messages as EXPUNGE names them, the highest first, so that none of them moves another; then their UIDs,
    #: lowest first.
    expunged: tuple[int, ...] = ()
    vanished: tuple[int, ...] = ()
    #: For EXISTS; None when no message came.
    exists: int | None = None
    #: UIDs of messages whose flags changed, lowest first. Those that came with this very news are not in it.
    changed: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.expunged or self.exists is not None or self.changed)


class SelectedView:
    """Sees all that `state` holds when it is made. `close` it when the mailbox is left."""

    __slots__ = ("_changed", "_gone", "_horizon", "_many", "_told", "state")

    def __init__(self, state: MailboxState) -> None:
        self.state = state
        #: The last UID that the client knows to exist; what is above comes with the next EXISTS.
        self._horizon = state.uidnext - 1
        #: Expunged and not told; in UID order. They keep their numbers.
        self._gone = array("I")
        #: Messages whose flags the client was not told of; where there are `_many`, all that are newer than
        #: `_told` besides.
        self._changed: set[int] = set()
        self._many = False
        self._told = state.modseq
        state.add_view(self)

    def close(self) -> None:
        """Idempotent."""
        self.state.remove_view(self)

    # What the mailbox's state tells.

    def note_changed(self, uid: int) -> None:
        if uid <= self._horizon and not self._many:
            self._changed.add(uid)
            if len(self._changed) > MANY:
                # A session that asks for no news must not hold as many as there are messages.
                self._many = True

    def note_expunged(self, uids: list[int]) -> None:
        known = uids[: bisect_right(uids, self._horizon)]
        if len(known) == 1:
            insort(self._gone, known[0])
        elif known:
            # Two sorted runs, as in `uids`.
            self._gone = array("I", sorted([*self._gone, *known]))
        self._changed.difference_update(known)

    # Numbers.

    @property
    def exists(self) -> int:
        """Messages as the client counts them; the highest sequence number."""
        return self._known + len(self._gone)

    @property
    def _known(self) -> int:
        """How many of the shared UIDs the client knows of."""
        uids = self.state.uids
        if not uids or uids[-1] <= self._horizon:
            return len(uids)
        return bisect_right(uids, self._horizon)

    def uid_of(self, number: int) -> int:
        """Also of a message that is gone, as long as the client was not told. Raises LookupError."""
        if not 0 < number <= self.exists:
            raise LookupError(f"there is no message {number}")
        uids, gone = self.state.uids, self._gone
        low, high = 0, len(gone)
        # How many of those gone have a lower number: before the i-th are i gone and the living of lower UID.
        while low < high:
            middle = (low + high) // 2
            if bisect_left(uids, gone[middle]) + middle + 1 < number:
                low = middle + 1
            else:
                high = middle
        if low < len(gone) and bisect_left(uids, gone[low]) + low + 1 == number:
            return gone[low]
        return uids[number - 1 - low]

    def number_of(self, uid: int) -> int | None:
        """None for a message that the client was not told of, or was told to be gone."""
        if uid > self._horizon:
            return None
        if self.state.index(uid) is None and not self.is_gone(uid):
            return None
        return bisect_left(self.state.uids, uid) + bisect_left(self._gone, uid) + 1

    @property
    def last_told(self) -> int:
        """No UID above it was told of."""
        return self._horizon

    @property
    def gone(self) -> tuple[int, ...]:
        """UIDs of messages that are expunged, which the client was not told; in order."""
        return tuple(self._gone)

    def is_gone(self, uid: int) -> bool:
        """Expunged, and not told: the client may still ask for it."""
        at = bisect_left(self._gone, uid)
        return at < len(self._gone) and self._gone[at] == uid

    def uids(self) -> array[int]:
        """UIDs by sequence number, less one. To be read at once, never written: it may be the state's own."""
        shared = self.state.uids
        known = self._known
        if not self._gone:
            return shared if known == len(shared) else shared[:known]
        # Two sorted runs, which is what this sort is best at.
        return array("I", sorted([*shared[:known], *self._gone]))

    def stretch(self, uids: list[int]) -> tuple[int, int] | None:
        """Where these are, messages that stand one after the other and that the client knows of: sequence
        number and index of the first. None when they do not, in this view or in the state."""
        if not uids or uids[-1] > self._horizon:
            return None
        at = self.state.index(uids[0])
        if at is None or self.state.uids[at : at + len(uids)].tolist() != uids:
            return None
        before = bisect_left(self._gone, uids[0])
        if before != bisect_left(self._gone, uids[-1]):
            return None
        return at + before + 1, at

    # News.

    def forget(self, uids: Iterable[int], modseq: int) -> None:
        """The client knows these flags: it set them itself, with `modseq`. What somebody else changed since
        is still told."""
        state = self.state
        for uid in uids:
            at = state.index(uid)
            if at is not None and state.modseqs[at] <= modseq:
                self._changed.discard(uid)
        if self._many:
            others = self._newer(modseq)
            if len(others) <= MANY:
                self._changed.update(others)
                self._many, self._told = False, state.modseq

    def _take_changed(self) -> tuple[int, ...]:
        if self._many:
            self._changed.update(self._newer())
        changed = tuple(sorted(self._changed))
        self._changed, self._many, self._told = set(), False, self.state.modseq
        return changed

    def _newer(self, but: int = 0) -> list[int]:
        """UIDs that the client knows, of messages that changed after `_told`, not those of one modseq."""
        known, told = self._known, self._told
        newer = (modseq > told and modseq != but for modseq in self.state.modseqs[:known])
        return list(compress(self.state.uids[:known], newer))

    def untold(self, uids: list[int]) -> set[int]:
        """Those of these whose flags have changed without the client having been told."""
        if self._many:
            self._changed.update(self._newer())
            return self._changed & set(uids)
        return self._changed.intersection(uids) if self._changed else set()

    def take_news(self, *, expunges: bool) -> News:
        """What the client has to be told; it counts as told.

        `expunges` is False where RFC 9051 section 7.5.1 forbids EXPUNGE: no command is under way, or one of
        FETCH, STORE and SEARCH that go by sequence number. Those gone keep their numbers until it is True.
        """
        expunged: tuple[int, ...] = ()
        vanished: tuple[int, ...] = ()
        if expunges and self._gone:
            uids = self.state.uids
            expunged = tuple(
                bisect_left(uids, uid) + at + 1 for at, uid in reversed(tuple(enumerate(self._gone)))
            )
            vanished = tuple(self._gone)
            self._gone = array("I")
        changed = self._take_changed()
        before = self.exists
        self._horizon = self.state.uidnext - 1
        exists = self.exists
        return News(expunged, vanished, exists if exists != before else None, changed)
