"""What is known of a file, and changing it: SIZE, MDTM, MFMT, MFCT, MFF."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailftp.files.home import Facts, Kind, NoSuchFile, Path
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, format_time, parse_mode, parse_time, quoted, reply

#: What MFF can set, as FEAT tells it.
MODIFIABLE = ("modify", "create", "UNIX.mode", "UNIX.group")


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


_TIME_AND_NAME = re.compile(r"([0-9]{14}) (.+)", re.ASCII | re.DOTALL)


async def modified(session: Session, argument: str) -> bytes:
    """MDTM: RFC 3659 section 3; always UTC. With a time before the name it sets it, as clients of vsftpd and
    of old FileZilla servers say; such a name itself is asked for as ./20010203040506 f."""
    if found := _TIME_AND_NAME.fullmatch(argument):
        moment = parse_time(found[1])
        await session.home.change(session.path(found[2]), Facts(modified=moment))
        return reply(213, format_time(moment))
    entry = await session.home.entry(session.path(argument))
    if not entry.whole:
        raise NoSuchFile("No such file or folder")
    return reply(213, format_time(entry.modified))


async def set_modified(session: Session, argument: str) -> bytes:
    """MFMT: draft-somers-ftp-mfxx-04 section 3, which FileZilla and lftp say after each upload."""
    moment, path = _time_and_path(session, argument, "MFMT")
    await session.home.change(path, Facts(modified=moment))
    return _changed([f"Modify={format_time(moment)}"], path)


async def set_created(session: Session, argument: str) -> bytes:
    """MFCT: draft-somers-ftp-mfxx-04 section 4."""
    moment, path = _time_and_path(session, argument, "MFCT")
    await session.home.change(path, Facts(created=moment))
    return _changed([f"Create={format_time(moment)}"], path)


def _time_and_path(session: Session, argument: str, verb: str) -> tuple[float, Path]:
    time, _, name = argument.partition(" ")
    if not name:
        raise SyntaxFault(501, f"Syntax: {verb} YYYYMMDDHHMMSS path")
    return parse_time(time), session.path(name)


async def set_facts(session: Session, argument: str) -> bytes:
    """MFF: draft-somers-ftp-mfxx-04 section 5: several facts at once, all of them or none."""
    listed, _, name = argument.partition(" ")
    if not name or not listed.endswith(";"):
        raise SyntaxFault(501, "Syntax: MFF fact=value;... path")
    facts, told = parse_facts(listed)
    path = session.path(name)
    await session.home.change(path, facts)
    return _changed(told, path)


def parse_facts(listed: str) -> tuple[Facts, list[str]]:
    """Facts to set, and how the reply tells them. Raises SyntaxFault: 504 for one that cannot be set."""
    facts, told = Facts(), []
    for each in listed.removesuffix(";").split(";"):
        name, equals, value = each.partition("=")
        known = name.lower()
        if not equals or not value:
            raise SyntaxFault(501, "Syntax: MFF fact=value;... path")
        if known == "modify":
            facts = facts._replace(modified=parse_time(value))
            told.append(f"Modify={value[:14]}")
        elif known == "create":
            facts = facts._replace(created=parse_time(value))
            told.append(f"Create={value[:14]}")
        elif known == "unix.mode":
            facts = facts._replace(mode=parse_mode(value))
            told.append(f"UNIX.mode=0{facts.mode:03o}")
        elif known == "unix.group":
            facts = facts._replace(group=value)
            told.append(f"UNIX.group={value}")
        else:
            raise SyntaxFault(504, "That fact cannot be set")
    return facts, told


def _changed(told: Iterable[str], path: Path) -> bytes:
    return reply(213, f"{';'.join(told)}; {quoted(path)[1:-1]}")


COMMANDS = (
    Command("SIZE", size, Argument.MUST, usage="SIZE path"),
    Command("MDTM", modified, Argument.MUST, usage="MDTM [time] path"),
    Command("MFMT", set_modified, Argument.MUST, usage="MFMT time path"),
    Command("MFCT", set_created, Argument.MUST, usage="MFCT time path"),
    Command("MFF", set_facts, Argument.MUST, usage="MFF fact=value;... path"),
)
