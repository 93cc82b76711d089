"""Requests that hold only for one state of what they name (RFC 9110 section 13)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from twisted.web.http import datetimeToString, stringToDatetime

#: Octets of a condition that are read, and entity tags in one.
LARGEST = 4096

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGS = re.compile(rf"[ \t,]*(?:{_TAG.pattern})(?:[ \t]*,[ \t,]*(?:{_TAG.pattern}))*[ \t,]*")

#: A field of the request by name, lines joined; None without one.
Fields = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Validators:
    """By what one state of a thing is known from another."""

    #: With its quotes, and "W/" for a weak one.
    tag: str
    #: Whole seconds since the epoch.
    modified: int

    @classmethod
    def of(cls, unique: str, size: int, modified: float) -> Validators:
        """Of a file: what names it on its disk, octets, and seconds since the epoch. What is stored here is a
        new file each time, so that the tag differs even where the clock of the disk stood still."""
        return cls(f'"{unique}-{size:x}-{int(modified * 1_000_000):x}"', int(modified))

    @property
    def fields(self) -> dict[str, str]:
        return {"ETag": self.tag, "Last-Modified": http_date(self.modified)}


def http_date(seconds: float) -> str:
    """IMF-fixdate (section 5.6.7)."""
    written: bytes = datetimeToString(seconds)  # type: ignore[no-untyped-call]  # upstream
    return written.decode("ascii")


def parse_date(field: str) -> int | None:
    """Seconds since the epoch; None for what is no date, which is ignored."""
    if len(field) > 50 or not field.isascii():
        return None
    try:
        return int(stringToDatetime(field.encode("ascii")))  # type: ignore[no-untyped-call]  # upstream
    except (ValueError, IndexError, KeyError):
        return None


def _named(field: str, tag: str | None, strong: bool) -> bool:
    """Whether one of the tags of If-Match or If-None-Match is this one (section 8.8.3.2)."""
    if field.strip() == "*":
        return tag is not None
    if tag is None or len(field) > LARGEST or _TAGS.fullmatch(field) is None:
        return False
    weak, opaque = tag.startswith("W/"), tag.removeprefix("W/")[1:-1]
    if strong and weak:
        return False
    return any(found == opaque and not (strong and mark) for mark, found in _TAG.findall(field))


def failed(fields: Fields, there: Validators | None, reading: bool) -> int | None:
    """The status that answers a request whose conditions do not hold, 304 or 412; None when it may be done
    (section 13.2.2). `there` is None where there is nothing by that name; `reading`: GET or HEAD."""
    match, none_match = fields("If-Match"), fields("If-None-Match")
    tag = there.tag if there is not None else None
    if match is not None:
        if not _named(match, tag, strong=True):
            return 412
    elif (since := fields("If-Unmodified-Since")) is not None:
        date = parse_date(since)
        if date is not None and (there is None or there.modified > date):
            return 412
    if none_match is not None:
        if _named(none_match, tag, strong=False):
            return 304 if reading else 412
    elif reading and there is not None and (since := fields("If-Modified-Since")) is not None:
        date = parse_date(since)
        if date is not None and there.modified <= date:
            return 304
    return None


def range_holds(fields: Fields, there: Validators) -> bool:
    """If-Range (section 13.1.5): a part is sent only of what the client has the rest of."""
    field = fields("If-Range")
    if field is None:
        return True
    field = field.strip()
    if field.endswith('"'):
        return _named(field, there.tag, strong=True) and field != "*"
    # A date is no proof that nothing else was written in its second, so it must be an exact and old one.
    return not there.tag.startswith("W/") and parse_date(field) == there.modified
