"""Files that are opened without a trip to a thread: which ones, and that nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.files import cached
from mailftp.files.home import Denied, FileFault, NoSuchFile
from mailftp.files.home import Path as Names
from mailftp.files.policy import Patterns, Policy, Rule
from tests.files.inline import Inline, home_in


class AtOnce(SynchronousTestCase):
    def setUp(self) -> None:
        release = os.uname().release.split(".")
        if (int(release[0]), int(release[1])) < (5, 12):
            raise SkipTest("needs Linux 5.12")
        top = Path(self.mktemp())
        self.root = top / "home"
        (self.root / "d").mkdir(parents=True)
        (self.root / "d" / "f").write_bytes(b"mine")
        (top / "secret").write_bytes(b"not yours")
        with (self.root / "d" / "f").open("rb") as file:
            if not cached.is_local(file.fileno()):
                raise SkipTest("needs a checkout on a file system of this machine")
        self.runner = Inline()
        self.home = home_in(self.root, self.runner, policy=Policy(rules=(Rule(hidden=Patterns(["*.key"])),)))
        # Only a thread may look what kind of file system it is.
        self.read("d", "f")
        self.runner.held = True

    def read(self, *path: str) -> bytes:
        source = self.successResultOf(self.home.read(path))
        try:
            self.assertTrue(os.get_blocking(source.descriptor))
            self.assertEqual(os.pread(source.descriptor, source.size, 0)[: len(source.head)], source.head)
            return source.head
        finally:
            source.close()

    def test_no_thread(self) -> None:
        """What was just written or read is opened and read with nobody waiting for a thread."""
        self.assertEqual(self.read("d", "f"), b"mine")
        (self.root / "large").write_bytes(b"x" * 100_000)
        self.assertEqual(self.read("large"), b"x" * 65_536)
        (self.root / "empty").touch()
        self.assertEqual(self.read("empty"), b"")
        self.assertEqual(self.runner.waiting, [])

    def test_thread_says_why(self) -> None:
        """Links, folders, FIFOs and what is not there are left to a thread, which refuses them."""
        os.symlink("../secret", self.root / "link")
        os.symlink("..", self.root / "up")
        os.symlink("d", self.root / "inner")
        os.mkfifo(self.root / "fifo")
        paths: tuple[Names, ...] = (
            ("link",), ("up", "secret"), ("inner", "f"), ("fifo",), ("d",), ("gone",), ("d", "f", "x"), (),
        )  # fmt: skip
        for path in paths:
            refused = self.home.read(path)
            self.assertNoResult(refused)
            self.runner.release()
            self.failureResultOf(refused, FileFault)

    def test_policy_first(self) -> None:
        """What the policy does not allow is not opened, on no thread at all."""
        (self.root / "x.key").write_bytes(b"secret")
        self.failureResultOf(self.home.read(("x.key",)), NoSuchFile)
        self.failureResultOf(self.home.read(("..", "secret")), Denied)
        self.assertEqual(self.runner.waiting, [])

    def test_no_descriptor_is_lost(self) -> None:
        """However it ends, only the source that is given has a descriptor."""
        os.mkfifo(self.root / "fifo")
        before = len(os.listdir("/proc/self/fd"))
        for path in (("d", "f"), ("d",), ("fifo",), ("gone",)) * 20:
            found = cached.open_file(bytes(self.root), tuple(map(os.fsencode, path)), 100)
            if found is not None:
                os.close(found[0])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_old_system(self) -> None:
        """Without openat2 everything goes to a thread."""
        self.patch(cached, "_syscall", None)
        waiting = self.home.read(("d", "f"))
        self.assertNoResult(waiting)
        self.runner.release()
        self.successResultOf(waiting).close()
