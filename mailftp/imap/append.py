"""Messages that a client brings: APPEND, RFC 9051 section 6.3.12; MULTIAPPEND, RFC 3502; REPLACE, RFC 8508.

A message goes to the store as it comes and is never held here. All messages of one command are there when
it is answered OK, durably, or none is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mailftp.imap.chosen import choose
from mailftp.imap.commands import Bad, MessageCommand, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.incoming import Incoming
from mailftp.imap.parser import Parser, SyntaxFault
from mailftp.imap.quota import quota_of
from mailftp.imap.scanner import Message
from mailftp.imap.sequence import format_set
from mailftp.imap.storing import MOST_FLAGS
from mailftp.message.line_ends import LineEnds
from mailftp.store.engine import SMALL_BODY, BodySink, NoSuchMailbox, NoSuchMessage
from mailftp.store.queries import AccountWithVerifier, Mailboxes, MailUsage
from mailftp.store.records import Appended, StagedBody
from mailftp.store.units import AppendMessages, NewMessage

#: Messages of one command, which are committed together, and octets of those that wait for it in memory:
#: bodies up to SMALL_BODY. A client that restores a folder sends a few hundred at one time.
MOST_MESSAGES = 1000
MOST_OCTETS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _About:
    """What is said before a message."""

    flags: frozenset[str]
    #: INTERNALDATE, seconds since the epoch; None for now.
    received: float | None
    #: RFC 6855 section 4: `UTF8 (~{100}...)`, whose bracket is still to be closed.
    utf8: bool


class _Staged:
    """Bodies that were taken, until the store has them for good."""

    def __init__(self) -> None:
        self._sinks: list[BodySink] = []
        self.messages: list[NewMessage] = []
        self.octets = 0

    def take(self, sink: BodySink) -> None:
        self._sinks.append(sink)

    def add(self, body: StagedBody, about: _About, now: float) -> None:
        if body.data is not None:
            self.octets += body.size
            # There is no file to be removed, and the sink holds the octets once more.
            self._sinks.pop()
        received = about.received if about.received is not None else float(int(now))
        self.messages.append(NewMessage(body, received, about.flags))

    def give_up(self) -> None:
        for sink in self._sinks:
            sink.abort()


async def _append(context: Context, parser: Parser, incoming: Incoming) -> Ok:
    """APPEND."""
    parser.space()
    name = parser.mailbox()
    parser.space()
    appended = await _bring(context, parser, incoming, name)
    return Ok("appended", _appenduid(appended))


async def _replace(context: Context, parser: Parser, incoming: Incoming, *, by_uid: bool) -> Ok:
    """REPLACE and UID REPLACE, RFC 8508 section 3."""
    parser.space()
    start = parser.sequence_set()
    if len(start.ranges) != 1 or start.saved or start.ranges[0][0] != start.ranges[0][1]:
        raise SyntaxFault("the number of one message is expected")
    parser.space()
    name = parser.mailbox()
    parser.space()
    if context.read_only:
        raise No("the mailbox was opened by EXAMINE, to be read only", b"READ-ONLY")
    chosen = choose(context, start, by_uid=by_uid)
    if len(chosen.uids) != 1:
        raise No("the message to be replaced is gone", b"EXPUNGEISSUED" if chosen.gone else b"NONEXISTENT")
    mailbox = context.selected.state.mailbox.id
    appended = await _bring(context, parser, incoming, name, (mailbox, chosen.uids[0]))
    # RFC 8508 section 3.4: before the EXPUNGE of the old one, which comes with the tagged response.
    context.respond(b"OK [%b] the new message is there" % _appenduid(appended))
    await context.refresh()
    return Ok("replaced")


def _appenduid(appended: Appended) -> bytes:
    """RFC 9051 section 7.1."""
    return b"APPENDUID %d %b" % (appended.uidvalidity, format_set(appended.uids))


async def _bring(
    context: Context, parser: Parser, incoming: Incoming, name: str, replaces: tuple[int, int] | None = None
) -> Appended:
    staged = _Staged()
    try:
        await _take_all(context, parser, incoming, name, staged, single=replaces is not None)
        messages = tuple(staged.messages)
        try:
            appended = await context.store.commit(
                AppendMessages(context.account.id, name, messages, replaces)
            )
        except NoSuchMailbox:
            raise _try_create() from None
        except NoSuchMessage as error:
            raise No(str(error), b"EXPUNGEISSUED") from None
    except BaseException:
        staged.give_up()
        raise
    view = context.view
    if replaces is None and view is not None and view.state.mailbox.id == appended.mailbox_id:
        # RFC 9051 section 6.3.12: EXISTS comes with the answer.
        await context.refresh()
    return appended


def _try_create() -> No:
    return No("there is no such mailbox: create it first", b"TRYCREATE")


async def _take_all(
    context: Context, parser: Parser, incoming: Incoming, name: str, staged: _Staged, *, single: bool
) -> None:
    """All messages of the command, and what stands between them and at the end."""
    while True:
        about = _about(parser)
        parser.end()
        await _look_ahead(context, incoming.offer, name, staged, single=single)
        await _take(context, incoming, about, staged)
        rest = await incoming.rest()
        more = isinstance(rest, Message)
        parser = Parser(rest.before if isinstance(rest, Message) else rest, context.utf8)
        if about.utf8:
            parser.expect(b")")
        if not more:
            parser.end()
            return
        if single:
            raise SyntaxFault("one message replaces one")
        parser.space()


def _about(parser: Parser) -> _About:
    flags: tuple[str, ...] = ()
    received: float | None = None
    if parser.peek() == b"(":
        flags = parser.flag_list()
        if len(flags) > MOST_FLAGS:
            raise No(f"a message has at most {MOST_FLAGS} flags", b"LIMIT")
        parser.space()
    if parser.peek() == b'"':
        received = parser.date_time().timestamp()
        parser.space()
    utf8 = parser.take(b"UTF8")
    if utf8:
        parser.space()
        parser.expect(b"(")
    elif parser.peek():
        # CATENATE (RFC 4469) and other ways to bring a message would begin here.
        raise parser.fault("flags, a time, and then the message are expected")
    return _About(frozenset(flags), received, utf8)


async def _look_ahead(context: Context, offer: Message, name: str, staged: _Staged, *, single: bool) -> None:
    """Refuse, before it is sent, what could not be kept. A client that waits is spared sending it."""
    limit = context.link.settings.limits.message_size
    if offer.octets > limit:
        # RFC 7889, RFC 4469 section 4.2.
        raise No(f"a message has at most {limit} octets", b"TOOBIG")
    if len(staged.messages) >= MOST_MESSAGES or staged.octets + min(offer.octets, SMALL_BODY) > MOST_OCTETS:
        raise No("too much for one APPEND: send the messages by several", b"LIMIT")
    if offer.octets <= SMALL_BODY or not offer.synchronizing:
        # Asking would take as long as taking it.
        return
    boxes = await context.store.read(Mailboxes(context.account.id))
    if all(box.name != name for box in boxes):
        raise _try_create()
    # As it is now: it may have been given more since the login.
    known = await context.store.read(AccountWithVerifier(context.account.address))
    quota = quota_of(context, context.account if known is None else known[0])
    octets, messages = await context.store.read(MailUsage(context.account.id))
    # What replaces another makes them no more.
    messages += 0 if single else len(staged.messages) + 1
    if quota.exceeded(octets + offer.octets, messages, (0, messages if single else 0)):
        raise No("the account is full: delete something first", b"OVERQUOTA")


async def _take(context: Context, incoming: Incoming, about: _About, staged: _Staged) -> None:
    """The message that is on offer."""
    if not incoming.offer.octets:
        # RFC 3502 section 6.3.11: a client that cannot go on with a MULTIAPPEND cancels it so.
        raise No("an empty message is none: nothing was appended")
    binary = incoming.offer.binary and not about.utf8
    limit = context.link.settings.limits.message_size
    ends = LineEnds()
    sink = context.store.stage()
    staged.take(sink)
    size = 0
    incoming.accept()
    while piece := await incoming.read():
        if b"\0" in piece:
            if not incoming.offer.binary:
                raise Bad("only a literal8 may hold NUL")
            raise _only_binary()
        size += await _write(sink, ends.feed(piece), limit - size)
        if binary and ends.changed:
            raise _only_binary()
    await _write(sink, ends.finish(), limit - size)
    staged.add(await sink.finish(), about, context.link.now())


async def _write(sink: BodySink, text: bytes, room: int) -> int:
    if len(text) > room:
        # With its line ends right it is longer than it said.
        raise No("the message is too large", b"TOOBIG")
    held_up = sink.write(text)
    if held_up is not None:
        await held_up
    return len(text)


def _only_binary() -> No:
    """RFC 3516 section 4.4: what is kept has lines, so that every client and server can have it. To change
    the line ends of an image would spoil it."""
    words = "a part has NUL, or lines without CRLF: send it with the Content-Transfer-Encoding base64"
    return No(words, b"UNKNOWN-CTE")


COMMANDS: tuple[MessageCommand, ...] = (
    MessageCommand(b"APPEND", State.LOGGED_IN, _append),
    MessageCommand(b"REPLACE", State.SELECTED, partial(_replace, by_uid=False)),
    MessageCommand(b"UID REPLACE", State.SELECTED, partial(_replace, by_uid=True)),
)
