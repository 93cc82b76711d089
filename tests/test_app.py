"""The composition root's own decisions: what a reload may change, who is let in, whose files are whose."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailftp.app import fixed
from mailftp.doors import Threshold
from mailftp.rooms import keeps_login
from mailftp.settings import Auth, Limits, Log, Quota, Settings, StoreSettings
from mailftp.setup.ownership import hand_over
from mailftp.setup.secret import read_or_make_secret


class Fixed(SynchronousTestCase):
    now = Settings(Path("/"), Path("/data"))

    def test_changes(self) -> None:
        """What can change is taken as it is wanted, without a word."""
        wanted = replace(self.now, log=Log("debug"), limits=Limits(recipients=7), quota=Quota(files=5))
        self.assertEqual(fixed(self.now, wanted), (wanted, []))

    def test_fixed(self) -> None:
        """What cannot stays as it is, and each is named."""
        wanted = replace(
            self.now,
            data=Path("/other"),
            store=StoreSettings("sqlite:x"),
            workers=3,
            quota=Quota(mail=1, messages=3, files=2),
        )
        taken, notes = fixed(self.now, wanted)
        self.assertEqual(taken, replace(self.now, quota=Quota(files=2)))
        self.assertEqual(
            [note.partition(":")[0] for note in notes],
            ["data", "store", "workers", "quota.mail", "quota.messages"],
        )

    def test_guard_is_kept(self) -> None:
        """The login guard forgets nothing when something else changes."""
        self.assertTrue(keeps_login(self.now, replace(self.now, log=Log("debug"))))
        self.assertFalse(keeps_login(self.now, replace(self.now, auth=Auth(failures_closed=9))))


class Thresholds(SynchronousTestCase):
    def factory(self, *connections: object) -> Any:
        drained: Deferred[None] = Deferred() if connections else succeed(None)
        return SimpleNamespace(
            connections=connections,
            drain=lambda seconds: drained,
            drained=drained,
            buildProtocol=lambda _: self,
        )

    def test_newest(self) -> None:
        """New connections are the newest factory's; nobody comes in before there is one."""
        threshold = Threshold("smtp")
        self.assertIsNone(threshold.buildProtocol(None))
        threshold.change(self.factory())
        newest = self.factory()
        newest.buildProtocol = lambda _: newest
        threshold.change(newest)
        self.assertIs(threshold.buildProtocol(None), newest)

    def test_drain(self) -> None:
        """Draining waits for the connections of older factories as well, and forgets those without any."""
        threshold = Threshold("smtp")
        older, empty, newest = self.factory("a connection"), self.factory(), self.factory()
        for factory in (older, empty, newest):
            threshold.change(factory)
        draining = threshold.drain(5.0)
        self.assertNoResult(draining)
        older.drained.callback(None)
        self.successResultOf(draining)


class Secret(SynchronousTestCase):
    def test_same(self) -> None:
        """It is the same at each start, and nobody else's to read."""
        data = Path(self.mktemp())
        data.mkdir(parents=True)
        made = read_or_make_secret(data)
        self.assertEqual(len(made), 32)
        self.assertEqual(read_or_make_secret(data), made)
        self.assertEqual(stat.S_IMODE((data / "secret").stat().st_mode), 0o600)

    def test_torn(self) -> None:
        """One that was cut by a power failure is made anew."""
        data = Path(self.mktemp())
        data.mkdir(parents=True)
        (data / "secret").write_bytes(b"")
        self.assertEqual(len(read_or_make_secret(data)), 32)


class Ownership(SynchronousTestCase):
    def test_hand_over(self) -> None:
        """What is root's below the data folder becomes the user's; no link is followed, no second name of a
        file is given away, and what is another's stays theirs."""
        if os.geteuid() != 0:
            self.skipTest("only root can give files away")
        user = pwd.getpwnam("nobody")
        folder = Path(tempfile.mkdtemp(prefix="mailftp-"))
        self.addCleanup(rmtree, folder)
        data = folder / "data"
        (data / "files").mkdir(parents=True)
        (data / "mail.sqlite").touch()
        outside = folder / "outside"
        outside.touch()
        (data / "link").symlink_to(outside)
        os.link(outside, data / "second")
        (data / "another").touch()
        os.chown(data / "another", 1, 1)
        hand_over(Settings(folder, data), user.pw_uid, user.pw_gid)
        names = ("data/files", "data/mail.sqlite", "data")
        owners = {name: os.lstat(folder / name).st_uid for name in names}
        self.assertEqual(set(owners.values()), {user.pw_uid}, owners)
        self.assertEqual(outside.stat().st_uid, 0)
        self.assertEqual((data / "another").stat().st_uid, 1)
