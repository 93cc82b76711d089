"""`mailftp account`."""

from __future__ import annotations

import io
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.passwords import generate_password
from mailftp.cli import accounts
from mailftp.cli.exits import CommandFailed
from mailftp.operation.admin import Refused, perform
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.quota import UNLIMITED
from mailftp.wire.journal import Journal
from tests.cli.test_folders import call

CHEAP = "[auth]\nargon2 = { time_cost = 1, memory_cost = 8 }\n"


class CommandCase(SynchronousTestCase):
    """The commands over a store in memory."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = self.folder / "mailftp.toml"
        self.config.write_text(CHEAP)
        self.store = MemoryStore(Clock().seconds)
        self.successResultOf(self.store.start())
        self.patch(accounts, "request", self.request)

    def request(self, settings: Settings, members: dict[str, object]) -> Any:
        doing = Deferred.fromCoroutine(perform(self.store, settings, members, Journal("test")))
        answer = self.successResultOf(doing.addErrback(lambda failure: failure.value))
        if isinstance(answer, Refused):
            raise CommandFailed(str(answer))
        return answer

    def account(self, *arguments: str, **more: Any) -> tuple[int, str, str]:
        return call("account", *arguments, "--config", str(self.config))

    def known(self, address: str) -> Any:
        return self.successResultOf(self.store.read(AccountWithVerifier(address)))


class Commands(CommandCase):
    """What reaches the store, what is printed, how it ends."""

    def test_made_password(self) -> None:
        """Without a password file one is made and printed once."""
        status, out, err = self.account("add", "bob@example.test")
        self.assertEqual((status, err), (0, ""))
        password = out.splitlines()[1].removeprefix("password: ")
        self.assertEqual(len(password), len(generate_password()))
        self.assertNotIn(password, repr(self.known("bob@example.test")))

    def test_password_file(self) -> None:
        """The first line of a file is the password, and it is not printed."""
        file = self.folder / "password"
        file.write_bytes("gar kein Gehéimnis\r\nsecond line\n".encode())
        status, out, _ = self.account("add", "bob", "--password-file", str(file))
        self.assertEqual((status, out), (0, "added bob@example.test\n"))

    def test_standard_input(self) -> None:
        """- is standard input."""
        self.account("add", "bob")
        before = self.known("bob@example.test")[1]
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a new password\n")))
        status, out, _ = self.account("passwd", "bob", "--password-file", "-")
        self.assertEqual((status, out), (0, "changed the password of bob@example.test\n"))
        self.assertNotEqual(self.known("bob@example.test")[1], before)

    def test_bad_passwords(self) -> None:
        """What cannot be a password, or cannot be read, is said, and no account is made."""
        file = self.folder / "password"
        for octets in (b"\n", b"\xff\n", b"a\0b\n"):
            file.write_bytes(octets)
            status, out, err = self.account("add", "bob", "--password-file", str(file))
            self.assertEqual((status, out), (1, ""), octets)
            self.assertIn("password", err)
        self.assertEqual(self.account("add", "bob", "--password-file", "/nowhere")[0], 1)
        self.assertIsNone(self.known("bob@example.test"))

    def test_list(self) -> None:
        """A table for people and JSON for machines."""
        self.account("add", "bob")
        self.account("set", "bob", "--mail-quota", "2GB", "--files-quota", "unlimited", "--disable")
        self.account("set", "bob", "--message-quota", "12")
        status, out, _ = self.account("list")
        self.assertEqual(status, 0)
        self.assertRegex(
            out.splitlines()[1], r"\Abob@example.test +disabled +0 +0 B +2.0 GB +12 +unlimited +"
        )
        listed = json.loads(self.account("list", "--json")[1])
        self.assertEqual(listed[0]["message_quota"], 12)
        self.assertEqual((listed[0]["mail_quota"], listed[0]["disabled"]), (2 * 10**9, True))

    def test_set(self) -> None:
        """A quota of its own can be taken back; what is misspelt is misuse."""
        self.account("add", "bob")
        self.account("set", "bob", "--mail-quota", "5MB")
        self.account("set", "bob", "--mail-quota", "default", "--enable")
        self.assertIsNone(self.known("bob@example.test")[0].mail_quota)
        for given, kept in (("0", 0), ("12", 12), ("unlimited", UNLIMITED), ("default", None)):
            self.account("set", "bob", "--message-quota", given)
            self.assertEqual(self.known("bob@example.test")[0].message_quota, kept)
        self.account(
            "set", "bob", "--daily-messages", "5", "--daily-new-recipients", "unlimited", "--file-sent"
        )
        account = self.known("bob@example.test")[0]
        self.assertEqual((account.daily_messages, account.daily_new_recipients), (5, 0))
        self.assertTrue(account.file_sent)
        self.account("set", "bob", "--daily-messages", "default", "--no-file-sent")
        account = self.known("bob@example.test")[0]
        self.assertEqual((account.daily_messages, account.file_sent), (None, False))
        for more in (
            ["--mail-quota", "much"], ["--message-quota", "5MB"], ["--message-quota", "-1"],
            [], ["--enable", "--disable"], ["--daily-messages", "0"],
            ["--daily-new-recipients", "-1"], ["--file-sent", "--no-file-sent"],
        ):  # fmt: skip
            self.assertEqual(self.account("set", "bob", *more)[0], 2, more)

    def test_remove(self) -> None:
        """Its files are set aside: a later account of that name does not have them."""
        self.account("add", "bob")
        home = self.folder / "data" / "files" / "example.test" / "bob"
        home.mkdir(parents=True)
        (home / "letter").write_text("private")
        status, out, _ = self.account("remove", "bob")
        self.assertEqual(status, 0)
        self.assertFalse(home.exists())
        aside = Path(out.splitlines()[1].removeprefix("its files are in "))
        self.assertEqual((aside / "letter").read_text(), "private")
        self.assertEqual(self.account("remove", "bob")[0], 1)

    def test_bad_settings(self) -> None:
        """A fault of the settings is said in their own words."""
        self.config.write_text("hostnam = 'x'")
        status, _, err = self.account("list")
        self.assertEqual(status, 1)
        self.assertIn("hostname", err)


class Stopped(SynchronousTestCase):
    """The real command on the store of a server that does not run."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        (self.folder / "mailftp.toml").write_text(CHEAP)

    def mailftp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).parents[2]
        return subprocess.run(
            [sys.executable, "-m", "mailftp", *arguments, "--config", str(self.folder / "mailftp.toml")],
            env={**os.environ, "PYTHONPATH": str(root)},
            input="a good password\n",
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_store(self) -> None:
        """What one command keeps the next one finds."""
        added = self.mailftp("account", "add", "bob", "--password-file", "-")
        self.assertEqual((added.returncode, added.stderr), (0, ""))
        listed = self.mailftp("account", "list", "--json")
        self.assertEqual([account["address"] for account in json.loads(listed.stdout)], ["bob@example.test"])
        again = self.mailftp("account", "add", "bob", "--password-file", "-")
        self.assertEqual((again.returncode, again.stdout), (1, ""))
        self.assertEqual(self.mailftp("queue", "list", "--json").stdout, "[]\n")

    def test_owner(self) -> None:
        """Root works as the owner of the data folder: everything in it stays the owner's."""
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")
        nobody = pwd.getpwnam("nobody")
        data = Path(f"/tmp/mailftp-owner-{os.getpid()}")
        data.mkdir(0o700)
        self.addCleanup(subprocess.run, ["rm", "-rf", str(data)])
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        (self.folder / "mailftp.toml").write_text(f'data = "{data}"\n{CHEAP}')
        added = self.mailftp("account", "add", "bob", "--password-file", "-")
        self.assertEqual((added.returncode, added.stderr), (0, ""))
        owners = {path.stat().st_uid for path in data.rglob("*")}
        self.assertEqual(owners, {nobody.pw_uid})
