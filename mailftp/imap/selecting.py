"""Selecting a mailbox, and leaving it: RFC 9051 sections 6.3.2, 6.3.3, 6.4.1 and 6.4.2, RFC 7162."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from mailftp.imap.commands import Bad, Command, No, Ok, State, nothing
from mailftp.imap.context import Context
from mailftp.imap.mailbox_names import write_name
from mailftp.imap.parser import Parser
from mailftp.imap.responses import flag_lines, flag_list, quoted
from mailftp.imap.sequence import SequenceSet
from mailftp.imap.storing import MODSEQ_LIMIT, expunge_deleted
from mailftp.imap.vanished import vanished_since

#: RFC 9051 section 2.3.2: those that every mailbox has.
SYSTEM_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")


@dataclass(frozen=True, slots=True)
class _Known:
    """What a client knows of the mailbox: QRESYNC's parameter."""

    uidvalidity: int
    modseq: int
    uids: SequenceSet | None


@dataclass(frozen=True, slots=True)
class _Select:
    name: str
    condstore: bool = False
    known: _Known | None = None


def _parse_select(parser: Parser) -> _Select:
    """RFC 9051 section 9, select, with select-params of RFC 4466."""
    parser.space()
    name = parser.mailbox()
    condstore, known = False, None
    if parser.peek() == b" ":
        parser.space()
        parser.open()
        while True:
            word = parser.keyword()
            if word == b"CONDSTORE":
                condstore = True
            elif word == b"QRESYNC" and known is None:
                parser.space()
                known = _parse_known(parser)
            else:
                raise parser.fault("CONDSTORE or QRESYNC is expected before it")
            if parser.peek() != b" ":
                break
            parser.space()
        parser.close()
    return _Select(name, condstore, known)


def _parse_known(parser: Parser) -> _Known:
    """RFC 7162 section 3.2.5."""
    parser.open()
    uidvalidity = parser.nz_number()
    parser.space()
    modseq = parser.number(1, MODSEQ_LIMIT)
    uids = None
    if parser.peek() == b" ":
        parser.space()
        if parser.peek() != b"(":
            uids = parser.sequence_set()
        if parser.peek() == b" ":
            parser.space()
        if parser.peek() == b"(":
            # What the client knows of numbers would make the answer shorter where expunges are forgotten.
            parser.open()
            parser.sequence_set()
            parser.space()
            parser.sequence_set()
            parser.close()
    parser.close()
    if uids is not None and (uids.saved or uids.star):
        raise parser.fault("the UIDs that are known cannot be $ or * before it")
    return _Known(uidvalidity, modseq, uids)


async def _select(context: Context, value: _Select, *, read_only: bool) -> Ok:
    """SELECT and EXAMINE, RFC 9051 sections 6.3.2 and 6.3.3."""
    if value.known is not None and not context.qresync:
        raise Bad("QRESYNC has to be enabled first")
    if context.view is not None:
        # Also when no other is opened then.
        context.leave_mailbox()
        context.respond(b"OK [CLOSED] the mailbox before is closed")
    try:
        view = await context.states.open(context.account.id, value.name, context.heard)
    except LookupError:
        raise No("there is no such mailbox", b"NONEXISTENT") from None
    context.view, context.read_only = view, read_only
    if value.condstore:
        context.enabled.add(b"CONDSTORE")
    _describe(context)
    if value.known is not None and value.known.uidvalidity == view.state.mailbox.uidvalidity:
        await _resynchronize(context, value.known)
    if read_only:
        return Ok("the mailbox can be read", b"READ-ONLY")
    return Ok("the mailbox is selected", b"READ-WRITE")


def _describe(context: Context) -> None:
    view = context.selected
    state = view.state
    used = frozenset().union(*state.flag_sets)
    flags = flag_list({*SYSTEM_FLAGS, *used})
    context.respond(
        b"FLAGS " + flags,
        b"OK [PERMANENTFLAGS %b] these are kept" % (b"()" if context.read_only else flags[:-1] + b" \\*)"),
        b"%d EXISTS" % view.exists,
    )
    if context.rev2:
        name = quoted(write_name(state.mailbox.name, context.utf8))
        context.respond(b'LIST () "/" %b' % name)
    else:
        context.respond(b"0 RECENT")
        unseen = None if context.uidonly else state.first_unseen()
        if unseen is not None:
            context.respond(b"OK [UNSEEN %d] the first" % (unseen + 1))
    context.respond(
        b"OK [UIDVALIDITY %d] UIDs are good" % state.mailbox.uidvalidity,
        b"OK [UIDNEXT %d] the next one" % state.uidnext,
        b"OK [HIGHESTMODSEQ %d] the last change" % state.modseq,
        b"OK [MAILBOXID (F%d)] the mailbox" % state.mailbox.id,
    )


async def _resynchronize(context: Context, known: _Known) -> None:
    """RFC 7162 section 3.2.5: what vanished, then what changed."""
    view = context.selected
    gone = await vanished_since(context, known.modseq, known.uids)
    if gone:
        context.respond(b"VANISHED (EARLIER) " + gone)
    state = view.state
    changed = [uid for uid, modseq in zip(state.uids, state.modseqs, strict=True) if modseq > known.modseq]
    if known.uids is not None:
        chosen = known.uids.among(changed)
        changed = [uid for span in chosen for uid in changed[span.start : span.stop]]
    for piece in flag_lines(view, changed, context.told(uid=True)):
        context.output.write(piece)
        await context.output.room()


async def _noop(context: Context, value: None) -> Ok:
    """NOOP, RFC 9051 section 6.1.2, and CHECK, RFC 3501 section 6.4.1: the time for news."""
    if context.view is not None:
        await context.refresh()
    return Ok()


async def _unselect(context: Context, value: None) -> Ok:
    """UNSELECT, RFC 9051 section 6.4.2."""
    context.leave_mailbox()
    return Ok()


async def _close(context: Context, value: None) -> Ok:
    """CLOSE, RFC 9051 section 6.4.1: expunges without a word."""
    code = b""
    if not context.read_only:
        await expunge_deleted(context)
        if context.qresync:
            # RFC 7162 section 3.2.8.
            await context.refresh()
            code = b"HIGHESTMODSEQ %d" % context.selected.state.modseq
    context.leave_mailbox()
    return Ok("closed", code)


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"NOOP", State.ANY, nothing, _noop),
    Command(b"CHECK", State.SELECTED, nothing, _noop),
    Command(b"SELECT", State.LOGGED_IN, _parse_select, partial(_select, read_only=False)),
    Command(b"EXAMINE", State.LOGGED_IN, _parse_select, partial(_select, read_only=True)),
    Command(b"UNSELECT", State.SELECTED, nothing, _unselect),
    Command(b"CLOSE", State.SELECTED, nothing, _close),
)
