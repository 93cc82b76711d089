"""Walking a path without leaving the home.

Each step opens one name relative to the descriptor of the folder before it and refuses a symbolic link
(O_NOFOLLOW), so neither a link nor one that is swapped in while we walk (the race of servers that call
realpath first) leads anywhere. ".." is never opened: mailftp.files.policy has refused it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: opening a FIFO would wait for its other end.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: A file that did not exist a moment ago, for its owner alone.
CREATE = WRITE | os.O_CREAT | os.O_EXCL

FILE_MODE = 0o600
FOLDER_MODE = 0o700
#: What `ftp.umask` takes bits from.
WIDEST_FILE, WIDEST_FOLDER = 0o666, 0o777


def open_folder(root: os.PathLike[str], names: tuple[bytes, ...]) -> int:
    """A descriptor of the folder `names` below `root`. Raises OSError (ELOOP or ENOTDIR at a link).

    The root itself is the operator's: links in its path are followed.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            below = os.open(name, FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


@contextmanager
def folder(root: os.PathLike[str], names: tuple[bytes, ...]) -> Iterator[int]:
    """The same, closed at the end."""
    descriptor = open_folder(root, names)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status(at: int, name: bytes) -> os.stat_result | None:
    """What `name` in the folder `at` is, a link itself included; None when there is nothing."""
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def make_folder(at: int, name: bytes, mode: int) -> None:
    """Make a folder with just these permission bits, whatever the process's umask is. Raises OSError."""
    os.mkdir(name, FOLDER_MODE, dir_fd=at)
    if mode != FOLDER_MODE:
        change_mode(at, name, mode)


def change_mode(at: int, name: bytes, mode: int) -> None:
    """chmod that follows no link. Raises OSError (ELOOP at a link)."""
    # O_PATH opens what nobody may read, and names it for good.
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        if stat.S_ISLNK(os.fstat(found).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        os.chmod(f"/proc/self/fd/{found}", mode)
    finally:
        os.close(found)


def make_root(root: os.PathLike[str]) -> None:
    """Make a home's root and what is missing above it, for the server's user alone."""
    path = os.fspath(root)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder_path in reversed(missing):
        try:
            os.mkdir(folder_path, FOLDER_MODE)
        except FileExistsError:
            # Another session of the account was first.
            continue
