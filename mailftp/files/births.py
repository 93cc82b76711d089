"""When a file was made: what MFCT set, or what the file system knows.

Linux lets nobody set a file's birth, so MFCT keeps its time in an extended attribute, which goes where the
file goes. os.stat does not tell the birth before Python 3.15; statx(2) does.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable

from mailftp.files import walk

_ATTRIBUTE = b"user.mailftp.created"
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
#: The size of struct statx, and where its mask and its birth stand.
_SIZE, _BIRTH = 256, 80


def created(at: int, name: bytes) -> float | None:
    """Seconds since the epoch; None where nobody knows."""
    try:
        descriptor = os.open(name, walk.READ, dir_fd=at)
    except OSError:
        # A link, or a file that may not be read.
        return _birth(at, name)
    try:
        told = os.getxattr(descriptor, _ATTRIBUTE)
    except OSError:
        return _birth(at, name)
    finally:
        os.close(descriptor)
    return float(told) if re.fullmatch(rb"-?[0-9]{1,12}", told) else _birth(at, name)


def set_created(at: int, name: bytes, moment: float) -> None:
    """Raises OSError (ENOTSUP where the file system has no such attributes)."""
    descriptor = os.open(name, walk.READ, dir_fd=at)
    try:
        os.setxattr(descriptor, _ATTRIBUTE, b"%d" % int(moment))
    finally:
        os.close(descriptor)


def _birth(at: int, name: bytes) -> float | None:
    if _statx is None:
        return None
    found = ctypes.create_string_buffer(_SIZE)
    if _statx(at, name, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found) != 0:
        return None
    (mask,) = struct.unpack_from("=I", found.raw, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", found.raw, _BIRTH)
    return float(seconds) + nanoseconds / 1e9 if mask & _STATX_BTIME else None


def _find_statx() -> Callable[..., int] | None:
    """statx(2); None where the C library has none (musl before 1.2.5)."""
    try:
        function = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found


_statx = _find_statx()
