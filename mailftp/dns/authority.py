"""What all listeners of the name service share: the zones, who may transfer them, how fast it answers."""

from __future__ import annotations

from collections.abc import Callable

from mailftp.dns.rate import ResponseRate, Verdict
from mailftp.dns.ready import ReadyAnswers
from mailftp.dns.responder import respond, truncated
from mailftp.dns.zone import Zones
from mailftp.wire.journal import Journal

#: Seconds between two lines about questions that were over the limit.
_LINES = 60.0


class Authority:
    """One for the whole server; a reload changes what is in it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._journal = Journal("dns")
        self._told = float("-inf")
        self._per_second = -1
        self.change(Zones(()), 0)

    def change(self, zones: Zones, per_second: int) -> None:
        """Answer from these zones from now on."""
        self.zones = zones
        self._ready = ReadyAnswers(zones)
        if per_second != self._per_second:
            self._per_second = per_second
            self._rate = ResponseRate(per_second, self._seconds)

    def answer_datagram(self, packet: bytes, host: str) -> bytes | None:
        """What to send back to a host whose address nothing proves."""
        verdict = self._rate.count(host)
        if verdict is Verdict.ANSWER:
            return self._ready.respond(packet)
        self._tell(host)
        return truncated(packet) if verdict is Verdict.TRUNCATE else None

    def answer_stream(self, packet: bytes) -> bytes | None:
        return respond(self.zones, packet, stream=True)

    def _tell(self, host: str) -> None:
        now = self._seconds()
        if now - self._told >= _LINES:
            self._told = now
            self._journal.warn("dns rate limit", peer=host, count=self._rate.limited)
            self._rate.limited = 0
