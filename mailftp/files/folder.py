"""A folder of this machine as a home: every operation asks the policy, then walks to where it happens."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailftp.files import arrivals, walk
from mailftp.files.commits import Commits
from mailftp.files.faults import translated
from mailftp.files.home import (
    AlreadyThere,
    Denied,
    Entry,
    FolderNotEmpty,
    IEntries,
    IHome,
    Intent,
    IsAFolder,
    ISink,
    ISource,
    NoRoom,
    NoSuchFile,
    Path,
)
from mailftp.files.listing import FolderEntries, entry_of
from mailftp.files.policy import Operation, Policy, hidden
from mailftp.files.sink import FileSink
from mailftp.files.threads import Runner
from mailftp.files.usage import Usage

T = TypeVar("T")
Names = tuple[bytes, ...]

#: Octets that `read` brings along: a small file is then sent without another trip to a thread.
HEAD = 64 * 1024


@implementer(ISource)
class FileSource:
    __slots__ = ("descriptor", "head", "size")

    def __init__(self, descriptor: int, size: int, head: bytes) -> None:
        self.descriptor = descriptor
        self.size = size
        self.head = head

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@implementer(IHome)
class HomeFolder:
    """One account's folder, or the anonymous one.

    `usage` and `commits` are shared with the other homes and sessions that they concern. With `create` the
    folder is made when it is first used. `now` gives the time of day in seconds.
    """

    def __init__(
        self,
        root: FilePath,
        threads: Runner,
        commits: Commits,
        usage: Usage,
        *,
        policy: Policy,
        durable: bool = True,
        visible_partials: bool = False,
        create: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._threads = threads
        self._commits = commits
        self._usage = usage
        self._policy = policy
        self._durable = durable
        self._visible = visible_partials
        self._create = create
        self._now = now

    def _perform(self, work: Callable[..., T], *targets: tuple[Operation, Path]) -> Deferred[T]:
        """The one way to a path: the policy's answer for each target, then `work` with the names."""
        return self._threads.run(lambda: self._checked(work, targets))

    def _checked(self, work: Callable[..., T], targets: tuple[tuple[Operation, Path], ...]) -> T:
        names = [self._policy.check(operation, path) for operation, path in targets]
        with translated():
            if any(operation.changes for operation, _ in targets):
                self._usage.count()
            return work(*names)

    @contextmanager
    def _folder(self, names: Names) -> Iterator[int]:
        descriptor = self._open_folder(names)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_folder(self, names: Names) -> int:
        try:
            return walk.open_folder(self._root, names)
        except FileNotFoundError:
            if not self._create or os.path.isdir(self._root):
                raise
            walk.make_root(self._root)
            return walk.open_folder(self._root, names)

    def _settled(self, folder: int) -> None:
        """What was done in a folder survives a power cut, as the answer to it promises."""
        if self._durable:
            os.fsync(folder)

    # Looking.

    def entry(self, path: Path) -> Deferred[Entry]:
        return self._perform(self._entry, (Operation.STAT, path))

    def _entry(self, names: Names) -> Entry:
        if not names:
            with self._folder(()) as folder:
                return entry_of(b"", os.fstat(folder))
        with self._folder(names[:-1]) as folder:
            found = walk.status(folder, names[-1])
            arrived = None
            # In a read-only home an upload that was cut is somebody else's.
            if not self._policy.read_only and (found is None or stat.S_ISREG(found.st_mode)):
                arrived = arrivals.arrived(folder, names[-1], found is not None)
            if found is not None:
                return entry_of(names[-1], found, arrived)
            if arrived is None:
                raise NoSuchFile("No such file or folder")
            partial = os.stat(arrivals.hidden_name(names[-1]), dir_fd=folder, follow_symlinks=False)
            return entry_of(names[-1], partial, arrived, whole=False)

    def entries(self, path: Path) -> Deferred[IEntries]:
        return self._perform(self._entries, (Operation.LIST, path))

    def _entries(self, names: Names) -> IEntries:
        given_up = None if self._policy.read_only else self._now() - arrivals.GIVEN_UP
        return FolderEntries(self._open_folder(names), self._threads, self._usage, given_up)

    def read(self, path: Path) -> Deferred[ISource]:
        return self._perform(self._read, (Operation.READ, path))

    def _read(self, names: Names) -> ISource:
        if not names:
            raise IsAFolder("Is a folder")
        with self._folder(names[:-1]) as folder:
            descriptor = os.open(names[-1], walk.READ, dir_fd=folder)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsAFolder("Is a folder")
            if not stat.S_ISREG(found.st_mode):
                raise Denied("Not a regular file")
            # The descriptor was opened without waiting, for a FIFO's sake; a file is read by waiting.
            os.set_blocking(descriptor, True)
            return FileSource(descriptor, found.st_size, os.pread(descriptor, HEAD, 0))
        except BaseException:
            os.close(descriptor)
            raise

    def room(self) -> Deferred[int | None]:
        return self._perform(self._room, (Operation.ROOM, ()))

    def _room(self, names: Names) -> int | None:
        self._usage.count()
        with self._folder(names) as folder:
            disk = os.fstatvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        left = self._usage.left
        return free if left is None else min(free, left)

    # Changing.

    def write(self, path: Path, intent: Intent, offset: int, expected: int | None) -> Deferred[ISink]:
        operation = Operation.APPEND if intent is Intent.APPEND else Operation.STORE
        return self._perform(lambda names: self._write(names, intent, offset, expected), (operation, path))

    def _write(self, names: Names, intent: Intent, offset: int, expected: int | None) -> ISink:
        if expected is not None:
            room = self._room(())
            if room is not None and expected - offset > room:
                raise NoRoom("No space left")
        folder, name = self._open_folder(names[:-1]), names[-1]
        try:
            if self._visible:
                end = None if intent is Intent.APPEND else offset
                arrival = arrivals.in_sight(folder, name, end, self._usage)
            elif intent is Intent.APPEND:
                arrival = arrivals.append(folder, name, self._usage)
            else:
                arrival = arrivals.store(folder, name, offset, self._usage)
        except BaseException:
            os.close(folder)
            raise
        return FileSink(arrival, self._threads, self._commits, self._durable)

    def make_folder(self, path: Path) -> Deferred[None]:
        return self._perform(self._make_folder, (Operation.MAKE_FOLDER, path))

    def _make_folder(self, names: Names) -> None:
        with self._folder(names[:-1]) as folder:
            os.mkdir(names[-1], walk.FOLDER_MODE, dir_fd=folder)
            self._settled(folder)

    def remove_folder(self, path: Path) -> Deferred[None]:
        return self._perform(self._remove_folder, (Operation.REMOVE_FOLDER, path))

    def _remove_folder(self, names: Names) -> None:
        with self._folder(names[:-1]) as folder:
            try:
                os.rmdir(names[-1], dir_fd=folder)
            except OSError:
                self._drop_partials(names)
                os.rmdir(names[-1], dir_fd=folder)
            self._settled(folder)

    def _drop_partials(self, names: Names) -> None:
        """A folder that shows nothing counts as empty: uploads to it that were cut go with it."""
        with self._folder(names) as folder:
            inside = [os.fsencode(name) for name in os.listdir(folder)]
            if not all(map(hidden, inside)):
                raise FolderNotEmpty("Folder not empty")
            for name in inside:
                arrivals.drop(folder, name, self._usage)

    def remove(self, path: Path) -> Deferred[None]:
        return self._perform(self._remove, (Operation.REMOVE, path))

    def _remove(self, names: Names) -> None:
        name = names[-1]
        with self._folder(names[:-1]) as folder:
            dropped = arrivals.drop(folder, arrivals.hidden_name(name), self._usage)
            with self._usage.changing:
                found = walk.status(folder, name)
                if found is None:
                    if not dropped:
                        raise NoSuchFile("No such file or folder")
                else:
                    if stat.S_ISDIR(found.st_mode):
                        raise IsAFolder("Is a folder")
                    os.unlink(name, dir_fd=folder)
                    self._usage.forget(found)
            self._settled(folder)

    def rename(self, old: Path, new: Path) -> Deferred[None]:
        return self._perform(self._rename, (Operation.RENAME_FROM, old), (Operation.RENAME_TO, new))

    def _rename(self, old: Names, new: Names) -> None:
        """As rename(2): a file takes the place of a file in one step; a folder never of anything."""
        with self._folder(old[:-1]) as source, self._folder(new[:-1]) as target, self._usage.changing:
            found = walk.status(source, old[-1])
            if found is None:
                raise NoSuchFile("No such file or folder")
            there = walk.status(target, new[-1])
            if there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
                return
            if there is not None and (stat.S_ISDIR(there.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise AlreadyThere("Already there")
            os.rename(old[-1], new[-1], src_dir_fd=source, dst_dir_fd=target)
            self._usage.forget(there)
            # The name has a whole file now; an upload to it that was cut before is overtaken.
            arrivals.drop(target, arrivals.hidden_name(new[-1]), self._usage)
            self._settled(target)
            self._settled(source)

    def set_modified(self, path: Path, modified: float) -> Deferred[None]:
        return self._perform(
            lambda names: self._set_modified(names, modified), (Operation.SET_MODIFIED, path)
        )

    def _set_modified(self, names: Names, modified: float) -> None:
        with self._folder(names[:-1]) as folder:
            times = (int(modified * 10**9),) * 2
            os.utime(names[-1], ns=(times[0], times[1]), dir_fd=folder, follow_symlinks=False)
