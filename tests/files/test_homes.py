"""Whose folder is where, and the threads that work in it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.files.home import IHome, Intent, NoRoom
from mailftp.files.homes import Homes, folder_name
from mailftp.files.threads import FileThreads
from mailftp.settings import FTP, Settings
from tests.files.inline import Inline


def settings(folder: Path, **ftp: Any) -> Settings:
    ftp.setdefault("durable", False)
    return Settings(folder=folder, data=folder, ftp=FTP(root=folder / "files", **ftp))


class Names(SynchronousTestCase):
    def test_plain_addresses(self) -> None:
        """An ordinary name is itself."""
        for name in ("alice", "first.last", "a+b", "example.test", "пример", "o_o", "x-y=z"):
            self.assertEqual(folder_name(name), name)

    def test_dangerous_addresses(self) -> None:
        """What a local part may hold never makes a path of more than one name, nor a hidden one."""
        for name in ("..", ".", "a/../../b", "/etc", ".ssh", "a\0b", "a%2Fb", "a b", "\\", "$(x)"):
            quoted = folder_name(name)
            self.assertNotIn("/", quoted)
            self.assertNotIn("\0", quoted)
            self.assertFalse(quoted.startswith("."), quoted)

    def test_two_accounts_never_share(self) -> None:
        """The name tells addresses apart whatever is in them."""
        names = ["a/b", "a%2Fb", "a%2fb", "a b", "a_b", ".a", "%2Ea", "A", "a"]
        self.assertEqual(len({folder_name(name) for name in names}), len(names))


class HomesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.homes = Homes(settings(self.folder), Inline())

    def test_place(self) -> None:
        """A home is <root>/<domain>/<local part>, and two accounts have two."""
        for address in ("alice@example.test", "bob@example.test", '"a/b"@other.test'):
            home = self.homes.home_for(address, None)
            self.assertTrue(IHome.providedBy(home))
            self.successResultOf(home.make_folder(("in",)))
        self.assertEqual(
            sorted(str(path.relative_to(self.folder)) for path in self.folder.glob("files/*/*")),
            ["files/example.test/alice", "files/example.test/bob", "files/other.test/%22a%2Fb%22"],
        )

    def test_no_address(self) -> None:
        """A name without a domain, or with an empty half, has no home."""
        for address in ("alice", "@example.test", "alice@", ""):
            self.assertRaises(ValueError, self.homes.home_for, address, None)

    def test_sessions_share_the_quota(self) -> None:
        """Two sessions of an account cannot each use the whole quota; another account has its own."""
        one = self.homes.home_for("alice@example.test", 10)
        two = self.homes.home_for("alice@example.test", 10)
        other = self.homes.home_for("bob@example.test", 10)
        sink = self.successResultOf(one.write(("f",), Intent.STORE, 0, None))
        self.assertIsNone(sink.write(b"x" * 8))
        second = self.successResultOf(two.write(("g",), Intent.STORE, 0, None))
        self.failureResultOf(second.write(b"x" * 8), NoRoom)
        self.assertEqual(self.successResultOf(other.room()), 10)
        self.successResultOf(second.keep())
        self.successResultOf(sink.commit())

    def test_counts_are_not_kept_for_ever(self) -> None:
        """When the last session has gone so has the count; the next one counts the disk again."""
        home = self.homes.home_for("alice@example.test", 10)
        self.assertEqual(self.successResultOf(home.room()), 10)
        (self.folder / "files/example.test/alice/f").write_bytes(b"123")
        self.assertEqual(self.successResultOf(home.room()), 10)
        del home
        gc.collect()
        self.assertEqual(self.successResultOf(self.homes.home_for("alice@example.test", 10).room()), 7)

    def test_anonymous(self) -> None:
        """There is an anonymous home when the settings name a folder."""
        self.assertIsNone(self.homes.anonymous())
        self.folder.mkdir()
        home = Homes(settings(self.folder, anonymous=self.folder), Inline()).anonymous()
        assert home is not None
        self.assertTrue(IHome.providedBy(home))


class Threads(TestCase):
    async def test_many_durable_uploads_at_once(self) -> None:
        """With real threads and a real disk, a hundred uploads side by side all arrive whole."""
        threads = FileThreads(reactor)  # type: ignore[arg-type]  # the reactor module is typed as a module
        threads.startService()
        self.addCleanup(threads.stopService)
        folder = Path(self.mktemp())
        home = Homes(settings(folder, durable=True), threads).home_for("alice@example.test", 10**9)

        async def upload(number: int) -> None:
            sink = await home.write((f"f{number}",), Intent.STORE, 0, None)
            for _ in range(number % 20):
                if (held := sink.write(bytes([number]) * 100_000)) is not None:
                    await held
            self.assertEqual(await sink.commit(), number % 20 * 100_000)

        await gatherResults([Deferred.fromCoroutine(upload(number)) for number in range(100)])
        for number in range(100):
            octets = (folder / "files/example.test/alice" / f"f{number}").read_bytes()
            self.assertEqual(octets, bytes([number]) * 100_000 * (number % 20))
        used = 10**9 - sum(number % 20 * 100_000 for number in range(100))
        self.assertEqual(await home.room(), used)
