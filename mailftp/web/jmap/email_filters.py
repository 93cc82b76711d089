"""Filters and sorts of Email/query: RFC 8621 sections 4.4.1 and 4.4.2, read from what the client sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailftp.store.criteria import BodyHas, Criterion, HeaderHas, TextHas
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.ids import MAILBOX, number_of
from mailftp.web.jmap.keywords import check_keyword
from mailftp.web.jmap.querying import Operator, unsupported_sort

#: Characters of a text that is looked for.
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class InMailbox:
    #: None: one that cannot be; nothing is in it.
    mailbox_id: int | None


@dataclass(frozen=True, slots=True)
class InOtherThan:
    mailbox_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Received:
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Sized:
    #: Not less than this, and less than that.
    least: int | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class HasKeyword:
    keyword: str


@dataclass(frozen=True, slots=True)
class ThreadHas:
    """`all`: each Email of the thread has it; else one at least."""

    keyword: str
    all: bool


@dataclass(frozen=True, slots=True)
class HasAttachment:
    pass


@dataclass(frozen=True, slots=True)
class Holds:
    """Some text, which the store looks for."""

    criterion: Criterion
    #: What a snippet shows of it: "subject", "body", "text" or "".
    where: str = ""
    text: str = ""


Test = InMailbox | InOtherThan | Received | Sized | HasKeyword | ThreadHas | HasAttachment | Holds

#: What of them may change of an Email.
MUTABLE = (InMailbox, InOtherThan, HasKeyword, ThreadHas)

_ADDRESSED = ("from", "to", "cc", "bcc")
SORTED_BY = ("receivedAt", "size", "from", "to", "subject", "sentAt")
SORTED_BY_KEYWORD = ("hasKeyword", "allInThreadHaveKeyword", "someInThreadHaveKeyword")


def negated(test: Any) -> Operator:
    return Operator("NOT", (test,))


def read_condition(condition: Arguments) -> Operator:
    """A FilterCondition as all of its tests. Raises MethodError."""
    tests: list[Any] = [*_mailboxes(condition), *_columns(condition), *_keywords(condition)]
    if "hasAttachment" in condition:
        wanted = condition.boolean("hasAttachment")
        tests.append(HasAttachment() if wanted else negated(HasAttachment()))
    tests += _texts(condition)
    return Operator("AND", tuple(tests))


def _mailboxes(condition: Arguments) -> list[Any]:
    tests: list[Any] = []
    if "inMailbox" in condition:
        tests.append(InMailbox(number_of(MAILBOX, condition.id("inMailbox"))))
    if "inMailboxOtherThan" in condition:
        numbers = [number_of(MAILBOX, each) for each in condition.ids("inMailboxOtherThan")]
        tests.append(InOtherThan(frozenset(each for each in numbers if each is not None)))
    return tests


def _columns(condition: Arguments) -> list[Any]:
    tests: list[Any] = []
    if "before" in condition:
        tests.append(Received(before=condition.utc_date("before")))
    if "after" in condition:
        tests.append(Received(after=condition.utc_date("after")))
    if "minSize" in condition:
        tests.append(Sized(least=condition.unsigned("minSize")))
    if "maxSize" in condition:
        tests.append(Sized(below=condition.unsigned("maxSize")))
    return tests


def _keywords(condition: Arguments) -> list[Any]:
    def keyword(name: str) -> str:
        return check_keyword(condition.string(name))

    tests: list[Any] = []
    if "allInThreadHaveKeyword" in condition:
        tests.append(ThreadHas(keyword("allInThreadHaveKeyword"), all=True))
    if "someInThreadHaveKeyword" in condition:
        tests.append(ThreadHas(keyword("someInThreadHaveKeyword"), all=False))
    if "noneInThreadHaveKeyword" in condition:
        tests.append(negated(ThreadHas(keyword("noneInThreadHaveKeyword"), all=False)))
    if "hasKeyword" in condition:
        tests.append(HasKeyword(keyword("hasKeyword")))
    if "notKeyword" in condition:
        tests.append(negated(HasKeyword(keyword("notKeyword"))))
    return tests


def _texts(condition: Arguments) -> list[Any]:
    tests: list[Any] = []
    for name in ("text", *_ADDRESSED, "subject", "body"):
        if name not in condition:
            continue
        for word in words_of(_text(condition.string(name))):
            if name == "text":
                tests.append(Holds(TextHas(word), "text", word))
            elif name == "body":
                tests.append(Holds(BodyHas(word), "body", word))
            else:
                where = "subject" if name == "subject" else ""
                tests.append(Holds(HeaderHas(name.encode(), word), where, word))
    if "header" in condition:
        tests.append(Holds(_header(condition.take("header"))))
    return tests


def _header(given: Any) -> HeaderHas:
    if not isinstance(given, list) or not 1 <= len(given) <= 2 or not all(isinstance(e, str) for e in given):
        raise invalid_arguments("header is a field's name, and a text or none")
    name = given[0].lower()
    if not name or not name.isascii() or not name.isprintable() or len(name) > _LONGEST:
        raise invalid_arguments("header names no field")
    return HeaderHas(name.encode("ascii"), _text(given[1]) if len(given) == 2 else "")


def _text(text: str) -> str:
    if len(text) > _LONGEST:
        raise MethodError("unsupportedFilter", f"a text of more than {_LONGEST} characters")
    return text


def words_of(text: str) -> list[str]:
    """Section 4.4.1: words all of which are looked for; those in quotes are one, and a backslash takes
    the meaning of what follows."""
    words: list[str] = []
    word, quote, escaped = "", "", False
    for each in text:
        if escaped:
            word, escaped = word + each, False
        elif each == "\\":
            escaped = True
        elif quote:
            if each == quote:
                words.append(word)
                word, quote = "", ""
            else:
                word += each
        elif each in "\"'" and not word:
            quote = each
        elif each.isspace():
            words.append(word)
            word = ""
        else:
            word += each
    words.append(word)
    return [each for each in dict.fromkeys(words) if each]


def read_comparator(name: str, comparator: Arguments) -> str | None:
    """The keyword of those that have one. Raises MethodError."""
    if name in SORTED_BY_KEYWORD:
        return check_keyword(comparator.string("keyword"))
    if name not in SORTED_BY:
        raise unsupported_sort(name)
    return None
