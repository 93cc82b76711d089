"""Listings that are remembered: equal to fresh ones after every change, and made of little work."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files import remembered as module
from mailftp.files import watches
from mailftp.files.home import Entry, Rendering
from mailftp.files.remembered import FOLDERS, LEAST, WHOLE, Remembered
from tests.files.inline import Inline, home_in

NOW = 1_800_000_000.0


def line(entry: Entry) -> str:
    """All that a listing tells."""
    return (
        f"{entry.name} {entry.kind} {entry.size} {entry.modified} {entry.mode} {entry.links} {entry.perm}\n"
    )


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp()).resolve()
        self.root.mkdir(parents=True)
        self.folder = self.root / "d"
        self.folder.mkdir()
        for number in range(LEAST + 50):
            (self.folder / f"{number:04}").write_bytes(b"x" * (number % 7))
        self.remembered = Remembered()
        self.home = home_in(self.root, Inline(), remembered=self.remembered)
        self.now = NOW

    def listing(self, home: Any = None, key: str = "all", until: float = float("inf")) -> str:
        rendering = Rendering(key, line, self.now, lambda modified: until)
        entries = self.successResultOf((home or self.home).entries(("d",)))
        whole = self.successResultOf(entries.whole(rendering))
        entries.close()
        assert whole is not None
        return str(whole.decode())

    def fresh(self) -> str:
        return self.listing(home_in(self.root, Inline(), remembered=Remembered()))

    def looks(self) -> int:
        """How many names are looked at for the next listing."""
        with mock.patch.object(module, "_place", wraps=module._place) as placed:
            self.listing()
        return placed.call_count


class Stale(Case):
    def setUp(self) -> None:
        # Whatever the checkout is on: here all changes come by this kernel.
        self.patch(watches, "_ours_alone", lambda folder: True)
        super().setUp()

    def test_nothing_changed(self) -> None:
        """The second time no name is looked at."""
        first = self.listing()
        self.assertEqual(self.looks(), 0)
        self.assertEqual(self.listing(), first)
        self.assertEqual(first.count("\n"), LEAST + 50)

    def test_one_change(self) -> None:
        """One name is looked at, whatever the change was."""
        changes: list[Callable[[], object]] = [
            lambda: (self.folder / "new").write_bytes(b"x"),
            lambda: (self.folder / "0001").write_bytes(b"longer than it was"),
            lambda: os.truncate(self.folder / "0001", 3),
            lambda: os.utime(self.folder / "0002", (1.0, 1.0)),
            lambda: (self.folder / "0003").chmod(0o604),
            lambda: (self.folder / "0004").unlink(),
            lambda: (self.folder / "0005").rename(self.root / "away"),
            lambda: (self.root / "away").rename(self.folder / "back"),
            lambda: os.symlink("x", self.folder / "link"),
        ]
        self.listing()
        for change in changes:
            change()
            self.assertLessEqual(self.looks(), 2)
            self.assertEqual(self.listing(), self.fresh())

    def test_any_changes(self) -> None:
        """After each of hundreds of changes, by names and through open files, a remembered listing is what a
        fresh one is."""
        chance = random.Random(7)
        other = self.root / "other"
        other.mkdir()
        opened = (self.folder / "0007").open("ab", buffering=0)
        self.addCleanup(opened.close)
        for _ in range(400):
            names = sorted(os.listdir(self.folder))
            name = self.folder / chance.choice(names)
            target = self.folder / f"n{chance.randrange(300)}"
            kind = chance.randrange(11)
            if kind == 0 and name.is_file():
                name.write_bytes(b"y" * chance.randrange(50))
            elif kind == 1:
                opened.write(b"more")
            elif kind == 2 and not target.exists():
                target.mkdir()
            elif kind == 3 and target.is_dir():
                (target / f"{chance.random()}").write_bytes(b"")
            elif kind == 4 and name.is_file() and not target.is_dir():
                name.rename(target)
            elif kind == 5 and name.is_file() and not target.exists():
                os.link(name, target)
            elif kind == 6 and name.is_file() and not (other / name.name).exists():
                os.link(name, other / name.name)
                self.listing()
            elif kind == 7 and os.listdir(other):
                with (other / os.listdir(other)[0]).open("ab") as file:
                    file.write(b"by its other name")
            elif kind == 8 and target.is_dir():
                shutil.rmtree(target)
            elif kind == 9 and name.is_file():
                name.unlink()
            elif kind == 10:
                (self.folder / f"c{chance.random()}").write_bytes(b"new")
            if kind == 6:
                # The second name of a file is what nobody tells of: it is seen when all is read anew.
                self.now += WHOLE
            self.assertEqual(self.listing(), self.fresh())

    def test_second_name_elsewhere(self) -> None:
        """Seen after ten seconds at the latest."""
        self.listing()
        os.link(self.folder / "0001", self.root / "elsewhere")
        (self.root / "elsewhere").write_bytes(b"written to by its other name")
        self.now += WHOLE
        self.assertEqual(self.listing(), self.fresh())

    def test_changes_while_it_is_read(self) -> None:
        """What changes behind the reader is in the listing, and in the next one."""
        real, done = module._place, []

        def place(listing: Any, name: bytes, *more: Any, **how: Any) -> None:
            real(listing, name, *more, **how)
            if name == b"0200" and not done:
                done.append(name)
                (self.folder / "0001").write_bytes(b"changed behind the reader")
                (self.folder / "0002").unlink()
                # Another listing hears of it first.
                self.listing(key="another")

        with mock.patch.object(module, "_place", place):
            found = self.listing()
        self.assertTrue(done)
        self.assertEqual(found, self.fresh())
        self.assertEqual(self.listing(), self.fresh())

    def test_time_goes_by(self) -> None:
        """A line that is written in another way from some time on is."""
        self.listing(until=NOW + 5)
        self.assertEqual(self.looks(), 0)
        self.now = NOW + 6
        self.assertGreater(self.looks(), LEAST)

    def test_folder_is_replaced(self) -> None:
        """Another folder of the same name, and one that went away and came back."""
        self.listing()
        self.folder.rename(self.root / "aside")
        self.folder.mkdir()
        (self.folder / "only").write_bytes(b"")
        self.assertEqual(self.listing(), self.fresh())
        shutil.rmtree(self.folder)
        (self.root / "aside").rename(self.folder)
        (self.folder / "0001").write_bytes(b"changed")
        self.assertEqual(self.listing(), self.fresh())

    def test_more_than_the_kernel_remembers(self) -> None:
        """When its queue has run over, all is read anew."""
        self.listing()
        with open("/proc/sys/fs/inotify/max_queued_events") as file:
            most = int(file.read())
        with mock.patch.object(watches.Watches, "_read", wraps=self.remembered._watches._read) as read:
            for number in range(most // 2 + 100):
                # Two names in turn: equal events behind each other are one.
                os.utime(self.folder / f"{number % 2:04}", (number, number))
                os.utime(self.folder / f"{number % 2 + 2:04}", (number, number))
            self.assertEqual(self.listing(), self.fresh())
        self.assertTrue(read.called)


class Bounds(Case):
    def setUp(self) -> None:
        self.ours_alone = watches._ours_alone
        self.patch(watches, "_ours_alone", lambda folder: True)
        super().setUp()

    def test_file_systems_of_others(self) -> None:
        """Where others write behind the kernel's back nothing is remembered."""
        self.patch(watches, "_ours_alone", self.ours_alone)
        with mock.patch.object(watches, "_OURS_ALONE", frozenset()):
            self.listing()
            self.assertGreater(self.looks(), LEAST)
        self.assertEqual(len(self.remembered._listings), 0)

    def test_no_inotify(self) -> None:
        """Nor where there are no watches to be had."""
        with mock.patch.object(watches, "_libc", None):
            self.assertEqual(self.listing(), self.fresh())
            self.assertGreater(self.looks(), LEAST)

    def test_small_and_large_folders(self) -> None:
        """A small folder is not worth a watch; a very large one is sent while it is read."""
        for name in sorted(os.listdir(self.folder))[10:]:
            (self.folder / name).unlink()
        self.listing()
        self.assertEqual(len(self.remembered._listings), 0)
        rendering = Rendering("all", line, NOW, lambda modified: float("inf"))
        entries = self.successResultOf(self.home.entries(("d",)))
        with mock.patch.object(module, "MOST", 5):
            self.assertIsNone(self.successResultOf(entries.whole(rendering)))
        self.assertEqual(len(self.successResultOf(entries.next())), 10)
        entries.close()

    def test_how_much_is_remembered(self) -> None:
        """So many listings, and so many octets; watches go with them."""
        for number in range(FOLDERS + 10):
            self.listing(key=f"k{number}")
        self.assertEqual(len(self.remembered._listings), FOLDERS)
        with mock.patch.object(module, "OCTETS", 30_000):
            self.listing(key="one more")
        self.assertLess(len(self.remembered._listings), 10)
        with mock.patch.object(module, "OCTETS", 10):
            self.listing(key="none")
        self.assertEqual(len(self.remembered._listings), 0)
        (self.folder / "new").write_bytes(b"")
        self.assertEqual(self.remembered._watches.changes().names, {})

    def test_many_folders_in_it(self) -> None:
        """A folder of folders would have to be looked at as a whole each time."""
        for number in range(LEAST):
            (self.folder / f"sub{number}").mkdir()
        self.listing()
        self.assertEqual(len(self.remembered._listings), 0)
