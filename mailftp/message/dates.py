"""RFC 5322 date-times (sections 3.3 and 4.3)."""

from __future__ import annotations

import re
import time
from calendar import timegm
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
#: The last second of the year 9999: a date has four digits for its year.
_LAST = 253402300799.0

#: Minutes east of UTC. The military letters mean nothing certain (RFC 5322 section 4.3): UTC.
_ZONES = {
    b"edt": -240, b"est": -300, b"cdt": -300, b"cst": -360,
    b"mdt": -360, b"mst": -420, b"pdt": -420, b"pst": -480,
}  # fmt: skip

#: Every number is bounded and ASCII. The seconds, the zone and the name of the day may be missing, as
#: the obsolete syntax and broken senders have it.
_DATE = re.compile(
    rb"[ \t]*+(?:[A-Za-z]{1,9}\.?[ \t]*+,?[ \t]*+)?"
    rb"([0-9]{1,2})[ \t-]++([A-Za-z]{3})[A-Za-z]{0,6}\.?[ \t-]++([0-9]{2,4})[ \t,]++"
    rb"([0-9]{1,2})[ \t]*+[:.][ \t]*+([0-9]{2})(?:[ \t]*+[:.][ \t]*+([0-9]{2})(?:\.[0-9]{1,9})?)?"
    rb"(?:[ \t]*+(?:([+-])([0-9]{2}):?([0-9]{2})|([A-Za-z]{1,5}))?)?"
)
#: What ctime() prints: "Sun Nov 22 01:48:55 2026".
_CTIME = re.compile(
    rb"[ \t]*+[A-Za-z]{3},?[ \t]++([A-Za-z]{3})[ \t]++([0-9]{1,2})[ \t]++"
    rb"([0-9]{1,2}):([0-9]{2}):([0-9]{2})[ \t]++([0-9]{4})"
)
_COMMENT = re.compile(rb"\([^()]{0,200}\)")
#: No date is longer, comments and all.
_MOST = 256


def format_date(when: float) -> str:
    """`Sun, 22 Nov 2026 01:48:55 +0000`; `when` is seconds since the epoch. The server's own zone says
    where it is and means nothing to the reader, so all is in UTC."""
    return _format_second(int(min(max(when, 0.0), _LAST)))


@lru_cache(maxsize=16)
def _format_second(second: int) -> str:
    """Most of what is written is of this very second."""
    t = time.gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"
    )


def parse_date(value: bytes) -> float | None:
    """Seconds since the epoch, or None for what is no date. Takes the obsolete syntax: comments, two and
    three digit years, named zones."""
    found = _parse(value)
    return None if found is None else found[0]


def written_day(value: bytes) -> int | None:
    """The day of a date as it is written, whatever its time and zone, in days since the epoch: what SENTON
    and its like go by (RFC 3501 section 6.4.4)."""
    found = _parse(value)
    return None if found is None else int((found[0] + found[1] * 60) // 86400)


def _parse(value: bytes) -> tuple[float, int] | None:
    """Seconds since the epoch, and minutes that the zone is east of UTC."""
    value = value[:_MOST].replace(b"\r", b" ").replace(b"\n", b" ")
    if b"(" in value:
        value = _COMMENT.sub(b" ", value)
    found = _DATE.match(value)
    if found is None:
        return _parse_ctime(value)
    day, month, year, hour, minute, second, sign, east_hours, east_minutes, zone = found.groups()
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < 50 else 1900
    elif len(year) == 3:
        number += 1900
    if sign:
        east = int(east_hours) * 60 + int(east_minutes)
        if sign == b"-":
            east = -east
    else:
        east = _ZONES.get((zone or b"").lower(), 0)
    seconds = _seconds(number, month, int(day), int(hour), int(minute), int(second or 0), east)
    return None if seconds is None else (seconds, east)


def _parse_ctime(value: bytes) -> tuple[float, int] | None:
    found = _CTIME.match(value)
    if found is None:
        return None
    month, day, hour, minute, second, year = found.groups()
    seconds = _seconds(int(year), month, int(day), int(hour), int(minute), int(second), 0)
    return None if seconds is None else (seconds, 0)


def _seconds(
    year: int, month: bytes, day: int, hour: int, minute: int, second: int, east: int
) -> float | None:
    number = _MONTH_NUMBERS.get(month.lower())
    if number is None or not (
        1 <= day <= 31
        and 1 <= year <= 9999
        and hour <= 23
        and minute <= 59
        and second <= 60
        and abs(east) < 1440
    ):
        return None
    return float(timegm((year, number, day, hour, minute, second, 0, 0, 0)) - east * 60)
