from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.guard import HALF_LIFE, LIMITS, Guard
from mailftp.settings import Auth
from mailftp.wire.peer import Peer

ELSEWHERE = Peer.of("198.51.100.7", 4000)
NEIGHBOUR = Peer.of("192.0.2.200", 4000)
PEER = Peer.of("192.0.2.9", 4000)


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guard = Guard(Auth(failure_delay=2.0), self.clock, most=50)

    def fail_often(self, times: int, peer: Peer = PEER) -> float:
        delay = 0.0
        for number in range(times):
            delay = self.guard.failed(peer, "bob", b"guess %d" % number)
        return delay

    def test_delay_grows_and_is_bounded(self) -> None:
        """Each failure doubles the wait for the next refusal, up to eight times the setting."""
        delays = [self.guard.failed(PEER, "bob", b"%d" % number) for number in range(6)]
        self.assertEqual(delays, [2.0, 4.0, 8.0, 16.0, 16.0, 16.0])

    def test_limit(self) -> None:
        """At twenty failures an address is turned away; its neighbour and others are not."""
        self.fail_often(19)
        self.assertEqual(self.guard.refuses(PEER), 0.0)
        self.fail_often(3, PEER)
        self.guard.failed(PEER, "bob", b"another")
        self.assertGreater(self.guard.refuses(PEER), 0.0)
        self.assertEqual(self.guard.refuses(NEIGHBOUR), 0.0)
        self.assertEqual(self.guard.refuses(ELSEWHERE), 0.0)

    def test_the_wait_it_names_is_enough(self) -> None:
        """Whoever waits for as long as was said is let in."""
        self.fail_often(40)
        wait = self.guard.refuses(PEER)
        self.assertAlmostEqual(wait, HALF_LIFE, places=3)
        self.clock.advance(wait / 2)
        self.assertGreater(self.guard.refuses(PEER), 0.0)
        self.clock.advance(wait / 2 + 0.01)
        self.assertEqual(self.guard.refuses(PEER), 0.0)

    def test_failures_fade(self) -> None:
        """After some hours the first failure waits the plain delay again."""
        self.fail_often(10)
        self.clock.advance(20 * HALF_LIFE)
        self.assertAlmostEqual(self.guard.failed(PEER, "bob", b"again"), 2.0, places=2)

    def test_wider_networks(self) -> None:
        """Sixty failures spread over a /24 turn all of it away, and so in a /56 of IPv6."""
        for plan, stranger in (("192.0.2.%d", "192.0.3.1"), ("2001:db8:0:%x::1", "2001:db8:1::1")):
            for number in range(int(LIMITS[1])):
                self.guard.failed(Peer.of(plan % (number % 12)), "bob", b"%d" % number)
            self.assertGreater(self.guard.refuses(Peer.of(plan % 99)), 0.0)
            self.assertEqual(self.guard.refuses(Peer.of(stranger)), 0.0)

    def test_same_wrong_password_counts_once(self) -> None:
        """A phone with an old password waits but does not lock its network out."""
        for _ in range(100):
            delay = self.guard.failed(PEER, "bob", b"old password")
        self.assertEqual(delay, 2.0)
        self.assertEqual(self.guard.refuses(PEER), 0.0)

    def test_same_password_for_many_names_counts(self) -> None:
        """One password tried on many names is guessing."""
        for number in range(20):
            self.guard.failed(PEER, f"user{number}", b"letmein")
        self.assertGreater(self.guard.refuses(PEER), 0.0)

    def test_attempts_under_way_count(self) -> None:
        """After a failure, many connections at a time get no more guesses than the limit."""
        self.guard.failed(PEER, "bob", b"x")
        allowed = 0
        while not self.guard.refuses(PEER) and allowed < 100:
            self.guard.begins(PEER)
            allowed += 1
        self.assertEqual(allowed, 19)
        for _ in range(allowed):
            self.guard.ends(PEER)
        self.assertEqual(self.guard.refuses(PEER), 0.0)

    def test_many_at_once_without_failure(self) -> None:
        """An office that logs in all at once is let in."""
        for _ in range(300):
            self.assertEqual(self.guard.refuses(PEER), 0.0)
            self.guard.begins(PEER)
        for _ in range(300):
            self.guard.ends(PEER)
        self.assertEqual(len(self.guard._under_way), 0)

    def test_this_machine(self) -> None:
        """Loopback and Unix sockets wait the plain delay and are never turned away, but for a proxy's."""
        for peer in (Peer.of("127.0.0.1"), Peer.of("::1"), Peer.of("::ffff:127.0.0.1"), Peer(None)):
            self.assertEqual(self.fail_often(50, peer), 2.0)
            self.assertEqual(self.guard.refuses(peer), 0.0)
        proxied = Peer.of("127.0.0.1", proxied=True)
        self.fail_often(25, proxied)
        self.assertGreater(self.guard.refuses(proxied), 0.0)

    def test_memory_is_bounded(self) -> None:
        """A flood of IPv6 networks does not grow the tables."""
        for number in range(500):
            self.guard.failed(Peer.of(f"2001:db8:{number:x}::1"), "bob", b"x")
        self.assertEqual([len(table) for table in self.guard._tables], [50, 50, 50])
