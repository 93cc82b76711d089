"""What the next transfer is to be: the commands of RFC 959 section 4.1.2, REST and ALLO."""

from __future__ import annotations

from ipaddress import IPv4Address

from mailftp.ftp.data import Address, DataFault
from mailftp.ftp.session import Argument, Command, Session
from mailftp.ftp.syntax import (
    OFFSET_LIMIT,
    SyntaxFault,
    parse_eprt,
    parse_long_port,
    parse_number,
    parse_port,
    parse_type,
    reply,
)


def passive(session: Session, argument: str) -> bytes:
    """PASV: RFC 959 section 4.1.2, RFC 1123 section 4.1.2.6."""
    _not_after_extended(session)
    if session.outside.data.family != 4:
        return reply(425, "PASV is for IPv4; say EPSV")
    address, port = session.outside.data.listen()
    if not isinstance(address, IPv4Address):
        return reply(425, "No IPv4 address for PASV; say EPSV")
    numbers = ",".join(str(number) for number in (*address.packed, port >> 8, port & 255))
    return reply(227, f"Entering Passive Mode ({numbers}).")


def extended_passive(session: Session, argument: str) -> bytes:
    """EPSV: RFC 2428 section 3. ALL is for the rest of the session."""
    family = {4: "1", 6: "2"}.get(session.outside.data.family or 0)
    wanted = argument.strip().upper()
    if wanted == "ALL":
        session.extended_only = True
        return reply(200, "Only EPSV from now on")
    if wanted and wanted != family:
        raise SyntaxFault(522, f"Network protocol not supported, use ({family})")
    _, port = session.outside.data.listen(tell=False)
    # Without a full stop: there are clients that read up to the end of the line.
    return reply(229, f"Entering Extended Passive Mode (|||{port}|)")


def active(session: Session, argument: str) -> bytes:
    """PORT: RFC 959 section 4.1.2."""
    _not_after_extended(session)
    return _aim(session, *parse_port(argument.strip()))


def extended_active(session: Session, argument: str) -> bytes:
    """EPRT: RFC 2428 section 2."""
    _not_after_extended(session)
    return _aim(session, *parse_eprt(argument.strip()))


def _aim(session: Session, address: Address, port: int) -> bytes:
    try:
        session.outside.data.aim(address, port)
    except DataFault as fault:
        # RFC 2577 section 3 asks for 504 here.
        return reply(504, str(fault))
    return reply(200, "Data connection goes there")


def _not_after_extended(session: Session) -> None:
    if session.extended_only:
        raise SyntaxFault(503, "You said EPSV ALL")


def long_passive(session: Session, argument: str) -> bytes:
    """LPSV: RFC 1639 section 3: what PASV is, for addresses of any length."""
    _not_after_extended(session)
    address, port = session.outside.data.listen()
    numbers = (address.version, len(address.packed), *address.packed, 2, port >> 8, port & 255)
    return reply(228, f"Entering Long Passive Mode ({','.join(map(str, numbers))})")


def long_active(session: Session, argument: str) -> bytes:
    """LPRT: RFC 1639 section 2: old clients say it when EPRT is refused."""
    _not_after_extended(session)
    return _aim(session, *parse_long_port(argument.strip()))


def announce_transfer(session: Session, argument: str) -> bytes:
    """PRET: in no RFC and in no draft-; clients of servers with several machines say before PASV what for."""
    verb = argument.split(" ", 1)[0].upper()
    if verb not in ("RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"):
        return reply(501, "Syntax: PRET transfer [path]")
    return reply(200, "Noted")


async def establish_active(session: Session, argument: str) -> bytes:
    """ESTA: in no RFC and in no draft-, as Pure-FTPd has it: make the connection that PORT spoke of now."""
    return await _establish(session, True, "Connected to")


async def establish_passive(session: Session, argument: str) -> bytes:
    """ESTP: in no RFC and in no draft-, as Pure-FTPd has it: wait for the connection that PASV spoke of."""
    return await _establish(session, False, "Connected from")


async def _establish(session: Session, calling: bool, words: str) -> bytes:
    data = session.outside.data
    if not data.aimed or data.calling is not calling:
        return reply(503, "Say PORT first" if calling else "Say PASV first")
    peer = (await data.open()).peer
    family = 2 if peer.address is not None and peer.address.version == 6 else 1
    return reply(225, f"{words} (|{family}|{peer.address}|{peer.port}|)")


def set_type(session: Session, argument: str) -> bytes:
    """TYPE: RFC 959 section 4.1.2."""
    session.representation = parse_type(argument)
    return reply(200, f"Type is {session.representation.name}")


def structure(session: Session, argument: str) -> bytes:
    """STRU: RFC 959 section 4.1.2; R is for mainframes (RFC 1123 section 4.1.2.4 does not ask for it)."""
    return _only(argument, "F", "RP", "Structure is F")


def mode(session: Session, argument: str) -> bytes:
    """MODE: RFC 959 section 4.1.2; Z is draft-preston-ftpext-deflate-03 section 2."""
    if argument.strip().upper() == "Z" and session.terms.compression:
        session.compressed = True
        return reply(200, "Mode is Z")
    answer = _only(argument, "S", "BCZ", "Mode is S")
    session.compressed &= not answer.startswith(b"200")
    return answer


def _only(argument: str, spoken: str, known: str, text: str) -> bytes:
    letter = argument.strip().upper()
    if letter == spoken:
        return reply(200, text)
    return reply(504 if len(letter) == 1 and letter in known else 501, f"Only {spoken}")


def restart(session: Session, argument: str) -> bytes:
    """REST: RFC 3659 section 5. Kept over PASV and the like until the next transfer: curl and lftp differ in
    which they say first. In ASCII an offset of the wire is none of the file; 0 is, and loggers send it."""
    offset = parse_number(argument.strip())
    if offset and session.representation.ascii:
        raise SyntaxFault(504, "REST only in TYPE I")
    session.restart, session.until = offset, None
    return reply(350, f"Restarting at {offset}")


def octet_range(session: Session, argument: str) -> bytes:
    """RANG: draft-bryan-ftp-range-08 section 3: the first octet and the last of the next transfer or HASH;
    1 0 is all of them again."""
    session.restart, session.until = 0, None
    words = argument.split(" ")
    if len(words) != 2:
        raise SyntaxFault(501, "Syntax: RANG first last")
    first, last = (parse_number(word, OFFSET_LIMIT - 1) for word in words)
    if (first, last) == (1, 0):
        return reply(350, "The whole file")
    if first > last:
        raise SyntaxFault(501, "The last octet is before the first")
    if session.representation.ascii:
        raise SyntaxFault(551, "RANG only in TYPE I")
    session.restart, session.until = first, last + 1
    return reply(350, f"From {first} to {last}")


def allocate(session: Session, argument: str) -> bytes:
    """ALLO: RFC 959 section 4.1.3. What it says is held against what arrives: less is a cut upload."""
    words = argument.upper().split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1] != "R"):
        raise SyntaxFault(501, "Syntax: ALLO octets [R record]")
    numbers = [parse_number(word) for word in words[::2]]
    session.announced = numbers[0]
    return reply(200, "Noted")


COMMANDS = (
    Command("PASV", passive, usage="PASV"),
    # What two other servers take as well, for a client that says it.
    Command("P@SW", passive, usage="PASV"),
    Command("EPSV", extended_passive, Argument.MAY, usage="EPSV [1|2|ALL]"),
    Command("PORT", active, Argument.MUST, usage="PORT h1,h2,h3,h4,p1,p2"),
    Command("EPRT", extended_active, Argument.MUST, usage="EPRT |protocol|address|port|"),
    Command("LPSV", long_passive, usage="LPSV"),
    Command("LPRT", long_active, Argument.MUST, usage="LPRT family,length,address...,length,port..."),
    Command("PRET", announce_transfer, Argument.MUST, usage="PRET transfer [path]"),
    Command("ESTA", establish_active, usage="ESTA"),
    Command("ESTP", establish_passive, usage="ESTP"),
    Command("TYPE", set_type, Argument.MUST, usage="TYPE (A|I|L 8)"),
    Command("STRU", structure, Argument.MUST, usage="STRU F"),
    Command("MODE", mode, Argument.MUST, usage="MODE (S|Z)"),
    Command("REST", restart, Argument.MUST, usage="REST offset"),
    Command("RANG", octet_range, Argument.MUST, usage="RANG first last"),
    Command("ALLO", allocate, Argument.MUST, usage="ALLO octets [R record]"),
)
