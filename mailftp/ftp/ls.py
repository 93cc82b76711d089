"""LIST with the options of `ls`: trees, and listings in another order than that of names. All of it bounded:
a listing can be asked for with a few octets, again and again (CVE-2005-0256 and its kin)."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.files.home import Entry, FileFault, IHome, Kind, Path
from mailftp.files.policy import DEPTH_LIMIT
from mailftp.ftp.syntax import octets, printable

#: Names of one tree, and names that are sorted in memory.
TREE, SORTED = 100_000, 20_000
#: Lines that are written in one turn of the reactor.
_LINES = 500

_OPTION = re.compile(r"(-[^ /]*)( +|$)")


@dataclass(frozen=True, slots=True)
class Options:
    """What of them counts. `-a` and `-l` do not: all names are shown, and one to a line."""

    recursive: bool = False
    by_time: bool = False
    by_size: bool = False
    reverse: bool = False
    #: The folder itself, not what is in it.
    itself: bool = False

    @property
    def plain(self) -> bool:
        return not (self.recursive or self.by_time or self.by_size or self.itself)


def parse_options(argument: str) -> tuple[Options, str]:
    """Options and path (`-al folder with a space`). What begins with "-" itself is reached by "./-x"."""
    letters, at = "", 0
    while found := _OPTION.match(argument, at):
        letters, at = letters + found[1], found.end()
    rest = argument[at:]
    options = Options("R" in letters, "t" in letters, "S" in letters, "r" in letters, "d" in letters)
    return options, rest if rest.strip() else ""


def sendable(name: str) -> bool:
    """A name with a line's end in it would be read as two."""
    return "\r" not in name and "\n" not in name


Pieces = Callable[[], Coroutine[Deferred[Any], Any, bytes]]


async def special(
    home: IHome, path: Path, asked: str, options: Options, line: Callable[[Entry], str]
) -> tuple[Pieces, Callable[[], None]]:
    """What `send_listing` sends. Raises FileFault."""
    entry = await home.entry(path)
    if entry.kind is not Kind.FOLDER or options.itself:
        once = [octets(line(entry._replace(name=entry.name or ".")))]

        async def single() -> bytes:
            return once.pop() if once else b""

        return single, lambda: None
    tree = Tree(home, path, asked.rstrip("/") or ("/" if asked else "."), options, line)
    # Before the first reply, so that a folder that may not be listed is refused by it.
    await tree.begin()
    return tree.piece, tree.close


class Tree:
    """A folder, and with -R all below it, one folder after the other as `ls` writes them."""

    def __init__(
        self, home: IHome, path: Path, title: str, options: Options, line: Callable[[Entry], str]
    ) -> None:
        self._home, self._options, self._line = home, options, line
        #: Folders to come, the next one last.
        self._todo: list[tuple[Path, str]] = [(path, title)]
        self._names = 0
        self._first: list[Entry] | None = None
        #: What is left of the folder that is being written.
        self._entries_left: list[Entry] = []
        self._closed = False

    async def begin(self) -> None:
        self._first = await self._entries(self._todo[-1][0])

    def close(self) -> None:
        self._closed = True

    async def piece(self) -> bytes:
        """The next lines; b"" at the end. Raises FileFault when there is too much."""
        while not self._closed:
            if self._entries_left:
                now, self._entries_left = self._entries_left[:_LINES], self._entries_left[_LINES:]
                text = "".join(map(self._line, now))
            elif self._todo:
                text = await self._next_folder()
            else:
                break
            if text:
                # b"" would be the end of all.
                return octets(text)
        return b""

    async def _next_folder(self) -> str:
        """Have the next folder's entries; its title."""
        path, title = self._todo.pop()
        entries, first = self._first, self._first is not None
        self._first = None
        if entries is None:
            try:
                entries = await self._entries(path)
            except FileFault:
                if self._names > TREE:
                    raise
                # It went away meanwhile, or may not be listed: `ls` goes on too.
                entries = []
        self._entries_left = entries
        if not self._options.recursive:
            return ""
        self._go_down(path, title, entries)
        before = "" if first else "\r\n"
        return f"{before}{printable(title)}:\r\n"

    def _go_down(self, path: Path, title: str, entries: list[Entry]) -> None:
        if len(path) < DEPTH_LIMIT:
            below = [each.name for each in entries if each.kind is Kind.FOLDER and sendable(each.name)]
            before = "" if title == "/" else title
            self._todo += [((*path, name), f"{before}/{name}") for name in reversed(below)]

    async def _entries(self, path: Path) -> list[Entry]:
        source = await self._home.entries(path)
        found: list[Entry] = []
        most = TREE - self._names if self._options.recursive else SORTED
        try:
            while batch := await source.next():
                found += batch
                if len(found) > most:
                    self._names = TREE + 1
                    raise FileFault(f"More than {TREE if self._options.recursive else SORTED} names")
        finally:
            source.close()
        self._names += len(found)
        if self._options.by_size:
            found.sort(key=lambda each: -each.size)
        elif self._options.by_time:
            found.sort(key=lambda each: -each.modified)
        return found[::-1] if self._options.reverse else found
