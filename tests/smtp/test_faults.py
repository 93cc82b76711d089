"""Addresses that make the server fail on purpose."""

from __future__ import annotations

from mailftp.intake.faults import SILENCE, FaultRules
from tests.connector import Client
from tests.smtp.test_hooks import HELLO, MAIL, TEXT, HookTestCase


def rcpt(local: str, domain: str = "example.test") -> bytes:
    return f"RCPT TO:<{local}@{domain}>\r\n".encode()


class FaultTests(HookTestCase):
    def faulty(self) -> Client:
        return self.greeted(FaultRules(self.clock))

    def test_refused_recipient(self) -> None:
        """The code that is asked for, and the session goes on; codes out of range are no rule."""
        client = self.faulty()
        client.send(HELLO + MAIL)
        client.received()
        for local, reply in (
            ("fail-451", b"451 4.0.0 fail-451@example.test asked for this\r\n"),
            ("FAIL-552", b"552 5.0.0 FAIL-552@example.test asked for this\r\n"),
        ):
            client.send(rcpt(local))
            self.assertEqual(client.received(), reply)
        for local in ("fail-250", "fail-999", "fail-4511", "slow-99", "fail", "drop-late"):
            client.send(rcpt(local))
            self.assertEqual(client.received()[:4], b"550 ", local)
        client.send(rcpt("alice") + TEXT)
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_refused_sender(self) -> None:
        """MAIL is refused where the sender asks for it, with a code."""
        client = self.faulty()
        self.assertEqual(self.codes(client, HELLO + b"MAIL FROM:<fail-421@far.test>\r\n"), [b"250", b"421"])

    def test_hung_up(self) -> None:
        """The connection is closed without a word."""
        client = self.faulty()
        client.send(HELLO + MAIL)
        client.received()
        client.send(rcpt("drop"))
        self.clock.advance(0)
        self.assertEqual((client.received(), client.is_closed()), (b"", True))

    def test_silent(self) -> None:
        """Nothing is answered, whatever else is sent, until the connection is closed."""
        client = self.faulty()
        client.send(HELLO + MAIL)
        client.received()
        client.send(rcpt("timeout") + rcpt("alice") + b"NOOP\r\n")
        self.clock.advance(SILENCE - 1)
        self.assertEqual((client.received(), client.is_closed()), (b"", False))
        self.clock.advance(1)
        self.assertEqual((client.received(), client.is_closed()), (b"", True))

    def test_silent_client_leaves(self) -> None:
        """A client that gives up leaves nothing behind."""
        client = self.faulty()
        client.send(HELLO + MAIL + rcpt("timeout"))
        client.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """The answer comes after the seconds that were asked for."""
        client = self.faulty()
        client.send(HELLO + MAIL)
        client.received()
        client.send(rcpt("slow-30") + rcpt("alice"))
        self.clock.advance(29)
        self.assertEqual(client.received(), b"")
        self.clock.advance(1)
        self.assertEqual([line[:3] for line in client.received().splitlines()], [b"550", b"250"])


class CapturedFaultTests(HookTestCase):
    """Faults at the end of a message, for recipients that are captured."""

    capture = "alice@example.test"

    def sent(self, local: str, name: str = "smtp") -> Client:
        client = self.greeted(FaultRules(self.clock), name=name)
        client.send(HELLO + MAIL + rcpt(local, "far.test"))
        client.received()
        client.send(TEXT)
        self.clock.advance(0)
        return client

    def test_refused_message(self) -> None:
        client = self.sent("fail-data-554")
        self.assertIn(b"554 5.0.0 fail-data-554@far.test asked for this", client.received())
        self.assertEqual(self.inbox(self.alice), [])

    def test_closed_before_it_is_kept(self) -> None:
        client = self.sent("drop-data")
        self.assertTrue(client.is_closed())
        self.assertEqual(self.inbox(self.alice), [])

    def test_closed_after_it_is_kept(self) -> None:
        """What a sender would send again is here."""
        client = self.sent("drop-after-data")
        self.assertTrue(client.is_closed())
        self.assertNotIn(b"\r\n250", client.received())
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_never_answered(self) -> None:
        client = self.sent("timeout-data")
        self.clock.advance(SILENCE - 1)
        self.assertNotIn(b"\r\n250", client.received())
        self.assertFalse(client.is_closed())
        self.clock.advance(1)
        self.assertEqual((client.received(), client.is_closed()), (b"", True))
        self.assertEqual(self.inbox(self.alice), [])

    def test_others_are_kept(self) -> None:
        """A recipient without a fault is taken as ever."""
        client = self.sent("anybody")
        self.assertIn(b"250 2.0.0", client.received())
        self.assertEqual(len(self.inbox(self.alice)), 1)
