"""Twisted's IFTPShell as an IHome, so that an FTP realm that already exists works unchanged.

What such a shell cannot do is refused (APPEND, uploads from an offset, MFMT). Both directions go through an
unnamed temporary file: a shell can only push a file into a consumer, where FTP here wants a descriptor
to read ranges of; and it truncates the old file when it opens it, where nothing may be lost before the
upload is whole. Shells do their own file work, most of them, Twisted's included, in the reactor's thread;
so does this.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from typing import IO, Any, NoReturn

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.protocols import ftp
from twisted.python.filepath import InsecurePath, Permissions
from zope.interface import implementer

from mailftp.files.home import (
    AlreadyThere,
    Cut,
    Denied,
    Digest,
    Entry,
    Facts,
    FileFault,
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

_KEYS = ("size", "directory", "permissions", "hardlinks", "modified")
#: Entries in one answer of `next`, and octets in one piece of a file.
_PAGE = 200
_PIECE = 256 * 1024
_HEAD = 64 * 1024

_FAULTS: tuple[tuple[type[Exception], type[FileFault], str], ...] = (
    (ftp.FileNotFoundError, NoSuchFile, "no such file or folder"),
    (ftp.PermissionDeniedError, Denied, "permission denied"),
    (ftp.AnonUserDeniedError, Denied, "anonymous may only read"),
    (ftp.IsNotADirectoryError, NotAFolder, "not a folder"),
    (ftp.FileExistsError, AlreadyThere, "it is there already"),
    (ftp.IsADirectoryError, IsAFolder, "it is a folder"),
    (InsecurePath, Denied, "not a name that can be used here"),
)
_ERRNOS: dict[int | None, tuple[type[FileFault], str]] = {
    errno.ENOTEMPTY: (FolderNotEmpty, "the folder is not empty"),
    errno.ENOENT: (NoSuchFile, "no such file or folder"),
    errno.ENOTDIR: (NotAFolder, "not a folder"),
    errno.EISDIR: (IsAFolder, "it is a folder"),
    errno.EEXIST: (AlreadyThere, "it is there already"),
    errno.EACCES: (Denied, "permission denied"),
    errno.EPERM: (Denied, "permission denied"),
    errno.ENOSPC: (NoRoom, "no room left"),
    errno.EDQUOT: (NoRoom, "no room left"),
}


async def _ask(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a shell, which may raise, fail or answer at once; its errors become FileFaults."""
    try:
        return await maybeDeferred(method, *arguments)
    except OSError as error:
        kind, text = _ERRNOS.get(error.errno, (FileFault, "the file system refuses it"))
        raise kind(text) from error
    except (ftp.FTPCmdError, InsecurePath) as error:
        for theirs, ours, text in _FAULTS:
            if isinstance(error, theirs):
                raise ours(text) from error
        raise FileFault("the shell refuses it") from error


@implementer(IHome)
class ShellHome:
    def __init__(self, shell: Any) -> None:
        """`shell` provides twisted.protocols.ftp.IFTPShell."""
        if isinstance(shell, ftp.FTPAnonymousShell):
            # FTPRealm makes the folder's name of the avatar id, octets, and its shells want text (#10209).
            shell.filesystemRoot = shell.filesystemRoot.asTextMode()
        self._shell = shell

    def entry(self, path: Path, created: bool = False) -> Deferred[Entry]:
        return Deferred.fromCoroutine(self._entry(path))

    async def _entry(self, path: Path) -> Entry:
        values = await _ask(self._shell.stat, list(path), _KEYS)
        return _entry(path[-1] if path else "", values)

    def entries(self, path: Path, created: bool = False) -> Deferred[IEntries]:
        return Deferred.fromCoroutine(self._entries(path))

    async def _entries(self, path: Path) -> IEntries:
        # A shell lists a file as one entry; here it is no folder.
        if (await self._entry(path)).kind is not Kind.FOLDER:
            raise NotAFolder("not a folder")
        listed = await _ask(self._shell.list, list(path), _KEYS)
        return _Entries([_entry(_text(name), values) for name, values in listed])

    def read(self, path: Path) -> Deferred[ISource]:
        return Deferred.fromCoroutine(self._read(path))

    async def _read(self, path: Path) -> ISource:
        reader = await _ask(self._shell.openForReading, list(path))
        spool = _Spool()
        try:
            await _ask(reader.send, spool)
            return _Source(spool.file)
        except BaseException:
            spool.file.close()
            raise

    def write(
        self,
        path: Path,
        intent: Intent,
        offset: int,
        expected: int | None,
        until: int | None = None,
        digest: str | None = None,
    ) -> Deferred[ISink]:
        if intent is not Intent.STORE or offset or until is not None:
            return fail(Denied("files here can only be stored whole"))
        return Deferred.fromCoroutine(self._write(path))

    async def _write(self, path: Path) -> ISink:
        try:
            if (await self._entry(path)).kind is Kind.FOLDER:
                raise IsAFolder("it is a folder")
        except NoSuchFile:
            pass
        return _Sink(self._shell, path)

    def make_folder(self, path: Path) -> Deferred[None]:
        return self._do(self._shell.makeDirectory, list(path))

    def remove_folder(self, path: Path) -> Deferred[None]:
        return self._do(self._shell.removeDirectory, list(path))

    def remove(self, path: Path) -> Deferred[None]:
        return self._do(self._shell.removeFile, list(path))

    def rename(self, old: Path, new: Path) -> Deferred[None]:
        return self._do(self._shell.rename, list(old), list(new))

    # What a shell has no word for.

    def change(self, path: Path, facts: Facts) -> Deferred[None]:
        return fail(Denied("times and permissions cannot be set here"))

    def make_link(self, path: Path, target: str) -> Deferred[None]:
        return fail(Denied("links cannot be made here"))

    def make_folders(self, path: Path) -> Deferred[None]:
        return fail(Denied("folders here are made one by one"))

    def remove_tree(self, path: Path) -> Deferred[None]:
        return fail(Denied("folders here are removed one by one"))

    def measure(self, path: Path) -> Deferred[int]:
        return fail(Denied("folders are not measured here"))

    def copy(self, old: Path, new: Path) -> Deferred[int]:
        return fail(Denied("files cannot be copied here"))

    def combine(self, whole: Path, parts: tuple[Path, ...]) -> Deferred[int]:
        return fail(Denied("files here can only be stored whole"))

    def digest(self, path: Path, algorithm: str, start: int, end: int | None) -> Deferred[Digest]:
        return fail(Denied("no digests are made here"))

    def set_umask(self, umask: int) -> None:
        """A shell decides itself what its files are like."""

    def room(self) -> Deferred[int | None]:
        return succeed(None)

    def _do(self, method: Callable[..., Any], *arguments: Any) -> Deferred[None]:
        async def done() -> None:
            await _ask(method, *arguments)

        return Deferred.fromCoroutine(done())


def _text(name: str | bytes) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def _entry(name: str, values: Any) -> Entry:
    """Owner and group are names to a shell and numbers here: 0, rather than a look-up for each."""
    size, folder, permissions, links, modified = values
    if isinstance(permissions, Permissions):
        permissions = _bits(permissions)
    return Entry(
        name=name,
        kind=Kind.FOLDER if folder else Kind.FILE,
        size=int(size),
        modified=float(modified),
        mode=int(permissions) & 0o7777,
        owner=0,
        group=0,
        links=int(links),
        unique="",
    )


def _bits(permissions: Permissions) -> int:
    mode = 0
    for who in (permissions.user, permissions.group, permissions.other):
        mode = mode << 3 | who.read << 2 | who.write << 1 | who.execute
    return mode


@implementer(IEntries)
class _Entries:
    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def whole(self, rendering: Rendering) -> Deferred[bytes | None]:
        return succeed(None)

    def next(self) -> Deferred[tuple[Entry, ...]]:
        page, self._entries = tuple(self._entries[:_PAGE]), self._entries[_PAGE:]
        return succeed(page)

    def close(self) -> None:
        self._entries = []


@implementer(IConsumer)
class _Spool:
    """Where a shell pushes a file."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(buffering=0)
        self._pulled: Any = None

    # IConsumer's names.
    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:
            self._pulled = producer
            while self._pulled is producer:
                producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._pulled = None

    def write(self, data: bytes) -> None:
        _write_all(self.file, data)


def _write_all(file: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file.fileno(), left) :]


@implementer(ISource)
class _Source:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.descriptor = file.fileno()
        self.size = os.fstat(self.descriptor).st_size
        self.head = os.pread(self.descriptor, _HEAD, 0)

    def close(self) -> None:
        self._file.close()


@implementer(ISink, IPushProducer)
class _Sink:
    """Gathers an upload; the shell sees it only when it is whole."""

    def __init__(self, shell: Any, path: Path) -> None:
        self._shell = shell
        self._path = path
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)
        self._size = 0
        #: Fires when the shell's consumer can take more.
        self._resumed: Deferred[None] | None = None
        self._stopped = False

    def write(self, data: bytes) -> Deferred[None] | None:
        try:
            _write_all(self._file, data)
        except OSError as error:
            kind, text = _ERRNOS.get(error.errno, (FileFault, "the file system refuses it"))
            return fail(kind(text))
        self._size += len(data)
        return None

    def commit(self, wanted: Callable[[], bool] = lambda: True) -> Deferred[int]:
        return Deferred.fromCoroutine(self._commit(wanted))

    async def _commit(self, wanted: Callable[[], bool]) -> int:
        if not wanted():
            self._file.close()
            raise Cut("the upload was cut")
        try:
            writer = await _ask(self._shell.openForWriting, list(self._path))
            consumer = await _ask(writer.receive)
            await _ask(self._pour, consumer)
            await _ask(writer.close)
        finally:
            self._file.close()
        return self._size

    def _pour(self, consumer: Any) -> Deferred[None]:
        async def poured() -> None:
            consumer.registerProducer(self, True)
            try:
                offset = 0
                while data := os.pread(self._file.fileno(), _PIECE, offset):
                    offset += len(data)
                    consumer.write(data)
                    if self._resumed is not None:
                        await self._resumed
                    if self._stopped:
                        self._refuse()
            finally:
                consumer.unregisterProducer()

        return Deferred.fromCoroutine(poured())

    @staticmethod
    def _refuse() -> NoReturn:
        raise FileFault("the shell takes no more")

    # IPushProducer's names.
    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        waiting, self._resumed = self._resumed, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        self._stopped = True
        self.resumeProducing()

    def keep(self) -> Deferred[int]:
        """A shell has no place for half a file: nothing is kept, and the old file is untouched."""
        self._file.close()
        return succeed(0)
