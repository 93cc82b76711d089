"""What searches, SORT and THREAD ask for and answer, as values."""

from __future__ import annotations

import enum
from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexAnswer:
    """What a full-text index says of messages."""

    #: UIDs that it does not know: they have to be read.
    unknown: tuple[int, ...]
    #: For each test the UIDs that pass, of the others.
    found: tuple[tuple[int, ...], ...]


class SortKey(enum.Enum):
    """RFC 5256 section 3, RFC 5957."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"


class ThreadAlgorithm(enum.Enum):
    """RFC 5256 section 3."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"


@dataclass(frozen=True, slots=True)
class Threads:
    """Each message after the one that it is beneath, with how many are above it; UID 0 stands for one that is
    not there, which has several beneath it."""

    #: "I" both.
    uids: array[int]
    depths: array[int]
