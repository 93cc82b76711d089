"""The state machine of a POP3 session: lines in, replies out, and wishes that only the outside can fulfil.

    session.feed(data)
    while (answer := session.next()) is not None:
        if isinstance(answer, bytes): send it
        else: fulfil it, and tell the session how that went before `next` is called again

RFC 1939 (without APOP, which needs passwords in the clear on the server), 2449, 2595, 3206, 5034, 6856.
No sockets, no clock, no disk. A deletion is a mark in `deleted`; it is carried out by the Update wish that
QUIT makes, and by nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from mailftp.accounts.avatars import Drops
from mailftp.pop3.syntax import (
    COMMAND_LINE,
    SASL_LINE,
    SyntaxFault,
    challenge,
    parse_auth,
    parse_base64,
    parse_command,
    parse_number,
    parse_top,
)
from mailftp.wire.scan import TOO_LONG, LineScanner

#: Commands that make no sense, before a login and in all, after which the connection is closed.
BAD_BEFORE_LOGIN = 10
BAD_COMMANDS = 100

#: Lines of a listing that are made at one time.
PIECE = 1000

#: What web browsers begin with: a page that lets one send POP3 commands is an attack (ALPACA).
_WEB = frozenset(
    {b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"PRI"}
)


class State(enum.Enum):
    """RFC 1939 section 3."""

    AUTHORIZATION = 1
    SASL = 2  # within AUTH: lines are responses
    TRANSACTION = 3
    OVER = 4  # QUIT was said, or the session was ended


@dataclass(frozen=True, slots=True)
class Offer:
    """What is on offer on this connection now."""

    #: STLS can begin.
    stls: bool = False
    #: A password may be sent as it is.
    user: bool = False
    sasl: tuple[str, ...] = ()
    #: Whole days that a message is kept once it was fetched; None: for ever.
    expire: int | None = None
    #: Seconds between two logins to one maildrop.
    delay: int = 0


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Send +OK, then begin the handshake; then `secured`. What the client sent after STLS is gone already."""


@dataclass(frozen=True, slots=True)
class LogIn:
    """Then `opened` or `refused`."""

    username: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Authenticate:
    """A SASL exchange begins; then `challenged`, `opened` or `refused`."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Respond:
    """The client's next response in it, decoded. Then as above."""

    response: bytes


@dataclass(frozen=True, slots=True)
class Abandon:
    """The client gave the exchange up, or sent what is no response; `reply` goes out."""

    reply: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send a message, 0-based: all, or its header and `lines` lines."""

    number: int
    lines: int | None


@dataclass(frozen=True, slots=True)
class Update:
    """Remove these messages, 0-based; then say how it went, and close (RFC 1939 section 6). `retrieved` were
    fetched whole and stay, where mail that stays expires."""

    deleted: tuple[int, ...]
    retrieved: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Close:
    """Send `reply` and close."""

    reply: bytes


Wish = StartTLS | LogIn | Authenticate | Respond | Abandon | Fetch | Update | Close


def error(text: str, code: str = "") -> bytes:
    """-ERR, with a response code of RFC 2449 section 8 or RFC 3206."""
    return f"-ERR [{code}] {text}\r\n".encode() if code else f"-ERR {text}\r\n".encode()


class _Absent(Exception):
    """A number that names no message: refused, and no sign of a client that speaks something else."""


class Session:
    def __init__(self, offer: Offer) -> None:
        self.state = State.AUTHORIZATION
        self.offer = offer
        self.drops = Drops.of(())
        self.deleted: set[int] = set()
        self._scanner = LineScanner(COMMAND_LINE, lone_lf=True)
        self.retrieved: set[int] = set()
        self._username: bytes | None = None
        self._utf8 = False
        self._bad = 0
        self._octets = 0
        #: What is still to come of a listing.
        self._pieces: Iterator[bytes] | None = None

    # What happens.

    def feed(self, data: bytes) -> None:
        self._scanner.feed(data)

    def next(self) -> bytes | Wish | None:
        """The answer to the next command, or the next piece of one; None when there is no whole line."""
        if self._pieces is not None:
            return next(self._pieces)
        if self.state is State.OVER:
            self._scanner.clear()
            return None
        line = self._scanner.line()
        if line is None:
            return None
        if line is TOO_LONG:
            return (
                self._give_up("the line is too long")
                if self.state is State.SASL
                else self._bad_command("the line is too long")
            )
        if self.state is State.SASL:
            return self._response(line)
        try:
            command = parse_command(line)
            function = _COMMANDS[self.state].get(command.verb)
            if function is None:
                return self._unknown(command.verb)
            return function(self, command.argument)
        except _Absent as fault:
            return error(str(fault))
        except SyntaxFault as fault:
            return self._bad_command(str(fault))

    @property
    def midway(self) -> bool:
        """In the middle of a listing: `next` gives more of it."""
        return self._pieces is not None

    def greeting(self) -> bytes:
        """RFC 1939 section 4. No timestamp: APOP is not offered."""
        return b"+OK POP3 ready\r\n"

    def secured(self, offer: Offer) -> None:
        """TLS is on: nothing said before it counts (RFC 2595 section 4)."""
        self.offer = offer
        self._username = None
        self._scanner.clear()

    def challenged(self, data: bytes) -> bytes:
        """The mechanism goes on."""
        self.state = State.SASL
        self._scanner.limit = SASL_LINE
        return challenge(data)

    def opened(self, drops: Drops) -> bytes:
        """The maildrop is open and locked."""
        self._end_exchange(State.TRANSACTION)
        self.drops = drops
        self._octets = sum(drops.sizes)
        return f"+OK maildrop has {len(drops)} messages ({self._octets} octets)\r\n".encode()

    def refused(self, text: str, code: str = "") -> bytes:
        """No login, or no maildrop."""
        self._end_exchange(State.AUTHORIZATION)
        return error(text, code)

    def end(self) -> None:
        """Nothing more is answered; nothing is deleted."""
        self.state = State.OVER
        self.deleted.clear()
        self._pieces = None

    # Lines that are no command.

    def _end_exchange(self, state: State) -> None:
        self.state = state
        self._scanner.limit = COMMAND_LINE
        self._username = None

    def _response(self, line: bytes) -> Wish:
        """RFC 5034 section 4: base64, or "*" to give up."""
        if line == b"*":
            return self._give_up("cancelled")
        try:
            return Respond(parse_base64(line))
        except SyntaxFault as fault:
            return self._give_up(str(fault))

    def _give_up(self, text: str) -> Abandon:
        return Abandon(self.refused(text))

    def _unknown(self, verb: bytes) -> bytes | Wish:
        if self.state is State.AUTHORIZATION and verb in _WEB:
            return self._close(error("this is POP3"))
        if any(verb in commands for commands in _COMMANDS.values()):
            return self._bad_command(
                "log in first" if self.state is State.AUTHORIZATION else "you are logged in already"
            )
        return self._bad_command("unknown command")

    def _bad_command(self, text: str) -> bytes | Wish:
        self._bad += 1
        most = BAD_BEFORE_LOGIN if self.state is State.AUTHORIZATION else BAD_COMMANDS
        if self._bad >= most:
            return self._close(error("too many bad commands"))
        return error(text)

    def _close(self, reply: bytes) -> Close:
        self.end()
        return Close(reply)

    # AUTHORIZATION.

    def _capa(self, argument: bytes) -> bytes:
        """CAPA, RFC 2449 section 5: what holds in this state."""
        expire = "NEVER" if self.offer.expire is None else str(self.offer.expire)
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", f"EXPIRE {expire}"]
        if self.offer.delay:
            lines.append(f"LOGIN-DELAY {self.offer.delay}")
        lines += ["UTF8 USER", "LANG"]
        if self.offer.user:
            lines.append("USER")
        if self.offer.sasl:
            lines.append("SASL " + " ".join(self.offer.sasl))
        if self.offer.stls and self.state is State.AUTHORIZATION:
            lines.append("STLS")
        lines.append("IMPLEMENTATION mailftp")
        return "\r\n".join(["+OK capabilities follow", *lines, ".", ""]).encode()

    def _user(self, argument: bytes) -> bytes | Wish:
        """USER, RFC 1939 section 7: the same answer for every name."""
        if not self.offer.user:
            return self._no_cleartext()
        if not argument:
            raise SyntaxFault("USER wants a name")
        self._username = argument
        return b"+OK\r\n"

    def _pass(self, argument: bytes) -> bytes | Wish:
        """PASS, RFC 1939 section 7: only after USER."""
        if not self.offer.user:
            return self._no_cleartext()
        username, self._username = self._username, None
        if username is None:
            return self._bad_command("USER first")
        return LogIn(username, argument)

    def _no_cleartext(self) -> bytes | Wish:
        return self._bad_command("passwords are taken only under TLS")

    def _auth(self, argument: bytes) -> bytes | Wish:
        """AUTH, RFC 5034 section 4; alone it lists the mechanisms, as old Outlooks ask."""
        if not argument:
            return b"".join((b"+OK\r\n", *(name.encode() + b"\r\n" for name in self.offer.sasl), b".\r\n"))
        mechanism, initial = parse_auth(argument)
        if mechanism not in self.offer.sasl:
            return self._bad_command("this mechanism is not offered")
        return Authenticate(mechanism, initial)

    def _stls(self, argument: bytes) -> bytes | Wish:
        """STLS, RFC 2595 section 4."""
        if not self.offer.stls:
            return self._bad_command("TLS is not on offer")
        if self._utf8:
            # RFC 6856 section 2.1.
            return self._bad_command("STLS before UTF8")
        if argument:
            raise SyntaxFault("STLS takes no argument")
        # What came after it in the clear may be anybody's (CVE-2011-0411).
        self._scanner.clear()
        self._username = None
        return StartTLS()

    def _utf(self, argument: bytes) -> bytes:
        """UTF8, RFC 6856 section 2.1. Messages go out as they came, with or without it."""
        if argument:
            raise SyntaxFault("UTF8 takes no argument")
        self._utf8 = True
        return b"+OK\r\n"

    def _lang(self, argument: bytes) -> bytes:
        """LANG, RFC 6856 section 3: what is said to people is said in English."""
        if not argument:
            return b"+OK languages follow\r\nen English\r\n.\r\n"
        # i-default is English as well (RFC 2277 section 4.5).
        if argument.lower() in (b"*", b"en", b"i-default"):
            return b"+OK en English it is\r\n"
        raise _Absent("there is only English")

    def _leave(self, argument: bytes) -> Wish:
        """QUIT before a login, RFC 1939 section 4."""
        return self._close(b"+OK bye\r\n")

    # TRANSACTION.

    def _number(self, argument: bytes) -> int:
        """A message number that is there and not deleted, 0-based (RFC 1939 section 5)."""
        number = parse_number(argument)
        if not 0 < number <= len(self.drops):
            raise _Absent(f"no such message, only {len(self.drops)} in the maildrop")
        if number - 1 in self.deleted:
            raise _Absent("the message is deleted")
        return number - 1

    def _listing(self, form: bytes, values: Callable[[int, int], Sequence[object]], heading: bytes) -> bytes:
        """The first piece; the others come when the client has taken those before them."""
        self._pieces = self._lines(form, values)
        return heading + next(self._pieces)

    def _lines(self, form: bytes, values: Callable[[int, int], Sequence[object]]) -> Iterator[bytes]:
        """`form` is a line with a place for the number and one for its value."""
        count, lines = len(self.drops), b""
        for start in range(0, count, PIECE):
            stop = min(start + PIECE, count)
            pairs: Iterable[tuple[int, object]] = zip(
                range(start + 1, stop + 1), values(start, stop), strict=True
            )
            if self.deleted:
                pairs = [pair for pair in pairs if pair[0] - 1 not in self.deleted]
            flat = tuple(chain.from_iterable(pairs))
            # One formatting for all of them: a third of the time of one for each.
            lines = form * (len(flat) // 2) % flat
            if stop < count:
                yield lines
        self._pieces = None
        yield lines + b".\r\n"

    def _left(self) -> tuple[int, int]:
        """Messages and octets that are not marked as deleted."""
        return len(self.drops) - len(self.deleted), self._octets

    def _stat(self, argument: bytes) -> bytes:
        """STAT, RFC 1939 section 5."""
        return b"+OK %d %d\r\n" % self._left()

    def _list(self, argument: bytes) -> bytes:
        """LIST, RFC 1939 section 5."""
        sizes = self.drops.sizes
        if argument:
            number = self._number(argument)
            return b"+OK %d %d\r\n" % (number + 1, sizes[number])
        heading = b"+OK %d messages (%d octets)\r\n" % self._left()
        return self._listing(b"%d %d\r\n", lambda start, stop: sizes[start:stop], heading)

    def _uidl(self, argument: bytes) -> bytes:
        """UIDL, RFC 1939 section 7."""
        if argument:
            number = self._number(argument)
            return b"+OK %d %s\r\n" % (number + 1, self.drops.uidls(number, number + 1)[0])
        return self._listing(b"%d %s\r\n", self.drops.uidls, b"+OK\r\n")

    def _retr(self, argument: bytes) -> Wish:
        """RETR, RFC 1939 section 5."""
        number = self._number(argument)
        if self.offer.expire is not None:
            self.retrieved.add(number)
        return Fetch(number, None)

    def _top(self, argument: bytes) -> Wish:
        """TOP, RFC 1939 section 7."""
        number, lines = parse_top(argument)
        return Fetch(self._number(b"%d" % number), lines)

    def _dele(self, argument: bytes) -> bytes:
        """DELE, RFC 1939 section 5: a mark; nothing is removed before QUIT."""
        number = self._number(argument)
        self.deleted.add(number)
        self._octets -= self.drops.sizes[number]
        return b"+OK message %d deleted\r\n" % (number + 1)

    def _noop(self, argument: bytes) -> bytes:
        """NOOP, RFC 1939 section 5."""
        return b"+OK\r\n"

    def _rset(self, argument: bytes) -> bytes:
        """RSET, RFC 1939 section 5."""
        self._octets += sum(self.drops.sizes[number] for number in self.deleted)
        self.deleted.clear()
        return b"+OK maildrop has %d messages (%d octets)\r\n" % self._left()

    def _quit(self, argument: bytes) -> Wish:
        """QUIT, RFC 1939 section 6: the UPDATE state."""
        deleted = tuple(sorted(self.deleted))
        retrieved = tuple(sorted(self.retrieved - self.deleted))
        self.end()
        return Update(deleted, retrieved)


_Function = Callable[[Session, bytes], bytes | Wish]

#: Which command may be given in which state.
_COMMANDS: dict[State, dict[bytes, _Function]] = {
    State.AUTHORIZATION: {
        b"CAPA": Session._capa,
        b"USER": Session._user,
        b"PASS": Session._pass,
        b"AUTH": Session._auth,
        b"STLS": Session._stls,
        b"UTF8": Session._utf,
        b"LANG": Session._lang,
        b"QUIT": Session._leave,
    },
    State.TRANSACTION: {
        b"CAPA": Session._capa,
        b"STAT": Session._stat,
        b"LIST": Session._list,
        b"UIDL": Session._uidl,
        b"RETR": Session._retr,
        b"TOP": Session._top,
        b"DELE": Session._dele,
        b"NOOP": Session._noop,
        b"LANG": Session._lang,
        b"RSET": Session._rset,
        b"QUIT": Session._quit,
    },
}
