"""Reading zone files (RFC 1035 section 5) and writing them, and laying one over another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.tokenizer
import dns.transaction
import dns.zone
import dns.zonefile

from mailftp.dns.answers import name_text

Kind = dns.rdatatype.RdataType
#: A zone's names, each with its RRsets.
Nodes = dict[dns.name.Name, dict[Kind, dns.rrset.RRset]]

#: Seconds that a record holds whose file says nothing of it.
DEFAULT_TTL = 3600

_LINE = re.compile(r"\A:[0-9]+: ")
_DELEGATES = (dns.rdatatype.NS, dns.rdatatype.DNAME)
_SINGLE = (dns.rdatatype.CNAME, dns.rdatatype.DNAME, dns.rdatatype.SOA)
#: What a TXT record is for, by how it begins: a domain has one of each (RFC 7208 section 4.5, RFC 7489
#: section 6.6.3, RFC 8461 section 3.1, RFC 8460 section 3), beside any number of others.
_SORTS = (b"v=spf1", b"v=dmarc1", b"v=stsv1", b"v=tlsrptv1", b"v=dkim1")


class ZoneFault(ValueError):
    """A zone file that cannot be served; the text says what is wrong, with the line where there is one."""


def read_zone_file(origin: dns.name.Name, text: str) -> Nodes:
    """The records of a zone file whose names may be relative to `origin`; SOA and NS need not be among them.
    $INCLUDE is refused, so that it can read no other file. Raises ZoneFault."""
    nodes: Nodes = {}
    for name, rdataset in _parse(origin, text).iterate_rdatasets():
        if name.is_wild() and rdataset.rdtype in _DELEGATES:
            # RFC 4592 sections 4.2 and 4.4: what it would mean is not defined.
            kind = dns.rdatatype.to_text(rdataset.rdtype)
            raise ZoneFault(f"zone {name_text(origin)}: {name_text(name)} cannot have a {kind} record")
        rrset = dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
        nodes.setdefault(name, {})[rdataset.rdtype] = rrset
    return nodes


def _parse(origin: dns.name.Name, text: str) -> dns.zone.Zone:
    parsed = dns.zone.Zone(origin, relativize=False)
    tokens = dns.tokenizer.Tokenizer(text, filename="")
    owner: dns.name.Name | None = None
    try:
        with parsed.writer(True) as writer:
            reader = dns.zonefile.Reader(
                tokens, dns.rdataclass.IN, writer, allow_include=False, default_ttl=DEFAULT_TTL
            )
            # The codec would pass over what is not below the origin, and a mistyped name with it.
            reader.zone_origin = dns.name.root
            writer.check_put_rdataset(_one_only)
            try:
                reader.read()
            finally:
                owner = reader.last_name
    except (dns.exception.DNSException, ValueError, KeyError) as fault:
        # The codec may have gone on to the line behind the fault, and does not always say whose it is.
        words = _LINE.sub("", str(fault)) or type(fault).__name__
        if isinstance(fault, KeyError):
            words = "the name is not below the zone's origin"
        where = f"at {name_text(owner)}, line {tokens.where()[1]} or the one before: " if owner else ""
        raise ZoneFault(f"zone {name_text(origin)}: {where}{words}") from None
    return parsed


def _one_only(
    writer: dns.transaction.Transaction, name: dns.name.Name, rdataset: dns.rdataset.Rdataset
) -> None:
    """The codec would let the last of two CNAME, DNAME or SOA records win, in silence."""
    if rdataset.rdtype in _SINGLE and writer.get(name, rdataset.rdtype):
        raise ValueError(f"it has two {dns.rdatatype.to_text(rdataset.rdtype)} records")


def laid_over(ours: Nodes, theirs: Nodes) -> Nodes:
    """Our records with an operator's on top. The operator's RRset takes the place of ours of that name and
    type; of TXT only what is for the same, so that a word to a search engine leaves SPF where it is. A CNAME
    of the operator's stands alone, and takes the place of a CNAME of ours."""
    merged: Nodes = {name: dict(records) for name, records in ours.items()}
    for name, records in theirs.items():
        here = merged.setdefault(name, {})
        if dns.rdatatype.CNAME in records:
            here.clear()
        elif records:
            here.pop(dns.rdatatype.CNAME, None)
        for kind, rrset in records.items():
            if kind == dns.rdatatype.TXT and kind in here:
                rrset = _texts(here[kind], rrset)
            here[kind] = rrset
    return merged


def _texts(ours: dns.rrset.RRset, theirs: dns.rrset.RRset) -> dns.rrset.RRset:
    given = {_sort(record) for record in theirs} - {b""}
    kept = [record for record in ours if _sort(record) not in given]
    return dns.rrset.from_rdata_list(theirs.name, theirs.ttl, [*theirs, *kept])


def _sort(record: dns.rdata.Rdata) -> bytes:
    begins = b"".join(getattr(record, "strings", ()))[:20].lower()
    return next((sort for sort in _SORTS if begins.startswith(sort)), b"")


def with_serial(origin: dns.name.Name, nodes: Nodes, serial: int) -> Nodes:
    """The same records with this serial in the SOA."""
    apex = nodes[origin]
    soa = apex[dns.rdatatype.SOA]
    numbered = dns.rrset.from_rdata_list(origin, soa.ttl, [soa[0].replace(serial=serial)])
    return {**nodes, origin: {**apex, dns.rdatatype.SOA: numbered}}


def written(origin: dns.name.Name, nodes: Mapping[dns.name.Name, Mapping[Kind, dns.rrset.RRset]]) -> str:
    """A zone file, absolute names, the SOA first; ends in a line end."""
    lines: list[str] = []
    for name in sorted(nodes, key=lambda name: (name != origin, name)):
        for kind in sorted(nodes[name], key=lambda kind: (kind != dns.rdatatype.SOA, kind)):
            lines += record_lines(nodes[name][kind])
    return "".join(f"{line}\n" for line in lines)


def record_lines(rrset: dns.rrset.RRset) -> Iterable[str]:
    """A line for each record, as a zone file has it."""
    kind = dns.rdatatype.to_text(rrset.rdtype)
    for record in rrset:
        yield f"{rrset.name.to_text()} {rrset.ttl} IN {kind} {record.to_text()}"
