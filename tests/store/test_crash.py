"""kill -9 in the middle of accepting: nothing acknowledged is missing or torn."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

import mailftp
from mailftp.store.queries import Bodies, MailboxSince, MailUsage, OpenBody
from mailftp.store.sqlite import SQLiteStore

#: Seeds, so that a round that fails can be run again.
SEEDS = ("1", "2", "3")


class Crash(TestCase):
    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def accept_and_kill(self, seed: str) -> tuple[int, list[tuple[int, int, str]]]:
        """The account's id, and the ledger up to the kill, which comes after a seeded number of lines."""
        root = Path(mailftp.__file__).parent.parent
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.store.crashing_writer", str(self.folder), seed],
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            text=True,
        )
        with child:
            account_id = int(child.stdout.readline())
            lines = [child.stdout.readline() for _ in range(random.Random(seed).randrange(40, 160))]
            child.send_signal(signal.SIGKILL)
            # What it had said before it died counts as well.
            lines += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        ledger = [line.split() for line in lines]
        return account_id, [(int(uid), int(size), digest) for uid, size, digest in ledger]

    async def test_nothing_acknowledged_is_lost(self):
        """After each of three kills the store opens, is sound, and holds every message of the ledgers
        whole, under the UID that was answered, with exact usage; what was staged is cleaned away."""
        ledgers = {}
        for seed in SEEDS:
            account_id, ledger = self.accept_and_kill(seed)
            self.assertGreaterEqual(len(ledger), 40)
            ledgers[account_id] = ledger
        store = SQLiteStore(self.folder / "mail.sqlite", self.folder / "blobs", reactor, reactor)
        await store.start()
        self.addCleanup(store.stop)
        for account_id, ledger in ledgers.items():
            state = await store.read(MailboxSince(account_id))
            by_uid = {m.uid: m for m in state.messages}
            self.assertEqual(list(by_uid), list(range(1, state.mailbox.uidnext)))
            for uid, size, digest in ledger:
                body = by_uid[uid].body
                self.assertEqual((uid, body.size), (uid, size))
                self.assertEqual(sha256(await self.content(store, body)).hexdigest(), digest)
            for extra in by_uid.keys() - {uid for uid, _, _ in ledger}:
                self.assertEqual(len(await self.content(store, by_uid[extra].body)), by_uid[extra].body.size)
            usage = (sum(m.size for m in state.messages), len(by_uid))
            self.assertEqual(await store.read(MailUsage(account_id)), usage)
        self.assertEqual(list((self.folder / "blobs" / "tmp").iterdir()), [])
        self.check_database()

    async def content(self, store, body) -> bytes:
        if not body.large:
            return (await store.read(Bodies((body,))))[0]
        with open(await store.read(OpenBody(body)), "rb") as file:
            return file.read()

    def check_database(self):
        connection = sqlite3.connect(self.folder / "mail.sqlite")
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
        self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
