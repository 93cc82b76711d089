"""Answers that were given before, by the octets of the question.

An answer depends on nothing but the zones and the query, its id aside, so the same octets get the same octets
again. Made anew, an answer costs some 130 us; from here it costs a look into a dictionary.
"""

from __future__ import annotations

from mailftp.dns.responder import respond
from mailftp.dns.zone import Zones

#: Answers kept, the oldest given up first: with the next limit and the largest answer, 7 MB at the most,
#: however many names are made up.
ENTRIES = 4096
#: Octets of a query that is worth keeping: a name, and options such as a cookie.
LONGEST = 330


class ReadyAnswers:
    """Answers to datagrams about these zones. New zones want a new object."""

    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._kept: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def respond(self, packet: bytes) -> bytes | None:
        """As `mailftp.dns.responder.respond`."""
        question = packet[2:]
        ready = self._kept.get(question)
        if ready is not None:
            return packet[:2] + ready
        reply = respond(self._zones, packet)
        if reply is not None and len(packet) <= LONGEST:
            if len(self._kept) >= ENTRIES:
                del self._kept[next(iter(self._kept))]
            self._kept[question] = reply[2:]
        return reply
