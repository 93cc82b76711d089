"""What FETCH asks for: RFC 9051 section 6.4.5 (RFC 3501 section 6.4.5), and what extensions add to it.

A request is parsed into values that know their names in the response; nothing of a message is looked at here.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from mailftp.imap.parser import Parser
from mailftp.imap.sections import MAX_NUMBERS, Kind, Section, parse_specifier
from mailftp.imap.sequence import SequenceSet
from mailftp.message.imap_strings import string

#: Different items of one FETCH, and names in one HEADER.FIELDS: each is looked for in each message. Real
#: clients ask for a handful, mutt for fifteen names.
MAX_ITEMS = 500
MAX_NAMES = 200
#: RFC 9051 section 9, number64; RFC 7162 section 7 says the same of mod-sequences.
_LARGEST_64 = 2**63 - 1

_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+\Z")


class Datum(enum.Enum):
    """Data items that have one value a message."""

    UID = b"UID"
    FLAGS = b"FLAGS"
    #: RFC 7162 section 3.1.4.
    MODSEQ = b"MODSEQ"
    INTERNALDATE = b"INTERNALDATE"
    #: RFC 8514.
    SAVEDATE = b"SAVEDATE"
    SIZE = b"RFC822.SIZE"
    #: RFC 8474.
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    #: RFC 8970. With LAZY too: to make it takes less time than to look for it.
    PREVIEW = b"PREVIEW"


class Form(enum.Enum):
    """How octets of a message are given."""

    #: As they are.
    RAW = "raw"
    #: Without their Content-Transfer-Encoding, BINARY; and how many that are, BINARY.SIZE (RFC 3516).
    DECODED = "decoded"
    DECODED_SIZE = "decoded size"


@dataclass(frozen=True, slots=True)
class Text:
    """Octets of a message: BODY[...], the RFC822 items, BINARY."""

    #: In the response.
    name: bytes
    section: Section
    form: Form = Form.RAW
    #: First octet and number of octets of `<0.100>`.
    partial: tuple[int, int] | None = None


Item = Datum | Text

#: RFC 3501 section 6.4.5, macros.
_FAST = (Datum.FLAGS, Datum.INTERNALDATE, Datum.SIZE)
_MACROS: dict[bytes, tuple[Item, ...]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Datum.ENVELOPE),
    b"FULL": (*_FAST, Datum.ENVELOPE, Datum.BODY),
}
#: Older names for sections; gone in RFC 9051, whose clients lose nothing by our knowing them.
_RFC822 = {
    b"RFC822": Section(),
    b"RFC822.HEADER": Section(kind=Kind.HEADER),
    b"RFC822.TEXT": Section(kind=Kind.TEXT),
}
_DATA = {datum.value: datum for datum in Datum}
_BINARY = {b"BINARY": Form.DECODED, b"BINARY.PEEK": Form.DECODED, b"BINARY.SIZE": Form.DECODED_SIZE}


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """All that a FETCH or UID FETCH says."""

    messages: SequenceSet
    items: tuple[Item, ...]
    #: Messages are named by UID; and UID was asked for by name.
    uid: bool = False
    uid_named: bool = False
    #: A section without .PEEK is asked for: RFC 9051 section 6.4.5, \\Seen is set.
    seen: bool = False
    #: RFC 7162 section 3.1.4.1: only messages with a higher mod-sequence; section 3.2.6: VANISHED with it.
    changed_since: int | None = None
    vanished: bool = False
    #: RFC 9394 section 3.3: which of the messages, counted from 1, or from the end when they are negative.
    partial: tuple[int, int] | None = None

    @property
    def texts(self) -> tuple[Text, ...]:
        return tuple(item for item in self.items if isinstance(item, Text))


class _Items:
    def __init__(self) -> None:
        #: Each once, in the order of the request.
        self.found: dict[Item, None] = {}
        self.seen = self.uid_named = False


def parse_fetch(parser: Parser, *, uid: bool = False) -> FetchRequest:
    """What follows FETCH, or with `uid` UID FETCH. Raises SyntaxFault."""
    parser.space()
    messages = parser.sequence_set()
    parser.space()
    items = _Items()
    if uid:
        # RFC 9051 section 6.4.9: whether it is asked for or not.
        items.found[Datum.UID] = None
    if parser.peek() == b"(":
        _list(parser, items)
    else:
        _item(parser, items)
    changed_since, vanished, partial = _modifiers(parser, uid) if _more(parser) else (None, False, None)
    if changed_since is not None:
        items.found[Datum.MODSEQ] = None
    return FetchRequest(
        messages, tuple(items.found), uid, items.uid_named, items.seen, changed_since, vanished, partial
    )


def parse_items(parser: Parser) -> tuple[Item, ...]:
    """A list of items in parentheses, as NOTIFY has one (RFC 5465 section 8). Raises SyntaxFault."""
    items = _Items()
    items.found[Datum.UID] = None
    _list(parser, items)
    return tuple(items.found)


def requested(first: int, last: int, items: tuple[Item, ...]) -> FetchRequest:
    """What a UID FETCH of these UIDs would ask for; no \\Seen is set."""
    return FetchRequest(SequenceSet(((first, last),)), items, uid=True)


def _more(parser: Parser) -> bool:
    """Whether a `(` follows; spaces at the end are nothing."""
    spaces = parser.peek() == b" "
    if spaces:
        parser.space()
    return spaces and parser.peek() == b"("


def _list(parser: Parser, items: _Items) -> None:
    parser.open()
    while parser.take(b" "):
        pass
    while True:
        _item(parser, items)
        if parser.peek() == b")":
            break
        parser.space()
        # iOS and others build the list out of parts, of which the last may be empty.
        if parser.peek() == b")":
            break
    parser.close()


def _item(parser: Parser, items: _Items) -> None:
    word = parser.atom()
    name, bracket, specifier = word.partition(b"[")
    name = name.upper()
    if bracket:
        items.found[_text(parser, name, specifier)] = None
        items.seen = items.seen or name in (b"BODY", b"BINARY")
    elif name in _MACROS:
        items.found.update(dict.fromkeys(_MACROS[name]))
    elif name in _RFC822:
        items.found[Text(name, _RFC822[name])] = None
        # RFC 3501 section 6.4.5: the header alone is looked at and not read.
        items.seen = items.seen or name != b"RFC822.HEADER"
    elif name in _DATA:
        datum = _DATA[name]
        items.found[datum] = None
        items.uid_named = items.uid_named or datum is Datum.UID
        if datum is Datum.PREVIEW:
            _lazy(parser)
    else:
        raise parser.fault("FETCH knows no such item: what stands")
    if len(items.found) > MAX_ITEMS:
        raise parser.fault(f"more than {MAX_ITEMS} items are asked for")


def _lazy(parser: Parser) -> None:
    """`(LAZY)`, RFC 8970 section 3.2."""
    if parser.take(b" ("):
        if not parser.take(b"LAZY"):
            raise parser.fault("LAZY is expected")
        parser.expect(b")")


def _text(parser: Parser, name: bytes, specifier: bytes) -> Text:
    """`BODY[...]` from behind its bracket."""
    if name not in (b"BODY", b"BODY.PEEK", *_BINARY):
        raise parser.fault("FETCH knows no such item with a section: what stands")
    try:
        numbers, kind = parse_specifier(specifier)
    except ValueError as error:
        raise parser.fault(str(error)) from None
    names: tuple[bytes, ...] = ()
    shown = specifier.upper()
    if kind in (Kind.FIELDS, Kind.FIELDS_NOT):
        parser.space()
        names = _names(parser)
        shown += b" (%b)" % b" ".join(name if _ASTRING.match(name) else string(name) for name in names)
    parser.expect(b"]")
    form = _BINARY.get(name, Form.RAW)
    if form is not Form.RAW and kind is not Kind.WHOLE:
        raise parser.fault("BINARY takes the numbers of a part and nothing else")
    partial = None if form is Form.DECODED_SIZE else _partial(parser)
    if form is not Form.DECODED_SIZE:
        name = name.removesuffix(b".PEEK")
    shown = b"%b[%b]" % (name, shown)
    if partial is not None:
        shown += b"<%d>" % partial[0]
    return Text(shown, Section(numbers, kind, names), form, partial)


def _names(parser: Parser) -> tuple[bytes, ...]:
    parser.open()
    names = [parser.astring()]
    while parser.peek() != b")":
        parser.space()
        if parser.peek() == b")":
            break
        names.append(parser.astring())
        if len(names) > MAX_NAMES:
            raise parser.fault(f"more than {MAX_NAMES} names of fields are asked for")
    parser.close()
    return tuple(names)


def _partial(parser: Parser) -> tuple[int, int] | None:
    """`<0.100>`."""
    if not parser.take(b"<"):
        return None
    origin = parser.number(0, _LARGEST_64)
    parser.expect(b".")
    octets = parser.number(1, _LARGEST_64)
    parser.expect(b">")
    return origin, octets


def _modifiers(parser: Parser, uid: bool) -> tuple[int | None, bool, tuple[int, int] | None]:
    """RFC 4466 section 2.4: `(CHANGEDSINCE 12345 VANISHED PARTIAL 1:100)`."""
    changed_since: int | None = None
    vanished = False
    partial: tuple[int, int] | None = None
    parser.open()
    while True:
        name = parser.keyword()
        if name == b"CHANGEDSINCE" and changed_since is None:
            parser.space()
            changed_since = parser.number(0, _LARGEST_64)
        elif name == b"VANISHED" and uid:
            vanished = True
        elif name == b"PARTIAL" and uid and partial is None:
            parser.space()
            partial = _range(parser)
        else:
            raise parser.fault("no modifier of this FETCH has that name, or it is there twice: what stands")
        if parser.peek() == b")":
            break
        parser.space()
    parser.close()
    if vanished and changed_since is None:
        raise parser.fault("VANISHED wants CHANGEDSINCE beside it:")
    return changed_since, vanished, partial


def _range(parser: Parser) -> tuple[int, int]:
    """`1:100`, or `-1:-100` from the end: RFC 9394 section 4."""
    ends = []
    for _ in range(2):
        sign = -1 if parser.take(b"-") else 1
        ends.append(sign * parser.nz_number())
        if len(ends) == 1:
            parser.expect(b":")
    if (ends[0] < 0) != (ends[1] < 0):
        raise parser.fault("both ends of PARTIAL count from the same side:")
    return ends[0], ends[1]


__all__ = [
    "MAX_ITEMS",
    "MAX_NAMES",
    "MAX_NUMBERS",
    "Datum",
    "FetchRequest",
    "Form",
    "Item",
    "Text",
    "parse_fetch",
]
