"""Questions and replies as values: what is asked, whether a packet answers it, and what it says.

No sockets and no clock here. dnspython reads and writes the octets; which packets are believed is decided
here: the id, the question and (by whoever receives it) the source must be those of the question, or anybody
who can send us a packet could say where mail goes (RFC 5452).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import idna

#: What fits a packet on every path (the DNS flag day of 2020), so that replies are not fragmented.
EDNS_PAYLOAD = 1232
#: Aliases followed for one question.
CHAIN_LIMIT = 8
#: Nothing is remembered longer, whatever its TTL says.
MAX_TTL = 86400

_ADDRESS_SHAPED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)


class ResolutionFault(Exception):
    """Base; its text says what was asked and what came back."""


class NoSuchName(ResolutionFault):
    """NXDOMAIN."""


class NoSuchData(ResolutionFault):
    """The name exists, the type does not."""


class Unresolved(ResolutionFault):
    """No usable answer in time: SERVFAIL, refused, timeout. Try again later."""


@dataclass(frozen=True, slots=True)
class Answer:
    records: tuple[dns.rdata.Rdata, ...]
    #: The name at the end of the CNAME chain.
    canonical: str
    #: Seconds.
    ttl: int
    #: The AD bit, and `dns.trust_ad` is set.
    authentic: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a question came to, in the form that is remembered: an answer, or a fault to raise afresh
    each time (an exception that is raised twice would drag its first traceback along)."""

    ttl: int
    #: About how many octets it holds.
    size: int = 200
    answer: Answer | None = None
    fault: type[ResolutionFault] = Unresolved
    text: str = ""

    def take(self, ttl: int) -> Answer:
        """The answer with the seconds that it still holds, or the fault raised."""
        if self.answer is None:
            raise self.fault(self.text)
        return replace(self.answer, ttl=ttl)


@dataclass(slots=True)
class Question:
    id: int
    #: In lower case; in `wire` its letters may be mixed.
    name: dns.name.Name
    kind: dns.rdatatype.RdataType
    wire: bytes
    #: The reply that was read last had the letters of the question as they were sent.
    echoed: bool = True

    @classmethod
    def of(
        cls, name: dns.name.Name, kind: dns.rdatatype.RdataType, edns: bool = True, mixed: bool = True
    ) -> Question:
        """A query with a random id and, with `mixed`, letters of random case: who answers gives them back,
        and a forger has to guess them as well (draft-vixie-dnsext-dns0x20). AD in a query says that we
        understand it in the reply (RFC 6840 section 5.7)."""
        query = dns.message.make_query(
            _mixed(name) if mixed else name,
            kind,
            use_edns=0 if edns else None,
            payload=EDNS_PAYLOAD if edns else None,
            id=secrets.randbelow(65536),
            flags=dns.flags.RD | dns.flags.AD,
        )
        return cls(query.id, name, kind, query.to_wire())

    def read(self, wire: bytes) -> dns.message.Message | None:
        """The packet as a reply to this question; None when it is not one, or is malformed."""
        if len(wire) < 12 or int.from_bytes(wire[:2], "big") != self.id:
            return None
        lowered = self.name.to_wire() or b""
        end = 12 + len(lowered)
        self.echoed = wire[12:end] == self.wire[12:end]
        if wire[12:end].lower() == lowered:
            # Other names in the packet may point at this one: as if they had been asked for in lower case.
            wire = wire[:12] + lowered + wire[end:]
        try:
            reply = dns.message.from_wire(wire, ignore_trailing=True)
        except Exception:
            # A stranger wrote these octets; whatever the codec trips over, they are no answer.
            return None
        if not reply.flags & dns.flags.QR or reply.opcode() != dns.opcode.QUERY:
            return None
        if not reply.question:
            # A server that could not read the question may leave it out, and its letters.
            self.echoed = True
            return reply if reply.rcode() in UNREADABLE else None
        if len(reply.question) != 1:
            return None
        asked = reply.question[0]
        same = asked.name == self.name and asked.rdtype == self.kind and asked.rdclass == dns.rdataclass.IN
        return reply if same else None


def _mixed(name: dns.name.Name) -> dns.name.Name:
    chance = secrets.randbits(256)
    labels = []
    for label in name.labels:
        letters = bytearray(label)
        for at, octet in enumerate(label):
            if 97 <= octet | 32 <= 122:
                letters[at] = octet ^ (chance & 1) << 5
                chance >>= 1
        labels.append(bytes(letters))
    return dns.name.Name(labels)


#: Reply codes of servers that do not know EDNS (RFC 6891 section 7): ask again without it.
UNREADABLE = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP})


@dataclass(frozen=True, slots=True)
class Step:
    """What one reply says about a name: records, or that there are none, or another name to ask for."""

    name: dns.name.Name
    ttl: int
    records: tuple[dns.rdata.Rdata, ...] = ()
    missing: type[ResolutionFault] | None = None


class ChainFault(ResolutionFault):
    """A chain of aliases that is too long, or bites its tail."""


def domain_name(text: str) -> dns.name.Name:
    """A name as a user or a peer writes it: IDNA 2008 where it is not ASCII, no backslash escapes.

    Raises ValueError, in words, for what cannot be a name in the DNS.
    """
    bare = text.removesuffix(".")
    try:
        octets = bare.encode("ascii") if bare.isascii() else idna.encode(bare, uts46=True)
        return dns.name.Name([*octets.lower().split(b"."), b""] if octets else [b""])
    except (ValueError, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel) as fault:
        # IDNAError and UnicodeError are ValueErrors.
        raise ValueError(f"{text[:255]!r} is not a domain name: {fault}") from None


def name_text(name: dns.name.Name) -> str:
    """Lower case, without the last dot; "." for the root."""
    return name.to_text(omit_final_dot=True).lower() or "."


def address_shaped(text: str) -> bool:
    """Four numbers with dots between: an address put where a host's name belongs."""
    return _ADDRESS_SHAPED.fullmatch(text.removesuffix(".")) is not None


def read_step(
    reply: dns.message.Message,
    chain: list[dns.name.Name],
    kind: dns.rdatatype.RdataType,
    follow: Callable[[dns.name.Name], bool],
) -> Step:
    """What a NOERROR or NXDOMAIN reply says about the last name in `chain`, aliases followed.

    Names that aliases lead to are appended to `chain`. Only records that the chain leads to are looked at,
    so whatever else is in the packet cannot poison anything. `follow` says whether this server is to be
    believed about a name; where not, that name is asked for itself.
    """
    ttl = MAX_TTL
    moved = False
    while True:
        name = chain[-1]
        found = _find(reply, name, kind)
        if found is not None:
            return Step(name, min(ttl, max(found.ttl, 0)), tuple(found))
        alias = _find(reply, name, dns.rdatatype.CNAME)
        if alias is None:
            break
        target = alias[0].target
        if target in chain:
            raise ChainFault(f"{name_text(chain[0])}: its CNAME records lead round in a circle")
        if len(chain) > CHAIN_LIMIT:
            raise ChainFault(f"{name_text(chain[0])}: more than {CHAIN_LIMIT} CNAME records in a row")
        ttl = min(ttl, max(alias.ttl, 0))
        chain.append(target)
        moved = True
        if not follow(target):
            return Step(target, ttl)
    negative = _negative_ttl(reply)
    if reply.rcode() == dns.rcode.NXDOMAIN:
        return Step(chain[-1], min(ttl, negative), missing=NoSuchName)
    if moved and not any(rrset.rdtype == dns.rdatatype.SOA for rrset in reply.authority):
        # An alias and nothing more: this server did not follow it.
        return Step(chain[-1], ttl)
    return Step(chain[-1], min(ttl, negative), missing=NoSuchData)


def _find(
    reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    return reply.get_rrset(dns.message.ANSWER, name, dns.rdataclass.IN, kind)


def _negative_ttl(reply: dns.message.Message) -> int:
    """RFC 2308 section 5: the lesser of the SOA's TTL and its MINIMUM; without an SOA, not at all."""
    for rrset in reply.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return max(0, min(rrset.ttl, int(rrset[0].minimum)))
    return 0
