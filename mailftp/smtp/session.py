"""The SMTP state machine: no sockets, no clock, no disk (RFC 5321 section 4).

`receive` takes octets, `next_event` gives what they ask of the server until it gives None, `replies` gives
what is to be sent. Replies leave in the order of the commands: while an event waits for its `answer`,
the octets behind it stay unread, and the server stops reading from the network when they are many.

What may be said when is a table in mailftp.smtp.rules; an extension is a verb in VERBS or a parameter in
mailftp.smtp.syntax, and a row in `_EXTENSIONS`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from mailftp.smtp.events import (
    AddressAsked,
    Closed,
    Event,
    ExpansionAsked,
    HelloSaid,
    LoginBegun,
    LoginContinued,
    TLSAsked,
)
from mailftp.smtp.help import OVERVIEW, TOPICS
from mailftp.smtp.rules import (
    ALLOWED,
    FOREIGN,
    HOLD,
    OUT_OF_ORDER,
    UNIMPLEMENTED,
    State,
    Terms,
)
from mailftp.smtp.syntax import (
    Reply,
    SyntaxFault,
    no_argument,
    parse_auth,
    parse_auth_response,
    parse_hello,
    parse_vrfy,
    split_command,
)
from mailftp.smtp.transaction import Transactions

#: Nobody is sent away in the midst of a message.
_MESSAGE = frozenset({State.DATA, State.CHUNK, State.CHUNKS})

OK = Reply(250, "2.0.0", "OK")
START = Reply(354, "", "Go ahead, end with a dot on a line of its own")


class Session(Transactions):
    """One client's dialogue. `offer` says what the channel allows before the first `receive`, and again
    after `secured`."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self._failures = 0
        self._latest = ""

    # What the server calls.

    def greet(self) -> None:
        """RFC 5321 section 4.3.1."""
        kind = "LMTP" if self.terms.lmtp else "ESMTP"
        self._say(Reply(220, "", f"{self.terms.hostname} {kind} mailftp"))

    def turn_away(self, reply: Reply) -> None:
        """In place of `greet` (RFC 5321 section 3.1); nothing is read after it."""
        self._end(reply)

    def offer(self, mechanisms: tuple[str, ...], starttls: bool, latest: str = "") -> None:
        """What AUTH and STARTTLS may do on this channel. `latest` is when a message that is held now has to
        leave, as HOLDUNTIL would say it."""
        self._mechanisms, self._starttls, self._latest = mechanisms, starttls, latest

    def next_event(self) -> Event | None:
        """The next thing asked of the server; None when more octets or an answer are needed first."""
        while self._pending is None and self.state not in (State.CLOSED, State.TLS):
            if self._draining and self.state not in _MESSAGE:
                self._end(Reply(421, "4.3.2", f"{self.terms.hostname} is stopping, try again later"))
            if self._ending:
                return self._last_event()
            if self.state is State.DATA:
                event, stuck = self._read_message(), self.state is State.DATA and not self.unread
            elif self.state is State.CHUNK:
                event, stuck = self._read_chunk(), self.state is State.CHUNK and not self.unread
            else:
                line = self._take_line()
                event, stuck = (None, True) if line is None else (self._read_line(line), False)
            if event is not None:
                return event
            if stuck:
                return self._last_event()
        return None

    def _last_event(self) -> Event | None:
        if self._ending is None:
            return None
        self.state = State.CLOSED
        self._lines.clear()
        return Closed(self._ending)

    def challenge(self, data: bytes) -> None:
        """Another answer to LoginBegun and LoginContinued: ask the client for more (RFC 4954 section 4)."""
        self._pending = None
        self.state = State.AUTH
        self._say(Reply(334, "", ""), b64encode(data))

    def secured(self) -> None:
        """TLS is up: everything that was said before is forgotten (RFC 3207 section 4.2)."""
        self.state = State.CONNECTED
        self.secure = True
        self.helo, self.esmtp, self.logged_in = "", False, False

    @property
    def with_protocol(self) -> str:
        """For the Received field: RFC 3848; RFC 6531 section 4.3 where the transaction is SMTPUTF8."""
        if not self.esmtp:
            return "SMTP"
        name = "LMTP" if self.terms.lmtp else "SMTP" if self.smtputf8 else "ESMTP"
        utf8 = "UTF8" if self.smtputf8 else ""
        return f"{utf8}{name}{'S' if self.secure else ''}{'A' if self.logged_in else ''}"

    def _read_line(self, line: bytes) -> Event | None:
        try:
            if self.state is State.AUTH:
                return self._auth_response(line)
            verb, argument = split_command(line)
            command = VERBS.get(verb)
            if command is None:
                self._unknown(verb)
                return None
            if verb not in ALLOWED[self.state]:
                self._wrong(Reply(503, "5.5.1", OUT_OF_ORDER[self.state]))
                return None
            return command(self, argument)
        except SyntaxFault as fault:
            self._wrong(fault.reply)
            return None

    def _unknown(self, verb: str) -> None:
        if verb in FOREIGN:
            self._end(Reply(421, "4.7.0", "This is a mail server"))
        elif verb in UNIMPLEMENTED:
            self._wrong(Reply(502, "5.5.1", f"{verb} is not implemented"))
        else:
            self._wrong(Reply(500, "5.5.1", "Unknown command, HELP lists them"))

    # Commands, in the order of RFC 5321 section 4.1.1.

    def _helo(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.1."""
        self._check_greeting("HELO")
        self.helo, self.esmtp = parse_hello("HELO", argument), False
        return self._present(Reply(250, "", f"{self.terms.hostname} Hello {self.helo}, pleased to meet you"))

    def _ehlo(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.1."""
        self._check_greeting("EHLO")
        return self._hello("EHLO", argument)

    def _lhlo(self, argument: bytes) -> Event | None:
        """RFC 2033 section 4.1."""
        self._check_greeting("LHLO")
        return self._hello("LHLO", argument)

    def _check_greeting(self, verb: str) -> None:
        """RFC 2033 section 4.1: whoever speaks the wrong one of the two protocols must notice."""
        if (verb == "LHLO") is not self.terms.lmtp:
            text = "This is LMTP: say LHLO" if self.terms.lmtp else "This is not LMTP: say EHLO"
            raise SyntaxFault(500, "5.5.1", text)

    def _hello(self, verb: str, argument: bytes) -> Event | None:
        self.helo, self.esmtp = parse_hello(verb, argument), True
        keywords = [word for extension in _EXTENSIONS if (word := extension(self))]
        first = f"{self.terms.hostname} Hello {self.helo}, pleased to meet you"
        return self._present(Reply(250, "", "\n".join([first, *keywords])))

    def _present(self, reply: Reply) -> Event:
        self._forget(State.READY)
        self._pending = partial(self._hello_answered, reply)
        return HelloSaid()

    def _hello_answered(self, hello: Reply, reply: Reply) -> None:
        if reply.code < 400:
            self._idled(hello)
        else:
            self.helo, self.esmtp, self.state = "", False, State.CONNECTED
            self._wrong(reply)

    def _rset(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.5."""
        no_argument("RSET", argument)
        self._idled(OK)
        return self._forget(self.state if self.state is State.CONNECTED else State.READY)

    def _vrfy(self, argument: bytes) -> Event | None:
        """RFC 5321 sections 4.1.1.6 and 7.3: who is here is told to those who logged in alone."""
        address = parse_vrfy(argument)
        if address is None or not self.logged_in:
            self._idled(Reply(252, "2.0.0", "Not told, but send it and it will be tried"))
            return None
        self._pending = self._vrfy_answered
        return AddressAsked(address)

    def _vrfy_answered(self, reply: Reply) -> None:
        if reply.code < 500:
            self._idled(reply)
        else:
            self._recipient_refused(reply)

    def _expn(self, argument: bytes) -> Event | None:
        """RFC 5321 sections 4.1.1.7 and 7.3: who is behind an alias is told to those who logged in, where the
        settings say so."""
        address = parse_vrfy(argument)
        if not self.terms.expands or not self.logged_in or address is None:
            self._wrong(Reply(550, "5.7.2", "Who is behind an address is not told"))
            return None
        self._pending = self._vrfy_answered
        return ExpansionAsked(address)

    def _help(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.8."""
        text = TOPICS.get(argument.decode("ascii", "replace").upper()) if argument else OVERVIEW
        if text is None:
            raise SyntaxFault(504, "5.5.4", "There is no help on that; HELP alone lists the commands")
        self._idled(Reply(214, "2.0.0", text))
        return None

    def _noop(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.9."""
        self._idled(OK)
        return None

    def _quit(self, argument: bytes) -> Event | None:
        """RFC 5321 section 4.1.1.10."""
        no_argument("QUIT", argument)
        self._end(Reply(221, "2.0.0", f"{self.terms.hostname} closes the connection, goodbye"))
        return None

    def _starttls_command(self, argument: bytes) -> Event | None:
        """RFC 3207 section 4."""
        no_argument("STARTTLS", argument)
        if self.secure or not self._starttls:
            text = "TLS is on already" if self.secure else "STARTTLS is not offered"
            self._wrong(Reply(503 if self.secure else 502, "5.5.1", text))
            return None
        self._say(Reply(220, "2.0.0", "Ready to start TLS"))
        self.state = State.TLS
        self._lines.clear()
        return TLSAsked()

    # AUTH: RFC 4954 section 4.

    def _auth(self, argument: bytes) -> Event | None:
        if not self.terms.login_required:
            raise SyntaxFault(502, "5.5.1", "There is no AUTH on this port; mail programs use submission")
        if self.logged_in:
            raise SyntaxFault(503, "5.5.1", "You are logged in")
        mechanism, response = parse_auth(argument)
        if mechanism not in self._mechanisms:
            if self._starttls and not self._mechanisms:
                raise SyntaxFault(538, "5.7.11", "Say STARTTLS first: no password in clear")
            raise SyntaxFault(504, "5.5.4", "That mechanism is not offered")
        self._pending = self._login_answered
        return LoginBegun(mechanism, response)

    def _auth_response(self, line: bytes) -> Event | None:
        response = parse_auth_response(line)
        self._pending = self._login_answered
        return LoginContinued(response)

    def _login_answered(self, reply: Reply) -> None:
        self.state = State.READY
        if reply.code < 400:
            self.logged_in = True
            self._say(reply)
        elif reply.code < 500 or reply.code == 501:
            self._wrong(reply)
        else:
            self._failures += 1
            self._say(reply)
            if self._failures >= self.terms.failures_closed:
                self._cut("4.7.0", "too many failed logins")


#: Verb -> function.
VERBS: Mapping[str, Callable[[Session, bytes], Event | None]] = MappingProxyType(
    {
        "HELO": Session._helo,
        "EHLO": Session._ehlo,
        "LHLO": Session._lhlo,
        "MAIL": Session._mail,
        "RCPT": Session._rcpt,
        "DATA": Session._data,
        "BDAT": Session._bdat,
        "RSET": Session._rset,
        "NOOP": Session._noop,
        "VRFY": Session._vrfy,
        "EXPN": Session._expn,
        "HELP": Session._help,
        "QUIT": Session._quit,
        "STARTTLS": Session._starttls_command,
        "AUTH": Session._auth,
    }
)

#: What EHLO lists: the keyword as it is now, or "". Their parameters are rows in mailftp.smtp.syntax.
_EXTENSIONS: tuple[Callable[[Session], str], ...] = (
    lambda session: "PIPELINING",
    lambda session: f"SIZE {session.terms.size}",
    lambda session: "8BITMIME",
    lambda session: "SMTPUTF8",
    lambda session: "CHUNKING",
    lambda session: "BINARYMIME",
    lambda session: "DSN",
    lambda session: "ENHANCEDSTATUSCODES",
    lambda session: "HELP",
    lambda session: f"LIMITS RCPTMAX={session.terms.recipients}",
    lambda session: "DELIVERBY",
    lambda session: "MT-PRIORITY",
    lambda session: f"FUTURERELEASE {HOLD} {session._latest}" if session.terms.login_required else "",
    lambda session: "REQUIRETLS" if session.secure else "",
    lambda session: "STARTTLS" if session._starttls and not session.secure else "",
    lambda session: (
        f"AUTH {' '.join(session._mechanisms)}" if session._mechanisms and not session.logged_in else ""
    ),
)
