"""A file that is arriving, as the disk sees it: a hidden file, locked, that gets its name when it is whole.

The hidden name is made from the file's own (`.mailftp-upload-` and a hash, for a name may be too long to
add to), in the same folder: it is found again after a restart, moves when the folder is moved, and getting
its name is one rename. Whoever writes holds a flock on it, which a killed process gives up by itself.
A second upload to the same name at the same time gets a hidden name of its own.

Everything here may wait for the disk: it runs on file threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Sequence
from itertools import islice

from mailftp.files import walk
from mailftp.files.home import Busy, Denied, IsAFolder, NoSuchFile
from mailftp.files.policy import HIDDEN
from mailftp.files.usage import Usage

#: iovecs in one writev (IOV_MAX of Linux).
_VECTORS = 1024
_COPY = 1 << 26
#: Seconds after which an upload that was cut is not waited for any more.
GIVEN_UP = 7 * 86400.0
#: Somebody else may take the hidden name between our open and our lock; then we look again.
_TRIES = 5


def hidden_name(name: bytes) -> bytes:
    """Where an upload to `name` arrives."""
    return HIDDEN + hashlib.sha256(name).hexdigest()[:32].encode()


def arrived(folder: int, name: bytes, whole: bool) -> int | None:
    """Octets of an upload to `name` that was cut; None when there is none.

    One that is under way counts only while there is no whole file: it tells nothing about that one.
    """
    hidden = hidden_name(name)
    found = walk.status(folder, hidden)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    if whole:
        descriptor = _lock(folder, hidden)
        if descriptor is None:
            return None
        os.close(descriptor)
    return found.st_size


def drop(folder: int, hidden: bytes, usage: Usage, older_than: float | None = None) -> bool:
    """Remove a hidden file that nobody writes to; says whether it did."""
    descriptor = _lock(folder, hidden)
    if descriptor is None:
        return False
    try:
        found = os.fstat(descriptor)
        if older_than is not None and found.st_mtime >= older_than:
            return False
        os.unlink(hidden, dir_fd=folder)
        usage.release(found.st_size)
        return True
    finally:
        os.close(descriptor)


def _lock(folder: int, hidden: bytes, flags: int = walk.WRITE) -> int | None:
    """Open a hidden file and lock it; None when there is none or somebody else holds it."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(hidden, flags, walk.FILE_MODE, dir_fd=folder)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        mine, named = os.fstat(descriptor), walk.status(folder, hidden)
        if named is not None and (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino):
            return descriptor
        # It got its final name, or was removed, before we had the lock.
        os.close(descriptor)
    return None


class Arrival:
    """One upload's file. Of the three ways to end it, `publish`, `keep` and `close`, `close` comes last."""

    __slots__ = (
        "_hidden",
        "_keep_at",
        "_new",
        "_taken",
        "_written",
        "descriptor",
        "folder",
        "name",
        "size",
        "usage",
    )

    def __init__(
        self, folder: int, name: bytes, hidden: bytes, descriptor: int, usage: Usage, keep_at: int
    ) -> None:
        self.name = name
        self.descriptor = descriptor
        self.usage = usage
        self.folder = folder
        self._hidden = hidden
        self._keep_at = keep_at
        #: Octets on disk that `usage` counts.
        self.size = os.fstat(descriptor).st_size
        #: Octets taken of the quota (counted on the reactor thread) and written (on a file thread).
        self._taken = self._written = 0
        #: Nothing was written yet: what is beyond `keep_at` is cut off by the first write only, so that
        #: a client whose data connection never comes does not lose an upload that it could continue.
        self._new = True

    def reserve(self, octets: int) -> None:
        """Take room for octets that will be written; on the reactor thread. Raises NoRoom."""
        self.usage.reserve(octets)
        self._taken += octets

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append. Raises OSError; `size` is what is on disk all the same."""
        if self._new:
            self._new = False
            if self.size > self._keep_at:
                os.ftruncate(self.descriptor, self._keep_at)
                self.usage.release(self.size - self._keep_at)
                self.size = self._keep_at
        waiting: Sequence[bytes | memoryview] = chunks
        while waiting:
            vector = list(islice(waiting, _VECTORS))
            done = os.pwritev(self.descriptor, vector, self.size)
            self.size += done
            self._written += done
            waiting = _rest(waiting, done)

    def publish(self) -> int:
        """Give it its name, in place of an older file; the size. Raises OSError."""
        if self._hidden != self.name:
            with self.usage.changing:
                old = walk.status(self.folder, self.name)
                os.rename(self._hidden, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
                self.usage.forget(old)
            kept = hidden_name(self.name)
            if kept != self._hidden:
                # An older upload to this name that was cut has been overtaken.
                drop(self.folder, kept, self.usage)
        return self.size

    def keep(self) -> int:
        """Leave what came where it is looked for when it is continued; the size. Raises OSError."""
        if self._hidden == self.name:
            return self.size
        kept = hidden_name(self.name)
        if self.size == 0:
            os.unlink(self._hidden, dir_fd=self.folder)
        elif kept != self._hidden:
            if walk.status(self.folder, kept) is None or drop(self.folder, kept, self.usage):
                os.rename(self._hidden, kept, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            else:
                # The other upload to this name is still under way; there is one place only.
                os.unlink(self._hidden, dir_fd=self.folder)
                self.usage.release(self.size)
                self.size = 0
        return self.size

    def close(self) -> None:
        """Give up the lock, and the room that was taken but not written. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            os.close(self.folder)
            self.descriptor = self.folder = -1
            self.usage.release(self._taken - self._written)


def _rest(chunks: Sequence[bytes | memoryview], done: int) -> Sequence[bytes | memoryview]:
    """What of `chunks` is left when their first `done` octets are written."""
    for index, chunk in enumerate(chunks):
        if done < len(chunk):
            return [memoryview(chunk)[done:], *chunks[index + 1 :]]
        done -= len(chunk)
    return []


def store(folder: int, name: bytes, offset: int, usage: Usage) -> Arrival:
    """Begin an upload, or with an offset go on with one. Takes `folder` over when it succeeds.

    Raises IsAFolder, Denied (a link, a device), NoSuchFile (less than `offset` is there), Busy, NoRoom.
    """
    size = _target(folder, name)
    hidden = hidden_name(name)
    if offset == 0:
        descriptor = _lock(folder, hidden, walk.WRITE | os.O_CREAT)
        if descriptor is None:
            hidden += b"-" + secrets.token_hex(8).encode()
            descriptor = _lock(folder, hidden, walk.CREATE)
            if descriptor is None:
                raise Busy("Somebody is uploading to that name")
        return _made(folder, name, hidden, descriptor, usage, 0)
    if walk.status(folder, hidden) is not None:
        return _continued(folder, name, offset, usage)
    if size is None or size < offset:
        raise NoSuchFile("Less than that has arrived")
    return _copied(folder, name, offset, usage)


def append(folder: int, name: bytes, usage: Usage) -> Arrival:
    """Go on after what came of an upload that was cut, or else after what is in the file."""
    size = _target(folder, name)
    if walk.status(folder, hidden_name(name)) is not None:
        return _continued(folder, name, None, usage)
    if size is None:
        return store(folder, name, 0, usage)
    return _copied(folder, name, size, usage)


def in_sight(folder: int, name: bytes, offset: int | None, usage: Usage) -> Arrival:
    """An upload that is seen while it arrives (`ftp.visible_partials`); None as offset means the end."""
    size = _target(folder, name) or 0
    if offset is not None and offset > size:
        raise NoSuchFile("Less than that has arrived")
    descriptor = os.open(name, walk.WRITE | os.O_CREAT, walk.FILE_MODE, dir_fd=folder)
    return _made(folder, name, name, descriptor, usage, size if offset is None else offset)


def _made(folder: int, name: bytes, hidden: bytes, descriptor: int, usage: Usage, keep_at: int) -> Arrival:
    try:
        return Arrival(folder, name, hidden, descriptor, usage, keep_at)
    except BaseException:
        os.close(descriptor)
        raise


def _target(folder: int, name: bytes) -> int | None:
    """The size of the file that an upload will replace; None when there is none."""
    found = walk.status(folder, name)
    if found is None:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsAFolder("Is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise Denied("Not a regular file")
    return found.st_size


def _continued(folder: int, name: bytes, offset: int | None, usage: Usage) -> Arrival:
    hidden = hidden_name(name)
    descriptor = _lock(folder, hidden)
    if descriptor is None:
        raise Busy("Somebody is uploading to that name")
    arrival = _made(folder, name, hidden, descriptor, usage, 0)
    if offset is not None and offset > arrival.size:
        os.close(descriptor)
        raise NoSuchFile("Less than that has arrived")
    arrival._keep_at = arrival.size if offset is None else offset
    return arrival


def _copied(folder: int, name: bytes, octets: int, usage: Usage) -> Arrival:
    """A hidden copy of the first octets of a file: the file itself stays whole until the end."""
    hidden = hidden_name(name)
    usage.reserve(octets)
    try:
        with open(os.open(name, walk.READ, dir_fd=folder), "rb", buffering=0) as source:
            descriptor = _copy(source.fileno(), folder, hidden, octets)
    except BaseException:
        usage.release(octets)
        raise
    return _made(folder, name, hidden, descriptor, usage, octets)


def _copy(source: int, folder: int, hidden: bytes, octets: int) -> int:
    try:
        descriptor = _lock(folder, hidden, walk.CREATE)
    except FileExistsError:
        descriptor = None
    if descriptor is None:
        raise Busy("Somebody is uploading to that name")
    try:
        done = 0
        while done < octets:
            # Shares the blocks where the file system can (XFS, btrfs), else copies in the kernel.
            step = os.copy_file_range(source, descriptor, min(octets - done, _COPY), done, done)
            if step == 0:
                raise NoSuchFile("Less than that has arrived")
            done += step
        return descriptor
    except BaseException:
        os.unlink(hidden, dir_fd=folder)
        os.close(descriptor)
        raise
