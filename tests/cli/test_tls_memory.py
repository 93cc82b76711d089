"""`mailftp tls`."""

from __future__ import annotations

import json

from mailftp.cli import tls as tls_command
from mailftp.store.units import RememberTLS
from tests.cli.test_accounts import CommandCase, call


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
