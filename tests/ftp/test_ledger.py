"""Daily limits and ratios: what is counted, when it is refused, what is kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.files.rules import Terms
from mailftp.ftp.ledger import DAY, Ledger, Moved, UsedUp
from mailftp.settings import FTPAccounts
from tests.files.inline import Inline
from tests.ftp.memory import MemoryCase

ALICE = "alice@example.test"


class Counted(MemoryCase):
    def store(self, name: str, data: bytes, verb: str = "STOR") -> list[str]:
        connection = self.passive()
        self.client.send(f"{verb} {name}\r\n".encode())
        connection.send(data)
        connection.end()
        return self.answers()

    def fetch(self, *commands: str) -> list[str]:
        self.passive()
        return self.say(*commands)

    def file(self, name: str, size: int) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / name).write_bytes(bytes(size))

    def tomorrow(self) -> None:
        """A day later, when the session has long been closed for its silence."""
        self.clock.advance(DAY)
        self.client = self.connect()
        self.log_in()

    def moved(self) -> Moved:
        return self.factory.ledger.moved(ALICE)


class Daily(Counted):
    ftp: dict[str, Any] = {"accounts": (FTPAccounts(daily_upload=1000, daily_download=1000),)}

    def test_downloads(self) -> None:
        """What would be more than the day has left is refused before it begins, less is sent; a part counts
        as a part; the next day begins anew."""
        self.file("f", 600)
        self.log_in()
        self.assertEqual(self.codes(self.fetch("RETR f"))[-1], "226")
        self.assertEqual(self.fetch("RETR f"), ["450 More than may be downloaded in a day"])
        self.assertEqual(self.codes(self.fetch("REST 300", "RETR f"))[-1], "226")
        self.assertEqual(self.moved().day_down, 900)
        self.assertEqual(self.codes(self.fetch("LIST"))[-1], "226")
        self.tomorrow()
        self.assertEqual(self.codes(self.fetch("RETR f"))[-1], "226")
        self.assertEqual((self.moved().day_down, self.moved().down), (600, 1500))

    def test_sessions_together(self) -> None:
        """Another session of the account has no more, and another account has its own."""
        self.file("f", 600)
        self.log_in()
        self.fetch("RETR f")
        self.client = self.connect()
        self.log_in()
        self.assertEqual(self.codes(self.fetch("RETR f")), ["450"])
        self.client = self.connect()
        self.say("USER bob", "PASS builder", "TYPE I")
        self.assertEqual(self.codes(self.store("g", bytes(1000)))[-1], "226")

    def test_side_by_side(self) -> None:
        """A download counts when it begins: two at one time are no way round."""
        self.file("f", 600)
        self.log_in()
        self.say("EPSV")
        self.client.send(b"RETR f\r\n")
        self.assertEqual(self.codes(self.answers()), ["150"])
        other = self.connect()
        self.say("USER alice", "PASS wonderland", "TYPE I", "EPSV", client=other)
        self.assertEqual(self.codes(self.say("RETR f", client=other)), ["450"])

    def test_given_back(self) -> None:
        """A download to which nobody came did not move, and neither did what is not there."""
        self.file("f", 600)
        self.log_in("EPSV")
        self.client.send(b"RETR f\r\n")
        self.answers()
        self.assertEqual(self.moved().day_down, 600)
        self.say("ABOR")
        self.assertEqual(self.moved().day_down, 0)
        self.fetch("RETR none")
        self.assertEqual(self.moved().day_down, 0)

    def test_uploads(self) -> None:
        """One that becomes more than the day has left ends there; what came is kept, and no half file is
        under its name. Tomorrow it goes on."""
        self.log_in()
        self.assertEqual(self.codes(self.store("a", bytes(700)))[-1], "226")
        self.assertEqual(self.store("b", bytes(400))[-1], "452 More than may be uploaded in a day")
        self.assertEqual(self.shown(), ["a"])
        self.assertEqual(self.codes(self.store("c", bytes(300), "APPE"))[-1], "226")
        self.assertEqual(self.codes(self.store("d", b"x"))[-1], "452")
        self.tomorrow()
        self.assertEqual(self.codes(self.store("d", b"x"))[-1], "226")

    def test_not_counted(self) -> None:
        """Where nothing limits an account, nothing is kept of it."""
        self.start(accounts=())
        self.file("f", 600)
        self.log_in()
        self.assertEqual(self.codes(self.fetch("RETR f"))[-1], "226")
        self.assertEqual(self.moved().down, 0)


class Ratios(Counted):
    ftp: dict[str, Any] = {"accounts": (FTPAccounts(ratio=2.0, credit=100),)}

    def test_ratio(self) -> None:
        """Two octets for each that was brought, after the credit; it lasts longer than a day."""
        self.file("f", 100)
        self.file("g", 200)
        self.log_in()
        self.assertEqual(self.codes(self.fetch("RETR f"))[-1], "226")
        self.assertEqual(self.fetch("RETR f"), ["450 Upload first: 2 octets may be downloaded for each"])
        self.assertEqual(self.codes(self.store("up", bytes(100)))[-1], "226")
        self.tomorrow()
        self.assertEqual(self.codes(self.fetch("RETR g"))[-1], "226")
        self.assertEqual(self.codes(self.fetch("RETR f")), ["450"])
        self.assertEqual((self.moved().up, self.moved().down), (100, 300))


class Kept(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.terms = Terms(False, 0o077, None, daily_upload=100, ratio=1.0)

    def ledger(self) -> Ledger:
        made = Ledger(self.clock, self.path, Inline())
        self.successResultOf(made.start())
        return made

    def test_restart(self) -> None:
        """It is written a while after the transfer and at the stop, and read at the start; nothing is made
        where nothing was counted."""
        first = self.ledger()
        self.successResultOf(first.stop())
        self.assertFalse(self.path.exists())
        first.book("a@x.test", self.terms, up=60)
        self.clock.advance(60)
        self.assertEqual(self.ledger().moved("a@x.test").day_up, 60)
        first.book("a@x.test", self.terms, down=50)
        first.book("b@x.test", Terms(False, 0o077, None), up=5)
        self.successResultOf(first.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        again = self.ledger()
        moved = again.moved("a@x.test")
        self.assertEqual((moved.day_up, moved.day_down, moved.up, moved.down), (60, 50, 60, 50))
        self.assertEqual(again.moved("b@x.test"), Moved().at(moved.day))
        self.assertRaises(UsedUp, again.book, "a@x.test", self.terms, up=41)
        self.assertRaises(UsedUp, again.book, "a@x.test", self.terms, down=11)
        self.assertEqual(again.moved("a@x.test"), moved)

    def test_disk_full(self) -> None:
        """What could not be written is logged, counts all the same, and is written with the next."""
        ledger = self.ledger()
        write = ledger._write
        self.patch(ledger, "_write", lambda rows: write(1 / 0))
        ledger.book("a@x.test", self.terms, up=60)
        self.clock.advance(60)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(ledger, "_write", write)
        ledger.book("b@x.test", self.terms, up=1)
        self.clock.advance(60)
        with sqlite3.connect(self.path) as database:
            self.assertEqual(database.execute("SELECT sum(up) FROM moved").fetchone(), (61,))
