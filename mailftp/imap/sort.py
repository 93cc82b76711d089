"""SORT and UID SORT: RFC 5256, with results as ESORT has them (RFC 5267 section 3), and SORT=DISPLAY (RFC
5957)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.commands import Command, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.search import Wanted, find, numbers_of, parse_wanted, tell_extended
from mailftp.imap.search_keys import Program, parse_charset
from mailftp.store.findings import SortKey
from mailftp.store.queries import SortMessages

#: Keys of one command; there are nine, and to name one twice says nothing.
MOST_KEYS = 50


@dataclass(frozen=True, slots=True)
class _Sort:
    wanted: Wanted | None
    order: tuple[tuple[SortKey, bool], ...]
    charset: bytes
    program: Program


def _parse_sort(parser: Parser) -> _Sort:
    parser.space()
    wanted = parse_wanted(parser, save=False)
    if wanted is not None:
        parser.space()
    parser.open()
    order = [_parse_key(parser)]
    while parser.peek() == b" ":
        parser.space()
        order.append(_parse_key(parser))
        if len(order) > MOST_KEYS:
            raise parser.fault(f"more than {MOST_KEYS} sort keys stand before it")
    parser.close()
    parser.space()
    charset = parse_charset(parser)
    parser.space()
    return _Sort(wanted, tuple(order), charset, Program(parser, charset))


def _parse_key(parser: Parser) -> tuple[SortKey, bool]:
    name = parser.keyword()
    reverse = name == b"REVERSE"
    if reverse:
        parser.space()
        name = parser.keyword()
    try:
        return SortKey(name.decode("ascii")), reverse
    except ValueError:
        raise parser.fault("there is no such sort key before it") from None


async def _sort(context: Context, value: _Sort, *, by_uid: bool) -> Ok:
    found = await find(context, value.charset, value.program, by_uid=by_uid)
    mailbox_id = context.selected.state.mailbox.id
    if found:
        query = SortMessages(context.account.id, mailbox_id, tuple(found), value.order)
        uids = await context.store.read(query)
        found = list(uids)
    if value.wanted is not None:
        tell_extended(context, value.wanted, found, value.program, by_uid=by_uid, order=True)
        return Ok()
    numbers = found if by_uid else numbers_of(context, found)
    context.output.write(b" ".join([b"* SORT", *map(b"%d".__mod__, numbers)]) + b"\r\n")
    return Ok()


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"SORT", State.SELECTED, _parse_sort, partial(_sort, by_uid=False), expunges=False),
    Command(b"UID SORT", State.SELECTED, _parse_sort, partial(_sort, by_uid=True)),
)
