"""Blocklists and the grey list, each alone; how they meet a client is in tests/smtp/test_strangers.py."""

from __future__ import annotations

import sqlite3
from ipaddress import ip_address
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.resolver import Unresolved
from mailftp.origin import greylist
from mailftp.origin.checks import at_once
from mailftp.origin.dnsbl import Listing, look_up
from mailftp.origin.greylist import KNOWN, PROVEN, WINDOW, Greylist, Seen, decide
from mailftp.origin.lookups import answer_check
from mailftp.origin.strangers import PACE_SECONDS, Pace
from tests.dns.table import Table

DAY = 86400


class BlocklistTests(SynchronousTestCase):
    def listing(self, table: Table, address: str = "192.0.2.99") -> Listing | None:
        check = look_up(ip_address(address), "bl.test")
        return self.successResultOf(Deferred.fromCoroutine(answer_check(check, table, Clock())))

    def test_listed(self) -> None:
        table = (
            Table()
            .put("99.2.0.192.bl.test", "A", "127.0.0.2")
            .put("99.2.0.192.bl.test", "TXT", '"Sent junk"')
        )
        self.assertEqual(self.listing(table), Listing("bl.test", "Sent junk"))
        self.assertIsNone(self.listing(table, "192.0.2.98"))

    def test_ipv6(self) -> None:
        """RFC 5782 section 2.4: nibbles, the last first."""
        name = "1." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.test"
        self.assertEqual(
            self.listing(Table().put(name, "A", "127.0.0.4"), "2001:db8::1"), Listing("bl.test", "")
        )

    def test_what_is_no_entry(self) -> None:
        """A list that refuses the question, has gone, or was bought by somebody who answers everything."""
        for said in ("127.255.255.254", "203.0.113.7"):
            self.assertIsNone(self.listing(Table().put("99.2.0.192.bl.test", "A", said)))
        self.assertIsNone(self.listing(Table().put("99.2.0.192.bl.test", "A", Unresolved("SERVFAIL"))))

    def test_words(self) -> None:
        """The list's words go into a reply: printable, and not many."""
        table = Table().put("99.2.0.192.bl.test", "A", "127.0.0.2")
        for text, reason in (('"a\\010b"', ""), ('"' + "x" * 250 + '"', "x" * 200)):
            found = self.listing(table.put("99.2.0.192.bl.test", "TXT", text))
            self.assertEqual(found, Listing("bl.test", reason))
        found = self.listing(table.put("99.2.0.192.bl.test", "TXT", Unresolved("SERVFAIL")))
        self.assertEqual(found, Listing("bl.test", ""))


class GreylistTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.list = Greylist(self.path, at_once)
        self.addCleanup(lambda: self.list.close())

    def wait(
        self, now: int, sender: str = "a@e.test", network: str = "192.0.2.0/24", to: str = "b@f.test"
    ) -> int:
        return self.successResultOf(self.list.ask(network, sender, to, 300, now))

    def test_comes_again(self) -> None:
        self.assertEqual([self.wait(now) for now in (1000, 1001, 1299)], [300, 299, 1])
        self.assertEqual([self.wait(now) for now in (1300, 1301, 1300 + 30 * DAY)], [0, 0, 0])

    def test_too_late(self) -> None:
        """After two days it begins anew, and who is known is forgotten after 36."""
        self.assertEqual([self.wait(now) for now in (0, WINDOW + 1, WINDOW + 301)], [300, 300, 0])
        self.assertEqual(self.wait(WINDOW + 302 + KNOWN), 300)

    def test_others(self) -> None:
        """Each network, sender and recipient is on its own; the case of letters is nobody's difference."""
        self.wait(0)
        self.assertEqual(self.wait(300, sender="A@E.test"), 0)
        for other in ({"sender": "z@e.test"}, {"network": "192.0.3.0/24"}, {"to": "c@f.test"}):
            self.assertEqual(self.wait(300, **other), 300)

    def test_proven(self) -> None:
        """A network that came again five times is not asked to any more."""
        for number in range(PROVEN):
            self.assertEqual(self.wait(number, sender=f"{number}@e.test"), 300)
            self.assertEqual(self.wait(number + 300, sender=f"{number}@e.test"), 0)
        self.assertEqual(self.wait(1000, sender="new@e.test"), 0)
        self.assertEqual(self.wait(1000, sender="new@e.test", network="192.0.3.0/24"), 300)
        self.assertEqual(self.wait(1001 + KNOWN, sender="newer@e.test"), 300)

    def test_one_sender_proves_nothing(self) -> None:
        self.wait(0)
        for now in range(300, 320):
            self.assertEqual(self.wait(now), 0)
        self.assertEqual(self.wait(400, sender="new@e.test"), 300)

    def test_kept(self) -> None:
        """A restart forgets nothing; no address can be read in the file."""
        self.wait(0)
        self.list.close()
        self.list = Greylist(self.path, at_once)
        self.assertEqual(self.wait(300), 0)
        self.list.close()
        self.assertNotIn(b"e.test", self.path.read_bytes())

    def test_a_clock_that_goes_back(self) -> None:
        """Nobody waits longer than for the first time."""
        self.assertEqual([self.wait(now) for now in (10_000, 0, 1)], [300, 300, 300])
        self.assertEqual(decide(Seen(10_000, 10_000), 300, 0)[0], 300)

    def test_old_rows_go(self) -> None:
        self.patch(greylist, "_TIDY", 10)
        self.patch(greylist, "ROWS", 50)
        for number in range(205):
            self.wait(0, sender=f"{number}@e.test")
        with sqlite3.connect(self.path) as database:
            (rows,) = database.execute("SELECT count(*) FROM seen").fetchone()
        database.close()
        self.assertLessEqual(rows, 61)
        self.list.wait("n", "s", "r", 300, 0)
        for number in range(11):
            self.wait(WINDOW + 5, sender=f"late {number}@e.test")
        with sqlite3.connect(self.path) as database:
            (rows,) = database.execute("SELECT count(*) FROM seen").fetchone()
        database.close()
        self.assertLessEqual(rows, 11)

    def test_broken_file(self) -> None:
        self.path.write_bytes(b"no database" * 1000)
        with self.assertRaises(sqlite3.DatabaseError):
            self.wait(0)


class PaceTests(SynchronousTestCase):
    def test_pace(self) -> None:
        pace = Pace(100, 0.0)
        pace.octets = 11_999
        self.assertFalse(pace.too_slow(PACE_SECONDS - 1))
        self.assertTrue(pace.too_slow(PACE_SECONDS))
        pace.octets = 12_000
        self.assertFalse(pace.too_slow(2 * PACE_SECONDS))
        pace.restart(3 * PACE_SECONDS - 1)
        self.assertFalse(pace.too_slow(3 * PACE_SECONDS))
