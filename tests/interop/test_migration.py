"""Moving a POP3 maildrop from one server to another: nothing is fetched twice."""

from __future__ import annotations

import imaplib
import poplib
import sys

from twisted.trial.unittest import TestCase

from tests.interop.running import ROOT, RunningServer, real_messages, run

PASSWORD = "correct horse battery"


class MigrationTests(TestCase):
    def server(self, address: str) -> RunningServer:
        server = RunningServer(self, "example.test", address)
        server.add_account("bob", PASSWORD)
        server.start()
        return server

    def pop3(self, server: RunningServer) -> poplib.POP3:
        client = poplib.POP3(server.address, server.ports["pop3"], timeout=60)
        self.addCleanup(client.close)
        client.user("bob")
        client.pass_(PASSWORD)
        return client

    def append(self, server: RunningServer, messages: list[bytes]) -> None:
        """As imapsync would."""
        client = imaplib.IMAP4(server.address, server.ports["imap"], timeout=60)
        client.login("bob@example.test", PASSWORD)
        for message in messages:
            self.assertEqual(client.append("INBOX", "", "", message)[0], "OK")
        client.logout()

    def test_uidls(self) -> None:
        """The script of the manual reads the old server, the command tells the new one; both have the same
        UIDLs for the same messages then, also after a restart and for those that come later."""
        old, new = self.server("127.0.0.1"), self.server("127.0.0.2")
        # Some of them differ in their bodies alone, and are to be told apart by their headers here.
        by_header = {message.partition(b"\r\n\r\n")[0]: message for _, message in real_messages()}
        messages = list(by_header.values())[:20]
        # One that is there twice, and an order of its own on the new server.
        self.append(old, [messages[0], *messages, b"Subject: deleted\r\n\r\n"])
        self.append(new, [*messages[::-1], messages[0]])
        before = self.pop3(old)
        known = dict(line.split(b" ") for line in before.uidl()[1])
        texts = {uidl: b"\r\n".join(before.retr(int(number))[1]) for number, uidl in known.items()}
        before.quit()
        script = (sys.executable, ROOT / "docs/howto/uidls.py", old.address, old.ports["pop3"], "bob")
        printed = run(*map(str, script), input=PASSWORD.encode() + b"\n")
        self.assertEqual(printed.returncode, 0, printed.stderr)
        done = new.cli("account", "uidl", "bob", "-", stdin=printed.stdout)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"set 21 of 22", done.stdout)
        self.assertIn(b"-, line 22: no message header:", done.stderr)
        for again in (False, True):
            if again:
                new.stop()
                new.start()
            after = self.pop3(new)
            moved = dict(line.split(b" ") for line in after.uidl()[1])
            found = {uidl: b"\r\n".join(after.retr(int(number))[1]) for number, uidl in moved.items()}
            after.quit()
            self.assertEqual(len(found), 21)
            self.assertEqual({uidl: texts.get(uidl) for uidl in found}, found)
        self.append(new, [b"Subject: new\r\n\r\n"])
        self.assertNotIn(self.pop3(new).uidl(22).split()[2], texts)
