"""Digests of files: HASH, XCRC and their kin. Each is computed once and remembered for as long as the file
stays as it is.

A file is known by its device and inode; size, mtime and ctime in nanoseconds say whether it is still the
same, so a change from outside is seen as well as one of ours. The digest of an upload can be taken while it
arrives: then asking for it afterwards reads nothing.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple, Protocol

from mailftp.files.home import Digest, FileFault, NoSuchFile
from mailftp.files.threads import Runner

#: Octets that one trip to a thread reads: the threads are shared, and a file may be of any size.
PIECE = 16 * 1024 * 1024
_BLOCK = 1 << 20
#: Files whose digests are remembered.
REMEMBERED = 10_000
#: Nanoseconds that a clock of a file system may stand still. A file that changed so recently may change
#: again without a new time (the race of git's index), so what was read of it is not remembered.
_TICK = 50_000_000


class Hasher(Protocol):
    """What hashlib's objects have."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _CRC32:
    """CRC-32 of zip and of XCRC, as hashlib would have it."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


#: By the names of the IANA registry of hash functions, and CRC32.
ALGORITHMS: dict[str, Callable[[], Hasher]] = {
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
    "SHA-1": lambda: hashlib.sha1(usedforsecurity=False),
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
    "CRC32": _CRC32,
}


class _Known(NamedTuple):
    state: tuple[int, int, int]
    digests: dict[str, str]


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Digests:
    """What is remembered; for all homes of a server, on any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], _Known] = OrderedDict()
        self._lock = Lock()

    def find(self, found: os.stat_result, algorithm: str) -> str | None:
        with self._lock:
            known = self._known.get((found.st_dev, found.st_ino))
            if known is None or known.state != _state(found):
                return None
            self._known.move_to_end((found.st_dev, found.st_ino))
            return known.digests.get(algorithm)

    def keep(self, found: os.stat_result, algorithm: str, hexadecimal: str) -> None:
        file, state = (found.st_dev, found.st_ino), _state(found)
        with self._lock:
            known = self._known.pop(file, None)
            if known is None or known.state != state:
                known = _Known(state, {})
            known.digests[algorithm] = hexadecimal
            self._known[file] = known
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def drop(self, found: os.stat_result) -> None:
        """The file is written to under its own name."""
        with self._lock:
            self._known.pop((found.st_dev, found.st_ino), None)


class Arriving:
    """The digest of an upload that is on its way, fed on the threads that write it."""

    def __init__(self, digests: Digests, algorithm: str) -> None:
        self._digests = digests
        self._algorithm = algorithm
        self._hasher = ALGORITHMS[algorithm]()

    def update(self, chunks: Iterable[bytes | memoryview]) -> None:
        for chunk in chunks:
            self._hasher.update(chunk)

    def done(self, found: os.stat_result) -> None:
        """The file has its name, and this is what it looks like."""
        self._digests.keep(found, self._algorithm, self._hasher.hexdigest())


class Reading:
    """A file whose digest is being computed, a piece for each trip to a thread. Takes `descriptor` over."""

    def __init__(
        self,
        descriptor: int,
        algorithm: str,
        start: int,
        end: int | None,
        *,
        threads: Runner,
        digests: Digests,
        now: Callable[[], float],
    ) -> None:
        """Raises NoSuchFile when `start` is beyond the end."""
        self._descriptor, self._threads, self._digests, self._now = descriptor, threads, digests, now
        self._algorithm, self._hasher = algorithm, ALGORITHMS[algorithm]()
        self._before = os.fstat(descriptor)
        size = self._before.st_size
        if start > size:
            raise NoSuchFile("The file is not that long")
        self._start = self._at = start
        self._end = size if end is None else max(start, min(end, size))
        self._whole = start == 0 and self._end == size

    async def run(self) -> Digest:
        """Raises FileFault: the file changed, or could not be read."""
        try:
            found = self._digests.find(self._before, self._algorithm) if self._whole else None
            if found is None:
                while self._at < self._end:
                    await self._threads.run(self._piece)
                found = computed = self._hasher.hexdigest()
                await self._threads.run(lambda: self._remember(computed))
            return Digest(self._start, self._end, found)
        finally:
            os.close(self._descriptor)

    def _piece(self) -> None:
        stop = min(self._end, self._at + PIECE)
        while self._at < stop:
            try:
                data = os.pread(self._descriptor, min(_BLOCK, stop - self._at), self._at)
            except OSError as error:
                raise FileFault("Input or output error") from error
            if not data:
                raise FileFault("The file became shorter")
            self._hasher.update(data)
            self._at += len(data)

    def _remember(self, hexadecimal: str) -> None:
        after = os.fstat(self._descriptor)
        if _state(after) != _state(self._before):
            raise FileFault("The file changed meanwhile")
        settled = after.st_ctime_ns + _TICK < int(self._now() * 1e9)
        if self._whole and settled:
            self._digests.keep(after, self._algorithm, hexadecimal)
