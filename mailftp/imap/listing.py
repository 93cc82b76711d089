"""LIST, LSUB, NAMESPACE, STATUS: RFC 9051 sections 6.3.9 to 6.3.11, RFC 3501 section 6.3.9, RFC 5258, 5819,
6154."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mailftp.imap.commands import Command, No, Ok, State, nothing
from mailftp.imap.context import Context
from mailftp.imap.mailbox_names import write_name
from mailftp.imap.parser import Parser
from mailftp.imap.patterns import matcher
from mailftp.imap.responses import quoted
from mailftp.imap.tree import Listed, Tree, Wanted
from mailftp.store.names import NAME_LIMIT
from mailftp.store.queries import ListStatus, Mailboxes, Subscriptions
from mailftp.store.records import MailboxStatus

#: Patterns of one LIST.
MOST_PATTERNS = 20
#: Names that are looked at before others have their turn.
TURN = 500

_SELECTION = (b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE")
_RETURN = (b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS")
_STATUS = (
    b"MESSAGES",
    b"RECENT",
    b"UIDNEXT",
    b"UIDVALIDITY",
    b"UNSEEN",
    b"DELETED",
    b"DELETED-STORAGE",
    b"SIZE",
    b"HIGHESTMODSEQ",
    b"APPENDLIMIT",
    b"MAILBOXID",
)


@dataclass(frozen=True, slots=True)
class _List:
    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[bytes] = frozenset()
    returned: frozenset[bytes] = frozenset()
    status: tuple[bytes, ...] = ()


def _parse_list(parser: Parser) -> _List:
    parser.space()
    selection: list[bytes] = []
    if parser.peek() == b"(":
        selection = _options(parser, _SELECTION)
        if b"RECURSIVEMATCH" in selection and not {b"SUBSCRIBED", b"SPECIAL-USE"} & set(selection):
            raise parser.fault("RECURSIVEMATCH wants something to select by")
        parser.space()
    reference = parser.mailbox()
    parser.space()
    patterns = _parse_patterns(parser)
    returned: list[bytes] = []
    status: tuple[bytes, ...] = ()
    if parser.peek() == b" ":
        parser.space()
        parser.expect(b"RETURN")
        parser.space()
        parser.open()
        while parser.peek() != b")":
            returned.append(_option(parser, _RETURN))
            if returned[-1] == b"STATUS":
                parser.space()
                status = parse_status_items(parser)
            if parser.peek() != b")":
                parser.space()
        parser.close()
    return _List(reference, patterns, frozenset(selection), frozenset(returned), status)


def _parse_patterns(parser: Parser) -> tuple[str, ...]:
    if parser.peek() != b"(":
        return (parser.list_mailbox(),)
    parser.open()
    patterns = [parser.list_mailbox()]
    while parser.peek() == b" ":
        parser.space()
        patterns.append(parser.list_mailbox())
    parser.close()
    if len(patterns) > MOST_PATTERNS:
        raise parser.fault(f"at most {MOST_PATTERNS} patterns are taken, before it")
    return tuple(patterns)


def _options(parser: Parser, known: Iterable[bytes]) -> list[bytes]:
    parser.open()
    found: list[bytes] = []
    while parser.peek() != b")":
        found.append(_option(parser, known))
        if parser.peek() != b")":
            parser.space()
    parser.close()
    return found


def _option(parser: Parser, known: Iterable[bytes]) -> bytes:
    option = parser.keyword()
    if option not in known:
        raise parser.fault("no option has the name before it")
    return option


async def _list(context: Context, value: _List) -> Ok:
    """LIST, RFC 9051 section 6.3.9."""
    if value.patterns == ("",):
        # The delimiter is asked for, and the root.
        context.respond(b'LIST (\\Noselect) "/" ""')
        return Ok()
    patterns = _joined(value)
    wanted = Wanted(
        tuple(map(matcher, patterns)),
        levels=any(pattern.endswith("%") for pattern in patterns),
        subscribed=b"SUBSCRIBED" in value.selection,
        special_use=b"SPECIAL-USE" in value.selection,
        recursive=b"RECURSIVEMATCH" in value.selection,
        tell_subscribed=b"SUBSCRIBED" in value.returned,
    )
    there: list[str] = []
    tree = await read_tree(context)
    for at, listed in enumerate(tree.matching(wanted)):
        context.respond(_line(context, b"LIST", listed))
        if listed.mailbox is not None and value.status:
            there.append(listed.name)
        if at % TURN == TURN - 1:
            await context.output.room(0)
    if there:
        if b"HIGHESTMODSEQ" in value.status:
            context.enable_condstore()
        for status in await context.store.read(ListStatus(context.account.id, frozenset(there))):
            context.respond(status_line(context, status, value.status))
            await context.output.room()
    return Ok()


def _joined(value: _List) -> list[str]:
    """Patterns with the reference before them; one longer than any name matches none."""
    patterns = (value.reference + given for given in value.patterns)
    return [pattern for pattern in patterns if len(pattern) <= NAME_LIMIT]


async def read_tree(context: Context) -> Tree:
    """The account's mailboxes as they are now."""
    account_id = context.account.id
    boxes = await context.store.read(Mailboxes(account_id))
    subscribed = await context.store.read(Subscriptions(account_id))
    return Tree({box.name: box for box in boxes}, frozenset(subscribed))


def _line(context: Context, kind: bytes, listed: Listed) -> bytes:
    name = quoted(write_name(listed.name, context.utf8))
    line = b'%b (%b) "/" %b' % (kind, " ".join(listed.attributes).encode("ascii"), name)
    return line + b' ("CHILDINFO" ("SUBSCRIBED"))' if listed.child_info else line


def _parse_lsub(parser: Parser) -> _List:
    parser.space()
    reference = parser.mailbox()
    parser.space()
    return _List(reference, (parser.list_mailbox(),))


async def _lsub(context: Context, value: _List) -> Ok:
    """LSUB, RFC 3501 section 6.3.9."""
    patterns = _joined(value)
    wanted = Wanted(tuple(map(matcher, patterns)), levels=value.patterns[0].endswith("%"))
    for at, listed in enumerate((await read_tree(context)).lsub(wanted)):
        context.respond(_line(context, b"LSUB", listed))
        if at % TURN == TURN - 1:
            await context.output.room(0)
    return Ok()


async def _namespace(context: Context, value: None) -> Ok:
    """NAMESPACE, RFC 9051 section 6.3.10: all is the account's own."""
    context.respond(b'NAMESPACE (("" "/")) NIL NIL')
    return Ok()


# STATUS.


def parse_status_items(parser: Parser) -> tuple[bytes, ...]:
    """`(MESSAGES UIDNEXT)`, each once."""
    parser.open()
    items = [_option(parser, _STATUS)]
    while parser.peek() == b" ":
        parser.space()
        if parser.peek() != b")":
            items.append(_option(parser, _STATUS))
    parser.close()
    return tuple(dict.fromkeys(items))


def _parse_status(parser: Parser) -> tuple[str, tuple[bytes, ...]]:
    parser.space()
    name = parser.mailbox()
    parser.space()
    return name, parse_status_items(parser)


async def _status(context: Context, value: tuple[str, tuple[bytes, ...]]) -> Ok:
    """STATUS, RFC 9051 section 6.3.11."""
    name, items = value
    found = await context.store.read(ListStatus(context.account.id, frozenset({name})))
    if not found:
        raise No("there is no such mailbox", b"NONEXISTENT")
    if b"HIGHESTMODSEQ" in items:
        context.enable_condstore()
    context.respond(status_line(context, found[0], items))
    if context.view is not None and context.view.state.mailbox.id == found[0].mailbox.id:
        # What is counted is told with it: no message comes later with a UID below this UIDNEXT.
        await context.refresh()
    return Ok()


def status_line(context: Context, status: MailboxStatus, items: Iterable[bytes]) -> bytes:
    """A STATUS response, RFC 9051 section 7.3.4; MAILBOXID of RFC 8474, APPENDLIMIT of RFC 7889."""
    mailbox = status.mailbox
    known: dict[bytes, bytes] = {
        b"MESSAGES": b"%d" % status.messages,
        b"RECENT": b"0",
        b"UIDNEXT": b"%d" % mailbox.uidnext,
        b"UIDVALIDITY": b"%d" % mailbox.uidvalidity,
        b"UNSEEN": b"%d" % status.unseen,
        b"DELETED": b"%d" % status.deleted,
        # RFC 9208: in units of 1,024 octets, as STORAGE is.
        b"DELETED-STORAGE": b"%d" % -(-status.deleted_size // 1024),
        b"SIZE": b"%d" % status.size,
        b"HIGHESTMODSEQ": b"%d" % mailbox.modseq,
        b"APPENDLIMIT": b"%d" % context.link.settings.limits.message_size,
        b"MAILBOXID": b"(F%d)" % mailbox.id,
    }
    name = quoted(write_name(mailbox.name, context.utf8))
    return b"STATUS %b (%b)" % (name, b" ".join(b"%b %b" % (item, known[item]) for item in items))


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"LIST", State.LOGGED_IN, _parse_list, _list),
    Command(b"LSUB", State.LOGGED_IN, _parse_lsub, _lsub),
    Command(b"NAMESPACE", State.LOGGED_IN, nothing, _namespace),
    Command(b"STATUS", State.LOGGED_IN, _parse_status, _status),
)
