"""Showing folders: LIST, NLST, MLSD, MLST, and STAT with a path.

Times are UTC in all of them. A name that holds CR or LF would be read as two, so it is left out; everything
else is sent as it is on disk.
"""

from __future__ import annotations

import fnmatch
import mimetypes
import re
from collections.abc import Callable, Coroutine, Hashable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from twisted.internet.defer import Deferred, succeed

from mailftp.files.home import (
    Denied,
    Entry,
    IEntries,
    IHome,
    Kind,
    NoSuchFile,
    NotAFolder,
    Path,
    Rendering,
)
from mailftp.ftp.deflate import Deflating
from mailftp.ftp.ls import parse_options, sendable, special
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, format_time, octets, printable, replies, shown
from mailftp.ftp.transfer import Running, run

#: Octets of a listing that are written at one time.
SLICE = 256 * 1024
#: What STAT shows over the control connection at most; it is no way to list a large folder.
STAT_LIMIT = 1000
#: Wildcards of one pattern: enough for `*.tar.*`, too few to make matching slow.
WILDCARDS = 5
#: LIST shows the time of day for what changed within half a year, else the year.
HALF_A_YEAR = 182 * 86400

Line = Callable[[Entry], str]
#: The next octets of a listing; b"" at the end.
Pieces = Callable[[], Coroutine[Deferred[Any], Any, bytes]]

_LETTERS = {Kind.FILE: "-", Kind.FOLDER: "d", Kind.LINK: "l", Kind.OTHER: "?"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RIGHTS = ("---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx")

#: MLSx facts, RFC 3659 section 7.5, in the order in which they are shown.
FACTS = (
    "type",
    "size",
    "modify",
    "create",
    "perm",
    "unique",
    "media-type",
    "UNIX.mode",
    "UNIX.owner",
    "UNIX.group",
)
#: Those that nobody has to ask for; the others cost more than they are worth to most clients.
DEFAULT_FACTS = tuple(fact for fact in FACTS if fact not in ("create", "media-type"))
_FACT_NAMES = {name.lower(): name for name in FACTS}


def unix_line(entry: Entry, now: float) -> str:
    """A line as `ls -l` writes it, which every client can read."""
    modified = entry.modified
    recent = now - HALF_A_YEAR < modified <= now + 86400
    # Whole minutes: files that came together share one answer.
    when = _clock(modified // 60, recent)
    return (
        f"{_LETTERS[entry.kind]}{_rights(entry.mode)} {entry.links:3} {entry.owner:<8} {entry.group:<8} "
        f"{entry.size:>10} {when} {entry.name}"
    )


@lru_cache(4096)
def _clock(minute: float, recent: bool) -> str:
    try:
        moment = datetime.fromtimestamp(minute * 60, UTC)
    except (OverflowError, ValueError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    clock = f"{moment:%H:%M}" if recent else f"{moment.year:5}"
    return f"{_MONTHS[moment.month - 1]} {moment.day:2} {clock}"


@lru_cache(512)
def _rights(mode: int) -> str:
    return "".join(_RIGHTS[mode >> shift & 7] for shift in (6, 3, 0))


def facts_line(entry: Entry, wanted: Iterable[str], name: str, read_only: bool) -> str:
    """An entry of MLSD or MLST: RFC 3659 section 7.2. One space before the name, whatever the name is."""
    return "".join([_FACTS[fact](entry, read_only) for fact in wanted]) + f" {name}"


# Section 7.5.1: types of the system's own are written so.
_TYPES = {
    Kind.FILE: "file",
    Kind.FOLDER: "dir",
    Kind.LINK: "OS.unix=symlink",
    Kind.OTHER: "OS.unix=special",
}
#: By (folder, read-only).
_PERMITTED = {
    (True, True): "el",
    (True, False): "cdeflmp",
    (False, True): "r",
    (False, False): "adfrw",
}
_shown_time = lru_cache(4096)(format_time)

#: Names of Python's own table, whatever this machine's says.
_media_types = mimetypes.MimeTypes()


def _created(entry: Entry, read_only: bool) -> str:
    return "" if entry.created is None else f"create={_shown_time(entry.created // 1)};"


def _media_type(entry: Entry, read_only: bool) -> str:
    """By the name: RFC 3659 section 7.5.8."""
    if entry.kind is not Kind.FILE:
        return ""
    found = _media_types.guess_type(f"/{entry.name.rpartition('/')[2]}", strict=True)[0]
    return f"media-type={found or 'application/octet-stream'};"


#: Each with its name and its semicolon; "" where it is not known of an entry.
_FACTS: dict[str, Callable[[Entry, bool], str]] = {
    "type": lambda entry, _: f"type={_TYPES[entry.kind]};",
    "size": lambda entry, _: f"size={entry.size};",
    "modify": lambda entry, _: f"modify={_shown_time(entry.modified // 1)};",
    "create": _created,
    "perm": lambda entry, read_only: (
        f"perm={_PERMITTED[entry.kind is Kind.FOLDER, read_only] if entry.perm is None else entry.perm};"
    ),
    "unique": lambda entry, _: f"unique={entry.unique};",
    "media-type": _media_type,
    "UNIX.mode": lambda entry, _: f"UNIX.mode={entry.mode:04o};",
    "UNIX.owner": lambda entry, _: f"UNIX.owner={entry.owner};",
    "UNIX.group": lambda entry, _: f"UNIX.group={entry.group};",
}


def choose_facts(argument: str) -> tuple[str, ...]:
    """OPTS MLST: RFC 3659 section 7.9; facts that we do not know are passed over."""
    asked = {fact.strip().lower() for fact in argument.split(";")}
    return tuple(name for low, name in _FACT_NAMES.items() if low in asked)


class _Single:
    """One entry as if it were a folder's."""

    def __init__(self, entry: Entry) -> None:
        self._entries: tuple[Entry, ...] = (entry,)

    def whole(self, rendering: Rendering) -> Deferred[bytes | None]:
        return succeed(None)

    def next(self) -> Deferred[tuple[Entry, ...]]:
        entries, self._entries = self._entries, ()
        done: Deferred[tuple[Entry, ...]] = Deferred()
        done.callback(entries)
        return done

    def close(self) -> None:
        pass


class Selection:
    """What a listing is of: a folder, some names in it, or a single file."""

    def __init__(self, entries: IEntries | _Single, matches: Callable[[str], object] | None) -> None:
        self.entries = entries
        self._matches = matches

    async def whole(self, rendering: Rendering) -> bytes | None:
        """All of it at once, where that may be had."""
        return None if self._matches is not None else await self.entries.whole(rendering)

    async def next(self) -> list[Entry] | None:
        """The next entries that can be sent, maybe none; None at the end."""
        batch = await self.entries.next()
        if not batch:
            return None
        matches = self._matches or (lambda name: True)
        return [entry for entry in batch if sendable(entry.name) and matches(entry.name)]


async def select(home: IHome, path: Path, *, patterns: bool = True, created: bool = False) -> Selection:
    """What `path` means to LIST and NLST. A name with wildcards that is there itself comes first."""
    try:
        # Most often it is a folder, and then nothing else has to be asked.
        return Selection(await home.entries(path, created), None)
    except NoSuchFile:
        if not patterns or not path or not re.search(r"[*?[]", path[-1]):
            raise
        return Selection(await home.entries(path[:-1]), _pattern(path[-1]))
    except (NotAFolder, Denied):
        entry = await home.entry(path)
        if entry.kind is Kind.FOLDER:
            raise
    if not entry.whole:
        raise NoSuchFile("No such file or folder")
    return Selection(_Single(entry), None)


def _pattern(text: str) -> Callable[[str], object]:
    if sum(text.count(wildcard) for wildcard in "*?[") > WILDCARDS:
        raise SyntaxFault(501, "Too many wildcards")
    return re.compile(fnmatch.translate(text)).match


async def list_(session: Session, argument: str) -> bytes:
    """LIST: RFC 959 section 4.1.3. Of the options of `ls` that clients put first, -R, -t, -S, -r and -d mean
    what they mean there."""
    now = session.outside.now()
    options, asked = parse_options(argument)
    if not options.plain:
        path = session.path(asked)
        line: Line = lambda entry: unix_line(entry, now) + "\r\n" if sendable(entry.name) else ""  # noqa: E731
        return await send_listing(session, path, lambda: special(session.home, path, asked, options, line))
    rendering = _rendering("list", lambda entry: unix_line(entry, now), now, lambda time: _until(time, now))
    return await _listing(session, asked, rendering)


def _rendering(
    key: Hashable, line: Line, now: float, until: Callable[[float], float] = lambda modified: float("inf")
) -> Rendering:
    """Lines with their ends; a name that would end one is left out."""
    return Rendering(key, lambda entry: f"{line(entry)}\r\n" if sendable(entry.name) else "", now, until)


def _until(modified: float, now: float) -> float:
    """When LIST writes a time in another way: it becomes half a year old, or is no more in the future."""
    if modified > now + 86400:
        return modified - 86400
    return modified + HALF_A_YEAR if modified > now - HALF_A_YEAR else float("inf")


async def names(session: Session, argument: str) -> bytes:
    """NLST: RFC 959 section 4.1.3. Names that can be used in other commands as they are (RFC 1123 section
    4.1.2.7): with the folder that was asked for before them."""
    _, asked = parse_options(argument)
    before = ""
    if asked:
        path = session.path(asked)
        wild = re.search(r"[*?[]", asked.rpartition("/")[2])
        folder = "" if wild else asked
        if not wild:
            entry = await session.home.entry(path)
            if entry.kind is not Kind.FOLDER:
                folder = asked.rpartition("/")[0] + "/" if "/" in asked else ""
        else:
            folder = asked[: asked.rfind("/") + 1]
        before = folder if not folder or folder.endswith("/") else folder + "/"
    rendering = _rendering(("nlst", before), lambda entry: before + entry.name, session.outside.now())
    return await _listing(session, asked, rendering)


async def machine_listing(session: Session, argument: str) -> bytes:
    """MLSD: RFC 3659 section 7.1; of folders only."""
    line, wanted = _facts_of(session), _wanted(session)
    key = ("mlsd", wanted, session.anonymous)
    rendering = _rendering(key, lambda entry: line(entry, entry.name), session.outside.now())
    return await _listing(session, argument, rendering, machine=True, created="create" in wanted)


def _wanted(session: Session) -> tuple[str, ...]:
    return DEFAULT_FACTS if session.facts is None else session.facts


def _facts_of(session: Session) -> Callable[[Entry, str], str]:
    wanted = _wanted(session)
    read_only = session.anonymous
    return lambda entry, name: facts_line(entry, wanted, name, read_only)


async def _listing(
    session: Session, argument: str, rendering: Rendering, machine: bool = False, created: bool = False
) -> bytes:
    path = session.path(argument)

    async def begin() -> tuple[Pieces, Callable[[], None]]:
        if machine:
            try:
                chosen = Selection(await session.home.entries(path, created), None)
            except NotAFolder:
                raise SyntaxFault(501, "Not a folder") from None
        else:
            chosen = await select(session.home, path, created=created)
        try:
            whole = await chosen.whole(rendering)
        except BaseException:
            chosen.entries.close()
            raise
        pieces = _slices(whole) if whole is not None else lambda: _piece(chosen, rendering)
        return pieces, chosen.entries.close

    return await send_listing(session, path, begin)


def _sent(session: Session, pieces: Pieces) -> Callable[[], Deferred[bytes]]:
    """What goes over the wire."""

    def read() -> Deferred[bytes]:
        return Deferred.fromCoroutine(pieces())

    return Deflating(read).piece if session.compressed else read


async def send_listing(
    session: Session, path: Path, begin: Callable[[], Coroutine[Any, Any, tuple[Pieces, Callable[[], None]]]]
) -> bytes:
    """A transfer of what `begin` finds: pieces until b"", and what is to be called at the end."""
    session.take_restart()

    async def send(running: Running) -> int:
        pieces, close = await begin()
        try:
            connection = await running.open("the listing")
            sent = await connection.stream(_sent(session, pieces))
            await connection.finish()
            return sent
        finally:
            close()

    return await run(session, "list", path, send)


async def _piece(chosen: Selection, rendering: Rendering) -> bytes:
    """The next lines; b"" at the end."""
    while (batch := await chosen.next()) is not None:
        if batch:
            return octets("".join(map(rendering.line, batch)))
    return b""


def _slices(whole: bytes) -> Pieces:
    """A listing in pieces that a transport takes at once."""
    starts = iter(range(0, len(whole) + SLICE, SLICE))

    async def piece() -> bytes:
        start = next(starts)
        return whole[start : start + SLICE]

    return piece


async def machine_entry(session: Session, argument: str) -> bytes:
    """MLST: RFC 3659 section 7.2; over the control connection."""
    path = session.path(argument)
    entry = await session.home.entry(path, "create" in _wanted(session))
    if not entry.whole:
        raise NoSuchFile("No such file or folder")
    return replies(250, "Here it is", [_facts_of(session)(entry, printable(shown(path)))], "End")


async def status_of(session: Session, path: Path) -> bytes:
    """STAT with a path: RFC 959 section 4.1.3."""
    chosen = await select(session.home, path)
    now = session.outside.now()
    lines: list[str] = []
    try:
        while len(lines) < STAT_LIMIT and (batch := await chosen.next()) is not None:
            lines += [printable(unix_line(entry, now)) for entry in batch]
    finally:
        chosen.entries.close()
    return replies(213, f"Status of {printable(shown(path))}", lines[:STAT_LIMIT], "End")


COMMANDS = (
    Command("LIST", list_, Argument.MAY, usage="LIST [path]"),
    Command("NLST", names, Argument.MAY, usage="NLST [path]"),
    Command("MLSD", machine_listing, Argument.MAY, usage="MLSD [path]"),
    Command("MLST", machine_entry, Argument.MAY, usage="MLST [path]"),
)
