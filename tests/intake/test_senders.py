"""What an account may send: limits, whose name stands in From, and the copy in Sent."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import globalLogPublisher

from mailftp.intake.intake import Intake, Refused
from mailftp.settings import Submission
from mailftp.store.units import AddAlias, GrantAddress
from tests.intake.houses import HouseTestCase

ALICE = "alice@example.test"


class SubmittedTestCase(HouseTestCase):
    def send(self, message: bytes, *to: str, login: str = "alice") -> Refused | None:
        sent = self.deliver(message, *to, login=login, sender=f"{login}@example.test")
        refused: list[Refused] = []
        sent.addErrback(lambda failure: failure.trap(Refused) and refused.append(failure.value))
        self.successResultOf(sent)
        return refused[0] if refused else None

    def message(self, *fields: str) -> bytes:
        return "".join(f"{field}\r\n" for field in (*fields, "Message-ID: <1@x>", "Date: x", "")).encode()


class LimitTests(SubmittedTestCase):
    def limited(self, **limits: int) -> None:
        settings = replace(self.settings, submission=Submission(**limits))
        self.intake = Intake(settings, self.store, lambda: self.time)

    def alarms(self) -> list[dict[str, object]]:
        heard: list[dict[str, object]] = []

        def hear(event: dict[str, object]) -> None:
            if event.get("mailftp_event") == "sending limit":
                heard.append(event)

        globalLogPublisher.addObserver(hear)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, hear)  # type: ignore[arg-type]
        return heard

    def test_messages(self) -> None:
        """The reply says what the limit is; the log has an alarm, once an hour."""
        self.limited(daily_messages=2)
        heard = self.alarms()
        for _ in range(2):
            self.assertIsNone(self.send(self.message(), "x@far.test"))
        for _ in range(3):
            refused = self.send(self.message(), "x@far.test")
            assert refused is not None
            self.assertEqual((refused.code, refused.status), (450, "4.7.1"))
            self.assertIn("2 messages", refused.text)
        self.assertEqual(len(heard), 1)
        self.time += 3601
        self.send(self.message(), "x@far.test")
        self.assertEqual(len(heard), 2)

    def test_new_recipients(self) -> None:
        """Addresses elsewhere count, in any case of their name once; ours do not."""
        self.limited(daily_new_recipients=2)
        self.assertIsNone(self.send(self.message(), "x@far.test", "y@far.test", "bob@example.test"))
        self.assertIsNone(self.send(self.message(), "X@far.test"))
        refused = self.send(self.message(), "z@far.test")
        assert refused is not None
        self.assertIn("2 new recipients", refused.text)
        self.assertIsNone(self.send(self.message(), "z@far.test", login="bob"))

    def test_on_by_default(self) -> None:
        """Without a word in the settings there are limits."""
        self.assertEqual(Submission(), Submission(1000, 200))
        many = [f"x{number}@far.test" for number in range(201)]
        self.assertIsNone(self.send(self.message(), *many[:200]))
        self.assertIsNotNone(self.send(self.message(), many[200]))

    def test_strangers(self) -> None:
        """Who sends to us is not counted."""
        self.limited(daily_messages=1, daily_new_recipients=1)
        for number in range(3):
            self.successResultOf(self.deliver(self.message(), ALICE, sender=f"x{number}@far.test"))
        self.assertEqual(len(self.inbox(self.alice)), 3)


class AuthorTests(SubmittedTestCase):
    def status(self, *fields: str, rule: str = "enforce") -> str:
        settings = replace(self.settings, submission=Submission(authors=rule))
        self.intake = Intake(settings, self.store, lambda: self.time)
        refused = self.send(self.message(*fields), "x@far.test")
        return refused.status if refused else ""

    def marked(self, *fields: str, rule: str = "mark") -> tuple[bytes, bytes]:
        """(what stands above the message, the message) of one that is sent on."""
        self.assertEqual(self.status(*fields, rule=rule), "")
        queued = self.queue()[-1]
        return queued.transfer.prefix, self.body(queued.body)

    def test_marked(self) -> None:
        """By default the message goes, with a Sender that says who sent it; one of its own stays, one of
        another does not."""
        self.assertEqual(Submission().authors, "mark")
        added = b"\r\nSender: alice@example.test\r\n"
        above, _ = self.marked("From: bob@example.test")
        self.assertTrue(above.endswith(added))
        above, message = self.marked("From: bob@example.test", "Sender: carol@example.test")
        self.assertTrue(above.endswith(added))
        self.assertNotIn(b"carol", message)
        above, message = self.marked("From: alice@example.test", "Sender: x@far.test")
        self.assertNotIn(b"Sender", above)
        self.assertIn(b"Sender: x@far.test", message)

    def test_granted_sender(self) -> None:
        """Whoever may write for another is named as they name themselves."""
        self.successResultOf(self.store.commit(GrantAddress("bob@example.test", ALICE)))
        above, message = self.marked("From: bob@example.test", "Sender: Alice <alice@example.test>")
        self.assertNotIn(b"Sender", above)
        self.assertIn(b"Sender: Alice", message)

    def test_off(self) -> None:
        """Nothing is looked at."""
        above, message = self.marked("From: bob@example.test", "Sender: carol@example.test", rule="off")
        self.assertNotIn(b"Sender", above)
        self.assertIn(b"carol", message)

    def test_own(self) -> None:
        """Its own name in any form, and names of other domains, and none."""
        for field in (
            "From: Alice <Alice@example.test>",
            "From: alice+x@example.test",
            'From: "Bob bob@example.test" <alice@example.test>',
            "From: somebody@far.test",
            "From: undisclosed:;",
            "From: bob@",
            "Subject: bob@example.test",
        ):
            self.assertEqual(self.status(field), "", field)

    def test_of_another(self) -> None:
        """A colleague's name is refused, wherever it stands in From."""
        for fields in (
            ("From: bob@example.test",),
            ("From: alice@example.test, Bob <bob@example.test>",),
            ("From: alice@example.test", "From: bob@example.test"),
            ("FROM :\r\n\tbob@Example.test",),
            ("From: nobody@example.test",),
            ("From: team: bob@example.test;",),
        ):
            self.assertEqual(self.status(*fields), "5.7.1", fields)

    def test_sent_again(self) -> None:
        """Whoever sends a message again stands in Resent-From, and the author stays."""
        self.assertEqual(self.status("Resent-From: alice@example.test", "From: bob@example.test"), "")
        self.assertEqual(self.status("Resent-From: bob@example.test", "From: alice@example.test"), "5.7.1")

    def test_granted(self) -> None:
        """What it may send as, it may write as."""
        self.successResultOf(self.store.commit(AddAlias("info@example.test", (ALICE,))))
        self.successResultOf(self.store.commit(GrantAddress("bob@example.test", ALICE)))
        self.assertEqual(self.status("From: info@example.test, bob@example.test"), "")

    def test_strangers(self) -> None:
        """From outside anybody may claim anything here: that is for DMARC to judge."""
        self.successResultOf(self.deliver(self.message("From: bob@example.test"), ALICE))


class SentTests(SubmittedTestCase):
    def test_copy(self) -> None:
        """The author's copy has the Bcc that nobody else's has."""
        self.set(ALICE, file_sent=True)
        message = self.message("Bcc: bob@example.test,\r\n x@far.test", "Subject: hello", "bcc: y@far.test")
        self.assertIsNone(self.send(message, "bob@example.test", "x@far.test"))
        (copy,) = self.inbox(self.alice, "Sent")
        self.assertTrue(
            copy.startswith(
                b"Bcc: bob@example.test,\r\n x@far.test\r\nbcc: y@far.test\r\nSubject: hello\r\n"
            ),
            copy,
        )
        self.assertNotIn(b"y@far.test", self.inbox(self.bob)[0])
        self.assertNotIn(b"y@far.test", self.body(self.queue()[0].body))

    def test_to_oneself(self) -> None:
        """A message to oneself is in both mailboxes; a client that sends it again makes no second copy."""
        self.set(ALICE, file_sent=True)
        for _ in range(2):
            self.assertIsNone(self.send(self.message("Subject: note"), ALICE))
        self.assertEqual((self.boxes(self.alice)["INBOX"], self.boxes(self.alice)["Sent"]), (2, 1))

    def test_not_asked(self) -> None:
        """Mail programs file their own."""
        self.assertIsNone(self.send(self.message(), "x@far.test"))
        self.assertEqual(self.boxes(self.alice)["Sent"], 0)
