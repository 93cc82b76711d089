"""Octets to commands, and answers to octets; pure functions and one line splitter.

RFC 959, RFC 854 (the Telnet octets that may stand in a command), RFC 2428, RFC 2640, RFC 3659.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

from mailftp.files.home import Path

#: Octets of a command line without its end: PATH_MAX of Linux, and a verb.
LINE_LIMIT = 4096 + 64
#: What REST, ALLO and RANG count in: a file offset.
OFFSET_LIMIT = 2**63 - 1

_IAC, _SB, _SE = 255, 250, 240
#: WILL, WONT, DO, DONT: an option octet follows.
_NEGOTIATION = range(251, 255)


class SyntaxFault(Exception):
    """A command that cannot be done as it was said."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class TooLong:
    """Stands for a line that was thrown away because of its length."""


TOO_LONG = TooLong()


class Telnet:
    """Takes Telnet commands out of a stream: RFC 854 page 14, for the interrupts before ABOR (RFC 959
    section 4.1.3) and for clients that negotiate. Holds no octet of the stream itself."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        #: What the last octets were: "" text, "iac", "option", "sub" (a subnegotiation), "sub-iac".
        self._state = ""

    def strip(self, data: bytes) -> bytes:
        """The text in `data`. IAC IAC is one octet 255, which a name may hold."""
        if not self._state and _IAC not in data:
            return data
        kept = bytearray()
        start = 0
        while start < len(data):
            if not self._state:
                found = data.find(b"\xff", start)
                if found < 0:
                    kept += data[start:]
                    break
                kept += data[start:found]
                self._state, start = "iac", found + 1
            else:
                start += self._after(data[start], kept)
        return bytes(kept)

    def _after(self, octet: int, kept: bytearray) -> int:
        """One octet that is not plain text; how many octets were used."""
        if self._state == "option":
            self._state = ""
        elif self._state == "sub":
            self._state = "sub-iac" if octet == _IAC else "sub"
        elif self._state == "sub-iac":
            self._state = "" if octet == _SE else "sub"
        elif octet == _SB:
            self._state = "sub"
        elif octet in _NEGOTIATION:
            self._state = "option"
        else:
            self._state = ""
            if octet == _IAC:
                kept.append(_IAC)
            elif octet < _SE:
                # No command: the urgent octet of a Synch was lost on the way, and this is text.
                return 0
        return 1


class Lines:
    """Cuts a stream into command lines; what it holds never exceeds LINE_LIMIT.

    CR LF ends a line, and a bare LF as well, because people and scripts send it. A CR within a line is part
    of a name (CR NUL, RFC 2640 section 3.1).
    """

    __slots__ = ("_buffer", "_skipping", "_telnet")

    def __init__(self) -> None:
        self._buffer = b""
        self._skipping = False
        self._telnet = Telnet()

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """The lines that are complete now."""
        *complete, self._buffer = (self._buffer + self._telnet.strip(data)).split(b"\n")
        lines: list[bytes | TooLong] = []
        for line in complete:
            if self._skipping:
                self._skipping = False
            elif len(line) > LINE_LIMIT + 1:
                lines.append(TOO_LONG)
            else:
                lines.append(line.removesuffix(b"\r").replace(b"\r\0", b"\r"))
        if len(self._buffer) > LINE_LIMIT + 1:
            if not self._skipping:
                lines.append(TOO_LONG)
            self._skipping, self._buffer = True, b""
        return lines

    def clear(self) -> None:
        """Forget what has come: it was sent before TLS began."""
        self._buffer, self._skipping, self._telnet = b"", False, Telnet()


_VERB = re.compile(rb"[A-Za-z][A-Za-z0-9@]{2,7}")


def parse_command(line: bytes) -> tuple[str, str]:
    """Verb in capitals and argument; one space stands between them, others belong to the argument.

    The argument is text with surrogate escapes for octets that are not UTF-8. Raises SyntaxFault.
    """
    verb, _, argument = line.partition(b" ")
    if not _VERB.fullmatch(verb):
        raise SyntaxFault(500, "Syntax error")
    if b"\0" in argument:
        # A name cut at NUL has been a way around filters.
        raise SyntaxFault(501, "NUL in argument")
    return verb.decode("ascii").upper(), argument.decode("utf-8", "surrogateescape")


def resolve(here: Path, argument: str) -> Path:
    """An argument as a path from the root: absolute, or relative to `here`; ".." stops at the root."""
    names = [] if argument.startswith("/") else list(here)
    for name in argument.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return tuple(names)


def shown(path: Path) -> str:
    """A path as text for a reply."""
    return "/" + "/".join(path)


def printable(text: str) -> str:
    """Text that cannot end a reply or start another one: a file's name may have come over IMAP or HTTP."""
    return text.translate(_CONTROLS)


_CONTROLS = dict.fromkeys((*range(32), 127), "?")


def quoted(path: Path) -> str:
    """A path in a 257 reply: quotes are doubled (RFC 959 appendix II)."""
    return '"' + printable(shown(path)).replace('"', '""') + '"'


def octets(text: str) -> bytes:
    """Text as it goes over the wire."""
    return text.encode("utf-8", "surrogateescape")


def reply(code: int, text: str) -> bytes:
    """One line; RFC 959 section 4.2."""
    return octets(f"{code} {text}\r\n")


def replies(code: int, first: str, middle: Iterable[str], last: str) -> bytes:
    """Several lines; those in the middle start with a space so that none looks like the last."""
    lines = "".join(f" {line}\r\n" for line in middle)
    return octets(f"{code}-{first}\r\n{lines}{code} {last}\r\n")


_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


def parse_number(text: str, limit: int = OFFSET_LIMIT) -> int:
    """A decimal number from 0 to `limit`. Raises SyntaxFault: ProFTPD took 2^63 for a negative number, and
    vsftpd any junk for 0, and both then sent a wrong file."""
    if not _NUMBER.fullmatch(text) or int(text) > limit:
        raise SyntaxFault(501, "Not a number in range")
    return int(text)


_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


def parse_mode(text: str) -> int:
    """Permission bits in octal, "644" or "0644". Raises SyntaxFault."""
    if not _MODE.fullmatch(text):
        raise SyntaxFault(501, "Not a mode: three octal digits, such as 644")
    return int(text, 8)


def unquoted(text: str) -> tuple[str | None, str]:
    """A name in quotes at the start, a quote in it doubled, and what is behind it; None where there is none.
    Raises SyntaxFault."""
    if not text.startswith('"'):
        return None, text
    found = re.match(r'"((?:[^"]|"")+)"', text)
    if found is None:
        raise SyntaxFault(501, "A quote is missing")
    return found[1].replace('""', '"'), text[found.end() :]


def words(text: str) -> list[str]:
    """Names with spaces between them; one that has spaces itself stands in quotes. Raises SyntaxFault."""
    found: list[str] = []
    rest = text.strip(" ")
    while rest:
        name, behind = unquoted(rest)
        if name is None:
            name, _, behind = rest.partition(" ")
        elif behind and not behind.startswith(" "):
            raise SyntaxFault(501, "A space is missing")
        found.append(name)
        rest = behind.lstrip(" ")
    return found


_PORT = re.compile(r"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})", re.ASCII)


def parse_port(text: str) -> tuple[IPv4Address, int]:
    """PORT, RFC 959 section 4.1.2: address and port as six numbers. Raises SyntaxFault."""
    found = _PORT.fullmatch(text)
    numbers = [int(number) for number in found.groups()] if found else [256]
    if max(numbers) > 255:
        raise SyntaxFault(501, "Six numbers from 0 to 255, please")
    return IPv4Address(bytes(numbers[:4])), numbers[4] << 8 | numbers[5]


_NUMBERS = re.compile(r"[0-9]{1,3}(,[0-9]{1,3}){5,30}", re.ASCII)


def parse_long_port(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """LPRT, RFC 1639 section 2: family, the address's length and octets, the port's. Raises SyntaxFault; 521
    for a family other than 4 and 6, with those that there are, as section 2 has it."""
    numbers = [int(number) for number in text.split(",")] if _NUMBERS.fullmatch(text) else [256]
    if max(numbers) > 255:
        raise SyntaxFault(501, "Not a valid LPRT argument")
    family, length, *rest = numbers
    if family not in (4, 6):
        raise SyntaxFault(521, "Supported address families are (4, 6)")
    address, port = bytes(rest[:length]), rest[length:]
    if length != (4 if family == 4 else 16) or len(port) != 3 or port[0] != 2:
        raise SyntaxFault(501, "Not a valid LPRT argument")
    return ip_address(address), port[1] << 8 | port[2]


_EPRT = re.compile(r"([\x21-\x7e])([0-9]{1,2})\1([0-9A-Fa-f:.]{2,45})\1([0-9]{1,5})\1", re.ASCII)


def parse_eprt(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """EPRT, RFC 2428 section 2. Raises SyntaxFault; 522 for a protocol other than IPv4 and IPv6."""
    found = _EPRT.fullmatch(text)
    if not found:
        raise SyntaxFault(501, "Not a valid EPRT argument")
    family = {"1": 4, "2": 6}.get(found[2])
    if family is None:
        raise SyntaxFault(522, "Network protocol not supported, use (1,2)")
    try:
        address = ip_address(found[3])
    except ValueError:
        raise SyntaxFault(501, "Not an address") from None
    port = int(found[4])
    if address.version != family or port > 65535:
        raise SyntaxFault(501, "Not a valid EPRT argument")
    return address, port


@dataclass(frozen=True, slots=True)
class Representation:
    """What TYPE chose."""

    ascii: bool
    name: str


_TYPES = {
    "A": Representation(True, "A"),
    "A N": Representation(True, "A"),
    "I": Representation(False, "I"),
    "L 8": Representation(False, "I"),
    "L8": Representation(False, "I"),
}


def parse_type(text: str) -> Representation:
    """TYPE, RFC 959 section 3.1.1. Raises SyntaxFault: 504 for a type that is known but not spoken here."""
    known = " ".join(text.upper().split())
    if known in _TYPES:
        return _TYPES[known]
    raise SyntaxFault(
        504 if re.fullmatch(r"[AE]( [NTC])?|L ?[0-9]{1,3}", known) else 501, "Type not supported"
    )


_TIME = re.compile(r"([0-9]{14})(\.[0-9]{1,9})?", re.ASCII)


def parse_time(text: str) -> float:
    """A time-val, RFC 3659 section 2.3, as seconds since the epoch; always UTC. Raises SyntaxFault."""
    found = _TIME.fullmatch(text)
    if found:
        try:
            moment = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            pass
        else:
            return moment.timestamp()
    raise SyntaxFault(501, "Not a time: YYYYMMDDHHMMSS")


def format_time(seconds: float) -> str:
    """A time-val, whole seconds. Years that have no four digits are shown as the epoch: FileZilla drops
    entries of the year 1."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return f"{moment.year:04}{moment:%m%d%H%M%S}"
