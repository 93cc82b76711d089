"""Moving about and changing folders and names: CWD to RNTO."""

from __future__ import annotations

import re

from mailftp.files.home import Kind, NoSuchFile
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, format_time, parse_time, quoted, reply


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
    return reply(257, f"{quoted(path)} made")


async def remove_folder(session: Session, argument: str) -> bytes:
    """RMD: RFC 959 section 4.1.3."""
    await session.home.remove_folder(session.path(argument))
    return reply(250, "Removed")


async def delete(session: Session, argument: str) -> bytes:
    """DELE: RFC 959 section 4.1.3."""
    await session.home.remove(session.path(argument))
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
    await session.home.rename(old, session.path(argument))
    return reply(250, "Renamed")


async def size(session: Session, argument: str) -> bytes:
    """SIZE: RFC 3659 section 4. Of an upload that was cut, what has arrived: REST and APPE go on there.

    In ASCII the number would be that of the converted file, which takes reading all of it; as others do, 550.
    """
    if session.representation.ascii:
        return reply(550, "SIZE only in TYPE I")
    entry = await session.home.entry(session.path(argument))
    if entry.kind is not Kind.FILE:
        return reply(550, "Not a regular file")
    return reply(213, str(entry.size if entry.arrived is None else entry.arrived))


async def modified(session: Session, argument: str) -> bytes:
    """MDTM: RFC 3659 section 3; always UTC. With a time before the name it sets it, as clients of vsftpd and
    of old FileZilla servers say; such a name itself is asked for as ./20010203040506 f."""
    if found := _TIME_AND_NAME.fullmatch(argument):
        moment = parse_time(found[1])
        await session.home.set_modified(session.path(found[2]), moment)
        return reply(213, format_time(moment))
    entry = await session.home.entry(session.path(argument))
    if not entry.whole:
        raise NoSuchFile("No such file or folder")
    return reply(213, format_time(entry.modified))


async def set_modified(session: Session, argument: str) -> bytes:
    """MFMT: draft-somers-ftp-mfxx-04 section 3, which FileZilla and lftp say after each upload."""
    time, _, name = argument.partition(" ")
    if not name:
        raise SyntaxFault(501, "Syntax: MFMT YYYYMMDDHHMMSS path")
    moment = parse_time(time)
    await session.home.set_modified(session.path(name), moment)
    return reply(213, f"Modify={format_time(moment)}; {quoted(session.path(name))[1:-1]}")


async def available(session: Session, argument: str) -> bytes:
    """AVBL: draft-peterson-streamlined-ftp-command-extensions-10 section 4: octets that may be stored."""
    folder = await session.home.entry(session.path(argument))
    if folder.kind is not Kind.FOLDER:
        return reply(550, "Not a folder")
    room = await session.home.room()
    return reply(550, "Without limit") if room is None else reply(213, str(room))


_TIME_AND_NAME = re.compile(r"([0-9]{14}) (.+)", re.ASCII | re.DOTALL)

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
    Command("SIZE", size, Argument.MUST, usage="SIZE path"),
    Command("MDTM", modified, Argument.MUST, usage="MDTM [time] path"),
    Command("AVBL", available, Argument.MAY, usage="AVBL [path]"),
    Command("MFMT", set_modified, Argument.MUST, usage="MFMT time path"),
)
