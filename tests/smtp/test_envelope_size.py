"""What the envelope of one transaction may hold in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.rules import ENVELOPE
from tests.smtp.driver import Dialogue, terms

DOMAIN = ".".join(["d" * 60] * 4)


def rcpt(number: int) -> bytes:
    return f"RCPT TO:<{number:060}@{DOMAIN}>\r\n".encode()


class EnvelopeTests(SynchronousTestCase):
    def test_long_recipients(self) -> None:
        """Recipients as long as they may be: those above the limit are told to come in another message, and
        the message goes to the others."""
        dialogue = Dialogue(terms(recipients=1000))
        dialogue.exchange(b"EHLO c.test\r\n")
        for _ in range(2):
            dialogue.exchange(b"MAIL FROM:<a@c.test>\r\n")
            replies = dialogue.exchange(b"".join(map(rcpt, range(1000)))).splitlines()
            taken = sum(reply.startswith(b"250 ") for reply in replies)
            self.assertTrue(all(reply.startswith(b"250 ") for reply in replies[:taken]))
            self.assertTrue(all(reply.startswith(b"452 4.5.3") for reply in replies[taken:]))
            self.assertLess(taken * len(rcpt(0)), ENVELOPE + 10_000)
            self.assertGreater(taken, 500)
            sent = dialogue.exchange(b"DATA\r\n") + dialogue.exchange(b".\r\n")
            self.assertIn(b"\r\n250 ", sent)
        self.assertEqual([len(recipients) for _, recipients in dialogue.transactions], [taken, taken])
