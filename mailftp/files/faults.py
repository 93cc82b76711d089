"""What the operating system said, in the words of mailftp.files.home."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mailftp.files.home import (
    AlreadyThere,
    Denied,
    FileFault,
    FolderNotEmpty,
    IsAFolder,
    NoRoom,
    NoSuchFile,
    NotAFolder,
)

_FAULTS: dict[int, tuple[type[FileFault], str]] = {
    errno.ENOENT: (NoSuchFile, "No such file or folder"),
    errno.ENOTDIR: (NotAFolder, "Not a folder"),
    errno.EISDIR: (IsAFolder, "Is a folder"),
    errno.EEXIST: (AlreadyThere, "Already there"),
    errno.ENOTEMPTY: (FolderNotEmpty, "Folder not empty"),
    # O_NOFOLLOW met a symbolic link.
    errno.ELOOP: (Denied, "Links are not followed"),
    errno.EACCES: (Denied, "Permission denied"),
    errno.EPERM: (Denied, "Permission denied"),
    errno.EROFS: (Denied, "Read-only file system"),
    errno.ENAMETOOLONG: (Denied, "Name too long"),
    # A folder moved below itself.
    errno.EINVAL: (Denied, "Not possible"),
    errno.EXDEV: (Denied, "Not on the same file system"),
    # A FIFO or a socket opened without waiting.
    errno.ENXIO: (Denied, "Not a regular file"),
    errno.ENOSPC: (NoRoom, "No space left"),
    errno.EDQUOT: (NoRoom, "No space left"),
    errno.EFBIG: (NoRoom, "File too large"),
    errno.ENOTSUP: (Denied, "This file system does not keep that"),
}


def fault(error: OSError) -> FileFault:
    """The fault for an OSError; its text names no path, for the path would be the server's own."""
    kind, text = _FAULTS.get(error.errno or 0, (FileFault, "Input or output error"))
    return kind(text)


@contextmanager
def translated() -> Iterator[None]:
    """Turn every OSError raised inside into a FileFault."""
    try:
        yield
    except OSError as error:
        raise fault(error) from error
