"""A zone that we answer for with authority, and what it says to a question. No packets and no sockets here.

The walk from the apex down to the name that is asked for is RFC 1034 section 4.3.2, with the closest
encloser of RFC 4592 for wildcards and the substitution of RFC 6672 for DNAME. Each step is a look into a
dictionary, so what a question costs does not grow with the zone; a name has at most 127 labels, and a chain
of aliases `CHAIN_LIMIT` links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.CNAME import CNAME

from mailftp.dns.answers import CHAIN_LIMIT, name_text
from mailftp.dns.zone_file import Kind, Nodes, ZoneFault, read_zone_file

__all__ = ["Kind", "Reply", "Zone", "ZoneFault", "Zones"]

_WILDCARD = dns.name.Name([b"*"])
_ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)


@dataclass(slots=True)
class Reply:
    """What is said to a question: sections of RFC 1035 section 4.1, without the packet around them."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    #: The AA bit: the first name of the answer is ours.
    authoritative: bool = True
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)


class Zone:
    """One zone, in memory, that does not change; a new version is a new object."""

    def __init__(self, origin: dns.name.Name, source: str | Nodes) -> None:
        """`source` is a zone file as `read_zone_file` takes it, or what that or `laid_over` gave. Raises
        ZoneFault, also for a zone without SOA or NS at its origin."""
        self.origin = origin
        records = read_zone_file(origin, source) if isinstance(source, str) else source
        self._nodes: Nodes = {name: dict(rrsets) for name, rrsets in records.items()}
        apex = self._nodes.get(origin, {})
        for kind in (dns.rdatatype.SOA, dns.rdatatype.NS):
            if kind not in apex:
                words = f"{name_text(origin)} has no {dns.rdatatype.to_text(kind)} record"
                raise ZoneFault(f"zone {name_text(origin)}: {words}")
        self._add_empty_non_terminals()
        soa = apex[dns.rdatatype.SOA]
        # RFC 2308 section 3: a negative answer holds for the lesser of the two.
        self._negative = dns.rrset.from_rdata_list(origin, min(soa.ttl, soa[0].minimum), list(soa))

    def __len__(self) -> int:
        """Names with records."""
        return sum(1 for records in self._nodes.values() if records)

    @property
    def serial(self) -> int:
        """The SOA's."""
        return int(self.soa[0].serial)

    @property
    def soa(self) -> dns.rrset.RRset:
        return self._nodes[self.origin][dns.rdatatype.SOA]

    @property
    def nodes(self) -> Mapping[dns.name.Name, Mapping[Kind, dns.rrset.RRset]]:
        """Every name with its RRsets; names that have none, but others below them, among them."""
        return self._nodes

    def holds(self, name: dns.name.Name) -> bool:
        """Whether the name is at or below the origin."""
        return name.is_subdomain(self.origin)

    def reply(self, name: dns.name.Name, kind: Kind) -> Reply:
        """What the zone says of a name that it `holds`. `kind` may be ANY, which is answered with one
        RRset (RFC 8482 section 4.1): a question that amplifies is of no use to anybody honest."""
        reply = Reply()
        seen: set[dns.name.Name] = set()
        while True:
            # RFC 1034 section 3.6.2: a loop is answered with the links found so far.
            if name in seen or len(seen) > CHAIN_LIMIT or not self.holds(name):
                return reply
            seen.add(name)
            target = self._step(name, kind, reply)
            if target is None:
                return reply
            name = target

    # Reading.

    def _add_empty_non_terminals(self) -> None:
        """RFC 4592 section 2.2.2: a name with something below it exists, though it has no records."""
        for name in list(self._nodes):
            while name != self.origin:
                name = name.parent()
                self._nodes.setdefault(name, {})

    # Answering.

    def _step(self, name: dns.name.Name, kind: Kind, reply: Reply) -> dns.name.Name | None:
        """Add to the reply what is known of one name; the name to go on with, where it is an alias."""
        depth = len(self.origin)
        ancestor = self.origin
        while True:
            records = self._nodes.get(ancestor)
            if records is None:
                return self._below_nothing(name, ancestor.parent(), kind, reply)
            if dns.rdatatype.NS in records and ancestor != self.origin:
                # RFC 4035 section 3.1.4.1: DS at a cut is the parent's to answer.
                if ancestor != name or kind != dns.rdatatype.DS:
                    self._refer(records[dns.rdatatype.NS], reply)
                    return None
            if ancestor == name:
                return self._at(name, records, kind, reply)
            if dns.rdatatype.DNAME in records:
                return self._substitute(name, records[dns.rdatatype.DNAME], kind, reply)
            depth += 1
            ancestor = dns.name.Name(name.labels[-depth:])

    def _at(
        self, name: dns.name.Name, records: dict[Kind, dns.rrset.RRset], kind: Kind, reply: Reply
    ) -> dns.name.Name | None:
        """The records of a name that exists, or of the wildcard that stands for it."""
        found = next(iter(records.values()), None) if kind == dns.rdatatype.ANY else records.get(kind)
        alias = records.get(dns.rdatatype.CNAME)
        if found is None and alias is not None:
            reply.answer.append(_owned(alias, name))
            target: dns.name.Name = alias[0].target
            return target
        if found is None:
            reply.authority.append(self._negative)
        else:
            reply.answer.append(_owned(found, name))
        return None

    def _below_nothing(
        self, name: dns.name.Name, encloser: dns.name.Name, kind: Kind, reply: Reply
    ) -> dns.name.Name | None:
        """The name is not there: the wildcard below its closest encloser stands for it, or there is none."""
        try:
            wild = self._nodes.get(_WILDCARD + encloser)
        except dns.name.NameTooLong:
            wild = None
        if wild is not None:
            return self._at(name, wild, kind, reply)
        # RFC 6604 section 3: of the last name of a chain, like this one.
        reply.rcode = dns.rcode.NXDOMAIN
        reply.authority.append(self._negative)
        return None

    def _refer(self, cut: dns.rrset.RRset, reply: Reply) -> None:
        """RFC 1034 section 4.3.2, step 3b: whom to ask instead, with the addresses that nobody else can tell
        (RFC 9471): those of servers below a cut. Others are asked for when they are wanted."""
        reply.authoritative = bool(reply.answer)
        reply.authority.append(cut)
        for server in cut:
            records = self._nodes.get(server.target, {})
            if records and self._cut_off(server.target):
                reply.additional += [records[kind] for kind in _ADDRESSES if kind in records]

    def _cut_off(self, name: dns.name.Name) -> bool:
        """Whether a name of the zone is at or below a delegation."""
        while name != self.origin:
            if dns.rdatatype.NS in self._nodes.get(name, ()):
                return True
            name = name.parent()
        return False

    def _substitute(
        self, name: dns.name.Name, found: dns.rrset.RRset, kind: Kind, reply: Reply
    ) -> dns.name.Name | None:
        """RFC 6672 section 3.1: the DNAME, and the CNAME that it comes to."""
        reply.answer.append(found)
        try:
            target: dns.name.Name = name.relativize(found.name) + found[0].target
        except dns.name.NameTooLong:
            reply.rcode = dns.rcode.YXDOMAIN
            return None
        alias = CNAME(dns.rdataclass.IN, dns.rdatatype.CNAME, target)  # type: ignore[no-untyped-call]  # upstream
        reply.answer.append(dns.rrset.from_rdata_list(name, found.ttl, [alias]))
        # Who asks for the alias has it.
        return None if kind in (dns.rdatatype.CNAME, dns.rdatatype.ANY) else target


class Zones:
    """Every zone of this server."""

    def __init__(self, zones: tuple[Zone, ...]) -> None:
        self._zones = {zone.origin: zone for zone in zones}

    def of(self, name: dns.name.Name, kind: Kind) -> Zone | None:
        """The zone with the longest origin that holds the name; None when there is none."""
        child = self._longest(name)
        if child is not None and kind == dns.rdatatype.DS and name == child.origin != dns.name.root:
            # RFC 4035 section 3.1.4.1 again: the parent's, where we have that too.
            return self._longest(name.parent()) or child
        return child

    def __iter__(self) -> Iterator[Zone]:
        return iter(self._zones.values())

    def get(self, origin: dns.name.Name) -> Zone | None:
        """The zone of this origin."""
        return self._zones.get(origin)

    def _longest(self, name: dns.name.Name) -> Zone | None:
        while name not in self._zones:
            if name == dns.name.root:
                return None
            name = name.parent()
        return self._zones[name]


def _owned(rrset: dns.rrset.RRset, name: dns.name.Name) -> dns.rrset.RRset:
    """The RRset under the name that was asked for: a wildcard's records are its own (RFC 4592
    section 3.3.3).
    """
    if rrset.name == name:
        return rrset
    return dns.rrset.from_rdata_list(name, rrset.ttl, list(rrset))
