"""`mailftp account app-password`."""

from __future__ import annotations

import json
from typing import Any

from mailftp.accounts.app_passwords import named
from mailftp.accounts.passwords import make_scram_keys
from mailftp.cli import accounts, app_passwords
from mailftp.store.units import NoteAppPasswordUse
from tests.cli.test_accounts import CommandCase


class Commands(CommandCase):
    """Over a store in memory, in which bob is."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(app_passwords, "request", self.request)
        self.assertEqual(self.account("add", "bob")[0], 0)

    def app_password(self, *words: str) -> tuple[int, str, str]:
        return self.account("app-password", *words)

    def add(self, *words: str) -> Any:
        status, out, err = self.app_password("add", *words, "--json")
        self.assertEqual((status, err), (0, ""))
        return json.loads(out)

    def listed(self, *words: str) -> Any:
        return json.loads(self.app_password("list", *words, "--json")[1])

    def test_added(self) -> None:
        """It is printed once, and kept as a hash and SCRAM keys by the account's salt."""
        status, out, _ = self.app_password("add", "bob", "--name", "phone", "--protocols", "imap, submission")
        first, second = out.splitlines()
        self.assertEqual((status, first), (0, "added phone of bob@example.test, for imap, smtp"))
        password = second.removeprefix("password: ").encode()
        _, verifier = self.known("bob@example.test")
        kept = named(password, verifier)
        assert kept is not None
        self.assertEqual((kept.name, kept.protocols, kept.read_only), ("phone", ("imap", "smtp"), False))
        self.assertTrue(kept.verifier.password.startswith("$argon2id$"))
        self.assertEqual(
            kept.verifier.scram, make_scram_keys(password, verifier.scram.salt, verifier.scram.iterations)
        )
        self.assertNotIn(password.decode(), repr(verifier))

    def test_names(self) -> None:
        """Without a name it has the first that is free; a name that is there is refused, and so is one that a
        terminal could not show."""
        self.assertEqual([self.add("bob")["name"] for _ in range(2)], ["app 1", "app 2"])
        self.app_password("remove", "bob", "app 1")
        self.assertEqual(self.add("bob")["name"], "app 1")
        for name, said in (("app 1", "another name"), ("a\x1b[1m", "can be seen"), ("n" * 65, "64")):
            status, _, err = self.app_password("add", "bob", "--name", name)
            self.assertEqual(status, 1)
            self.assertIn(said, err)

    def test_refused(self) -> None:
        """What it cannot be for, an account that is not there, read-only for what is not FTP."""
        for words, said in (
            (("bob", "--protocols", "imap,telnet"), "telnet is nothing to log in to"),
            (("eve",), "no such account: eve@example.test"),
            (("bob", "--read-only", "--protocols", "imap"), "about FTP"),
        ):
            status, _, err = self.app_password("add", *words)
            self.assertEqual(status, 1, words)
            self.assertIn(said, err)
        self.assertEqual(self.listed(), [])

    def test_list(self) -> None:
        """Of one account or all, with last use; the password is not there."""
        self.account("add", "alice")
        made = self.add("bob", "--name", "backup", "--protocols", "ftp", "--read-only")
        self.add("alice", "--name", "tablet")
        self.assertEqual([each["name"] for each in self.listed()], ["tablet", "backup"])
        (backup,) = self.listed("bob")
        del made["password"]
        self.assertEqual(backup, made)
        self.assertEqual(
            (backup["protocols"], backup["read_only"], backup["last_used"]), (["ftp"], True, None)
        )
        _, verifier = self.known("bob@example.test")
        self.successResultOf(self.store.commit(NoteAppPasswordUse(verifier.app_passwords[0].id)))
        self.assertEqual(self.listed("bob")[0]["last_used"], 0.0)
        _, out, _ = self.app_password("list", "bob")
        self.assertIn("ftp (read-only)", out)
        self.assertNotIn("$argon2", out)
        self.assertIn("never", self.app_password("list", "alice")[1])

    def test_remove(self) -> None:
        """By name, or all; which is to be said."""
        for name in ("one", "two", "three"):
            self.add("bob", "--name", name)
        self.assertEqual(self.app_password("remove", "bob", "one")[1], "removed one of bob@example.test\n")
        status, _, err = self.app_password("remove", "bob", "one")
        self.assertEqual(status, 1)
        self.assertIn("has no app password one", err)
        self.assertEqual(self.app_password("remove", "bob")[0], 2)
        self.assertEqual(self.app_password("remove", "bob", "two", "--all")[0], 2)
        _, out, _ = self.app_password("remove", "bob", "--all")
        self.assertEqual(
            out.splitlines(), ["removed three of bob@example.test", "removed two of bob@example.test"]
        )
        self.assertEqual(self.listed(), [])

    def test_new_password_of_the_account(self) -> None:
        """It keeps the salt where there are app passwords, and only there: SCRAM goes on knowing them."""
        salts = []
        for _ in range(2):
            self.account("passwd", "bob")
            salts.append(self.known("bob@example.test")[1].scram.salt)
        self.add("bob")
        self.account("passwd", "bob")
        salts.append(self.known("bob@example.test")[1].scram.salt)
        self.assertNotEqual(salts[0], salts[1])
        self.assertEqual(salts[1], salts[2])
        self.assertEqual(len(self.listed("bob")), 1)

    def test_without_scram(self) -> None:
        """An account whose password was brought along as a hash has no salt, and so its app passwords have no
        keys."""
        hashed = {"password": "$argon2id$x", "scram": None}
        self.request(
            accounts.settings_of(str(self.config)),
            {"do": "account add", "address": "carol", "verifier": hashed},
        )
        password = self.add("carol")["password"]
        kept = named(password.encode(), self.known("carol@example.test")[1])
        assert kept is not None
        self.assertIsNone(kept.verifier.scram)
