"""COMPRESS, RFC 4978 section 3."""

from __future__ import annotations

from typing import Any

from mailftp.imap.commands import Bye, Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser


def _parse(parser: Parser) -> bytes:
    parser.space()
    return parser.keyword()


async def _compress(context: Context, mechanism: bytes) -> Ok:
    if mechanism != b"DEFLATE":
        raise No("DEFLATE is the only mechanism")
    if context.output.encode is not None:
        raise No("it is compressed already", b"COMPRESSIONACTIVE")

    async def begin() -> None:
        # RFC 4978 section 3: the client waits for the answer, so nothing can have come after the command.
        if not context.link.compress():
            raise Bye("something came between COMPRESS and its answer")

    return Ok("compressed from here", then=begin)


COMMANDS: tuple[Command[Any], ...] = (Command(b"COMPRESS", State.LOGGED_IN, _parse, _compress),)
