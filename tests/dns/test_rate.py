"""Response rate limiting: who is counted with whom, what those get who are over, and what it takes."""

from __future__ import annotations

import sys

import dns.flags
import dns.message
import dns.name
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.authority import Authority
from mailftp.dns.prepared import PreparedAnswers
from mailftp.dns.rate import CELLS, ResponseRate, Verdict, network
from mailftp.dns.responder import truncated
from mailftp.dns.zone import Zone, Zones
from tests.dns.test_zone import BIG, ORIGIN, SOA, query


class RateTests(SynchronousTestCase):
    def test_networks(self) -> None:
        """/24 and /56; IPv4 within IPv6 is IPv4."""
        self.assertEqual(network("192.0.2.1"), network("192.0.2.255"))
        self.assertEqual(network("192.0.2.1"), network("::ffff:192.0.2.7"))
        self.assertNotEqual(network("192.0.2.1"), network("192.0.3.1"))
        self.assertEqual(network("2001:db8:0:ff00::1"), network("2001:db8:0:ffff:1::2"))
        self.assertNotEqual(network("2001:db8:0:ff00::1"), network("2001:db8:0:fe00::1"))
        self.assertEqual(network("fe80::1%lo"), network("fe80::2"))

    def test_limit(self) -> None:
        """So many a second; then one of two is truncated, the other dropped; the next second is another."""
        clock = Clock()
        rate = ResponseRate(5, clock.seconds)
        for _ in range(3):
            said = [rate.count("192.0.2.1") for _ in range(9)]
            self.assertEqual(said[:5], [Verdict.ANSWER] * 5)
            self.assertEqual(sorted(said[5:]), [Verdict.TRUNCATE] * 2 + [Verdict.DROP] * 2)
            self.assertIs(rate.count("198.51.100.1"), Verdict.ANSWER)
            clock.advance(1)

    def test_no_limit(self) -> None:
        """0 is none."""
        rate = ResponseRate(0, Clock().seconds)
        self.assertEqual({rate.count("192.0.2.1") for _ in range(1000)}, {Verdict.ANSWER})

    def test_many_networks(self) -> None:
        """A million sources take no more memory than one."""
        rate = ResponseRate(5, Clock().seconds)
        for number in range(0, 1 << 20, 7):
            rate.count(f"10.{number >> 12 & 255}.{number >> 4 & 255}.{number & 15}")
        self.assertEqual((len(rate._cells), sys.getsizeof(rate._cells) < 3 * CELLS), (CELLS, True))


class AuthorityTests(SynchronousTestCase):
    def test_what_goes_out(self) -> None:
        """Over the limit nothing larger than the question leaves, and a line a minute says so."""
        clock, events = Clock(), list[LogEvent]()
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        authority = Authority(clock.seconds)
        authority.change(PreparedAnswers(Zones((Zone(ORIGIN, SOA + BIG),))), 10)
        packet = query("big.example.test.", "TXT", use_edns=0, payload=1232)
        replies = [authority.answer_datagram(packet, "192.0.2.1") for _ in range(1000)]
        self.assertEqual(replies.count(None), 495)
        limited = [reply for reply in replies[10:] if reply is not None]
        self.assertEqual(len(set(limited)), 1)
        self.assertLessEqual(len(limited[0]), len(packet))
        reply = dns.message.from_wire(limited[0])
        self.assertTrue(reply.flags & dns.flags.TC)
        self.assertEqual((reply.id, reply.question[0].name.to_text()), (4711, "big.example.test."))
        self.assertIsNotNone(authority.answer_stream(packet))
        clock.advance(60)
        for _ in range(11):
            authority.answer_datagram(packet, "192.0.2.1")
        told = [event["mailftp_fields"] for event in events if event.get("mailftp_event") == "dns rate limit"]
        self.assertEqual([fields["count"] for fields in told], [1, 990])

    def test_truncated_rubbish(self) -> None:
        """A response is not answered, a broken query by a header alone."""
        packet = query("ns1.example.test.", "A")
        self.assertIsNone(truncated(packet[:2] + b"\x80" + packet[3:]))
        self.assertIsNone(truncated(packet[:11]))
        for broken in (packet[:-1], packet[:12] + b"\xc0\x0c\0\1\0\1", packet[:4] + bytes(8)):
            reply = truncated(broken)
            assert reply is not None
            self.assertEqual((len(reply), reply[3]), (12, 1))
