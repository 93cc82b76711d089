"""Commands about more than one file: AVBL, DSIZ, RMDA, COMB."""

from __future__ import annotations

from mailftp.files.home import Kind
from mailftp.ftp.events import What
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, reply, words

#: Parts of one COMB: each is an open file.
PARTS = 100


async def available(session: Session, argument: str) -> bytes:
    """AVBL: draft-peterson-streamlined-ftp-command-extensions-10 section 4: octets that may be stored."""
    folder = await session.home.entry(session.path(argument))
    if folder.kind is not Kind.FOLDER:
        return reply(550, "Not a folder")
    room = await session.home.room()
    return reply(550, "Without limit") if room is None else reply(213, str(room))


async def folder_size(session: Session, argument: str) -> bytes:
    """DSIZ: draft-peterson-streamlined-ftp-command-extensions-10 section 5: octets of all files below."""
    return reply(213, str(await session.home.measure(session.path(argument))))


async def remove_tree(session: Session, argument: str) -> bytes:
    """RMDA: draft-peterson-streamlined-ftp-command-extensions-10 section 3: a folder and all below it."""
    path = session.path(argument)
    await session.home.remove_tree(path)
    session.outside.tell(What.FOLDER_REMOVED, path)
    return reply(250, "Removed")


async def combine(session: Session, argument: str) -> bytes:
    """COMB: in no RFC and in no draft-, as Serv-U and SFTPGo have it: the first file gets the others behind
    what is in it, in their order, and they are removed. Clients upload the parts of a large file side by
    side and say this at the end. Names with spaces stand in quotes."""
    names = words(argument)
    if len(names) < 2:
        raise SyntaxFault(501, "Syntax: COMB whole part...")
    if len(names) > PARTS + 1:
        raise SyntaxFault(501, f"{PARTS} parts at most")
    whole, *parts = [session.path(name) for name in names]
    if len({whole, *parts}) < len(names):
        raise SyntaxFault(501, "A name is there twice")
    await session.home.combine(whole, tuple(parts))
    for part in parts:
        session.outside.tell(What.COPIED, part, whole)
        session.outside.tell(What.DELETED, part)
    return reply(250, "Combined")


COMMANDS = (
    Command("AVBL", available, Argument.MAY, usage="AVBL [path]"),
    Command("DSIZ", folder_size, Argument.MAY, usage="DSIZ [path]"),
    Command("RMDA", remove_tree, Argument.MUST, usage="RMDA path"),
    Command("COMB", combine, Argument.MUST, usage="COMB whole part..."),
)
