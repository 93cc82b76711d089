"""Opening a file without waiting for a disk, so that the reactor's thread may do it.

A trip to a thread and back is most of what a small file costs: with eight sessions at work each of the
thread's system calls gives the interpreter away and has to win it back. openat2(2) with RESOLVE_CACHED
(Linux 5.12) opens what the kernel has in memory and says EAGAIN to everything else, as preadv2's RWF_NOWAIT
does for the octets.

Nothing here says why it could not: whoever gets None opens the file on a thread, where it may take its time
and say what is wrong.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Callable
from typing import Any

from mailftp.files import walk

_OPENAT2 = 437
_AT_FDCWD = -100
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _CACHED = 0x01, 0x02, 0x04, 0x08, 0x20
#: struct open_how: flags, mode, resolve.
_ROOT = struct.pack("=QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _CACHED)
#: As `walk` goes: below the root and through no link. Nor into another file system,
#: which may be on a network.
_FILE = struct.pack("=QQQ", walk.READ, 0, _CACHED | _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)
#: File systems whose open(2) and fstat(2) ask no other machine (statfs(2)'s f_type): ext2 to ext4, XFS,
#: Btrfs, tmpfs, F2FS, ZFS, bcachefs, overlayfs.
_LOCAL = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E, 0x794C7630}
)


def is_local(descriptor: int) -> bool:
    """Whether a file system is this machine's own; may wait."""
    if _fstatfs is None:
        return False
    found = ctypes.create_string_buffer(256)
    if _fstatfs(descriptor, found) != 0:
        return False
    (kind,) = struct.unpack_from("=q", found.raw)
    return kind & 0xFFFFFFFF in _LOCAL


def open_file(root: bytes, names: tuple[bytes, ...], most: int) -> tuple[int, int, bytes] | None:
    """A regular file below `root`: its descriptor, its size, and its first octets up to `most`; None when
    these cannot be had at once."""
    descriptor = _open(root, names)
    if descriptor is None:
        return None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            head = bytearray(min(most, found.st_size))
            if os.preadv(descriptor, [head], 0, os.RWF_NOWAIT) == len(head):
                # It was opened without waiting, for a FIFO's sake; a file is read by waiting.
                os.set_blocking(descriptor, True)
                return descriptor, found.st_size, bytes(head)
    except OSError:
        # Not in memory (EAGAIN), or the file system cannot say (EOPNOTSUPP), or the disk has a fault.
        os.close(descriptor)
        return None
    os.close(descriptor)
    return None


def _open(root: bytes, names: tuple[bytes, ...]) -> int | None:
    """A descriptor of what `names` lead to, for reading; it may be anything that is no link."""
    if _syscall is None:
        return None
    above = _syscall(_OPENAT2, _AT_FDCWD, root, _ROOT, len(_ROOT))
    if above < 0:
        return None
    try:
        found = _syscall(_OPENAT2, above, b"/".join(names), _FILE, len(_FILE))
    finally:
        os.close(above)
    return None if found < 0 else found


def _find(name: str, *arguments: Any) -> Callable[..., int] | None:
    """A function of the C library; None where it has none of that name."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = list(arguments)
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found


_fstatfs = _find("fstatfs", ctypes.c_int, ctypes.c_char_p)
#: The C library has no openat2; only 64-bit Linux has it under this number everywhere.
_syscall = (
    _find("syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    if os.uname().sysname == "Linux" and struct.calcsize("P") == 8
    else None
)
