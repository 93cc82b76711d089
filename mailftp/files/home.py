"""A home folder as FTP and the web see it.

A path is a tuple of names from the home's root, () being the root itself; names are text with
surrogate escapes for
octets that are not UTF-8. "..", "." and empty names never reach here. Every operation goes through
mailftp.files.policy
and happens on this room's own threads.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

Path = tuple[str, ...]


class FileFault(Exception):
    """Base of what a home refuses; its text is for people and shows no path outside the home."""


class NoSuchFile(FileFault):
    pass


class NotAFolder(FileFault):
    pass


class IsAFolder(FileFault):
    pass


class AlreadyThere(FileFault):
    pass


class FolderNotEmpty(FileFault):
    pass


class Denied(FileFault):
    pass


class NoRoom(FileFault):
    """The quota or the disk is full."""


class Busy(FileFault):
    """Somebody is uploading to that name just now; it may be tried again."""


class Cut(FileFault):
    """The upload was not wanted any more when it was about to get its name; what came is kept."""


class Kind(enum.Enum):
    FILE = "file"
    FOLDER = "dir"
    LINK = "link"
    OTHER = "other"


class Entry(NamedTuple):
    """A name in a folder. A tuple: a listing makes ten thousand of them, and a frozen dataclass takes three
    times as long to make."""

    name: str
    kind: Kind
    size: int
    #: Seconds since the epoch.
    modified: float
    #: Permission bits.
    mode: int
    owner: int
    group: int
    links: int
    #: Device and inode, for the `unique` fact.
    unique: str
    #: Octets of an upload to this name that was cut: what SIZE says, so that its client can go on.
    arrived: int | None = None
    #: False: there is nothing but such an upload, and nothing but SIZE may show it.
    whole: bool = True
    #: When it was made, in seconds since the epoch; only where it was asked for, and the disk knows.
    created: float | None = None
    #: What may be done with it: the `perm` fact (RFC 3659 section 7.5.5); None where nobody said.
    perm: str | None = None


class Facts(NamedTuple):
    """What MFF and its kin change of a file; None stays as it is."""

    #: Seconds since the epoch.
    modified: float | None = None
    created: float | None = None
    #: Permission bits, 0 to 0o777.
    mode: int | None = None
    #: A group's name or number.
    group: str | None = None


class Digest(NamedTuple):
    """Of the octets from `start` up to `end`, that one not included."""

    start: int
    end: int
    #: In lower case.
    hexadecimal: str


class Intent(enum.Enum):
    """Why a file is opened for writing."""

    #: The whole file anew, or, with an offset, the rest of an upload that was cut.
    STORE = "store"
    #: At the end of what is there, an upload that was cut included.
    APPEND = "append"


class ISource(Interface):
    """A file open for reading."""

    descriptor: int = Attribute("An open file descriptor, for mailftp.wire.stream.send_file.")
    size: int = Attribute("Octets, when it was opened.")
    head: bytes = Attribute("Its first octets (64 KiB at most), read when it was opened; may be empty.")

    def close() -> None:
        """Idempotent."""


class ISink(Interface):
    """A file that is arriving."""

    def write(data: bytes) -> Deferred[None] | None:
        """None: go on. A Deferred: wait for it; it fails with NoRoom or FileFault."""

    def commit(wanted: Callable[[], bool] = ...) -> Deferred[int]:
        """It is whole: on disk (with `ftp.durable`) and under its name when this fires with its size.

        `wanted` is asked on the reactor thread when all is written, just before the file gets its name:
        False keeps it as `keep` does and fails with Cut. (A client that dies closes its data connection
        like one that is done; its control connection goes a moment later.)
        """

    def keep() -> Deferred[int]:
        """It was cut: keep what came, so that it can be continued; never under its own name. Fires
        with the size. Either `commit` or `keep` is called, once."""


class IDirectSink(ISink):
    """A sink that a thread may write to, as it reads from a connection."""

    def direct(work: Callable[[Callable[[memoryview], None]], None]) -> Deferred[None] | None:
        """Run `work` on a file thread with a function that writes octets there and then, and raises NoRoom or
        FileFault; nothing else is called until it fires, and it fails as `write` does. None where octets have
        to go through `write` just now."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a listing is written: a line for each entry, with its end."""

    #: Renderings with equal keys write equal lines.
    key: Hashable
    #: "" leaves an entry out.
    line: Callable[[Entry], str]
    #: Seconds since the epoch, now; and until when the line of a file modified at some time stays as it is.
    now: float
    until: Callable[[float], float]


class IEntries(Interface):
    """A folder being read."""

    def whole(rendering: Rendering) -> Deferred[bytes | None]:
        """The whole listing, which may be remembered; None where it has to be read by `next`."""

    def next() -> Deferred[tuple[Entry, ...]]:
        """The next entries, a few hundred at most; () at the end."""

    def close() -> None:
        """Idempotent."""


class IHome(Interface):
    """The avatar that FTP asks the portal for."""

    def entry(path: Path, created: bool = False) -> Deferred[Entry]:
        """What is there. Of an upload that was cut and nothing else: `whole` is False; see `arrived`."""

    def entries(path: Path, created: bool = False) -> Deferred[IEntries]:
        """Fails with NotAFolder or NoSuchFile. Uploads under way do not show. With `created` entries tell
        when they were made, which costs a few more calls for each."""

    def read(path: Path) -> Deferred[ISource]: ...

    def write(
        path: Path,
        intent: Intent,
        offset: int,
        expected: int | None,
        until: int | None = None,
        digest: str | None = None,
    ) -> Deferred[ISink]:
        """`expected` is what ALLO said. Nothing of an old file is lost before `commit`. With `until` what is
        in the file from there on stays (RANG); `digest` names an algorithm that will be asked for next.

        STORE from an offset goes on with an upload to this name that was cut, or else with the file's first
        `offset` octets; APPEND goes on after all that came. Fails with NoSuchFile when less than `offset`
        is there, with Busy when that upload is under way.
        """

    def make_folder(path: Path) -> Deferred[None]: ...

    def remove_folder(path: Path) -> Deferred[None]: ...

    def remove(path: Path) -> Deferred[None]: ...

    def rename(old: Path, new: Path) -> Deferred[None]: ...

    def change(path: Path, facts: Facts) -> Deferred[None]:
        """All of `facts`, or a failure."""

    def make_link(path: Path, target: str) -> Deferred[None]:
        """A symbolic link to a name in its own folder or below it. We follow none, others may."""

    def make_folders(path: Path) -> Deferred[None]:
        """A folder and what is missing above it; no failure when it is there."""

    def remove_tree(path: Path) -> Deferred[None]:
        """A folder with all that is in it. What may not be removed stays, and it fails."""

    def measure(path: Path) -> Deferred[int]:
        """Octets of the files below a folder."""

    def copy(old: Path, new: Path) -> Deferred[int]:
        """A file, on the server; fires with its size. `new` is whole or untouched."""

    def combine(whole: Path, parts: tuple[Path, ...]) -> Deferred[int]:
        """Append files to one, which is made if it is missing, and remove them; fires with its size."""

    def digest(path: Path, algorithm: str, start: int, end: int | None) -> Deferred[Digest]:
        """Of the octets from `start` up to `end`; `algorithm` is one of mailftp.files.digests."""

    def set_umask(umask: int) -> None:
        """Permission bits that files and folders made from now on do not have."""

    def room() -> Deferred[int | None]:
        """Octets that may still be stored, by quota and disk."""
