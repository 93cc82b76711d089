"""Commands out of lines and literals: RFC 3501 sections 2.2 and 4.3, RFC 9051 the same, literal8 of RFC 3516,
RFC 7888 for literals that are not waited for.

No I/O: `CommandScanner` says when the client has to be asked for a literal, and hands a message out in
pieces; everything else of a command is small and parsed (mailftp.imap.parser) when it is whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailftp.wire.scan import TOO_LONG, LineScanner, TooLong

#: Octets of a whole command, literals and line ends included and messages not, before and after login. RFC
#: 7162 section 4 asks for lines of 8,192 octets at least; sets of UIDs make longer ones.
COMMAND_BEFORE_LOGIN = 8 * 1024
COMMAND = 64 * 1024
#: Octets of one literal before login: a name or a password.
LITERAL_BEFORE_LOGIN = 4096
#: RFC 7888 section 5: what LITERAL- lets a client send unasked.
LITERAL_MINUS = 4096
#: Octets of literals, sent unasked and refused, that are read and dropped in one command to stay in step with
#: the client.
DROPPED = 1024 * 1024
#: RFC 9051 section 9, number64.
_MOST_OCTETS = 2**63 - 1
_ANNOUNCED = re.compile(rb"(~?)\{([0-9]+)(\+?)\}\Z")
#: What stands before a message: the mailbox is there, perhaps as a literal of its own (RFC 3501 section
#: 6.3.11, RFC 8508 section 3). Bounded, as every literal of a command is looked at.
_BEFORE_MESSAGE = re.compile(
    rb"[^ ]{1,255}+ {1,9}+(?:APPEND|(?:UID {1,9}+)?REPLACE {1,9}+[^ ]{1,20}+) {1,9}+.",
    re.IGNORECASE | re.DOTALL,
)

_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]{1,255}(?= |\Z)")


@dataclass(frozen=True, slots=True)
class CommandText:
    """A whole command without its last line end, its literals inline; after a message, what follows it."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Continue:
    """The client waits to be told to send a literal."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message comes. `CommandScanner.accept` or `refuse` it, and when it is taken, `next` goes on.

    `before` is the command up to the literal, or what stands between the message before and this one.
    """

    before: bytes
    octets: int
    #: The client waits to be told to send it.
    synchronizing: bool
    #: literal8, which may hold NUL.
    binary: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """A command that is over and was not understood, or whose message was refused. Without a tag the answer
    is untagged."""

    tag: bytes | None
    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the next command starts cannot be known, or only after reading more than we want to: what follows
    would be octets of a literal taken as commands. The connection has to end with BYE."""

    text: str


Event = CommandText | Continue | Message | Fault | Broken


class CommandScanner:
    """Commands out of what a connection receives, however the network cuts it. It holds one command at most,
    and what was fed and not looked at.

        scanner.feed(data)
        while (event := scanner.next()) is not None: ...

    With `literal_minus` a literal that is sent unasked has at most 4,096 octets, as LITERAL- says.
    """

    def __init__(self, literal_minus: bool = False) -> None:
        self._lines = LineScanner(COMMAND_BEFORE_LOGIN)
        self._limit = COMMAND_BEFORE_LOGIN
        self._literal_limit = LITERAL_BEFORE_LOGIN
        self._literal_minus = literal_minus
        self._authenticated = False
        self._broken = False
        #: Octets of the accepted message that were not taken yet.
        self.message_left = 0
        self._reset()

    def _reset(self) -> None:
        self._text = bytearray()
        self._size = 0
        self._tag: bytes | None = None
        self._started = False
        # Octets of a literal that are still to come.
        self._literal = 0
        self._offered: Message | None = None
        self._after_message = False
        # What is wrong with the command, while the rest of it is read and dropped.
        self._fault: str | None = None
        self._dropped = 0
        # The client waits for the answer: nothing more of this command will come.
        self._over = False

    def __len__(self) -> int:
        """Octets held."""
        return len(self._lines) + len(self._text)

    @property
    def midway(self) -> bool:
        """A command has begun."""
        return self._started

    @property
    def authenticated(self) -> bool:
        """After login the limits are wider, and messages are handed out."""
        return self._authenticated

    @authenticated.setter
    def authenticated(self, value: bool) -> None:
        self._authenticated = value
        self._limit = COMMAND if value else COMMAND_BEFORE_LOGIN
        self._literal_limit = COMMAND if value else LITERAL_BEFORE_LOGIN

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        if not self._broken:
            self._lines.feed(data)

    def clear(self) -> None:
        """Throw everything away, as STARTTLS demands."""
        self._lines.clear()
        self.message_left = 0
        self._reset()

    def line(self, limit: int) -> bytes | TooLong | None:
        """A line between two commands: of a SASL exchange, or DONE. As `LineScanner.line`."""
        if self._started or self.message_left:
            raise RuntimeError("a command has begun")
        self._lines.limit = limit
        return self._lines.line()

    def accept(self) -> None:
        """The message is wanted; `take` it, all of it."""
        offered = self._take_offer()
        self.message_left = offered.octets
        self._after_message = True

    def refuse(self, text: str) -> None:
        """The message is not wanted. It is dropped as it comes, however long it is, and so is the rest of the
        command; then `next` gives a Fault with this text. A client that waits sends neither."""
        offered = self._take_offer()
        self._fault = text
        if offered.synchronizing:
            self._over = True
        else:
            self._literal = offered.octets

    def _take_offer(self) -> Message:
        if self._offered is None:
            raise RuntimeError("no message was offered")
        offered, self._offered = self._offered, None
        return offered

    def take(self, most: int) -> bytes:
        """The next octets of the message, at most `most`; b"" when none are there."""
        piece = self._lines.take(min(most, self.message_left))
        self.message_left -= len(piece)
        return piece

    def next(self) -> Event | None:
        """What comes next; None when more has to be fed."""
        if self._offered is not None or self.message_left:
            raise RuntimeError("the message comes first")
        if self._broken:
            return None
        while True:
            if self._over:
                return self._finish(b"")
            if self._literal:
                piece = self._lines.take(self._literal)
                if not piece:
                    return None
                self._literal -= len(piece)
                if self._fault is None:
                    self._text += piece
                continue
            self._lines.limit = max(0, self._limit - self._size)
            line = self._lines.line()
            if line is None:
                return None
            if line is TOO_LONG:
                # Its end is dropped with it, and that may announce a literal.
                return self._break(f"a command has more than {self._limit} octets")
            event = self._take_line(line)
            if event is not None:
                return event

    def _take_line(self, line: bytes) -> Event | None:
        if not self._started:
            self._started = True
            tag = _TAG.match(line)
            self._tag = tag and tag[0]
        self._size += len(line) + 2
        announced = _ANNOUNCED.search(line, max(0, len(line) - 64)) if line.endswith(b"}") else None
        if announced is None:
            return self._finish(line)
        synchronizing = not announced[3]
        octets = int(announced[2]) if len(announced[2]) <= 19 else _MOST_OCTETS + 1
        if self._fault is None:
            message = self._is_message(line, announced.start())
            self._fault = self._wrong_with(octets, synchronizing, message)
            if self._fault is None and message:
                before = bytes(self._text) + line[: announced.start()]
                self._text.clear()
                self._offered = Message(before, octets, synchronizing, bool(announced[1]))
                return self._offered
        if self._fault is not None:
            return self._finish(b"") if synchronizing else self._drop(octets)
        self._text += line + b"\r\n"
        self._size += octets
        self._literal = octets
        return Continue() if synchronizing else None

    def _is_message(self, line: bytes, end: int) -> bool:
        if not self._authenticated:
            return False
        # The first literal of an APPEND may be its mailbox; the text is not empty after it.
        found = _BEFORE_MESSAGE.match(self._text) if self._text else _BEFORE_MESSAGE.match(line, 0, end)
        return self._after_message or found is not None

    def _wrong_with(self, octets: int, synchronizing: bool, message: bool) -> str | None:
        if octets > _MOST_OCTETS:
            return "no literal can be as long"
        if self._literal_minus and not synchronizing and octets > LITERAL_MINUS:
            return f"a literal of more than {LITERAL_MINUS} octets has to wait for the server"
        if message:
            return None
        if octets > self._literal_limit:
            return f"a literal has more than {self._literal_limit} octets"
        if self._size + octets > self._limit:
            return f"a command has more than {self._limit} octets"
        return None

    def _drop(self, octets: int) -> Broken | None:
        self._dropped += octets
        if self._dropped > DROPPED:
            return self._break(self._fault or "")
        self._literal = octets
        return None

    def _finish(self, line: bytes) -> Event:
        tag, fault, text = self._tag, self._fault, self._text
        self._reset()
        if fault is not None:
            return Fault(tag, fault)
        text += line
        return CommandText(bytes(text))

    def _break(self, text: str) -> Broken:
        self.clear()
        self._broken = True
        return Broken(text)
