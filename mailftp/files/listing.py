"""Reading a folder a few hundred entries at a time, each time on a file thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailftp.files import arrivals
from mailftp.files.faults import translated
from mailftp.files.home import Entry, IEntries, Kind
from mailftp.files.policy import hidden
from mailftp.files.threads import Runner
from mailftp.files.usage import Usage

#: Entries that one trip to a thread brings.
BATCH = 256
#: A folder with no more names than this is listed in their order; a larger one in the disk's, because
#: sorting would hold all of it in memory.
SORTED = 4096


#: The bits of a mode that tell what a file is, and what they tell (inode(7)).
_FORMAT = 0o170000
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


def entry_of(name: bytes, found: os.stat_result, arrived: int | None = None, whole: bool = True) -> Entry:
    """An entry from what stat said of a name."""
    mode = found.st_mode
    return Entry(
        name.decode("utf-8", "surrogateescape"),
        _KINDS.get(mode & _FORMAT, Kind.OTHER),
        found.st_size,
        found.st_mtime,
        mode & 0o7777,
        found.st_uid,
        found.st_gid,
        found.st_nlink,
        f"{found.st_dev:x}g{found.st_ino:x}",
        arrived,
        whole,
    )


@implementer(IEntries)
class FolderEntries:
    """Takes the folder's descriptor over. `given_up`: cut uploads older than this (seconds since the
    epoch) are removed on the way; None removes none."""

    def __init__(self, descriptor: int, threads: Runner, usage: Usage, given_up: float | None) -> None:
        self._descriptor = descriptor
        self._threads = threads
        self._usage = usage
        self._given_up = given_up
        self._names: Iterator[bytes] | None = None
        self._busy = self._closed = False

    def next(self) -> Deferred[tuple[Entry, ...]]:
        if self._closed:
            return succeed(())
        self._busy = True
        return self._threads.run(self._read).addBoth(self._read_done)

    def _read_done(self, outcome: tuple[Entry, ...]) -> tuple[Entry, ...]:
        self._busy = False
        if self._closed:
            self._release()
        return outcome

    def _read(self) -> tuple[Entry, ...]:
        with translated():
            if self._names is None:
                self._names = self._all_names()
            batch: list[Entry] = []
            while not batch:
                names = list(islice(self._names, BATCH))
                if not names:
                    break
                batch = [entry for entry in map(self._entry, names) if entry is not None]
            return tuple(batch)

    def _all_names(self) -> Iterator[bytes]:
        found = os.scandir(self._descriptor)
        first = sorted(os.fsencode(one.name) for one in islice(found, SORTED))
        yield from first
        for one in found:
            yield os.fsencode(one.name)

    def _entry(self, name: bytes) -> Entry | None:
        if hidden(name):
            if self._given_up is not None:
                self._usage.count()
                arrivals.drop(self._descriptor, name, self._usage, self._given_up)
            return None
        try:
            return entry_of(name, os.stat(name, dir_fd=self._descriptor, follow_symlinks=False))
        except FileNotFoundError:
            # Removed since its name was read.
            return None

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._busy:
                self._release()

    def _release(self) -> None:
        self._names = None
        os.close(self._descriptor)
