"""Which messages a command is about: its set of numbers or UIDs against what the client sees."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from mailftp.imap.commands import Bad
from mailftp.imap.context import Context
from mailftp.imap.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class Chosen:
    #: UIDs of messages that are there, in order.
    uids: list[int]
    #: Of those chosen that are gone, which the client was not told yet; in order. A command that goes by
    #: sequence number says NO [EXPUNGEISSUED] (RFC 5530) for them, a UID command passes them over.
    gone: list[int]


def choose(context: Context, wanted: SequenceSet, *, by_uid: bool) -> Chosen:
    """Raises Bad for a sequence number that no message has, and for any where UIDONLY is enabled."""
    view = context.selected
    if context.uidonly and not by_uid:
        # RFC 9586 section 3.
        raise Bad("UIDONLY is enabled: messages are named by their UIDs", b"UIDREQUIRED")
    known = view.uids()
    if wanted.saved:
        # Expunged ones have left it when the client was told (RFC 5182 section 2.1).
        uids = list(context.saved)
    else:
        try:
            spans = wanted.among(known) if by_uid else wanted.numbers(len(known))
        except ValueError as fault:
            raise Bad(str(fault)) from None
        uids = []
        for span in spans:
            uids += known[span.start : span.stop].tolist()
    gone = [uid for uid in view.gone if _holds(uids, uid)]
    if gone:
        dead = set(gone)
        uids = [uid for uid in uids if uid not in dead]
    return Chosen(uids, gone)


def _holds(uids: list[int], uid: int) -> bool:
    at = bisect_left(uids, uid)
    return at < len(uids) and uids[at] == uid
