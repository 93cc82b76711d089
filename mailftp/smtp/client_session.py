"""The client's side of an SMTP or LMTP connection as a state machine: no sockets, no clock, no disk.

`receive` takes octets and gives events; `take` gives the octets to send. The states, and what they wait for:

    GREETING -> HELLO -> [STARTTLS -> HANDSHAKE -> HELLO] -> [AUTH] -> READY
    READY -> ENVELOPE -> BODY -> FINAL -> READY        one transaction
    READY -> QUIT

With CHUNKING (RFC 3030) the message follows as BDAT pieces, each of which is answered; a short one leaves in
ENVELOPE, behind the RCPTs. LMTP has DATA always.

A fault ends the connection in any state. With PIPELINING (RFC 2920) MAIL, all RCPTs and DATA leave in one
write, and `_expected` says which reply belongs to which of them.
"""

from __future__ import annotations

import base64
import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mailftp.smtp.client_envelope import (
    Envelope,
    mail_command,
    parse_extensions,
    rcpt_command,
    unaddressable,
    unsendable,
)
from mailftp.smtp.client_reply import Dialogue, Reply, ReplyFault, ReplyLines, ReplyReader
from mailftp.store.records import ForwardPath


class ConnectionFault(Exception):
    """Could not connect, was cut, timed out, TLS failed, or the greeting was not 220: try another
    host or later.

    `reply` is the far side's last word, if it had one. `dialogue` is what was said. `tls_failed`: STARTTLS
    is required and not offered, was refused, or broke off. `replies` has the recipients that were answered
    for good before it broke. `undecided`: the message was sent whole, and
    whether it was taken nobody knows. `no_mail`: the host says that it never takes any (RFC 7504).
    `no_chunks`: it offers CHUNKING and does not know BDAT; by another connection with DATA it may be had.
    """

    def __init__(
        self, text: str, reply: Reply | None = None, dialogue: str = "", tls_failed: bool = False
    ) -> None:
        super().__init__(text)
        self.reply, self.dialogue, self.tls_failed = reply, dialogue, tls_failed
        self.replies: dict[str, Reply] = {}
        self.undecided = self.no_mail = self.no_chunks = False


@dataclass(slots=True)
class TransactionResult:
    #: Per recipient address: its final reply (to RCPT when refused there, else to the end of DATA).
    replies: dict[str, Reply] = field(default_factory=dict)
    #: "C: ..." and "S: ..." lines; no message, no password.
    dialogue: str = ""


@dataclass(frozen=True, slots=True)
class Greeter:
    """Who we are and what we insist on."""

    helo: str
    lmtp: bool = False
    #: Ask for STARTTLS where it is offered; and give up where it is not had.
    tls: bool = True
    tls_required: bool = False
    username: str = ""
    password: str = ""
    #: The octets need no encryption for a password: loopback, or TLS from the first octet.
    private: bool = False
    #: CHUNKING is used where it is offered.
    chunking: bool = True


class Event(enum.Enum):
    """What the shell must do now."""

    #: Start the handshake, then call `secured`.
    START_TLS = "start tls"
    #: Messages may be sent.
    READY = "ready"
    #: Send the body, then call `body_sent`.
    SEND_BODY = "send body"
    #: A piece was taken: the next may be sent.
    SEND_MORE = "send more"
    #: `result` has what came of the transaction.
    DONE = "done"
    #: The connection is at its end: the reply to QUIT, or after `result` nothing more can be sent.
    CLOSE = "close"


class Phase(enum.Enum):
    GREETING = "greeting"
    HELLO = "hello"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    AUTH = "auth"
    READY = "ready"
    ENVELOPE = "envelope"
    BODY = "body"
    FINAL = "final"
    QUIT = "quit"
    CLOSED = "closed"


#: Seconds that the far side has for its next reply (RFC 5321 section 4.5.3.2), in BODY for taking a piece.
PATIENCE = {
    Phase.GREETING: 300.0,
    Phase.HELLO: 300.0,
    Phase.STARTTLS: 120.0,
    Phase.HANDSHAKE: 60.0,
    Phase.AUTH: 120.0,
    Phase.ENVELOPE: 300.0,
    Phase.BODY: 180.0,
    Phase.FINAL: 600.0,
    Phase.QUIT: 10.0,
}

#: A message of so many octets leaves behind its RCPTs: one that nobody there wants costs no more than that.
PIPELINED = 64 * 1024
#: Pieces that may be unanswered: one is on its way while the far side writes another.
UNANSWERED = 3

Answering = Callable[[ReplyLines], list[Event]]


class ClientSession:
    def __init__(self, greeter: Greeter) -> None:
        self.greeter = greeter
        self.phase = Phase.GREETING
        #: Keywords of the EHLO reply, upper case -> parameters.
        self.extensions: dict[str, str] = {}
        #: "TLSv1.3 TLS_AES_256_GCM_SHA384", or "".
        self.tls = ""
        self.result = TransactionResult()
        self.dialogue = Dialogue()
        #: Replies so far: the far side's clock begins anew with each, and not with each octet.
        self.heard = 0
        self._reader = ReplyReader()
        self._out = bytearray()
        self._expected: deque[Answering] = deque([self._greeting])
        self._said: Reply | None = None
        #: Nothing was heard under TLS yet. A host may break off when it sees our end of the handshake, which
        #: with TLS 1.3 looks to us as if it were complete.
        self._tls_unproven = False
        #: The far side is in a transaction that was not finished: RSET comes first.
        self._dirty = False
        self._used = self._kept = False
        self._plan: deque[tuple[str, Answering]] = deque()
        self._asked: tuple[ForwardPath, ...] = ()
        self._accepted: list[ForwardPath] = []
        self._mail_refused = False
        #: The message leaves by BDAT; all of it has left; pieces without a reply.
        self.chunked = self._whole = False
        self._unanswered = 0
        #: BDAT was answered in a way that says that it is known.
        self._knows_chunks = False
        self._heard_before = 0
        #: It took recipients of a message whose sender it had refused.
        self._contradicts = False

    # Octets in, events out.

    def receive(self, data: bytes) -> list[Event]:
        """Raises ConnectionFault; the connection is then to be closed."""
        if self.phase is Phase.CLOSED:
            return []
        events: list[Event] = []
        self._reader.feed(data)
        try:
            while Event.CLOSE not in events and (lines := self._reader.next()) is not None:
                events += self._answered(lines)
        except (ReplyFault, ConnectionFault) as fault:
            if Event.DONE in events:
                # "250 taken" and then nonsense in one segment: the message was taken all the same.
                self.phase = Phase.CLOSED
                return [*events, Event.CLOSE]
            raise self.fault(str(fault)) if isinstance(fault, ReplyFault) else fault
        return events

    def take(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def fault(self, text: str) -> ConnectionFault:
        """The fault to raise; the session is over."""
        beginning_tls = self.phase in (Phase.STARTTLS, Phase.HANDSHAKE) or self._tls_unproven
        fault = ConnectionFault(text, self._said, str(self.dialogue), beginning_tls)
        fault.replies = dict(self.result.replies)
        # A kept connection that ends without a word about the transaction had ended before it came.
        looked = not self._kept or self.heard > self._heard_before
        whole = self.phase is Phase.ENVELOPE and self._whole and looked
        fault.undecided = self.phase is Phase.FINAL or whole
        self.phase = Phase.CLOSED
        return fault

    def _answered(self, lines: ReplyLines) -> list[Event]:
        self.heard += 1
        self._tls_unproven = False
        for number, line in enumerate(lines.lines, 1):
            self.dialogue.add("S", f"{lines.code}{' ' if number == len(lines.lines) else '-'}{line}")
        self._said = lines.joined()
        if lines.code == 421 and self.phase is not Phase.QUIT:
            # RFC 5321 section 3.8: it closes, whatever it was asked. That is no fault of TLS.
            fault = self.fault(f"it closes the connection: {self._said}")
            fault.tls_failed = False
            if len(self._expected) > 1 and self._whole:
                # Said to MAIL or RCPT: the piece behind them was not looked at.
                fault.undecided = False
            raise fault
        if self._expected:
            return self._expected.popleft()(lines)
        if self.phase is Phase.BODY and lines.code >= 400:
            return self._refused_early(lines)
        raise self.fault(f"a reply to nothing: {self._said}")

    def _send(self, line: str, then: Answering, shown: str = "") -> None:
        self._out += line.encode("utf-8") + b"\r\n"
        self.dialogue.add("C", shown or line)
        self._expected.append(then)

    # The beginning.

    def _greeting(self, lines: ReplyLines) -> list[Event]:
        """RFC 5321 section 3.1."""
        if lines.code != 220:
            fault = self.fault(f"its greeting was {self._said}")
            fault.no_mail = lines.code == 521
            raise fault
        return self._hello()

    def _hello(self) -> list[Event]:
        """RFC 5321 section 4.1.1.1, RFC 2033 section 4.1."""
        self.phase = Phase.HELLO
        self._send(f"{'LHLO' if self.greeter.lmtp else 'EHLO'} {self.greeter.helo}", self._extended)
        return []

    def _extended(self, lines: ReplyLines) -> list[Event]:
        if lines.code == 250:
            self.extensions = parse_extensions(lines.lines[1:])
            return self._encrypt()
        if lines.code >= 500 and not self.greeter.lmtp:
            # RFC 5321 section 3.2: a server from before ESMTP.
            self._send(f"HELO {self.greeter.helo}", self._plain)
            return []
        raise self.fault(f"it refused our greeting: {self._said}")

    def _plain(self, lines: ReplyLines) -> list[Event]:
        if lines.code != 250:
            raise self.fault(f"it refused our greeting: {self._said}")
        return self._encrypt()

    def _encrypt(self) -> list[Event]:
        """RFC 3207 section 4."""
        if self.greeter.tls and not self.tls:
            if "STARTTLS" in self.extensions:
                self.phase = Phase.STARTTLS
                self._send("STARTTLS", self._encrypting)
                return []
            if self.greeter.tls_required:
                fault = self.fault("it does not offer STARTTLS, which is required")
                fault.tls_failed = True
                raise fault
        return self._authenticate()

    def _encrypting(self, lines: ReplyLines) -> list[Event]:
        if lines.code != 220:
            if self.greeter.tls_required:
                raise self.fault(f"it refused STARTTLS, which is required: {self._said}")
            return self._authenticate()
        if self._reader.pending:
            # Octets that came in the clear would be read as said under TLS (CVE-2021-38371 and its kin). Who
            # put them there must not get the message in the clear for it.
            fault = self.fault("it sent more after its reply to STARTTLS: somebody may be in between")
            fault.tls_failed = False
            raise fault
        self.phase = Phase.HANDSHAKE
        return [Event.START_TLS]

    def secured(self, description: str) -> list[Event]:
        """The handshake is complete. What was learnt before it is forgotten (RFC 3207 section 4.2)."""
        self.tls, self._tls_unproven = description, True
        self.dialogue.add("*", description)
        self.extensions = {}
        return self._hello()

    def _authenticate(self) -> list[Event]:
        """RFC 4954: PLAIN, or LOGIN where there is no PLAIN."""
        greeter = self.greeter
        if not greeter.username:
            return self._ready()
        if not (self.tls or greeter.private):
            raise self.fault("a password is not sent in the clear")
        mechanisms = self.extensions.get("AUTH", "").upper().split()
        self.phase = Phase.AUTH
        if "PLAIN" in mechanisms:
            secret = _base64(f"\0{greeter.username}\0{greeter.password}")
            self._send(f"AUTH PLAIN {secret}", self._authenticated, "AUTH PLAIN [hidden]")
        elif "LOGIN" in mechanisms:
            self._send("AUTH LOGIN", self._ask_name)
        else:
            raise self.fault("it offers neither AUTH PLAIN nor AUTH LOGIN")
        return []

    def _ask_name(self, lines: ReplyLines) -> list[Event]:
        return self._login_step(lines, self.greeter.username, self._ask_password)

    def _ask_password(self, lines: ReplyLines) -> list[Event]:
        return self._login_step(lines, self.greeter.password, self._authenticated)

    def _login_step(self, lines: ReplyLines, secret: str, then: Answering) -> list[Event]:
        if lines.code != 334:
            raise self.fault(f"it refused our login: {self._said}")
        self._send(_base64(secret), then, "[hidden]")
        return []

    def _authenticated(self, lines: ReplyLines) -> list[Event]:
        if lines.code != 235:
            raise self.fault(f"it refused our login: {self._said}")
        return self._ready()

    def _ready(self) -> list[Event]:
        if "CHUNKING" in self.extensions and not self.greeter.chunking:
            self.dialogue.add("*", "with DATA: CHUNKING is offered, and BDAT was not known")
        self.phase = Phase.READY
        return [Event.READY]

    # One transaction.

    def begin(self, envelope: Envelope, at_hand: bool = False) -> list[Event]:
        """RFC 5321 section 3.3. DONE at once where we ourselves refuse it all. `at_hand`: the message is in
        memory, and can be sent from within SEND_BODY."""
        if self.phase is not Phase.READY:
            raise ValueError(f"a transaction cannot begin in {self.phase}")
        if self._used:
            self.dialogue.clear()
        self._kept, self._used, self.result = self._used, True, TransactionResult()
        self._accepted, self._mail_refused, self._contradicts = [], False, False
        self._said, self._heard_before = None, self.heard
        self.chunked = self.greeter.chunking and not self.greeter.lmtp and "CHUNKING" in self.extensions
        self._whole, self._unanswered = False, 0
        self._asked = self._refuse_here(envelope)
        if not self._asked:
            return self._done()
        if self._dirty:
            self._plan.append(("RSET", self._reset))
        self._plan.append((mail_command(envelope, self.extensions), self._mail_answered))
        for recipient in self._asked:
            command = rcpt_command(recipient, self.extensions)
            self._plan.append((command, partial(self._rcpt_answered, recipient)))
        if not self.chunked:
            self._plan.append(("DATA", self._data_answered))
        self.phase, self._dirty = Phase.ENVELOPE, True
        self._advance()
        # RFC 3030 section 2: a piece for nobody is read, thrown away and refused.
        early = self.chunked and at_hand and not self._plan and envelope.size <= PIPELINED
        return [Event.SEND_BODY] if early else []

    def _refuse_here(self, envelope: Envelope) -> tuple[ForwardPath, ...]:
        """Give the recipients that cannot be had here their reply; the others are left to ask for."""
        whole = unsendable(envelope, self.extensions)
        left = []
        for recipient in envelope.recipients:
            reply = whole or unaddressable(recipient.address, self.extensions)
            if reply is None:
                left.append(recipient)
            else:
                self.result.replies[recipient.address] = reply
        return tuple(left)

    def _advance(self) -> None:
        """Send what is planned: all of it where the far side offers PIPELINING, else the next command."""
        together = "PIPELINING" in self.extensions
        while self._plan and (together or not self._expected):
            self._send(*self._plan.popleft())

    def _step(self) -> list[Event]:
        """On to the next command, the next reply, or the end."""
        self._advance()
        if self._whole and len(self._expected) == 1:
            self.phase = Phase.FINAL
        if self._expected:
            return []
        if self.chunked and self._accepted:
            self.phase = Phase.BODY
            return [Event.SEND_BODY]
        return self._done()

    def _reset(self, lines: ReplyLines) -> list[Event]:
        """RFC 5321 section 4.1.1.5: it can only succeed."""
        if lines.code >= 300:
            raise self.fault(f"it refused RSET: {self._said}")
        return self._step()

    def _mail_answered(self, lines: ReplyLines) -> list[Event]:
        """RFC 5321 section 4.1.1.2. A refusal is everybody's; with PIPELINING the rest is answered still."""
        if lines.code >= 300:
            self._mail_refused = True
            self._plan.clear()
            for recipient in self._asked:
                self.result.replies[recipient.address] = self._refusal(lines)
        return self._step()

    def _rcpt_answered(self, recipient: ForwardPath, lines: ReplyLines) -> list[Event]:
        """RFC 5321 section 4.1.1.3."""
        if lines.code < 300 and not self._mail_refused:
            self._accepted.append(recipient)
        elif not self._mail_refused:
            self.result.replies[recipient.address] = self._refusal(lines)
        elif lines.code < 300:
            self._contradicts = True
            if self._whole:
                # It has the message too, and the reply to that is the one that counts.
                self._accepted.append(recipient)
        if len(self._plan) == 1 and not self._accepted and not self.chunked:
            # Only DATA is left to ask, and for nobody.
            self._plan.clear()
        return self._step()

    def _data_answered(self, lines: ReplyLines) -> list[Event]:
        """RFC 5321 section 4.1.1.4, and RFC 2920 section 3.1 for a go-ahead with no recipient left."""
        if lines.code == 354:
            if self._accepted:
                self.phase = Phase.BODY
                return [Event.SEND_BODY]
            if self.greeter.lmtp or self._contradicts:
                # LMTP: one reply a recipient would come to the lone dot, which is none; or a 503. Nobody
                # knows. And who took recipients after all would take the lone dot for an empty message.
                return self._done(closing=True)
            self.phase = Phase.FINAL
            self._send(".", self._nothing_answered)
            return []
        for recipient in self._accepted:
            self.result.replies[recipient.address] = self._refusal(lines)
        return self._step()

    def _nothing_answered(self, lines: ReplyLines) -> list[Event]:
        """Whatever it says to a message without recipients."""
        return self._done()

    def body_sent(self) -> None:
        """The message and its end are sent. LMTP answers for each recipient (RFC 2033 section 4.2)."""
        self.phase = Phase.FINAL
        self.dialogue.add("C", ".")
        groups = [[recipient] for recipient in self._accepted] if self.greeter.lmtp else [self._accepted]
        for group in groups:
            self._expected.append(partial(self._final, group))

    def _final(self, recipients: list[ForwardPath], lines: ReplyLines) -> list[Event]:
        reply = lines.joined() if lines.code < 300 else self._refusal(lines)
        for recipient in recipients:
            self.result.replies[recipient.address] = reply
        if self._expected:
            return []
        self._dirty = False
        return self._done()

    # Chunks: RFC 3030 section 2.

    @property
    def may_send(self) -> bool:
        """Another piece, before the last one is answered."""
        return self._unanswered < (UNANSWERED if "PIPELINING" in self.extensions else 1)

    def chunk(self, size: int, last: bool) -> None:
        """So many octets of the message follow at once."""
        self._unanswered += 1
        self._whole = last
        self._send(f"BDAT {size}{' LAST' if last else ''}", partial(self._chunk_answered, last))
        if last and self.phase is Phase.BODY:
            self.phase = Phase.FINAL

    def _chunk_answered(self, last: bool, lines: ReplyLines) -> list[Event]:
        self._unanswered -= 1
        if lines.code in (500, 502) and not self._knows_chunks:
            return self._chunks_unknown()
        self._knows_chunks = True
        if lines.code < 300 and not last:
            return [Event.SEND_MORE]
        reply = lines.joined() if lines.code < 300 else self._refusal(lines)
        if lines.code < 300 or not self._mail_refused:
            for recipient in self._accepted:
                self.result.replies[recipient.address] = reply
        # What state a refusal leaves is not said: RSET comes first. Behind a piece before the last, others
        # may be on their way, with replies of their own.
        self._dirty = lines.code >= 300 or not self._accepted
        return self._done(closing=not last)

    def _chunks_unknown(self) -> list[Event]:
        """It offers CHUNKING and does not know BDAT, as behind a firewall that overwrites the verb. The piece
        is commands to it then, with replies in any number: nothing more can be said here."""
        if not self._accepted:
            return self._done(closing=True)
        fault = self.fault(f"it offers CHUNKING and does not know BDAT: {self._said}")
        fault.undecided, fault.no_chunks = False, True
        raise fault

    def _refused_early(self, lines: ReplyLines) -> list[Event]:
        """A refusal while the message is being sent: it counts, and there is no way back but to close."""
        for recipient in self._accepted:
            self.result.replies[recipient.address] = self._refusal(lines)
        return self._done(closing=True)

    def _refusal(self, lines: ReplyLines) -> Reply:
        if lines.code < 400:
            raise self.fault(f"a reply out of place: {self._said}")
        return lines.joined()

    def _done(self, closing: bool = False) -> list[Event]:
        self.phase = Phase.CLOSED if closing else Phase.READY
        self.result.dialogue = str(self.dialogue)
        return [Event.DONE, Event.CLOSE] if closing else [Event.DONE]

    # The end.

    def quit(self) -> None:
        """RFC 5321 section 4.1.1.10."""
        self.phase = Phase.QUIT
        self._send("QUIT", self._bye)

    def _bye(self, lines: ReplyLines) -> list[Event]:
        self.phase = Phase.CLOSED
        return [Event.CLOSE]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
