"""A backend that has no disk: what an object store's would look like, with a dict for the store.

A home is `mailftp.files.home.IHome` and nothing more: FTP does not know where the files are.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from zope.interface import implementer

from mailftp.files.home import (
    AlreadyThere,
    Cut,
    Denied,
    Digest,
    Entry,
    Facts,
    FolderNotEmpty,
    IEntries,
    IHome,
    Intent,
    IsAFolder,
    ISink,
    ISource,
    Kind,
    NoRoom,
    NoSuchFile,
    NotAFolder,
    Path,
    Rendering,
)

#: What the store takes.
LIMIT = 64 * 1024 * 1024
_PAGE = 100


class Store:
    """Objects by path, and folders, which most object stores have none of."""

    def __init__(self) -> None:
        self.objects: dict[Path, bytes] = {}
        self.folders: set[Path] = {()}
        self.modified: dict[Path, float] = {}
        #: Uploads that were cut.
        self.partial: dict[Path, bytes] = {}

    def names(self, folder: Path) -> list[Path]:
        return sorted(p for p in (*self.objects, *self.folders) if p and p[:-1] == folder)

    def below(self, path: Path) -> list[Path]:
        """The path and all below it, deepest first."""
        found = [p for p in (*self.objects, *self.folders) if p[: len(path)] == path]
        return sorted(found, key=len, reverse=True)


def _later(method: Callable[..., Any]) -> Callable[..., Deferred[Any]]:
    """What it raises is what the Deferred fails with."""
    return lambda *arguments, **named: maybeDeferred(method, *arguments, **named)


@implementer(IHome)
class StoreHome:
    def __init__(self, store: Store) -> None:
        self.store = store

    def entry(self, path: Path, created: bool = False) -> Deferred[Entry]:
        return _later(self._entry)(path)

    def _entry(self, path: Path) -> Entry:
        store = self.store
        if path in store.folders:
            return self._make(path, Kind.FOLDER, 0, 0o755)
        if path in store.objects:
            arrived = store.partial.get(path)
            return self._make(path, Kind.FILE, len(store.objects[path]), 0o644)._replace(
                arrived=None if arrived is None else len(arrived)
            )
        if path in store.partial:
            size = len(store.partial[path])
            return self._make(path, Kind.FILE, size, 0o644)._replace(arrived=size, whole=False)
        raise NoSuchFile("no such object")

    def _make(self, path: Path, kind: Kind, size: int, mode: int) -> Entry:
        name = path[-1] if path else ""
        unique = hashlib.sha256("/".join(path).encode()).hexdigest()[:16]
        return Entry(name, kind, size, self.store.modified.get(path, 0.0), mode, 0, 0, 1, unique)

    def entries(self, path: Path, created: bool = False) -> Deferred[IEntries]:
        return _later(self._entries)(path)

    def _entries(self, path: Path) -> Any:
        if self._entry(path).kind is not Kind.FOLDER:
            raise NotAFolder("not a folder")
        return _Entries([self._entry(each) for each in self.store.names(path)])

    def read(self, path: Path) -> Deferred[ISource]:
        return _later(self._read)(path)

    def _read(self, path: Path) -> Any:
        return _Source(self._octets(path))

    def _octets(self, path: Path) -> bytes:
        if path in self.store.folders:
            raise IsAFolder("a folder")
        if path not in self.store.objects:
            raise NoSuchFile("no such object")
        return self.store.objects[path]

    def write(
        self,
        path: Path,
        intent: Intent,
        offset: int,
        expected: int | None,
        until: int | None = None,
        digest: str | None = None,
    ) -> Deferred[ISink]:
        return _later(self._write)(path, intent, offset, until)

    def _write(self, path: Path, intent: Intent, offset: int, until: int | None) -> Any:
        store = self.store
        if path in store.folders:
            raise IsAFolder("a folder")
        if path[:-1] not in store.folders:
            raise NoSuchFile("no such folder")
        there = store.partial.get(path, store.objects.get(path, b""))
        if intent is Intent.APPEND:
            offset = len(there)
        if offset > len(there):
            raise NoSuchFile("less than that is there")
        rest = b"" if until is None else store.objects.get(path, b"")[until:]
        return _Sink(store, path, there[:offset], rest)

    def make_folder(self, path: Path) -> Deferred[None]:
        return _later(self._make_folder)(path)

    def _make_folder(self, path: Path) -> None:
        if path in self.store.folders or path in self.store.objects:
            raise AlreadyThere("it is there already")
        if path[:-1] not in self.store.folders:
            raise NoSuchFile("no such folder")
        self.store.folders.add(path)

    def make_folders(self, path: Path) -> Deferred[None]:
        self.store.folders.update(path[:length] for length in range(len(path) + 1))
        return succeed(None)

    def remove_folder(self, path: Path) -> Deferred[None]:
        return _later(self._remove_folder)(path)

    def _remove_folder(self, path: Path) -> None:
        if self._entry(path).kind is not Kind.FOLDER:
            raise NotAFolder("not a folder")
        if self.store.names(path):
            raise FolderNotEmpty("the folder is not empty")
        self.store.folders.discard(path)

    def remove_tree(self, path: Path) -> Deferred[None]:
        for each in self.store.below(path):
            self.store.folders.discard(each)
            self.store.objects.pop(each, None)
        return succeed(None)

    def remove(self, path: Path) -> Deferred[None]:
        return _later(self._remove)(path)

    def _remove(self, path: Path) -> None:
        self._octets(path)
        del self.store.objects[path]

    def rename(self, old: Path, new: Path) -> Deferred[None]:
        return _later(self._rename)(old, new)

    def _rename(self, old: Path, new: Path) -> None:
        self._entry(old)
        if new[:-1] not in self.store.folders:
            raise NoSuchFile("no such folder")
        for each in self.store.below(old):
            moved = new + each[len(old) :]
            if each in self.store.folders:
                self.store.folders.remove(each)
                self.store.folders.add(moved)
            else:
                self.store.objects[moved] = self.store.objects.pop(each)

    def change(self, path: Path, facts: Facts) -> Deferred[None]:
        return _later(self._change)(path, facts)

    def _change(self, path: Path, facts: Facts) -> None:
        self._entry(path)
        if facts.modified is None or any(fact is not None for fact in facts[1:]):
            raise Denied("an object has a time and no permission bits")
        self.store.modified[path] = facts.modified

    def make_link(self, path: Path, target: str) -> Deferred[None]:
        return fail(Denied("there are no links here"))

    def measure(self, path: Path) -> Deferred[int]:
        return succeed(sum(len(self.store.objects.get(each, b"")) for each in self.store.below(path)))

    def copy(self, old: Path, new: Path) -> Deferred[int]:
        return _later(self._copy)(old, new)

    def _copy(self, old: Path, new: Path) -> int:
        self.store.objects[new] = self._octets(old)
        return len(self.store.objects[new])

    def combine(self, whole: Path, parts: tuple[Path, ...]) -> Deferred[int]:
        return _later(self._combine)(whole, parts)

    def _combine(self, whole: Path, parts: tuple[Path, ...]) -> int:
        joined = self.store.objects.get(whole, b"") + b"".join(map(self._octets, parts))
        for part in parts:
            del self.store.objects[part]
        self.store.objects[whole] = joined
        return len(joined)

    def digest(self, path: Path, algorithm: str, start: int, end: int | None) -> Deferred[Digest]:
        return _later(self._digest)(path, algorithm, start, end)

    def _digest(self, path: Path, algorithm: str, start: int, end: int | None) -> Digest:
        data = self._octets(path)[start:end]
        if algorithm == "CRC32":
            return Digest(start, start + len(data), f"{zlib.crc32(data):08x}")
        made = hashlib.new(algorithm.replace("-", "").lower(), data)
        return Digest(start, start + len(data), made.hexdigest())

    def set_umask(self, umask: int) -> None:
        """Objects have no permission bits."""

    def room(self) -> Deferred[int | None]:
        return succeed(LIMIT - sum(map(len, self.store.objects.values())))


@implementer(IEntries)
class _Entries:
    def __init__(self, entries: list[Entry]) -> None:
        self._left = entries

    def whole(self, rendering: Rendering) -> Deferred[bytes | None]:
        return succeed(None)

    def next(self) -> Deferred[tuple[Entry, ...]]:
        page, self._left = tuple(self._left[:_PAGE]), self._left[_PAGE:]
        return succeed(page)

    def close(self) -> None:
        self._left = []


@implementer(ISource)
class _Source:
    """FTP sends from descriptors: an object comes through a file that has no name."""

    head = b""

    def __init__(self, data: bytes) -> None:
        self.descriptor = os.memfd_create("object")
        self.size = len(data)
        left = memoryview(data)
        while left:
            left = left[os.write(self.descriptor, left) :]
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.descriptor)


@implementer(ISink)
class _Sink:
    def __init__(self, store: Store, path: Path, begun: bytes, rest: bytes) -> None:
        self._store, self._path = store, path
        self._data = bytearray(begun)
        self._rest = rest

    def write(self, data: bytes) -> Deferred[None] | None:
        if len(self._data) + len(data) > LIMIT:
            return fail(NoRoom("the store is full"))
        self._data += data
        return None

    def commit(self, wanted: Callable[[], bool] = lambda: True) -> Deferred[int]:
        if not wanted():
            self.keep()
            return fail(Cut("the upload was cut"))
        self._store.partial.pop(self._path, None)
        self._store.objects[self._path] = bytes(self._data) + self._rest
        return succeed(len(self._store.objects[self._path]))

    def keep(self) -> Deferred[int]:
        self._store.partial[self._path] = bytes(self._data)
        return succeed(len(self._data))
