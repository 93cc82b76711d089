"""SPF: whether a host may send mail for a domain (RFC 7208).

`check_host` is a generator: it yields a `Question`, is sent the records, and returns a `Verdict`. So it needs
no network, no clock and no resolver, and whoever drives it holds the total time. What one message can make us
ask is bounded (section 4.6.4): 10 terms that ask, each with at most 10 names of an MX or PTR: at most 111
questions for the record and its terms, 11 more for %{p} and one for an explanation.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, TypeVar

from mailftp.origin.spf_macro import MACRO, Macro, SyntaxFault, parse_macro
from mailftp.origin.spf_record import Mechanism, Record, parse_record, select_record

#: Section 4.6.4: terms that ask, names of one MX or PTR, and terms whose question finds nothing.
TERMS, NAMES, VOIDS = 10, 10, 2
#: Octets of a domain's text (RFC 1035 section 3.1, without the root).
DOMAIN = 253
#: Characters of an explanation; a reply to a client is no place for more.
EXPLANATION = 400

_RESULTS: dict[str, Literal["pass", "fail", "softfail", "neutral"]] = {
    "+": "pass",
    "-": "fail",
    "~": "softfail",
    "?": "neutral",
}


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    #: "TXT", "A", "AAAA", "MX" or "PTR". Records are sent back as text: addresses, names (MX: best first), or
    #: the strings of a TXT put together, a character an octet; none for a name or type that does not exist.
    kind: str


class TemporaryFault(Exception):
    """Throw it into the generator where a question could not be answered."""


class PermanentFault(Exception):
    """A record that cannot be evaluated; the text says why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    #: Section 2.6.
    result: Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
    #: For the log and the header: what is wrong, or the mechanism that matched.
    reason: str = ""
    #: What the domain's owner says to those who were refused, printable ASCII; "" where there is nothing.
    explanation: str = ""


_T = TypeVar("_T")
Asking = Generator[Question, tuple[str, ...], _T]


@dataclass(slots=True)
class _Query:
    address: IPv4Address | IPv6Address
    sender: str
    helo: str
    receiver: str
    now: int
    terms: int = 0
    voids: int = 0
    #: Names whose addresses have the client's among them; None: not asked yet.
    validated: tuple[str, ...] | None = None
    local: str = field(init=False)
    origin: str = field(init=False)

    def __post_init__(self) -> None:
        local, _, self.origin = self.sender.rpartition("@")
        self.local = local or "postmaster"

    @property
    def kind(self) -> str:
        return "A" if self.address.version == 4 else "AAAA"

    def count_term(self) -> None:
        self.terms += 1
        if self.terms > TERMS:
            raise PermanentFault(f"more than {TERMS} terms that ask the DNS")

    def count_void(self, records: tuple[str, ...]) -> tuple[str, ...]:
        if not records:
            self.voids += 1
            if self.voids > VOIDS:
                raise PermanentFault(f"more than {VOIDS} questions that find nothing")
        return records


def check_host(
    address: IPv4Address | IPv6Address, sender: str, helo: str, receiver: str = "unknown", now: int = 0
) -> Asking[Verdict]:
    """Section 4. `sender` is the reverse-path, "" for the null one: then `helo` is checked (section 2.4).
    `receiver` is our name and `now` the time in seconds, for explanations."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    sender = sender or f"postmaster@{helo}"
    if "@" not in sender:
        sender = f"postmaster@{sender}"
    query = _Query(mapped or address, sender, helo, receiver, now)
    if not _usable(query.origin):
        return Verdict("none", "no domain to ask")
    try:
        return (yield from _check(query, query.origin, explain=True))
    except TemporaryFault as fault:
        return Verdict("temperror", str(fault))
    except (PermanentFault, SyntaxFault) as fault:
        return Verdict("permerror", str(fault))


def _usable(domain: str) -> bool:
    """Section 4.3: several labels of 1 to 63 octets, and no address literal."""
    labels = domain.removesuffix(".").split(".")
    fits = all(0 < len(label) <= 63 for label in labels) and len(domain) <= DOMAIN + 1
    return fits and len(labels) > 1 and not domain.startswith("[")


def _check(query: _Query, domain: str, explain: bool) -> Asking[Verdict]:
    texts = yield Question(domain, "TXT")
    text = select_record(texts)
    if text is None:
        return Verdict("none", f"{domain} has no SPF record")
    record = parse_record(text)
    for mechanism in record.mechanisms:
        if (yield from _matches(query, domain, mechanism)):
            result = _RESULTS[mechanism.qualifier]
            said = ""
            if result == "fail" and explain:
                said = yield from _explanation(query, domain, record)
            return Verdict(result, mechanism.name, said)
    if record.redirect is None:
        return Verdict("neutral", "no mechanism matched")
    # Section 6.1.
    query.count_term()
    target = yield from _target(query, domain, record.redirect)
    verdict = Verdict("none") if not _usable(target) else (yield from _check(query, target, explain))
    if verdict.result == "none":
        raise PermanentFault("redirect= to a domain without an SPF record")
    return verdict


def _matches(query: _Query, domain: str, mechanism: Mechanism) -> Asking[bool]:
    """Section 5."""
    if mechanism.name == "all":
        return True
    if mechanism.network is not None:
        return query.address in mechanism.network
    query.count_term()
    target = domain if mechanism.domain is None else (yield from _target(query, domain, mechanism.domain))
    if mechanism.name == "include":
        return (yield from _included(query, target))
    if not _usable(target):
        # Section 4.8: such a name does not exist, and there is nobody to ask.
        return False
    if mechanism.name == "exists":
        return bool(query.count_void((yield Question(target, "A"))))
    if mechanism.name == "ptr":
        names = yield from _validated(query)
        return any(_within(name, target) for name in names)
    return (yield from _at_address(query, target, mechanism))


def _included(query: _Query, target: str) -> Asking[bool]:
    """Section 5.2."""
    result = "none"
    if _usable(target):
        result = (yield from _check(query, target, explain=False)).result
    if result == "none":
        raise PermanentFault("include: of a domain without an SPF record")
    return result == "pass"


def _at_address(query: _Query, target: str, mechanism: Mechanism) -> Asking[bool]:
    """Sections 5.3 and 5.4. The addresses of an MX host do not count as a term that finds nothing: hosts
    without AAAA are usual, and three of them would be a permerror for every sender on IPv6."""
    length = mechanism.prefixes[0 if query.address.version == 4 else 1]
    network = ip_network(f"{query.address}/{length}", strict=False)
    if mechanism.name == "a":
        found = query.count_void((yield Question(target, query.kind)))
        return any(ip_address(address) in network for address in found)
    hosts = query.count_void((yield Question(target, "MX")))
    if len(hosts) > NAMES:
        raise PermanentFault(f"more than {NAMES} MX hosts")
    for host in hosts:
        # RFC 7505: a null MX names no host.
        found = (yield Question(host, query.kind)) if host.strip(".") else ()
        if any(ip_address(address) in network for address in found):
            return True
    return False


def _validated(query: _Query) -> Asking[tuple[str, ...]]:
    """The client's names that lead back to it (section 5.5). Asked once; a failure is no name."""
    if query.validated is not None:
        return query.validated
    query.validated = ()
    try:
        names = query.count_void((yield Question(query.address.reverse_pointer, "PTR")))
    except TemporaryFault:
        return ()
    confirmed = []
    for name in names[:NAMES]:
        try:
            found = yield Question(name, query.kind)
        except TemporaryFault:
            continue
        if query.address in map(ip_address, found):
            confirmed.append(name.removesuffix("."))
    query.validated = tuple(confirmed)
    return query.validated


def _within(name: str, domain: str) -> bool:
    name, domain = name.lower(), domain.removesuffix(".").lower()
    return name == domain or name.endswith("." + domain)


def _target(query: _Query, domain: str, macro: Macro) -> Asking[str]:
    """A domain-spec expanded; what is too long loses labels from the left (section 7.3)."""
    target = macro.expand((yield from _values(query, domain, macro))).removesuffix(".")
    if len(target) > DOMAIN:
        # In one step: label by label would be quadratic in what a stranger's macros expand to.
        target = target[-DOMAIN - 1 :].partition(".")[2]
    return target


def _values(query: _Query, domain: str, macro: Macro) -> Asking[dict[str, str]]:
    """Section 7.2."""
    address = query.address
    dotted = str(address) if address.version == 4 else ".".join(address.exploded.replace(":", "").upper())
    values = {
        "s": f"{query.local}@{query.origin}",
        "l": query.local,
        "o": query.origin,
        "d": domain,
        "i": dotted,
        "v": "in-addr" if address.version == 4 else "ip6",
        "h": query.helo,
        "c": str(address),
        "r": query.receiver,
        "t": str(query.now),
    }
    if "p" in macro.letters:
        names = yield from _validated(query)
        # Section 7.3: the domain itself, then a name below it, then any.
        ranked = sorted(names, key=lambda name: (name.lower() != domain.lower(), not _within(name, domain)))
        values["p"] = ranked[0] if ranked else "unknown"
    return values


def _explanation(query: _Query, domain: str, record: Record) -> Asking[str]:
    """Section 6.2: whatever is wrong with it, the result stands, without an explanation."""
    if record.explanation is None:
        return ""
    try:
        target = yield from _target(query, domain, record.explanation)
        texts = (yield Question(target, "TXT")) if _usable(target) else ()
        if len(texts) != 1 or len(texts[0]) > MACRO:
            return ""
        macro = parse_macro(texts[0], explaining=True)
        said = macro.expand((yield from _values(query, domain, macro)))
    except (TemporaryFault, PermanentFault, SyntaxFault):
        return ""
    return said[:EXPLANATION] if said.isascii() and said.isprintable() else ""
