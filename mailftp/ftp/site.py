"""SITE: what servers have added under one command (RFC 959 section 4.1.3). Clients know some of them well:
lftp says SITE CHMOD and SITE UTIME, and mirrors with SITE MKDIR and SITE SYMLINK."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType

from mailftp.files.home import Facts, Kind
from mailftp.ftp.events import What
from mailftp.ftp.session import Answer, Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, parse_mode, parse_number, parse_time, replies, reply, words

#: Seconds that SITE IDLE may ask for.
IDLE_LEAST, IDLE_MOST = 30, 7200


async def change_mode(session: Session, argument: str) -> bytes:
    """SITE CHMOD: permission bits in octal digits."""
    mode, name = _two(argument, "CHMOD")
    await session.home.change(session.path(name), Facts(mode=parse_mode(mode)))
    return reply(200, "Permissions set")


async def change_group(session: Session, argument: str) -> bytes:
    """SITE CHGRP: to one of the server's own groups."""
    group, name = _two(argument, "CHGRP")
    await session.home.change(session.path(name), Facts(group=group))
    return reply(200, "Group set")


#: `path access modify create UTC`, as old clients say it, and `modify path`.
_LONG_UTIME = re.compile(r"(.+) ([0-9]{12,14}) ([0-9]{12,14}) ([0-9]{12,14}) UTC", re.ASCII | re.DOTALL)
_SHORT_UTIME = re.compile(r"([0-9]{12}(?:[0-9]{2})?) (.+)", re.ASCII | re.DOTALL)


async def set_times(session: Session, argument: str) -> bytes:
    """SITE UTIME, in both of its forms; UTC. Only the time of modification is kept."""
    if found := _LONG_UTIME.fullmatch(argument):
        name, moment = found[1], found[3]
    elif found := _SHORT_UTIME.fullmatch(argument):
        name, moment = found[2], found[1]
    else:
        raise SyntaxFault(501, "Syntax: SITE UTIME YYYYMMDDhhmm[ss] path")
    await session.home.change(session.path(name), Facts(modified=parse_time(moment.ljust(14, "0"))))
    return reply(200, "Time set")


async def make_link(session: Session, argument: str) -> bytes:
    """SITE SYMLINK: to a name in the link's folder or below it, which stands as the link will have it. No
    command here follows it; others who see the folder may."""
    names = words(argument)
    if len(names) != 2:
        raise SyntaxFault(501, "Syntax: SITE SYMLINK target link")
    target, link = names[0], session.path(names[1])
    if target.startswith("/"):
        # From the home's root; on the disk it is relative, as all are.
        path, above = session.path(target), link[:-1]
        target = "/".join(path[len(above) :]) if path[: len(above)] == above else ".."
    await session.home.make_link(link, target)
    return reply(200, "Linked")


async def make_folders(session: Session, argument: str) -> bytes:
    """SITE MKDIR: with what is missing above it."""
    path = session.path(argument)
    await session.home.make_folders(path)
    session.outside.tell(What.FOLDER_MADE, path)
    return reply(200, "Made")


async def remove_tree(session: Session, argument: str) -> bytes:
    """SITE RMDIR: with all that is in it."""
    path = session.path(argument)
    await session.home.remove_tree(path)
    session.outside.tell(What.FOLDER_REMOVED, path)
    return reply(200, "Removed")


async def copy_from(session: Session, argument: str) -> bytes:
    """SITE CPFR: the file that CPTO will copy."""
    path = session.path(argument)
    entry = await session.home.entry(path)
    if entry.kind is not Kind.FILE or not entry.whole:
        return reply(550, "Not a regular file")
    session.copy_from = path
    return reply(350, "To what name?")


async def copy_to(session: Session, argument: str) -> bytes:
    """SITE CPTO: a copy on the server, only right after CPFR."""
    old, session.copy_from = session.copy_from, None
    if old is None:
        return reply(503, "Say SITE CPFR first")
    new = session.path(argument)
    await session.home.copy(old, new)
    session.outside.tell(What.COPIED, old, new)
    return reply(250, "Copied")


def idle(session: Session, argument: str) -> bytes:
    """SITE IDLE: how long the client may be silent."""
    if not argument:
        return reply(200, f"Idle connections are closed after {session.outside.idle_time:.0f} seconds")
    seconds = parse_number(argument)
    if not IDLE_LEAST <= seconds <= IDLE_MOST:
        return reply(501, f"From {IDLE_LEAST} to {IDLE_MOST} seconds")
    session.outside.set_idle_time(seconds)
    return reply(200, f"Idle connections are closed after {seconds} seconds")


def umask(session: Session, argument: str) -> bytes:
    """SITE UMASK: permission bits that new files and folders do not have."""
    if argument:
        session.umask = parse_mode(argument)
        session.home.set_umask(session.umask)
    elif session.umask is None:
        return reply(200, "The umask is the server's")
    return reply(200, f"The umask is {session.umask:03o}")


def help_(session: Session, argument: str) -> bytes:
    """SITE HELP: RFC 1123 section 4.1.2.12 asks for it."""
    return replies(214, "SITE commands:", (usage for _, usage in _COMMANDS.values()), "End")


def _two(argument: str, verb: str) -> tuple[str, str]:
    first, _, name = argument.partition(" ")
    if not name:
        raise SyntaxFault(501, f"Syntax: SITE {_COMMANDS[verb][1]}")
    return first, name


_COMMANDS: MappingProxyType[str, tuple[Callable[[Session, str], Answer], str]] = MappingProxyType(
    {
        "CHGRP": (change_group, "CHGRP group path"),
        "CHMOD": (change_mode, "CHMOD mode path"),
        "CPFR": (copy_from, "CPFR path"),
        "CPTO": (copy_to, "CPTO path"),
        "HELP": (help_, "HELP"),
        "IDLE": (idle, "IDLE [seconds]"),
        "MKDIR": (make_folders, "MKDIR path"),
        "RMDIR": (remove_tree, "RMDIR path"),
        "SYMLINK": (make_link, "SYMLINK target link"),
        "UMASK": (umask, "UMASK [mask]"),
        "UTIME": (set_times, "UTIME YYYYMMDDhhmm[ss] path"),
    }
)
#: Those that can be said without an argument.
_ALONE = frozenset({"HELP", "IDLE", "UMASK"})


def site(session: Session, argument: str) -> Answer:
    """SITE: RFC 959 section 4.1.3. What is unknown is 504: mainframe clients say SITE LRECL before each
    transfer and go on."""
    word, _, rest = argument.strip(" ").partition(" ")
    verb = word.upper()
    known = _COMMANDS.get(verb)
    if verb != "CPTO":
        session.copy_from = None
    if known is None:
        return reply(504, "No such SITE command")
    run, usage = known
    if not rest and verb not in _ALONE:
        return reply(501, f"Syntax: SITE {usage}")
    return run(session, rest)


COMMANDS = (Command("SITE", site, Argument.MUST, usage="SITE command", keeps_copy=True),)
