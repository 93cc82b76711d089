"""Uploads: hidden until they are whole, kept when they are cut, continued where they stopped."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute

from mailftp.files import arrivals, commits
from mailftp.files import sink as sinks
from mailftp.files.home import Busy, Cut, Facts, FileFault, Intent, IsAFolder, ISink, NoRoom, NoSuchFile
from mailftp.files.sink import HIGH
from tests.files.inline import Inline, home_in, partials
from tests.files.test_folder import HomeCase


class UploadCase(HomeCase):
    def begin(self, name: str, intent: Intent = Intent.STORE, offset: int = 0) -> Any:
        sink = self.successResultOf(self.home.write((name,), intent, offset, None))
        self.assertTrue(ISink.providedBy(sink))
        return sink

    def cut(self, name: str, data: bytes, **how: Any) -> None:
        """An upload that brings `data` and is cut then."""
        sink = self.begin(name, **how)
        sink.write(data)
        self.successResultOf(sink.keep())

    def arrived(self, name: str) -> int | None:
        try:
            return self.successResultOf(self.home.entry((name,))).arrived
        except self.failureException:
            return None


class Uploads(UploadCase):
    def test_nothing_shows_before_the_end(self) -> None:
        """Until commit, and after a cut, no listing, no path and no read finds the upload."""
        sink = self.begin("f")
        sink.write(b"half")
        for _ in range(2):
            self.assertEqual(self.names(), [])
            self.failureResultOf(self.home.read(("f",)), NoSuchFile)
            self.failureResultOf(self.home.rename(("f",), ("g",)), NoSuchFile)
            self.failureResultOf(self.home.change(("f",), Facts(modified=0.0)), NoSuchFile)
            (hidden,) = partials(self.root)
            for refused in (
                self.home.read((hidden,)),
                self.home.entry((hidden,)),
                self.home.remove((hidden,)),
                self.home.rename((hidden,), ("g",)),
            ):
                self.failureResultOf(refused, NoSuchFile)
            self.successResultOf(sink.keep())

    def test_old_file_stays_until_the_new_one_is_whole(self) -> None:
        """An upload over a file changes nothing of it when it is cut."""
        self.store(("f",), b"the old file")
        self.cut("f", b"new")
        self.assertEqual(self.content("f"), b"the old file")
        entry = self.successResultOf(self.home.entry(("f",)))
        self.assertEqual((entry.size, entry.arrived, entry.whole), (12, 3, True))

    def test_continue_with_an_offset(self) -> None:
        """REST with what SIZE says goes on with the upload that was cut."""
        self.cut("f", b"12345")
        entry = self.successResultOf(self.home.entry(("f",)))
        self.assertEqual((entry.size, entry.arrived, entry.whole), (5, 5, False))
        self.cut("f", b"678", offset=5)
        sink = self.begin("f", offset=8)
        sink.write(b"90")
        self.assertEqual(self.successResultOf(sink.commit()), 10)
        self.assertEqual((self.content("f"), partials(self.root)), (b"1234567890", []))

    def test_continue_earlier(self) -> None:
        """An offset before the end of what came replaces the rest of it."""
        self.cut("f", b"12345xxxxxxxxxx")
        sink = self.begin("f", offset=5)
        sink.write(b"6")
        self.successResultOf(sink.commit())
        self.assertEqual(self.content("f"), b"123456")

    def test_continue_by_appending(self) -> None:
        """APPE goes on after all that came; without a cut upload, after the file; without one, anew."""
        for before, data, after in ((None, b"1", b"1"), (None, b"2", b"12"), (b"34", b"5", b"345")):
            if before is not None:
                self.cut("f", before)
            sink = self.begin("f", Intent.APPEND)
            sink.write(data)
            self.successResultOf(sink.commit())
            self.assertEqual((self.content("f"), partials(self.root)), (after, []))

    def test_offset_beyond_what_came(self) -> None:
        """An offset that would leave a hole is refused."""
        for _ in range(2):
            self.failureResultOf(self.home.write(("f",), Intent.STORE, 4, None), NoSuchFile)
            self.cut("f", b"123")
        self.store(("whole",), b"123")
        self.failureResultOf(self.home.write(("whole",), Intent.STORE, 4, None), NoSuchFile)
        self.assertEqual(self.content("whole"), b"123")

    def test_offset_into_a_whole_file(self) -> None:
        """Its first octets are kept and the rest is what comes; until then the file is as it was."""
        self.store(("f",), b"0123456789")
        sink = self.begin("f", offset=4)
        sink.write(b"x")
        self.assertEqual(self.content("f"), b"0123456789")
        self.successResultOf(sink.commit())
        self.assertEqual(self.content("f"), b"0123x")

    def test_client_that_never_sends(self) -> None:
        """An upload that is begun and gets no octet leaves the one that was cut before as it is."""
        self.cut("f", b"12345")
        for offset in (0, 3):
            self.assertEqual(self.successResultOf(self.begin("f", offset=offset).keep()), 5)
        self.assertEqual(self.arrived("f"), 5)

    def test_empty_uploads(self) -> None:
        """An empty file is a file, also after a cut upload; a cut upload of nothing leaves nothing."""
        self.cut("f", b"")
        self.assertEqual((self.arrived("f"), partials(self.root)), (None, []))
        self.cut("f", b"12345")
        self.assertEqual(self.successResultOf(self.begin("f").commit()), 0)
        self.assertEqual((self.content("f"), partials(self.root)), (b"", []))

    def test_two_uploads_to_one_name(self) -> None:
        """Both go on apart from each other, the later commit wins, nothing is left."""
        one, two = self.begin("f"), self.begin("f")
        one.write(b"one")
        two.write(b"two")
        self.failureResultOf(self.home.write(("f",), Intent.APPEND, 0, None), Busy)
        self.failureResultOf(self.home.write(("f",), Intent.STORE, 1, None), Busy)
        self.successResultOf(one.commit())
        self.assertEqual(self.content("f"), b"one")
        self.successResultOf(two.commit())
        self.assertEqual((self.content("f"), partials(self.root)), (b"two", []))

    def test_two_uploads_cut(self) -> None:
        """Of two uploads to a name the one that is cut last can be continued, and takes no room twice."""
        one, two, three = self.begin("f"), self.begin("f"), self.begin("f")
        for sink, data in ((one, b"1"), (two, b"22"), (three, b"333")):
            sink.write(data)
        self.assertEqual(self.successResultOf(two.keep()), 0)
        self.successResultOf(one.keep())
        self.assertEqual(self.successResultOf(three.keep()), 3)
        self.assertEqual((self.arrived("f"), len(partials(self.root))), (3, 1))

    def test_not_wanted_any_more(self) -> None:
        """When its client has gone before the file gets its name, the upload is kept as cut."""
        sink = self.begin("f")
        sink.write(b"12345")
        self.failureResultOf(sink.commit(lambda: False), Cut)
        self.assertEqual((self.names(), self.arrived("f")), ([], 5))

    def test_wanted_is_asked_after_writing(self) -> None:
        """The question comes when everything is on disk: what happened meanwhile counts."""
        runner = Inline()
        self.home = home_in(self.root, runner)
        sink = self.begin("f")
        sink.write(b"12345")
        runner.held = True
        alive = True
        done = sink.commit(lambda: alive)
        alive = False
        while runner.waiting:
            runner.release()
        self.failureResultOf(done, Cut)

    def test_remove_and_rename_overtake(self) -> None:
        """DELE removes what came of a cut upload; renaming a whole file to the name does as well."""
        self.cut("f", b"123")
        self.successResultOf(self.home.remove(("f",)))
        self.assertEqual(partials(self.root), [])
        self.cut("f", b"123")
        self.store(("whole",), b"4")
        self.successResultOf(self.home.rename(("whole",), ("f",)))
        self.assertEqual((self.content("f"), partials(self.root)), (b"4", []))

    def test_folder_that_shows_nothing_can_be_removed(self) -> None:
        """Cut uploads do not keep a folder that looks empty; one under way does."""
        (self.root / "d").mkdir()
        sink = self.successResultOf(self.home.write(("d", "f"), Intent.STORE, 0, None))
        sink.write(b"123")
        self.failureResultOf(self.home.remove_folder(("d",)), FileFault)
        self.successResultOf(sink.keep())
        self.successResultOf(self.home.remove_folder(("d",)))
        self.assertEqual(self.names(), [])

    def test_given_up_after_a_week(self) -> None:
        """An upload cut long ago goes when its folder is listed; a younger one and one under way stay."""
        now = 2_000_000_000.0
        self.home = home_in(self.root, now=lambda: now)
        self.cut("old", b"1")
        self.cut("young", b"2")
        live = self.begin("live")
        live.write(b"3")
        for name in partials(self.root):
            os.utime(self.root / name, (now, now - arrivals.GIVEN_UP - 1))
        os.utime(self.root / os.fsdecode(arrivals.hidden_name(b"young")), (now, now - arrivals.GIVEN_UP + 1))
        self.assertEqual(self.names(), [])
        self.assertEqual((self.arrived("old"), self.arrived("young")), (None, 1))
        self.successResultOf(live.commit())

    def test_became_a_folder_meanwhile(self) -> None:
        """When the name is taken by a folder before the end, the upload fails and is kept."""
        sink = self.begin("f")
        sink.write(b"1")
        (self.root / "f").mkdir()
        self.failureResultOf(sink.commit(), IsAFolder)
        self.assertEqual(len(partials(self.root)), 1)

    def test_visible_partials(self) -> None:
        """With the setting, the file grows under its own name, as on other servers."""
        self.home = home_in(self.root, visible_partials=True)
        self.store(("f",), b"the old file")
        self.cut("f", b"new")
        self.assertEqual((self.content("f"), partials(self.root)), (b"new", []))
        sink = self.begin("f", Intent.APPEND)
        sink.write(b"er")
        self.successResultOf(sink.commit())
        self.assertEqual(self.content("f"), b"newer")


class BackPressure(UploadCase):
    def test_sender_is_held_back(self) -> None:
        """While the disk is behind, write asks to wait at 1 MiB; all octets arrive in order."""
        runner = Inline()
        self.home = home_in(self.root, runner)
        sink = self.begin("f")
        runner.held = True
        chunk = bytes(range(256)) * 256
        held: Deferred[None] | None = None
        sent = 0
        while held is None:
            self.assertLess(sent, 40)
            held = sink.write(chunk)
            sent += 1
        self.assertLessEqual(sent * len(chunk), 2 * HIGH)
        self.assertNoResult(held)
        runner.release()
        self.successResultOf(held)
        done = sink.commit()
        while runner.waiting:
            runner.release()
        self.assertEqual(self.successResultOf(done), sent * len(chunk))
        self.assertEqual((self.root / "f").read_bytes(), chunk * sent)

    def test_cut_while_writing(self) -> None:
        """A cut waits for the write under way and keeps everything that came."""
        runner = Inline()
        self.home = home_in(self.root, runner)
        sink = self.begin("f")
        runner.held = True
        sink.write(b"x" * 300_000)
        sink.write(b"y")
        kept = sink.keep()
        self.assertNoResult(kept)
        while runner.waiting:
            runner.release()
        self.assertEqual(self.successResultOf(kept), 300_001)


class DiskFull(UploadCase):
    """The disk refuses: what was promised is not broken."""

    def full_after(self, octets: int) -> None:
        """Writes beyond an offset fail with ENOSPC; the last one before it is short."""

        def pwritev(descriptor: int, chunks: list[bytes], offset: int) -> int:
            if offset >= octets:
                raise OSError(errno.ENOSPC, "full")
            return real(descriptor, [b"".join(chunks)[: octets - offset]], offset)

        real = os.pwritev
        self.patch(os, "pwritev", pwritev)

    def test_at_the_end(self) -> None:
        """No room for the last octets: NoRoom, the old file is whole, what came can be continued."""
        self.store(("f",), b"old")
        self.full_after(4)
        sink = self.begin("f")
        sink.write(b"123456")
        self.failureResultOf(sink.commit(), NoRoom)
        self.assertEqual((self.content("f"), self.arrived("f")), (b"old", 4))

    def test_in_the_middle(self) -> None:
        """No room while octets still come: the sender is told at the next write, and so is commit."""
        self.full_after(1000)
        sink = self.begin("f")
        sink.write(b"x" * 300_000)
        self.failureResultOf(sink.write(b"y"), NoRoom)
        self.failureResultOf(sink.commit(), NoRoom)
        self.assertEqual((self.names(), self.arrived("f")), ([], 1000))

    def test_announced_size(self) -> None:
        """An upload that says it is larger than the disk is refused before it begins."""
        self.failureResultOf(self.home.write(("f",), Intent.STORE, 0, 1 << 62), NoRoom)
        self.assertEqual(partials(self.root), [])


class Quota(UploadCase):
    def setUp(self) -> None:
        super().setUp()
        (self.root / "d").mkdir()
        (self.root / "d" / "old").write_bytes(b"x" * 40)
        self.home = home_in(self.root, quota=100)

    def left(self) -> int | None:
        return self.successResultOf(self.home.room())

    def test_counted_at_first_use(self) -> None:
        """What is in the home already counts, in every folder; links and folders do not."""
        os.symlink("/etc/hostname", self.root / "link")
        self.assertEqual(self.left(), 60)

    def test_every_writing_path(self) -> None:
        """Storing, continuing, appending, replacing, renaming over and removing keep the count exact."""
        self.store(("a",), b"x" * 10)
        self.assertEqual(self.left(), 50)
        self.cut("b", b"x" * 20)
        self.assertEqual(self.left(), 30)
        self.cut("b", b"x" * 5, offset=10)
        self.assertEqual(self.left(), 35)
        sink = self.begin("b", Intent.APPEND)
        sink.write(b"x" * 5)
        self.successResultOf(sink.commit())
        self.assertEqual(self.left(), 30)
        self.store(("a",), b"x" * 15)
        self.assertEqual(self.left(), 25)
        sink = self.begin("a", Intent.APPEND)
        sink.write(b"x")
        self.assertEqual(self.left(), 9)
        self.successResultOf(sink.commit())
        self.assertEqual(self.left(), 24)
        self.successResultOf(self.home.rename(("b",), ("a",)))
        self.assertEqual(self.left(), 40)
        self.successResultOf(self.home.remove(("a",)))
        self.assertEqual(self.left(), 60)
        self.assertEqual(self.left(), self.successResultOf(home_in(self.root, quota=100).room()))

    def test_too_much(self) -> None:
        """The octet that is one too many is refused, and what came before it is kept and counted."""
        sink = self.begin("f")
        self.assertIsNone(sink.write(b"x" * 60))
        self.failureResultOf(sink.write(b"x"), NoRoom)
        self.failureResultOf(sink.commit(), NoRoom)
        self.assertEqual((self.arrived("f"), self.left()), (60, 0))
        self.failureResultOf(self.home.write(("d", "old"), Intent.APPEND, 0, None), NoRoom)
        self.failureResultOf(self.home.write(("g",), Intent.STORE, 0, 1), NoRoom)
        self.successResultOf(self.home.remove(("f",)))
        self.assertEqual(self.left(), 60)

    def test_uploads_side_by_side(self) -> None:
        """Sessions of one account share the count: together they cannot store more than one could."""
        one, two = self.begin("one"), self.begin("two")
        one.write(b"x" * 40)
        self.failureResultOf(two.write(b"x" * 40), NoRoom)
        self.successResultOf(two.keep())
        self.successResultOf(one.commit())
        self.assertEqual(self.left(), 20)

    def test_reservations_are_given_back(self) -> None:
        """Room taken for octets that never reached the disk is free again."""

        def pwritev(descriptor: int, chunks: list[bytes], offset: int) -> int:
            raise OSError(errno.ENOSPC, "full")

        self.patch(os, "pwritev", pwritev)
        sink = self.begin("f")
        sink.write(b"x" * 50)
        self.failureResultOf(sink.commit(), NoRoom)
        self.assertEqual(self.left(), 60)


class Together(UploadCase):
    """Uploads that end at the same time share the trip to the disk."""

    def setUp(self) -> None:
        super().setUp()
        self.runner = Inline()
        self.home = home_in(self.root, self.runner, durable=True)
        self.synced: list[str] = []
        self.patch(os, "fsync", lambda descriptor: self.note("fsync", descriptor))
        self.patch(commits, "sync_system", lambda descriptor: self.note("syncfs", descriptor))

    def note(self, call: str, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        shown = [name for name in os.listdir(self.root) if not name.startswith(".")]
        self.synced.append(f"{call} {'folder' if os.path.isdir(path) else 'file'} {len(shown)}")

    def commit_all(self, count: int) -> list[Deferred[int]]:
        """Commit `count` uploads and one before them: that one goes alone, the others wait for it and make
        one batch."""
        sinks = [self.begin(f"f{number}") for number in range(count + 1)]
        for sink in sinks:
            sink.write(b"x")
        self.runner.held = True
        waiting = [sink.commit() for sink in sinks]
        while self.runner.waiting:
            self.runner.release()
        self.runner.held = False
        return waiting

    def test_few(self) -> None:
        """Before a file has its name its octets are on disk; after it the folder is, once for all."""
        for done in self.commit_all(3):
            self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(
            self.synced,
            [
                "fsync file 0",
                "fsync folder 1",
                "fsync file 1",
                "fsync file 1",
                "fsync file 1",
                "fsync folder 4",
            ],
        )

    def test_many(self) -> None:
        """From eight files on, one syncfs does for all of them."""
        for done in self.commit_all(20):
            self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(self.synced[2:], ["syncfs file 1", "fsync folder 21"])

    def test_large_on_its_way(self) -> None:
        """A large file goes to the disk while more of it comes, and is closed only when that is done."""
        self.patch(os, "fdatasync", lambda descriptor: self.note("fdatasync", descriptor))
        sink = self.begin("big")
        self.runner.held = True
        for _ in range(sinks.PUSH // sinks.FLUSH + 4):
            sink.write(bytes(sinks.FLUSH))
            # The write; the one that reaches the size asks for the sync, which waits.
            done, work = self.runner.waiting.pop()
            execute(work).chainDeferred(done)
        self.assertEqual(len(self.runner.waiting), 1)
        kept = sink.keep()
        self.assertEqual(self.synced, [])
        self.assertEqual(len(self.runner.waiting), 1)
        self.runner.held = False
        self.runner.release()
        self.assertEqual(self.synced, ["fdatasync file 0"])
        self.assertEqual(self.successResultOf(kept), sinks.PUSH + 4 * sinks.FLUSH)

    def test_large_on_a_bad_disk(self) -> None:
        """What the disk failed to take while more came is not forgotten: the upload is refused."""

        def fdatasync(descriptor: int) -> None:
            raise OSError(errno.EIO, "bad")

        self.patch(os, "fdatasync", fdatasync)
        sink = self.begin("big")
        held = None
        for _ in range(sinks.PUSH // sinks.FLUSH + 1):
            held = sink.write(bytes(sinks.FLUSH))
        assert held is not None
        self.failureResultOf(held, FileFault)
        self.failureResultOf(sink.commit(), FileFault)
        self.assertEqual(self.names(), [])

    def test_one_fails(self) -> None:
        """A file whose disk fails is refused; its neighbours are not."""
        calls = iter([OSError(errno.EIO, "bad"), None])

        def fsync(descriptor: int) -> None:
            if error := next(calls, None):
                raise error

        self.patch(os, "fsync", fsync)
        results = self.commit_all(2)
        self.failureResultOf(results[0], FileFault)
        for done in results[1:]:
            self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual(self.names(), ["f1", "f2"])

    def test_syncfs(self) -> None:
        """The call that the C library makes for us works, and reports a bad descriptor."""
        self.assertRaises(OSError, _real_sync_system, -1)
        with (
            open(self.root, opener=lambda path, flags: os.open(path, os.O_RDONLY))
            if False
            else open(self.secret, "rb") as file
        ):
            _real_sync_system(file.fileno())


_real_sync_system = commits.sync_system


class Killed(UploadCase):
    def test_kill_in_the_middle(self) -> None:
        """A process killed while it uploads leaves a hidden file that the next one continues."""
        script = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from mailftp.files.home import Intent\n"
            "from tests.files.inline import home_in\n"
            "home = home_in(Path(sys.argv[1]))\n"
            "home.write(('f',), Intent.STORE, 0, None).addCallback("
            "lambda sink: (sink.write(b'x' * 300000), print('up', flush=True), sys.stdin.read()))\n"
        )
        top = Path(__file__).parents[2]
        with subprocess.Popen(
            [sys.executable, "-c", script, os.path.abspath(self.root)],
            cwd=top,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"up\n")
            self.failureResultOf(self.home.write(("f",), Intent.APPEND, 0, None), Busy)
            process.send_signal(signal.SIGKILL)
        self.assertEqual((self.names(), self.arrived("f")), ([], 300_000))
        sink = self.begin("f", Intent.APPEND)
        sink.write(b"y")
        self.assertEqual(self.successResultOf(sink.commit()), 300_001)
