"""The name service of a real process under floods, forgeries and stalls: its memory is bounded, it amplifies
nothing, and others are answered meanwhile."""

from __future__ import annotations

import random
import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import dns.message
import dns.name
import dns.rdatatype
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.authority import Authority
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.zone import Zone, Zones
from tests.dns.test_transfer import NameServer
from tests.hostile.memory import MIB, Meter
from tests.interop.running import PATIENCE

#: Five seconds of 10,000 questions.
FLOOD = 50_000
TYPES = ("A", "AAAA", "MX", "TXT", "NS", "SOA", "SRV", "CAA", "ANY", "DS", "HTTPS", "PTR", "TYPE4711")


def query(name: str, kind: str, **more: object) -> bytes:
    return dns.message.make_query(name, kind, **more).to_wire()  # type: ignore[arg-type]


class NameFloodCase(SynchronousTestCase):
    rate_limit = 0

    def setUp(self) -> None:
        self.server = NameServer(self, "flood.test")
        self.server.configure(
            '[dns]\nzones = ["flood.test"]\nzone_files = { "flood.test" = "own.zone" }\n'
            f"rate_limit = {self.rate_limit}\n[limits]\nconnections_per_ip = 2000\n"
        )
        self.server.write_zone(
            "*.wild A 192.0.2.1\n*.alias CNAME mx\nchild NS ns.child\nns.child A 192.0.2.2\n"
            "moved DNAME flood.test.\n"
        )
        self.server.start()
        self.socket = self.client()

    def client(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        made.connect((self.server.address, self.server.ports["dns"]))
        made.settimeout(0.2)
        return made

    def answered(self, packet: bytes) -> bytes:
        """The answer to one question; asked again where a packet got lost."""
        one = self.client()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            one.send(packet)
            try:
                return one.recv(4096)
            except TimeoutError:
                continue
        raise AssertionError("nobody answers")

    def flood(self, make: Callable[[int], bytes], count: int) -> tuple[int, int, int]:
        """(octets sent, octets that came back, answers), never more under way than the sockets hold."""
        sent = came = answers = waiting = 0
        for number in range(count):
            packet = make(number)
            sent += self.socket.send(packet)
            waiting += 1
            # Whoever sends blindly loses most of it in the kernel, and tests nothing.
            while waiting >= 100 or number == count - 1 and waiting:
                try:
                    came += len(self.socket.recv(4096))
                    answers += 1
                    waiting -= 1
                except TimeoutError:
                    waiting = 0
        return sent, came, answers


class RandomNamesTests(NameFloodCase):
    def test_memory(self) -> None:
        """50,000 names that nobody asked for before, of all types and below all sorts of names: what is held
        in the end is what was held after the first thousand, and no answer is missing."""
        chance = random.Random(8)
        below = ("", "wild.", "alias.", "child.", "moved.", "mx.", "a.b.c.wild.", "elsewhere.")

        def make(number: int) -> bytes:
            label = f"{chance.getrandbits(80):x}"[: chance.randrange(1, 21)]
            return query(f"{label}.{chance.choice(below)}flood.test", chance.choice(TYPES), payload=1232)

        self.flood(make, 1000)
        meter = Meter(self.server)
        _, _, answers = self.flood(make, FLOOD)
        self.assertGreater(answers, FLOOD * 0.99)
        self.assertLess(meter.peak, 8 * MIB)

    def test_broken_packets(self) -> None:
        """Octets changed, cut and added, compression loops, rubbish: the server answers on, and holds no
        more."""
        chance = random.Random(9)
        good = query("mx.flood.test", "A", payload=1232)
        loop = good[:12] + b"\xc0\x0c\0\1\0\1"
        chain = good[:12] + b"".join(b"\xc0" + bytes((at,)) for at in range(14, 250, 2)) + b"\xc0\x0c\0\1\0\1"

        def make(number: int) -> bytes:
            packet = bytearray(chance.choice((good, loop, chain, chance.randbytes(chance.randrange(500)))))
            for _ in range(chance.randrange(4)):
                if packet:
                    packet[chance.randrange(len(packet))] = chance.randrange(256)
            return bytes(packet[: chance.randrange(len(packet) + 1)]) + chance.randbytes(chance.randrange(3))

        meter = Meter(self.server)
        for number in range(20_000):
            self.socket.send(make(number))
        self.assertIn(b"\xc0\x00\x02\x01", self.answered(query("x.wild.flood.test", "A")))
        self.assertLess(meter.peak, 8 * MIB)
        self.assertFalse(any("dns_fault" in line for line in self.server.output))


class AmplificationTests(NameFloodCase):
    rate_limit = 200

    def test_what_comes_back(self) -> None:
        """Whoever asks in another's name the question with the largest answer gets less sent there than he
        sends himself."""
        done = self.server.cli("dns", "zone")
        zone = Zone(dns.name.from_text("flood.test."), done.stdout.decode())
        answers = PreparedAnswers(Zones((zone,)))
        worst, packet = 0.0, b""
        for name in zone.nodes:
            for kind in TYPES:
                asked = query(name.to_text(), kind, use_edns=0, payload=4096)
                reply = answers.respond(asked)
                assert reply is not None
                self.assertLessEqual(len(reply), 1232)
                if len(reply) / len(asked) > worst:
                    worst, packet = len(reply) / len(asked), asked
        self.assertLess(worst, 15)
        clock = Clock()
        authority = Authority(clock.seconds)
        authority.change(PreparedAnswers(Zones((zone,))), self.rate_limit)
        came = 0
        for _ in range(3):
            for _ in range(10_000):
                came += len(authority.answer_datagram(packet, "192.0.2.1") or b"")
            clock.advance(1)
        self.assertLess(came / (30_000 * len(packet)), 0.7)
        self.flood(lambda number: packet, 400)
        self.server.wait_for("dns rate limit")


class StallTests(NameFloodCase):
    def test_tcp(self) -> None:
        """400 clients that send half a question: little memory, and others are answered both ways."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        where = (self.server.address, self.server.ports["dns"])
        asked = query("mx.flood.test", "A")
        meter = Meter(self.server)
        with ExitStack() as stack:
            for _ in range(400):
                one = stack.enter_context(socket.create_connection(where, PATIENCE))
                one.sendall(b"\x0f\xff" + bytes(4000))
            self.assertIn(b"\x7f\0\0\1", self.answered(asked))
            other = stack.enter_context(socket.create_connection(where, PATIENCE))
            other.sendall(len(asked).to_bytes(2, "big") + asked)
            self.assertIn(b"\x7f\0\0\1", other.recv(4096))
            self.assertLess(meter.peak, 400 * 64 * 1024)
