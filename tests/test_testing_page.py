"""The example of docs/howto/test_your_application.rst, which is this file's lower part."""

# The page begins here.
import smtplib

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailftp.testing import MailServer


def remind(port: int, address: str) -> None:
    """What is tested: it sends a reminder."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail(
            "app@example.test", [address], f"To: {address}\r\nSubject: reminder\r\n\r\nIt is time.\r\n"
        )


class ReminderTests(TestCase):
    async def setUp(self) -> None:
        self.server = await MailServer.start(reactor, accounts={"bob@example.test": "hungry"})
        self.addCleanup(self.server.stop)

    async def test_reminder(self) -> None:
        """Bob gets one message, with a subject."""
        await deferToThread(remind, self.server.smtp_port, "bob@example.test")
        [message] = self.server.messages("bob@example.test")
        self.assertIn(b"Subject: reminder\r\n", message)

    async def test_server_is_busy(self) -> None:
        """A refusal is an exception, and no message."""
        self.server.fail_next("451 4.3.0 Try again later")
        with self.assertRaises(smtplib.SMTPDataError):
            await deferToThread(remind, self.server.smtp_port, "bob@example.test")
        self.assertEqual(self.server.messages("bob@example.test"), [])
