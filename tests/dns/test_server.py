"""Zones on real sockets: dig, drill and kdig ask; queries are cut, piled up, too long and never finished."""

from __future__ import annotations

import socket

import dns.message
import dns.name
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from mailftp.dns.authority import Authority
from mailftp.dns.datagrams import QUERY, DatagramSocket
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.server import CLIENTS, QueryFactory
from mailftp.dns.zone import Zone, Zones
from mailftp.wire.listener import ListenerService
from tests.connector import wiring
from tests.dns.test_zone import BIG, ORIGIN, SOA
from tests.interop.running import PATIENCE, program
from tests.ports import free_ports
from tests.wire.network import dial


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "big") + packet


class ServerTests(TestCase):
    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        self.authority = Authority(reactor.seconds)
        self.authority.change(PreparedAnswers(Zones((Zone(ORIGIN, SOA + BIG),))), 0)
        self.factory = QueryFactory(wiring("dns", clock=reactor), self.authority)
        # Both on one port, where clients look for TCP after a truncated answer.
        for self.port in free_ports(20):
            try:
                self.socket = DatagramSocket("127.0.0.1", self.port, reactor, self.authority.answer_datagram)
            except OSError:
                continue
            break
        self.addCleanup(self.socket.close)
        self.socket.start()
        service = ListenerService(f"tcp:{self.port}:interface=127.0.0.1", self.factory, reactor)
        self.addCleanup(service.stopService)
        service.startService()

    async def output(self, name: str, package: str, *arguments: str) -> str:
        out, err, status = await getProcessOutputAndValue(program(name, package), arguments)
        self.assertEqual(status, 0, err)
        return out.decode()

    async def test_dig(self) -> None:
        """By UDP, by TCP, and by TCP after a truncated answer."""
        where = ("@127.0.0.1", "-p", str(self.port), "+tries=5")
        for more in ((), ("+tcp",)):
            said = await self.output("dig", "bind9-dnsutils", *where, *more, "ns1.example.test", "A")
            self.assertIn("status: NOERROR", said)
            self.assertIn("flags: qr aa rd;", said)
            self.assertRegex(said, r"ns1\.example\.test\.\s+3600\s+IN\s+A\s+192\.0\.2\.1\n")
        said = await self.output("dig", "bind9-dnsutils", *where, "big.example.test", "TXT")
        self.assertIn("Truncated, retrying in TCP mode", said)
        self.assertIn("ANSWER: 20,", said)

    async def test_drill(self) -> None:
        """Of ldns."""
        said = await self.output(
            "drill", "ldnsutils", "-p", str(self.port), "nothing.example.test", "@127.0.0.1", "MX"
        )
        self.assertIn("rcode: NXDOMAIN", said)
        self.assertRegex(said, r"example\.test\.\s+300\s+IN\s+SOA\s")

    async def test_kdig(self) -> None:
        """Of knot; several questions on one connection."""
        said = await self.output(
            "kdig", "knot-dnsutils", "@127.0.0.1", "-p", str(self.port), "+tcp", "+keepopen",
            "example.test", "NS", "big.example.test", "TXT",
        )  # fmt: skip
        self.assertEqual(said.count("status: NOERROR"), 2)
        self.assertIn("ANSWER: 20;", said)

    async def test_pieces(self) -> None:
        """Octet by octet, and many in one piece: each is answered, in order."""
        client = await dial(reactor, self.port)
        packets = [dns.message.make_query("ns1.example.test.", "A", id=n).to_wire() for n in range(100)]
        for octet in framed(packets[0]):
            client.transport.write(bytes((octet,)))
        client.transport.write(b"".join(map(framed, packets[1:])))
        for number in range(100):
            size = int.from_bytes(await client.expect(2), "big")
            reply = dns.message.from_wire(await client.expect(size))
            self.assertEqual((reply.id, len(reply.answer)), (number, 1))
        client.transport.loseConnection()
        await client.lost

    async def test_no_query(self) -> None:
        """A length beyond any query, a response and an empty message close the connection."""
        response = dns.message.make_response(dns.message.make_query("ns1.example.test.", "A")).to_wire()
        for octets in ((QUERY + 1).to_bytes(2, "big"), framed(response), framed(b"")):
            client = await dial(reactor, self.port)
            client.transport.write(octets)
            self.assertEqual(await client.lost, b"")

    async def test_an_error_of_ours(self) -> None:
        """It is logged and ends nothing; a datagram that is too long is dropped."""
        packet = dns.message.make_query("ns1.example.test.", "A").to_wire()
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.connect(("127.0.0.1", self.port))
        client.send(packet + bytes(QUERY))
        client.send(packet)
        self.socket.doRead()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(client.recv(4096)[:2], packet[:2])
        self.socket._answer = None  # type: ignore[assignment]
        client.send(packet)
        self.socket.doRead()
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 4096)

    async def test_answers_come_from_the_address_that_was_asked(self) -> None:
        """A socket of every address, asked at 127.0.0.3 and ::1: the kernel alone would answer by
        127.0.0.1."""
        packet = dns.message.make_query("ns1.example.test.", "A").to_wire()
        for everywhere, asked, family in (
            ("", "127.0.0.3", socket.AF_INET),
            ("::", "::1", socket.AF_INET6),
            ("::", "::ffff:127.0.0.4", socket.AF_INET6),
        ):
            server = DatagramSocket(everywhere, 0, reactor, self.authority.answer_datagram)
            self.addCleanup(server.close)
            client = socket.socket(family, socket.SOCK_DGRAM)
            self.addCleanup(client.close)
            client.settimeout(PATIENCE)
            client.sendto(packet, (asked, server.address[1]))
            server.doRead()
            self.assertEqual(client.recvfrom(4096)[1][0], asked)

    async def test_too_many_clients(self) -> None:
        """So many by TCP and no more; who was refused is told by the connection's end."""
        self.factory._connections = {object() for _ in range(CLIENTS)}  # type: ignore[misc]
        self.addCleanup(self.factory._connections.clear)
        client = await dial(reactor, self.port)
        self.assertEqual(await client.lost, b"")
