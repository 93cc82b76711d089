"""Where the paths of a home are on the disk: in its own folder, or in one that is mounted in its root."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath

from mailftp.files import walk
from mailftp.files.home import IsAFolder
from mailftp.files.policy import Names
from mailftp.files.usage import Usage


@dataclass(frozen=True, slots=True)
class Ground:
    """A folder of the disk, and what counts what is in it."""

    root: FilePath
    usage: Usage
    #: It is made when it is first used.
    create: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open folder."""

    folder: int
    name: bytes
    usage: Usage


class Grounds:
    """The home's own folder, and those that are mounted in it by name."""

    def __init__(self, home: Ground, mounts: Mapping[bytes, Ground]) -> None:
        self._home = home
        self._mounts = mounts

    def of(self, names: Names) -> tuple[Ground, Names]:
        """Where a path begins, and what is left of it there."""
        mount = self._mounts.get(names[0]) if self._mounts and names else None
        return (self._home, names) if mount is None else (mount, names[1:])

    def shown_in(self, names: Names) -> dict[bytes, os.stat_result]:
        """The mounts that a listing of this folder has."""
        if names:
            return {}
        return {name: os.stat(mount.root) for name, mount in self._mounts.items() if mount.root.is_dir()}

    def open_folder(self, names: Names) -> int:
        """A descriptor of the folder. Raises OSError."""
        ground, rest = self.of(names)
        try:
            return walk.open_folder(ground.root, rest)
        except FileNotFoundError:
            if not ground.create or os.path.isdir(ground.root):
                raise
            walk.make_root(ground.root)
            return walk.open_folder(ground.root, rest)

    @contextmanager
    def folder(self, names: Names) -> Iterator[int]:
        descriptor = self.open_folder(names)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def place(self, names: Names) -> Place:
        """Where a name is; its folder is the caller's to close. Raises OSError, IsAFolder for a root."""
        ground, rest = self.of(names)
        if not rest:
            raise IsAFolder("Is a folder")
        return Place(self.open_folder(names[:-1]), rest[-1], ground.usage)

    @contextmanager
    def at(self, names: Names) -> Iterator[Place]:
        place = self.place(names)
        try:
            yield place
        finally:
            os.close(place.folder)
