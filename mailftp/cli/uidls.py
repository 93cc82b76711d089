"""`mailftp account uidl`: messages that came from another server keep the identifiers they had there.

A POP3 client that leaves mail on the server knows it by UIDL (RFC 1939 section 7). Whoever moves here without
them has every client fetch everything once more.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of

#: Octets of the file that are read: a line is a hundred or so.
LARGEST_FILE = 1024 * 1024 * 1024
#: UIDLs of one request to the server.
PIECE = 1000
#: Messages not found that are named one by one.
SHOWN = 10

_UIDL = re.compile(r"[!-~]{1,70}\Z")
_UID = re.compile(r"uid:([1-9][0-9]{0,9})\Z")
_HEADER = re.compile(r"header:([0-9a-f]{64})\Z")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,998}>\Z")


class UidlOptions(Options):
    synopsis = "Usage: mailftp account uidl ADDRESS FILE [--folder NAME] [--config FILE]"
    longdesc = (
        "Give messages the UIDLs that they had on another server. A line of FILE (- is standard input) is a"
        " UIDL and, after a space, its message: uid:NUMBER, header:SHA-256, or <message-id>."
    )
    optParameters = [CONFIG, ["folder", None, "INBOX", "The folder that the messages are in."]]

    def parseArgs(self, address: str, file: str) -> None:  # type: ignore[override]  # what is there
        self["address"], self["file"] = address, file


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    uidl: str
    #: "uid:17", "header:..." or "<...>".
    message: str


def set_uidls(options: UidlOptions) -> None:
    settings = settings_of(options["config"])
    lines = read_lines(options["file"])
    account = {"address": options["address"], "folder": options["folder"]}
    there: dict[str, deque[int]] = defaultdict(deque)
    after = 0
    while found := request(settings, {"do": "account messages", "after": after, **account}):
        for uid, header, message_id in found:
            for key in (f"uid:{uid}", f"header:{header}", message_id):
                there[key].append(uid)
        after = found[-1][0]
    pairs, missing = match(lines, there)
    done = 0
    for start in range(0, len(pairs), PIECE):
        piece = pairs[start : start + PIECE]
        done += request(settings, {"do": "account uidl", "uidls": piece, **account})
    print(f"set {done} of {len(lines)}")
    if missing:
        raise CommandFailed(_not_found(options["file"], missing))


def match(lines: list[Line], there: dict[str, deque[int]]) -> tuple[list[tuple[int, str]], list[Line]]:
    """((UID, UIDL) of the messages that are there, lines whose message is not). Where several messages are
    alike, the first line of that kind is the first of them: both are in the order of their arrival."""
    pairs: dict[int, str] = {}
    missing = []
    for line in lines:
        alike = there.get(line.message)
        while alike and alike[0] in pairs:
            alike.popleft()
        if alike:
            pairs[alike.popleft()] = line.uidl
        else:
            missing.append(line)
    return list(pairs.items()), missing


def _not_found(file: str, missing: list[Line]) -> str:
    shown = [f"{file}, line {line.number}: no message {line.message}" for line in missing[:SHOWN]]
    if len(missing) > SHOWN:
        shown.append(f"and {len(missing) - SHOWN} more")
    return "\n".join(shown)


def read_lines(file: str) -> list[Line]:
    """The lines of the file. Raises CommandFailed for the first that is wrong, before anything is set."""
    lines = []
    first: dict[str, int] = {}
    for number, text in enumerate(_texts(file), 1):
        if not text.strip() or text.startswith("#"):
            continue
        uidl, _, message = text.partition(" ")
        message = message.strip()
        where = f"{file}, line {number}"
        if _UIDL.match(uidl) is None:
            raise CommandFailed(f"{where}: {uidl[:80]!r} is no UIDL: 1 to 70 characters of ASCII, no space")
        if not any(form.match(message) for form in (_UID, _HEADER, _MESSAGE_ID)):
            raise CommandFailed(
                f"{where}: {message[:80]!r} is no message; write uid:NUMBER, header:SHA-256 or <message-id>"
            )
        if uidl in first:
            raise CommandFailed(f"{where}: {uidl} is given to the message of line {first[uidl]} already")
        first[uidl] = number
        lines.append(Line(number, uidl, message))
    return lines


def _texts(file: str) -> Iterator[str]:
    try:
        if file == "-":
            octets = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(file).open("rb") as stream:
                octets = stream.read(LARGEST_FILE + 1)
    except OSError as fault:
        raise CommandFailed(f"{file}: {fault.strerror}")
    if len(octets) > LARGEST_FILE:
        raise CommandFailed(f"{file}: larger than {LARGEST_FILE} octets")
    for line in octets.splitlines():
        yield line.decode("utf-8", "backslashreplace")
