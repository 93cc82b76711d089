"""The resolver against servers in memory: what it asks, whom it believes, what it remembers."""

from __future__ import annotations

from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns import resolver as resolving
from mailftp.dns.machine import LOOK, ResolvConf
from mailftp.dns.resolver import Answer, NoSuchData, NoSuchName, Resolver, Unresolved
from mailftp.dns.servers import Server
from mailftp.settings import DNS
from tests.dns.network import MemoryNetwork, Zone, framed

ONE, TWO = ("192.0.2.53", 53), ("192.0.2.54", 5353)
SERVERS = ("192.0.2.53", "192.0.2.54:5353")


class ResolverCase(SynchronousTestCase):
    settings = DNS(servers=SERVERS)

    def setUp(self) -> None:
        self.net = MemoryNetwork()
        self.resolver = Resolver(self.settings, self.net)

    def tearDown(self) -> None:
        self.resolver.stop()
        self.net.settle()
        self.assertEqual(self.net.open_sockets, 0)
        self.assertEqual(self.net.getDelayedCalls(), [])

    def ask(self, name: str, kind: str = "A") -> Answer:
        asking = self.resolver.lookup(name, kind)
        self.net.settle()
        return self.successResultOf(asking)

    def ask_vainly(self, name: str, kind: str = "A", seconds: float = 0) -> Exception:
        asking = self.resolver.lookup(name, kind)
        self.net.settle()
        for _ in range(int(seconds)):
            self.net.advance(1)
            self.net.settle()
        return self.failureResultOf(asking).value


class AskingTests(ResolverCase):
    def test_answer(self) -> None:
        """The records come with the name that they are at and the time that they hold."""
        self.net.udp[ONE] = Zone("a.test 300 A 192.0.2.1", "a.test 300 A 192.0.2.2")
        answer = self.ask("A.Test.")
        self.assertEqual(sorted(record.address for record in answer.records), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual((answer.canonical, answer.ttl, answer.authentic), ("a.test", 300, False))

    def test_query(self) -> None:
        """A query wants recursion, says that it understands AD, and that 1,232 octets are enough."""
        self.net.udp[ONE] = Zone("a.test 300 A 192.0.2.1")
        self.ask("a.test")
        query = dns.message.from_wire(self.net.datagrams[0][2])
        self.assertEqual(query.flags, dns.flags.RD | dns.flags.AD)
        self.assertEqual((query.edns, query.payload), (0, 1232))

    def test_ids_differ(self) -> None:
        """Ids are random and each question has a socket of its own."""
        self.net.udp[ONE] = Zone(*(f"n{number}.test 1 A 192.0.2.1" for number in range(20)))
        for number in range(20):
            self.ask(f"n{number}.test")
        self.assertGreater(len({wire[:2] for _, _, wire in self.net.datagrams}), 15)
        self.assertEqual(len(self.net.ports), 20)

    def test_next_server(self) -> None:
        """A server that is not there, cannot be reached or says SERVFAIL leads to the next."""

        def failing(query: dns.message.Message) -> bytes:
            reply = dns.message.make_response(query)
            reply.set_rcode(dns.rcode.SERVFAIL)
            return reply.to_wire()

        self.net.udp[TWO] = Zone("a.test 1 A 192.0.2.1", "b.test 1 A 192.0.2.1", "c.test 1 A 192.0.2.1")
        self.ask("a.test")
        self.net.unreachable.add(ONE[0])
        self.ask("b.test")
        self.net.unreachable.clear()
        self.net.advance(60)
        self.net.udp[ONE] = failing
        self.ask("c.test")

    def test_refused_on_epoll(self) -> None:
        """A closed port is noticed at once also where the reactor shows it as a hangup."""
        self.net.hangs_up = True
        self.net.udp[TWO] = Zone("a.test 1 A 192.0.2.1")
        self.ask("a.test")

    def test_silent_server(self) -> None:
        """A silent server is given two seconds, and is asked last for a while after."""
        silent = Zone("a.test 1 A 192.0.2.9", "b.test 1 A 192.0.2.9")
        self.net.udp[ONE] = lambda query: None
        self.net.udp[TWO] = Zone("a.test 1 A 192.0.2.1", "b.test 1 A 192.0.2.1")
        asking = self.resolver.lookup("a.test", "A")
        self.net.advance(1.9)
        self.assertNoResult(asking)
        self.net.advance(0.2)
        self.net.settle()
        self.assertEqual(self.successResultOf(asking).records[0].address, "192.0.2.1")
        self.net.udp[ONE] = silent
        self.assertEqual(self.ask("b.test").records[0].address, "192.0.2.1")
        self.net.advance(60)
        self.assertEqual(self.ask("b.test").records[0].address, "192.0.2.9")

    def test_nobody_answers(self) -> None:
        """Where every server is silent or refuses, the fault names each with what it did."""
        self.net.udp[ONE] = lambda query: None
        fault = self.ask_vainly("a.test", seconds=30)
        self.assertIsInstance(fault, Unresolved)
        self.assertIn("192.0.2.53:53: no answer in time", str(fault))
        self.assertIn("192.0.2.54:5353: nothing listens there", str(fault))

    def test_time_is_bounded(self) -> None:
        """However many servers are silent, a question ends after 25 seconds."""
        resolver = Resolver(DNS(servers=tuple(f"192.0.2.{n}" for n in range(1, 20))), self.net)
        for n in range(1, 20):
            self.net.udp[f"192.0.2.{n}", 53] = lambda query: None
        asking = resolver.lookup("a.test", "A")
        for _ in range(26):
            self.net.advance(1)
        self.failureResultOf(asking, Unresolved)

    def test_no_sockets(self) -> None:
        """Out of descriptors is a fault of this question and not of the server process."""
        self.net.no_sockets = True
        self.assertIsInstance(self.ask_vainly("a.test"), Unresolved)

    def test_without_edns(self) -> None:
        """A server that does not know EDNS is asked without it (RFC 6891 section 7)."""
        zone = Zone("a.test 1 A 192.0.2.1")

        def old(query: dns.message.Message) -> bytes:
            if query.edns < 0:
                return zone(query)
            # Such a server gives back the header alone.
            return query.to_wire()[:2] + b"\x81\x81" + bytes(8)

        self.net.udp[ONE] = old
        self.ask("a.test")
        self.assertEqual(len(self.net.datagrams), 2)

    def test_our_own_error(self) -> None:
        """An error of ours fails the question that met it, and is logged."""

        def broken(name: object) -> None:
            raise RuntimeError("a bug")

        self.patch(self.resolver._routing, "of", broken)
        self.assertIsInstance(self.ask_vainly("a.test"), Unresolved)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_not_a_name(self) -> None:
        """What cannot be a name does not exist, and nobody is asked."""
        for name in (
            "a..test",
            "x" * 64 + ".test",
            ".".join(["abcdefg"] * 40),
            "a\ud800.test",
            "\u2024.test",
        ):
            self.assertIsInstance(self.ask_vainly(name), NoSuchName, name)
        self.assertEqual(self.net.datagrams, [])

    def test_backslash_is_no_escape(self) -> None:
        """A backslash in a name is an octet of it, not the escape of zone files."""
        self.net.udp[ONE] = Zone("a.test 1 A 192.0.2.1")
        self.assertIsInstance(self.ask_vainly("\\097.test"), NoSuchName)
        self.assertEqual(dns.message.from_wire(self.net.datagrams[0][2]).question[0].name.labels[0], b"\\097")

    def test_international_name(self) -> None:
        """A name that is not ASCII is asked for by its A-labels (IDNA 2008)."""
        self.net.udp[ONE] = Zone("xn--bcher-kva.test 1 A 192.0.2.1")
        self.assertEqual(self.ask("Bücher.test").canonical, "xn--bcher-kva.test")

    def test_localhost(self) -> None:
        """localhost is this machine and nobody is asked (RFC 6761 section 6.3)."""
        self.assertEqual(self.ask("localhost").records[0].address, "127.0.0.1")
        self.assertEqual(self.ask("x.localhost", "AAAA").records[0].address, "::1")
        self.assertIsInstance(self.ask_vainly("localhost", "MX"), NoSuchData)
        self.assertEqual(self.net.datagrams, [])


class BeliefTests(ResolverCase):
    """Which packets are answers."""

    zone = Zone("a.test 300 A 192.0.2.1")

    def refused(self, spoil) -> None:
        """The spoilt packet is passed over, and the good one that comes after it is taken."""

        def behaviour(query: dns.message.Message) -> list[bytes]:
            good = self.zone.reply(query)
            return [spoil(self.zone.reply(query), good.to_wire()), good.to_wire()]

        self.net.udp[ONE] = behaviour
        self.resolver = Resolver(self.settings, self.net)
        self.assertEqual(self.ask("a.test").records[0].address, "192.0.2.1")
        self.assertEqual(len(self.net.datagrams), 1)
        self.net.datagrams.clear()

    def test_wrong_packets(self) -> None:
        """Another id, another question, a query, garbage, every cut of the answer: none is an answer."""
        other = dns.message.make_query("b.test", "A")
        self.refused(lambda reply, wire: bytes([wire[0] ^ 1]) + wire[1:])
        self.refused(lambda reply, wire: wire[:2] + dns.message.make_response(other).to_wire()[2:])
        self.refused(lambda reply, wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:])
        self.refused(lambda reply, wire: wire[:2] + b"\xff" * 40)
        self.refused(lambda reply, wire: b"")
        end = len(dns.message.make_query("a.test", "A", use_edns=False).to_wire())
        pointers = b"".join(b"\xc0" + bytes((at,)) for at in range(end + 2, 250, 2))
        for name in (
            b"\xc0" + bytes((end,)),
            b"\x01x\xc0" + bytes((end,)),
            pointers + b"\xc0\x0c",
            b"\xff\xff",
        ):
            self.refused(lambda reply, wire, name=name: wire[:6] + b"\0\1" + bytes(4) + wire[12:end] + name)
        length = len(self.zone(dns.message.make_query("a.test", "A", use_edns=0)))
        for cut in range(length - 1):
            self.refused(lambda reply, wire, cut=cut: wire[:cut])

    def test_other_source(self) -> None:
        """An answer from another port is not believed."""
        self.net.udp[ONE] = self.zone
        self.net.source = (ONE[0], 54)
        asking = self.resolver.lookup("a.test", "A")
        self.net.settle()
        self.assertNoResult(asking)
        self.net.source = None
        self.net.advance(2)
        self.net.settle()
        self.net.advance(2)
        self.net.settle()
        self.successResultOf(asking)

    def test_guessing(self) -> None:
        """Many packets with wrong ids mean that somebody guesses: the question goes by TCP."""
        self.net.udp[ONE] = lambda query: [bytes([n, n]) + self.zone(query)[2:] for n in range(1, 40)]
        self.net.tcp[ONE] = lambda query: framed(self.zone(query))
        self.ask("a.test")
        self.assertEqual(len(self.net.streams), 1)

    def test_other_names_in_the_packet(self) -> None:
        """Records that the question does not lead to are neither answered with nor remembered."""

        def behaviour(query: dns.message.Message) -> bytes:
            reply = self.zone.reply(query)
            for section in (reply.answer, reply.additional):
                section.append(dns.rrset.from_text("bank.test.", 300, "IN", "A", "203.0.113.66"))
            return reply.to_wire()

        self.net.udp[ONE] = behaviour
        self.assertEqual([r.address for r in self.ask("a.test").records], ["192.0.2.1"])
        self.net.udp[ONE] = Zone("bank.test 300 A 192.0.2.7")
        self.assertEqual([r.address for r in self.ask("bank.test").records], ["192.0.2.7"])

    def test_authentic(self) -> None:
        """The AD bit counts only where the settings trust it."""
        self.net.udp[ONE] = Zone("a.test 300 A 192.0.2.1", authentic=True)
        self.assertFalse(self.ask("a.test").authentic)
        self.resolver = Resolver(DNS(servers=SERVERS, trust_ad=True), self.net)
        self.assertTrue(self.ask("a.test").authentic)


class CaseTests(ResolverCase):
    """0x20: the letters of a question are of random case."""

    zone = Zone(*(f"abcdefghijklmnop{number}.test 1 A 192.0.2.1" for number in range(40)))

    def lowering(self, query: dns.message.Message) -> bytes:
        reply = self.zone.reply(query)
        wire = bytearray(reply.to_wire())
        size = len(query.question[0].name.to_wire() or b"")
        wire[12 : 12 + size] = bytes(wire[12 : 12 + size]).lower()
        return bytes(wire)

    def test_letters(self) -> None:
        """They differ from question to question, and the answer is the same."""
        self.net.udp[ONE] = self.zone
        for _ in range(10):
            self.assertEqual(self.ask("abcdefghijklmnop1.test").canonical, "abcdefghijklmnop1.test")
            self.net.advance(2)
        asked = {dns.message.from_wire(wire).question[0].name.labels for _, _, wire in self.net.datagrams}
        self.assertGreater(len(asked), 8)
        self.assertEqual(self.net.streams, [])

    def test_other_letters(self) -> None:
        """A forger who guesses id and port and not the letters: TCP tells the truth, and the server is still
        asked in letters of random case."""
        truth = self.zone
        forged = Zone("abcdefghijklmnop1.test 9 A 203.0.113.66")
        lie = True

        def answer(query: dns.message.Message) -> bytes:
            if not lie:
                return truth(query)
            wire = bytearray(forged(query))
            wire[13] ^= 32
            return bytes(wire)

        self.net.udp[ONE] = answer
        self.net.tcp[ONE] = lambda query: framed(truth(query))
        self.assertEqual(self.ask("abcdefghijklmnop1.test").records[0].address, "192.0.2.1")
        lie = False
        self.ask("abcdefghijklmnop2.test")
        self.assertEqual((len(self.net.streams), len(self.net.datagrams)), (1, 2))
        name = self.net.datagrams[-1][2][12:40]
        self.assertNotEqual(name.lower(), name)

    def test_a_server_that_lowers(self) -> None:
        """One that gives lower case back by TCP too is asked in lower case from then on."""
        self.net.udp[ONE] = self.lowering
        self.net.tcp[ONE] = lambda query: framed(self.lowering(query))
        for number in range(5):
            self.ask(f"abcdefghijklmnop{number}.test")
        self.assertEqual((len(self.net.streams), len(self.net.datagrams)), (1, 5))


class MachineTests(SynchronousTestCase):
    """/etc/resolv.conf and /etc/hosts, as they are now."""

    def setUp(self) -> None:
        self.net = MemoryNetwork()
        self.resolv_conf, self.hosts = Path(self.mktemp()), Path(self.mktemp())
        self.resolv_conf.write_text(f"nameserver {ONE[0]}\n")
        self.hosts.write_text("")

    def start(self, settings: DNS | None = None) -> None:
        self.resolver = Resolver(settings or DNS(), self.net, self.resolv_conf, self.hosts)

    def ask(self, name: str, kind: str = "A") -> list[str]:
        asking = self.resolver.lookup(name, kind)
        self.net.settle()
        self.answer = self.successResultOf(asking)
        return [record.to_text() for record in self.answer.records]

    def test_hosts(self) -> None:
        """Addresses both ways without a question; a type that is not there is not asked for; MX is."""
        self.hosts.write_text(
            "# comment\n192.0.2.7 Mx.A.test alias # more\n192.0.2.8 mx.a.test\n2001:db8::7\tmx6.a.test\n"
            "192.0.2.300 bad.test\nrubbish\n192.0.2.9 a..b good.test\n"
        )
        self.net.udp[ONE] = Zone("mx.a.test 60 MX 10 mx6.a.test.")
        self.start()
        self.assertEqual(sorted(self.ask("MX.a.test.")), ["192.0.2.7", "192.0.2.8"])
        self.assertEqual(self.ask("alias"), ["192.0.2.7"])
        self.assertEqual(self.ask("mx6.a.test", "AAAA"), ["2001:db8::7"])
        self.assertEqual(self.ask("good.test"), ["192.0.2.9"])
        self.assertEqual(self.ask("7.2.0.192.in-addr.arpa", "PTR"), ["mx.a.test."])
        self.failureResultOf(self.resolver.lookup("mx6.a.test", "A"), NoSuchData)
        self.assertEqual(self.net.datagrams, [])
        self.assertEqual(self.ask("mx.a.test", "MX"), ["10 mx6.a.test."])

    def test_both_are_read_again(self) -> None:
        """Within five seconds, without a reload; one that vanishes is empty."""
        self.net.udp[ONE] = Zone("b.test 1 A 192.0.2.1")
        self.net.udp[TWO[0], 53] = Zone("b.test 1 A 192.0.2.2")
        self.start()
        self.assertEqual(self.ask("b.test"), ["192.0.2.1"])
        self.resolv_conf.write_text(f"nameserver {TWO[0]}\noptions timeout:1\n")
        self.net.advance(LOOK)
        self.assertEqual(self.ask("b.test"), ["192.0.2.2"])
        self.hosts.write_text("192.0.2.3 b.test\n")
        self.net.advance(LOOK)
        self.assertEqual(self.ask("b.test"), ["192.0.2.3"])
        self.hosts.unlink()
        self.net.advance(LOOK)
        self.assertEqual(self.ask("b.test"), ["192.0.2.2"])

    def test_options(self) -> None:
        """resolv.conf(5): what is there is honoured within bounds."""
        for text, wanted in (
            ("", ResolvConf()),
            ("options timeout:1 attempts:3", ResolvConf(rounds=(1.0, 2.0, 4.0))),
            ("options timeout:99 attempts:99", ResolvConf(rounds=(30.0,) * 5)),
            ("options timeout:0", ResolvConf(rounds=(1.0, 2.0))),
            ("options timeout:x rotate\noptions trust-ad use-vc", ResolvConf(
                rounds=(5.0, 10.0), rotate=True, trust_ad=True, use_tcp=True)),
        ):  # fmt: skip
            self.assertEqual(ResolvConf.parse(text), wanted, text)

    def test_trust_and_turns(self) -> None:
        """AD counts where the machine says so, but not from the server of a forward; servers take turns; by
        TCP alone where that is wished."""
        one, two = (Zone("a.test 1 A 192.0.2.1", "b.test 1 A 192.0.2.2", authentic=True) for _ in range(2))
        self.net.udp[ONE], self.net.udp[TWO[0], 53] = one, two
        self.net.udp[TWO] = Zone("f.test 1 A 192.0.2.3", authentic=True)
        self.resolv_conf.write_text(f"nameserver {ONE[0]}\nnameserver {TWO[0]}\noptions trust-ad rotate\n")
        self.start(DNS(forward={"f.test": (f"{TWO[0]}:{TWO[1]}",)}))
        for _ in range(4):
            self.ask("a.test")
            self.assertTrue(self.answer.authentic)
            self.net.advance(2)
        self.assertEqual((len(one.asked), len(two.asked)), (2, 2))
        self.ask("f.test")
        self.assertFalse(self.answer.authentic)
        self.resolv_conf.write_text(f"nameserver {ONE[0]}\noptions use-vc\n")
        self.net.tcp[ONE] = lambda query: framed(one(query))
        self.net.advance(LOOK)
        sent = len(self.net.datagrams)
        self.assertEqual(self.ask("b.test"), ["192.0.2.2"])
        self.assertEqual((len(self.net.datagrams), len(self.net.streams)), (sent, 1))

    def test_a_forward_to_several(self) -> None:
        """The next one is asked where the first is silent."""
        self.net.udp[TWO] = Zone("f.test 1 A 192.0.2.3")
        self.start(DNS(forward={"f.test": (ONE[0], f"{TWO[0]}:{TWO[1]}")}))
        self.assertEqual(self.ask("f.test"), ["192.0.2.3"])

    def test_a_large_hosts_file(self) -> None:
        """No more of it than a megabyte is read."""
        self.hosts.write_text(
            "192.0.2.1 first.test\n" + "0.0.0.0 x.test\n" * 100_000 + "192.0.2.2 last.test\n"
        )
        self.start()
        self.assertEqual(self.ask("first.test"), ["192.0.2.1"])
        asking = self.resolver.lookup("last.test", "A")
        self.net.settle()
        self.failureResultOf(asking, Unresolved)


class TruncationTests(ResolverCase):
    def setUp(self) -> None:
        super().setUp()
        self.zone = Zone("a.test 300 A 192.0.2.1")
        self.net.udp[ONE] = self.truncated

    def truncated(self, query: dns.message.Message) -> bytes:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.TC
        return reply.to_wire()

    def test_tcp(self) -> None:
        """A truncated answer is asked for again by TCP, wherever that is cut."""
        for cut in range(1, 60):
            self.net.tcp[ONE] = lambda query, cut=cut: [
                framed(self.zone(query))[:cut],
                framed(self.zone(query))[cut:],
            ]
            self.resolver = Resolver(self.settings, self.net)
            self.ask("a.test")
        self.assertEqual(len(self.net.streams), 59)

    def test_oversize(self) -> None:
        """A datagram that fills the buffer may have been cut by the kernel: TCP."""
        self.net.udp[ONE] = lambda query: self.zone(query) + bytes(5000)
        self.net.tcp[ONE] = lambda query: framed(self.zone(query))
        self.ask("a.test")

    def test_tcp_refused(self) -> None:
        """A server that truncates and takes no TCP is passed over."""
        self.net.udp[TWO] = self.zone
        self.ask("a.test")

    def test_tcp_silent(self) -> None:
        """TCP too has its time."""
        self.net.tcp[ONE] = lambda query: None
        self.net.udp[TWO] = self.zone
        asking = self.resolver.lookup("a.test", "A")
        self.net.settle()
        self.net.advance(7.9)
        self.assertNoResult(asking)
        self.net.advance(0.2)
        self.net.settle()
        self.successResultOf(asking)

    def test_tcp_garbage(self) -> None:
        """A message by TCP that is no answer ends that try at once."""
        self.net.tcp[ONE] = lambda query: framed(b"\0\0garbage, more or less")
        self.net.udp[TWO] = self.zone
        self.ask("a.test")

    def test_tcp_closed(self) -> None:
        """A connection closed before the answer ends that try."""
        self.net.tcp[ONE] = lambda query: None
        self.net.udp[TWO] = self.zone
        asking = self.resolver.lookup("a.test", "A")
        self.net.settle()
        self.net.connectors[0].cut()
        self.net.settle()
        self.successResultOf(asking)


class AliasTests(ResolverCase):
    def test_chain(self) -> None:
        """Aliases in the reply are followed; the answer holds as long as the shortest of them."""
        self.net.udp[ONE] = Zone(
            "a.test 300 CNAME b.test.", "b.test 20 CNAME c.test.", "c.test 60 A 192.0.2.1"
        )
        answer = self.ask("a.test")
        self.assertEqual((answer.canonical, answer.ttl), ("c.test", 20))

    def test_unfollowed(self) -> None:
        """An alias that the server did not follow is asked for."""
        self.net.udp[ONE] = Zone("a.test 300 CNAME alias-elsewhere.", "c.test 1 A 192.0.2.1", soa=False)
        zone = Zone("alias-elsewhere 30 A 192.0.2.1")
        first = self.net.udp[ONE]
        self.net.udp[ONE] = lambda query: (
            zone if query.question[0].name.to_text().lower() == "alias-elsewhere." else first
        )(query)
        self.assertEqual(self.ask("a.test").canonical, "alias-elsewhere")
        self.assertEqual(len(self.net.datagrams), 2)

    def test_circle(self) -> None:
        """Aliases that lead round are a fault that ends at once."""
        self.net.udp[ONE] = Zone("a.test 300 CNAME b.test.", "b.test 20 CNAME a.test.")
        self.assertIn("circle", str(self.ask_vainly("a.test")))

    def test_too_long(self) -> None:
        """Eight aliases are followed, nine are not."""
        lines = [f"n{n}.test 9 CNAME n{n + 1}.test." for n in range(9)]
        self.net.udp[ONE] = Zone(*lines, "n9.test 9 A 192.0.2.1")
        self.assertEqual(self.ask("n1.test").canonical, "n9.test")
        self.assertIn("more than 8", str(self.ask_vainly("n0.test")))

    def test_alias_to_nothing(self) -> None:
        """An alias to a name that does not exist does not exist."""
        self.net.udp[ONE] = Zone("a.test 300 CNAME b.test.")
        self.assertIsInstance(self.ask_vainly("a.test"), NoSuchName)


class CacheTests(ResolverCase):
    def setUp(self) -> None:
        super().setUp()
        self.zone = Zone("a.test 300 A 192.0.2.1", "z.test 0 A 192.0.2.1", "w.test 999999 A 192.0.2.1")
        self.net.udp[ONE] = self.zone

    def test_remembered(self) -> None:
        """An answer is remembered for its TTL and says what is left of that."""
        self.ask("a.test")
        self.net.advance(299)
        self.assertEqual(self.ask("a.test").ttl, 1)
        self.net.advance(1)
        self.assertEqual(self.ask("a.test").ttl, 300)
        self.assertEqual(len(self.zone.asked), 2)

    def test_not_remembered(self) -> None:
        """TTL 0 is asked again each time."""
        self.ask("z.test")
        self.ask("z.test")
        self.assertEqual(len(self.zone.asked), 2)

    def test_a_day(self) -> None:
        """Nothing is remembered for more than a day."""
        self.assertEqual(self.ask("w.test").ttl, 86400)

    def test_negative(self) -> None:
        """That a name or type is missing is remembered as the SOA says, here 120 seconds."""
        for _ in range(2):
            self.assertIsInstance(self.ask_vainly("nope.test"), NoSuchName)
            self.assertIsInstance(self.ask_vainly("a.test", "MX"), NoSuchData)
        self.assertEqual(len(self.zone.asked), 2)
        self.net.advance(120)
        self.ask_vainly("nope.test")
        self.assertEqual(len(self.zone.asked), 3)

    def test_negative_without_soa(self) -> None:
        """Without an SOA it is not remembered."""
        self.zone.soa = False
        self.ask_vainly("nope.test")
        self.ask_vainly("nope.test")
        self.assertEqual(len(self.zone.asked), 2)

    def test_failure(self) -> None:
        """A failure is remembered for a second, so that a batch of mail meets it once (RFC 9520)."""
        self.net.udp.clear()
        self.assertIsInstance(self.ask_vainly("a.test"), Unresolved)
        self.net.udp[ONE] = self.zone
        self.assertIsInstance(self.ask_vainly("a.test"), Unresolved)
        self.net.advance(1)
        self.ask("a.test")

    def test_asked_once(self) -> None:
        """Who asks the same while it is under way waits for the same answer."""
        asking = [self.resolver.lookup(name, "A") for name in ("a.test", "A.test", "a.test.")]
        self.net.settle()
        for answer in asking:
            self.successResultOf(answer)
        self.assertEqual(len(self.zone.asked), 1)

    def test_one_gives_up(self) -> None:
        """Whoever cancels leaves; the others still get the answer."""
        first, second = self.resolver.lookup("a.test", "A"), self.resolver.lookup("a.test", "A")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.net.settle()
        self.successResultOf(second)

    def test_many_at_once(self) -> None:
        """No more than a bounded number of sockets is open at once; all are answered."""
        self.patch(resolving, "UNDER_WAY", 5)
        resolver = Resolver(self.settings, self.net)
        self.net.udp[ONE] = Zone(*(f"n{n}.test 1 A 192.0.2.1" for n in range(30)))
        asking = [resolver.lookup(f"n{n}.test", "A") for n in range(30)]
        self.assertEqual(self.net.open_sockets, 5)
        self.net.settle()
        for answer in asking:
            self.successResultOf(answer)


class StopTests(ResolverCase):
    def test_stop(self) -> None:
        """What is under way or waits for its turn fails, sockets close, and later questions fail at once."""
        self.patch(resolving, "UNDER_WAY", 2)
        self.resolver = Resolver(self.settings, self.net)
        self.net.udp[ONE] = lambda query: None
        asking = [self.resolver.lookup(f"n{n}.test", "A") for n in range(40)]
        stopping = self.resolver.stop()
        for answer in asking:
            self.failureResultOf(answer, Unresolved)
        self.successResultOf(stopping)
        self.assertEqual(self.net.open_sockets, 0)
        self.failureResultOf(self.resolver.lookup("a.test", "A"), Unresolved)

    def test_stop_in_tcp(self) -> None:
        """A question that is at TCP ends too."""
        self.net.udp[ONE] = lambda query: TruncationTests.truncated(self, query)  # type: ignore[arg-type]
        self.net.tcp[ONE] = lambda query: None
        asking = self.resolver.lookup("a.test", "A")
        self.net.settle()
        stopping = self.resolver.stop()
        self.failureResultOf(asking, Unresolved)
        self.net.settle()
        self.successResultOf(stopping)


class ForwardTests(ResolverCase):
    settings = DNS(
        servers=("192.0.2.53",),
        forward={"b.test": ("127.0.0.2:2053",), "deep.b.test": ("[2001:db8::53]:99",)},
    )

    def test_longest_domain(self) -> None:
        """A name is asked of the server of the longest domain that it is at or below."""
        self.net.udp[ONE] = Zone("a.test 1 A 192.0.2.1", "notb.test 1 A 192.0.2.1")
        self.net.udp["127.0.0.2", 2053] = Zone("b.test 1 A 192.0.2.2", "x.b.test 1 A 192.0.2.2")
        self.net.udp["2001:db8::53", 99] = Zone("x.deep.b.test 1 A 192.0.2.3")
        for name, address in (
            ("a.test", "192.0.2.1"),
            ("notb.test", "192.0.2.1"),
            ("b.test", "192.0.2.2"),
            ("x.B.test", "192.0.2.2"),
            ("x.deep.b.test", "192.0.2.3"),
        ):
            self.assertEqual(self.ask(name).records[0].address, address)

    def test_alias_leaves_the_domain(self) -> None:
        """A forward's server is not believed about names that are not its own."""
        self.net.udp["127.0.0.2", 2053] = Zone("b.test 9 CNAME bank.test.", "bank.test 9 A 203.0.113.66")
        self.net.udp[ONE] = Zone("bank.test 9 A 192.0.2.1")
        self.assertEqual(self.ask("b.test").records[0].address, "192.0.2.1")


class SettingsTests(SynchronousTestCase):
    def test_bad_servers(self) -> None:
        """A server that cannot be read is refused in words that name it."""
        for text in (
            "dns.test",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "192.0.2.1:x",
            "[::1]:",
            "::1]:53",
            "",
            "1.2.3",
        ):
            with self.assertRaisesRegex(ValueError, "DNS server"):
                Resolver(DNS(servers=(text,)), MemoryNetwork())

    def test_bad_forward(self) -> None:
        """A domain in forward that is none is refused."""
        with self.assertRaisesRegex(ValueError, "not a domain name"):
            Resolver(DNS(forward={"a..b": ("192.0.2.1",)}), MemoryNetwork())

    def resolv_conf(self, text: str) -> list[tuple[str, int]]:
        """Whom a resolver with this file asks."""
        path = Path(self.mktemp())
        path.write_text(text)
        net = MemoryNetwork()
        resolver = Resolver(DNS(), net, resolv_conf=path)
        resolver.lookup("a.test", "A").addErrback(lambda _: None)
        net.settle()
        return list(dict.fromkeys((host, port) for host, port, _ in net.datagrams))

    def test_resolv_conf(self) -> None:
        """Without servers in the settings, the first three of resolv.conf are asked."""
        text = "# x\nsearch test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver what\n"
        self.assertEqual(self.resolv_conf(text), [("192.0.2.1", 53), ("2001:db8::1", 53)])
        many = "".join(f"nameserver 192.0.2.{n}\n" for n in range(9))
        self.assertEqual(len(self.resolv_conf(many)), 3)

    def test_no_resolv_conf(self) -> None:
        """An empty resolv.conf, or none, means this machine."""
        self.assertEqual(self.resolv_conf(""), [("127.0.0.1", 53)])
        self.assertEqual(ResolvConf.parse("").servers, (Server("127.0.0.1"),))
