"""`mailftp tls`."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import tls as tls_command
from mailftp.store.units import RememberTLS
from tests.cli.test_accounts import CommandCase, call
from tests.serving import Serving, mailftp, settings_text


class Commands(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(tls_command, "request", self.request)
        self.successResultOf(self.store.commit(RememberTLS("b.test", "mx.b.test", 86400.0)))

    def ran(self, *words: str) -> tuple[int, str, str]:
        return call("tls", *words, "--config", str(self.config))

    def test_listed(self) -> None:
        status, out, _ = self.ran("list")
        head, row = out.splitlines()
        self.assertEqual((status, head.split()), (0, ["domain", "since", "until", "host"]))
        self.assertTrue(row.startswith("b.test "))
        self.assertEqual(row.split()[-2:], ["off", "mx.b.test"])
        (listed,) = json.loads(self.ran("list", "--json")[1])
        self.assertEqual((listed["domain"], listed["host"], listed["until"]), ("b.test", "mx.b.test", None))

    def test_forgotten(self) -> None:
        self.assertEqual(
            self.ran("forget", "B.test")[:2], (0, "mail for b.test may leave without STARTTLS\n")
        )
        self.assertEqual(json.loads(self.ran("list", "--json")[1]), [])
        status, _, err = self.ran("forget", "b.test")
        self.assertEqual(status, 1)
        self.assertIn("of b.test no STARTTLS is remembered; `mailftp tls list` shows of whom it is", err)
        self.assertEqual(self.ran()[0], 2)

    def test_forgotten_as_json(self) -> None:
        status, out, _ = self.ran("forget", "b.test", "--json")
        self.assertEqual((status, json.loads(out)["domain"]), (0, "b.test"))


class Both(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = self.folder / "mailftp.toml"
        delivery = '[delivery]\ntls_memory = "2d"'
        self.config.write_text('domains = ["a.test"]\n' + settings_text(services=("smtp",), more=delivery))

    def ran(self, *words: str):
        done = mailftp("tls", *words, "--json", "--config", str(self.config))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def test_stopped_and_running(self) -> None:
        """On the store of a server that is stopped, and by the server that runs."""
        self.assertEqual(self.ran("list"), [])
        with closing(sqlite3.connect(self.folder / "data" / "mail.sqlite")) as store, store:
            rows = [("b.test", "mx.b.test", 1e9), ("c.test", "mx.c.test", 1e9)]
            store.executemany("INSERT INTO tls_memories VALUES (?, ?, ?)", rows)
        listed = self.ran("list")
        self.assertEqual([each["domain"] for each in listed], ["b.test", "c.test"])
        self.assertEqual(listed[0]["until"], 1e9 + 2 * 86400)
        self.assertEqual(self.ran("forget", "b.test"), listed[0])
        serving = Serving("mailftp", "--config", str(self.config), folder=self.folder)
        self.addCleanup(serving.stop)
        serving.ports()
        self.assertEqual(self.ran("list"), listed[1:])
        self.assertEqual(self.ran("forget", "c.test"), listed[1])
        serving.wait_for(r"tls forget domain=c\.test")
        self.assertEqual(self.ran("list"), [])
