"""SORT: RFC 5256 section 3, RFC 5957. Strings are compared by i;unicode-casemap, octet by octet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailftp.message.casemap import casemap
from mailftp.message.envelope_reading import Envelope, read_envelope
from mailftp.message.index import StoredKeys
from mailftp.store.findings import SortKey

#: Those for which a mailbox's columns are enough.
COLUMN_KEYS = frozenset({SortKey.ARRIVAL, SortKey.SIZE})
_ADDRESSED = frozenset({SortKey.CC, SortKey.DISPLAYFROM, SortKey.DISPLAYTO, SortKey.FROM, SortKey.TO})


def value_of(key: SortKey, keys: StoredKeys, received: float, envelope: Envelope | None) -> Any:
    """What a message is sorted by; none of COLUMN_KEYS."""
    if key is SortKey.DATE:
        # RFC 5256 section 2.2.
        return received if keys.sent is None else keys.sent
    if key is SortKey.SUBJECT:
        return casemap(keys.base_subject)
    assert envelope is not None
    if key is SortKey.FROM:
        return envelope.sender.local_part()
    if key is SortKey.TO:
        return envelope.to.local_part()
    if key is SortKey.CC:
        return envelope.cc.local_part()
    return envelope.sender.shown() if key is SortKey.DISPLAYFROM else envelope.to.shown()


class Sorter:
    """Takes messages as they are read, in UID order, and answers their UIDs in order."""

    def __init__(self, order: Sequence[tuple[SortKey, bool]]) -> None:
        """`order` is keys, the most telling first, and whether each is reversed."""
        self._order = order
        self._keys = tuple(dict.fromkeys(key for key, _ in order))
        self._read = tuple(key for key in self._keys if key not in COLUMN_KEYS)
        self._envelopes = not _ADDRESSED.isdisjoint(self._read)
        self._values: dict[SortKey, list[Any]] = {key: [] for key in self._keys}
        self._uids: list[int] = []

    @property
    def needs_index(self) -> bool:
        return bool(self._read)

    def take(self, uid: int, received: float, size: int, keys: StoredKeys | None) -> None:
        """`keys` where `needs_index` is set."""
        self._uids.append(uid)
        if SortKey.ARRIVAL in self._values:
            self._values[SortKey.ARRIVAL].append(received)
        if SortKey.SIZE in self._values:
            self._values[SortKey.SIZE].append(size)
        if keys is not None:
            envelope = read_envelope(keys.envelope) if self._envelopes else None
            for key in self._read:
                self._values[key].append(value_of(key, keys, received, envelope))

    def result(self) -> list[int]:
        """Messages that are equal by all keys stay in UID order, which is that of sequence numbers."""
        places = list(range(len(self._uids)))
        # From the least telling key: each sort keeps what the one before made of equals, reversed ones too.
        for key, reverse in reversed(self._order):
            places.sort(key=self._values[key].__getitem__, reverse=reverse)
        return [self._uids[place] for place in places]
