"""How much of its quota a home uses: counted once, then kept exactly by every path that writes."""

from __future__ import annotations

import os
import stat
from threading import Lock

from mailftp.files import walk
from mailftp.files.home import NoRoom

#: Folders within each other that a count goes down; deeper ones cannot be made through us.
_DEEPEST = 200


class Usage:
    """Octets in the regular files of a home, uploads under way included, and names: files, folders, links.

    One object for all sessions of an account, so that uploads side by side share one count. `reserve` and
    `release` may be called on any thread and never wait for the disk. Without a quota nothing is counted.
    """

    def __init__(self, root: os.PathLike[str], quota: int | None, names: int | None = None) -> None:
        """`quota` in octets; `names` is how many of them there may be."""
        self.quota = quota
        self.names = names
        self._root = root
        self._used = self._named = 0
        self._counted = quota is None and names is None
        self._lock = Lock()
        self._counting = Lock()
        #: Held while a file's size is looked at and its name taken away, so that no two threads give
        #: back the same octets.
        self.changing = Lock()

    def count(self) -> None:
        """Walk the home, the first time; on a file thread, before anything is reserved or released."""
        if self._counted:
            return
        with self._counting:
            if not self._counted:
                used, named = _below(self._root)
                with self._lock:
                    self._used += used
                    self._named += named
                    self._counted = True

    def reserve(self, octets: int) -> None:
        """Take room before it is written. Raises NoRoom, and then nothing is taken."""
        if self.quota is None:
            return
        with self._lock:
            if octets > 0 and self._used + octets > self.quota:
                raise NoRoom("Quota exceeded")
            self._used += octets

    def release(self, octets: int) -> None:
        if self.quota is not None:
            with self._lock:
                self._used -= octets

    def reserve_name(self, replacing: bool = False) -> None:
        """One file, folder or link more. Raises NoRoom, and then it is not counted. One that will take the
        place of another is let in: there are two of them only while it arrives."""
        if self.names is None:
            return
        with self._lock:
            if self._named >= self.names and not replacing:
                raise NoRoom(f"No more than {self.names} files and folders")
            self._named += 1

    def release_names(self, number: int) -> None:
        if self.names is not None:
            with self._lock:
                self._named -= number

    def forget(self, gone: os.stat_result | None) -> None:
        """Give back what a file held whose name was taken away; `changing` is held."""
        if gone is not None:
            self.release_names(1)
            if stat.S_ISREG(gone.st_mode) and gone.st_nlink == 1:
                self.release(gone.st_size)

    @property
    def left(self) -> int | None:
        """Octets that may still be stored; None without a quota."""
        if self.quota is None:
            return None
        with self._lock:
            return max(0, self.quota - self._used)


def _below(root: os.PathLike[str]) -> tuple[int, int]:
    """The sizes of all regular files below a folder, and how many names there are; links are not followed."""
    try:
        with walk.folder(root, ()) as here:
            return _inside(here, 0)
    except FileNotFoundError:
        return 0, 0


def _inside(here: int, depth: int) -> tuple[int, int]:
    octets = names = 0
    for name in os.listdir(here):
        found = walk.status(here, os.fsencode(name))
        if found is None:
            continue
        names += 1
        if stat.S_ISREG(found.st_mode):
            octets += found.st_size
        elif stat.S_ISDIR(found.st_mode) and depth < _DEEPEST:
            try:
                below = os.open(name, walk.FOLDER, dir_fd=here)
            except OSError:
                # It has gone since, or nobody may read it: nothing in it is ours to count.
                continue
            try:
                more = _inside(below, depth + 1)
            finally:
                os.close(below)
            octets, names = octets + more[0], names + more[1]
    return octets, names
