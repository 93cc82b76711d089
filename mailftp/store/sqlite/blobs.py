"""Large bodies as files: `ab/abcdef...` by SHA-256, and those on their way in under `tmp`.

A file has its final name before the row that names it is committed, and loses it only after the row is
gone. Renaming and unlinking happen on the writer's thread alone, one after the other, so no file is
taken away from a row that is just being made. A final file that no row names is not trusted: it may be
what a power cut left.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from mailftp.store.engine import MissingBody, StoreFault, StoreFull
from mailftp.store.owner import give_to_owner, make_folder
from mailftp.wire.syncing import CAN_SYNC_SYSTEM, sync_system

#: From so many files on, one syncfs for the file system costs less than an fsync for each and for its folder.
TOGETHER = 3


def store_fault(fault: OSError) -> StoreFault:
    """An operating system's error in the store's terms."""
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("the disk is full")
    return StoreFault(f"the disk failed: {fault.strerror}")


class Blobs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tmp = folder / "tmp"

    def prepare(self) -> None:
        """Make the folders, and remove what an earlier process was writing when it ended."""
        for folder in (self.folder, self._tmp):
            make_folder(folder)
        # All of them now: each made later would cost the message that needs it a sync of its own.
        for number in range(256):
            folder = self.folder / f"{number:02x}"
            if not folder.is_dir():
                make_folder(folder)
        for leftover in self._tmp.iterdir():
            leftover.unlink()
        sync_folder(self.folder)

    def create(self) -> tuple[int, Path]:
        """A new file to write to; (descriptor, path)."""
        path = self._tmp / secrets.token_hex(16)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        give_to_owner(descriptor, self.folder)
        return descriptor, path

    def path(self, sha256: bytes) -> Path:
        name = sha256.hex()
        return self.folder / name[:2] / name

    def holds(self, sha256: bytes, size: int) -> bool:
        """Whether the file of a body that a row names is there, whole."""
        try:
            return self.path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def open(self, sha256: bytes) -> int:
        try:
            return os.open(self.path(sha256), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingBody(f"the file of body {sha256.hex()} is gone") from None

    def place(self, staged: Path, sha256: bytes) -> None:
        """Give a staged file its final name; `sync` is still to be called."""
        os.rename(staged, self.path(sha256))

    def sync(self, placed: Collection[bytes]) -> None:
        """Bring the files of these bodies and their names to the disk."""
        if len(placed) >= TOGETHER and CAN_SYNC_SYSTEM:
            _with(self.folder, sync_system)
            return
        for sha256 in placed:
            _with(self.path(sha256), os.fsync)
        for folder in {self.path(sha256).parent for sha256 in placed}:
            _with(folder, os.fsync)

    def take_back(self, sha256: bytes, staged: Path) -> None:
        """What place did, undone: the unit failed and may be tried again with the same body."""
        os.rename(self.path(sha256), staged)

    def remove(self, sha256: bytes) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def named(self, prefix: int) -> Iterator[tuple[bytes, float]]:
        """(SHA-256, time of last change) of each file in one of the 256 folders."""
        try:
            entries = list(os.scandir(self.folder / f"{prefix:02x}"))
        except FileNotFoundError:
            return
        for entry in entries:
            try:
                yield bytes.fromhex(entry.name), entry.stat().st_mtime
            except ValueError:
                continue  # Somebody else's file.


def sync_folder(folder: Path) -> None:
    _with(folder, os.fsync)


def _with(path: Path, sync: Callable[[int], object]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
