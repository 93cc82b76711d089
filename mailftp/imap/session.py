"""The session: states, commands in the order in which they came, and what each of them is answered.

RFC 9051 section 5.5 lets commands that are in no conflict be answered in any order; here each is finished
before the next one is looked at, so a pipelined STORE and EXPUNGE never change places. One coroutine a
connection: it waits for the client, for the store, and for the client to read, and for nothing else. No
sockets and no clock: those are the Link's and the Output's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from mailftp.imap.capabilities import capabilities
from mailftp.imap.commands import Bye, Command, MessageCommand, State
from mailftp.imap.context import Context, text
from mailftp.imap.incoming import Incoming
from mailftp.imap.notifying import tell
from mailftp.imap.output import TURN, TURN_BEFORE_LOGIN
from mailftp.imap.parser import Parser, SyntaxFault
from mailftp.imap.refusals import refusal
from mailftp.imap.registry import COMMANDS
from mailftp.imap.scanner import CommandScanner, CommandText, Continue, Fault, Message
from mailftp.wire.scan import TooLong

#: Commands that make no sense, before a login and in all after it, after which the connection is closed.
BAD_BEFORE_LOGIN = 10
BAD_COMMANDS = 100

#: What web browsers begin with: a page that lets one send IMAP commands is an attack (ALPACA).
_WEB = frozenset(
    {b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"PRI"}
)


class Ended(Exception):
    """The client has sent all that it will."""


class Session:
    """`run` is its coroutine; `feed` and `end` say what the client does, `heard` what others do."""

    def __init__(
        self, context: Context, commands: Mapping[bytes, Command[Any] | MessageCommand] = COMMANDS
    ) -> None:
        self.context = context
        self.scanner = CommandScanner()
        self._commands = commands
        self._output = context.output
        self._waiting: Deferred[None] | None = None
        self._ended = False
        self._bye = ""
        self._bad = 0
        context.line = self._line
        context.heard, context.stirred = self.heard, self._wake

    # What happens.

    def feed(self, data: bytes) -> None:
        """Octets came from the client."""
        self.scanner.feed(data)
        self._wake()

    def end(self) -> None:
        """The client sends no more; what it has sent is still answered."""
        self._ended = True
        self._wake()

    def stop(self, why: str) -> None:
        """Say BYE when the command that is under way is done; at once when none is."""
        self._bye = why
        self._wake()

    @property
    def waiting(self) -> bool:
        """Nothing is under way: the client is to say something, or news are to come."""
        return self._waiting is not None

    @property
    def idle(self) -> bool:
        """Between two commands, or in IDLE: a BYE can be said."""
        return self._waiting is not None and not self._output.torn_now

    @property
    def _gone(self) -> bool:
        context = self.context
        return context.view is not None and context.states.gone(context.view)

    def heard(self) -> None:
        """There may be news."""
        if self._gone and self.idle:
            # RFC 9051 section 6.3.5 leaves it to us; clients know what to do with a BYE.
            self.stop("the selected mailbox was deleted")
        elif self.context.watch is not None:
            self.context.watch.stir()
        elif self.context.idling and self.idle and not self._output.full:
            self._tell(expunges=True)
            self._output.flush()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def _more(self) -> None:
        """Until something was fed. Raises Ended when nothing will be."""
        self._output.flush()
        if self._ended:
            raise Ended
        self._waiting = Deferred()
        self.context.link.read()
        await self._waiting
        if self._bye:
            raise Bye(self._bye)

    async def _line(self, limit: int) -> bytes | TooLong:
        while (line := self.scanner.line(limit)) is None:
            await self._more()
            if self.context.idling:
                await self._tell_watched()
        return line

    async def _tell_watched(self) -> None:
        """What NOTIFY asked for, between two commands and in IDLE."""
        watch = self.context.watch
        if watch is None or not watch.pending or self._output.full or self.scanner.midway or self._gone:
            return
        try:
            await tell(self.context, watch)
        except (CancelledError, Bye):
            raise
        except Exception:
            # The next change brings it.
            self.context.link.journal.fault("session not told", listener="NOTIFY")

    # The conversation.

    async def run(self) -> None:
        """From the greeting to the end. It returns when the connection is to be closed, and never raises but
        CancelledError, when it is lost."""
        offered = capabilities(State.NOT_AUTHENTICATED, self.context.link.offer())
        self.context.respond(b"OK [CAPABILITY %b] IMAP4 ready" % offered)
        try:
            while not self.context.over:
                if self._bye:
                    raise Bye(self._bye)
                await self._tell_watched()
                await self._next()
        except Ended:
            pass
        except Bye as bye:
            self.context.respond(b"BYE %b" % text(str(bye)))
        except CancelledError:
            raise
        except Exception:
            self.context.link.journal.fault("session failed")
            self.context.respond(b"BYE this cannot go on: an error of the server, which is in its log")
        self._output.flush()

    async def _next(self) -> None:
        event = self.scanner.next()
        if event is None:
            await self._more()
        elif isinstance(event, CommandText):
            await self._command(event.text)
            # Replies to commands that were sent at once: the client has to read some, and others have turns.
            await self._output.room(TURN_BEFORE_LOGIN if self.context.logged_in is None else TURN)
        elif isinstance(event, Continue):
            self._output.write(b"+ go on\r\n")
        elif isinstance(event, Message):
            await self._message(event)
        elif isinstance(event, Fault):
            self._answer(event.tag or b"*", b"BAD", event.text)
            self._count_bad()
        else:
            raise Bye(event.text)

    async def _command(self, octets: bytes) -> None:
        if not octets:
            # An empty line, which some clients send after a literal; no command, and no fault to speak of.
            self._count_bad()
            return
        parser = Parser(octets, self.context.utf8)
        tag = b"*"
        try:
            tag = parser.tag()
            command = self._find(parser, tag)
            if isinstance(command, MessageCommand):
                raise SyntaxFault("the message is expected as a literal")
            value = command.parse(parser)
            parser.end()
        except SyntaxFault as fault:
            self._answer(tag, b"BAD", str(fault))
            self._count_bad()
            return
        await self._perform(tag, command.run(self.context, value), command.expunges)

    async def _message(self, offer: Message) -> None:
        parser = Parser(offer.before, self.context.utf8)
        incoming = Incoming(self.scanner, self._output, offer, self._more)
        tag = b"*"
        try:
            tag = parser.tag()
            command = self._find(parser, tag)
            if not isinstance(command, MessageCommand):
                raise SyntaxFault("no message is expected")
        except SyntaxFault as fault:
            await incoming.drop()
            self._answer(tag, b"BAD", str(fault))
            self._count_bad()
            return
        work = command.receive(self.context, parser, incoming)
        await self._perform(tag, work, command.expunges, incoming)

    def _find(self, parser: Parser, tag: bytes) -> Command[Any] | MessageCommand:
        """Raises SyntaxFault, and Bye for a web browser."""
        if tag.upper() in _WEB and self.context.logged_in is None:
            raise Bye("this is IMAP")
        parser.space()
        name = parser.keyword()
        if name == b"UID":
            parser.space()
            name += b" " + parser.keyword()
        command = self._commands.get(name)
        if command is None:
            raise SyntaxFault("there is no such command")
        if not command.states & self.context.state:
            raise SyntaxFault(_out_of_place(command.states))
        return command

    async def _perform(self, tag: bytes, work: Any, expunges: bool, incoming: Incoming | None = None) -> None:
        """Run it, and answer with its tagged response, untagged news before that."""
        self.context.tag = tag
        ok = None
        kind, code, words = b"OK", b"", ""
        try:
            ok = await work
            code, words = ok.code, ok.text
        except (CancelledError, Ended, Bye):
            raise
        except Exception as error:
            if self._output.torn_now:
                # Half of a response is out: only the end of the connection can tell the client so.
                self.context.link.journal.fault("response not finished", command=_name_of(work))
                self.context.link.abort()
                self.context.over = True
                return
            kind, code, words = refusal(error)
            if kind == b"NO" and not words:
                self.context.link.journal.fault("command failed", command=_name_of(work))
                code, words = b"SERVERBUG", "this cannot be done just now"
        if incoming is not None:
            await incoming.drop()
        gone = self._gone
        if not gone:
            self._tell(expunges=expunges)
        self._answer(tag, kind, words, code)
        if kind == b"BAD":
            self._count_bad()
        if gone:
            raise Bye("the selected mailbox was deleted")
        self.scanner.authenticated = self.context.logged_in is not None
        if self.context.failures >= self.context.link.settings.auth.failures_closed:
            raise Bye("too many logins failed")
        if ok is not None and ok.then is not None:
            self._output.flush()
            await ok.then()

    def _tell(self, *, expunges: bool) -> None:
        # To be taken at once, as their numbers are of this moment.
        for lines in self.context.news(expunges=expunges):
            self._output.write(lines)

    def _answer(self, tag: bytes, kind: bytes, words: str, code: bytes = b"") -> None:
        if code:
            self._output.write(b"%b %b [%b] %b\r\n" % (tag, kind, code, text(words)))
        else:
            self._output.write(b"%b %b %b\r\n" % (tag, kind, text(words)))

    def _count_bad(self) -> None:
        self._bad += 1
        most = BAD_BEFORE_LOGIN if self.context.logged_in is None else BAD_COMMANDS
        if self._bad >= most:
            raise Bye("too many commands that make no sense")


def _out_of_place(states: State) -> str:
    if states is State.NOT_AUTHENTICATED:
        return "you are logged in already"
    return "select a mailbox first" if states is State.SELECTED else "log in first"


def _name_of(work: Any) -> str:
    return str(getattr(work, "__qualname__", ""))
