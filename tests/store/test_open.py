"""The store that the settings name, its lock, and whose files they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailftp.settings import Quota, Settings, StoreSettings
from mailftp.store import owner
from mailftp.store.engine import StoreFault
from mailftp.store.lock import acquire
from mailftp.store.memory import MemoryStore
from mailftp.store.open import StoreService, open_store
from mailftp.store.queries import Accounts
from mailftp.store.sqlite import SQLiteStore


class Opening(TestCase):
    def setUp(self):
        self.data = Path(self.mktemp())
        self.data.mkdir(parents=True)

    def settings(self, url="sqlite:mail.sqlite", blobs="file:blobs"):
        return Settings(
            folder=self.data, data=self.data, store=StoreSettings(url, blobs), quota=Quota(mail=9)
        )

    def test_engines(self):
        """The scheme chooses the engine."""
        self.assertIsInstance(open_store(self.settings(), reactor), SQLiteStore)
        self.assertIsInstance(open_store(self.settings("memory:"), reactor), MemoryStore)

    def test_refusals(self):
        """An address of no engine is refused, naming the key."""
        for url in ("postgresql://db/mail", "postgres:x", "mysql:x", "sqlite:", "mail.sqlite", ""):
            fault = self.assertRaises(StoreFault, open_store, self.settings(url), reactor)
            self.assertIn("store.url", str(fault))
        fault = self.assertRaises(StoreFault, open_store, self.settings(blobs="s3:x"), reactor)
        self.assertIn("store.blobs", str(fault))

    async def test_service(self):
        """The service opens the store under the data folder when it starts, and closes it when it stops."""
        service = StoreService(open_store(self.settings(), reactor))
        service.startService()
        await service.started
        await service.store.read(Accounts())
        self.assertTrue((self.data / "mail.sqlite").exists())
        self.assertTrue((self.data / "blobs" / "tmp").is_dir())
        self.assertEqual((self.data / "blobs").stat().st_mode & 0o777, 0o700)
        await service.stopService()
        self.assertEqual(sorted(p.name for p in self.data.iterdir()), ["blobs", "mail.sqlite"])


class Locking(TestCase):
    def setUp(self):
        self.data = Path(self.mktemp())
        self.data.mkdir(parents=True)

    def test_one_holder(self):
        """A second holder is refused with the first one's process id, until it lets go."""
        with acquire(self.data) as lock:
            fault = self.assertRaises(StoreFault, acquire, self.data)
            self.assertIn(f"pid {os.getpid()}", str(fault))
            lock.release()
            lock.release()
            acquire(self.data).release()
        self.assertEqual((self.data / "lock").stat().st_mode & 0o777, 0o600)

    def test_dead_holder(self):
        """A process that ended without letting go holds nothing."""
        script = "import sys, os; from pathlib import Path; from mailftp.store.lock import acquire;"
        script += "acquire(Path(sys.argv[1])); os._exit(9)"
        root = Path(owner.__file__).parents[2]
        ended = subprocess.run(
            [sys.executable, "-c", script, str(self.data)],
            env={**os.environ, "PYTHONPATH": str(root)},
            check=False,
        )
        self.assertEqual(ended.returncode, 9)
        acquire(self.data).release()

    def test_no_folder(self):
        """A data folder that is not there is told by name."""
        fault = self.assertRaises(StoreFault, acquire, self.data / "no")
        self.assertIn("no/lock", str(fault))

    def test_link_is_not_followed(self):
        """A lock that is a symbolic link is refused: root must not open what a user points it at."""
        (self.data / "lock").symlink_to(self.data / "elsewhere")
        self.assertRaises(StoreFault, acquire, self.data)
        self.assertFalse((self.data / "elsewhere").exists())


class Owners(TestCase):
    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.given = []
        self.patch(owner.os, "chown", lambda made, uid, gid: self.given.append((made, uid, gid)))

    def owned_by(self, uid, gid):
        stat = os.stat(self.folder)
        fields = list(stat)
        fields[4:6] = uid, gid
        self.patch(owner.os, "stat", lambda path: os.stat_result(fields))

    def test_root_gives_away(self):
        """What root makes belongs to the folder's owner."""
        self.patch(owner.os, "geteuid", lambda: 0)
        self.owned_by(1000, 1001)
        owner.make_folder(self.folder / "new")
        owner.give_to_owner(7, self.folder)
        self.assertEqual(self.given, [(self.folder / "new", 1000, 1001), (7, 1000, 1001)])

    def test_a_folder_that_is_there_stays(self):
        """A folder that was there keeps its owner."""
        self.patch(owner.os, "geteuid", lambda: 0)
        self.owned_by(1000, 1000)
        owner.make_folder(self.folder)
        self.assertEqual(self.given, [])

    def test_nobody_else_gives_away(self):
        """Only root can give a file away, and in root's own folder there is no need."""
        self.owned_by(1000, 1000)
        self.patch(owner.os, "geteuid", lambda: 1000)
        owner.give_to_owner(7, self.folder)
        self.patch(owner.os, "geteuid", lambda: 0)
        self.owned_by(0, 0)
        owner.give_to_owner(7, self.folder)
        self.assertEqual(self.given, [])
