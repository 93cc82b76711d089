"""Whether a message is nested or divided more than is good for whoever opens it.

What passes is looked at for what parts begin with, which costs microseconds; only a message that could be
over the limits is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock

from mailftp.intake.refused import Refused
from mailftp.message.envelope import Budget
from mailftp.message.mime import Kind, Node, walk
from mailftp.settings import Limits
from mailftp.store.records import StagedBody

_DELIMITER = b"\n--"
#: What parts begin with, whatever the case of the name: 19 us for 64 KiB, a fifth of what it takes to count
#: both, one of them in octets made lower case.
_SIGNS = re.compile(rb"\n(?:--|(?i:content-type):)")
#: One octet short of the longer sign.
_CARRIED = len(b"\ncontent-type")


class PartsWatch:
    """Counts what could be parts in the pieces of a message; never too few."""

    __slots__ = ("_carry", "delimiters", "types")

    def __init__(self) -> None:
        self.types = self.delimiters = 0
        self._carry = b"\n"

    def feed(self, piece: bytes) -> None:
        data = self._carry + piece
        found = _SIGNS.findall(data)
        if found:
            delimiters = found.count(_DELIMITER)
            self.delimiters += delimiters
            self.types += len(found) - delimiters
        # Too short to hold a type whole, so that none is counted twice; what is cut is whole with the next.
        self._carry = data[-_CARRIED:]
        self.delimiters -= self._carry.count(_DELIMITER)

    def may_exceed(self, limits: Limits) -> bool:
        # Each part but the message itself follows a delimiter or is a message in a part with a type; each
        # that others are in has a type, the outermost in the header, and the innermost need not have one.
        parts = 2 + self.delimiters + self._carry.count(_DELIMITER) + self.types
        return parts > limits.mime_parts or self.types + 2 > limits.mime_depth


class Structure:
    """Takes messages apart, one at a time: each may need its size in memory."""

    def __init__(
        self, limits: Limits, run: Callable[[Callable[[], tuple[int, int]]], Deferred[tuple[int, int]]]
    ):
        """`run` does work on a thread."""
        self._limits, self._run, self._turn = limits, run, DeferredLock()

    async def check(self, body: StagedBody) -> None:
        """Raises Refused (554 5.6.0)."""
        async with self._turn:
            parts, depth = await self._run(lambda: measure(body))
        limits = self._limits
        if parts > limits.mime_parts:
            raise Refused(554, "5.6.0", f"The message has more than {limits.mime_parts} MIME parts")
        if depth > limits.mime_depth:
            raise Refused(554, "5.6.0", f"MIME parts are more than {limits.mime_depth} deep in each other")


def measure(body: StagedBody) -> tuple[int, int]:
    """Parts, and how deep they are in each other; the message itself is one, and depth 1."""
    if body.data is not None:
        data = body.data
    else:
        assert body.path is not None, "a body is in memory or in a file"
        data = body.path.read_bytes()
    root, _ = walk(data, Budget())
    parts = deepest = 0
    left: list[tuple[Node, int]] = [(root, 1)]
    while left:
        node, depth = left.pop()
        parts += 1
        # What was not opened has at least one more in it.
        deepest = max(deepest, depth + (node.kind is Kind.UNOPENED))
        left += [(child, depth + 1) for child in node.nodes]
    return parts, deepest
