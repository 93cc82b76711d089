"""Accounts: whom a stranger can tell apart, what a neighbour reaches, what a successor inherits."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.raw import QUICK, Raw, ftp, passive, retrieve, store
from tests.interop.running import RunningServer

#: Ways out of a home, for every command that takes a path.
WAYS_OUT = (
    "../bob/secret", "../../b.test/bob/secret", "/../bob/secret", "/../../../../etc/passwd",
    "..\\bob\\secret",
    "..%2fbob%2fsecret", "%2e%2e/bob/secret", "..%c0%afbob/secret", "....//bob/secret", "~bob/secret",
    "./../bob/secret",
    "d/../../bob/secret", "link/secret", "link", "d\x00/../../bob/secret", "+AC4-./bob/secret",
)  # fmt: skip


class AccountTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "a.test", settings=QUICK)
        for name in ("alice", "bob"):
            self.server.add_account(name, "hungry")
        self.server.start()

    def home(self, name: str) -> Path:
        return self.server.folder / "data" / "files" / "a.test" / name

    def test_enumeration(self) -> None:
        """A name that exists and one that does not get the same answers at every login."""
        dialogues = (("pop3", ("USER {}", "PASS wrong")), ("ftp", ("USER {}", "PASS wrong")))
        for service, words in dialogues:
            answers = []
            for name in ("alice", "nobody", "alice@a.test", "alice@elsewhere.test"):
                with Raw(self.server.ports[service]) as client:
                    client.reply()
                    answers.append([client.ask(word.format(name)) for word in words])
            self.assertEqual(answers, answers[:1] * 4)
        with Raw(self.server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO x", "250")
            self.assertEqual(client.ask("VRFY alice"), client.ask("VRFY nobody"))

    def test_neighbours_files(self) -> None:
        """No path leads out of a home, over a real connection, for any command; nor does a link, also one
        that takes the place of a folder again and again while files are read and written."""
        with ftp(self.server.ports["ftp"], "bob", "hungry") as client:
            self.assertTrue(store(client, "STOR secret", b"bob's").startswith(b"226"))
        with ftp(self.server.ports["ftp"], "alice", "hungry") as client:
            client.ask("MKD d", "257")
            os.symlink(self.home("bob"), self.home("alice") / "link")
            before = sorted(path.name for path in self.home("bob").iterdir())
            for path in WAYS_OUT:
                for command in ("RETR", "LIST", "NLST", "MLSD"):
                    _, octets = retrieve(client, f"{command} {path}")
                    self.assertNotIn(b"bob's", octets)
                    self.assertNotIn(b"root:", octets)
                    self.assertFalse(octets.strip().endswith(b"secret") and "link" in path, (command, path))
                for command in ("STOR", "APPE"):
                    store(client, f"{command} {path}", b"alice's")
                for command in ("DELE", "RMD", "MKD", "CWD", "SIZE", "MDTM", "MLST", "RNFR"):
                    reply = client.ask(f"{command} {path}")
                    if command == "CWD":
                        client.ask("CWD /", "250")
                    self.assertNotRegex(reply, rb"bob's|root:")
                client.ask(f"RNTO {path}")
            self.assertEqual(sorted(path.name for path in self.home("bob").iterdir()), before)
            self.assertEqual((self.home("bob") / "secret").read_bytes(), b"bob's")

    def test_neighbours_connection(self) -> None:
        """A server is not sent to somebody else (PORT bounce), and a passive port is the client's alone."""
        with ftp(self.server.ports["ftp"], "alice", "hungry") as client:
            for command in (
                "PORT 127,0,0,2,200,10", "PORT 127,0,0,1,0,25", "PORT 127,0,0,1,0,0", "PORT 256,0,0,1,200,10",
                "PORT 127,0,0,1,999,1", "PORT 0127,0,0,1,200,10", "EPRT |1|127.0.0.2|60000|",
                "EPRT |1|127.0.0.1|25|",
                "EPRT |2|::ffff:127.0.0.2|60000|", "EPRT |1|127.0.0.1|65536|",
            ):  # fmt: skip
                self.assertRegex(client.ask(command), rb"\A5", command)
            self.assertTrue(store(client, "STOR file", b"alice's").startswith(b"226"))
            port = int(client.ask("EPSV", "229").split(b"|")[3])
            with Raw(port, source="127.0.0.3") as thief:
                client.send(b"RETR file\r\n")
                self.assertEqual(thief.rest(), b"")
            with Raw(port) as data:
                client.reply()
                self.assertEqual(data.rest(), b"alice's")
                client.reply()

    def test_successor(self) -> None:
        """An account that is removed and made again has none of the mail, the files and the sessions of the
        one before; its messages have other names."""
        with Raw(self.server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO x", "250")
            names = []
            for _ in range(2):
                client.ask("MAIL FROM:<x@far.test>", "250")
                client.ask("RCPT TO:<bob@a.test>", "250")
                client.ask("DATA", "354")
                client.ask("Subject: x\r\n\r\nx\r\n.", "250")
                with Raw(self.server.ports["pop3"]) as pop:
                    pop.reply()
                    pop.ask("USER bob", "+OK")
                    pop.ask("PASS hungry", "+OK")
                    self.assertEqual(pop.ask("STAT").split()[1], b"1")
                    names.append(pop.ask("UIDL 1", "+OK"))
                    pop.ask("QUIT", "+OK")
                if len(names) == 2:
                    break
                session = ftp(self.server.ports["ftp"], "bob", "hungry")
                self.assertTrue(store(session, "STOR old", b"old").startswith(b"226"))
                upload = passive(session)
                session.ask("STOR later", "1")
                upload.send(b"of the removed one")
                done = self.server.cli("account", "remove", "bob@a.test")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(b"its files are in", done.stdout)
                upload.close()
                session.rest()
                session.close()
                self.server.add_account("bob", "hungry")
        self.assertNotEqual(*names)
        with ftp(self.server.ports["ftp"], "bob", "hungry") as client:
            self.assertEqual(retrieve(client, "NLST")[1], b"")
            self.assertRegex(client.ask("SIZE later"), rb"\A550")
