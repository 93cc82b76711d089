"""A sender that writes down which messages were acknowledged, for comparison after a crash."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence

_SEAL = re.compile(rb"\r\nid=(\d+) size=(\d+) sha256=([0-9a-f]{64})\r\n(.*)\Z", re.DOTALL)
#: Octets of a line of text; poplib takes lines of 2,048 at most.
_LINE = 72


def sealed(number: int, size: int) -> bytes:
    """A message that says what it is and whether it is whole."""
    line = (b"%08d" % number) * (_LINE // 8) + b"\r\n"
    body = line * max(1, size // len(line))
    digest = hashlib.sha256(body).hexdigest().encode()
    return b"Subject: %d\r\n\r\nid=%d size=%d sha256=%s\r\n%s" % (number, number, len(body), digest, body)


def opened(message: bytes) -> int:
    """Its number; AssertionError when an octet of it is missing or wrong."""
    found = _SEAL.search(message)
    assert found is not None, f"torn: {message[:200]!r}"
    body = found[4]
    assert len(body) == int(found[2]) and hashlib.sha256(body).hexdigest().encode() == found[3], "torn"
    return int(found[1])


class Ledger:
    """What was sent, and what the server took responsibility for by a 250 that was read."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()

    async def run(
        self,
        host: str,
        port: int,
        jobs: Sequence[tuple[int, bytes, bytes]],
        connections: int,
        crash: Callable[[], None],
        after: int,
        login: tuple[str, str],
    ) -> None:
        """Submit `jobs` (number, recipient, message) over so many connections; `crash()` when `after` are
        acknowledged. Connections that break then are what is expected."""
        name, password = login
        plain = base64.b64encode(f"\0{name}\0{password}".encode())
        waiting = list(reversed(jobs))
        crashed = False

        async def sender() -> None:
            nonlocal crashed
            try:
                reader, writer = await asyncio.open_connection(host, port)
                await self._expect(reader, b"220")
                await self._say(reader, writer, b"EHLO ledger.test\r\n")
                await self._say(reader, writer, b"AUTH PLAIN " + plain + b"\r\n", b"235")
                while waiting and not crashed:
                    number, recipient, message = waiting.pop()
                    await self._say(reader, writer, b"MAIL FROM:<" + name.encode() + b">\r\n")
                    await self._say(reader, writer, b"RCPT TO:<" + recipient + b">\r\n")
                    await self._say(reader, writer, b"DATA\r\n", b"354")
                    await self._say(reader, writer, message + b".\r\n")
                    self.acknowledged.add(number)
                    if len(self.acknowledged) >= after and not crashed:
                        crashed = True
                        crash()
                writer.close()
            except (ConnectionError, asyncio.IncompleteReadError):
                assert crashed, "the server hung up before it was killed"

        await asyncio.gather(*(sender() for _ in range(connections)))

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes, code: bytes = b"250"
    ) -> None:
        writer.write(octets)
        await self._expect(reader, code)

    async def _expect(self, reader: asyncio.StreamReader, code: bytes) -> None:
        while True:
            line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 60)
            assert line.startswith(code), line
            if line[3:4] == b" ":
                return

    def check(self, found: Sequence[int]) -> tuple[int, int]:
        """(acknowledged, found though not acknowledged). AssertionError names what is lost or doubled."""
        counted = Counter(found)
        lost = sorted(self.acknowledged - counted.keys())
        doubled = sorted(number for number, times in counted.items() if times > 1)
        assert not lost, f"acknowledged and lost: {lost}"
        assert not doubled, f"there twice: {doubled}"
        return len(self.acknowledged), len(counted.keys() - self.acknowledged)
