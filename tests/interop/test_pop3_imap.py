"""POP3 and IMAP at one mailbox at one time, with poplib and imaplib."""

from __future__ import annotations

import imaplib
import poplib

from twisted.trial.unittest import TestCase

from tests.interop.running import RunningServer

PASSWORD = "correct horse battery"
#: The fourth is kept in a file.
MESSAGES = [
    b"Subject: %d\r\n\r\n" % number + b".a line of message %d\r\n" % number * (5000 if number == 4 else 3)
    for number in range(1, 7)
]


class BothTests(TestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "example.test")
        self.server.add_account("bob", PASSWORD)
        self.server.start()
        self.imap = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"], timeout=60)
        self.addCleanup(self.imap.shutdown)
        self.imap.login("bob@example.test", PASSWORD)
        for message in MESSAGES:
            self.append(message)
        self.imap.select("INBOX")

    def append(self, message: bytes) -> None:
        self.assertEqual(self.imap.append("INBOX", "", "", message)[0], "OK")

    def pop3(self) -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", self.server.ports["pop3"], timeout=60)
        self.addCleanup(client.close)
        client.user("bob")
        client.pass_(PASSWORD)
        return client

    def expunge(self, *numbers: int) -> None:
        for number in numbers:
            self.imap.store(str(number), "+FLAGS", "\\Deleted")
        self.assertEqual(self.imap.expunge()[0], "OK")

    def whole(self, client: poplib.POP3, number: int) -> bytes:
        return b"\r\n".join(client.retr(number)[1]) + b"\r\n"

    def uids(self) -> bytes:
        self.imap.noop()
        found: bytes = self.imap.uid("SEARCH", "ALL")[1][0]
        return found

    def test_expunge_under_an_open_maildrop(self) -> None:
        """The maildrop stays as it was opened: numbers, sizes and UIDLs; what IMAP expunged cannot be
        fetched, the rest can, and QUIT removes what is marked and still there."""
        client = self.pop3()
        before = client.list()[1], client.uidl()[1], client.stat()
        self.expunge(2, 4, 5)
        self.append(b"Subject: late\r\n\r\nlate\r\n")
        self.assertEqual((client.list()[1], client.uidl()[1], client.stat()), before)
        for number in (1, 3, 6):
            self.assertEqual(self.whole(client, number), MESSAGES[number - 1])
        for number in (2, 4, 5):
            for fetch in (client.retr, lambda n: client.top(n, 0)):
                with self.assertRaises(poplib.error_proto) as caught:
                    fetch(number)
                self.assertIn("the message is gone", str(caught.exception))
        client.dele(1)
        client.dele(2)
        client.quit()
        self.assertEqual(self.uids(), b"3 6 7")
        client = self.pop3()
        uidls = [line.split()[1] for line in client.uidl()[1]]
        self.assertEqual(uidls[:2], [before[1][number].split()[1] for number in (2, 5)])
        self.assertEqual(self.whole(client, 3), b"Subject: late\r\n\r\nlate\r\n")
        client.quit()

        self.read_ahead()

    def read_ahead(self) -> None:
        """One that was read ahead of the client and then expunged is fetched whole, or is gone; never another
        in its place."""
        self.imap.store("1:*", "+FLAGS", "\\Deleted")
        self.imap.expunge()
        for message in MESSAGES:
            self.append(message)
        client = self.pop3()
        self.assertEqual(self.whole(client, 1), MESSAGES[0])
        self.expunge(2, 3, 6)
        for number in range(2, 7):
            try:
                got = self.whole(client, number)
            except poplib.error_proto as refused:
                self.assertIn("the message is gone", str(refused))
                self.assertIn(number, (2, 3, 6))
            else:
                self.assertEqual(got, MESSAGES[number - 1])
        client.quit()

    def test_quit_is_seen_by_imap(self) -> None:
        """What POP3 deletes at QUIT is an EXPUNGE to IMAP, and nothing before; flags that IMAP sets are no
        matter to POP3."""
        client = self.pop3()
        client.dele(1)
        client.dele(6)
        self.assertEqual(self.uids(), b"1 2 3 4 5 6")
        self.imap.store("1:6", "+FLAGS", "\\Seen")
        client.quit()
        self.assertEqual(self.uids(), b"2 3 4 5")
        client = self.pop3()
        self.assertEqual(client.stat()[0], 4)
        client.quit()

        self.delete_folder()

    def delete_folder(self) -> None:
        """A folder that IMAP removes under a maildrop: its message comes whole or is gone, and QUIT has
        nothing left to do."""
        self.imap.create("Archive")
        self.imap.append("Archive", "", "", MESSAGES[0])
        client = poplib.POP3("127.0.0.1", self.server.ports["pop3"], timeout=60)
        self.addCleanup(client.close)
        client.user("bob@example.test#Archive")
        client.pass_(PASSWORD)
        self.assertEqual(client.stat()[0], 1)
        self.assertEqual(self.imap.delete("Archive")[0], "OK")
        try:
            self.assertEqual(self.whole(client, 1), MESSAGES[0])
        except poplib.error_proto as refused:
            self.assertIn("the message is gone", str(refused))
        client.dele(1)
        self.assertTrue(client.quit().startswith(b"+OK"))
