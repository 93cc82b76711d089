"""What the machine says of names: /etc/resolv.conf and /etc/hosts, read again when they change."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename

from mailftp.dns.answers import domain_name
from mailftp.dns.servers import Server, system_server

#: Seconds to wait for a server, in each round over all of them: 11 s with one server that is silent.
ROUNDS = (2.0, 4.0, 5.0)
#: Seconds between two looks at the files. A look is a stat of something that the kernel has at hand.
LOOK = 5.0
#: Octets of each file that are read. Lists of a hundred thousand advertisers are that long, and they stand
#: behind the machine's own names.
LARGEST = 1 << 20
_SERVERS = 3
_ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_NUMBER = re.compile(r"[0-9]{1,2}", re.ASCII)

Key = tuple[dns.name.Name, dns.rdatatype.RdataType]


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """resolv.conf(5), what of it is about asking. `search` is not: a mail domain is a whole name."""

    #: The first three; this machine where there are none.
    servers: tuple[Server, ...] = (Server("127.0.0.1"),)
    #: Seconds of patience in each round: `timeout` and `attempts`.
    rounds: tuple[float, ...] = ROUNDS
    rotate: bool = False
    trust_ad: bool = False
    use_tcp: bool = False

    @classmethod
    def parse(cls, text: str) -> ResolvConf:
        found: list[Server] = []
        options: dict[str, str] = {}
        for line in text.splitlines()[:1000]:
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                server = system_server(words[1])
                found += [server] if server is not None else []
            elif words[:1] == ["options"]:
                options.update(word.partition(":")[::2] for word in words[1:])
        servers = tuple(found[:_SERVERS]) or cls().servers
        rounds = _rounds(options)
        return cls(servers, rounds, "rotate" in options, "trust-ad" in options, "use-vc" in options)


def _rounds(options: dict[str, str]) -> tuple[float, ...]:
    """Each round is twice as patient as the one before; at most 30 s and 5 rounds, as in the C library."""
    if "timeout" not in options and "attempts" not in options:
        return ROUNDS
    first = _number(options.get("timeout", ""), 5, 30)
    return tuple(
        float(min(30, first * 2**number)) for number in range(_number(options.get("attempts", ""), 2, 5))
    )


def _number(text: str, otherwise: int, most: int) -> int:
    return max(1, min(int(text), most)) if _NUMBER.fullmatch(text) else otherwise


@dataclass(frozen=True, slots=True)
class Hosts:
    """hosts(5): addresses by name, and the first name of each address."""

    records: dict[Key, tuple[dns.rdata.Rdata, ...]] = field(default_factory=dict)
    names: frozenset[dns.name.Name] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Hosts:
        """Lines that cannot be read are passed over."""
        found: dict[Key, dict[str, None]] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            address = _address(words[0]) if words else None
            if address is None:
                continue
            kind = dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A
            names = list(_names(words[1:]))
            for name in names:
                found.setdefault((name, kind), {})[address] = None
            if names:
                reverse = dns.reversename.from_address(address), dns.rdatatype.PTR
                found.setdefault(reverse, {names[0].to_text(): None})
        records = {
            key: tuple(dns.rdata.from_text(dns.rdataclass.IN, key[1], data) for data in given)
            for key, given in found.items()
        }
        return cls(records, frozenset(name for name, kind in found if kind != dns.rdatatype.PTR))

    def tell(self, key: Key) -> bool:
        """Whether this is for the file to answer: an address of a name in it, or the name of an address."""
        return key in self.records or key[1] in _ADDRESSES and key[0] in self.names


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _names(words: Iterable[str]) -> Iterable[dns.name.Name]:
    for word in words:
        try:
            yield domain_name(word)
        except ValueError:
            continue


class Machine:
    """Both files as they are now. Paths of None are not looked at."""

    def __init__(self, resolv_conf: Path | None, hosts: Path | None) -> None:
        self._resolv_path, self._hosts_path = resolv_conf, hosts
        self._marks: tuple[object, ...] = ()
        self._looked = float("-inf")
        self.resolv_conf, self.hosts = ResolvConf(), Hosts()

    def look(self, now: float) -> None:
        """Read what has changed, when it is time to look again."""
        if now - self._looked < LOOK:
            return
        self._looked = now
        marks = _mark(self._resolv_path), _mark(self._hosts_path)
        if marks != self._marks:
            self._marks = marks
            self.resolv_conf = ResolvConf.parse(_read(self._resolv_path))
            self.hosts = Hosts.parse(_read(self._hosts_path))


def _mark(path: Path | None) -> object:
    try:
        status = os.stat(path) if path is not None else None
    except OSError:
        return None
    return status and (status.st_mtime_ns, status.st_ino, status.st_size)


def _read(path: Path | None) -> str:
    try:
        if path is None:
            return ""
        with path.open("rb") as stream:
            return stream.read(LARGEST).decode("ascii", "replace")
    except OSError:
        return ""
