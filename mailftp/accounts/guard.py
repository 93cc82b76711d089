"""The login guard: one memory of failed logins, shared by every protocol.

A failure counts for the client's network and for the two wider ones around it (/32, /24, /16; /64, /56,
/48), and fades: half of it is forgotten every `HALF_LIFE`. The more a network has failed, the longer
it waits for its next refusal; beyond a limit it is turned away before any password is looked at.

- The same wrong password for the same name counts once: a phone with an old password tries it every minute,
  and must not lock out the office around it. Guessing never repeats itself.
- Attempts under way count as failures once there is one, so that many connections at a time are no way
  round the limit.
- A success forgives nothing, or whoever has an account could guess at others between two logins.
- This very machine (loopback and Unix sockets, not through a proxy) waits the plain delay for a
  wrong password and is never turned away: a webmail, a proxy without a PROXY header or a test suite there
  stands for everybody, and one who guesses would lock all of them out.
- The table is bounded, oldest out first. A flood of IPv6 networks that pushes an entry out has itself filled
  the limits of the wider networks.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from mailftp.settings import Auth
from mailftp.wire.peer import Peer

#: Seconds in which half of the failures are forgotten.
HALF_LIFE = 600.0
#: Failures at which a network is turned away: the address, the wider one, the widest.
LIMITS = (20.0, 60.0, 180.0)
#: A refusal is never held back longer than this times `auth.failure_delay`.
LONGEST_DELAY = 8.0
#: Wrong passwords remembered for a network, to know one that is tried again.
REMEMBERED = 16


@dataclass(slots=True)
class _Record:
    score: float = 0.0
    #: Reactor time that `score` is of.
    at: float = 0.0
    tried: deque[bytes] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Guard:
    """All times are the reactor's, in seconds."""

    def __init__(self, settings: Auth, clock: IReactorTime, most: int = 10_000) -> None:
        """`most` is the number of networks remembered, of each width."""
        self._delay = settings.failure_delay
        self._clock = clock
        self._most = most
        self._secret = secrets.token_bytes(16)
        #: By width: network -> record, least lately failed first.
        self._tables: tuple[OrderedDict[str, _Record], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        #: Network of any width -> attempts under way; as many entries as there are attempts, at most thrice.
        self._under_way: Counter[str] = Counter()

    def refuses(self, peer: Peer) -> float:
        """Seconds until this client may try again; 0 when it may now."""
        if peer.local:
            return 0.0
        wait = 0.0
        for width, limit in enumerate(LIMITS):
            network = peer.network(width)
            record = self._tables[width].get(network)
            if record is None:
                continue
            score = self._faded(record)
            if score >= 0.5 and score + self._under_way[network] >= limit:
                # What is under way ends within seconds, so one second is enough to wait for that.
                wait = max(wait, 1.0, HALF_LIFE * math.log2(score / limit) if score > limit else 0.0)
        return wait

    def begins(self, peer: Peer) -> None:
        """An attempt starts; `ends` must follow."""
        if not peer.local:
            self._under_way.update(peer.network(width) for width in range(3))

    def ends(self, peer: Peer) -> None:
        if peer.local:
            return
        for width in range(3):
            network = peer.network(width)
            self._under_way[network] -= 1
            if self._under_way[network] <= 0:
                del self._under_way[network]

    def failed(self, peer: Peer, name: str, password: bytes | None) -> float:
        """Count a failure; answers the seconds to hold the refusal back. `password` None counts always."""
        if peer.local:
            return self._delay
        own = self._record(0, peer)
        again = False
        if password is not None:
            text = name.encode("utf-8", "surrogatepass") + b"\0" + password
            mark = hmac.digest(self._secret, text, "sha256")[:8]
            again = mark in own.tried
            if not again:
                own.tried.append(mark)
        for width in range(len(LIMITS)):
            record = self._record(width, peer)
            record.score = self._faded(record) + (0.0 if again else 1.0)
            record.at = self._clock.seconds()
        return self._delay * min(LONGEST_DELAY, math.exp2(max(0.0, own.score - 1.0)))

    def _record(self, width: int, peer: Peer) -> _Record:
        table, network = self._tables[width], peer.network(width)
        record = table.get(network)
        if record is None:
            if len(table) >= self._most:
                table.popitem(last=False)
            record = table[network] = _Record(at=self._clock.seconds())
        else:
            table.move_to_end(network)
        return record

    def _faded(self, record: _Record) -> float:
        return record.score * math.exp2((record.at - self._clock.seconds()) / HALF_LIFE)
