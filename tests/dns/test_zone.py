"""What a zone file may hold, and how packets are answered that no honest resolver sends."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns import prepared
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.responder import respond
from mailftp.dns.zone import Zone, ZoneFault, Zones

ORIGIN = dns.name.from_text("example.test.")
SOA = "@ 3600 IN SOA ns1 hostmaster 1 7200 900 1209600 300\n@ 3600 NS ns1\nns1 3600 A 192.0.2.1\n"
BIG = "".join(f'big 60 TXT "{number:03}{"x" * 200}"\n' for number in range(20))
LONG = f"long 60 DNAME {'.'.join(['y' * 60] * 3)}.example.test.\n"
LOOP = "one 60 CNAME two\ntwo 60 CNAME one\n"
TURNS = (
    "*.turn 60 CNAME a.turn\n*.there 60 CNAME x.back\n*.back 60 CNAME y.there\n*.fine 60 CNAME ns1\n"
    "*.out 60 CNAME elsewhere.test.\n*.none 60 CNAME missing\n"
)
CHAIN = "".join(f"c{number} 60 CNAME c{number + 1}\n" for number in range(40))
ZONES = Zones((Zone(ORIGIN, SOA + BIG + LONG + LOOP + CHAIN + TURNS),))
PREPARED = PreparedAnswers(ZONES)


def query(name: str, kind: str, **more: object) -> bytes:
    return dns.message.make_query(name, kind, id=4711, **more).to_wire()


def answered(packet: bytes, **more: bool) -> dns.message.Message:
    wire = PREPARED.respond(packet, **more)
    assert wire is not None
    return dns.message.from_wire(wire)


class ZoneFileTests(SynchronousTestCase):
    def refused(self, text: str, words: str) -> None:
        fault = self.assertRaises(ZoneFault, Zone, ORIGIN, text)
        self.assertIn("zone example.test: ", str(fault))
        self.assertIn(words, str(fault))

    def test_what_is_wrong_is_said(self) -> None:
        """The zone, the name or the line, and what about it."""
        self.refused("", "SOA")
        self.refused(SOA.replace("@ 3600 NS ns1\n", ""), "NS")
        self.refused(SOA + "www 60 IN A 192.0.2.300\n", "at www.example.test, line ")
        self.refused(SOA + "www 60 IN CNAME ns1\nwww 60 IN A 192.0.2.2\n", "at www.example.test, line ")
        self.refused(SOA + "www 60 CNAME ns1\nwww 60 CNAME big\n", "it has two CNAME records")
        self.refused(SOA + SOA.replace("hostmaster 1", "hostmaster 2"), "it has two SOA records")
        self.refused(SOA + "www.example.tset. 60 A 192.0.2.2\n", "at www.example.tset, line ")
        self.refused(SOA + "*.w 60 NS ns1\n", "*.w.example.test cannot have a NS record")
        self.refused(SOA + "*.w 60 DNAME ns1\n", "*.w.example.test cannot have a DNAME record")

    def test_no_other_file_is_read(self) -> None:
        """$INCLUDE would let whoever writes a zone read the server's files."""
        self.refused(SOA + "$INCLUDE /etc/passwd\n", "INCLUDE")

    def test_nearest_zone(self) -> None:
        """The longest origin; DS at a cut between two zones is the parent's."""
        child = Zone(dns.name.from_text("a.example.test."), SOA)
        parent = Zone(ORIGIN, SOA)
        zones = Zones((parent, child))
        for name, kind, zone in (
            ("x.a.example.test.", "A", child),
            ("a.example.test.", "A", child),
            ("a.example.test.", "DS", parent),
            ("b.example.test.", "A", parent),
            ("example.test.", "DS", parent),
            ("test.", "A", None),
        ):
            found = zones.of(dns.name.from_text(name), dns.rdatatype.from_text(kind))
            self.assertIs(found, zone, (name, kind))


class PreparedAnswersTests(SynchronousTestCase):
    def test_names_made_up(self) -> None:
        """10,000 of them have one answer for each length."""
        ready = PreparedAnswers(ZONES)
        for number in range(10_000):
            wire = query(f"x{number}.example.test.", "A")
            self.assertEqual(ready.respond(wire), respond(ZONES, wire))
        self.assertEqual(len(ready), 4)

    def test_memory(self) -> None:
        """Of more answers than may be kept the oldest are given up, and are made again."""
        self.patch(prepared, "HELD", 20_000)
        ready = PreparedAnswers(ZONES)
        for _ in range(2):
            for number in range(40):
                for kind in ("A", "TXT"):
                    wire = query(f"c{number}.example.test.", kind)
                    self.assertEqual(ready.respond(wire), respond(ZONES, wire))
            self.assertLess(len(ready), 50)
            self.assertLessEqual(ready._held, 20_000)

    def test_longest_names(self) -> None:
        """255 octets are a name, 256 are not; a pointer, a label of 64 octets and a name without end are
        nothing that is ready."""
        ready = PreparedAnswers(ZONES)
        longest = (b"\x3f" + b"x" * 63) * 3 + b"\x2f" + b"y" * 47 + b"\7example\4test\0"
        head, tail = query("a.test.", "A")[:12], b"\0\1\0\1"
        for name, code in (
            (longest, dns.rcode.NXDOMAIN),
            (b"\1z" + longest, dns.rcode.FORMERR),
            (b"\x40" + b"x" * 64 + longest[192:], dns.rcode.FORMERR),
            (b"\1z\xc0\x0c", dns.rcode.FORMERR),
            (b"\1z", dns.rcode.FORMERR),
        ):
            wire = head + name + tail
            reply = ready.respond(wire)
            assert reply is not None
            self.assertEqual(reply[3] & 15, code, name)
            self.assertEqual(reply, respond(ZONES, wire))

    def test_a_zone_in_a_zone(self) -> None:
        """Of what both hold the child's is said; DS at its origin is the parent's."""
        child = Zone(dns.name.from_text("a.example.test."), SOA + "x 60 A 192.0.2.7\n")
        below = "a 60 NS ns.a\nns.a 60 A 192.0.2.9\n"
        below += "".join(f"{name} 60 A 192.0.2.8\n" for name in ("x.a", "a.x.a", "b.a"))
        parent = Zone(ORIGIN, SOA + below)
        for order in ((parent, child), (child, parent)):
            zones = Zones(order)
            ready = PreparedAnswers(zones)
            for name in ("x.a", "a", "b.a", "a.x.a", "q.b.a", "ns.a", "ns1.a", "", "ns1", "q"):
                for kind in ("A", "NS", "DS", "SOA"):
                    wire = query(f"{name}.example.test.".removeprefix("."), kind)
                    self.assertEqual(ready.respond(wire), respond(zones, wire), (name, kind))

    def test_wildcards_that_are_aliases(self) -> None:
        """Each is as the codec has it, whoever asked before; what leads round is not kept."""
        ready = PreparedAnswers(ZONES)
        for domain in ("turn", "there", "back", "fine", "out", "none"):
            for label in ("q", "a", "x", "y", "z.q", "*"):
                for kind in ("A", "TXT", "CNAME", "ANY", "MX"):
                    wire = query(f"{label}.{domain}.example.test.", kind)
                    self.assertEqual(ready.respond(wire), respond(ZONES, wire), (label, domain, kind))

    @settings(deadline=None, max_examples=500)
    @given(
        st.sampled_from(["big", "ns1", "NS1", "x.ns1", "a.long", "one", "c3", "nothing", "a.nothing", ""]),
        st.sampled_from(["A", "TXT", "NS", "ANY", "DS", "SOA", "TYPE0", "TYPE65535", "AXFR", "OPT"]),
        st.sampled_from([{}, {"payload": 1232}, {"payload": 100}, {"use_edns": 1}, {"want_dnssec": True}]),
        st.lists(st.tuples(st.integers(2, 60), st.integers(0, 255)), max_size=2),
        st.binary(max_size=12),
        st.booleans(),
    )
    def test_same_as_the_codec(
        self,
        name: str,
        kind: str,
        more: dict[str, object],
        changes: list[tuple[int, int]],
        behind: bytes,
        stream: bool,
    ) -> None:
        """For whatever comes, with octets changed and added: the very same octets, but where the codec
        trips over what is in an option, which is nothing to us."""
        packet = bytearray(query(f"{name}.example.test.".removeprefix("."), kind, **more))
        for place, octet in changes:
            packet[place % len(packet)] = octet
        wire = bytes(packet) + behind
        ours, theirs = PREPARED.respond(wire, stream=stream), respond(ZONES, wire, stream=stream)
        if ours != theirs:
            assert ours is not None and theirs is not None
            self.assertEqual(dns.message.from_wire(ours), dns.message.from_wire(theirs))


class ResponderTests(SynchronousTestCase):
    def test_truncation(self) -> None:
        """What does not fit is cut to the question with TC; by TCP it is whole."""
        for more, most in (({}, 512), ({"payload": 100}, 512), ({"payload": 65535}, 1232)):
            packet = query("big.example.test.", "TXT", **more)
            wire = PREPARED.respond(packet)
            assert wire is not None
            self.assertLess(len(wire), min(most, len(packet) + 20))
            reply = dns.message.from_wire(wire)
            self.assertTrue(reply.flags & dns.flags.TC)
            self.assertEqual(reply.answer, [])
            whole = answered(packet, stream=True)
            self.assertFalse(whole.flags & dns.flags.TC)
            self.assertEqual(len(whole.answer[0]), 20)

    def test_any_does_not_amplify(self) -> None:
        """RFC 8482: one RRset."""
        reply = answered(query("example.test.", "ANY"))
        self.assertEqual(len(reply.answer), 1)

    def test_aliases_are_bounded(self) -> None:
        """A loop and a long chain are answered with what was followed."""
        self.assertEqual(len(answered(query("one.example.test.", "A")).answer), 2)
        self.assertEqual(len(answered(query("c0.example.test.", "A")).answer), 9)

    def test_substitution_too_long(self) -> None:
        """RFC 6672 section 3.2: YXDOMAIN."""
        reply = answered(query(f"{'z' * 60}.{'z' * 60}.long.example.test.", "A"))
        self.assertEqual(reply.rcode(), dns.rcode.YXDOMAIN)

    def test_case_of_the_question_is_kept(self) -> None:
        """0x20: who asks compares it."""
        wire = PREPARED.respond(query("nS1.eXaMple.test.", "A"))
        assert wire is not None
        self.assertIn(b"\x03nS1\x07eXaMple\x04test\x00", wire)
        self.assertEqual(len(dns.message.from_wire(wire).answer), 1)

    def test_extensions(self) -> None:
        """No OPT without one; a version of the future is BADVERS; DO comes back."""
        self.assertEqual(answered(query("ns1.example.test.", "A")).edns, -1)
        later = answered(query("ns1.example.test.", "A", use_edns=1))
        self.assertEqual((later.rcode(), later.edns, later.answer), (dns.rcode.BADVERS, 0, []))
        secure = answered(query("ns1.example.test.", "A", want_dnssec=True))
        self.assertTrue(secure.ednsflags & dns.flags.DO)

    def test_what_is_refused(self) -> None:
        """Each with the reply code that says why."""
        packet = query("example.test.", "A")
        counted = packet[:4] + b"\0\2" + packet[6:]
        answers = packet[:6] + b"\0\1" + packet[8:]
        for what, wire, code in (
            ("elsewhere", query("elsewhere.test.", "A"), dns.rcode.REFUSED),
            ("CHAOS", query("example.test.", "TXT", rdclass="CH"), dns.rcode.REFUSED),
            ("a transfer", query("example.test.", "AXFR"), dns.rcode.REFUSED),
            ("MAILB", query("example.test.", "MAILB"), dns.rcode.NOTIMP),
            ("UPDATE", packet[:2] + b"\x28\0" + packet[4:], dns.rcode.NOTIMP),
            ("two questions", counted, dns.rcode.FORMERR),
            ("an answer in a query", answers, dns.rcode.FORMERR),
            ("a name that points at itself", packet[:12] + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),
            ("octets behind it", packet + b"x", dns.rcode.FORMERR),
            ("half of it", packet[:-3], dns.rcode.FORMERR),
        ):
            reply = PREPARED.respond(wire)
            assert reply is not None
            self.assertEqual(reply[3] & 0xF, code, what)
            self.assertEqual(reply[:2], wire[:2], what)
            self.assertTrue(reply[2] & 0x80, what)

    def test_a_response_is_not_answered(self) -> None:
        """Or two servers could be set on each other; nor is what has no header."""
        packet = query("example.test.", "A")
        self.assertIsNone(PREPARED.respond(packet[:2] + bytes((packet[2] | 0x80,)) + packet[3:]))
        for length in range(12):
            self.assertIsNone(PREPARED.respond(packet[:length]))

    @settings(deadline=None, max_examples=300)
    @given(
        st.sampled_from(["big", "ns1", "a.long", "one", "c3", "nothing"]),
        st.lists(st.tuples(st.integers(2, 60), st.integers(0, 255)), max_size=6),
        st.binary(max_size=40),
        st.integers(0, 80),
    )
    def test_broken_packets(self, name: str, changes: list[tuple[int, int]], more: bytes, cut: int) -> None:
        """Octets changed, cut and added: a small answer with the same id that can be read, or none."""
        packet = bytearray(query(f"{name}.example.test.", "TXT", use_edns=0, payload=4096))
        for place, octet in changes:
            packet[place % len(packet)] = octet
        wire = bytes(packet[: len(packet) - cut] + more)
        reply = PREPARED.respond(wire)
        if reply is None:
            self.assertTrue(len(wire) < 12 or wire[2] & 0x80)
            return
        self.assertLessEqual(len(reply), 1232)
        self.assertEqual(reply[:2], wire[:2])
        self.assertTrue(dns.message.from_wire(reply).flags & dns.flags.QR)
