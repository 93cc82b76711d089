"""IMAP as octets: commands out of lines and literals, and a parser over one command.

RFC 3501 sections 4 and 9, RFC 9051 sections 4 and 9 (literal8 included), RFC 7888 for literals that are not
waited for. No I/O: `CommandScanner` says when the client has to be asked for a literal, and hands a message
out in pieces; everything else of a command is small and parsed when it is whole.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailftp.imap.mailbox_names import NameFault, read_name
from mailftp.imap.sequence import LARGEST, SequenceSet, parse_set
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
#: Open parentheses; no real search has ten. A parser that calls itself has to end somewhere.
MAX_DEPTH = 50

_ANNOUNCED = re.compile(rb"(~?)\{([0-9]+)(\+?)\}\Z")
#: What stands before a message: the mailbox is there, perhaps as a literal of its own (RFC 3501 section
#: 6.3.11, RFC 8508 section 3). Bounded, as every literal of a command is looked at.
_BEFORE_MESSAGE = re.compile(
    rb"[^ ]{1,255}+ {1,9}+(?:APPEND|(?:UID {1,9}+)?REPLACE {1,9}+[^ ]{1,20}+) {1,9}+.",
    re.IGNORECASE | re.DOTALL,
)

#: RFC 9051 section 9: everything but atom-specials; ASTRING-CHAR has ] too, a list-mailbox the wildcards.
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_MAILBOX = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]{1,255}(?= |\Z)")
#: 8-bit octets are let in: who takes the string knows whether it has to be UTF-8.
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,19})\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,19}(?![0-9])")
_SET = re.compile(rb"[0-9*:,$]+")
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,255}")
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_DATE_TIME = re.compile(
    rb'" ?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
#: RFC 3501 section 2.3.2, those that a client can set.
_SYSTEM_FLAGS = frozenset({"\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft"})


class SyntaxFault(Exception):
    """The text is what the client is told after BAD."""


@dataclass(frozen=True, slots=True)
class Command:
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


Event = Command | Continue | Message | Fault | Broken


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
        return Command(bytes(text))

    def _break(self, text: str) -> Broken:
        self.clear()
        self._broken = True
        return Broken(text)


class Parser:
    """Reads a command from left to right. Every method raises SyntaxFault, which says what was expected, and
    where, and repeats nothing of the command: it may hold a password.

    With `utf8` names of mailboxes are UTF-8 and not modified UTF-7: IMAP4rev2 or UTF8=ACCEPT is enabled.
    """

    __slots__ = ("_depth", "_position", "_text", "utf8")

    def __init__(self, text: bytes, utf8: bool = False) -> None:
        self._text: Final = text
        self._position = 0
        self._depth = 0
        self.utf8 = utf8

    def fault(self, text: str) -> SyntaxFault:
        """To be raised: what is wrong, and at which octet of the command, from 1."""
        return SyntaxFault(f"{text} at octet {self._position + 1}")

    def peek(self) -> bytes:
        """The next octet; b"" at the end."""
        return self._text[self._position : self._position + 1]

    def take(self, octets: bytes) -> bool:
        """Whether these come next, in any case; they are passed then."""
        end = self._position + len(octets)
        if self._text[self._position : end].upper() != octets.upper():
            return False
        self._position = end
        return True

    def expect(self, octets: bytes) -> None:
        """These come next."""
        if not self.take(octets):
            raise self.fault(f"{octets.decode('ascii')} is expected")

    def space(self) -> None:
        """A space. Several are taken for one: clients build commands out of parts that may be empty."""
        if not self.take(b" "):
            raise self.fault("a space is expected")
        while self.take(b" "):
            pass

    def end(self) -> None:
        """Nothing more; spaces are nothing."""
        if self._text[self._position :].strip(b" "):
            raise self.fault("nothing more is expected")

    def open(self) -> None:
        """`(`, which may not stand in too many others."""
        self.expect(b"(")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.fault(f"more than {MAX_DEPTH} parentheses are open")

    def close(self) -> None:
        """The `)` of an `open`."""
        self.expect(b")")
        self._depth -= 1

    def _match(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        found = pattern.match(self._text, self._position)
        if found is None:
            raise self.fault(f"{expected} is expected")
        self._position = found.end()
        return found

    def tag(self) -> bytes:
        """As the client wrote it, at most 255 octets."""
        return self._match(_TAG, "a tag")[0]

    def atom(self) -> bytes:
        """As the client wrote it."""
        return self._match(_ATOM, "an atom")[0]

    def keyword(self) -> bytes:
        """An atom that has no case: in capitals."""
        return self._match(_ATOM, "a keyword")[0].upper()

    def astring(self) -> bytes:
        """An atom, in which ] may stand, or a string."""
        if self.peek() in (b'"', b"{"):
            return self.string()
        return self._match(_ASTRING, "an atom or a string")[0]

    def string(self, binary: bool = False) -> bytes:
        """A quoted string or a literal; with `binary` also a literal8, which alone may hold NUL."""
        if self.peek() != b'"':
            return self._literal(binary)
        found = _QUOTED.match(self._text, self._position)
        if found is None:
            raise self.fault('a quoted string has no end, or a \\ that is not before " or \\,')
        self._position = found.end()
        return _ESCAPE.sub(rb"\1", found[1]) if b"\\" in found[1] else found[1]

    def _literal(self, binary: bool) -> bytes:
        found = _LITERAL.match(self._text, self._position)
        if found is None or (found[1] and not binary):
            raise self.fault("a string is expected")
        end = found.end() + int(found[2])
        text = self._text[found.end() : end]
        if end > len(self._text):
            raise self.fault("a literal is not whole")
        if not found[1] and b"\0" in text:
            raise self.fault("a literal that is not a literal8 has a NUL")
        self._position = end
        return text

    def nstring(self, binary: bool = False) -> bytes | None:
        """A string; None for NIL."""
        if self.peek() in (b'"', b"{", b"~"):
            return self.string(binary)
        found = _ATOM.match(self._text, self._position)
        if found is None or found[0].upper() != b"NIL":
            raise self.fault("a string or NIL is expected")
        self._position = found.end()
        return None

    def number(self, low: int = 0, high: int = LARGEST) -> int:
        """Digits, for a number in that range."""
        start = self._position
        number = int(self._match(_NUMBER, "a number")[0])
        if not low <= number <= high:
            self._position = start
            raise self.fault(f"a number from {low} to {high} is expected")
        return number

    def nz_number(self) -> int:
        """32 bits, and not 0."""
        return self.number(1)

    def sequence_set(self) -> SequenceSet:
        """Of sequence numbers or UIDs; `$` too."""
        start = self._position
        text = self._match(_SET, "a set of numbers")[0]
        try:
            return parse_set(text)
        except ValueError as error:
            self._position = start
            raise self.fault(str(error)) from None

    def flag_list(self) -> tuple[str, ...]:
        """`(\\Seen $Forwarded)`, perhaps empty."""
        self.expect(b"(")
        while self.take(b" "):
            pass
        flags: list[str] = []
        while not self.take(b")"):
            self._flag(flags)
            if self.peek() != b")":
                self.space()
        return tuple(flags)

    def flags(self) -> tuple[str, ...]:
        """As STORE has them: a list, or flags without parentheses up to the end."""
        if self.peek() == b"(":
            return self.flag_list()
        flags: list[str] = []
        self._flag(flags)
        while self.take(b" "):
            if self.peek() not in (b" ", b""):
                self._flag(flags)
        return tuple(flags)

    def _flag(self, flags: list[str]) -> None:
        start = self._position
        flag = self._match(_FLAG, "a flag of at most 255 octets")[0].decode("ascii")
        # Clients that copy messages send it with the other flags; nobody can set it.
        if flag.lower() == "\\recent":
            return
        if flag.startswith("\\") and flag.lower() not in _SYSTEM_FLAGS:
            self._position = start
            raise self.fault("no system flag that can be set has this name: it stands")
        flags.append(flag)

    def date(self) -> datetime.date:
        """`1-Feb-1994`, in quotes or not."""
        start = self._position
        found = self._match(_DATE, "a date as 1-Feb-1994")
        try:
            return datetime.date(int(found[4]), _month(found[3]), int(found[2]))
        except ValueError:
            self._position = start
            raise self.fault("no calendar has the date") from None

    def date_time(self) -> datetime.datetime:
        """`" 7-Feb-1994 21:52:25 -0800"`, with its zone. A leap second is the one before it."""
        start = self._position
        found = self._match(_DATE_TIME, 'a time as " 7-Feb-1994 21:52:25 -0800"')
        hour, minute, second, zone_hour, zone_minute = (int(found[group]) for group in (4, 5, 6, 8, 9))
        try:
            if zone_minute > 59 or second > 60:
                raise ValueError
            offset = datetime.timedelta(hours=zone_hour, minutes=zone_minute)
            zone = datetime.timezone(-offset if found[7] == b"-" else offset)
            day = int(found[1])
            return datetime.datetime(
                int(found[3]), _month(found[2]), day, hour, minute, min(second, 59), tzinfo=zone
            )
        except ValueError:
            self._position = start
            raise self.fault("no clock has the time") from None

    def mailbox(self) -> str:
        """A name, in NFC; INBOX in capitals."""
        return self._name(self.astring)

    def list_mailbox(self) -> str:
        """A pattern of LIST, in which the wildcards % and * may stand outside a string too."""
        if self.peek() in (b'"', b"{"):
            return self.mailbox()
        return self._name(lambda: self._match(_LIST_MAILBOX, "a name with or without wildcards")[0])

    def _name(self, read: Callable[[], bytes]) -> str:
        start = self._position
        text = read()
        try:
            return read_name(text, self.utf8)
        except NameFault as error:
            self._position = start
            raise self.fault(str(error)) from None


def _month(name: bytes) -> int:
    """Raises ValueError."""
    return _MONTHS.index(name.lower()) + 1
