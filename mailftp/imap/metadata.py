"""METADATA: RFC 5464. Annotations of mailboxes, and of the account, which are the server's of that RFC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mailftp.imap.commands import Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.mailbox_names import write_name
from mailftp.imap.parser import Parser
from mailftp.imap.responses import quoted
from mailftp.store.engine import AnnotationTooLarge, TooManyAnnotations
from mailftp.store.queries import Metadata
from mailftp.store.units import SetMetadata

#: Entries of one command, and octets of an entry's name.
MOST_ENTRIES, ENTRY_OCTETS = 200, 255
#: RFC 5464 section 3.1: components of ASCII without * and %, in the two spaces that there are.
_ENTRY = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-~][ -$&-)+-.0-~]*+)++\Z")
#: What needs no quotes.
_ATOM = re.compile(r"[a-z0-9./_-]+\Z")
_EVERYTHING = 1 << 30


@dataclass(frozen=True, slots=True)
class _Get:
    mailbox: str
    entries: tuple[str, ...]
    #: Octets of a value, beyond which it is only told that it is longer.
    max_size: int | None = None
    #: Levels beneath each entry: 0, 1, or all.
    depth: int = 0


def _parse_entry(parser: Parser) -> str:
    entry = parser.astring()
    text = entry.decode("ascii", "replace").lower()
    if len(entry) > ENTRY_OCTETS or _ENTRY.match(text) is None:
        raise parser.fault("an entry has a name as /private/comment or /shared/comment, before it")
    return text


def _parse_get(parser: Parser) -> _Get:
    parser.space()
    max_size, depth = None, 0
    if parser.peek() == b"(":
        max_size, depth = _parse_options(parser)
        parser.space()
    mailbox = parser.mailbox()
    parser.space()
    if parser.peek() != b"(":
        return _Get(mailbox, (_parse_entry(parser),), max_size, depth)
    parser.open()
    if parser.peek_keyword() in (b"MAXSIZE", b"DEPTH"):
        # As the examples of RFC 5464 section 4.2 have it, against its grammar.
        max_size, depth = _parse_options(parser, opened=True)
        parser.space()
        if parser.peek() != b"(":
            return _Get(mailbox, (_parse_entry(parser),), max_size, depth)
        parser.open()
    entries = [_parse_entry(parser)]
    while parser.peek() == b" ":
        parser.space()
        entries.append(_parse_entry(parser))
        _hold_to_limit(parser, entries)
    parser.close()
    return _Get(mailbox, tuple(dict.fromkeys(entries)), max_size, depth)


def _hold_to_limit(parser: Parser, entries: list[Any]) -> None:
    if len(entries) > MOST_ENTRIES:
        raise parser.fault(f"at most {MOST_ENTRIES} entries are taken, before it")


def _parse_options(parser: Parser, opened: bool = False) -> tuple[int | None, int]:
    if not opened:
        parser.open()
    max_size, depth = None, 0
    while True:
        option = parser.keyword()
        parser.space()
        if option == b"MAXSIZE":
            max_size = parser.number()
        elif option == b"DEPTH":
            word = parser.keyword()
            depths = {b"0": 0, b"1": 1, b"INFINITY": _EVERYTHING}
            if word not in depths:
                raise parser.fault("0, 1 or infinity is expected before it")
            depth = depths[word]
        else:
            raise parser.fault("MAXSIZE or DEPTH is expected before it")
        if parser.peek() != b" ":
            break
        parser.space()
    parser.close()
    return max_size, depth


async def _get(context: Context, value: _Get) -> Ok:
    """GETMETADATA, RFC 5464 section 4.2."""
    found = await context.store.read(Metadata(context.account.id, value.mailbox or None))
    if found is None:
        raise No("there is no such mailbox", b"NONEXISTENT")
    longest = 0
    there = {entry for entry, _ in found}
    items = [b"%b NIL" % entry_text(entry) for entry in value.entries if entry not in there]
    for entry, octets in found:
        if not any(_within(entry, wanted, value.depth) for wanted in value.entries):
            continue
        if value.max_size is not None and len(octets) > value.max_size:
            longest = max(longest, len(octets))
        else:
            items.append(b"%b %b" % (entry_text(entry), _value(octets)))
    if items:
        name = quoted(write_name(value.mailbox, context.utf8))
        context.respond(b"METADATA %b (%b)" % (name, b" ".join(items)))
    if longest:
        return Ok("some are longer", b"METADATA LONGENTRIES %d" % longest)
    return Ok()


def _within(entry: str, wanted: str, depth: int) -> bool:
    if entry == wanted:
        return True
    return depth > 0 and entry.startswith(wanted + "/") and entry.count("/", len(wanted)) <= depth


def entry_text(entry: str) -> bytes:
    """As it stands in a response."""
    return entry.encode("ascii") if _ATOM.match(entry) else quoted(entry.encode("ascii"))


def _value(octets: bytes) -> bytes:
    if b"\0" in octets:
        return b"~{%d}\r\n%b" % (len(octets), octets)
    return quoted(octets)


@dataclass(frozen=True, slots=True)
class _Set:
    mailbox: str
    entries: tuple[tuple[str, bytes | None], ...]


def _parse_set(parser: Parser) -> _Set:
    parser.space()
    mailbox = parser.mailbox()
    parser.space()
    parser.open()
    entries: list[tuple[str, bytes | None]] = []
    while parser.peek() != b")":
        entry = _parse_entry(parser)
        parser.space()
        entries.append((entry, parser.nstring(binary=True)))
        _hold_to_limit(parser, entries)
        if parser.peek() != b")":
            parser.space()
    parser.close()
    return _Set(mailbox, tuple(entries))


async def _set(context: Context, value: _Set) -> Ok:
    """SETMETADATA, RFC 5464 section 4.3: all or none."""
    try:
        await context.store.commit(SetMetadata(context.account.id, value.mailbox or None, value.entries))
    except TooManyAnnotations as fault:
        raise No(str(fault), b"METADATA TOOMANY") from None
    except AnnotationTooLarge as fault:
        raise No(str(fault), b"METADATA MAXSIZE %d" % fault.most) from None
    return Ok()


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"GETMETADATA", State.LOGGED_IN, _parse_get, _get),
    Command(b"SETMETADATA", State.LOGGED_IN, _parse_set, _set),
)
