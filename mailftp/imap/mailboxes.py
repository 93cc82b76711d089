"""Mailboxes made, removed, renamed, subscribed to: RFC 9051 sections 6.3.4 to 6.3.8, RFC 6154."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.commands import Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.mailbox_names import NameFault, new_name
from mailftp.imap.parser import Parser
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.names import SEPARATOR
from mailftp.store.queries import Mailboxes
from mailftp.store.units import CreateMailbox, DeleteMailbox, RenameMailbox, SetSubscription

#: RFC 6154 section 2, those that a mailbox can be; \\All and \\Flagged are views of others and are not made.
USES = {use.upper(): use for use in (b"\\Archive", b"\\Drafts", b"\\Junk", b"\\Sent", b"\\Trash")}


@dataclass(frozen=True, slots=True)
class _Create:
    name: str
    uses: tuple[bytes, ...] = ()


def _parse_create(parser: Parser) -> _Create:
    parser.space()
    name = parser.mailbox()
    uses: list[bytes] = []
    if parser.peek() == b" ":
        parser.space()
        parser.open()
        parser.expect(b"USE")
        parser.space()
        parser.open()
        while parser.peek() != b")":
            parser.expect(b"\\")
            uses.append(b"\\" + parser.keyword())
            if parser.peek() != b")":
                parser.space()
        parser.close()
        parser.close()
    return _Create(name, tuple(dict.fromkeys(uses)))


def _new_name(name: str) -> str:
    try:
        return new_name(name)
    except NameFault as fault:
        raise No(str(fault), b"CANNOT") from None


async def _create(context: Context, value: _Create) -> Ok:
    """CREATE, RFC 9051 section 6.3.4, with USE, RFC 6154 section 3; the id is of RFC 8474 section 4."""
    name = _new_name(value.name)
    use = await _use(context, value.uses)
    made = await context.store.commit(CreateMailbox(context.account.id, name, use, subscribe=False))
    return Ok("made", b"MAILBOXID (F%d)" % made.id)


async def _use(context: Context, uses: tuple[bytes, ...]) -> str:
    if not uses:
        return ""
    if len(uses) > 1 or uses[0] not in USES:
        raise No("a mailbox can be one of \\Archive \\Drafts \\Junk \\Sent \\Trash", b"USEATTR")
    use = USES[uses[0]].decode("ascii")
    for mailbox in await context.store.read(Mailboxes(context.account.id)):
        if mailbox.special_use == use:
            raise No("another mailbox has this use", b"USEATTR")
    return use


def _parse_name(parser: Parser) -> str:
    parser.space()
    return parser.mailbox()


async def _delete(context: Context, name: str) -> Ok:
    """DELETE, RFC 9051 section 6.3.5."""
    name = name.removesuffix(SEPARATOR)
    try:
        gone = await context.store.commit(DeleteMailbox(context.account.id, name))
    except NoSuchMailbox:
        boxes = await context.store.read(Mailboxes(context.account.id))
        if any(box.name.startswith(name + SEPARATOR) for box in boxes):
            raise No("it is no mailbox, but has mailboxes beneath it: delete those", b"HASCHILDREN") from None
        raise
    if context.view is not None and context.view.state.mailbox.id == gone.id:
        context.leave_mailbox()
        context.respond(b"OK [CLOSED] the mailbox is deleted")
    return Ok("deleted")


def _parse_rename(parser: Parser) -> tuple[str, str]:
    parser.space()
    name = parser.mailbox()
    parser.space()
    return name, parser.mailbox()


async def _rename(context: Context, value: tuple[str, str]) -> Ok:
    """RENAME, RFC 9051 section 6.3.6."""
    old, new = value[0].removesuffix(SEPARATOR), _new_name(value[1])
    await context.store.commit(RenameMailbox(context.account.id, old, new))
    return Ok("renamed")


async def _subscribe(context: Context, name: str, *, subscribed: bool) -> Ok:
    """SUBSCRIBE and UNSUBSCRIBE, RFC 9051 sections 6.3.7 and 6.3.8."""
    if subscribed:
        name = _new_name(name)
    await context.store.commit(SetSubscription(context.account.id, name.removesuffix(SEPARATOR), subscribed))
    return Ok("subscribed" if subscribed else "not subscribed")


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"CREATE", State.LOGGED_IN, _parse_create, _create),
    Command(b"DELETE", State.LOGGED_IN, _parse_name, _delete),
    Command(b"RENAME", State.LOGGED_IN, _parse_rename, _rename),
    Command(b"SUBSCRIBE", State.LOGGED_IN, _parse_name, partial(_subscribe, subscribed=True)),
    Command(b"UNSUBSCRIBE", State.LOGGED_IN, _parse_name, partial(_subscribe, subscribed=False)),
)
