"""A folder of this machine as a home: every operation asks the policy, then walks to where it happens."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from mailftp.files import arrivals, births, cached, changes, trees, walk
from mailftp.files.commits import Commits
from mailftp.files.copies import Copying
from mailftp.files.digests import Arriving, Digests, Reading
from mailftp.files.faults import translated
from mailftp.files.ground import Ground, Grounds, Place
from mailftp.files.home import (
    AlreadyThere,
    Denied,
    Digest,
    Entry,
    Facts,
    FileFault,
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
from mailftp.files.policy import Names, Operation, Permission, Policy, hidden
from mailftp.files.remembered import Remembered
from mailftp.files.sink import FileSink
from mailftp.files.threads import Runner
from mailftp.files.trees import Walking
from mailftp.files.usage import Usage

T = TypeVar("T")

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

    `usage`, `commits`, `digests` and `remembered` are shared with the other homes and sessions that they
    concern. With `create` the folder is made when it is first used. `mounts` are folders from elsewhere that
    show in the root. `now` gives the time of day in seconds.
    """

    def __init__(
        self,
        root: FilePath,
        threads: Runner,
        commits: Commits,
        usage: Usage,
        *,
        policy: Policy,
        digests: Digests | None = None,
        remembered: Remembered | None = None,
        mounts: Mapping[bytes, Ground] | None = None,
        durable: bool = True,
        visible_partials: bool = False,
        create: bool = True,
        umask: int = 0o077,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._grounds = Grounds(Ground(root, usage, create), mounts or {})
        self._threads = threads
        self._commits = commits
        self._policy = policy
        self._digests = digests or Digests()
        self._remembered = remembered
        self._durable = durable
        self._visible = visible_partials
        self._umask = umask
        self._now = now
        #: Roots on file systems of this machine.
        self._local: set[FilePath] = set()

    def _perform(self, work: Callable[..., T], *targets: tuple[Operation, Path]) -> Deferred[T]:
        """The one way to a path: the policy's answer for each target, then `work` with the names."""
        return self._threads.run(lambda: self._checked(work, targets))

    def _checked(self, work: Callable[..., T], targets: tuple[tuple[Operation, Path], ...]) -> T:
        names = [self._policy.check(operation, path) for operation, path in targets]
        with translated():
            for (operation, _), each in zip(targets, names, strict=True):
                if operation.changes:
                    self._grounds.of(each)[0].usage.count()
            return work(*names)

    def _settled(self, folder: int) -> None:
        """What was done in a folder survives a power cut, as the answer to it promises."""
        if self._durable:
            os.fsync(folder)

    # Looking.

    def entry(self, path: Path, created: bool = False) -> Deferred[Entry]:
        return self._perform(lambda names: self._entry(names, path, created), (Operation.STAT, path))

    def _entry(self, names: Names, path: Path, created: bool) -> Entry:
        if not self._grounds.of(names)[1]:
            with self._grounds.folder(names) as folder:
                perm = self._policy.perm(path, True)
                born = births.created(folder, b".") if created else None
                return entry_of(names[-1] if names else b"", os.fstat(folder), created=born, perm=perm)
        with self._grounds.at(names) as place:
            found = walk.status(place.folder, place.name)
            arrived = None
            # Where somebody may only read, or only write, an upload that was cut is somebody else's.
            own = Permission.WRITE | Permission.LIST
            if own in self._policy.permissions(path[:-1]) and (found is None or stat.S_ISREG(found.st_mode)):
                arrived = arrivals.arrived(place.folder, place.name, found is not None)
            if found is not None:
                perm = self._policy.perm(path, stat.S_ISDIR(found.st_mode))
                born = births.created(place.folder, place.name) if created else None
                return entry_of(names[-1], found, arrived, created=born, perm=perm)
            if arrived is None:
                raise NoSuchFile("No such file or folder")
            partial = os.stat(arrivals.hidden_name(place.name), dir_fd=place.folder, follow_symlinks=False)
            return entry_of(names[-1], partial, arrived, whole=False)

    def entries(self, path: Path, created: bool = False) -> Deferred[IEntries]:
        return self._perform(lambda names: self._entries(names, path, created), (Operation.LIST, path))

    def _entries(self, names: Names, path: Path, created: bool) -> IEntries:
        given_up = None
        if Permission.WRITE in self._policy.permissions(path):
            given_up = self._now() - arrivals.GIVEN_UP
        return FolderEntries(
            self._grounds.open_folder(names),
            path,
            self._threads,
            self._grounds.of(names)[0].usage,
            self._policy,
            given_up,
            mounts=self._grounds.shown_in(names),
            created=created,
            remembered=self._remembered,
        )

    def read(self, path: Path) -> Deferred[ISource]:
        try:
            # An application that is asked may wait, and not on the reactor's thread.
            at_once = None if self._policy.asked else self._read_cached(path)
        except FileFault as refused:
            return fail(refused)
        return self._perform(self._read, (Operation.READ, path)) if at_once is None else succeed(at_once)

    def _read_cached(self, path: Path) -> ISource | None:
        """What the kernel has in memory: nothing here waits. Raises FileFault, as the policy says."""
        ground, names = self._grounds.of(self._policy.check(Operation.READ, path))
        if not names or ground.root not in self._local:
            return None
        opened = cached.open_file(os.fsencode(ground.root), names, HEAD)
        return None if opened is None else FileSource(*opened)

    def _read(self, names: Names) -> ISource:
        descriptor = self._open_file(names)
        try:
            ground = self._grounds.of(names)[0]
            if ground.root not in self._local and cached.is_local(descriptor):
                self._local.add(ground.root)
            return FileSource(descriptor, os.fstat(descriptor).st_size, os.pread(descriptor, HEAD, 0))
        except BaseException:
            os.close(descriptor)
            raise

    def _open_file(self, names: Names) -> int:
        """A regular file, for reading."""
        with self._grounds.at(names) as place:
            descriptor = os.open(place.name, walk.READ, dir_fd=place.folder)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsAFolder("Is a folder")
            if not stat.S_ISREG(found.st_mode):
                raise Denied("Not a regular file")
            # The descriptor was opened without waiting, for a FIFO's sake; a file is read by waiting.
            os.set_blocking(descriptor, True)
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise

    def room(self) -> Deferred[int | None]:
        return self._perform(self._room, (Operation.ROOM, ()))

    def _room(self, names: Names) -> int | None:
        usage = self._grounds.of(names)[0].usage
        usage.count()
        with self._grounds.folder(names) as folder:
            disk = os.fstatvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        return free if usage.left is None else min(free, usage.left)

    def digest(self, path: Path, algorithm: str, start: int, end: int | None) -> Deferred[Digest]:
        opened = self._perform(
            lambda names: Reading(
                self._open_file(names),
                algorithm,
                start,
                end,
                threads=self._threads,
                digests=self._digests,
                now=self._now,
            ),
            (Operation.READ, path),
        )
        return opened.addCallback(lambda reading: Deferred.fromCoroutine(reading.run()))

    def measure(self, path: Path) -> Deferred[int]:
        opened = self._perform(lambda names: self._measure(names, path), (Operation.MEASURE, path))
        return opened.addCallback(lambda walking: Deferred.fromCoroutine(walking.run()))

    def _measure(self, names: Names, path: Path) -> Walking:
        return Walking(trees.sizes(self._grounds.open_folder(names), path, self._policy.shows), self._threads)

    # Files.

    def set_umask(self, umask: int) -> None:
        self._umask = umask

    def write(
        self,
        path: Path,
        intent: Intent,
        offset: int,
        expected: int | None,
        until: int | None = None,
        digest: str | None = None,
    ) -> Deferred[ISink]:
        operation = Operation.APPEND if intent is Intent.APPEND else Operation.STORE
        return self._perform(
            lambda names: self._write(names, path, intent, offset, expected, until, digest),
            (operation, path),
        )

    def _write(
        self,
        names: Names,
        path: Path,
        intent: Intent,
        offset: int,
        expected: int | None,
        until: int | None,
        digest: str | None,
    ) -> ISink:
        if expected is not None:
            room = self._room(names[:-1])
            if room is not None and expected - offset > room:
                raise NoRoom("No space left")
        place = self._grounds.place(names)
        try:
            self._may_write(place, path, intent)
            if self._visible:
                end = None if intent is Intent.APPEND else offset
                arrival = arrivals.in_sight(place.folder, place.name, end, place.usage)
                self._digests.drop(os.fstat(arrival.descriptor))
            elif intent is Intent.APPEND:
                arrival = arrivals.append(place.folder, place.name, place.usage)
            elif until is not None:
                arrival = arrivals.replace(place.folder, place.name, offset, until, place.usage)
            else:
                arrival = arrivals.store(place.folder, place.name, offset, place.usage)
        except BaseException:
            os.close(place.folder)
            raise
        self._prepare(arrival, path, intent)
        if digest is not None:
            arrival.arriving = Arriving(self._digests, digest)
        return FileSink(arrival, self._threads, self._commits, self._durable)

    def _may_write(self, place: Place, path: Path, intent: Intent) -> None:
        """What the policy says depends on whether there is a file already. Raises Denied."""
        allowed = self._policy.permissions(path[:-1])
        if walk.status(place.folder, place.name) is None:
            if Permission.WRITE not in allowed:
                raise Denied("Permission denied")
        elif intent is Intent.STORE and Permission.OVERWRITE not in allowed:
            raise Denied("There is a file of that name already")

    def _prepare(self, arrival: arrivals.Arrival, path: Path, intent: Intent) -> None:
        arrival.mode = walk.WIDEST_FILE & ~self._umask
        arrival.exclusive = intent is Intent.STORE and not self._policy.may_overwrite(path)

    def copy(self, old: Path, new: Path) -> Deferred[int]:
        begun = self._perform(
            lambda source, target: self._gather([source], target, new, Intent.STORE),
            (Operation.READ, old),
            (Operation.STORE, new),
        )
        return begun.addCallback(lambda copying: Deferred.fromCoroutine(copying.run()))

    def combine(self, whole: Path, parts: tuple[Path, ...]) -> Deferred[int]:
        needed = [(operation, part) for part in parts for operation in (Operation.READ, Operation.REMOVE)]
        begun = self._perform(
            lambda target, *names: self._gather(list(names[::2]), target, whole, Intent.APPEND),
            (Operation.APPEND, whole),
            *needed,
        )

        def remove_parts() -> None:
            for part in parts:
                self._checked(self._remove, ((Operation.REMOVE, part),))

        return begun.addCallback(lambda copying: Deferred.fromCoroutine(copying.run(remove_parts)))

    def _gather(
        self,
        sources: list[Names],
        target: Names,
        path: Path,
        intent: Intent,
    ) -> Copying:
        begin = arrivals.after if intent is Intent.APPEND else arrivals.fresh
        if target in sources:
            raise Denied("A file cannot be copied to itself")
        descriptors: list[int] = []
        try:
            for source in sources:
                descriptors.append(self._open_file(source))
            place = self._grounds.place(target)
            try:
                self._may_write(place, path, intent)
                arrival = begin(place.folder, place.name, place.usage)
            except BaseException:
                os.close(place.folder)
                raise
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        self._prepare(arrival, path, intent)
        return Copying(descriptors, arrival, self._threads, self._commits, self._durable)

    def remove(self, path: Path) -> Deferred[None]:
        return self._perform(self._remove, (Operation.REMOVE, path))

    def _remove(self, names: Names) -> None:
        with self._grounds.at(names) as place:
            dropped = arrivals.drop(place.folder, arrivals.hidden_name(place.name), place.usage)
            found = walk.status(place.folder, place.name)
            if found is None:
                if not dropped:
                    raise NoSuchFile("No such file or folder")
            else:
                if stat.S_ISDIR(found.st_mode):
                    raise IsAFolder("Is a folder")
                arrivals.unlink(place.folder, place.name, place.usage)
            self._settled(place.folder)

    def rename(self, old: Path, new: Path) -> Deferred[None]:
        return self._perform(
            lambda source, target: self._rename(source, target, self._policy.may_overwrite(new)),
            (Operation.RENAME_FROM, old),
            (Operation.RENAME_TO, new),
        )

    def _rename(self, old: Names, new: Names, overwrite: bool) -> None:
        """As rename(2): a file takes the place of a file in one step; a folder never of anything."""
        with self._grounds.at(old) as source, self._grounds.at(new) as target, source.usage.changing:
            if source.usage is not target.usage:
                raise Denied("Not between a shared folder and another one: copy it")
            found = walk.status(source.folder, source.name)
            if found is None:
                raise NoSuchFile("No such file or folder")
            there = walk.status(target.folder, target.name)
            if there is not None and (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino):
                return
            if there is not None and (stat.S_ISDIR(there.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise AlreadyThere("Already there")
            if there is not None and not overwrite:
                raise Denied("There is a file of that name already")
            os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
            target.usage.forget(there)
            # The name has a whole file now; an upload to it that was cut before is overtaken.
            arrivals.drop(target.folder, arrivals.hidden_name(target.name), target.usage)
            self._settled(target.folder)
            self._settled(source.folder)

    # Folders, links and what is known of a name.

    def make_folder(self, path: Path) -> Deferred[None]:
        return self._perform(self._make_folder, (Operation.MAKE_FOLDER, path))

    def _make_folder(self, names: Names) -> None:
        with self._grounds.at(names) as place:
            place.usage.reserve_name()
            try:
                walk.make_folder(place.folder, place.name, walk.WIDEST_FOLDER & ~self._umask)
            except OSError:
                place.usage.release_names(1)
                raise
            self._settled(place.folder)

    def make_folders(self, path: Path) -> Deferred[None]:
        every = [(Operation.MAKE_FOLDER, path[:depth]) for depth in range(1, len(path) + 1)]
        return self._perform(self._make_folders, *every)

    def _make_folders(self, *every: Names) -> None:
        for names in every:
            try:
                self._make_folder(names)
            except (FileExistsError, IsAFolder):
                continue
        # What is there may be a file.
        os.close(self._grounds.open_folder(every[-1] if every else ()))

    def remove_folder(self, path: Path) -> Deferred[None]:
        return self._perform(self._remove_folder, (Operation.REMOVE_FOLDER, path))

    def _remove_folder(self, names: Names) -> None:
        with self._grounds.at(names) as place:
            try:
                os.rmdir(place.name, dir_fd=place.folder)
            except OSError:
                self._drop_partials(names, place.usage)
                os.rmdir(place.name, dir_fd=place.folder)
            place.usage.release_names(1)
            self._settled(place.folder)

    def _drop_partials(self, names: Names, usage: Usage) -> None:
        """A folder that shows nothing counts as empty: uploads to it that were cut go with it."""
        with self._grounds.folder(names) as folder:
            inside = [os.fsencode(name) for name in os.listdir(folder)]
            if not all(map(hidden, inside)):
                raise FolderNotEmpty("Folder not empty")
            for name in inside:
                arrivals.drop(folder, name, usage)

    def remove_tree(self, path: Path) -> Deferred[None]:
        begun = self._perform(lambda names: self._remove_tree(names, path), (Operation.REMOVE_TREE, path))
        return begun.addCallback(lambda walking: Deferred.fromCoroutine(walking.run())).addCallback(_nothing)

    def _remove_tree(self, names: Names, path: Path) -> Walking:
        place = self._grounds.place(names)
        return Walking(trees.removals(place.folder, path, self._policy, place.usage), self._threads)

    def make_link(self, path: Path, target: str) -> Deferred[None]:
        return self._perform(lambda names: self._make_link(names, target), (Operation.LINK, path))

    def _make_link(self, names: Names, target: str) -> None:
        with self._grounds.at(names) as place:
            place.usage.reserve_name()
            try:
                changes.make_link(place.folder, place.name, target)
            except BaseException:
                place.usage.release_names(1)
                raise
            self._settled(place.folder)

    def change(self, path: Path, facts: Facts) -> Deferred[None]:
        return self._perform(lambda names: self._change(names, facts), (Operation.CHANGE, path))

    def _change(self, names: Names, facts: Facts) -> None:
        with self._grounds.at(names) as place:
            changes.change(place.folder, place.name, facts)


def _nothing(_: object) -> None:
    """For whoever wants no number."""
