"""What may be done in a home, and with which names: one function that every operation goes through.

Servers that check in each command forget it in an alias or in a command that came later (ProFTPD issues
2175, 2180, 2282; CVE-2015-1419), so mailftp.files.folder cannot touch a path but through `Policy.check`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mailftp.files.home import Denied, IsAFolder, NoSuchFile, Path

#: Uploads arrive under names that start so; nobody sees or reaches such a name.
HIDDEN = b".mailftp-upload-"
#: NAME_MAX and PATH_MAX of Linux.
NAME_LIMIT = 255
PATH_LIMIT = 4096
#: Folders within each other; each costs a system call in every walk.
DEPTH_LIMIT = 100


class Operation(enum.Enum):
    """Everything that can be done to a path. The value: (it changes something, it may name the root)."""

    STAT = ("stat", False, True)
    LIST = ("list", False, True)
    READ = ("read", False, True)
    ROOM = ("room", False, True)
    STORE = ("store", True, False)
    APPEND = ("append", True, False)
    MAKE_FOLDER = ("make folder", True, False)
    REMOVE_FOLDER = ("remove folder", True, False)
    REMOVE = ("remove", True, False)
    RENAME_FROM = ("rename from", True, False)
    RENAME_TO = ("rename to", True, False)
    SET_MODIFIED = ("set modified", True, False)

    def __init__(self, words: str, changes: bool, root: bool) -> None:
        self.words = words
        #: Refused where a home is read-only.
        self.changes = changes
        #: The home's root is a possible target.
        self.root = root


#: Operations that make a name: one that may not be is "denied" rather than "not there".
_NAMING = frozenset({Operation.STORE, Operation.APPEND, Operation.MAKE_FOLDER, Operation.RENAME_TO})


@dataclass(frozen=True, slots=True)
class Policy:
    """What one home allows."""

    #: Nothing is changed: the anonymous folder.
    read_only: bool = False

    def check(self, operation: Operation, path: Path) -> tuple[bytes, ...]:
        """The path as octets, when the operation may be done.

        Raises Denied, IsAFolder (a file operation on the root) or NoSuchFile (names that do not show).
        """
        if operation.changes and self.read_only:
            raise Denied("Read-only")
        if not path and not operation.root:
            if operation in (Operation.STORE, Operation.APPEND, Operation.REMOVE):
                raise IsAFolder("Is a folder")
            raise Denied("Not possible for the root folder")
        names = tuple(map(_octets, path))
        if len(names) > DEPTH_LIMIT or sum(map(len, names)) + len(names) > PATH_LIMIT:
            raise Denied("Path too long")
        for name in names:
            if hidden(name):
                raise (
                    Denied("Reserved name") if operation in _NAMING else NoSuchFile("No such file or folder")
                )
        return names


def hidden(name: bytes) -> bool:
    """Whether a name is one of ours that no listing shows. Case does not count: a home may be on a file
    system that folds it."""
    return name[: len(HIDDEN)].lower() == HIDDEN


def _octets(name: str) -> bytes:
    """A single name as octets. Raises Denied for what is no name: "..", a slash or NUL inside, too long.

    Callers have resolved ".." already; a second look here keeps a fault of theirs from being an escape.
    """
    try:
        octets = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Denied("Not a name") from None
    if octets in (b"", b".", b"..") or b"/" in octets or b"\0" in octets:
        raise Denied("Not a name")
    if len(octets) > NAME_LIMIT:
        raise Denied("Name too long")
    return octets
