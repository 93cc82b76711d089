"""What was expunged since a client last looked: VANISHED (EARLIER), RFC 7162 section 3.2."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from mailftp.imap.context import Context
from mailftp.imap.sequence import SequenceSet, format_set
from mailftp.store.queries import ListMailbox


async def vanished_since(context: Context, modseq: int, among: SequenceSet | None) -> bytes:
    """The set of those UIDs of the selected mailbox, of `among` or of all, that were expunged after `modseq`;
    b"" for none. Without those that the client still counts, which are told when they can be.

    Raises LookupError when the mailbox is gone.
    """
    view = context.selected
    found = await context.store.read(ListMailbox(context.account.id, view.state.mailbox.id, modseq))
    if found is None:
        raise LookupError("the mailbox is gone")
    last = view.state.uidnext - 1
    if last < 1:
        return b""
    spans = [(1, last)] if among is None else among.spans(last)
    if not found.vanished_complete:
        # RFC 7162 section 3.2.5.2: what is not remembered is told by what is there.
        absent = _absent(spans, view.uids(), last)
        return b",".join(b"%d" % a if a == b else b"%d:%d" % (a, b) for a, b in absent)
    starts = [first for first, _ in spans]
    uids = [uid for uid in found.vanished if uid <= last and view.number_of(uid) is None]
    return format_set([uid for uid in uids if (at := bisect_right(starts, uid)) and uid <= spans[at - 1][1]])


def _absent(spans: Sequence[tuple[int, int]], known: Sequence[int], last: int) -> Iterator[tuple[int, int]]:
    """The stretches of `spans`, up to `last`, in which no UID of `known` is: never one by one, as there may
    be millions of UIDs and few messages."""
    for first, end in spans:
        start = first
        for uid in known[bisect_left(known, first) : bisect_right(known, end)]:
            if uid > start:
                yield start, uid - 1
            start = uid + 1
        if start <= min(end, last):
            yield start, min(end, last)
