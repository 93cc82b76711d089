"""Mail for somebody who is away is answered, and what is not to be answered is not."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.intake.intake import Envelope, Origin
from mailftp.intake.vacation import AGAIN
from mailftp.message.address import parse_address
from mailftp.store.queries import Bodies, MailboxSince, QueueList
from mailftp.wire.peer import Peer
from tests.imap.on_disk import SQLiteTestCase
from tests.web.jmap.site import ALICE, JMAPCase

TO = b"To: Bob <bob@example.test>\r\n"
HEADER = b"From: carol@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <m@example.com>\r\n"


class Vacation:
    def setUp(self: Any) -> None:
        super().setUp()  # type: ignore[misc]
        self.away(isEnabled=True, subject="Away", textBody="I am away.\n")

    def away(self: Any, **values: Any) -> None:
        answer = self.call("VacationResponse/set", {"update": {"singleton": values}})
        self.assertEqual(answer["updated"], {"singleton": None}, answer)

    def receive(self: Any, fields: bytes = b"", sender: str = "carol@example.com", to: bytes = TO) -> None:
        origin = Origin(Peer(None), "mx.example.com", "ESMTP", "test")

        async def receive() -> None:
            reverse = parse_address(sender) if sender else None
            found = self.intake.recipient(origin, parse_address("bob@example.test"), reverse)
            recipient = await found if isinstance(found, Deferred) else found
            envelope = Envelope(origin, reverse, [recipient])
            sink = self.intake.stage(envelope)
            sink.write(HEADER + to + fields + b"\r\nHi\r\n")
            await self.intake.accept(envelope, await sink.finish())

        self.successResultOf(Deferred.fromCoroutine(receive()))

    def answers(self: Any) -> list[tuple[str, str, bytes]]:
        """Reverse-path, recipient and octets of what has left."""
        queued = self.successResultOf(self.store.read(QueueList()))
        bodies = self.successResultOf(self.store.read(Bodies(tuple(each.body for each in queued))))
        return [
            (each.transfer.reverse_path, each.recipients[0].address, octets)
            for each, octets in zip(queued, bodies, strict=True)
        ]

    def test_answer(self: Any) -> None:
        """One answer to each sender in a week, from the null sender, as an automatic one, in the thread."""
        self.receive()
        self.receive()
        [(reverse_path, to, octets)] = self.answers()
        self.assertEqual((reverse_path, to), ("", "carol@example.com"))
        read = message_from_bytes(octets, policy=policy.default)
        self.assertEqual(
            [read[name] for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To", "References")],
            [
                "bob@example.test",
                "carol@example.com",
                "Away",
                "auto-replied",
                "<m@example.com>",
                "<m@example.com>",
            ],
        )
        self.assertEqual(read.get_content().strip(), "I am away.")
        self.receive(sender="dave@example.com")
        self.assertEqual(len(self.answers()), 2)
        self.clock.advance(AGAIN)
        self.receive()
        self.assertEqual(len(self.answers()), 3)

    def test_other_words(self: Any) -> None:
        """Who had an answer gets the new one; without a subject it is that of the message."""
        self.receive()
        self.away(subject=None, textBody=None, htmlBody="<p>Weg</p>")
        self.receive()
        read = message_from_bytes(self.answers()[1][2], policy=policy.default)
        self.assertEqual((read["Subject"], read.get_content_type()), ("Auto: Grüße", "text/html"))

    def test_not_answered(self: Any) -> None:
        """RFC 3834 section 2: no machine, no list, no report, not oneself, and only what names the
        account."""
        for fields in (
            b"Auto-Submitted: auto-replied\r\n",
            b"Auto-Submitted: auto-generated (rejected)\r\n",
            b"Precedence: bulk\r\n",
            b"precedence: List\r\n",
            b"List-Id: <l.example.com>\r\n",
            b"List-Unsubscribe: <mailto:l@example.com>\r\n",
            b"X-Auto-Response-Suppress: DR, OOF\r\n",
            b"Content-Type: multipart/report; report-type=delivery-status\r\n",
        ):
            self.receive(fields)
        for sender in (
            "",
            "MAILER-DAEMON@example.com",
            "no-reply@example.com",
            "owner-l@example.com",
            "l-request@example.com",
            "bounces+x@example.com",
            "bob@example.test",
        ):
            self.receive(sender=sender)
        self.receive(to=b"To: team@example.com\r\n")
        self.assertEqual(self.answers(), [])
        self.receive(b"Auto-Submitted: no\r\n")
        self.assertEqual(len(self.answers()), 1)

    def test_when(self: Any) -> None:
        """Between the dates, and while it is enabled."""
        self.away(fromDate="1970-01-02T00:00:00Z", toDate="1970-01-03T00:00:00Z")
        self.receive()
        self.assertEqual(self.answers(), [])
        self.clock.advance(86400)
        self.receive()
        self.assertEqual(len(self.answers()), 1)
        self.away(isEnabled=False)
        self.receive(sender="dave@example.com")
        self.away(isEnabled=True)
        self.clock.advance(86400)
        self.receive(sender="dave@example.com")
        self.assertEqual(len(self.answers()), 1)

    def test_one_of_ours(self: Any) -> None:
        """An answer to somebody here is filed; two who are away do not answer each other."""
        answer = {"isEnabled": True}
        self.call("VacationResponse/set", {"update": {"singleton": answer}}, who=ALICE)
        self.receive(sender="alice@example.test")
        inbox = self.successResultOf(self.store.read(MailboxSince(self.ids["alice"]))).messages
        self.assertEqual((len(inbox), self.answers()), (1, []))
        mine = self.successResultOf(self.store.read(MailboxSince(self.ids["bob"]))).messages
        self.assertEqual(len(mine), 1)


class VacationTests(Vacation, JMAPCase):
    """Over the memory store."""


class SQLiteVacationTests(Vacation, JMAPCase, SQLiteTestCase):
    """Over SQLite."""
