"""A home: what can be done in it, and that nothing leads out of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files.home import (
    AlreadyThere,
    Denied,
    Entry,
    Facts,
    FileFault,
    FolderNotEmpty,
    Intent,
    IsAFolder,
    Kind,
    NoSuchFile,
    NotAFolder,
)
from mailftp.files.policy import Policy
from tests.files.inline import home_in


class HomeCase(SynchronousTestCase):
    """A home with a file outside beside it."""

    def setUp(self) -> None:
        top = Path(self.mktemp())
        self.root = top / "home"
        self.root.mkdir(parents=True)
        self.secret = top / "secret"
        self.secret.write_bytes(b"not yours")
        self.home = home_in(self.root)

    def content(self, *path: str) -> bytes:
        source = self.successResultOf(self.home.read(path))
        with open(source.descriptor, "rb", closefd=False) as file:
            octets = file.read()
        self.assertEqual((source.size, source.head), (len(octets), octets[: 64 * 1024]))
        source.close()
        source.close()
        return octets

    def names(self, *path: str) -> list[str]:
        found = self.successResultOf(self.home.entries(path))
        names = []
        while batch := self.successResultOf(found.next()):
            names += [entry.name for entry in batch]
        found.close()
        found.close()
        return names

    def store(self, path: tuple[str, ...], data: bytes) -> None:
        sink = self.successResultOf(self.home.write(path, Intent.STORE, 0, None))
        self.assertIsNone(sink.write(data))
        self.assertEqual(self.successResultOf(sink.commit()), len(data))


class Operations(HomeCase):
    def test_file_comes_back(self) -> None:
        """What was stored is read again, in folders too, and only its owner may read it on disk."""
        self.successResultOf(self.home.make_folder(("a",)))
        self.store(("a", "f"), b"octets")
        self.assertEqual(self.content("a", "f"), b"octets")
        self.assertEqual((self.root / "a/f").stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.root / "a").stat().st_mode & 0o777, 0o700)

    def test_entry(self) -> None:
        """An entry tells kind, size, time and permissions; the root has an entry too."""
        self.store(("f",), b"12345")
        os.utime(self.root / "f", (1_000_000_000, 1_000_000_000))
        entry = self.successResultOf(self.home.entry(("f",)))
        self.assertEqual(
            (entry.name, entry.kind, entry.size, entry.modified, entry.mode, entry.arrived, entry.whole),
            ("f", Kind.FILE, 5, 1_000_000_000.0, 0o600, None, True),
        )
        self.assertEqual(self.successResultOf(self.home.entry(())).kind, Kind.FOLDER)

    def test_listing_in_order_and_in_batches(self) -> None:
        """A folder is listed by name, however many trips that takes."""
        wanted = sorted(f"n{number:04}" for number in range(700))
        for name in reversed(wanted):
            (self.root / name).touch()
        self.assertEqual(self.names(), wanted)

    def test_very_large_folder(self) -> None:
        """A folder too large to sort in memory is still listed whole."""
        wanted = {f"n{number}" for number in range(4200)}
        for name in wanted:
            (self.root / name).touch()
        names = self.names()
        self.assertEqual((len(names), set(names)), (4200, wanted))

    def test_name_that_is_not_utf8(self) -> None:
        """A name of arbitrary octets is listed, read and removed under the same text."""
        (self.root / os.fsdecode(b"\xff\xfe;x")).write_bytes(b"odd")
        (name,) = self.names()
        self.assertEqual(name.encode("utf-8", "surrogateescape"), b"\xff\xfe;x")
        self.assertEqual(self.content(name), b"odd")
        self.successResultOf(self.home.remove((name,)))
        self.assertEqual(self.names(), [])

    def test_faults(self) -> None:
        """Each refusal has its own class, and a text that names no path of the server."""
        self.store(("f",), b"")
        self.successResultOf(self.home.make_folder(("d",)))
        self.store(("d", "f"), b"")
        long = "x" * 256
        for wanted, refused in (
            (NoSuchFile, self.home.entry(("none",))),
            (NoSuchFile, self.home.read(("none",))),
            (NoSuchFile, self.home.entries(("none",))),
            (NoSuchFile, self.home.remove(("none",))),
            (NoSuchFile, self.home.rename(("none",), ("other",))),
            (NoSuchFile, self.home.write(("none", "f"), Intent.STORE, 0, None)),
            (NotAFolder, self.home.entries(("f",))),
            (NotAFolder, self.home.read(("f", "g"))),
            (NotAFolder, self.home.remove_folder(("f",))),
            (IsAFolder, self.home.read(("d",))),
            (IsAFolder, self.home.read(())),
            (IsAFolder, self.home.remove(("d",))),
            (IsAFolder, self.home.write(("d",), Intent.STORE, 0, None)),
            (IsAFolder, self.home.write((), Intent.STORE, 0, None)),
            (AlreadyThere, self.home.make_folder(("f",))),
            (AlreadyThere, self.home.rename(("f",), ("d",))),
            (AlreadyThere, self.home.rename(("d",), ("f",))),
            (FolderNotEmpty, self.home.remove_folder(("d",))),
            (Denied, self.home.rename(("d",), ("d", "d"))),
            (Denied, self.home.remove_folder(())),
            (Denied, self.home.make_folder((long,))),
            (Denied, self.home.make_folder(("d",) * 101)),
        ):
            fault = self.failureResultOf(refused, FileFault)
            self.assertIs(type(fault.value), wanted, fault)
            self.assertNotIn("/", str(fault.value))

    def test_rename_replaces_a_file(self) -> None:
        """A file takes the place of a file in one step; one renamed to itself stays."""
        self.store(("old",), b"1")
        self.store(("new",), b"2")
        self.successResultOf(self.home.rename(("old",), ("new",)))
        self.successResultOf(self.home.rename(("new",), ("new",)))
        self.assertEqual((self.names(), self.content("new")), (["new"], b"1"))

    def test_set_modified(self) -> None:
        """MFMT's time is what the file has then."""
        self.store(("f",), b"")
        self.successResultOf(self.home.change(("f",), Facts(modified=1_234_567_890.0)))
        self.assertEqual((self.root / "f").stat().st_mtime, 1_234_567_890.0)

    def test_fifo_and_device_are_not_served(self) -> None:
        """A FIFO neither blocks us nor is read; it can be removed."""
        os.mkfifo(self.root / "pipe")
        self.failureResultOf(self.home.read(("pipe",)), Denied)
        self.failureResultOf(self.home.write(("pipe",), Intent.STORE, 0, None), Denied)
        self.assertEqual(self.successResultOf(self.home.entry(("pipe",))).kind, Kind.OTHER)
        self.successResultOf(self.home.remove(("pipe",)))

    def test_home_is_made_when_first_used(self) -> None:
        """A new account has an empty home; nobody else on the machine may look into it."""
        self.home = home_in(self.root / "new" / "one")
        self.assertEqual(self.names(), [])
        self.assertEqual((self.root / "new").stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.root / "new/one").stat().st_mode & 0o777, 0o700)

    def test_anonymous_folder_is_not_made(self) -> None:
        """A folder that the settings name and that is not there is a fault, not a new folder."""
        home = home_in(self.root / "none", create=False)
        self.failureResultOf(home.entries(()), NoSuchFile)
        self.assertFalse((self.root / "none").exists())

    def test_descriptors_are_closed(self) -> None:
        """No operation, whether it works or fails, leaves a descriptor open."""
        before = self.opened()
        self.test_faults()
        self.home = home_in(self.root / "d" / "second")
        self.test_rename_replaces_a_file()
        self.assertEqual(self.opened(), before)

    def opened(self) -> list[str]:
        """What of this test's folder is open: other tests leave descriptors that are collected meanwhile."""
        found = []
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                # The one of the listing itself is closed by now.
                found.append(os.readlink(f"/proc/self/fd/{number}"))
        return sorted(path for path in found if path.startswith(str(self.root.absolute())))


#: Paths that other servers were led out by; each as the tuple that a careless session might hand down.
TRAVERSALS: list[tuple[str, ...]] = [
    ("..", "secret"),
    ("a", "..", "..", "secret"),
    ("../secret",),
    ("a/../../secret",),
    ("/etc/hostname",),
    ("", "secret"),
    (".", "..", "secret"),
    ("..",),
    ("...", "..", "..", "secret"),
    ("secret\0.txt",),
    ("\0",),
    ("\ud800",),
]


class Walls(HomeCase):
    def setUp(self) -> None:
        super().setUp()
        (self.root / "a").mkdir()
        (self.root / "f").write_bytes(b"mine")
        os.symlink(self.secret, self.root / "file-link")
        os.symlink("../secret", self.root / "relative-link")
        os.symlink("..", self.root / "folder-link")
        os.symlink("f", self.root / "inner-link")

    def every_operation(self, path: tuple[str, ...]) -> None:
        """Try each operation of a home on a path that must not work."""
        for refused in (
            self.home.read(path),
            self.home.entries(path),
            self.home.write(path, Intent.STORE, 0, None),
            self.home.write(path, Intent.STORE, 3, None),
            self.home.write(path, Intent.APPEND, 0, None),
            self.home.make_folder(path),
            self.home.remove_folder(path),
            self.home.rename((*path, "x"), ("x",)),
            self.home.rename(("f",), (*path, "x")),
        ):
            self.failureResultOf(refused, FileFault)
        self.assertEqual(self.secret.read_bytes(), b"not yours")

    def test_traversal_corpus(self) -> None:
        """No operation takes a path that leads upwards, is absolute, or is cut by a NUL."""
        for path in TRAVERSALS:
            self.every_operation(path)
            self.failureResultOf(self.home.entry(path), FileFault)
            self.failureResultOf(self.home.remove(path), FileFault)
            self.failureResultOf(self.home.rename(path, ("x",)), FileFault)
            self.failureResultOf(self.home.rename(("f",), path), FileFault)
            self.failureResultOf(self.home.change(path, Facts(modified=0.0)), FileFault)
        self.assertEqual((self.root / "f").read_bytes(), b"mine")

    def test_names_that_only_look_dangerous(self) -> None:
        """Backslashes, tildes, percent signs and shell words are names like any other."""
        for name in ("..\\secret", "%2e%2e", "~root", "$(x)", "';--", "...", " ", "a\r\nb", "\u202etxt"):
            self.store((name,), b"plain")
            self.assertEqual((self.root / name).read_bytes(), b"plain")

    def test_links_are_shown_but_not_followed(self) -> None:
        """A link is listed as one and can be removed; nothing is read, written or listed through it."""
        for name in ("file-link", "relative-link", "folder-link", "inner-link"):
            entry = self.successResultOf(self.home.entry((name,)))
            self.assertIsInstance(entry, Entry)
            self.assertEqual(entry.kind, Kind.LINK)
            self.every_operation((name,))
        self.every_operation(("folder-link", "secret"))
        self.successResultOf(self.home.remove(("file-link",)))
        self.assertTrue(self.secret.exists())

    def test_time_of_a_link(self) -> None:
        """MFMT on a link does not change what it points to."""
        before = self.secret.stat().st_mtime
        self.successResultOf(self.home.change(("file-link",), Facts(modified=1.0)))
        self.assertEqual(self.secret.stat().st_mtime, before)

    def test_swap_race(self) -> None:
        """While a folder and a link to the outside change places again and again, no read or write ever
        reaches the outside."""
        outside = self.root.parent / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(b"not yours")
        (self.root / "a" / "f").write_bytes(b"mine")
        os.symlink(outside, self.root / "b")
        stop = threading.Event()
        swapper = threading.Thread(target=self.swap, args=(stop,))
        swapper.start()
        seen = set()
        try:
            for attempt in range(100_000):
                if attempt >= 400 and len(seen) > 1:
                    break
                try:
                    seen.add(self.content("a", "f"))
                    self.store(("a", "g"), b"upload")
                except (FileFault, self.failureException):
                    seen.add(b"refused")
        finally:
            stop.set()
            swapper.join()
        self.assertEqual(seen, {b"mine", b"refused"})
        self.assertEqual(sorted(os.listdir(outside)), ["f"])

    def swap(self, stop: threading.Event) -> None:
        """Exchange the names a and b in one step (renameat2, RENAME_EXCHANGE) until told to stop, with rests
        after uneven numbers of them: in step with the reader it would always show it the same one."""
        library = ctypes.CDLL(None)
        a, b = os.fsencode(self.root / "a"), os.fsencode(self.root / "b")
        dice = random.Random(1)
        while not stop.wait(0.0001):
            for _ in range(dice.randrange(1, 100)):
                library.renameat2(-100, a, -100, b, 2)


class ReadOnly(HomeCase):
    def test_anonymous_changes_nothing(self) -> None:
        """In a read-only home everything that changes something is refused, and reading works."""
        (self.root / "f").write_bytes(b"free")
        (self.root / "d").mkdir()
        self.home = home_in(self.root, policy=Policy(read_only=True))
        for refused in (
            self.home.write(("f",), Intent.STORE, 0, None),
            self.home.write(("new",), Intent.APPEND, 0, None),
            self.home.make_folder(("new",)),
            self.home.remove_folder(("d",)),
            self.home.remove(("f",)),
            self.home.rename(("f",), ("g",)),
            self.home.change(("f",), Facts(modified=0.0)),
        ):
            self.failureResultOf(refused, Denied)
        self.assertEqual((self.content("f"), self.names()), (b"free", ["d", "f"]))
