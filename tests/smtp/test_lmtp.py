"""LMTP: what one recipient gets is no other's business (RFC 2033)."""

from __future__ import annotations

from pathlib import Path

from mailftp.smtp.rules import State
from mailftp.store.engine import StoreFault, StoreFull
from tests import dialogs
from tests.connector import Client, connect
from tests.smtp.driver import Dialogue, terms
from tests.smtp.servers import ServerTestCase

FOLDER = Path(__file__).parent / "dialogs" / "lmtp"
MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n.\r\n"
BOTH = b"RCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n"


class LMTPTests(ServerTestCase):
    def open(self) -> Client:
        """A client that has said LHLO."""
        client = connect(self.serve("lmtp"))
        self.assertTrue(client.received().startswith(b"220 mx.example.test LMTP "))
        client.exchange(b"LHLO near.test\r\n")
        return client

    def send(self, client: Client, recipients: bytes = BOTH, message: bytes = MESSAGE) -> list[bytes]:
        """Codes and statuses after the end of a message."""
        client.exchange(b"MAIL FROM:<z@far.test>\r\n" + recipients + b"DATA\r\n")
        return [line[:9] for line in client.exchange(message).splitlines()]

    def test_dialogs(self) -> None:
        """The transcripts, against the session alone and against the server, cut at every octet."""
        for dialog in dialogs.load(FOLDER):
            for piece in (None, 1, 3):
                alone = Dialogue(terms(lmtp=True))
                dialogs.play(dialog, alone.exchange, alone.closed, piece)
                self.setUp()
                client = connect(self.serve("lmtp", tls=False))

                def exchange(data: bytes, client: Client = client) -> bytes:
                    return client.exchange(data) if data else client.received()

                dialogs.play(dialog, exchange, client.is_closed, piece)

    def test_filed(self) -> None:
        """Each account gets its copy, whose trace says LMTP."""
        self.assertEqual(self.send(self.open()), [b"250 2.0.0"] * 2)
        for account in (self.alice, self.bob):
            (message,) = self.inbox(account)
            self.assertIn(b"with LMTP ", message.replace(b"\r\n\t", b" "))

    def test_full(self) -> None:
        """Whose mailbox is full is refused, for now; the others have it. Replies keep the order of the
        recipients, one for each, be it the same account twice."""
        self.set("alice@example.test", mail_quota=1)
        said = self.send(self.open(), BOTH + b"RCPT TO:<Alice@example.test>\r\n")
        self.assertEqual(said, [b"452 4.2.2", b"250 2.0.0", b"452 4.2.2"])
        self.assertEqual([len(self.inbox(a)) for a in (self.alice, self.bob)], [0, 1])

    def test_all_full(self) -> None:
        """When nobody can have it nothing is kept."""
        for name in ("alice", "bob"):
            self.set(f"{name}@example.test", mail_quota=1)
        self.assertEqual(self.send(self.open()), [b"452 4.2.2"] * 2)
        self.assertTrue(self.store.sinks[-1].aborted)

    def test_was_here(self) -> None:
        """A message that was in a mailbox before comes into the others."""
        message = b"Delivered-To: alice@example.test\r\n" + MESSAGE
        self.assertEqual(self.send(self.open(), message=message), [b"554 5.4.6", b"250 2.0.0"])
        self.assertEqual([len(self.inbox(a)) for a in (self.alice, self.bob)], [0, 1])

    def test_loop(self) -> None:
        """What is wrong with the message is wrong for everybody."""
        message = b"Received: x\r\n" * 60 + MESSAGE
        self.assertEqual(self.send(self.open(), message=message), [b"554 5.4.6"] * 2)

    def test_faults(self) -> None:
        """A store that fails fails everybody, and the session goes on."""
        client = self.open()
        self.store.commit_fault = StoreFull("full")
        self.assertEqual(self.send(client), [b"452 4.3.1"] * 2)
        self.store.commit_fault = StoreFault("broken")
        self.assertEqual(self.send(client), [b"451 4.3.0"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)
        self.store.commit_fault = None
        self.assertEqual(self.send(client), [b"250 2.0.0"] * 2)

    def test_lost(self) -> None:
        """A client that goes away before the replies is sent none."""
        client = self.open()
        client.exchange(b"MAIL FROM:<z@far.test>\r\n" + BOTH + b"DATA\r\n")
        self.store.hold_commits = True
        client.exchange(MESSAGE)
        client.drop()
        self.store.release()
        self.assertEqual(len(self.inbox(self.bob)), 1)

    def test_no_relay(self) -> None:
        """Whoever speaks LMTP may reach our own people, and nobody else through us."""
        client = self.open()
        answer = client.exchange(b"MAIL FROM:<z@far.test>\r\nRCPT TO:<x@elsewhere.test>\r\n")
        self.assertIn(b"\r\n550 5.7.1 ", answer)
        self.assertEqual(self.codes(client, b"RSET\r\nAUTH PLAIN\r\n"), [b"250", b"502"])

    def test_not_by_smtp(self) -> None:
        """LHLO is for LMTP."""
        dialogue = Dialogue(terms())
        self.assertIn(b"500 5.5.1 This is not LMTP", dialogue.exchange(b"LHLO c.test\r\n"))
        self.assertIs(dialogue.session.state, State.CONNECTED)
