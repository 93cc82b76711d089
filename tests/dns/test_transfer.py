"""Zone transfers: to named, knot and dnspython, to one that does not read, to nobody else; and unbound, which
resolves through us."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.xfr
import dns.zone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns import authority
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.server import IDLE, QueryFactory
from mailftp.dns.transfer import MESSAGE, TransferRequest, messages
from mailftp.dns.zone import Zone, Zones
from tests.connector import BUFFER, advance, connect, wiring
from tests.dns.authorities import Authority
from tests.dns.test_zone import ORIGIN, SOA
from tests.interop.running import PATIENCE, RunningServer, program
from tests.ports import free_ports

NAMES = 2000
MANY = "".join(f'n{number} 60 TXT "{number:05}{"x" * 100}"\n' for number in range(NAMES))


class NameServer(RunningServer):
    services = ("dns",)

    def write_zone(self, text: str) -> None:
        (self.folder / "own.zone").write_text(text)


class SecondaryTests(SynchronousTestCase):
    def start(self, secondaries: list[str]) -> NameServer:
        server = NameServer(self, "a.test")
        server.configure(
            f'[dns]\nzones = ["a.test"]\nzone_files = {{ "a.test" = "own.zone" }}\n'
            f"secondaries = {secondaries!r}\naddresses = ['127.0.0.1']\n"
        )
        server.write_zone(MANY)
        server.start()
        return server

    def secondary(self, kind: str) -> None:
        port = free_ports(1, kind=socket.SOCK_DGRAM)[0]
        server = self.start([f"127.0.0.1:{port}"])
        authority = Authority(self, kind, "a.test.", primary=server.ports["dns"], port=port)
        last = dns.message.make_query(f"n{NAMES - 1}.a.test", "TXT")
        self.assertEqual(len(authority.ask(last).answer), 1)
        self.assertEqual(len(authority.ask(dns.message.make_query("a.test", "MX")).answer), 1)
        soa = dns.message.make_query("a.test", "SOA")
        newer = authority.ask(soa).answer[0][0].serial + 1
        server.write_zone(MANY + "new A 192.0.2.9\n")
        done = server.cli("reload")
        self.assertEqual(done.returncode, 0, done.stderr)
        server.wait_for("dns notified", serial=newer)
        end = time.monotonic() + PATIENCE
        while authority.ask(soa).answer[0][0].serial != newer:
            self.assertLess(time.monotonic(), end, "it did not fetch the zone that it was told of")
            time.sleep(0.05)
        self.assertEqual(len(authority.ask(dns.message.make_query("new.a.test", "A")).answer), 1)

    def test_named(self) -> None:
        """bind9 fetches 2,000 names, is told of a change and has it."""
        self.secondary("bind9")

    def test_knot(self) -> None:
        """And so does knot."""
        self.secondary("knot")

    def test_others_are_refused(self) -> None:
        """dnspython has all of it at a secondary's address and nothing at another one; a secondary that
        answers nothing is told again and holds nobody up."""
        server = self.start(["127.0.0.1:9"])
        where = {"where": "127.0.0.1", "port": server.ports["dns"], "timeout": PATIENCE}
        zone = dns.zone.Zone("a.test.")
        dns.query.inbound_xfr(txn_manager=zone, **where)  # type: ignore[arg-type]
        self.assertGreater(len(zone.nodes), NAMES)
        self.assertEqual(dns.zone.from_text(zone.to_text(), "a.test."), zone)
        self.assertRaises(
            dns.xfr.TransferError,
            dns.query.inbound_xfr,
            txn_manager=dns.zone.Zone("a.test."),
            source="127.0.0.9",
            **where,
        )
        server.wait_for("dns transfer refused", zone="a.test")
        # IXFR by one that is current: the SOA and no more.
        serial = zone.get_soa().serial
        query, _ = dns.xfr.make_query(zone, serial)
        reply = dns.query.tcp(query, "127.0.0.1", PATIENCE, server.ports["dns"])
        self.assertEqual([len(rrset) for rrset in reply.answer], [1])

    def test_unbound(self) -> None:
        """It finds the MX and its address, the negative answers and the large ones."""
        server = self.start([])
        folder = Path(tempfile.mkdtemp(prefix="unbound-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        port = free_ports(1, kind=socket.SOCK_DGRAM)[0]
        (folder / "conf").write_text(
            f'server:\n  username: ""\n  chroot: ""\n  directory: "{folder}"\n  pidfile: ""\n'
            f"  interface: 127.0.0.1\n  port: {port}\n  do-not-query-localhost: no\n  do-daemonize: no\n"
            '  use-syslog: no\n  module-config: "iterator"\n  use-caps-for-id: yes\n'
            '  local-zone: "test." nodefault\nremote-control:\n  control-enable: no\n'
            f"stub-zone:\n  name: a.test\n  stub-addr: 127.0.0.1@{server.ports['dns']}\n"
        )
        process = subprocess.Popen(
            [program("unbound", "unbound"), "-d", "-c", str(folder / "conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if b"start of service" in line:
                break
        for name, kind, count, code in (
            ("a.test", "MX", 1, 0),
            ("mx.a.test", "A", 1, 0),
            ("mailftp._domainkey.a.test", "TXT", 1, 0),
            ("n5.a.test", "TXT", 1, 0),
            ("missing.a.test", "A", 0, 3),
            ("n5.a.test", "A", 0, 0),
        ):
            query = dns.message.make_query(name, kind)
            reply = dns.query.udp(query, "127.0.0.1", PATIENCE, port)
            self.assertEqual((reply.rcode(), len(reply.answer)), (code, count), f"{name} {kind}")


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.zone = Zone(ORIGIN, SOA + MANY)
        self.authority = authority.Authority(Clock().seconds)
        self.authority.change(PreparedAnswers(Zones((self.zone,))), 0, ("192.0.2.1",))
        self.clock = Clock()
        self.factory = QueryFactory(wiring("dns", clock=self.clock), self.authority)
        self.query = dns.message.make_query(ORIGIN, "AXFR", id=99, use_edns=0).to_wire()
        self.question = dns.message.make_query("n1.example.test.", "TXT").to_wire()

    def test_messages(self) -> None:
        """Each of a bounded size; the SOA first and last; every record once."""
        request = TransferRequest.read(self.query)
        assert request is not None
        made = list(messages(self.zone, request))
        self.assertGreater(len(made), 10)
        self.assertLess(max(map(len, made)), MESSAGE + 600)
        kinds = []
        for wire in made:
            kinds += [rrset.rdtype for rrset in dns.message.from_wire(wire, one_rr_per_rrset=True).answer]
        soa = dns.rdatatype.SOA
        self.assertEqual((kinds[0], kinds[-1], kinds.count(soa)), (soa, soa, 2))
        self.assertEqual(len(kinds), NAMES + 4)

    def test_one_that_does_not_read(self) -> None:
        """Is held no more than a buffer's worth for, and goes; what comes behind the transfer is answered
        after it."""
        client = connect(self.factory, peer=("192.0.2.1", 53), clock=self.clock)
        client.reading = False
        client.send(framed(self.query) * 2 + framed(self.question))
        self.assertLess(len(client.transport.buffer), BUFFER + 2 * MESSAGE)
        self.assertFalse(client.transport.reading)
        client.reading = True
        self.assertEqual(self.kinds(client.received()), 2 * (NAMES + 4) + 1)
        client.send(framed(self.question))
        self.assertEqual(self.kinds(client.received()), 1)
        client.reading = False
        client.send(framed(self.query))
        advance(self.factory, IDLE + 2)
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(list(self.factory.connections), [])

    def test_a_long_one(self) -> None:
        """A transfer that moves may take longer than anything else; one that drips its questions may not."""
        client = connect(self.factory, peer=("192.0.2.1", 53), clock=self.clock)
        client.reading = False
        client.send(framed(self.query))
        for _ in range(20):
            advance(self.factory, IDLE - 2)
            client.transport.buffer, taken = client.transport.buffer[1:], client.transport.buffer[:1]
            self.assertEqual(len(taken), 1)
        self.assertFalse(client.closed)
        client.drop()
        client = connect(self.factory, peer=("192.0.2.1", 53), clock=self.clock)
        for octet in framed(self.question)[:-1] * 3:
            client.send(bytes((octet,)))
            advance(self.factory, IDLE - 5)
        self.assertTrue(client.closed)

    def test_refused(self) -> None:
        """To others, in other classes, of other zones, with TSIG, by datagram: REFUSED or what is wrong, and
        nothing of the zone."""
        other = dns.message.make_query("other.test.", "AXFR").to_wire()
        for peer, packet in (("192.0.2.2", self.query), ("192.0.2.1", other)):
            client = connect(self.factory, peer=(peer, 53), clock=self.clock)
            client.send(framed(packet))
            reply = dns.message.from_wire(client.received()[2:])
            self.assertEqual((reply.rcode(), reply.answer), (dns.rcode.REFUSED, []))
        reply = dns.message.from_wire(self.authority.answer_datagram(self.query, "192.0.2.1") or b"")
        self.assertEqual(reply.rcode(), dns.rcode.REFUSED)
        for packet in (
            dns.message.make_query(ORIGIN, "AXFR", rdclass="CH").to_wire(),
            dns.message.make_query(ORIGIN, "IXFR").to_wire(),
            self.query[:-1],
            self.query + b"x",
            b"",
        ):
            self.assertIsNone(TransferRequest.read(packet))

    def test_every_cut(self) -> None:
        """The request octet by octet."""
        client = connect(self.factory, peer=("192.0.2.1", 53), clock=self.clock)
        for octet in framed(self.query):
            client.send(bytes((octet,)))
        self.assertEqual(self.kinds(client.received()), NAMES + 4)

    def kinds(self, octets: bytes) -> int:
        """So many records are in a stream of messages, each whole."""
        count = 0
        while octets:
            end = 2 + int.from_bytes(octets[:2], "big")
            count += len(dns.message.from_wire(octets[2:end], one_rr_per_rrset=True).answer)
            octets = octets[end:]
        return count


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "big") + packet
