"""Reading a folder a few hundred entries at a time, each time on a file thread."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mailftp.files import arrivals, births, walk
from mailftp.files.faults import translated
from mailftp.files.home import Entry, IEntries, Kind, Path, Rendering
from mailftp.files.policy import Policy, hidden
from mailftp.files.remembered import Remembered
from mailftp.files.threads import Runner
from mailftp.files.usage import Usage

T = TypeVar("T")

#: Entries that one trip to a thread brings.
BATCH = 256
#: A folder with no more names than this is listed in their order; a larger one in the disk's, because
#: sorting would hold all of it in memory.
SORTED = 4096


#: The bits of a mode that tell what a file is, and what they tell (inode(7)).
_FORMAT = 0o170000
_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}


def entry_of(
    name: bytes,
    found: os.stat_result,
    arrived: int | None = None,
    whole: bool = True,
    created: float | None = None,
    perm: str | None = None,
) -> Entry:
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
        created,
        perm,
    )


@implementer(IEntries)
class FolderEntries:
    """Takes the folder's descriptor over. `given_up`: cut uploads older than this (seconds since the
    epoch) are removed on the way; None removes none."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        threads: Runner,
        usage: Usage,
        policy: Policy,
        given_up: float | None,
        *,
        mounts: dict[bytes, os.stat_result] | None = None,
        created: bool = False,
        remembered: Remembered | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._threads = threads
        self._usage = usage
        self._policy = policy
        self._given_up = given_up
        #: Folders from elsewhere that show here, in place of what has their name.
        self._mounts = mounts or {}
        self._created = created
        self._remembered = remembered
        self._file_perm = policy.perm((*path, "f"), False)
        self._folder_perm = policy.perm((*path, "f"), True)
        self._names: Iterator[bytes] | None = None
        self._busy = self._closed = False

    def whole(self, rendering: Rendering) -> Deferred[bytes | None]:
        remembered = self._remembered
        if self._closed or self._mounts or remembered is None:
            return succeed(None)
        mine = replace(rendering, key=(rendering.key, self._path, self._policy, self._created))
        self._busy = True

        def listing() -> bytes | None:
            with translated():
                return remembered.listing(self._descriptor, mine, self._scan, self._look)

        done: Deferred[bytes | None] = self._threads.run(listing)
        return done.addBoth(self._read_done)

    def _scan(self) -> Iterator[bytes]:
        # A descriptor of its own: the position in the folder belongs to the descriptor.
        again = os.open(".", walk.FOLDER, dir_fd=self._descriptor)
        try:
            with os.scandir(again) as found:
                for one in found:
                    yield os.fsencode(one.name)
        finally:
            os.close(again)

    def next(self) -> Deferred[tuple[Entry, ...]]:
        if self._closed:
            return succeed(())
        self._busy = True
        return self._threads.run(self._read).addBoth(self._read_done)

    def _read_done(self, outcome: T) -> T:
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
        first = {os.fsencode(one.name) for one in islice(found, SORTED)}
        yield from sorted(first | self._mounts.keys())
        for one in found:
            name = os.fsencode(one.name)
            if name not in self._mounts:
                yield name

    def _entry(self, name: bytes) -> Entry | None:
        looked = self._look(name)
        return None if looked is None else looked[1]

    def _look(self, name: bytes) -> tuple[os.stat_result, Entry] | None:
        if hidden(name):
            if self._given_up is not None:
                self._usage.count()
                arrivals.drop(self._descriptor, name, self._usage, self._given_up)
            return None
        found = self._mounts.get(name) or walk.status(self._descriptor, name)
        if found is None:
            # Removed since its name was read.
            return None
        if self._policy.rules:
            text = name.decode("utf-8", "surrogateescape")
            if not self._policy.shows(self._path, text):
                return None
            perm = self._policy.perm((*self._path, text), stat.S_ISDIR(found.st_mode))
        else:
            perm = self._folder_perm if stat.S_ISDIR(found.st_mode) else self._file_perm
        created = births.created(self._descriptor, name) if self._created else None
        return found, entry_of(name, found, created=created, perm=perm)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._busy:
                self._release()

    def _release(self) -> None:
        self._names = None
        os.close(self._descriptor)
