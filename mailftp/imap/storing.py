"""Flags, expunging, copying, moving: RFC 9051 sections 6.4.3, 6.4.6 to 6.4.9, RFC 7162, RFC 4315."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.chosen import Chosen, choose
from mailftp.imap.commands import Command, No, Ok, State, nothing
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.responses import flag_lines, modseq_lines
from mailftp.imap.sequence import SequenceSet, format_set
from mailftp.store.engine import NoSuchMailbox
from mailftp.store.flags import changed
from mailftp.store.records import Copied
from mailftp.store.units import CopyMessages, Expunge, FlagChange, MoveMessages, StoreFlags

#: Flags of one message. Nobody reads as many, and each set of flags is kept in memory and sent often.
MOST_FLAGS = 200
#: RFC 7162 section 7, mod-sequence-valzer.
MODSEQ_LIMIT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Store:
    messages: SequenceSet
    change: FlagChange
    silent: bool
    flags: frozenset[str]
    unchanged_since: int | None


def _parse_store(parser: Parser) -> _Store:
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    unchanged_since = None
    if parser.peek() == b"(":
        # RFC 7162 section 3.1.3; store-modifiers of RFC 4466 are none but this.
        parser.open()
        parser.expect(b"UNCHANGEDSINCE")
        parser.space()
        unchanged_since = parser.number(0, MODSEQ_LIMIT)
        parser.close()
        parser.space()
    change = FlagChange.REPLACE
    if parser.take(b"+"):
        change = FlagChange.ADD
    elif parser.take(b"-"):
        change = FlagChange.REMOVE
    parser.expect(b"FLAGS")
    silent = parser.take(b".SILENT")
    parser.space()
    return _Store(messages, change, silent, frozenset(parser.flags()), unchanged_since)


async def _store(context: Context, value: _Store, *, by_uid: bool) -> Ok:
    """STORE and UID STORE, RFC 9051 sections 6.4.6 and 6.4.9, RFC 7162 section 3.1.3."""
    _writable(context)
    chosen = choose(context, value.messages, by_uid=by_uid)
    view = context.selected
    if value.unchanged_since is not None:
        context.enable_condstore()
    _hold_to_limit(context, chosen, value)
    expected = _Expected(context, chosen.uids, value)
    flagged = await context.store.commit(
        StoreFlags(
            context.account.id,
            view.state.mailbox.id,
            tuple(chosen.uids),
            value.change,
            value.flags,
            value.unchanged_since,
        )
    )
    await context.refresh()
    refused = set(flagged.refused)
    done = [uid for uid in chosen.uids if uid not in refused] if refused else chosen.uids
    if not value.silent:
        lines = flag_lines(view, done, context.told(uid=by_uid))
    elif context.condstore and flagged.modseq:
        lines = modseq_lines(view, done, flagged.modseq, context.told(uid=by_uid))
    else:
        lines = iter(())
    if flagged.modseq:
        view.forget(expected.met(done) if value.silent else done, flagged.modseq)
    for piece in lines:
        context.output.write(piece)
        await context.output.room()
    if refused:
        return Ok("some had changed", b"MODIFIED " + _named(context, flagged.refused, by_uid=by_uid))
    _say_gone(chosen, by_uid=by_uid)
    return Ok()


class _Expected:
    """What a client that wants to hear nothing of its own STORE takes the flags for afterwards. Where
    somebody else has changed some of them too, it has to hear all the same."""

    def __init__(self, context: Context, uids: list[int], value: _Store) -> None:
        self._state = state = context.selected.state
        untold = context.selected.untold(uids) if value.silent else set()
        self._before: dict[int, frozenset[str]] = {}
        self._after: dict[frozenset[str], frozenset[str]] = {}
        if not value.silent:
            return
        for uid in uids:
            at = state.index(uid)
            if at is not None and uid not in untold:
                flags = self._before[uid] = state.flags(at)
                if flags not in self._after:
                    self._after[flags] = changed(flags, value.change, value.flags)

    def met(self, uids: list[int]) -> list[int]:
        """Those whose flags are what was to be expected."""
        state, found = self._state, []
        for uid in uids:
            at, before = state.index(uid), self._before.get(uid)
            if at is not None and before is not None and state.flags(at) == self._after[before]:
                found.append(uid)
        return found


def _hold_to_limit(context: Context, chosen: Chosen, value: _Store) -> None:
    state = context.selected.state
    if value.change is FlagChange.REMOVE or not value.flags:
        return
    sets = {state.flag_numbers[at] for at in map(state.index, chosen.uids) if at is not None}
    for number in sets:
        after = changed(state.flag_sets[number], value.change, value.flags)
        if len(after) > MOST_FLAGS:
            raise No(f"a message has at most {MOST_FLAGS} flags", b"LIMIT")


def _named(context: Context, uids: tuple[int, ...], *, by_uid: bool) -> bytes:
    """As the command names messages: by UID, or by number."""
    if by_uid:
        return format_set(uids)
    numbers = map(context.selected.number_of, uids)
    return format_set([number for number in numbers if number is not None])


def _writable(context: Context) -> None:
    if context.read_only:
        raise No("the mailbox was opened by EXAMINE, to be read only")


def _say_gone(chosen: Chosen, *, by_uid: bool) -> None:
    if chosen.gone and not by_uid:
        raise No("some of the messages are gone: ask by NOOP which", b"EXPUNGEISSUED")


# Expunging.


async def _expunge(context: Context, value: None) -> Ok:
    """EXPUNGE, RFC 9051 section 6.4.3."""
    return await _expunge_among(context, None)


def _parse_set(parser: Parser) -> SequenceSet:
    parser.space()
    return parser.sequence_set()


async def _uid_expunge(context: Context, value: SequenceSet) -> Ok:
    """UID EXPUNGE, RFC 4315 section 2.1."""
    return await _expunge_among(context, value)


async def _expunge_among(context: Context, value: SequenceSet | None) -> Ok:
    _writable(context)
    await expunge_deleted(context, value)
    await context.refresh()
    if context.qresync:
        # RFC 7162 section 3.2.7.
        return Ok("expunged", b"HIGHESTMODSEQ %d" % context.selected.state.modseq)
    return Ok("expunged")


async def expunge_deleted(context: Context, value: SequenceSet | None = None) -> None:
    """Remove what is marked \\Deleted, of these UIDs or of all."""
    await context.refresh()
    view = context.selected
    state = view.state
    marked = {number for number, flags in enumerate(state.flag_sets) if "\\Deleted" in flags}
    uids = [uid for uid, number in zip(state.uids, state.flag_numbers, strict=True) if number in marked]
    if value is not None and uids:
        chosen = set(choose(context, value, by_uid=True).uids)
        uids = [uid for uid in uids if uid in chosen]
    if uids:
        await context.store.commit(Expunge(context.account.id, state.mailbox.id, tuple(uids), marked=True))


# Copying.


def _parse_copy(parser: Parser) -> tuple[SequenceSet, str]:
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    return messages, parser.mailbox()


async def _copy(context: Context, value: tuple[SequenceSet, str], *, by_uid: bool) -> Ok:
    """COPY and UID COPY, RFC 9051 sections 6.4.7 and 6.4.9."""
    chosen = choose(context, value[0], by_uid=by_uid)
    # All or none, also of those that somebody else has expunged.
    _say_gone(chosen, by_uid=by_uid)
    copied = await _put(context, CopyMessages, chosen, value[1])
    return Ok("copied", _copyuid(copied))


async def _move(context: Context, value: tuple[SequenceSet, str], *, by_uid: bool) -> Ok:
    """MOVE and UID MOVE, RFC 6851, RFC 9051 sections 6.4.8 and 6.4.9."""
    _writable(context)
    chosen = choose(context, value[0], by_uid=by_uid)
    _say_gone(chosen, by_uid=by_uid)
    copied = await _put(context, MoveMessages, chosen, value[1])
    if copied.sources:
        # Before the EXPUNGE responses, which come with the news.
        context.respond(b"OK [%b] moved" % _copyuid(copied))
    await context.refresh()
    if context.qresync:
        return Ok("moved", b"HIGHESTMODSEQ %d" % context.selected.state.modseq)
    return Ok("moved")


async def _put(
    context: Context, kind: type[CopyMessages] | type[MoveMessages], chosen: Chosen, target: str
) -> Copied:
    mailbox_id = context.selected.state.mailbox.id
    try:
        return await context.store.commit(kind(context.account.id, mailbox_id, tuple(chosen.uids), target))
    except NoSuchMailbox:
        if context.states.gone(context.selected):
            raise
        raise No("there is no such mailbox: create it first", b"TRYCREATE") from None


def _copyuid(copied: Copied) -> bytes:
    """RFC 4315 section 3; both rows ascend, so the n-th of one is the n-th of the other."""
    if not copied.sources:
        return b""
    sets = format_set(copied.sources), format_set(copied.targets)
    return b"COPYUID %d %b %b" % (copied.uidvalidity, *sets)


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"STORE", State.SELECTED, _parse_store, partial(_store, by_uid=False), expunges=False),
    Command(b"UID STORE", State.SELECTED, _parse_store, partial(_store, by_uid=True)),
    Command(b"EXPUNGE", State.SELECTED, nothing, _expunge),
    Command(b"UID EXPUNGE", State.SELECTED, _parse_set, _uid_expunge),
    Command(b"COPY", State.SELECTED, _parse_copy, partial(_copy, by_uid=False)),
    Command(b"UID COPY", State.SELECTED, _parse_copy, partial(_copy, by_uid=True)),
    Command(b"MOVE", State.SELECTED, _parse_copy, partial(_move, by_uid=False)),
    Command(b"UID MOVE", State.SELECTED, _parse_copy, partial(_move, by_uid=True)),
)
