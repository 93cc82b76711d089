"""What the server is and can do: FEAT, OPTS, SYST, STAT, HELP, NOOP."""

from __future__ import annotations

import re

from mailftp.ftp.checksums import choose_hash, hash_feature
from mailftp.ftp.deflate import LEVEL
from mailftp.ftp.facts import MODIFIABLE
from mailftp.ftp.listing import DEFAULT_FACTS, FACTS, choose_facts, status_of
from mailftp.ftp.session import Answer, Argument, Command, Phase, Session
from mailftp.ftp.syntax import printable, replies, reply, shown

#: What FEAT lists whatever the session is. LIST, SITE UMASK and the like have no name there.
_ALWAYS = (
    "AVBL",
    "CLNT",
    "COMB whole;parts",
    "CSID Name; Version;",
    "DSIZ",
    "EPRT",
    "EPSV",
    "ESTA",
    "ESTP",
    "HOST",
    "LANG EN*",
    "MD5",
    "MDTM",
    "MFCT",
    "MFF " + "".join(f"{fact};" for fact in MODIFIABLE),
    "MFMT",
    "PRET",
    "RANG STREAM",
    "REST STREAM",
    "RMDA path",
    "SITE COPY",
    "SITE MKDIR",
    "SITE RMDIR",
    "SITE SYMLINK",
    "SITE UTIME",
    "SIZE",
    "TVFS",
    "UTF8",
    "XCRC",
    "XMD5",
    "XSHA",
    "XSHA1",
    "XSHA256",
    "XSHA512",
)


def features(session: Session, argument: str) -> bytes:
    """FEAT: RFC 2389 section 3. MLST stands for MLSD too (RFC 3659 section 7.8)."""
    facts = DEFAULT_FACTS if session.facts is None else session.facts
    mlst = "".join(f"{name}{'*' if name in facts else ''};" for name in FACTS)
    lines = [*_ALWAYS, hash_feature(session), f"MLST {mlst}"]
    if session.terms.compression:
        lines.append("MODE Z")
    if session.terms.tls_offered:
        lines += ["AUTH TLS", "PBSZ", "PROT"]
        if session.terms.clear_command_channel:
            lines.append("CCC")
    return replies(211, "Extensions supported:", sorted(lines), "End")


def options(session: Session, argument: str) -> bytes:
    """OPTS: RFC 2389 section 4."""
    name, _, value = argument.strip().partition(" ")
    if name.upper() == "UTF8" and value.strip().upper() in ("ON", ""):
        # The Windows Explorer says it before it logs in and gives up on any other answer.
        return reply(200, "UTF-8 is always on")
    if name.upper() == "HASH":
        return choose_hash(session, value)
    if name.upper() == "MODE" and session.terms.compression:
        return _choose_level(value)
    if name.upper() == "MLST":
        session.facts = choose_facts(value)
        return reply(200, "MLST OPTS " + "".join(f"{fact};" for fact in session.facts))
    return reply(501, "No such option")


def _choose_level(argument: str) -> bytes:
    """OPTS MODE Z LEVEL: draft-preston-ftpext-deflate-03 section 4. The level is ours to say, as the time
    is."""
    words = argument.upper().split()
    if words[:2] != ["Z", "LEVEL"] or len(words) != 3 or not re.fullmatch(r"[1-9]", words[2], re.ASCII):
        return reply(501, "Syntax: OPTS MODE Z LEVEL number")
    return reply(200, f"MODE Z level is {LEVEL}")


def system(session: Session, argument: str) -> bytes:
    """SYST: RFC 959 section 4.1.3; tells clients how to read LIST."""
    return reply(215, "UNIX Type: L8")


def status(session: Session, argument: str) -> Answer:
    """STAT: RFC 959 section 4.1.3. Without a path it says how things are, also during a transfer."""
    if argument.strip() and session.phase is Phase.LOGGED_IN:
        if session.transfer is not None:
            return reply(450, "Not during a transfer")
        return status_of(session, session.path(argument))
    lines = [f"Encrypted: {'yes' if session.outside.secure else 'no'}"]
    if session.phase is Phase.LOGGED_IN:
        lines += [
            f"Folder: {printable(shown(session.here))}",
            f"Type: {session.representation.name}, structure: F, mode: {'Z' if session.compressed else 'S'}",
            f"Data connections encrypted: {'yes' if session.protect_data else 'no'}",
            f"Transfer under way: {'no' if session.transfer is None else 'yes'}",
        ]
    return replies(211, f"{session.terms.hostname} FTP server", lines, "End")


def help_(session: Session, argument: str) -> bytes:
    """HELP: RFC 959 section 4.1.3."""
    asked = argument.strip().upper()
    if asked:
        command = session.commands.get(asked)
        return reply(214, command.usage) if command else reply(504, "No such command")
    names = sorted(name for name in session.commands if "@" not in name)
    rows = [" ".join(f"{name:<7}" for name in names[at : at + 10]) for at in range(0, len(names), 10)]
    return replies(214, "Commands:", rows, "End")


def nothing(session: Session, argument: str) -> bytes:
    """NOOP: RFC 959 section 4.1.3."""
    return reply(200, "Here I am")


def client_name(session: Session, argument: str) -> bytes:
    """CLNT: in no draft- or RFC; lftp and ncftp say who they are, and other clients wait for the answer."""
    return reply(200, "Noted")


def identify(session: Session, argument: str) -> bytes:
    """CSID: in no RFC; draft-peterson-streamlined-ftp-command-extensions speaks of its kin. As Serv-U has it,
    which made it: who the client is, and what it has to know of us."""
    return reply(200, "Name=mailftp; CaseSensitive=1; DirSep=/;")


def language(session: Session, argument: str) -> bytes:
    """LANG: RFC 2640 section 4.1: English is all that there is, and the default."""
    asked = argument.strip().lower()
    if asked in ("", "i-default") or asked.partition("-")[0] == "en":
        return reply(200, "English it is")
    return reply(504, "Only English")


COMMANDS = (
    Command("FEAT", features, phase=Phase.GREETED, usage="FEAT"),
    Command("OPTS", options, Argument.MUST, Phase.GREETED, usage="OPTS name value"),
    Command("SYST", system, phase=Phase.GREETED, usage="SYST"),
    Command("STAT", status, Argument.MAY, Phase.GREETED, meanwhile=True, usage="STAT [path]"),
    Command("HELP", help_, Argument.MAY, Phase.GREETED, usage="HELP [command]"),
    Command("NOOP", nothing, Argument.MAY, Phase.GREETED, meanwhile=True, usage="NOOP"),
    Command("CLNT", client_name, Argument.MAY, Phase.GREETED, usage="CLNT name"),
    Command("CSID", identify, Argument.MAY, Phase.GREETED, usage="CSID Name=name; Version=version;"),
    Command("LANG", language, Argument.MAY, Phase.GREETED, usage="LANG [language]"),
)
