"""Moving about and changing folders and names: CWD to RNTO."""

from __future__ import annotations

from mailftp.files.home import Kind, NoSuchFile
from mailftp.ftp.events import What
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import quoted, reply


async def change_folder(session: Session, argument: str) -> bytes:
    """CWD: RFC 959 section 4.1.1. Links are not followed, so none is a folder."""
    path = session.path(argument)
    entry = await session.home.entry(path)
    if entry.kind is not Kind.FOLDER:
        return reply(550, "Not a folder")
    session.here = path
    return reply(250, f"{quoted(path)} is the folder now")


async def change_up(session: Session, argument: str) -> bytes:
    """CDUP: RFC 959 section 4.1.1; the root is above itself."""
    return await change_folder(session, "..")


def print_folder(session: Session, argument: str) -> bytes:
    """PWD: RFC 959 section 4.1.3 and appendix II."""
    return reply(257, f"{quoted(session.here)} is the folder")


async def make_folder(session: Session, argument: str) -> bytes:
    """MKD: RFC 959 section 4.1.3 and appendix II."""
    path = session.path(argument)
    await session.home.make_folder(path)
    session.outside.tell(What.FOLDER_MADE, path)
    return reply(257, f"{quoted(path)} made")


async def remove_folder(session: Session, argument: str) -> bytes:
    """RMD: RFC 959 section 4.1.3."""
    path = session.path(argument)
    await session.home.remove_folder(path)
    session.outside.tell(What.FOLDER_REMOVED, path)
    return reply(250, "Removed")


async def delete(session: Session, argument: str) -> bytes:
    """DELE: RFC 959 section 4.1.3."""
    path = session.path(argument)
    await session.home.remove(path)
    session.outside.tell(What.DELETED, path)
    return reply(250, "Deleted")


async def rename_from(session: Session, argument: str) -> bytes:
    """RNFR: RFC 959 section 4.1.3."""
    path = session.path(argument)
    entry = await session.home.entry(path)
    if not entry.whole:
        raise NoSuchFile("No such file or folder")
    session.rename_from = path
    return reply(350, "To what name?")


async def rename_to(session: Session, argument: str) -> bytes:
    """RNTO: RFC 959 section 4.1.3; only right after RNFR."""
    old, session.rename_from = session.rename_from, None
    if old is None:
        return reply(503, "Say RNFR first")
    new = session.path(argument)
    await session.home.rename(old, new)
    session.outside.tell(What.RENAMED, old, new)
    return reply(250, "Renamed")


_FOLDERS = (
    ("CWD", "XCWD", change_folder, Argument.MUST, "path"),
    ("CDUP", "XCUP", change_up, Argument.MAY, ""),
    ("PWD", "XPWD", print_folder, Argument.MAY, ""),
    ("MKD", "XMKD", make_folder, Argument.MUST, "path"),
    ("RMD", "XRMD", remove_folder, Argument.MUST, "path"),
)

COMMANDS = (
    # The X forms of RFC 775: old clients say nothing else (RFC 1123 section 4.1.3.1).
    *(
        Command(name, run, argument, usage=f"{name} {what}".rstrip())
        for plain, x, run, argument, what in _FOLDERS
        for name in (plain, x)
    ),
    Command("DELE", delete, Argument.MUST, usage="DELE path"),
    Command("RNFR", rename_from, Argument.MUST, usage="RNFR path"),
    Command("RNTO", rename_to, Argument.MUST, usage="RNTO path", keeps_rename=True),
)
