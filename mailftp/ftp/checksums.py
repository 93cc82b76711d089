"""Whether a file is the same at both ends: HASH, and the older commands that each client has its own of."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.files.digests import ALGORITHMS
from mailftp.files.home import IsAFolder, NoSuchFile
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import SyntaxFault, parse_number, printable, reply, unquoted

#: What OPTS HASH may choose, the first being the default (draft-bryan-ftpext-hash-02 section 5).
HASHES = tuple(name for name in ALGORITHMS if name != "CRC32")


async def hash_(session: Session, argument: str) -> bytes:
    """HASH: draft-bryan-ftpext-hash-02 section 3; of the octets that RANG said, or of all. The end that is
    told is the last octet's number."""
    start, end = session.take_range()
    session.digest = algorithm = session.hash_algorithm
    try:
        found = await session.home.digest(session.path(argument), algorithm, start, end)
    except IsAFolder:
        return reply(553, "A folder has no hash")
    last = max(found.start, found.end - 1)
    return reply(213, f"{algorithm} {found.start}-{last} {found.hexadecimal} {printable(argument)}")


def choose_hash(session: Session, argument: str) -> bytes:
    """OPTS HASH: draft-bryan-ftpext-hash-02 section 3.2."""
    wanted = argument.strip().upper()
    if wanted and wanted not in HASHES:
        return reply(501, "Unknown algorithm, current selection not changed")
    session.hash_algorithm = wanted or session.hash_algorithm
    return reply(200, session.hash_algorithm)


def hash_feature(session: Session) -> str:
    """The line of FEAT: draft-bryan-ftpext-hash-02 section 3.1."""
    marked = (f"{name}{'*' if name == session.hash_algorithm else ''};" for name in HASHES)
    return "HASH " + "".join(marked)


#: `path start end`, where the path may hold spaces and digits of its own.
_WITH_RANGE = re.compile(r"(.+?) ([0-9]{1,19})(?: ([0-9]{1,19}))?", re.ASCII | re.DOTALL)


def _checksum(
    algorithm: str, code: int = 250
) -> Callable[[Session, str], Coroutine[Deferred[Any], Any, bytes]]:
    async def answer(session: Session, argument: str) -> bytes:
        """X commands: in no RFC and in no draft- but that of MD5 (draft-twine-ftpmd5-00); as ProFTPD answers
        them: a path, in quotes or not, then perhaps where to begin and where to end."""
        quoted, rest = unquoted(argument)
        session.digest = algorithm
        if quoted is not None:
            name, found = quoted, _WITH_RANGE.fullmatch(f"x {rest.strip()}") if rest.strip() else None
            if rest.strip() and found is None:
                raise SyntaxFault(501, "Syntax: path [start [end]]")
        else:
            name, found = await _plain(session, argument)
        start = parse_number(found[2]) if found else 0
        end = parse_number(found[3]) if found and found[3] else None
        if end is not None and end < start:
            raise SyntaxFault(501, "The end is before the start")
        digest = await session.home.digest(session.path(name), algorithm, start, end)
        told = f'"{printable(name)}" ' if code == 251 else ""
        return reply(code, told + digest.hexadecimal.upper())

    return answer


async def _plain(session: Session, argument: str) -> tuple[str, re.Match[str] | None]:
    """A path without quotes: all of the argument, if there is such a file."""
    found = _WITH_RANGE.fullmatch(argument)
    if found is None:
        return argument, None
    try:
        await session.home.entry(session.path(argument))
    except NoSuchFile:
        return found[1], found
    return argument, None


COMMANDS = (
    Command("HASH", hash_, Argument.MUST, usage="HASH path"),
    *(
        Command(name, _checksum(algorithm), Argument.MUST, usage=f"{name} path [start [end]]")
        for name, algorithm in (
            ("XCRC", "CRC32"),
            ("XMD5", "MD5"),
            ("XSHA", "SHA-1"),
            ("XSHA1", "SHA-1"),
            ("XSHA256", "SHA-256"),
            ("XSHA512", "SHA-512"),
        )
    ),
    Command("MD5", _checksum("MD5", 251), Argument.MUST, usage="MD5 path"),
)
