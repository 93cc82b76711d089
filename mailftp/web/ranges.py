"""Parts of a representation: Range, Content-Range and what they come to (RFC 9110 section 14)."""

from __future__ import annotations

import re

#: Octets of a range header that are read; more ranges than fit are no use to anybody (CVE-2011-3192).
LARGEST = 200

_POSITION = r"[0-9]{1,18}"
_RANGE = re.compile(rf"bytes=[ \t]*(?:({_POSITION})-({_POSITION})?|-({_POSITION}))[ \t]*", re.ASCII | re.I)
_PART = re.compile(rf"bytes ({_POSITION})-({_POSITION})/(?:({_POSITION})|\*)", re.ASCII | re.I)


class Unsatisfiable(Exception):
    """No octet of it is there: 416 (section 15.5.17)."""


class RangeFault(Exception):
    """A Content-Range that cannot be."""


def asked_range(field: str | None, size: int) -> tuple[int, int] | None:
    """From where, up to where (that one not included), of a representation of `size` octets; None: all of it,
    because nothing else was asked or it was asked in a way that may be ignored (section 14.2: another unit,
    several ranges, nonsense). Raises Unsatisfiable."""
    match = _RANGE.fullmatch(field) if field is not None and len(field) <= LARGEST else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        wanted = min(int(suffix), size)
        if wanted == 0:
            raise Unsatisfiable
        return size - wanted, size
    start = int(first)
    if last is not None and int(last) < start:
        # Section 14.1.1: invalid, so it is no range.
        return None
    if start >= size:
        raise Unsatisfiable
    return start, size if last is None else min(int(last) + 1, size)


def sent_part(field: str) -> tuple[int, int, int | None]:
    """What a PUT with Content-Range brings (section 14.5): its first and its last octet, and the size of the
    whole, if it is known. Raises RangeFault."""
    match = _PART.fullmatch(field) if len(field) <= LARGEST else None
    if match is None:
        raise RangeFault('Content-Range is "bytes FIRST-LAST/SIZE", or "*" for a size that is not known')
    start, last = int(match[1]), int(match[2])
    size = int(match[3]) if match[3] is not None else None
    if last < start or (size is not None and last >= size):
        raise RangeFault("that part is none of the whole")
    return start, last, size
