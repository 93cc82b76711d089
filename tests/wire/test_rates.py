"""Counting by network over a span that slides."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire import rates
from mailftp.wire.peer import Peer
from mailftp.wire.rates import Rates, keys


def of(host: str) -> rates.Keys:
    return keys(Peer.of(host, 1))


class RateTests(SynchronousTestCase):
    def counts(self, counter: Rates, host: str, times: int, now: float = 0.0) -> int:
        """How many of so many are within the limit."""
        return sum(counter.count(of(host), now) for _ in range(times))

    def test_one_address(self) -> None:
        counter = Rates(10)
        self.assertEqual(self.counts(counter, "192.0.2.1", 15), 10)
        self.assertEqual(self.counts(counter, "198.51.100.1", 15), 10)

    def test_wider_networks(self) -> None:
        """A neighbourhood has three times as much, the wider one nine times."""
        counter = Rates(10)
        self.assertEqual([self.counts(counter, f"192.0.2.{n}", 10) for n in range(4)], [10, 10, 10, 0])
        self.assertEqual(
            [self.counts(counter, f"192.0.{n}.1", 10) for n in range(10, 17)], [10] * 5 + [0] * 2
        )

    def test_ipv6(self) -> None:
        """A subscriber has a /64 to choose from; a site a /48."""
        counter = Rates(10)
        self.assertEqual(sum(self.counts(counter, f"2001:db8::{n:x}", 1) for n in range(30)), 10)
        self.assertEqual(sum(self.counts(counter, f"2001:db8:0:{n:x}00::1", 1) for n in range(1, 256)), 60)
        self.assertEqual(self.counts(counter, "2001:db8:1::1", 20), 10)

    def test_no_two_networks_share_a_key(self) -> None:
        hosts = (
            "0.0.0.1",
            "0.0.1.0",
            "0.1.0.0",
            "::1",
            "0:0:0:1::",
            "0:0:0:100::",
            "0:0:1::",
            "255.255.255.255",
        )
        found = [key for host in hosts for key in of(host)]
        self.assertEqual(len(set(found)), len({(w, h) for h in hosts for w in range(3)}) - self.shared(hosts))

    def shared(self, hosts: tuple[str, ...]) -> int:
        """Networks that two of the hosts are in together."""
        networks = [(Peer.of(host).network(width)) for host in hosts for width in range(3)]
        return len(networks) - len(set(networks))

    def test_sliding(self) -> None:
        """The minute before counts for what is left of it; whoever goes on is kept out."""
        counter = Rates(10)
        self.assertEqual(self.counts(counter, "192.0.2.1", 10, 59.0), 10)
        self.assertEqual(self.counts(counter, "192.0.2.1", 1, 60.0), 0)
        self.assertEqual(self.counts(counter, "192.0.2.1", 10, 90.0), 4)
        self.assertEqual(self.counts(counter, "192.0.2.1", 10, 240.0), 10)

    def test_a_burst_is_over(self) -> None:
        counter = Rates(10)
        self.counts(counter, "192.0.2.1", 1000, 0.0)
        self.assertEqual(self.counts(counter, "192.0.2.1", 5, 115.0), 5)

    def test_no_limit(self) -> None:
        self.assertEqual(self.counts(Rates(0), "192.0.2.1", 100), 100)
        self.assertEqual(keys(Peer(None)), ())
        self.assertTrue(Rates(1).count((), 0.0))

    def test_memory(self) -> None:
        """A flood from everywhere fills the table and no more, and those in it are still counted."""
        self.patch(rates, "NETWORKS", 30)
        counter = Rates(10)
        self.counts(counter, "192.0.2.1", 5)
        for number in range(1000):
            self.counts(counter, f"10.{number % 250}.{number // 250}.1", 1)
        self.assertLessEqual(len(counter._now), 30)
        self.assertEqual(self.counts(counter, "192.0.2.1", 10), 5)
