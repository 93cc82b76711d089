"""`mailftp alias`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import aliases
from mailftp.cli.exits import CommandFailed
from mailftp.operation.admin import Refused, perform
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import Aliases, Grants
from mailftp.store.records import Alias, Grant, Verifier
from mailftp.store.units import AddAccount
from mailftp.wire.journal import Journal
from tests.cli.test_folders import call

ALICE, BOB, INFO = "alice@example.test", "bob@example.test", "info@example.test"


class Commands(SynchronousTestCase):
    """The commands over a store in memory: what reaches it, what is printed, how it ends."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.config = folder / "mailftp.toml"
        self.config.write_text('domains = ["example.test", "second.test"]\n')
        self.store = MemoryStore(Clock().seconds)
        self.successResultOf(self.store.start())
        for address in (ALICE, BOB):
            self.successResultOf(self.store.commit(AddAccount(address, Verifier("$argon2id$"))))
        self.patch(aliases, "request", self.request)

    def request(self, settings: Settings, members: dict[str, object]) -> Any:
        doing = Deferred.fromCoroutine(perform(self.store, settings, members, Journal("test")))
        answer = self.successResultOf(doing.addErrback(lambda failure: failure.value))
        if isinstance(answer, Refused):
            raise CommandFailed(str(answer))
        return answer

    def alias(self, *arguments: str) -> str:
        """What was printed."""
        status, out, err = call("alias", *arguments, "--config", str(self.config))
        self.assertEqual((status, err), (0, ""))
        return out

    def refused(self, *arguments: str, status: int = 1) -> str:
        """What was said, after which nothing has changed."""
        before = self.there()
        ended, out, err = call("alias", *arguments, "--config", str(self.config))
        self.assertEqual((ended, out), (status, ""))
        self.assertEqual(self.there(), before)
        return err

    def there(self) -> tuple[Alias, ...]:
        return self.successResultOf(self.store.read(Aliases()))

    def test_add(self) -> None:
        """Targets are kept as addresses are; more are added to those that there are."""
        out = self.alias("add", "Info@Example.test", "Bob@EXAMPLE.test", "<Some.One@Far.test>")
        self.assertEqual(out, "info@example.test leads to Some.One@far.test, bob@example.test\n")
        self.alias("add", INFO, ALICE)
        self.assertEqual(self.there(), (Alias(INFO, ("Some.One@far.test", ALICE, BOB)),))

    def test_forward(self) -> None:
        """With a copy, and without it later."""
        out = self.alias("add", BOB, "x@far.test", "--keep")
        self.assertEqual(out, "bob@example.test leads to itself, x@far.test\n")
        self.alias("set", BOB, "--no-keep")
        self.assertEqual(self.there(), (Alias(BOB, ("x@far.test",)),))
        self.assertIn("no account", self.refused("add", INFO, BOB, "--keep"))

    def test_list_of_members(self) -> None:
        """A list has an owner; it can be closed and opened."""
        self.alias("add", "team@example.test", ALICE, "x@far.test", "--owner", BOB, "--members-only")
        made = Alias("team@example.test", (ALICE, "x@far.test"), False, BOB, True)
        self.assertEqual(self.there(), (made,))
        self.alias("set", "team@example.test", "--anyone", "--no-owner")
        self.assertEqual(self.there(), (Alias("team@example.test", made.targets),))
        self.assertIn("nobody here", self.refused("set", "team@example.test", "--owner", INFO))

    def test_whole_domains(self) -> None:
        """A catch-all, and a domain that is another's."""
        self.alias("add", "@example.test", BOB)
        self.alias("add", "@Second.test", "@example.test")
        self.assertEqual([a.targets for a in self.there()], [(BOB,), ("@example.test",)])
        self.assertIn("`domains`", self.refused("add", "@far.test", BOB))
        for arguments in (
            ("@second.test", BOB),
            (INFO, "@second.test"),
            ("@example.test", "@far.test"),
            ("@example.test", "@a@b"),
        ):
            self.refused("add", *arguments)

    def test_refused(self) -> None:
        """What mail could not follow is refused, and said."""
        for text, *arguments in (
            ("nobody here", INFO, "nobody@example.test"),
            ("nobody here", INFO, INFO),
            ("none of this server's domains", "info@far.test", BOB),
            ("no mail address", INFO, "a b@far.test"),
            ("no mail address", "info@", BOB),
        ):
            self.assertIn(text, self.refused("add", *arguments))
        self.assertIn("say where", self.refused("add", INFO, status=2))
        for arguments in (("set", INFO), ("set", INFO, "--keep", "--no-keep"), ("grant", INFO)):
            self.refused(*arguments, status=2)
        self.assertIn("no such alias", self.refused("set", INFO, "--anyone"))

    def test_round(self) -> None:
        """What would go round is shown with its way."""
        self.alias("add", "a@example.test", BOB)
        self.alias("add", "b@example.test", "a@example.test")
        err = self.refused("add", "a@example.test", ALICE, "b@example.test")
        self.assertIn("a@example.test -> b@example.test -> a@example.test", err)
        self.alias("add", BOB, "x@far.test")
        self.assertIn("go round", self.refused("add", BOB, "b@example.test"))

    def test_too_many_in_a_row(self) -> None:
        """Ten aliases, and no more."""
        self.alias("add", "a0@example.test", BOB)
        for number in range(9):
            self.alias("add", f"a{number + 1}@example.test", f"a{number}@example.test")
        self.assertIn("in a row", self.refused("add", "b@example.test", "a9@example.test"))

    def test_remove(self) -> None:
        """A target, and the whole."""
        self.alias("add", INFO, ALICE, BOB)
        self.assertEqual(
            self.alias("remove", INFO, BOB), "info@example.test no longer leads to bob@example.test\n"
        )
        self.assertIn("does not lead to", self.refused("remove", INFO, BOB))
        self.assertEqual(
            self.alias("remove", "Info@example.test"),
            "info@example.test no longer leads to alice@example.test\n",
        )
        self.assertIn("no such alias", self.refused("remove", INFO))

    def test_grants(self) -> None:
        """Given and taken back."""
        self.assertEqual(self.alias("grant", INFO, BOB), "bob@example.test may send as info@example.test\n")
        self.alias("grant", "@Far.test", BOB)
        there = self.successResultOf(self.store.read(Grants()))
        self.assertEqual(there, (Grant("@far.test", BOB), Grant(INFO, BOB)))
        self.alias("revoke", INFO, BOB)
        self.assertIn("was not granted", self.refused("revoke", INFO, BOB))
        self.assertIn("no such account", self.refused("grant", INFO, "carol@example.test"))

    def test_list(self) -> None:
        """A table for people, JSON for machines."""
        self.alias("add", INFO, ALICE, "x@far.test")
        self.alias("add", BOB, "bob@far.test", "--keep")
        self.alias("add", "@second.test", "@example.test")
        self.alias("add", "team@example.test", BOB, "--owner", ALICE, "--members-only")
        self.alias("grant", INFO, BOB)
        lines = self.alias("list").splitlines()
        for line, pattern in zip(
            lines,
            (
                r"address +kind +leads to",
                r"@second\.test +domain +@example\.test",
                r"bob@example\.test +forward +itself, bob@far\.test",
                r"info@example\.test +alias +alice@example\.test, x@far\.test",
                r"team@example\.test +list +bob@example\.test +owner alice@example\.test, members only",
                r"",
                r"account +may send as",
                r"bob@example\.test +info@example\.test",
            ),
            strict=True,
        ):
            self.assertRegex(line, rf"\A{pattern}\Z")
        listed = json.loads(self.alias("list", "--json"))
        self.assertEqual(listed["aliases"][1]["keep"], True)
        self.assertEqual(listed["grants"], [{"address": INFO, "account": BOB}])
