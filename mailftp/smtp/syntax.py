"""SMTP's octets: command lines in, replies out. Pure functions; nothing here knows of a connection.

Grammar of RFC 5321 section 4.1, read leniently where people type by hand and real clients differ (a path
without brackets, spaces after the colon) and strictly where leniency has been an attack (control octets,
numbers, line ends). What is wrong is raised as `SyntaxFault`, which carries the reply to send.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.message.xtext import (
    UTF8_ADDRESS,
    XTEXT,
    XTEXT_OCTETS,
    decode_utf8_address,
    decode_xtext,
    decode_xtext_octets,
)

#: A command line with its CRLF. RFC 5321 section 4.5.3.1.4 says 512, extensions add to it.
COMMAND_LINE = 2048
#: A line of an AUTH exchange with its CRLF (RFC 4954 section 4).
AUTH_LINE = 12288
#: A reply line with its CRLF (RFC 5321 section 4.5.3.1.5).
REPLY_LINE = 512


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; `text` has one line for each line of it.

    `status` is the RFC 3463 code and goes before each line; "" leaves it out (greetings, EHLO, 334, 354).
    """

    code: int
    status: str
    text: str

    def encode(self) -> bytes:
        """With CRLF; a line of more than 512 octets is continued on the next (RFC 5321 section 4.2.1)."""
        return _encode(self)


@lru_cache(maxsize=128)
def _encode(reply: Reply) -> bytes:
    status = f"{reply.status} " if reply.status else ""
    if len(reply.text) < 480 and reply.text.isascii() and reply.text.isprintable():
        return f"{reply.code} {status}{reply.text}\r\n".encode("ascii")
    # Words can hold what a client sent; nothing of it may end the line or reach a terminal.
    room = REPLY_LINE - len(status) - 6
    lines = []
    for line in reply.text.split("\n"):
        clean = "".join(c if " " <= c <= "~" else "?" for c in line)
        lines += [clean[at : at + room] for at in range(0, len(clean), room)] or [""]
    last = len(lines) - 1
    return "".join(
        f"{reply.code}{' ' if number == last else '-'}{status}{line}\r\n" for number, line in enumerate(lines)
    ).encode("ascii")


class SyntaxFault(Exception):
    """A command cannot be read; `reply` says so to the client."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(f"{code} {status} {text}")
        self.reply = Reply(code, status, text)


# Command lines.

_COMMAND = re.compile(rb"([A-Za-z]{1,16})(?:[ \t]+(.*?))?[ \t]*", re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def split_command(line: bytes) -> tuple[str, bytes]:
    """Verb in upper case and argument without outer blanks, of a line without its CRLF.

    RFC 5321 section 4.1.1. Trailing blanks are tolerated, as the RFC asks; octets that no command may
    hold are not.
    """
    match = _COMMAND.fullmatch(line)
    if match is None:
        raise SyntaxFault(500, "5.5.2", "That is not a command")
    if _CONTROL.search(line):
        raise SyntaxFault(500, "5.5.2", "Control characters are not allowed in a command")
    return match[1].decode("ascii").upper(), match[2] or b""


def no_argument(verb: str, argument: bytes) -> None:
    """For commands that take none: DATA, RSET, QUIT (RFC 5321 section 4.1.1), STARTTLS (RFC 3207)."""
    if argument:
        raise SyntaxFault(501, "5.5.4", f"{verb} takes no argument")


# Real names hold underscores and odder things; what could end a field or a comment of the Received line
# that the name is written to is kept out.
_HELLO = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._+=~#/:-]{0,254}|\[[A-Za-z0-9.:-]{1,100}\]")


def parse_hello(verb: str, argument: bytes) -> str:
    """The client's name: a domain or an address literal (RFC 5321 section 4.1.1.1)."""
    if not argument:
        raise SyntaxFault(501, "5.5.4", f"Syntax: {verb} hostname")
    if _HELLO.fullmatch(argument) is None:
        raise SyntaxFault(501, "5.5.4", f"{verb} takes one host name or address literal")
    return argument.decode("ascii")


_BDAT = re.compile(rb"([0-9]{1,20})(?:[ \t]+(LAST))?", re.IGNORECASE)


def parse_bdat(argument: bytes) -> tuple[int, bool] | None:
    """Octets of the chunk and whether it is the last (RFC 3030 section 2); None when it cannot be read."""
    match = _BDAT.fullmatch(argument)
    return (int(match[1]), match[2] is not None) if match else None


# AUTH.

_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_AUTH = re.compile(rb"([A-Za-z0-9_-]{1,20})(?:[ \t]+([^ \t]+))?")


def parse_auth(argument: bytes) -> tuple[str, bytes | None]:
    """Mechanism in upper case, and the initial response: None when there is none, b"" for "=".

    RFC 4954 section 4.
    """
    match = _AUTH.fullmatch(argument)
    if match is None:
        raise SyntaxFault(501, "5.5.4", "Syntax: AUTH mechanism [initial response]")
    initial = match[2]
    if initial is not None:
        initial = b"" if initial == b"=" else _from_base64(initial)
    return match[1].decode("ascii").upper(), initial


def parse_auth_response(line: bytes) -> bytes:
    """What a client answers to a challenge; "*" cancels the exchange (RFC 4954 section 4)."""
    if line == b"*":
        raise SyntaxFault(501, "5.7.0", "Authentication cancelled")
    return _from_base64(line)


def _from_base64(text: bytes) -> bytes:
    """Base64 and nothing else: the decoder alone would pass over what is none."""
    if _BASE64.fullmatch(text) is None:
        raise SyntaxFault(501, "5.5.2", "That is not base64")
    return b64decode(text)


# Paths and parameters.


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a MAIL or RCPT parameter may say. `values` None: it takes no value."""

    values: re.Pattern[str] | None
    expected: str


#: RFC 3339 section 5.6.
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EVENT = "(?:SUCCESS|FAILURE|DELAY)"

#: Keyword -> parameter. What a session has not offered it does not take, so a row here is half of an
#: extension and its keyword in the EHLO reply the other half.
MAIL_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        # RFC 1870 section 3: up to twenty digits.
        "SIZE": Parameter(re.compile(r"[0-9]{1,20}"), "a number of octets"),
        # RFC 6152 section 2, RFC 3030 section 3.
        "BODY": Parameter(
            re.compile(r"7BIT|8BITMIME|BINARYMIME", re.IGNORECASE), "7BIT, 8BITMIME or BINARYMIME"
        ),
        # RFC 4954 section 5.
        "AUTH": Parameter(re.compile(rf"<>|{XTEXT}{{1,500}}"), "a mailbox or <> as xtext"),
        # RFC 6531 section 3.1.
        "SMTPUTF8": Parameter(None, "no value"),
        # RFC 3461 sections 4.3 and 4.4.
        "RET": Parameter(re.compile(r"FULL|HDRS", re.IGNORECASE), "FULL or HDRS"),
        "ENVID": Parameter(re.compile(rf"(?=.{{1,100}}\Z){XTEXT}+"), "an identifier as xtext"),
        # RFC 8689 section 2.
        "REQUIRETLS": Parameter(None, "no value"),
        # RFC 4865 section 5.
        "HOLDFOR": Parameter(re.compile(r"[0-9]{1,9}"), "a number of seconds"),
        "HOLDUNTIL": Parameter(_DATE_TIME, 'a date and time, "2027-01-31T08:00:00Z"'),
        # RFC 2852 section 4.
        "BY": Parameter(re.compile(r"[+-]?[0-9]{1,9};[NR]T?", re.IGNORECASE), "seconds;N or seconds;R"),
        # RFC 6710 section 4.
        "MT-PRIORITY": Parameter(re.compile(r"0|-?[1-9]"), "a number from -9 to 9"),
    }
)
RCPT_PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        # RFC 3461 section 4.1: NEVER stands alone.
        "NOTIFY": Parameter(
            re.compile(rf"NEVER|{_EVENT}(?:,{_EVENT}){{0,2}}", re.IGNORECASE),
            "NEVER, or some of SUCCESS,FAILURE,DELAY",
        ),
        # RFC 3461 section 4.2; RFC 6533 section 3 for the type "utf-8".
        "ORCPT": Parameter(
            re.compile(
                rf"(?=.{{1,500}}\Z)(?:(?i:utf-8);{UTF8_ADDRESS}+|(?!(?i:utf-8);)[A-Za-z0-9-]{{1,40}};{XTEXT_OCTETS}+)"
            ),
            "an address type and an address as xtext",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class MailFrom:
    """MAIL's argument. `sender` None is the null reverse-path."""

    sender: Address | None
    parameters: Mapping[str, str]

    @property
    def size(self) -> int:
        """Octets that the client declared, or 0."""
        return int(self.parameters.get("SIZE", "0"))

    @property
    def binary(self) -> bool:
        """RFC 3030: its parts may hold any octets, and it comes by BDAT."""
        return self.parameters.get("BODY", "").upper() == "BINARYMIME"

    @property
    def requiretls(self) -> bool:
        """RFC 8689."""
        return "REQUIRETLS" in self.parameters

    @property
    def priority(self) -> int:
        """RFC 6710, -9 to 9."""
        return int(self.parameters.get("MT-PRIORITY", "0"))

    @property
    def deliver_by(self) -> tuple[int, str] | None:
        """RFC 2852: seconds from now, and "N" or "R"."""
        seconds, _, mode = self.parameters.get("BY", "").partition(";")
        return (int(seconds), mode[0].upper()) if mode else None

    @property
    def hold_for(self) -> int | None:
        """RFC 4865, in seconds."""
        seconds = self.parameters.get("HOLDFOR")
        return None if seconds is None else int(seconds)

    @property
    def hold_until(self) -> float | None:
        """RFC 4865, in seconds since the epoch. Raises ValueError for a date that there is not."""
        text = self.parameters.get("HOLDUNTIL")
        return None if text is None else datetime.fromisoformat(text.upper()).timestamp()

    @property
    def smtputf8(self) -> bool:
        """RFC 6531: addresses and header may be UTF-8."""
        return "SMTPUTF8" in self.parameters

    @property
    def ret(self) -> str:
        """RFC 3461: how much of the message a report gives back, "FULL", "HDRS" or ""."""
        return self.parameters.get("RET", "").upper()

    @property
    def envid(self) -> str:
        """RFC 3461: what the sender calls this message, decoded; or ""."""
        return decode_xtext(self.parameters.get("ENVID", ""))


@dataclass(frozen=True, slots=True)
class RcptTo:
    """RCPT's argument. A bare "postmaster" has an empty domain (RFC 5321 section 4.1.1.3)."""

    recipient: Address
    parameters: Mapping[str, str]

    @property
    def notify(self) -> frozenset[str]:
        """RFC 3461: what is to be reported, of "NEVER", "SUCCESS", "FAILURE", "DELAY"; empty: not said."""
        said = self.parameters.get("NOTIFY", "")
        return frozenset(said.upper().split(",")) if said else frozenset()

    @property
    def orcpt(self) -> str:
        """RFC 3461: "rfc822;user@example.test", decoded, or ""."""
        kind, _, address = self.parameters.get("ORCPT", "").partition(";")
        if not kind:
            return ""
        if kind.lower() == "utf-8":
            return f"{kind};{decode_utf8_address(address)}"
        decoded = decode_xtext_octets(address)
        # An address beyond ASCII has a type of its own, by which it can be told on (RFC 6533 section 3).
        kind = kind if decoded.isascii() or kind.lower() != "rfc822" else "utf-8"
        return f"{kind};{decoded}"


# A bracketed path may hold a quoted local part with brackets and blanks in it; a bare one may not.
_PATH = re.compile(
    rb"""[ \t]*(?:<(?P<path>[^<>"]*(?:"(?:[^"\\]|\\.)*"[^<>"]*)*)>|(?P<bare>[^ \t<>"]+))"""
    rb"""(?:[ \t]+(?P<rest>.*))?"""
)
_FROM = re.compile(rb"FROM[ \t]*:", re.IGNORECASE)
_TO = re.compile(rb"TO[ \t]*:", re.IGNORECASE)
# RFC 5321 appendix C: source routes are to be ignored.
_SOURCE_ROUTE = re.compile(r"""\A@[^:"]{1,500}:""")
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]{0,63})(?:=([!-<>-~\x80-\xff]{1,1000}))?")


def parse_mail(argument: bytes, offered: frozenset[str]) -> MailFrom:
    """MAIL FROM:<reverse-path> [parameters] (RFC 5321 section 4.1.1.2)."""
    path, rest = _split_path(_FROM, argument, "MAIL FROM:<address>")
    parameters = _parameters(rest, MAIL_PARAMETERS, offered)
    text = _text(path, "SMTPUTF8" in parameters)
    mail = MailFrom(_address(text, "5.1.7") if path else None, parameters)
    if parameters:
        _check_times(mail)
    return mail


def _check_times(mail: MailFrom) -> None:
    """RFC 4865 section 4.2, RFC 2852 section 4."""
    if mail.hold_for is not None and "HOLDUNTIL" in mail.parameters:
        raise SyntaxFault(501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other")
    try:
        _ = mail.hold_until
    except (ValueError, OverflowError):
        raise SyntaxFault(501, "5.5.4", "HOLDUNTIL names a time that there is not") from None
    if mail.deliver_by is not None and mail.deliver_by[1] == "R" and mail.deliver_by[0] <= 0:
        raise SyntaxFault(501, "5.5.4", "BY with R takes a time that is still to come")


def parse_rcpt(argument: bytes, offered: frozenset[str], utf8: bool = False) -> RcptTo:
    """RCPT TO:<forward-path> [parameters] (RFC 5321 section 4.1.1.3). `utf8`: MAIL said SMTPUTF8."""
    path, rest = _split_path(_TO, argument, "RCPT TO:<address>")
    parameters = _parameters(rest, RCPT_PARAMETERS, offered)
    text = _text(path, utf8)
    if not text:
        raise SyntaxFault(501, "5.1.3", "A recipient is needed")
    recipient = Address(text, "") if text.lower() == "postmaster" else _address(text, "5.1.3")
    rcpt = RcptTo(recipient, parameters)
    if "ORCPT" in parameters:
        _check_orcpt(rcpt, utf8)
    return rcpt


def parse_vrfy(argument: bytes) -> Address | None:
    """VRFY's argument with or without brackets; None for what is no whole ASCII address (RFC 5321 section
    4.1.1.6)."""
    if not argument:
        raise SyntaxFault(501, "5.5.4", "Syntax: VRFY address")
    inner = argument[1:-1] if argument.startswith(b"<") and argument.endswith(b">") else argument
    try:
        return parse_address(inner.decode("ascii"))
    except (UnicodeDecodeError, AddressFault):
        return None


def _check_orcpt(rcpt: RcptTo, utf8: bool) -> None:
    if not utf8 and not rcpt.parameters["ORCPT"].isascii():
        raise SyntaxFault(501, "5.5.4", "ORCPT beyond ASCII needs SMTPUTF8")
    try:
        _ = rcpt.orcpt
    except ValueError as fault:
        raise SyntaxFault(501, "5.5.4", f"Bad ORCPT: {fault}") from None


def _split_path(prefix: re.Pattern[bytes], argument: bytes, usage: str) -> tuple[bytes, bytes]:
    start = prefix.match(argument)
    match = _PATH.fullmatch(argument, start.end()) if start else None
    if match is None:
        raise SyntaxFault(501, "5.5.4", f"Syntax: {usage}")
    path = match["bare"] if match["path"] is None else match["path"].strip(b" \t")
    return path, match["rest"] or b""


def _text(path: bytes, utf8: bool) -> str:
    try:
        text = path.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError:
        # RFC 6531 section 3.5.
        text = "That address is not UTF-8" if utf8 else "An address beyond ASCII needs SMTPUTF8"
        raise SyntaxFault(553, "5.6.7", text) from None
    return _SOURCE_ROUTE.sub("", text, count=1) if path[:1] == b"@" else text


# A connection that brings many messages names the same few over and over; refusals are not remembered.
_known_address = lru_cache(maxsize=1024)(parse_address)


def _address(text: str, status: str) -> Address:
    try:
        return _known_address(text)
    except AddressFault as fault:
        raise SyntaxFault(501, status, f"Bad address: {fault}") from None


_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


def _parameters(rest: bytes, known: Mapping[str, Parameter], offered: frozenset[str]) -> Mapping[str, str]:
    if not rest:
        return _NO_PARAMETERS
    found: dict[str, str] = {}
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise SyntaxFault(501, "5.5.4", "Parameters look like KEYWORD or KEYWORD=value")
        keyword, value = (
            match[1].decode("ascii").upper(),
            (match[2] or b"").decode("utf-8", "surrogateescape"),
        )
        parameter = known.get(keyword)
        if parameter is None or keyword not in offered:
            raise SyntaxFault(555, "5.5.4", f"Parameter {keyword} is not supported")
        if keyword in found:
            raise SyntaxFault(501, "5.5.4", f"Parameter {keyword} is there twice")
        if parameter.values.fullmatch(value) is None if parameter.values else match[2] is not None:
            raise SyntaxFault(501, "5.5.4", f"Parameter {keyword} takes {parameter.expected}")
        found[keyword] = value
    return found
