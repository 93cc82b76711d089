"""A parser over one whole command, its literals inline: RFC 3501 section 9, RFC 9051 section 9."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Final

from mailftp.imap.mailbox_names import NameFault, read_name
from mailftp.imap.sequence import LARGEST, SequenceSet, parse_set

#: Open parentheses; no real search has ten. A parser that calls itself has to end somewhere.
MAX_DEPTH = 50


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

    def peek_keyword(self) -> bytes:
        """The keyword that comes next; b"" when none does."""
        found = _ATOM.match(self._text, self._position)
        return b"" if found is None else found[0].upper()

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
