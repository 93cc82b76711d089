"""SearchSnippet: RFC 8621 section 5."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape, unescape
from typing import Any

from mailftp.store.emails import EmailsById
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.body_parts import split_bodies
from mailftp.web.jmap.body_values import body_value
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_filters import Holds, read_condition
from mailftp.web.jmap.emails import parts_of
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.headers import CONVENIENT
from mailftp.web.jmap.ids import EMAIL, numbers_of, spell
from mailftp.web.jmap.octets import Read, each_read
from mailftp.web.jmap.querying import Operator, read_filter
from mailftp.web.jmap.registry import MAIL, Registry

#: Of a section of text, with its marks and entities; and characters of it before the first mark.
OCTETS, _BEFORE = 255, 60
#: Octets of a text that are looked at.
_LOOKED_AT = 1 << 18

_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)\s*>|<[^>]*+>", re.IGNORECASE | re.DOTALL)


def add_snippets(registry: Registry) -> None:
    registry.add("SearchSnippet/get", _get, MAIL)


async def _get(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """SearchSnippet/get, section 5.1."""
    context.check_account(arguments)
    condition = read_filter(arguments, read_condition)
    given = arguments.ids("emailIds")
    arguments.done()
    most = context.ground.limits.max_objects_in_get
    if len(given) > most:
        raise MethodError("requestTooLarge", f"at most {most} ids at a time")
    asked = numbers_of(EMAIL, given)
    words = tuple(dict.fromkeys(_words(condition)))
    found = (await context.store.read(EmailsById(context.account.id, tuple(asked)))).emails
    made = {}
    async for email, snippet in each_read(
        context.store, found, context.ground.run, lambda read: _snippet(read, words)
    ):
        made[email.id] = snippet
    missing = [each for each in given if each not in {asked[number] for number in made}]
    return {
        "accountId": context.account_id,
        "list": [made[number] for number in asked if number in made],
        "notFound": missing or None,
    }


def _words(condition: Any, wanted: bool = True) -> Iterator[Holds]:
    """What is looked for; not what is not to be there."""
    if isinstance(condition, Operator):
        for each in condition.conditions:
            yield from _words(each, wanted != (condition.operator == "NOT"))
    elif isinstance(condition, Holds) and condition.where and wanted:
        yield condition


def _snippet(read: Read, words: Sequence[Holds]) -> dict[str, Any]:
    root = parts_of(read)
    in_subject = [each.text for each in words if each.where in ("subject", "text")]
    in_body = [each.text for each in words if each.where in ("body", "text")]
    subject = CONVENIENT["subject"].of(root.fields) or ""
    return {
        "emailId": spell(EMAIL, read.email.id),
        "subject": marked(subject, in_subject, most=None),
        "preview": _preview(read, root, in_body) if in_body else None,
    }


def _preview(read: Read, root: Any, words: Sequence[str]) -> str | None:
    for part in split_bodies(root).text:
        if not part.type.startswith("text/"):
            continue
        end = min(part.part.end, part.part.body + _LOOKED_AT)
        text = body_value(part, read.data[part.part.body : end], 0, whole=False)["value"]
        if part.type == "text/html":
            text = unescape(_TAG.sub(" ", text))
        preview = marked(_SPACE.sub(" ", text).strip(), words, most=OCTETS)
        if preview is not None:
            return preview
    return None


def marked(text: str, words: Sequence[str], most: int | None) -> str | None:
    """The text, or a section of at most so many octets around the first of the words, each of them marked;
    None where it has none of them."""
    if not words:
        return None
    looked_for = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.I)
    first = looked_for.search(text)
    if first is None:
        return None
    start = 0
    if most is not None and first.start() > _BEFORE:
        start = first.start() - _BEFORE
        # From the beginning of a word on.
        start = text.find(" ", start, first.start()) + 1 or start
    pieces: list[str] = []
    octets, at = 0, start
    for match in looked_for.finditer(text, start):
        for piece, mark in ((text[at : match.start()], False), (match[0], True)):
            octets += _add(pieces, piece, mark, None if most is None else most - octets)
        at = match.end()
        if most is not None and octets >= most:
            break
    _add(pieces, text[at:], False, None if most is None else most - octets)
    return "".join(pieces)


def _add(pieces: list[str], piece: str, mark: bool, room: int | None) -> int:
    """Adds what there is room for; answers the octets that it took."""
    made = f"<mark>{escape(piece, quote=False)}</mark>" if mark else escape(piece, quote=False)
    size = len(made.encode("utf-8", "replace"))
    if room is None or size <= room:
        pieces.append(made)
        return size
    if not mark:
        for character in piece:
            made = escape(character, quote=False)
            room -= len(made.encode("utf-8", "replace"))
            if room < 0:
                break
            pieces.append(made)
    # Nothing comes after what was cut.
    return 1 << 30
