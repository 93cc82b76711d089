"""Bringing many files to the disk in one call."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable


def _find_syncfs() -> Callable[[int], int] | None:
    """syncfs(2), which os does not have; None where the C library has none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int]
    function.restype = ctypes.c_int
    found: Callable[[int], int] = function
    return found


_syncfs = _find_syncfs()

#: Whether `sync_system` does anything.
CAN_SYNC_SYSTEM = _syncfs is not None


def sync_system(descriptor: int) -> None:
    """Write the whole file system of a descriptor to the disk. Raises OSError (Linux 5.8 and later)."""
    if _syncfs is not None and _syncfs(descriptor) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
