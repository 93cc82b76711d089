"""What the header section of a message tells while it streams past: hops, and whose it has been.

A body may be a file before its header has been seen whole, so nothing is read twice: the sink that
stages it looks.
"""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred

from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

#: A line's octets that are looked at when it comes in pieces: a name and an address fit.
_CARRIED = 1024
#: Delivered-To fields remembered.
_OWNERS = 100
_DELIVERED_TO = re.compile(rb"(?<=\n)delivered-to:[ \t]*([^\r\n]{1,400})")


class HeaderWatch:
    """Counts Received fields and collects Delivered-To, in pieces that never part a CR from its LF."""

    __slots__ = ("_carry", "delivered_to", "done", "hops")

    def __init__(self) -> None:
        self.hops = 0
        #: Lower case.
        self.delivered_to: set[str] = set()
        self.done = False
        # The header begins at the beginning of a line, and may be empty.
        self._carry = b"\r\n"

    def feed(self, data: bytes) -> None:
        if self.done:
            return
        data = self._carry + data
        end = data.find(b"\r\n\r\n")
        self.done = end >= 0
        # The CR LF before an unfinished line is carried with it: with the next it may be the empty line.
        stop = end if self.done else data.rfind(b"\r\n")
        lines = data[: stop + 2].lower()
        # Counting is a hundred times as fast as a regex that looks at each line (8 KiB headers: 4 us).
        self.hops += lines.count(b"\nreceived:")
        if b"\ndelivered-to:" in lines and len(self.delivered_to) < _OWNERS:
            self.delivered_to.update(
                found[1].decode("utf-8", "replace").strip() for found in _DELIVERED_TO.finditer(lines)
            )
        self._carry = b"" if self.done else data[stop : stop + 2 + _CARRIED]


class WatchedSink:
    """A body sink that shows a watch what passes."""

    def __init__(self, sink: BodySink, watch: HeaderWatch) -> None:
        self._sink = sink
        self._watch = watch

    def write(self, data: bytes) -> Deferred[None] | None:
        if not self._watch.done:
            self._watch.feed(data)
        return self._sink.write(data)

    def finish(self) -> Deferred[StagedBody]:
        return self._sink.finish()

    def abort(self) -> None:
        self._sink.abort()
