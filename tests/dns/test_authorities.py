"""What we answer compared with bind9 and knot, which serve the same zone file: thousands of questions."""

from __future__ import annotations

import random
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.responder import respond
from mailftp.dns.zone import Zone, Zones
from tests.dns.authorities import Authority

ORIGIN = "example.test."
QUESTIONS = 4000

ZONE = """\
$ORIGIN example.test.
$TTL 3600
@       IN SOA ns1 hostmaster 2026112501 7200 900 1209600 300
        NS  ns1
        NS  ns2.elsewhere.test.
        MX  10 mx
        TXT "v=spf1 mx -all"
ns1     A   192.0.2.1
mx      A   192.0.2.2
        AAAA 2001:db8::2
www     CNAME web
web     A   192.0.2.3
out     CNAME www.elsewhere.test.
broken  CNAME missing
gap     CNAME a.b.hollow
chain1  CNAME chain2
chain2  CNAME chain3
chain3  CNAME mx
intocut CNAME host.child
_imaps._tcp SRV 0 1 993 mx
d.c.b.hollow A 192.0.2.4
*.wild  A   192.0.2.5
        MX  5 mx
sub.wild TXT "in the way"
*.deep.wild CNAME web
*.alias CNAME mx
*.dead  CNAME missing
child   NS  ns.child
        NS  ns.other.child
        NS  ns1
ns.child A  192.0.2.6
ns.other.child AAAA 2001:db8::6
ns.child AAAA 2001:db8::7
host.child A 192.0.2.7
signed  NS  ns1
signed  DS  12345 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
moved   DNAME hollow
moved   TXT "the owner itself"
away    DNAME elsewhere.test.
tocut   DNAME child
towild  DNAME wild
"""

_CUT = dns.name.from_text("child.example.test.")

_TYPES = (
    "A",
    "AAAA",
    "MX",
    "NS",
    "SOA",
    "TXT",
    "CNAME",
    "DNAME",
    "SRV",
    "DS",
    "CAA",
    "PTR",
    "TLSA",
    "TYPE65280",
)


def questions(seed: int) -> Iterator[tuple[dns.name.Name, str]]:
    """Names of the zone with labels put before, taken away or written otherwise; some elsewhere."""
    chance = random.Random(seed)
    origin = dns.name.from_text(ORIGIN)
    parsed = Zone(origin, ZONE)
    names = sorted(parsed.nodes)
    labels = [b"a", b"b", b"*", b"ns", b"host", b"sub", b"wild", b"deep", b"x" * 63, b"\x00", b"a.b"]
    for _ in range(QUESTIONS):
        name = chance.choice(names)
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 3))):
            name = dns.name.Name([chance.choice(labels), *name.labels])
        if chance.random() < 0.1 and len(name) > len(origin):
            name = name.parent()
        if chance.random() < 0.2:
            name = dns.name.Name([label.swapcase() for label in name.labels])
        if chance.random() < 0.02:
            name = dns.name.from_text("elsewhere.test.")
        yield name, chance.choice(_TYPES)


def said(message: dns.message.Message) -> dict[str, object]:
    """What an answer means, the order within sections aside.

    Of a referral's addresses those of servers below the cut: knot adds those of other servers of the zone, we
    and bind9 (with minimal responses) leave them to be asked for.
    """
    sections = {
        name: sorted(
            (rrset.name.to_text().lower(), rrset.rdtype, rrset.ttl, record.to_text().lower())
            for rrset in section
            for record in rrset
            if section is not message.additional or rrset.name.is_subdomain(_CUT)
        )
        for name, section in (
            ("answer", message.answer),
            ("authority", message.authority),
            ("additional", message.additional),
        )
    }
    flags = message.flags & (dns.flags.AA | dns.flags.TC | dns.flags.RA | dns.flags.RD)
    return {"rcode": dns.rcode.to_text(message.rcode()), "flags": dns.flags.to_text(flags), **sections}


class _Compared:
    kind: str

    def test_answers_are_the_same(self) -> None:
        """Reply code, AA, and each section, for every question."""
        assert isinstance(self, SynchronousTestCase)
        authority = Authority(self, self.kind, ORIGIN, ZONE)
        zones = Zones((Zone(dns.name.from_text(ORIGIN), ZONE),))
        prepared = PreparedAnswers(zones)
        codes: set[object] = set()
        for number, (name, kind) in enumerate(questions(8)):
            query = dns.message.make_query(name, kind, use_edns=0, payload=1232, id=number)
            theirs = said(authority.ask(query))
            for wire in (prepared.respond(query.to_wire()), respond(zones, query.to_wire())):
                assert wire is not None
                ours = said(dns.message.from_wire(wire))
                self.assertEqual(ours, theirs, f"{name} {kind}: {ours} {theirs}")
            codes.add(ours["rcode"])
        self.assertEqual(codes, {"NOERROR", "NXDOMAIN", "REFUSED"})


class Bind9Tests(_Compared, SynchronousTestCase):
    kind = "bind9"


class KnotTests(_Compared, SynchronousTestCase):
    kind = "knot"
