"""inotify(7): what changed in some folders, by name. Asked when somebody wants to know, never waited for.

The kernel puts an event in the queue before the call that made the change returns, so whoever reads the queue
has heard of every change that was complete by then. On file systems that others write to behind the kernel's
back (NFS and its like) nothing is watched.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

#: Octets of the queue that one read takes; its events are 16 octets and a name.
_QUEUE = 64 * 1024

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_ONLYDIR = 0x01000000
_WATCHED = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
    | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
)  # fmt: skip
_GONE = _DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED

#: statfs(2)'s f_type of ext2 to 4, XFS, btrfs, tmpfs, F2FS, ZFS, bcachefs and overlayfs: all writers come by
#: this kernel.
_OURS_ALONE = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E, 0x794C7630}
)


class Changes(NamedTuple):
    """What happened since the last time."""

    #: By watch: names that may look different, have come or have gone.
    names: dict[int, set[bytes]]
    #: Watches that are none any more.
    gone: set[int]
    #: Nobody knows: more happened than the kernel remembers.
    lost: bool


class Watches:
    """Folders that are watched; not for several threads at one time."""

    def __init__(self) -> None:
        self._queue = -1

    def add(self, folder: int) -> int | None:
        """Watch a folder, by its descriptor; None where that cannot be done."""
        if _libc is None or not _ours_alone(folder):
            return None
        if self._queue < 0:
            self._queue = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if self._queue < 0:
                # As many as this user may have (fs.inotify.max_user_instances).
                return None
        watch: int = _libc.inotify_add_watch(self._queue, b"/proc/self/fd/%d" % folder, _WATCHED)
        return None if watch < 0 else watch

    def remove(self, watch: int) -> None:
        if _libc is not None and self._queue >= 0:
            _libc.inotify_rm_watch(self._queue, watch)

    def changes(self) -> Changes:
        found = Changes({}, set(), False)
        while self._queue >= 0:
            try:
                data = os.read(self._queue, _QUEUE)
            except BlockingIOError:
                break
            found = self._read(data, found)
        return found

    def _read(self, data: bytes, found: Changes) -> Changes:
        lost, at = found.lost, 0
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("=iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0")
            at += 16 + length
            if mask & _OVERFLOW:
                lost = True
            elif mask & _GONE and not name:
                found.gone.add(watch)
            elif name:
                found.names.setdefault(watch, set()).add(name)
        return found._replace(lost=lost)

    def close(self) -> None:
        if self._queue >= 0:
            os.close(self._queue)
            self._queue = -1

    def __del__(self) -> None:
        self.close()


def _find_libc() -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(None, use_errno=True)
        for name in ("inotify_init1", "inotify_rm_watch", "fstatfs"):
            getattr(found, name)
        found.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
    except (OSError, AttributeError):
        return None
    return found


_libc = _find_libc()


def _ours_alone(folder: int) -> bool:
    found = ctypes.create_string_buffer(256)
    if _libc is None or _libc.fstatfs(folder, found) != 0:
        return False
    (kind,) = struct.unpack_from("@l", found.raw, 0)
    return kind & 0xFFFFFFFF in _OURS_ALONE
