"""THREAD and UID THREAD: RFC 5256."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.commands import Command, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.search import find, numbers_of
from mailftp.imap.search_keys import Program, parse_charset
from mailftp.store.findings import ThreadAlgorithm
from mailftp.store.queries import ThreadMessages


@dataclass(frozen=True, slots=True)
class _Thread:
    algorithm: ThreadAlgorithm
    charset: bytes
    program: Program


def _parse_thread(parser: Parser) -> _Thread:
    parser.space()
    try:
        algorithm = ThreadAlgorithm(parser.keyword().decode("ascii"))
    except ValueError:
        raise parser.fault("ORDEREDSUBJECT or REFERENCES is expected before it") from None
    parser.space()
    charset = parse_charset(parser)
    parser.space()
    return _Thread(algorithm, charset, Program(parser, charset))


async def _thread(context: Context, value: _Thread, *, by_uid: bool) -> Ok:
    found = await find(context, value.charset, value.program, by_uid=by_uid)
    if not found:
        context.respond(b"THREAD")
        return Ok()
    mailbox_id = context.selected.state.mailbox.id
    threads = await context.store.read(
        ThreadMessages(context.account.id, mailbox_id, tuple(found), value.algorithm)
    )
    uids: Sequence[int] = threads.uids
    if not by_uid:
        there = [uid for uid in uids if uid]
        names = iter(numbers_of(context, there))
        uids = [uid and next(names) for uid in uids]
    context.respond(b"THREAD " + b"".join(written(uids, threads.depths)))
    return Ok()


def written(names: Sequence[int], depths: Sequence[int]) -> Iterator[bytes]:
    """RFC 5256 section 4: messages beneath each other in a row, those beside each other in parentheses. 0 is
    a message that is not there."""
    beneath = [0] * len(names)
    above: list[int] = []
    for at, depth in enumerate(depths):
        del above[depth:]
        if above:
            beneath[above[-1]] += 1
        above.append(at)
    #: What the messages above the present one are closed by.
    ends: list[bytes] = []
    above.clear()
    for at, depth in enumerate(depths):
        while len(above) > depth:
            above.pop()
            yield ends.pop()
        if depth == 0 or beneath[above[-1]] > 1:
            yield b"("
            ends.append(b")")
        else:
            yield b" "
            ends.append(b"")
        above.append(at)
        if names[at]:
            yield b"%d" % names[at]
            if beneath[at] > 1:
                yield b" "
    while ends:
        yield ends.pop()


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"THREAD", State.SELECTED, _parse_thread, partial(_thread, by_uid=False), expunges=False),
    Command(b"UID THREAD", State.SELECTED, _parse_thread, partial(_thread, by_uid=True)),
)
