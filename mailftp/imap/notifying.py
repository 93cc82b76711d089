"""NOTIFY: RFC 5465. Parsing it, and telling what a Watch found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailftp.imap.commands import Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.fetch import fetch
from mailftp.imap.fetch_items import Item, parse_items, requested
from mailftp.imap.listing import read_tree, status_line
from mailftp.imap.mailbox_names import write_name
from mailftp.imap.metadata import entry_text
from mailftp.imap.parser import Parser
from mailftp.imap.responses import quoted
from mailftp.imap.watch import OF_MESSAGES, OF_SELECTED, Event, Filter, Group, Watch
from mailftp.store.queries import ListStatus

#: Groups, and mailboxes that they name.
MOST_GROUPS, MOST_NAMES = 50, 1000

_EVENTS = {event.value.upper(): event for event in Event}
_FILTERS = {kind.value: kind for kind in Filter}
#: RFC 5465 section 5, what is not supported.
_OTHERS = (b"ANNOTATIONCHANGE",)
#: Of one METADATA response: clients have limits for a line.
_ENTRIES_A_LINE = 20


@dataclass(frozen=True, slots=True)
class _Notify:
    groups: tuple[Group, ...] | None
    status: bool = False
    #: What is fetched of each message that comes to the selected mailbox.
    items: tuple[Item, ...] = ()
    #: An event was named that is not supported.
    unsupported: bool = False


class _Groups:
    def __init__(self) -> None:
        self.found: list[Group] = []
        self.items: tuple[Item, ...] = ()
        self.unsupported = False


def _parse_notify(parser: Parser) -> _Notify:
    parser.space()
    word = parser.keyword()
    if word == b"NONE":
        return _Notify(None)
    if word != b"SET":
        raise parser.fault("SET or NONE is expected before it")
    parser.space()
    status = parser.peek() != b"("
    if status:
        parser.expect(b"STATUS")
        parser.space()
    groups = _Groups()
    _parse_group(parser, groups)
    while parser.peek() == b" ":
        parser.space()
        _parse_group(parser, groups)
        names = sum(len(group.names) for group in groups.found)
        if len(groups.found) > MOST_GROUPS or names > MOST_NAMES:
            raise parser.fault(
                f"at most {MOST_GROUPS} groups and {MOST_NAMES} mailboxes are taken, before it"
            )
    return _Notify(tuple(groups.found), status, groups.items, groups.unsupported)


def _parse_group(parser: Parser, groups: _Groups) -> None:
    parser.open()
    kind = _FILTERS.get(parser.keyword())
    if kind is None:
        raise parser.fault("no filter of mailboxes has the name before it")
    names: tuple[str, ...] = ()
    if kind in (Filter.SUBTREE, Filter.MAILBOXES):
        parser.space()
        names = _parse_names(parser)
    parser.space()
    events = _parse_events(parser, kind, groups)
    parser.close()
    both = {Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE}
    if len(events & both) == 1 or (Event.FLAG_CHANGE in events and not both <= events):
        raise parser.fault("MessageNew and MessageExpunge go together, and FlagChange with both, before it")
    if kind in OF_SELECTED and events - OF_MESSAGES:
        raise parser.fault("the selected mailbox has events of messages only, before it")
    groups.found.append(Group(kind, frozenset(events), names))


def _parse_names(parser: Parser) -> tuple[str, ...]:
    if parser.peek() != b"(":
        return (parser.mailbox(),)
    parser.open()
    names = [parser.mailbox()]
    while parser.peek() == b" ":
        parser.space()
        names.append(parser.mailbox())
    parser.close()
    return tuple(names)


def _parse_events(parser: Parser, kind: Filter, groups: _Groups) -> set[Event]:
    events: set[Event] = set()
    if parser.peek() != b"(":
        parser.expect(b"NONE")
        return events
    parser.open()
    while True:
        word = parser.keyword()
        if word in _EVENTS:
            events.add(_EVENTS[word])
        elif word in _OTHERS:
            groups.unsupported = True
        else:
            raise parser.fault("no event has the name before it")
        if parser.peek() == b" ":
            parser.space()
            if word == b"MESSAGENEW" and kind in OF_SELECTED and parser.peek() == b"(":
                groups.items = parse_items(parser)
                if parser.peek() == b" ":
                    parser.space()
        if parser.peek() == b")":
            break
    parser.close()
    return events


async def _notify(context: Context, value: _Notify) -> Ok:
    """NOTIFY, RFC 5465 section 3."""
    if value.unsupported:
        known = b" ".join(event.value for event in Event)
        raise No("messages have no annotations", b"BADEVENT (%b)" % known)
    context.stop_watching()
    if value.groups is None:
        return Ok("nothing is told by itself")
    watch = Watch(value.groups, context.stirred)
    watch.know(await read_tree(context))
    there = await _statuses(context, watch.watched(_selected_id(context)))
    watch.keep(there)
    if value.status:
        for status in there:
            items = watch.items(status.mailbox.name, condstore=context.condstore)
            context.respond(status_line(context, status, items))
            await context.output.room()
    context.watch, context.watched_items = watch, value.items
    context.states.watch(context.account.id, watch)
    # Of what was committed while we looked, the feed has said nothing to us.
    watch.stir()
    return Ok("news are told as they come")


def _selected_id(context: Context) -> int:
    return 0 if context.view is None else context.view.state.mailbox.id


async def _statuses(context: Context, names: frozenset[str]) -> Any:
    return await context.store.read(ListStatus(context.account.id, names)) if names else ()


async def tell(context: Context, watch: Watch) -> None:
    """Whatever is new. Called between two commands, and in IDLE."""
    watch.pending = False
    if watch.overflown:
        # RFC 5465 section 5.8: as after NOTIFY NONE.
        context.stop_watching()
        context.respond(b"OK [NOTIFICATIONOVERFLOW] too much has changed: nothing more is told by itself")
        context.output.flush()
        return
    group = watch.selected
    if group is not None and group.events:
        await _tell_selected(context, group)
    elif group is None and context.idling:
        for lines in context.news(expunges=True):
            context.output.write(lines)
    if watch.others:
        await _tell_others(context, watch)
    context.output.flush()


async def _tell_others(context: Context, watch: Watch) -> None:
    tree = await read_tree(context)
    context.respond(*watch.mailbox_lines(tree, utf8=context.utf8))
    for name, entries in watch.changed_entries():
        await _tell_entries(context, name, entries)
    selected_id = _selected_id(context)
    for status in await _statuses(context, watch.changed_mailboxes(selected_id)):
        if watch.news_of(status):
            items = watch.items(status.mailbox.name, condstore=context.condstore)
            context.respond(status_line(context, status, items))
            await context.output.room()


async def _tell_entries(context: Context, name: str, entries: list[str]) -> None:
    """METADATA without values, RFC 5464 section 4.4.2."""
    for start in range(0, len(entries), _ENTRIES_A_LINE):
        some = b" ".join(map(entry_text, entries[start : start + _ENTRIES_A_LINE]))
        context.respond(b"METADATA %b %b" % (quoted(write_name(name, context.utf8)), some))
        await context.output.room()


async def _tell_selected(context: Context, group: Group) -> None:
    if context.view is None:
        return
    last = context.selected.last_told
    expunges = group.filter is Filter.SELECTED or context.idling
    for lines in context.news(expunges=expunges, flags=Event.FLAG_CHANGE in group.events):
        context.output.write(lines)
    await context.output.room()
    if context.watched_items and context.selected.last_told > last:
        known = context.selected.uids()
        uids = [uid for uid in known if uid > last]
        if uids:
            # RFC 5465 section 5.2: what the client wants to know of each that came; \\Seen is not set.
            await fetch(context, requested(uids[0], uids[-1], context.watched_items))


COMMANDS: tuple[Command[Any], ...] = (Command(b"NOTIFY", State.LOGGED_IN, _parse_notify, _notify),)
