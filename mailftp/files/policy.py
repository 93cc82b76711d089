"""What may be done in a home, and with which names: one function that every operation goes through.

Servers that check in each command forget it in an alias or in a command that came later (ProFTPD issues
2175, 2180, 2282; CVE-2015-1419), so mailftp.files.folder cannot touch a path but through `Policy.check`.
"""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zope.interface import Interface

from mailftp.files.home import Denied, IsAFolder, NoSuchFile, Path

#: Uploads arrive under names that start so; nobody sees or reaches such a name.
HIDDEN = b".mailftp-upload-"
#: NAME_MAX and PATH_MAX of Linux.
NAME_LIMIT = 255
PATH_LIMIT = 4096
#: Folders within each other; each costs a system call in every walk.
DEPTH_LIMIT = 100

Names = tuple[bytes, ...]

#: Characters of an application's reason that a client is told.
_LONGEST_REASON = 200


class Permission(enum.Flag):
    """What a rule gives or takes; the names are those of the settings, in small letters."""

    NONE = 0
    LIST = enum.auto()
    READ = enum.auto()
    #: New files; over an old one OVERWRITE is needed too.
    WRITE = enum.auto()
    OVERWRITE = enum.auto()
    APPEND = enum.auto()
    DELETE = enum.auto()
    RENAME = enum.auto()
    #: Folders.
    MAKE = enum.auto()
    #: Times, permission bits, groups.
    CHANGE = enum.auto()
    #: Symbolic links.
    LINK = enum.auto()


EVERYTHING = ~Permission.NONE
READING = Permission.LIST | Permission.READ


class Operation(enum.Enum):
    """Everything that can be done to a path. The value: (words, what it needs, it may name the root, it is
    about what is in the folder that it names rather than about the name)."""

    STAT = ("stat", Permission.NONE, True, False)
    LIST = ("list", Permission.LIST, True, True)
    READ = ("read", Permission.READ, True, False)
    ROOM = ("room", Permission.NONE, True, True)
    MEASURE = ("measure", Permission.LIST, True, True)
    STORE = ("store", Permission.WRITE, False, False)
    APPEND = ("append", Permission.APPEND, False, False)
    MAKE_FOLDER = ("make folder", Permission.MAKE, False, False)
    REMOVE_FOLDER = ("remove folder", Permission.DELETE, False, False)
    REMOVE_TREE = ("remove tree", Permission.DELETE, False, False)
    REMOVE = ("remove", Permission.DELETE, False, False)
    RENAME_FROM = ("rename from", Permission.RENAME, False, False)
    RENAME_TO = ("rename to", Permission.RENAME, False, False)
    CHANGE = ("change", Permission.CHANGE, False, False)
    LINK = ("link", Permission.LINK, False, False)

    def __init__(self, words: str, needs: Permission, root: bool, inside: bool) -> None:
        self.words = words
        self.needs = needs
        #: The home's root is a possible target.
        self.root = root
        #: The rules for the folder itself hold, not those for the one that it is in.
        self.inside = inside

    @property
    def changes(self) -> bool:
        """Refused where a home is read-only."""
        return bool(self.needs & ~READING)


#: Operations that make a name: one that may not be is "denied" rather than "not there".
_NAMING = frozenset(
    {Operation.STORE, Operation.APPEND, Operation.MAKE_FOLDER, Operation.RENAME_TO, Operation.LINK}
)
#: Operations that take a folder away with all below it: rules that hold there would be left behind.
_MOVING = frozenset({Operation.RENAME_FROM, Operation.REMOVE_TREE, Operation.REMOVE_FOLDER})


class Patterns:
    """Wildcard patterns of names. Case does not count, else `*.exe` would let `X.EXE` through."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.given = tuple(patterns)
        joined = "|".join(fnmatch.translate(pattern) for pattern in self.given)
        self._match = re.compile(joined, re.IGNORECASE).match if self.given else None

    def cover(self, name: str) -> bool:
        return self._match is not None and self._match(name) is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds in a folder and everywhere below it."""

    folder: Path = ()
    #: In place of what is allowed otherwise; None adds nothing.
    allow: Permission | None = None
    deny: Permission = Permission.NONE
    #: Names that are not shown and not reached, and names that nothing may be given.
    hidden: Patterns = Patterns()
    forbidden: Patterns = Patterns()

    def holds(self, path: Path) -> bool:
        return path[: len(self.folder)] == self.folder


class IFilePolicy(Interface):
    """What an application says of each operation, after the rules of the settings have allowed it."""

    def refuses(account: str, operation: Operation, path: Path) -> str | None:
        """Why it may not be done, in a line for people; None where it may. It is called on a thread of the
        server's, several at a time, and may wait there. One that fails refuses, and the log says so.

        `account` is a full address or "anonymous". A command that is about two paths asks for both.
        """


@dataclass(frozen=True, slots=True)
class Asked:
    """An application's policy, and about whom it is asked."""

    policy: Any
    account: str

    def check(self, operation: Operation, path: Path) -> None:
        """Raises Denied."""
        reason = self.policy.refuses(self.account, operation, path)
        if reason is not None:
            # It goes to the client: a line end would make two replies of one.
            line = "".join(c if c.isprintable() else " " for c in str(reason)).strip()
            raise Denied(line[:_LONGEST_REASON] or "Permission denied")


@dataclass(frozen=True, slots=True)
class Policy:
    """What one home allows: of the rules that hold for a path, a later one wins."""

    #: Nothing is changed where no rule allows it: the anonymous folder.
    read_only: bool = False
    rules: tuple[Rule, ...] = ()
    #: Where other folders are mounted: they are neither moved nor removed.
    mounts: tuple[Path, ...] = ()
    #: Who has to allow each operation too; with any, `check` may wait.
    asked: tuple[Asked, ...] = ()

    def permissions(self, folder: Path) -> Permission:
        """What may be done to the names in a folder."""
        found = READING if self.read_only else EVERYTHING
        for rule in self.rules:
            if rule.holds(folder):
                found = (found if rule.allow is None else rule.allow) & ~rule.deny
        return found

    def check(self, operation: Operation, path: Path) -> Names:
        """The path as octets, when the operation may be done.

        Raises Denied, IsAFolder (a file operation on the root) or NoSuchFile (names that do not show).
        """
        names = self._names(operation, path)
        if self.rules or self.read_only or self.mounts:
            self._rule(operation, path)
        if not path and not operation.root:
            if operation in (Operation.STORE, Operation.APPEND, Operation.REMOVE):
                raise IsAFolder("Is a folder")
            raise Denied("Not possible for the root folder")
        for each in self.asked:
            each.check(operation, path)
        return names

    def _names(self, operation: Operation, path: Path) -> Names:
        names = tuple(map(_octets, path))
        if len(names) > DEPTH_LIMIT or sum(map(len, names)) + len(names) > PATH_LIMIT:
            raise Denied("Path too long")
        for name in names:
            if hidden(name):
                raise _not_shown(operation)
        return names

    def _rule(self, operation: Operation, path: Path) -> None:
        for rule in self.rules:
            if rule.holds(path):
                own = path[len(rule.folder) :]
                if any(map(rule.hidden.cover, own)):
                    raise _not_shown(operation)
                if operation in _NAMING and own and rule.forbidden.cover(own[-1]):
                    raise Denied("That name is not allowed here")
        allowed = self.permissions(path if operation.inside else path[:-1])
        if operation.needs & ~allowed:
            raise Denied("Read-only" if not allowed & ~READING else "Permission denied")
        if operation is Operation.STAT and path and not allowed & READING:
            # A drop box: what is in it is nobody's to ask for, its size neither.
            raise Denied("Permission denied")
        if operation in _MOVING and self._kept(path):
            raise Denied("There are rules for that folder")

    def _kept(self, path: Path) -> bool:
        """Whether a folder of a rule or of a mount is there or below."""
        folders = (*(rule.folder for rule in self.rules), *self.mounts)
        return any(len(folder) >= len(path) and folder[: len(path)] == path for folder in folders if folder)

    def may_overwrite(self, path: Path) -> bool:
        """Whether the file that has this name may be replaced, or written to but at its end."""
        return Permission.OVERWRITE in self.permissions(path[:-1])

    def shows(self, folder: Path, name: str) -> bool:
        """Whether a listing of the folder has the name."""
        return not any(rule.holds(folder) and rule.hidden.cover(name) for rule in self.rules)

    def perm(self, path: Path, is_folder: bool) -> str:
        """The `perm` fact: RFC 3659 section 7.5.5."""
        around = self.permissions(path[:-1]) if path else Permission.NONE
        letters = {"d": Permission.DELETE, "f": Permission.RENAME}
        if is_folder:
            inside = self.permissions(path)
            own = {"c": Permission.WRITE, "l": Permission.LIST, "m": Permission.MAKE, "p": Permission.DELETE}
            found = [letter for letter, needed in letters.items() if needed in around]
            found += ["e", *(letter for letter, needed in own.items() if needed in inside)]
        else:
            letters |= {"a": Permission.APPEND, "r": Permission.READ, "w": Permission.OVERWRITE}
            found = [letter for letter, needed in letters.items() if needed in around]
        return "".join(sorted(found))


def _not_shown(operation: Operation) -> Denied | NoSuchFile:
    if operation in _NAMING:
        return Denied("Reserved name")
    return NoSuchFile("No such file or folder")


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
