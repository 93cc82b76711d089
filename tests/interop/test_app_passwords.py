"""App passwords on a running server, used by curl and lftp; made, listed and removed by the command."""

from __future__ import annotations

import ftplib
import imaplib
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import RunningServer, program, run


class AppPasswordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "a.test")
        self.server.add_account("alice", "wonderland")

    def command(self, *words: str) -> Any:
        done = self.server.cli("account", "app-password", *words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def curl(self, url: str, password: str, *more: str) -> tuple[int, bytes]:
        curl = program("curl", "curl")
        user = f"alice@a.test:{password}"
        done = run(curl, "-sS", "--cacert", self.server.ca, "--max-time", "50", "-u", user, *more, url)
        return done.returncode, done.stdout

    def lftp(self, password: str, commands: str) -> Any:
        settings = "set net:max-retries 1; set net:timeout 30; set cmd:fail-exit yes"
        where = f"ftp://127.0.0.1:{self.server.ports['ftp']}"
        script = (
            f"{settings}; set ssl:verify-certificate no; open -u alice@a.test,{password} {where}; {commands}"
        )
        return run(program("lftp", "lftp"), "-c", script)

    def test_app_passwords(self) -> None:
        """One made on the stopped server and one on the running one open what they are for; what was removed
        opens nothing, and its session ends while another goes on."""
        phone = self.command("add", "alice", "--name", "phone", "--protocols", "imap")["password"]
        self.server.start()
        backup = self.command("add", "alice", "--name", "backup", "--protocols", "ftp", "--read-only")[
            "password"
        ]
        imap = f"imap://127.0.0.1:{self.server.ports['imap']}/INBOX"
        self.assertEqual(self.curl(imap, phone)[0], 0)
        # 67: CURLE_LOGIN_DENIED.
        self.assertEqual(self.curl(imap, backup)[0], 67)
        self.server.wait_for(
            "login refused", app_password="backup", reason="app password of another protocol"
        )
        source = self.server.folder / "source"
        source.write_bytes(b"kept")
        put = self.lftp("wonderland", f"put {source} -o kept")
        self.assertEqual(put.returncode, 0, put.stderr)
        self.assertEqual(self.lftp(backup, "cat kept").stdout, b"kept")
        for words in (f"put {source} -o new", "rm kept", "mv kept moved", "mkdir d", "chmod 600 kept"):
            done = self.lftp(backup, words)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(b"550", done.stderr, words)
        self.assertEqual(self.lftp("wonderland", "cls -1").stdout, b"kept\n")
        listed = {each["name"]: each for each in self.command("list", "alice")}
        self.assertEqual((listed["backup"]["read_only"], listed["phone"]["protocols"]), (True, ["imap"]))
        self.assertTrue(all(each["last_used"] is not None for each in listed.values()))

        reader = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"], timeout=60)
        self.addCleanup(reader.shutdown)
        reader.login("alice", phone)
        files = ftplib.FTP()
        self.addCleanup(files.close)
        files.connect("127.0.0.1", self.server.ports["ftp"], timeout=60)
        files.login("alice", backup)
        self.assertEqual([each["name"] for each in self.command("remove", "alice", "phone")], ["phone"])
        self.server.wait_for("session ended", name="alice@a.test")
        with self.assertRaises((imaplib.IMAP4.abort, OSError)):
            for _ in range(100):
                reader.noop()
        self.assertEqual(files.nlst(), ["kept"])
        self.assertEqual(self.curl(imap, phone)[0], 67)
