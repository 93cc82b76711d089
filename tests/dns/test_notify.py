"""NOTIFY: what is sent, to whom, how often, and when it stops."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.notify import WAITS, Notifier
from mailftp.dns.servers import Server
from mailftp.dns.zone import Zone
from tests.dns.network import MemoryNetwork
from tests.dns.test_zone import ORIGIN, SOA

ONE, TWO = ("192.0.2.53", 53), ("2001:db8::53", 5353)


def zone(serial: int = 1) -> Zone:
    return Zone(ORIGIN, SOA.replace("hostmaster 1", f"hostmaster {serial}"))


class NotifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = MemoryNetwork()
        self.notifier = Notifier(self.net)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def tearDown(self) -> None:
        self.notifier.stop()
        self.net.settle()
        self.assertEqual((self.net.open_sockets, self.net.getDelayedCalls()), (0, []))

    def told(self, event: str) -> list[dict[str, object]]:
        return [each["mailftp_fields"] for each in self.events if each.get("mailftp_event") == event]

    @staticmethod
    def heard(query: dns.message.Message) -> bytes:
        return dns.message.make_response(query).to_wire()

    def test_heard(self) -> None:
        """One packet to each, with the SOA; the same zone again is no news, another serial is."""
        self.net.udp[ONE] = self.net.udp[TWO] = self.heard
        servers = (Server(*ONE), Server(*TWO))
        for serial, sent in ((1, 2), (1, 2), (2, 4)):
            self.notifier.change([zone(serial)], servers)
            self.net.settle()
            self.assertEqual(len(self.net.datagrams), sent)
        self.assertEqual({datagram[:2] for datagram in self.net.datagrams}, {ONE, TWO})
        notice = dns.message.from_wire(self.net.datagrams[-1][2])
        self.assertEqual((notice.opcode(), notice.flags & 0x7FF), (dns.opcode.NOTIFY, dns.flags.AA))
        self.assertEqual(notice.answer[0][0].serial, 2)
        self.assertEqual(
            self.told("dns notified")[-1],
            {"zone": "example.test", "server": "[2001:db8::53]:5353", "serial": 2},
        )

    def test_silence(self) -> None:
        """It is told again, each time later, and then no more; the log says so."""
        self.net.udp[ONE] = lambda query: None
        self.notifier.change([zone()], (Server(*ONE),))
        for number, seconds in enumerate(WAITS, 1):
            self.assertEqual(len(self.net.datagrams), number)
            self.net.advance(seconds)
        self.net.advance(1000)
        self.assertEqual(len(self.net.datagrams), len(WAITS))
        words = {"zone": "example.test", "server": "192.0.2.53:53", "reason": "no answer"}
        self.assertEqual(self.told("dns not notified"), [words])

    def test_nobody_there(self) -> None:
        """Nobody listens, refuses, or no socket: later; it comes up in the meantime."""
        for hangs_up in (False, True):
            self.net.hangs_up = hangs_up
            self.notifier.change([zone(3 + hangs_up)], (Server(*ONE),))
            self.net.settle()
            self.net.advance(WAITS[0])
            self.net.settle()

        def refusing(query: dns.message.Message) -> bytes:
            reply = dns.message.make_response(query)
            reply.set_rcode(dns.rcode.REFUSED)
            return reply.to_wire()

        self.net.udp[ONE] = refusing
        self.net.advance(WAITS[1])
        self.net.settle()
        self.net.no_sockets = True
        self.net.advance(WAITS[2])
        self.net.no_sockets = False
        self.net.udp[ONE] = self.heard
        self.assertEqual(self.told("dns notified"), [])
        self.net.advance(WAITS[3])
        self.net.settle()
        self.assertEqual([fields["serial"] for fields in self.told("dns notified")], [4])

    def test_forged(self) -> None:
        """An answer with another id, or that is none, is not heard."""

        def forged(query: dns.message.Message) -> list[bytes]:
            reply = self.heard(query)
            other = bytes((reply[0] ^ 1,)) + reply[1:]
            return [other, reply[:11], query.to_wire(), reply[:2] + b"\x80" + reply[3:]]

        self.net.udp[ONE] = forged
        self.notifier.change([zone()], (Server(*ONE),))
        self.net.settle()
        self.assertEqual(self.told("dns notified"), [])

    def test_newer_news(self) -> None:
        """A zone that changes while somebody is told is told anew; one that is gone no more."""
        self.net.udp[ONE] = lambda query: None
        self.notifier.change([zone(1)], (Server(*ONE),))
        self.notifier.change([zone(2)], (Server(*ONE),))
        self.assertEqual(self.net.open_sockets, 1)
        self.notifier.change([zone(2)], ())
        self.net.settle()
        self.assertEqual((self.net.open_sockets, self.net.getDelayedCalls()), (0, []))
