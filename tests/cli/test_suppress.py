"""`mailftp suppress`."""

from __future__ import annotations

import json

from mailftp.cli import suppress as suppress_command
from mailftp.store.units import NoteRefusedAddress
from tests.cli.test_accounts import CommandCase, call


class Commands(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(suppress_command, "request", self.request)

    def ran(self, *words: str) -> tuple[int, str, str]:
        return call("suppress", *words, "--config", str(self.config))

    def test_listed(self) -> None:
        self.successResultOf(self.store.commit(NoteRefusedAddress("x@b.test", "550 5.1.1 gone", 1, 86400.0)))
        self.assertEqual(
            self.ran("add", "Y@B.test", "--reason", "asked us")[:2], (0, "y@b.test is suppressed\n")
        )
        status, out, _ = self.ran("list")
        head, first, second = out.splitlines()
        self.assertEqual((status, head.split()), (0, ["address", "since", "until", "failures", "reason"]))
        self.assertTrue(first.startswith("x@b.test "))
        self.assertTrue(first.endswith("550 5.1.1 gone"))
        self.assertIn("removed", second)
        listed = json.loads(self.ran("list", "--json")[1])
        self.assertEqual([each["address"] for each in listed], ["x@b.test", "y@b.test"])
        self.assertEqual([each["failures"] for each in listed], [1, 0])
        self.assertEqual((listed[0]["until"] - listed[0]["since"], listed[1]["until"]), (86400.0, None))

    def test_removed(self) -> None:
        self.ran("add", "x@b.test")
        status, out, _ = self.ran("remove", "x@b.test", "--json")
        self.assertEqual((status, json.loads(out)["address"]), (0, "x@b.test"))
        self.assertEqual(json.loads(self.ran("list", "--json")[1]), [])
        status, _, err = self.ran("remove", "x@b.test")
        self.assertEqual(status, 1)
        self.assertIn("x@b.test is not suppressed; `mailftp suppress list` shows who is", err)

    def test_refused(self) -> None:
        """What SMTP could not say is no reason."""
        for reason in ("r" * 201, "two\nlines", "grün"):
            status, _, err = self.ran("add", "x@b.test", "--reason", reason)
            self.assertEqual(status, 1)
            self.assertIn("one line of ASCII", err)
        self.assertEqual(self.ran()[0], 2)
