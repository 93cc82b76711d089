"""A stranger's message on its way in: its header is held until it is whole, and what it claims of our own
checks is taken out; the checks of mailftp.origin see the rest pass."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from mailftp.intake.refused import Refused
from mailftp.intake.structure import PartsWatch
from mailftp.origin.inspection import Inspection
from mailftp.store.engine import BodySink
from mailftp.store.records import StagedBody

#: Octets of a header that every connection may hold while it arrives, and what all of them together may hold
#: beyond that: whoever has opened ten thousand connections must not fill the memory with header lines.
OWN, SHARED = 64 * 1024, 16 * 1024 * 1024


class HeaderRoom:
    """What is held of large headers on all connections."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0

    def take(self, octets: int) -> bool:
        if self.held + octets > SHARED:
            return False
        self.held += octets
        return True


class InspectedSink:
    """A body sink in front of another."""

    def __init__(
        self,
        sink: BodySink,
        inspection: Inspection | None,
        read_header: Callable[[bytes], bytes],
        limit: int,
        parts: PartsWatch,
        room: HeaderRoom,
    ) -> None:
        """`read_header` is given the header as it came, and gives what is kept of it; `limit` is in octets of
        header."""
        self._sink, self._inspection = sink, inspection
        self._read_header, self._limit, self._parts = read_header, limit, parts
        self._held: bytearray | None = bytearray()
        self._room, self._taken = room, 0
        #: Why the message is refused: there is too much of its header.
        self._overflow: Refused | None = None

    def write(self, data: bytes) -> Deferred[None] | None:
        if self._held is None:
            self._parts.feed(data)
            if self._inspection is not None:
                self._inspection.body(data)
            return self._sink.write(data)
        if self._overflow is not None:
            return None
        # The empty line may have begun in the piece before.
        searched = max(0, len(self._held) - 3)
        self._held += data
        end = 0 if self._held.startswith(b"\r\n") else self._held.find(b"\r\n\r\n", searched) + 2
        if end > self._limit or (end == 1 and len(self._held) > self._limit):
            self._overflow = Refused(552, "5.3.4", f"The header has more than {self._limit} octets")
        elif end != 1:
            return self._pass(end)
        elif not self._has_room():
            text = "Too many messages with large headers are arriving, try again later"
            self._overflow = Refused(452, "4.3.1", text)
        if self._overflow is not None:
            self._held.clear()
            self._leave_room()
        return None

    def _has_room(self) -> bool:
        wanted = max(0, len(self._held or b"") - OWN) - self._taken
        if wanted <= 0:
            return True
        if not self._room.take(wanted):
            return False
        self._taken += wanted
        return True

    def _leave_room(self) -> None:
        self._room.held -= self._taken
        self._taken = 0

    def _pass(self, end: int) -> Deferred[None] | None:
        """Send on what is held; the header ends at `end`, and the empty line follows it, if there is one."""
        held, self._held = bytes(self._held or b""), None
        self._leave_room()
        header = self._read_header(held[:end])
        self._parts.feed(held[end:])
        if self._inspection is not None:
            self._inspection.body(held[end + 2 :])
        return self._sink.write(header + held[end:])

    def finish(self) -> Deferred[StagedBody]:
        if self._overflow is not None:
            return fail(self._overflow)
        wait = self._pass(len(self._held)) if self._held is not None else None
        if wait is None:
            return self._sink.finish()
        return wait.addCallback(lambda _: self._sink.finish())

    def abort(self) -> None:
        self._held = bytearray()
        self._leave_room()
        if self._inspection is not None:
            self._inspection.abandon()
        self._sink.abort()
