"""The search keys: RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, and those of RFC 5032, 7162, 8474, 8514.

SEARCH, SORT and THREAD have them. They become criteria (mailftp.store.criteria), except for numbers, `$` and
the age of messages, which mean something only when the command runs.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

from mailftp.imap.commands import Bad, No
from mailftp.imap.context import Context
from mailftp.imap.parser import Parser
from mailftp.imap.sequence import SequenceSet
from mailftp.message.words import decode_charset, known_charset
from mailftp.store.criteria import (
    All,
    And,
    BodyHas,
    Criterion,
    Email,
    HasFlag,
    HeaderHas,
    Modseq,
    Not,
    Or,
    Received,
    Saved,
    Sent,
    Size,
    TextHas,
    Thread,
    Uids,
)

#: NOT and OR within each other; parentheses are counted by the parser.
MAX_DEPTH = 100
#: Octets of one string that is looked for.
MAX_TEXT = 4096
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY = 86400
_OBJECT_ID = re.compile(rb"([MT])([0-9]{1,18})\Z")


@dataclass(frozen=True, slots=True)
class Numbers:
    """A sequence set, or a UID key's."""

    wanted: SequenceSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Age:
    """OLDER and YOUNGER (RFC 5032)."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Either:
    one: Key
    other: Key


@dataclass(frozen=True, slots=True)
class Every:
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Unless:
    key: Key


Key = Criterion | Numbers | Age | Either | Every | Unless


class Program:
    """Keys as a client wrote them: search-program."""

    __slots__ = ("_charset", "_parser", "keys", "modseq")

    def __init__(self, parser: Parser, charset: bytes) -> None:
        """Reads keys up to the end. Raises SyntaxFault; No for strings that are not of the charset."""
        self._parser = parser
        self._charset = charset
        #: A MODSEQ key is among them: answers tell modseqs (RFC 7162 section 3.1.5).
        self.modseq = False
        keys = [self._key(0)]
        while parser.peek() == b" ":
            parser.space()
            if not parser.peek():
                break
            keys.append(self._key(0))
        self.keys = Every(tuple(keys))

    def _key(self, depth: int) -> Key:
        parser = self._parser
        if depth > MAX_DEPTH:
            raise parser.fault(f"more than {MAX_DEPTH} keys are within each other")
        if parser.peek() == b"(":
            parser.open()
            keys = [self._key(depth + 1)]
            while parser.peek() == b" ":
                parser.space()
                keys.append(self._key(depth + 1))
            parser.close()
            return Every(tuple(keys))
        if parser.peek() in _SET_STARTS:
            return Numbers(parser.sequence_set(), by_uid=False)
        name = parser.keyword()
        if name in _PLAIN:
            return _PLAIN[name]
        if name == b"NOT":
            parser.space()
            return Unless(self._key(depth + 1))
        if name == b"OR":
            parser.space()
            one = self._key(depth + 1)
            parser.space()
            return Either(one, self._key(depth + 1))
        if name == b"MODSEQ":
            return self._modseq()
        read = _WITH_ARGUMENT.get(name)
        if read is None:
            raise parser.fault("there is no such search key before it")
        parser.space()
        return read(self, parser)

    def text(self) -> str:
        """A string that is looked for. Where no charset is named it is taken as UTF-8, which ASCII is too."""
        octets = self._parser.astring()
        if len(octets) > MAX_TEXT:
            raise self._parser.fault(f"more than {MAX_TEXT} octets are looked for before it")
        return decode_charset(octets, self._charset)

    def header(self, name: bytes) -> Key:
        return HeaderHas(name, self.text())

    def _modseq(self) -> Key:
        """RFC 7162 section 3.1.5: an entry may be named, of which there is only one kind here."""
        self._parser.space()
        if self._parser.peek() == b'"':
            self._parser.string()
            self._parser.space()
            self._parser.keyword()
            self._parser.space()
        self.modseq = True
        return Modseq(self._parser.number(0, 2**63 - 1))


_SET_STARTS = frozenset([b"*", b"$", *(b"%d" % digit for digit in range(10))])
_NONE = Not(All())


def _flag(parser: Parser) -> HasFlag:
    # KEYWORD \\Seen is no keyword by the grammar, and clients send it.
    prefix = "\\" if parser.take(b"\\") else ""
    return HasFlag(prefix + parser.atom().decode("ascii"))


def _days(parser: Parser) -> int:
    return parser.date().toordinal() - _EPOCH


def _on_day(kind: type[Received] | type[Saved], parser: Parser) -> Received | Saved:
    day = _days(parser) * _DAY
    return kind(float(day), float(day + _DAY))


def _before_day(kind: type[Received] | type[Saved], parser: Parser) -> Received | Saved:
    return kind(before=float(_days(parser) * _DAY))


def _since_day(kind: type[Received] | type[Saved], parser: Parser) -> Received | Saved:
    return kind(since=float(_days(parser) * _DAY))


def _sent_on(parser: Parser) -> Sent:
    day = _days(parser)
    return Sent(day, day + 1)


def _header(program: Program, parser: Parser) -> Key:
    name = parser.astring().lower()
    parser.space()
    return program.header(name)


def _body(program: Program, parser: Parser) -> Key:
    text = program.text()
    return BodyHas(text) if text else All()


def _text(program: Program, parser: Parser) -> Key:
    text = program.text()
    return TextHas(text) if text else All()


def _object(kind: type[Email] | type[Thread], letter: bytes, parser: Parser) -> Key:
    """RFC 8474 section 6; an identifier that we never gave is of no message."""
    found = _OBJECT_ID.match(parser.astring())
    return kind(int(found[2])) if found and found[1] == letter else _NONE


#: Those without an argument. There is no \\Recent here: RFC 9051 has done away with it.
_PLAIN: dict[bytes, Criterion] = {
    b"ALL": All(),
    b"RECENT": _NONE,
    b"OLD": All(),
    b"NEW": _NONE,
    b"SAVEDATESUPPORTED": All(),
    **{
        name.upper().encode(): HasFlag("\\" + name)
        for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")
    },
    **{
        b"UN" + name.upper().encode(): Not(HasFlag("\\" + name))
        for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")
    },
}

_WITH_ARGUMENT: dict[bytes, Callable[[Program, Parser], Key]] = {
    b"BCC": lambda program, parser: program.header(b"bcc"),
    b"BEFORE": lambda program, parser: _before_day(Received, parser),
    b"BODY": _body,
    b"CC": lambda program, parser: program.header(b"cc"),
    b"EMAILID": lambda program, parser: _object(Email, b"M", parser),
    b"FROM": lambda program, parser: program.header(b"from"),
    b"HEADER": _header,
    b"KEYWORD": lambda program, parser: _flag(parser),
    b"LARGER": lambda program, parser: Size(above=parser.number(0, 2**63 - 1)),
    b"OLDER": lambda program, parser: Age(parser.nz_number(), younger=False),
    b"ON": lambda program, parser: _on_day(Received, parser),
    b"SAVEDBEFORE": lambda program, parser: _before_day(Saved, parser),
    b"SAVEDON": lambda program, parser: _on_day(Saved, parser),
    b"SAVEDSINCE": lambda program, parser: _since_day(Saved, parser),
    b"SENTBEFORE": lambda program, parser: Sent(before=_days(parser)),
    b"SENTON": lambda program, parser: _sent_on(parser),
    b"SENTSINCE": lambda program, parser: Sent(since=_days(parser)),
    b"SINCE": lambda program, parser: _since_day(Received, parser),
    b"SMALLER": lambda program, parser: Size(below=parser.number(0, 2**63 - 1)),
    b"SUBJECT": lambda program, parser: program.header(b"subject"),
    b"TEXT": _text,
    b"THREADID": lambda program, parser: _object(Thread, b"T", parser),
    b"TO": lambda program, parser: program.header(b"to"),
    b"UID": lambda program, parser: Numbers(parser.sequence_set(), by_uid=True),
    b"UNKEYWORD": lambda program, parser: Not(_flag(parser)),
    b"YOUNGER": lambda program, parser: Age(parser.nz_number(), younger=True),
}


def parse_charset(parser: Parser) -> bytes:
    """A charset's name as it stands. `check_charset` says whether it is known: that is NO and not BAD."""
    return parser.astring()


def check_charset(context: Context, charset: bytes) -> None:
    """Raises No for one that nobody knows (RFC 9051 section 7.1, BADCHARSET), Bad where UTF8=ACCEPT is
    enabled (RFC 6855 section 3)."""
    if charset and b"UTF8=ACCEPT" in context.enabled:
        raise Bad("with UTF8=ACCEPT enabled strings are UTF-8, and no charset is named")
    if charset and not known_charset(charset):
        raise No("nobody here knows this charset", b"BADCHARSET (UTF-8 US-ASCII)")


def resolved(context: Context, key: Key) -> Criterion:
    """As a criterion, for now and for what this client sees. Raises Bad for a number that no message has."""
    if isinstance(key, Every):
        return And(tuple(resolved(context, each) for each in key.keys))
    if isinstance(key, Either):
        return Or((resolved(context, key.one), resolved(context, key.other)))
    if isinstance(key, Unless):
        return Not(resolved(context, key.key))
    if isinstance(key, Age):
        when = context.output.now() - key.seconds
        # RFC 5032 section 3: YOUNGER is within the interval, its end included; OLDER is what is not.
        return Received(since=when) if key.younger else Received(before=when)
    if isinstance(key, Numbers):
        return Uids(_spans(context, key.wanted, by_uid=key.by_uid))
    return key


def _spans(context: Context, wanted: SequenceSet, *, by_uid: bool) -> tuple[tuple[int, int], ...]:
    """As UIDs, first and last of each stretch; what it costs goes by what was written and not by what is
    there. Raises Bad."""
    if wanted.saved:
        return tuple((uid, uid) for uid in context.saved)
    if context.uidonly and not by_uid:
        # RFC 9586 section 3.
        raise Bad("UIDONLY is enabled: messages are named by their UIDs", b"UIDREQUIRED")
    known = context.selected.uids()
    if not known:
        # Clients ask for 1:* whatever there is.
        return ()
    if by_uid:
        return tuple(wanted.spans(known[-1]))
    try:
        found = wanted.numbers(len(known))
    except ValueError as fault:
        raise Bad(str(fault)) from None
    return tuple((known[span.start], known[span.stop - 1]) for span in found)
