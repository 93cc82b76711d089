"""Response rate limiting: nobody can have us flood somebody else by asking in his name.

The source of a datagram proves nothing. A network that seems to ask too much is answered with truncated
replies, no larger than its questions: an honest resolver then comes by TCP, which proves where it is, and a
victim gets less than was sent to us in its name.
"""

from __future__ import annotations

import enum
import secrets
import socket
from array import array
from collections.abc import Callable

#: Counters; a network has the one that its hash says. However many networks there are, they take 128 KiB; an
#: innocent one shares a full counter with chance n in 65,536 while n others are over the limit.
CELLS = 1 << 16
_MAPPED = bytes(10) + b"\xff\xff"


class Verdict(enum.IntEnum):
    ANSWER = 0
    #: Only that the answer is to be had by TCP.
    TRUNCATE = 1
    DROP = 2


class ResponseRate:
    """Answers a second for each /24 of IPv4 and /56 of IPv6."""

    def __init__(self, per_second: int, seconds: Callable[[], float]) -> None:
        """0: no limit. At most 65,535."""
        self._most = per_second
        self._seconds = seconds
        self._fresh = array("H", bytes(2 * CELLS))
        self._cells = self._fresh[:]
        self._second = -1
        # Whoever knows where his network is counted could fill the counter of another.
        self._salt = secrets.token_hex(8)
        #: Questions that were not answered in full.
        self.limited = 0
        self._slips = False

    def count(self, host: str) -> Verdict:
        """Count a question from this address, and say what is to be done with it."""
        if not self._most:
            return Verdict.ANSWER
        second = int(self._seconds())
        if second != self._second:
            self._second, self._cells = second, self._fresh[:]
        cell = hash(self._salt + network(host)) & CELLS - 1
        asked = self._cells[cell] + 1
        if asked <= self._most:
            self._cells[cell] = asked
            return Verdict.ANSWER
        self.limited += 1
        # One of two gets through to TCP, whichever order honest and forged questions come in.
        self._slips = not self._slips
        return Verdict.TRUNCATE if self._slips else Verdict.DROP


def network(host: str) -> str:
    """What of an address is counted together: /24, or /56, which is what one site has."""
    if ":" not in host:
        return host.rpartition(".")[0]
    octets = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if octets[:12] == _MAPPED:
        return ".".join(map(str, octets[12:15]))
    return octets[:7].hex()
