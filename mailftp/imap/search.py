"""SEARCH and UID SEARCH: RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, with results as RFC 4731 (ESEARCH),
RFC 5182 (SEARCHRES) and RFC 9394 (PARTIAL) have them, and modseqs (RFC 7162 section 3.1.5)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.commands import Bad, Command, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.responses import quoted
from mailftp.imap.search_keys import Program, check_charset, parse_charset, resolved
from mailftp.imap.sequence import format_set
from mailftp.store.criteria import And, Uids
from mailftp.store.searching import Search

#: Seconds between two that tell how far a search is (RFC 9585 section 4).
TELL_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """RETURN's options; none of them is what RFC 3501 has."""

    options: frozenset[bytes]
    #: The first and last of PARTIAL, from 1, or both negative, from the end; (0, 0) where it is not asked.
    partial: tuple[int, int] = (0, 0)

    @property
    def save(self) -> bool:
        return b"SAVE" in self.options


def parse_wanted(parser: Parser, *, save: bool = True) -> Wanted | None:
    """`RETURN (...)`, RFC 4466 section 2.6.1; None where it does not stand, and nothing is read then."""
    if not parser.take(b"RETURN"):
        return None
    parser.space()
    parser.open()
    known = {b"MIN", b"MAX", b"ALL", b"COUNT", b"PARTIAL"} | ({b"SAVE"} if save else set())
    options: set[bytes] = set()
    span = (0, 0)
    while parser.peek() != b")":
        option = parser.keyword()
        if option not in known:
            raise parser.fault("MIN, MAX, ALL, COUNT, PARTIAL or SAVE is expected before it")
        options.add(option)
        if option == b"PARTIAL":
            parser.space()
            span = _parse_span(parser)
        if parser.peek() == b" ":
            parser.space()
    parser.close()
    if {b"PARTIAL", b"ALL"} <= options:
        # RFC 9394 section 3.1.
        raise parser.fault("PARTIAL and ALL are one or the other before it")
    return Wanted(frozenset(options or {b"ALL"}), span)


def _parse_span(parser: Parser) -> tuple[int, int]:
    """RFC 9394 section 4, partial-range."""
    sign = -1 if parser.take(b"-") else 1
    first = parser.nz_number()
    parser.expect(b":")
    if sign < 0:
        parser.expect(b"-")
    last = parser.nz_number()
    return sign * min(first, last), sign * max(first, last)


@dataclass(frozen=True, slots=True)
class Asked:
    """A search command's arguments."""

    wanted: Wanted | None
    charset: bytes
    program: Program


def _parse_search(parser: Parser) -> Asked:
    parser.space()
    wanted = parse_wanted(parser)
    if wanted is not None:
        parser.space()
    charset = b""
    if parser.take(b"CHARSET "):
        charset = parse_charset(parser)
        parser.space()
    return Asked(wanted, charset, Program(parser, charset))


async def _search(context: Context, value: Asked, *, by_uid: bool) -> Ok:
    """SEARCH and UID SEARCH."""
    save = value.wanted is not None and value.wanted.save
    if save:
        # RFC 5182 section 2.1: a search that fails leaves nothing saved.
        previous, context.saved = context.saved, []
        try:
            found = await find(context, value.charset, value.program, by_uid=by_uid, saved=previous)
        except Bad:
            context.saved = previous
            raise
    else:
        found = await find(context, value.charset, value.program, by_uid=by_uid)
    wanted = value.wanted
    if wanted is None and not context.rev2:
        _tell_plainly(context, found, value.program, by_uid=by_uid)
        return Ok()
    wanted = wanted or Wanted(frozenset({b"ALL"}))
    tell_extended(context, wanted, found, value.program, by_uid=by_uid)
    if save:
        context.saved = sorted(kept(wanted, found))
    return Ok()


async def find(
    context: Context, charset: bytes, program: Program, *, by_uid: bool, saved: list[int] | None = None
) -> list[int]:
    """UIDs of what the client sees and the keys match, ascending. `saved` is what `$` stands for in them,
    when it is not what it is now."""
    check_charset(context, charset)
    if context.uidonly and not by_uid:
        # RFC 9586 section 3.
        raise Bad("UIDONLY is enabled: messages are named by their UIDs", b"UIDREQUIRED")
    if program.modseq:
        context.enable_condstore()
    now, context.saved = context.saved, context.saved if saved is None else saved
    try:
        criterion = resolved(context, program.keys)
    finally:
        context.saved = now
    view = context.selected
    known = view.uids()
    horizon = known[-1] if known else 0
    search = Search(And((Uids(((1, horizon),)), criterion)), view.state)
    found = await search.run(
        context.store, context.account.id, view.state.mailbox.id, _Progress(context).tell
    )
    return found.tolist()


class _Progress:
    """RFC 9585: a client that is told how far it is does not give up."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = context.output.now()

    def tell(self, done: int, whole: int) -> None:
        context = self._context
        if context.output.now() - self._last >= TELL_EVERY and done < whole:
            self._last = context.output.now()
            context.respond(b"OK [INPROGRESS (%b %d %d)] still looking" % (quoted(context.tag), done, whole))
            context.output.flush()


def numbers_of(context: Context, uids: Sequence[int]) -> list[int]:
    """Sequence numbers of messages that the client knows, in the same order."""
    known = context.selected.uids()
    return [bisect_left(known, uid) + 1 for uid in uids]


def _tell_plainly(context: Context, found: list[int], program: Program, *, by_uid: bool) -> None:
    """RFC 3501 section 7.2.5."""
    line = b"* SEARCH"
    if found:
        numbers = found if by_uid else numbers_of(context, found)
        line += b" %b" % b" ".join(map(b"%d".__mod__, numbers))
        if program.modseq:
            line += b" (MODSEQ %d)" % highest(context, found)
    context.output.write(line + b"\r\n")


def tell_extended(
    context: Context, wanted: Wanted, found: list[int], program: Program, *, by_uid: bool, order: bool = False
) -> None:
    """ESEARCH: RFC 4731 section 3.1, RFC 9394 section 3.1. `found` is in the order of a SORT where `order` is
    set: ALL and PARTIAL keep it, MIN and MAX are its ends (RFC 5267 section 3.1)."""
    options = wanted.options
    if options == {b"SAVE"}:
        return
    parts = [b"ESEARCH (TAG %b)" % quoted(context.tag)]
    if by_uid:
        parts.append(b"UID")
    numbers = found if by_uid else numbers_of(context, found)
    if numbers:
        if b"MIN" in options:
            parts.append(b"MIN %d" % numbers[0])
        if b"MAX" in options:
            parts.append(b"MAX %d" % numbers[-1])
        if b"ALL" in options:
            parts.append(b"ALL " + _as_set(numbers, order=order))
    if b"COUNT" in options:
        parts.append(b"COUNT %d" % len(numbers))
    if b"PARTIAL" in options:
        some = cut(numbers, wanted.partial)
        first, last = wanted.partial
        parts.append(b"PARTIAL (%d:%d %b)" % (first, last, _as_set(some, order=order) if some else b"NIL"))
    if program.modseq and found:
        parts.append(b"MODSEQ %d" % highest(context, kept(wanted, found)))
    context.respond(b" ".join(parts))


def _as_set(numbers: list[int], *, order: bool) -> bytes:
    if not order:
        return format_set(numbers)
    # RFC 5267 section 3.1: in their order; ranges ascend.
    parts: list[bytes] = []
    start = end = numbers[0]
    for number in numbers[1:]:
        if number == end + 1:
            end = number
            continue
        parts.append(b"%d" % start if start == end else b"%d:%d" % (start, end))
        start = end = number
    parts.append(b"%d" % start if start == end else b"%d:%d" % (start, end))
    return b",".join(parts)


def cut(found: list[int], span: tuple[int, int]) -> list[int]:
    """PARTIAL's first to last, from the start, or from the end where they are negative (RFC 9394 section
    3.1)."""
    first, last = span
    if first > 0:
        return found[first - 1 : last]
    end = len(found) + first + 1
    return found[max(0, len(found) + last) : max(0, end)]


def kept(wanted: Wanted, found: list[int]) -> list[int]:
    """What SAVE saves, and whose modseqs are told: RFC 5182 section 2.1, RFC 9394 section 3.1, RFC 7162
    section 3.1.10. MIN, MAX and PARTIAL are alone what was asked where neither ALL nor COUNT is."""
    options = wanted.options
    if not options & {b"MIN", b"MAX", b"PARTIAL"} or options & {b"ALL", b"COUNT"}:
        return found
    chosen = set(cut(found, wanted.partial)) if b"PARTIAL" in options else set()
    if found and b"MIN" in options:
        chosen.add(found[0])
    if found and b"MAX" in options:
        chosen.add(found[-1])
    return [uid for uid in found if uid in chosen]


def highest(context: Context, uids: Sequence[int]) -> int:
    """The highest modseq of these."""
    state = context.selected.state
    places = map(state.index, uids)
    return max((state.modseqs[at] for at in places if at is not None), default=0)


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"SEARCH", State.SELECTED, _parse_search, partial(_search, by_uid=False), expunges=False),
    Command(b"UID SEARCH", State.SELECTED, _parse_search, partial(_search, by_uid=True)),
)
