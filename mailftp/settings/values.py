"""How one value of the settings file is read: a `Kind` for each sort of value that there is.

A kind turns what TOML gave into what the house uses, or raises `Wrong` with what is wrong in words; its
`wants` says what would be right. Kinds of several values report each that is wrong and go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Generic, TypeVar

import idna

from mailftp.message.address import AddressFault, parse_address
from mailftp.settings import Network

T = TypeVar("T")
V = TypeVar("V")

SIZE_UNITS = {
    "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "TIB": 1024**4,
}  # fmt: skip
TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

#: SQLite's integers are signed 64 bit, and so is every size that is kept.
LARGEST_SIZE = 2**63 - 1
#: A century: beyond it clocks overflow, and nobody means it.
LONGEST_TIME = 100 * 365 * 86400

_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]{1,3})", re.ASCII)
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([smhdw])", re.ASCII)
_DOTTED = re.compile(r"[0-9.]+", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_UNDERSCORED = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)


class Wrong(ValueError):
    """What is wrong with a value, in words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in the settings: one line."""

    #: "limits.message_size"; "" is the file as a whole.
    key: str
    wrong: str
    right: str

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{where}{self.wrong}; {self.right}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a value stands, and where its faults go."""

    key: str
    #: Relative paths start here.
    folder: Path
    faults: list[Fault] = field(default_factory=list)

    def at(self, name: str) -> Place:
        """A key below this one."""
        bare = name if _UNDERSCORED.fullmatch(name) else json.dumps(name)
        return Place(f"{self.key}.{bare}" if self.key else bare, self.folder, self.faults)

    def item(self, number: int) -> Place:
        return Place(f"{self.key}[{number}]", self.folder, self.faults)

    def wrong(self, wrong: str, right: str) -> None:
        self.faults.append(Fault(self.key, wrong, right))


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    #: What would be right: "a number from 1 to 10".
    wants: str
    #: Raises Wrong.
    read: Callable[[object, Place], T]

    def take(self, value: object, place: Place, otherwise: V) -> T | V:
        """The value read, or `otherwise` when it is wrong, which is then noted."""
        try:
            return self.read(value, place)
        except Wrong as wrong:
            place.wrong(str(wrong), f"give {self.wants}")
            return otherwise


def shown(value: object) -> str:
    """A value as a person finds it in the file: on one line, not too long, controls escaped."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(name: str, known: list[str]) -> str:
    """The `did you mean "x"` of a name that is not known, or ""."""
    close = get_close_matches(name.lower(), known, 1, 0.6)
    return f'did you mean "{close[0]}"?' if close else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"{shown(value)} is not text")
    if not value.isprintable():
        raise Wrong(f"{shown(value)} has a control character in it")
    return value


def _number(value: object) -> int | float:
    # TOML's true is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Wrong(f"{shown(value)} is not a number")
    return value


def whole(least: int, most: int) -> Kind[int]:
    def read(value: object, place: Place) -> int:
        number = _number(value)
        if not isinstance(number, int):
            raise Wrong(f"{shown(value)} is not a whole number")
        if not least <= number <= most:
            raise Wrong(f"{number} is out of range")
        return number

    return Kind(f"a whole number from {least} to {most}", read)


def truth() -> Kind[bool]:
    def read(value: object, place: Place) -> bool:
        if not isinstance(value, bool):
            raise Wrong(f"{shown(value)} is neither true nor false")
        return value

    return Kind("true or false, without quotes", read)


def one_of(*words: str) -> Kind[str]:
    def read(value: object, place: Place) -> str:
        text = _text(value)
        if text not in words:
            raise Wrong(f"{shown(text)} is not known")
        return text

    return Kind("one of " + ", ".join(f'"{word}"' for word in words), read)


def matching(pattern: str, wants: str) -> Kind[str]:
    """Text of a form that only a regular expression describes."""
    form = re.compile(pattern, re.ASCII)

    def read(value: object, place: Place) -> str:
        text = _text(value)
        if not form.fullmatch(text):
            raise Wrong(f"{shown(text)} has another form")
        return text

    return Kind(wants, read)


def text(wants: str) -> Kind[str]:
    return Kind(wants, lambda value, place: _text(value))


def size(least: int = 1) -> Kind[int]:
    """Octets: a number, or "50MB"."""

    def read(value: object, place: Place) -> int:
        if isinstance(value, str):
            match = _SIZE.fullmatch(value)
            unit = SIZE_UNITS.get(match[2].upper()) if match else None
            if match is None or unit is None:
                raise Wrong(f"{shown(value)} is not a size")
            octets = int(match[1]) * unit
        else:
            number = _number(value)
            if not isinstance(number, int):
                raise Wrong(f"{shown(value)} is not a whole number of octets")
            octets = number
        if not least <= octets <= LARGEST_SIZE:
            raise Wrong(f"{shown(value)} is out of range")
        return octets

    units = "B, KB, MB, GB, TB, KiB, MiB, GiB or TiB"
    return Kind(f'octets from {least}, or a size such as "50MB" (units: {units})', read)


def size_or_unlimited() -> Kind[int | None]:
    sized = size(0)

    def read(value: object, place: Place) -> int | None:
        return None if value == "unlimited" else sized.read(value, place)

    return Kind(f'"unlimited", {sized.wants}', read)


def number_or_unlimited() -> Kind[int | None]:
    counted = whole(0, 10**9)

    def read(value: object, place: Place) -> int | None:
        return None if value == "unlimited" else counted.read(value, place)

    return Kind(f'"unlimited", or {counted.wants}', read)


def seconds(least: float = 0.0, most: float = LONGEST_TIME) -> Kind[float]:
    """A time: seconds, or "5m"."""

    def read(value: object, place: Place) -> float:
        if isinstance(value, str):
            match = _TIME.fullmatch(value)
            if match is None:
                raise Wrong(f"{shown(value)} is not a time")
            length = float(match[1]) * TIME_UNITS[match[2]]
        else:
            length = float(_number(value))
        if not least <= length <= most:
            raise Wrong(f"{shown(value)} is out of range")
        return length

    range_ = f"from {least:g}" + (f" to {most:g}" if most < LONGEST_TIME else "")
    return Kind(f'seconds {range_}, or a time such as "5m" (units: s, m, h, d or w)', read)


def ratio(most: float) -> Kind[float]:
    """A number that may have a fraction."""

    def read(value: object, place: Place) -> float:
        number = float(_number(value))
        if not 0 <= number <= most:
            raise Wrong(f"{shown(value)} is out of range")
        return number

    return Kind(f"a number from 0 to {most:g}, such as 0.5", read)


def seconds_or_never(least: float) -> Kind[float | None]:
    timed = seconds(least)

    def read(value: object, place: Place) -> float | None:
        return None if value == "never" else timed.read(value, place)

    return Kind(f'"never", {timed.wants}', read)


def path() -> Kind[Path]:
    def read(value: object, place: Place) -> Path:
        text = _text(value)
        if not text:
            raise Wrong("it is empty")
        return place.folder / Path(text).expanduser()

    return Kind("a path; a relative one starts at the folder of the settings file", read)


def path_or_none() -> Kind[Path | None]:
    inner = path()
    return Kind(
        f'{inner.wants}, or "" for none',
        lambda value, place: None if value == "" else inner.read(value, place),
    )


def a_domain(value: object) -> str:
    """A domain name in lower case and A-labels (RFC 5890); raises Wrong."""
    name = _text(value).rstrip(".")
    try:
        encoded = idna.encode(name, uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError as fault:
        raise Wrong(f"{shown(value)} is no domain name ({fault})")
    if ip_literal(encoded):
        raise Wrong(f"{shown(value)} is an address and no domain name")
    return encoded


def ip_literal(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def domain() -> Kind[str]:
    return Kind('a domain name such as "example.org"', lambda value, place: a_domain(value))


def mail_address() -> Kind[str]:
    def read(value: object, place: Place) -> str:
        try:
            return parse_address(_text(value)).key
        except AddressFault as fault:
            raise Wrong(f"{shown(value)} is no mail address ({fault})")

    return Kind('a mail address such as "bob@example.org"', read)


def ipv4_or_host() -> Kind[str]:
    def read(value: object, place: Place) -> str:
        text = _text(value)
        if text and (ip_literal(text) or _DOTTED.fullmatch(text)):
            try:
                IPv4Address(text)
            except ValueError:
                raise Wrong(f"{shown(value)} is no IPv4 address")
            return text
        return a_domain(text) if text else text

    return Kind('an IPv4 address such as "192.0.2.1", a host such as "ftp.example.org", or ""', read)


def address() -> Kind[str]:
    def read(value: object, place: Place) -> str:
        try:
            return str(ip_address(_text(value)))
        except ValueError:
            raise Wrong(f"{shown(value)} is no address")

    return Kind('an address such as "192.0.2.1" or "2001:db8::1"', read)


def network() -> Kind[Network]:
    def read(value: object, place: Place) -> Network:
        try:
            return ip_network(_text(value))
        except ValueError as fault:
            raise Wrong(f"{shown(value)} is no network ({fault})")

    return Kind('a network such as "10.0.0.0/8", or an address', read)


def a_port(text: str, least: int = 1) -> int:
    """A port in digits; raises Wrong."""
    if not _PORT.fullmatch(text) or not least <= int(text) <= 65535:
        raise Wrong(f"{shown(text)} is no port from {least} to 65535")
    return int(text)


def split_host(text: str) -> tuple[str, str]:
    """(host, port or "") of "host", "host:port", "[v6]" or "[v6]:port"; a bare IPv6 address has no port."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not ip_literal(host) or ":" not in host:
            raise Wrong(f"{shown(text)} has brackets, but no IPv6 address in them")
        return host, rest[1:]
    if text.count(":") > 1 and ip_literal(text):
        return text, ""
    host, colon, port = text.partition(":")
    if colon and not port:
        raise Wrong(f"{shown(text)} has a colon and no port behind it")
    return host, port


def host_and_port(*, addresses_only: bool = False, schemes: tuple[str, ...] = ()) -> Kind[str]:
    """Kept as text, checked; an optional scheme comes before a colon."""

    def read(value: object, place: Place) -> str:
        text = rest = _text(value)
        for scheme in schemes:
            if rest.startswith(f"{scheme}:"):
                rest = rest[len(scheme) + 1 :]
        host, port = split_host(rest)
        if port:
            a_port(port)
        if not ip_literal(host):
            if addresses_only:
                raise Wrong(f"{shown(host)} is no address (its name could not be looked up)")
            a_domain(host)
        return text

    if addresses_only:
        return Kind('an address such as "192.0.2.1", "192.0.2.1:53" or "[2001:db8::1]:53"', read)
    prefix = "".join(f', or "{scheme}:HOST:PORT"' for scheme in schemes)
    return Kind(f'"HOST:PORT"{prefix}', read)


def mode() -> Kind[int]:
    """Permission bits in octal, in quotes: TOML's 027 is an error, and 27 would be another number."""

    def read(value: object, place: Place) -> int:
        text = _text(value)
        if not _MODE.fullmatch(text):
            raise Wrong(f"{shown(text)} is no mode")
        return int(text, 8)

    return Kind('three octal digits in quotes, such as "027"', read)


def port_range() -> Kind[tuple[int, int] | None]:
    def read(value: object, place: Place) -> tuple[int, int] | None:
        text = _text(value)
        if not text:
            return None
        first, dash, last = text.partition("-")
        if not dash:
            raise Wrong(f"{shown(text)} is no range of ports")
        low, high = a_port(first.strip()), a_port(last.strip())
        if low > high:
            raise Wrong(f"{shown(text)} ends before it begins")
        return low, high

    return Kind('ports such as "30000-30999", or "" for any', read)


def list_of(kind: Kind[T], *, least: int = 0, plural: str = "") -> Kind[tuple[T, ...]]:
    """Each item that is wrong is noted and left out."""
    wants = plural or f"a list, each item {kind.wants}"

    def read(value: object, place: Place) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Wrong(f"{shown(value)} is not a list")
        if len(value) < least:
            raise Wrong("the list is empty")
        taken = [kind.take(item, place.item(number), None) for number, item in enumerate(value)]
        return tuple(item for item in taken if item is not None)

    return Kind(wants, read)


def one_or_list(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A value, or several."""
    several = list_of(kind, least=1)

    def read(value: object, place: Place) -> tuple[T, ...]:
        return several.read(value, place) if isinstance(value, list) else (kind.read(value, place),)

    return Kind(f"{kind.wants}, or a list of such", read)


def table_of(name: Kind[str], kind: Kind[T], wants: str) -> Kind[Mapping[str, T]]:
    """A table whose names are free, domains for one."""

    def read(value: object, place: Place) -> Mapping[str, T]:
        if not isinstance(value, dict):
            raise Wrong(f"{shown(value)} is not a table")
        table: dict[str, T] = {}
        for key, item in value.items():
            below = place.at(key)
            at = name.take(key, below, None)
            taken = kind.take(item, below, None)
            if at is not None and taken is not None:
                if at in table:
                    below.wrong(f"{shown(at)} is there already", "leave one of the two out")
                table[at] = taken
        return table

    return Kind(wants, read)


def named_numbers(names: tuple[str, ...], kind: Kind[T], defaults: Mapping[str, T]) -> Kind[Mapping[str, T]]:
    """A table with known names, each with a default."""

    def read(value: object, place: Place) -> Mapping[str, T]:
        if not isinstance(value, dict):
            raise Wrong(f"{shown(value)} is not a table")
        table = dict(defaults)
        for key, item in value.items():
            below = place.at(key)
            if key not in names:
                hint = did_you_mean(key, list(names))
                below.wrong("there is no such key", hint or f"the keys here are {', '.join(names)}")
            else:
                table[key] = kind.take(item, below, defaults[key])
        return table

    return Kind(f"a table with any of {', '.join(names)}, each {kind.wants}", read)
