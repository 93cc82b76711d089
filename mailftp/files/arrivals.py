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
from mailftp.files.digests import Arriving
from mailftp.files.home import Busy, Denied, IsAFolder, NoSuchFile
from mailftp.files.policy import HIDDEN
from mailftp.files.ranges import copy_range
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
        usage.release_names(1)
        return True
    finally:
        os.close(descriptor)


def unlink(folder: int, name: bytes, usage: Usage) -> None:
    """Remove what is no folder. Raises OSError (ENOENT: it has gone since)."""
    with usage.changing:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        os.unlink(name, dir_fd=folder)
        usage.forget(found)


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
        "arriving",
        "descriptor",
        "exclusive",
        "folder",
        "mode",
        "name",
        "size",
        "tail",
        "usage",
    )

    def __init__(
        self, folder: int, name: bytes, hidden: bytes, descriptor: int, usage: Usage, keep_at: int
    ) -> None:
        self.name = name
        #: Permission bits of the file when it has its name; those of an older file of that name stay.
        self.mode = walk.FILE_MODE
        #: It does not take the place of another file.
        self.exclusive = False
        #: The digest that is taken on the way.
        self.arriving: Arriving | None = None
        #: A descriptor of the file whose end this one keeps, and where that begins; ours to close.
        self.tail: tuple[int, int] | None = None
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
        """Take room for octets that will be written; on whichever thread writes just now. Raises NoRoom."""
        self.usage.reserve(octets)
        self._taken += octets

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append. Raises OSError; `size` is what is on disk all the same."""
        self._begin()
        if self.arriving is not None:
            self.arriving.update(chunks)
        waiting = chunks
        while waiting:
            vector = list(islice(waiting, _VECTORS))
            done = os.pwritev(self.descriptor, vector, self.size)
            self.size += done
            self._written += done
            waiting = _rest(waiting, done)

    def _begin(self) -> None:
        if self._new:
            self._new = False
            if self.size > self._keep_at:
                os.ftruncate(self.descriptor, self._keep_at)
                self.usage.release(self.size - self._keep_at)
                self.size = self._keep_at
            if self._keep_at:
                # Its beginning came another time.
                self.arriving = None

    def take(self, source: int, offset: int, octets: int) -> int:
        """Append a part of another file; what came at once, 0 at its end. Raises OSError, NoRoom."""
        self._begin()
        self.usage.reserve(octets)
        done = 0
        try:
            done = copy_range(source, offset, self.descriptor, self.size, octets)
        finally:
            self.size += done
            self.usage.release(octets - done)
        return done

    def take_tail(self) -> None:
        """Append the end of the older file that is to stay."""
        tail, self.tail = self.tail, None
        if tail is not None:
            self.arriving = None
            source, offset = tail
            try:
                while done := self.take(source, offset, max(0, os.fstat(source).st_size - offset)):
                    offset += done
            finally:
                os.close(source)

    def publish(self) -> int:
        """Give it its name, in place of an older file; the size. Raises OSError."""
        self._begin()
        if self._hidden != self.name:
            with self.usage.changing:
                old = walk.status(self.folder, self.name)
                mode = self.mode if old is None else old.st_mode & 0o777
                if mode != walk.FILE_MODE:
                    os.fchmod(self.descriptor, mode)
                if self.exclusive:
                    # Fails where there is one; two uploads to one name may have begun side by side.
                    os.link(self._hidden, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
                    os.unlink(self._hidden, dir_fd=self.folder)
                else:
                    os.rename(self._hidden, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
                    self.usage.forget(old)
            kept = hidden_name(self.name)
            if kept != self._hidden:
                # An older upload to this name that was cut has been overtaken.
                drop(self.folder, kept, self.usage)
        if self.arriving is not None:
            self.arriving.done(os.fstat(self.descriptor))
        return self.size

    def discard(self) -> None:
        """Nothing is left of it. Idempotent. Raises OSError."""
        if self.descriptor >= 0:
            try:
                os.unlink(self._hidden, dir_fd=self.folder)
                self.usage.release(self.size)
                self.usage.release_names(1)
            finally:
                self.close()

    def keep(self) -> int:
        """Leave what came where it is looked for when it is continued; the size. Raises OSError."""
        if self._hidden == self.name:
            return self.size
        kept = hidden_name(self.name)
        if self.size == 0:
            os.unlink(self._hidden, dir_fd=self.folder)
            self.usage.release_names(1)
        elif kept != self._hidden:
            if walk.status(self.folder, kept) is None or drop(self.folder, kept, self.usage):
                os.rename(self._hidden, kept, src_dir_fd=self.folder, dst_dir_fd=self.folder)
            else:
                # The other upload to this name is still under way; there is one place only.
                os.unlink(self._hidden, dir_fd=self.folder)
                self.usage.release(self.size)
                self.usage.release_names(1)
                self.size = 0
        return self.size

    def close(self) -> None:
        """Give up the lock, and the room that was taken but not written. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            os.close(self.folder)
            self.descriptor = self.folder = -1
            if self.tail is not None:
                os.close(self.tail[0])
                self.tail = None
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
        usage.reserve_name(replacing=size is not None)
        try:
            there = walk.status(folder, hidden) is not None
            descriptor = _lock(folder, hidden, walk.WRITE | os.O_CREAT)
            if descriptor is None:
                hidden += b"-" + secrets.token_hex(8).encode()
                descriptor, there = _lock(folder, hidden, walk.CREATE), False
                if descriptor is None:
                    raise Busy("Somebody is uploading to that name")
        except BaseException:
            usage.release_names(1)
            raise
        if there:
            # One that was cut, and counted.
            usage.release_names(1)
        return _made(folder, name, hidden, descriptor, usage, 0)
    if walk.status(folder, hidden) is not None:
        return _continued(folder, name, offset, usage)
    if size is None or size < offset:
        raise NoSuchFile("Less than that has arrived")
    return _copied(folder, name, offset, usage)


def replace(folder: int, name: bytes, start: int, stop: int, usage: Usage) -> Arrival:
    """Begin an upload of the octets from `start` up to `stop`; all others of the file stay (RANG).
    One that was cut is continued instead, where there is one."""
    size = _target(folder, name)
    if size is None or walk.status(folder, hidden_name(name)) is not None:
        return store(folder, name, start, usage)
    if size < start:
        raise NoSuchFile("Less than that has arrived")
    arrival = _copied(folder, name, start, usage)
    if size > stop:
        try:
            arrival.tail = os.open(name, walk.READ, dir_fd=folder), stop
        except BaseException:
            arrival.discard()
            raise
    return arrival


def fresh(folder: int, name: bytes, usage: Usage) -> Arrival:
    """Begin a whole new file."""
    return store(folder, name, 0, usage)


def after(folder: int, name: bytes, usage: Usage) -> Arrival:
    """Begin a file that starts with what is in the one of that name, if there is any (COMB). An upload to
    it that was cut is overtaken."""
    size = _target(folder, name)
    if size is None:
        return store(folder, name, 0, usage)
    drop(folder, hidden_name(name), usage)
    return _copied(folder, name, size, usage)


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
    there = walk.status(folder, name) is not None
    if not there:
        usage.reserve_name()
    try:
        descriptor = os.open(name, walk.WRITE | os.O_CREAT, walk.FILE_MODE, dir_fd=folder)
    except BaseException:
        if not there:
            usage.release_names(1)
        raise
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
        usage.reserve_name(replacing=True)
        try:
            with open(os.open(name, walk.READ, dir_fd=folder), "rb", buffering=0) as source:
                descriptor = _copy(source.fileno(), folder, hidden, octets)
        except BaseException:
            usage.release_names(1)
            raise
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
            step = copy_range(source, done, descriptor, done, min(octets - done, _COPY))
            if step == 0:
                raise NoSuchFile("Less than that has arrived")
            done += step
        return descriptor
    except BaseException:
        os.unlink(hidden, dir_fd=folder)
        os.close(descriptor)
        raise
