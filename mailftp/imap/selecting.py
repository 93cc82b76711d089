"""Selecting a mailbox, and leaving it: RFC 9051 sections 6.3.2, 6.3.3, 6.4.1 and 6.4.2."""

from __future__ import annotations

from typing import Any

from mailftp.imap.commands import Command, No, Ok, State, nothing
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.responses import flag_list

#: RFC 9051 section 2.3.2: those that every mailbox has.
SYSTEM_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")


def _parse_select(parser: Parser) -> str:
    parser.space()
    return parser.mailbox()


async def _select(context: Context, name: str) -> Ok:
    """SELECT, RFC 9051 section 6.3.2."""
    return await _open(context, name, read_only=False)


async def _examine(context: Context, name: str) -> Ok:
    """EXAMINE, RFC 9051 section 6.3.3."""
    return await _open(context, name, read_only=True)


async def _open(context: Context, name: str, *, read_only: bool) -> Ok:
    if context.view is not None:
        # Also when no other is opened then.
        context.leave_mailbox()
        context.respond(b"OK [CLOSED] the mailbox before is closed")
    try:
        view = await context.states.open(context.account.id, name, context.heard)
    except LookupError:
        raise No("there is no such mailbox", b"NONEXISTENT") from None
    context.view, context.read_only = view, read_only
    _describe(context)
    if read_only:
        return Ok("the mailbox can be read", b"READ-ONLY")
    return Ok("the mailbox is selected", b"READ-WRITE")


def _describe(context: Context) -> None:
    state = context.selected.state
    used = frozenset().union(*state.flag_sets)
    flags = flag_list({*SYSTEM_FLAGS, *used})
    permanent = b"()" if context.read_only else flags[:-1] + b" \\*)"
    context.respond(
        b"FLAGS " + flags,
        b"OK [PERMANENTFLAGS %b] these are kept" % permanent,
        b"%d EXISTS" % context.selected.exists,
        b"0 RECENT",
        b"OK [UIDVALIDITY %d] UIDs are good" % state.mailbox.uidvalidity,
        b"OK [UIDNEXT %d] the next one" % state.uidnext,
        b"OK [HIGHESTMODSEQ %d] the last change" % state.mailbox.modseq,
    )


async def _noop(context: Context, value: None) -> Ok:
    """NOOP, RFC 9051 section 6.1.2, and CHECK, RFC 3501 section 6.4.1: the time for news."""
    if context.view is not None:
        await context.refresh()
    return Ok()


async def _unselect(context: Context, value: None) -> Ok:
    """UNSELECT, RFC 9051 section 6.4.2."""
    context.leave_mailbox()
    return Ok()


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"NOOP", State.ANY, nothing, _noop),
    Command(b"CHECK", State.SELECTED, nothing, _noop),
    Command(b"SELECT", State.LOGGED_IN, _parse_select, _select),
    Command(b"EXAMINE", State.LOGGED_IN, _parse_select, _examine),
    Command(b"UNSELECT", State.SELECTED, nothing, _unselect),
)
