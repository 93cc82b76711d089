"""Whole trees, copies, links, digests: what the policy keeps, what the quota counts, what races leave."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files import ranges
from mailftp.files.digests import REMEMBERED, Digests
from mailftp.files.home import (
    Denied,
    Facts,
    FileFault,
    Intent,
    IsAFolder,
    NoRoom,
    NoSuchFile,
    NotAFolder,
)
from mailftp.files.policy import EVERYTHING, Permission, Policy, Rule
from mailftp.files.usage import Usage
from tests.files.inline import Inline, home_in, partials

NOW = 2_000_000_000.0


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir(parents=True)
        self.digests = Digests()
        self.runner = Inline()
        self.home = self.home_with()

    def home_with(self, **options: Any) -> Any:
        options.setdefault("now", lambda: NOW)
        return home_in(self.root, self.runner, digests=self.digests, **options)

    def tree(self, **files: bytes) -> None:
        for name, content in files.items():
            path = self.root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


class Trees(Case):
    def test_measure(self) -> None:
        """Files below, in folders too; neither links nor uploads under way."""
        self.tree(t__a=b"12345", t__u__b=b"123")
        os.symlink("/etc/passwd", self.root / "t" / "link")
        os.symlink("/etc", self.root / "t" / "links")
        (self.root / "t" / ".mailftp-upload-x").write_bytes(b"x" * 100)
        self.assertEqual(self.successResultOf(self.home.measure(("t",))), 8)
        self.assertEqual(self.successResultOf(self.home.measure(())), 8)
        self.failureResultOf(self.home.measure(("none",)), NoSuchFile)
        self.failureResultOf(self.home.measure(("t", "a")), NotAFolder)
        self.failureResultOf(self.home.measure(("t", "links")), FileFault)

    def test_many_names(self) -> None:
        """A tree of thousands is walked in several trips, others being served between them."""
        self.tree(**{f"t__{number}": b"x" for number in range(1500)})
        self.runner.held = True
        done = self.home.measure(("t",))
        trips = 0
        while self.runner.waiting:
            self.runner.release()
            trips += 1
        self.assertEqual(self.successResultOf(done), 1500)
        self.assertGreater(trips, 3)

    def test_remove_tree(self) -> None:
        """All of it, uploads that were cut with it; a link is removed and not followed."""
        outside = Path(self.mktemp())
        outside.mkdir(parents=True)
        (outside / "keep").write_bytes(b"x")
        self.tree(t__a=b"1", t__u__v__b=b"2", other=b"3")
        os.symlink(outside.resolve(), self.root / "t" / "link")
        (self.root / "t" / "u" / ".mailftp-upload-x").write_bytes(b"cut")
        self.successResultOf(self.home.remove_tree(("t",)))
        self.assertEqual(self.names(), ["other"])
        self.assertTrue((outside / "keep").exists())
        for path in (("t",), ("other",), ()):
            self.failureResultOf(self.home.remove_tree(path), FileFault)

    def test_a_folder_that_is_swapped(self) -> None:
        """A folder that becomes a link while we walk is not walked into."""
        outside = Path(self.mktemp()).resolve()
        outside.mkdir(parents=True)
        (outside / "keep").write_bytes(b"x")
        self.tree(t__a__b=b"1")
        real = os.open
        swapped = []

        def swapping(name: Any, *arguments: Any, **options: Any) -> int:
            if name == b"a" and not swapped:
                swapped.append(name)
                os.rename(self.root / "t" / "a", self.root / "moved")
                os.symlink(outside, self.root / "t" / "a")
            return real(name, *arguments, **options)

        with mock.patch("os.open", swapping):
            self.failureResultOf(self.home.remove_tree(("t",)), FileFault)
        self.assertTrue(swapped)
        self.assertTrue((outside / "keep").exists())

    def test_what_the_policy_keeps(self) -> None:
        """RMDA stops at what may not be removed, wherever in the tree a rule keeps it."""
        keep = Rule(("t", "keep"), deny=Permission.DELETE)
        self.tree(t__a=b"1", t__keep__b=b"2")
        home = self.home_with(policy=Policy(rules=(keep,)))
        self.failureResultOf(home.remove_tree(("t",)), Denied)
        self.assertIn("t/keep/b", self.names())
        self.failureResultOf(home.rename(("t",), ("u",)), Denied)
        self.failureResultOf(home.remove(("t", "keep", "b")), Denied)

    def test_names_are_counted(self) -> None:
        """Files, folders and links, by every way to make and to remove one."""
        usage = Usage(self.root, None, names=4)
        home = self.home_with(usage=usage)
        self.successResultOf(home.make_folders(("a", "b")))
        self.store(home, "f")
        self.successResultOf(home.make_link(("l",), "f"))
        for refused in (
            home.make_folder(("c",)),
            home.make_link(("m",), "f"),
            home.write(("g",), Intent.STORE, 0, None),
            home.write(("g",), Intent.APPEND, 0, None),
            home.copy(("f",), ("g",)),
            home.combine(("g",), (("f",),)),
        ):
            self.failureResultOf(refused, NoRoom)
        self.store(home, "f")
        self.successResultOf(home.remove(("l",)))
        self.successResultOf(home.copy(("f",), ("g",)))
        self.successResultOf(home.remove_tree(("a",)))
        self.successResultOf(home.rename(("f",), ("g",)))
        self.assertEqual(usage._named, 1)
        fresh = Usage(self.root, None, names=4)
        fresh.count()
        self.assertEqual(fresh._named, 1)

    def store(self, home: Any, name: str, data: bytes = b"x", **how: Any) -> None:
        sink = self.successResultOf(home.write((name,), Intent.STORE, 0, None, **how))
        sink.write(data)
        self.successResultOf(sink.commit())


class Copies(Case):
    def test_copy(self) -> None:
        """The octets, under a new name; in place of an old file only when it is whole."""
        self.tree(f=b"x" * 3_000_000, g=b"old")
        self.assertEqual(self.successResultOf(self.home.copy(("f",), ("g",))), 3_000_000)
        self.assertEqual((self.root / "g").read_bytes(), b"x" * 3_000_000)
        self.tree(empty=b"")
        self.assertEqual(self.successResultOf(self.home.copy(("empty",), ("e",))), 0)
        self.assertEqual(partials(self.root), [])

    def test_between_file_systems(self) -> None:
        """Where the kernel cannot copy from file to file, we do."""
        self.tree(f=b"0123456789" * 300_000)
        cannot = OSError(errno.EXDEV, "no")
        with mock.patch("os.copy_file_range", side_effect=cannot):
            self.successResultOf(self.home.copy(("f",), ("g",)))
            self.successResultOf(self.home.combine(("g",), (("f",),)))
        self.assertEqual((self.root / "g").read_bytes(), b"0123456789" * 600_000)
        with mock.patch("os.copy_file_range", side_effect=OSError(errno.EIO, "no")):
            self.assertRaises(OSError, ranges.copy_range, 0, 0, 0, 0, 1)

    def test_quota(self) -> None:
        """A copy counts; one that has no room leaves nothing."""
        self.tree(f=b"x" * 600)
        home = self.home_with(quota=1000)
        self.failureResultOf(home.copy(("f",), ("g",)), NoRoom)
        self.failureResultOf(home.combine(("g",), (("f",),)), NoRoom)
        self.assertEqual((self.names(), partials(self.root)), (["f"], []))

    def test_disk_full(self) -> None:
        """ENOSPC in the middle: a clear failure, and nothing is left."""
        self.tree(f=b"x" * 600, g=b"old")
        with mock.patch("os.copy_file_range", side_effect=OSError(errno.ENOSPC, "full")):
            self.failureResultOf(self.home.copy(("f",), ("g",)), NoRoom)
            self.failureResultOf(self.home.combine(("g",), (("f",),)), NoRoom)
        self.assertEqual((self.root / "g").read_bytes(), b"old")
        self.assertEqual((self.names(), partials(self.root)), (["f", "g"], []))

    def test_what_may_be_copied(self) -> None:
        """The source must be readable, the target writable, the parts removable."""
        self.tree(secret__f=b"x", f=b"y", full__f=b"z")
        rules = (
            Rule(("secret",), deny=Permission.READ),
            Rule(("full",), deny=Permission.WRITE | Permission.APPEND | Permission.DELETE),
        )
        home = self.home_with(policy=Policy(rules=rules))
        self.failureResultOf(home.copy(("secret", "f"), ("g",)), Denied)
        self.failureResultOf(home.combine(("g",), (("secret", "f"),)), Denied)
        self.failureResultOf(home.copy(("f",), ("full", "g")), Denied)
        self.failureResultOf(home.combine(("full", "f"), (("f",),)), Denied)
        self.failureResultOf(home.combine(("g",), (("full", "f"),)), Denied)
        self.assertEqual(self.names(), ["f", "full", "full/f", "secret", "secret/f"])

    def test_links_are_not_copied(self) -> None:
        """A link is no file: neither its target nor what it is made the target."""
        os.symlink("/etc/passwd", self.root / "link")
        self.failureResultOf(self.home.copy(("link",), ("g",)), Denied)
        self.tree(f=b"x")
        self.failureResultOf(self.home.copy(("f",), ("link",)), Denied)

    def test_no_overwriting(self) -> None:
        """Without `overwrite` no way leads over a file: STOR, CPTO, RNTO, nor two uploads side by side."""
        rules = (Rule((), allow=EVERYTHING & ~Permission.OVERWRITE),)
        home = self.home_with(policy=Policy(rules=rules))
        self.tree(f=b"first", g=b"second")
        self.failureResultOf(home.write(("f",), Intent.STORE, 0, None), Denied)
        self.failureResultOf(home.write(("f",), Intent.STORE, 3, None), Denied)
        self.failureResultOf(home.copy(("g",), ("f",)), Denied)
        self.failureResultOf(home.rename(("g",), ("f",)), Denied)
        sinks = [self.successResultOf(home.write(("new",), Intent.STORE, 0, None)) for _ in range(2)]
        for number, sink in enumerate(sinks):
            sink.write(b"%d" % number)
        self.successResultOf(sinks[0].commit())
        self.failureResultOf(sinks[1].commit(), FileFault)
        self.assertEqual((self.root / "new").read_bytes(), b"0")


class Links(Case):
    def test_where_links_lead(self) -> None:
        """To names in their own folder or below it, so that they stay in the home when it is moved."""
        for target in ("/etc/passwd", "../x", "a/../../x", "", "a//b", "./a", "a/."):
            self.failureResultOf(self.home.make_link(("l",), target), Denied)
        self.successResultOf(self.home.make_link(("l",), "a/b"))
        self.assertEqual(os.readlink(self.root / "l"), "a/b")
        self.failureResultOf(self.home.make_link(("l",), "a"), FileFault)


class Changes(Case):
    def test_mode(self) -> None:
        """Of files and folders, and not through a link; a file that nobody may read too."""
        self.tree(d__f=b"x")
        for path in (("d", "f"), ("d",)):
            for mode in (0o000, 0o755):
                self.successResultOf(self.home.change(path, Facts(mode=mode)))
                self.assertEqual(self.root.joinpath(*path).stat().st_mode & 0o7777, mode)
        target = Path(self.mktemp()).resolve()
        target.write_bytes(b"x")
        target.chmod(0o600)
        os.symlink(target, self.root / "l")
        self.failureResultOf(self.home.change(("l",), Facts(mode=0o777)), Denied)
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)

    def test_group(self) -> None:
        """One of our own, by number; no other, whatever the server may do."""
        self.tree(f=b"x")
        self.successResultOf(self.home.change(("f",), Facts(group=str(os.getegid()))))
        for group in ("987654321", "no-such-group", "-1"):
            self.failureResultOf(self.home.change(("f",), Facts(group=group)), Denied)

    def test_created(self) -> None:
        """What MFCT sets is told, where the file system keeps it; else it says so."""
        self.tree(f=b"x")
        try:
            os.setxattr(self.root / "f", "user.mailftp.probe", b"1")
        except OSError:
            self.failureResultOf(self.home.change(("f",), Facts(created=1e9)), Denied)
            return
        self.successResultOf(self.home.change(("f",), Facts(created=1_000_000_000.0)))
        self.assertEqual(self.successResultOf(self.home.entry(("f",), True)).created, 1_000_000_000.0)
        entries = self.successResultOf(self.home.entries((), True))
        self.assertEqual([entry.created for entry in self.successResultOf(entries.next())], [1_000_000_000.0])
        entries.close()

    def test_umask(self) -> None:
        """New files and folders get what it leaves; a file that is replaced keeps what it had."""
        home = self.home_with(umask=0o027)
        self.store(home, "f")
        self.successResultOf(home.make_folder(("d",)))
        self.assertEqual((self.root / "f").stat().st_mode & 0o777, 0o640)
        self.assertEqual((self.root / "d").stat().st_mode & 0o777, 0o750)
        (self.root / "f").chmod(0o604)
        self.store(home, "f")
        self.assertEqual((self.root / "f").stat().st_mode & 0o777, 0o604)

    store = Trees.store


class Remembered(Case):
    def ask(self, algorithm: str = "SHA-256", start: int = 0, end: int | None = None) -> str:
        digest = self.successResultOf(self.home.digest(("f",), algorithm, start, end))
        return str(digest.hexadecimal)

    def read_none(self) -> Any:
        return mock.patch("os.pread", side_effect=AssertionError("it reads"))

    def test_second_time(self) -> None:
        """The second answer reads nothing; a change is seen, be it by size, by time or by another file."""
        self.tree(f=b"hello")
        first = self.ask()
        with self.read_none():
            self.assertEqual(self.ask(), first)
        os.utime(self.root / "f", (1.0, 1.0))
        (self.root / "f").write_bytes(b"hallo")
        self.assertEqual(self.ask(), hashlib.sha256(b"hallo").hexdigest())
        (self.root / "g").write_bytes(b"hullo")
        os.rename(self.root / "g", self.root / "f")
        self.assertEqual(self.ask(), hashlib.sha256(b"hullo").hexdigest())
        self.assertEqual(self.ask("MD5"), hashlib.md5(b"hullo").hexdigest())

    def test_part(self) -> None:
        """Parts are not taken for the whole, nor remembered as it."""
        self.tree(f=b"hello")
        self.assertEqual(self.ask(start=1, end=3), hashlib.sha256(b"el").hexdigest())
        self.assertEqual(self.ask(), hashlib.sha256(b"hello").hexdigest())
        self.assertEqual(self.ask(start=1, end=3), hashlib.sha256(b"el").hexdigest())

    def test_a_file_that_has_just_changed(self) -> None:
        """Its next change may come without a new time: what was read is not remembered."""
        self.tree(f=b"hello")
        now = (self.root / "f").stat().st_ctime
        self.home = self.home_with(now=lambda: now)
        self.ask()
        with self.read_none():
            self.failureResultOf(self.home.digest(("f",), "SHA-256", 0, None), AssertionError)

    def test_a_file_that_changes_meanwhile(self) -> None:
        """A failure rather than the digest of what never was."""
        self.tree(f=b"hello")
        self.runner.held = True
        done = self.home.digest(("f",), "SHA-256", 0, None)
        self.runner.release()
        os.utime(self.root / "f", (1.0, 1.0))
        while self.runner.waiting:
            self.runner.release()
        self.failureResultOf(done, FileFault)

    def test_while_it_arrives(self) -> None:
        """An upload whose digest will be asked for has it ready."""
        self.store(self.home, "f", b"hello", digest="SHA-1")
        with self.read_none():
            self.assertEqual(self.ask("SHA-1"), hashlib.sha1(b"hello").hexdigest())
        self.store(self.home, "f", bytes(2_000_000), digest="CRC32")
        with self.read_none():
            self.assertEqual(self.ask("CRC32"), f"{zlib.crc32(bytes(2_000_000)):08x}")

    def test_continued_upload(self) -> None:
        """Only the end of it came now: the digest is computed of all when it is asked for."""
        sink = self.successResultOf(self.home.write(("f",), Intent.STORE, 0, None, None, "SHA-256"))
        sink.write(b"hel")
        self.successResultOf(sink.keep())
        sink = self.successResultOf(self.home.write(("f",), Intent.STORE, 3, None, None, "SHA-256"))
        sink.write(b"lo")
        self.successResultOf(sink.commit())
        self.assertEqual(self.ask(), hashlib.sha256(b"hello").hexdigest())

    def test_bounded(self) -> None:
        """No more than so many are remembered."""
        self.tree(f=b"x")
        found = (self.root / "f").stat()
        for number in range(REMEMBERED + 10):
            fields = list(found)
            fields[1] = number
            self.digests.keep(os.stat_result(fields), "MD5", "x")
        self.assertEqual(len(self.digests._known), REMEMBERED)

    def test_folders(self) -> None:
        """Neither a folder nor a link has a digest."""
        (self.root / "d").mkdir()
        os.symlink("/etc/passwd", self.root / "l")
        self.failureResultOf(self.home.digest(("d",), "MD5", 0, None), IsAFolder)
        self.failureResultOf(self.home.digest(("l",), "MD5", 0, None), Denied)

    store = Trees.store
