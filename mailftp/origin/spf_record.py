"""An SPF record as a value: RFC 7208 sections 4.5, 4.6, 5 and 6, and the grammar of section 12.

The whole record is read before any of it is evaluated: a fault anywhere in it is a permerror (section 4.6).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from mailftp.origin.spf_macro import MACRO, Macro, SyntaxFault, parse_macro

#: Octets of a record. Section 3.4 asks owners to stay below 450; TCP would carry 65,535 to us.
RECORD = 8192
#: Octets of a record that is kept as it was read.
USUAL = 512

_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:/])(.*))?\Z", re.DOTALL)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)\Z", re.DOTALL)
_PREFIXES = re.compile(r"(.*?)(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z", re.DOTALL)
_TOP_LABEL = re.compile(r"(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\Z")
#: Mechanisms that name a domain: must, may, and may with prefix lengths.
_WITH_DOMAIN, _PERHAPS, _WITH_PREFIX = {"include", "exists"}, {"a", "mx", "ptr"}, {"a", "mx"}


@dataclass(frozen=True, slots=True)
class Mechanism:
    #: "+", "-", "~" or "?".
    qualifier: str
    #: Lower case.
    name: str
    #: None is the domain whose record it is.
    domain: Macro | None = None
    #: Lengths of the prefixes compared, IPv4 and IPv6.
    prefixes: tuple[int, int] = (32, 128)
    #: Of ip4 and ip6.
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    mechanisms: tuple[Mechanism, ...]
    redirect: Macro | None
    explanation: Macro | None


def select_record(texts: Sequence[str]) -> str | None:
    """The SPF record among TXT records, None where there is none (section 4.5).

    Raises SyntaxFault for two."""
    found = [text for text in texts if text[:6].lower() == "v=spf1" and text[6:7] in ("", " ")]
    if len(found) > 1:
        raise SyntaxFault("more than one SPF record")
    return found[0] if found else None


def parse_record(text: str) -> Record:
    """`text` begins with "v=spf1"; an octet is a character. Raises SyntaxFault."""
    if len(text) > RECORD:
        raise SyntaxFault(f"a record of more than {RECORD} octets")
    # A record can have thousands of terms, and what they become is fifty times as large as their text.
    return _remembered(text) if len(text) <= USUAL else _parse(text)


def _parse(text: str) -> Record:
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, Macro] = {}
    for term in text[6:].split(" "):
        modifier = _MODIFIER.match(term)
        if modifier is not None:
            name = modifier[1].lower()
            if name not in ("redirect", "exp"):
                # Section 6: others are passed over, but must be well-formed.
                parse_macro(modifier[2])
            elif name in modifiers:
                raise SyntaxFault(f"{name}= twice")
            else:
                modifiers[name] = _domain(modifier[2])
        elif term:
            mechanisms.append(_mechanism(term))
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


_remembered = lru_cache(maxsize=256)(_parse)


def _mechanism(term: str) -> Mechanism:
    match = _DIRECTIVE.match(term)
    if match is None:
        raise SyntaxFault("malformed term")
    qualifier, name, mark, rest = match[1] or "+", match[2].lower(), match[3], match[4]
    if name == "all" and mark is None:
        return Mechanism(qualifier, name)
    if name in ("ip4", "ip6") and mark == ":":
        return Mechanism(qualifier, name, network=_network(name, rest))
    if name in _WITH_DOMAIN and mark == ":":
        return Mechanism(qualifier, name, _domain(rest))
    if name not in _PERHAPS:
        raise SyntaxFault("unknown or malformed mechanism")
    if mark is None:
        return Mechanism(qualifier, name)
    if name not in _WITH_PREFIX:
        if mark != ":":
            raise SyntaxFault("a prefix length where there is none")
        return Mechanism(qualifier, name, _domain(rest))
    return _with_prefixes(qualifier, name, rest if mark == ":" else "/" + rest, mark == ":")


def _with_prefixes(qualifier: str, name: str, text: str, named: bool) -> Mechanism:
    match = _PREFIXES.match(text)
    assert match is not None
    prefixes = int(match[2] or 32), int(match[3] or 128)
    if prefixes[0] > 32 or prefixes[1] > 128 or (match[1] and not named):
        raise SyntaxFault("malformed prefix length")
    return Mechanism(qualifier, name, _domain(match[1]) if named else None, prefixes)


def _network(name: str, text: str) -> IPv4Network | IPv6Network:
    address, slash, length = text.partition("/")
    if slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", length, re.ASCII):
        raise SyntaxFault("malformed prefix length")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise SyntaxFault(f"malformed address in {name}") from None
    if "%" in address or network.version != int(name[2]):
        raise SyntaxFault(f"malformed address in {name}")
    return network


def _domain(text: str) -> Macro:
    """A domain-spec: it ends in a macro or in a label that could be a top-level domain."""
    if len(text) > MACRO:
        raise SyntaxFault("a domain that is too long")
    macro = parse_macro(text)
    if macro.ends_in_expansion:
        return macro
    before, dot, label = text.removesuffix(".").rpartition(".")
    if not dot or not before or _TOP_LABEL.match(label) is None:
        # Section 12: domain-end is "." toplabel; %{d}.com has a macro before its dot.
        raise SyntaxFault("malformed domain")
    return macro
