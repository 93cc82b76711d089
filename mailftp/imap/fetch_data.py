"""FETCH data items that have one value a message, for many messages at one time: RFC 9051 section 7.5.2.

A column is what one item is for each of the messages: how it is written, and the values. Lines are made of
columns by one formatting, and what is the same again and again (a set of flags, a day) is made once.
"""

from __future__ import annotations

import calendar
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from mailftp.imap.fetch_items import Datum
from mailftp.imap.mailbox_state import MailboxState
from mailftp.imap.responses import flag_list
from mailftp.store.records import Places, ReadyItem

READY = {
    Datum.ENVELOPE: ReadyItem.ENVELOPE,
    Datum.BODY: ReadyItem.BODY,
    Datum.BODYSTRUCTURE: ReadyItem.BODYSTRUCTURE,
}
PLACES = frozenset({Datum.EMAILID, Datum.THREADID, Datum.SAVEDATE})

_MONTHS = tuple(name.encode("ascii") for name in calendar.month_abbr)


class Column(NamedTuple):
    #: `FLAGS %b`.
    form: bytes
    values: Iterable[Any]


class There:
    """Where messages are in a state's arrays at this moment; those that are gone are left out."""

    __slots__ = ("_places", "numbers", "state", "uids")

    def __init__(self, state: MailboxState, numbers: Sequence[int], uids: array[int]) -> None:
        """`numbers` are what the client calls them."""
        self.state = state
        self.numbers, self.uids = numbers, uids
        self._places: slice | list[int] = []
        first = state.index(uids[0]) if uids else None
        if first is not None and state.uids[first : first + len(uids)] == uids:
            # Nearly always: all messages, or a stretch, or one.
            self._places = slice(first, first + len(uids))
            return
        found = [state.index(uid) for uid in uids]
        kept = [at for at, place in enumerate(found) if place is not None]
        self._places = [place for place in found if place is not None]
        if len(kept) < len(uids):
            self.numbers = [numbers[at] for at in kept]
            self.uids = array("I", [uids[at] for at in kept])

    def column(self, values: array[Any]) -> Sequence[Any]:
        """Of one of the state's arrays."""
        places = self._places
        return values[places] if isinstance(places, slice) else [values[place] for place in places]

    def flags(self) -> Iterable[bytes]:
        numbers = self.column(self.state.flag_numbers)
        ready = {number: flag_list(self.state.flag_sets[number]) for number in set(numbers)}
        return map(ready.__getitem__, numbers)


@lru_cache(maxsize=4096)
def _day(number: int) -> bytes:
    """Days since 1970, as they are written."""
    year, month, day, *_ = time.gmtime(number * 86400)
    return b'"%2d-%b-%04d ' % (day, _MONTHS[month], year)


@lru_cache(maxsize=4096)
def _minute(number: int) -> bytes:
    return b"%02d:%02d" % divmod(number, 60)


def date_time(seconds: float) -> bytes:
    """RFC 9051 section 9, date-time; always in UTC, as what is kept is a point in time."""
    days, left = divmod(int(seconds), 86400)
    minutes, second = divmod(left, 60)
    return b'%b%b:%02d +0000"' % (_day(days), _minute(minutes), second)


def _saved(seconds: float) -> bytes:
    """RFC 8514 section 4: NIL where it is not known."""
    return date_time(seconds) if seconds else b"NIL"


_OF_STATE: dict[Datum, Callable[[There], Column]] = {
    Datum.UID: lambda there: Column(b"UID %d", there.uids),
    Datum.FLAGS: lambda there: Column(b"FLAGS %b", there.flags()),
    Datum.MODSEQ: lambda there: Column(b"MODSEQ (%d)", there.column(there.state.modseqs)),
    Datum.SIZE: lambda there: Column(b"RFC822.SIZE %d", there.column(there.state.sizes)),
    Datum.INTERNALDATE: lambda there: Column(
        b"INTERNALDATE %b", map(date_time, there.column(there.state.received))
    ),
}


def of_state(datum: Datum, there: There) -> Column:
    """What the state of a mailbox holds."""
    return _OF_STATE[datum](there)


def of_places(datum: Datum, places: Places) -> Column:
    """RFC 8474 section 5, RFC 8514 section 4.1."""
    if datum is Datum.EMAILID:
        return Column(b"EMAILID (M%d)", places.email_ids)
    if datum is Datum.THREADID:
        return Column(b"THREADID (T%d)", places.thread_ids)
    return Column(b"SAVEDATE %b", map(_saved, places.saved))


def lines(start: bytes, numbers: Sequence[int], columns: Sequence[Column]) -> bytes:
    """Whole responses; `start` is `* %d FETCH (`."""
    form = start + b" ".join(column.form for column in columns) + b")\r\n"
    return form * len(numbers) % tuple(chain.from_iterable(_rows(numbers, columns)))


def heads(start: bytes, numbers: Sequence[int], columns: Sequence[Column]) -> list[bytes]:
    """Their beginnings, to which texts are put."""
    form = start + b" ".join(column.form for column in columns)
    return [form % row for row in _rows(numbers, columns)]


def _rows(numbers: Sequence[int], columns: Sequence[Column]) -> Iterable[tuple[Any, ...]]:
    return zip(numbers, *(column.values for column in columns), strict=True)
