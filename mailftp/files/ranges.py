"""Octets from one file to another."""

from __future__ import annotations

import errno
import os

_BLOCK = 1 << 20
#: What copy_file_range says where it cannot: file systems of two kinds, or one that has no such thing.
_CANNOT = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


def copy_range(source: int, at: int, target: int, to: int, octets: int) -> int:
    """Copy as many octets as come at once; 0 at the end of `source`. Raises OSError."""
    try:
        # Shares the blocks where the file system can (XFS, btrfs), else copies in the kernel.
        return os.copy_file_range(source, target, octets, at, to)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return os.pwrite(target, os.pread(source, min(octets, _BLOCK), at), to)
