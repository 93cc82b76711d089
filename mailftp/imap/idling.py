"""IDLE: RFC 2177, RFC 9051 section 6.3.13."""

from __future__ import annotations

from typing import Any

from mailftp.imap.commands import Command, Ok, State, nothing
from mailftp.imap.context import Context
from mailftp.imap.parser import SyntaxFault

#: Octets of the line that ends it.
DONE_LINE = 64


async def _idle(context: Context, value: None) -> Ok:
    """What happens is told as it comes, until the client says DONE."""
    if context.view is not None:
        await context.refresh()
    context.idling = True
    context.output.write(b"+ idling\r\n")
    for lines in context.news(expunges=True):
        context.output.write(lines)
    try:
        line = await context.line(DONE_LINE)
    finally:
        context.idling = False
    if not isinstance(line, bytes) or line.upper() != b"DONE":
        raise SyntaxFault("DONE is expected")
    return Ok()


COMMANDS: tuple[Command[Any], ...] = (Command(b"IDLE", State.LOGGED_IN, nothing, _idle),)
