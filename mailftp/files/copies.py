"""Copying on the server: CPTO and COMB. The octets go from file to file in the kernel, some megabytes for
each trip to a thread, and the new file arrives as an upload does: hidden until it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable

from mailftp.files.arrivals import Arrival
from mailftp.files.commits import Commits
from mailftp.files.faults import translated
from mailftp.files.home import NoSuchFile
from mailftp.files.threads import Runner

#: Octets that one trip to a thread copies: the threads are shared.
PIECE = 64 * 1024 * 1024


class Copying:
    """Files that go, one after the other, to the end of one that arrives. Takes the descriptors over."""

    def __init__(
        self, sources: list[int], arrival: Arrival, threads: Runner, commits: Commits, durable: bool
    ) -> None:
        self._sources = sources
        self._arrival = arrival
        self._threads = threads
        self._commits = commits
        self._durable = durable
        self._at = 0

    async def run(self, then: Callable[[], None] | None = None) -> int:
        """Fires with the size of the whole; `then` runs on a thread when it has its name. Raises FileFault,
        and then nothing is left of it."""
        try:
            for source in self._sources:
                self._at = 0
                while await self._threads.run(lambda source=source: self._piece(source)):  # type: ignore[misc]  # bound now
                    continue
            if self._durable:
                await self._threads.run(self._sync)
            size = await self._commits.submit(self._arrival, [], lambda: True)
            self._arrival.close()
        except BaseException:
            await self._threads.run(self._arrival.discard)
            raise
        finally:
            for source in self._sources:
                os.close(source)
        if then is not None:
            await self._threads.run(then)
        return size

    def _sync(self) -> None:
        with translated():
            os.fdatasync(self._arrival.descriptor)

    def _piece(self, source: int) -> bool:
        """Whether there may be more."""
        with translated():
            return self._copied(source)

    def _copied(self, source: int) -> bool:
        size = os.fstat(source).st_size
        stop = min(size, self._at + PIECE)
        while self._at < stop:
            done = self._arrival.take(source, self._at, stop - self._at)
            if done == 0:
                raise NoSuchFile("The file became shorter")
            self._at += done
        return self._at < size
