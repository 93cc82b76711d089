"""Bodies of messages that have just been accepted: they leave at once, and need not be read from the disk.

The store has them all the same. What does not fit any more is read there.
"""

from __future__ import annotations

from collections import OrderedDict

#: Octets that are kept, and the largest body that is.
OCTETS, LARGEST = 4 * 1024 * 1024, 64 * 1024


class BodiesAtHand:
    """By the message's number in the queue."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self._octets = 0

    def keep(self, message_id: int, body: bytes | None) -> None:
        """None is one that is in a file."""
        if body is None or len(body) > LARGEST:
            return
        self.forget(message_id)
        self._bodies[message_id] = body
        self._octets += len(body)
        while self._octets > OCTETS:
            _, oldest = self._bodies.popitem(last=False)
            self._octets -= len(oldest)

    def get(self, message_id: int) -> bytes | None:
        return self._bodies.get(message_id)

    def forget(self, message_id: int) -> None:
        self._octets -= len(self._bodies.pop(message_id, b""))
