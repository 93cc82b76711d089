"""Untagged responses about the selected mailbox and its messages: RFC 9051 section 7 (RFC 3501 section 7).

Many lines are made by one formatting, and the flags of a message are the ready octets of its flag set: of
100,000 messages a handful differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, islice

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
    #: UIDFETCH in place of FETCH, by UID alone (RFC 9586 section 3.3).
    uidonly: bool = False


def flag_list(flags: Iterable[str]) -> bytes:
    """In the order of the alphabet, so that one flag set is always the same octets. A flag is an atom, of
    ASCII alone (RFC 9051 section 9)."""
    return b"(%s)" % " ".join(sorted(flags)).encode("ascii")


def quoted(octets: bytes) -> bytes:
    """A string: quoted where it can be (RFC 9051 section 9), else a literal."""
    if b"\r" in octets or b"\n" in octets or b"\0" in octets or len(octets) > 1024:
        return b"{%d}\r\n%b" % (len(octets), octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


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
    form = _beginning(told) + b"FLAGS %b"
    form += b" MODSEQ (%d))\r\n" if told.modseq else b")\r\n"
    while wanted := list(islice(asked, PIECE)):
        numbers, known, flags, modseqs = _columns(view, wanted)
        ready = {number: flag_list(view.state.flag_sets[number]) for number in set(flags)}
        columns = _naming(told, numbers, known)
        columns.append(map(ready.__getitem__, flags))
        if told.modseq:
            columns.append(modseqs)
        if numbers:
            yield form * len(numbers) % tuple(chain.from_iterable(zip(*columns, strict=True)))


def modseq_lines(view: SelectedView, uids: Iterable[int], modseq: int, told: Told) -> Iterator[bytes]:
    """FETCH responses with MODSEQ alone, of those of `uids` that have this one: what a STORE .SILENT changed
    (RFC 7162 section 3.1.3)."""
    asked = iter(uids)
    form = _beginning(told) + b"MODSEQ (%d))\r\n" % modseq
    while wanted := list(islice(asked, PIECE)):
        numbers, known, _, modseqs = _columns(view, wanted)
        columns = _naming(told, numbers, known)
        rows = compress(zip(*columns, strict=True), (there == modseq for there in modseqs))
        flat = tuple(chain.from_iterable(rows))
        yield form * (len(flat) // len(columns)) % flat


def _beginning(told: Told) -> bytes:
    """What of a line names the message, and its parenthesis."""
    if told.uidonly:
        return b"* %d UIDFETCH ("
    return b"* %d FETCH (UID %d " if told.uid else b"* %d FETCH ("


def _naming(told: Told, numbers: Sequence[int], known: Sequence[int]) -> list[Iterable[int | bytes]]:
    """The columns that `_beginning` has places for."""
    if told.uidonly:
        return [known]
    return [numbers, known] if told.uid else [numbers]


def _columns(
    view: SelectedView, uids: list[int]
) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]:
    """Sequence numbers, UIDs, numbers of flag sets and modseqs of those that are there."""
    state = view.state
    beginning = view.stretch(uids)
    if beginning is not None:
        # Most that is asked for is all, or a stretch: slices cost a fifth of looking each one up.
        number, at = beginning
        end = at + len(uids)
        return range(number, number + len(uids)), uids, state.flag_numbers[at:end], state.modseqs[at:end]
    numbers: list[int] = []
    known: list[int] = []
    places: list[int] = []
    for uid in uids:
        place, told = state.index(uid), view.number_of(uid)
        if place is not None and told is not None:
            numbers.append(told)
            known.append(uid)
            places.append(place)
    return (
        numbers,
        known,
        [state.flag_numbers[place] for place in places],
        [state.modseqs[place] for place in places],
    )
