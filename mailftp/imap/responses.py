"""Untagged responses about the selected mailbox and its messages: RFC 9051 section 7 (RFC 3501 section 7).

Many lines are made by one formatting, and the flags of a message are the ready octets of its flag set: of
100,000 messages a handful differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from mailftp.imap.mailbox_state import MailboxState
from mailftp.imap.selected import News, SelectedView
from mailftp.imap.sequence import format_set

#: Lines made at one time: about 256 KiB, so that a client who reads slowly holds no more of our memory.
PIECE = 4096


@dataclass(frozen=True, slots=True)
class Told:
    """What a client has asked to be told with each change."""

    #: VANISHED in place of EXPUNGE (RFC 7162 section 3.2.10).
    vanished: bool = False
    #: MODSEQ with FLAGS (RFC 7162 section 3.2).
    modseq: bool = False
    #: The UID, in what answers a UID command (RFC 9051 section 6.4.9).
    uid: bool = False


def flag_list(flags: Iterable[str]) -> bytes:
    """In the order of the alphabet, so that one flag set is always the same octets. A flag is an atom, of
    ASCII alone (RFC 9051 section 9)."""
    return b"(%s)" % " ".join(sorted(flags)).encode("ascii")


def news(view: SelectedView, what: News, told: Told) -> Iterator[bytes]:
    """Pieces that are whole lines: what is gone, how many there are (RFC 9051 sections 7.4.1 and 7.5.1), then
    flags. To be taken at once: the numbers are those of this moment."""
    if what.vanished and told.vanished:
        yield b"* VANISHED %s\r\n" % format_set(what.vanished)
    elif what.expunged:
        for start in range(0, len(what.expunged), PIECE):
            numbers = what.expunged[start : start + PIECE]
            yield b"* %d EXPUNGE\r\n" * len(numbers) % numbers
    if what.exists is not None:
        yield b"* %d EXISTS\r\n" % what.exists
    yield from flag_lines(view, what.changed, told)


def flag_lines(view: SelectedView, uids: Iterable[int], told: Told) -> Iterator[bytes]:
    """FETCH responses with FLAGS (RFC 9051 section 7.5.2), in the order of `uids`; those that are gone or not
    told of are passed over. Each piece is of the moment at which it is taken."""
    asked = iter(uids)
    form = b"* %d FETCH ("
    form += b"UID %d " if told.uid else b""
    form += b"FLAGS %b"
    form += b" MODSEQ (%d))\r\n" if told.modseq else b")\r\n"
    while wanted := list(_some(asked)):
        state = view.state
        rows = [
            (number, uid, at)
            for uid in wanted
            if (at := state.index(uid)) is not None and (number := view.number_of(uid)) is not None
        ]
        if rows:
            yield form * len(rows) % tuple(chain.from_iterable(_values(state, rows, told)))


def _some(uids: Iterator[int]) -> Iterator[int]:
    for _, uid in zip(range(PIECE), uids, strict=False):
        yield uid


def _values(
    state: MailboxState, rows: list[tuple[int, int, int]], told: Told
) -> Iterator[tuple[int | bytes, ...]]:
    ready: dict[int, bytes] = {}
    for number, uid, at in rows:
        which = state.flag_numbers[at]
        flags = ready.get(which)
        if flags is None:
            flags = ready[which] = flag_list(state.flag_sets[which])
        head = (number, uid) if told.uid else (number,)
        yield (*head, flags, state.modseqs[at]) if told.modseq else (*head, flags)
