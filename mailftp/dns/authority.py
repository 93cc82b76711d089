"""What all listeners of the name service share: the zones, who may transfer them, how fast it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address

from mailftp.dns.answers import name_text
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.rate import ResponseRate, Verdict
from mailftp.dns.responder import truncated
from mailftp.dns.transfer import TransferRequest, messages
from mailftp.dns.zone import Zones
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

#: Seconds between two lines about the same trouble, or a flood of questions would become a flood of lines.
_LINES = 60.0


class Authority:
    """One for the whole server; a reload changes what is in it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._journal = Journal("dns")
        self._told = self._refused = float("-inf")
        self._per_second = -1
        self.change(PreparedAnswers(Zones(())), 0)

    def change(self, answers: PreparedAnswers, per_second: int, secondaries: Iterable[str] = ()) -> None:
        """Give these answers from now on; `secondaries` are addresses."""
        self._answers = answers
        self._secondaries = frozenset(ip_address(address.partition("%")[0]) for address in secondaries)
        if per_second != self._per_second:
            self._per_second = per_second
            self._rate = ResponseRate(per_second, self._seconds)

    def answer_datagram(self, packet: bytes, host: str) -> bytes | None:
        """What to send back to a host whose address nothing proves."""
        verdict = self._rate.count(host)
        if verdict is Verdict.ANSWER:
            return self._answers.respond(packet)
        self._tell(host)
        return truncated(packet) if verdict is Verdict.TRUNCATE else None

    def answer_stream(self, packet: bytes) -> bytes | None:
        return self._answers.respond(packet, stream=True)

    def transfer(self, packet: bytes, peer: Peer, journal: Journal) -> Iterator[bytes] | None:
        """The messages of a transfer; None for another question, or from somebody who may not have one."""
        request = TransferRequest.read(packet)
        if request is None:
            return None
        zone = self._answers.zones.get(request.name)
        if zone is None or peer.address not in self._secondaries:
            now = self._seconds()
            if now - self._refused >= _LINES:
                self._refused = now
                journal.warn("dns transfer refused", zone=name_text(request.name), peer=str(peer))
            return None
        journal.record("dns transfer", zone=name_text(zone.origin), peer=str(peer), serial=zone.serial)
        return messages(zone, request)

    def _tell(self, host: str) -> None:
        now = self._seconds()
        if now - self._told >= _LINES:
            self._told = now
            self._journal.warn("dns rate limit", peer=host, count=self._rate.limited)
            self._rate.limited = 0
