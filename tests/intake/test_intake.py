"""Who may send, where it goes, and what it carries when it gets there."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from mailftp.intake.intake import HOPS, Envelope, Recipient, Refused
from mailftp.message.address import Address, parse_address
from mailftp.store.engine import StoreFault, StoreFull
from mailftp.store.units import RemoveAccount
from tests.intake.houses import HouseTestCase

MESSAGE = b"From: z@far.test\r\nSubject: hello\r\n\r\nHello.\r\n"


class RecipientTests(HouseTestCase):
    def ask(self, address: str | Address, login: str | None = None) -> Recipient:
        if isinstance(address, str):
            address = parse_address(address)
        found = self.intake.recipient(self.origin(login), address)
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def refusal(self, address: str | Address, login: str | None = None) -> tuple[int, str]:
        """Code and status of the refusal, at once or later."""
        if isinstance(address, str):
            address = parse_address(address)
        try:
            found = self.intake.recipient(self.origin(login), address)
        except Refused as refused:
            return refused.code, refused.status
        if not isinstance(found, Deferred):
            self.fail(f"not refused: {found}")
        failed = self.failureResultOf(found, Refused).value
        return failed.code, failed.status

    def test_ours(self) -> None:
        """An account is found in any case of its name, by whoever sends."""
        for login in (None, "bob"):
            self.assertEqual(self.ask("Alice@EXAMPLE.test", login).account_id, self.alice.id)

    def test_nobody(self) -> None:
        """An unknown name here is refused, for strangers and for our own people."""
        for login in (None, "bob"):
            self.assertEqual(self.refusal("dave@example.test", login), (550, "5.1.1"))
            self.assertEqual(self.refusal("alice@second.test", login), (550, "5.1.1"))

    def test_disabled(self) -> None:
        """A disabled account takes no mail."""
        self.assertEqual(self.refusal("carol@example.test"), (550, "5.2.1"))

    def test_relay(self) -> None:
        """Elsewhere is for those who logged in; so is an address literal, and a percent is only a letter."""
        self.assertEqual(self.refusal("x@far.test"), (550, "5.7.1"))
        self.assertEqual(self.refusal("x@[192.0.2.1]"), (550, "5.7.1"))
        self.assertEqual(self.refusal("x%far.test@example.test"), (550, "5.1.1"))
        self.assertEqual(self.refusal("x@sub.example.test"), (550, "5.7.1"))
        self.assertIsNone(self.ask("x@far.test", "alice").account_id)

    def test_postmaster(self) -> None:
        """Always accepted: the domain's own account, else the first domain's, else the oldest account."""
        bare = Address("Postmaster", "")
        for address in (bare, parse_address("POSTMASTER@second.test")):
            self.assertEqual(self.ask(address).account_id, self.alice.id)
        self.assertEqual(self.ask(bare).address, parse_address("alice@example.test"))
        first = self.add("postmaster@example.test")
        self.assertEqual(self.ask(bare).account_id, first.id)
        self.assertEqual(self.ask("postmaster@second.test").account_id, first.id)
        second = self.add("postmaster@second.test")
        self.assertEqual(self.ask("postmaster@second.test").account_id, second.id)
        self.set("postmaster@second.test", disabled=True)
        self.assertEqual(self.ask("postmaster@second.test").account_id, first.id)

    def test_cache(self) -> None:
        """A name is looked up once, known or not, until the accounts change."""
        self.ask("alice@example.test")
        self.refusal("dave@example.test")
        reads = self.store.reads
        self.ask("alice@example.test")
        self.refusal("dave@example.test")
        self.assertEqual(self.store.reads, reads)
        dave = self.add("dave@example.test")
        self.assertEqual(self.ask("dave@example.test").account_id, dave.id)
        self.set("alice@example.test", disabled=True)
        self.assertEqual(self.refusal("alice@example.test"), (550, "5.2.1"))
        self.successResultOf(self.store.commit(RemoveAccount("dave@example.test")))
        self.assertEqual(self.refusal("dave@example.test"), (550, "5.1.1"))

    def test_answer_older_than_a_change_is_not_kept(self) -> None:
        """What was read before an account was disabled and arrives after it is forgotten at once."""
        self.store.hold_reads = True
        slow = self.intake.recipient(self.origin(), parse_address("bob@example.test"))
        self.store.hold_reads = False
        self.set("bob@example.test", disabled=True)
        self.store.release()
        assert isinstance(slow, Deferred)
        self.successResultOf(slow)
        self.assertEqual(self.refusal("bob@example.test"), (550, "5.2.1"))

    def test_lost_notice(self) -> None:
        """A change that the feed never told is seen within a minute."""
        self.ask("alice@example.test")
        self.refusal("dave@example.test")
        self.intake.stop()
        self.set("alice@example.test", disabled=True)
        dave = self.add("dave@example.test")
        self.assertEqual(self.ask("alice@example.test").account_id, self.alice.id)
        self.time += 61
        self.assertEqual(self.refusal("alice@example.test"), (550, "5.2.1"))
        self.assertEqual(self.ask("dave@example.test").account_id, dave.id)

    def test_strangers_do_not_fill_memory(self) -> None:
        """Names asked for by strangers are remembered up to a number, and push nobody known out."""
        self.ask("alice@example.test")
        for number in range(2100):
            self.refusal(f"guess{number}@example.test")
        reads = self.store.reads
        self.ask("alice@example.test")
        self.assertEqual(self.store.reads, reads)
        self.assertLessEqual(len(self.intake._directory._nobody), 2000)


class SenderTests(HouseTestCase):
    def test_submitter(self) -> None:
        """Whoever logged in sends as themselves, or as nobody; not as another."""
        origin = self.origin("alice")
        self.intake.sender(origin, parse_address("Alice@example.test"))
        self.intake.sender(origin, None)
        checked = self.intake.sender(origin, parse_address("bob@example.test"))
        assert checked is not None
        refused = self.failureResultOf(checked, Refused).value
        self.assertEqual((refused.code, refused.status), (553, "5.7.1"))

    def test_stranger(self) -> None:
        """From outside any sender is taken, one of ours too."""
        self.intake.sender(self.origin(), parse_address("alice@example.test"))


class AcceptTests(HouseTestCase):
    def test_trace(self) -> None:
        """What is filed has Return-Path, Delivered-To and Received above it."""
        accepted = self.successResultOf(self.deliver(MESSAGE, "alice@example.test"))
        self.assertEqual(len(accepted.filed), 1)
        self.assertIsNone(accepted.queued)
        (message,) = self.inbox(self.alice)
        prefix, _, body = message.partition(b"From: ")
        self.assertEqual(b"From: " + body, MESSAGE)
        lines = prefix.decode().replace("\r\n\t", " ").split("\r\n")
        self.assertEqual(lines[:2], ["Return-Path: <z@far.test>", "Delivered-To: alice@example.test"])
        self.assertTrue(
            lines[2].startswith("Received: from client.test ([192.0.2.7]) by mx.example.test with ESMTP id ")
        )
        self.assertIn(" for <alice@example.test>; ", lines[2])
        self.assertEqual(len(lines), 4)

    def test_two_here_and_two_elsewhere(self) -> None:
        """Copies for us are filed, the others queued, in one unit; nobody reads who else got it."""
        to = ("alice@example.test", "x@far.test", "bob@example.test", "y@far.test", "x@far.test")
        accepted = self.successResultOf(
            self.deliver(MESSAGE, *to, login="alice", sender="alice@example.test")
        )
        self.assertEqual(len(accepted.filed), 2)
        (queued,) = self.queue()
        self.assertEqual(queued.id, accepted.queued)
        self.assertEqual([r.address for r in queued.recipients], ["x@far.test", "y@far.test"])
        self.assertEqual(queued.transfer.reverse_path, "alice@example.test")
        self.assertEqual(queued.transfer.account_id, self.alice.id)
        self.assertTrue(queued.transfer.prefix.startswith(b"Received: "))
        for copy in (self.inbox(self.alice)[0], self.inbox(self.bob)[0], queued.transfer.prefix):
            self.assertNotIn(b" for <", copy)
        self.assertNotIn(b"bob@", self.inbox(self.alice)[0])

    def test_twice_the_same(self) -> None:
        """A recipient named twice gets it once."""
        self.successResultOf(self.deliver(MESSAGE, "alice@example.test", "ALICE@example.test"))
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_hops(self) -> None:
        """Fifty Received fields are let through, one more is a loop; in the body they are text."""
        received = b"Received: from a by b; Thu, 01 Jan 1970 00:00:00 +0000\r\n"
        self.successResultOf(self.deliver(received * HOPS + MESSAGE, "alice@example.test"))
        self.successResultOf(self.deliver(MESSAGE + received * 100, "alice@example.test"))
        refused = self.failureResultOf(
            self.deliver(received * 51 + MESSAGE, "alice@example.test"), Refused
        ).value
        self.assertEqual((refused.code, refused.status), (554, "5.4.6"))

    def test_delivered_before(self) -> None:
        """A message that was delivered to the same address before has come back: a loop. Sent on by hand by
        somebody who is logged in, it is a new message."""
        again = b"Delivered-To: Alice@example.test\r\n" + MESSAGE
        refused = self.failureResultOf(self.deliver(again, "alice@example.test"), Refused).value
        self.assertEqual((refused.code, refused.status), (554, "5.4.6"))
        self.successResultOf(self.deliver(again, "bob@example.test"))
        self.successResultOf(
            self.deliver(again, "alice@example.test", login="alice", sender="alice@example.test")
        )

    def test_over_quota(self) -> None:
        """A full mailbox is a temporary refusal; named with others, it is refused alone next time."""
        self.set("bob@example.test", mail_quota=10)
        refused = self.failureResultOf(self.deliver(MESSAGE, "bob@example.test"), Refused).value
        self.assertEqual((refused.code, refused.status), (452, "4.2.2"))
        both = self.deliver(MESSAGE, "alice@example.test", "bob@example.test")
        self.assertEqual(self.failureResultOf(both, Refused).value.code, 452)
        self.assertEqual(self.inbox(self.alice), [])
        refused = self.assertRaises(
            Refused, self.intake.recipient, self.origin(), parse_address("bob@example.test")
        )
        self.assertEqual((refused.code, refused.status), (452, "4.2.2"))
        self.set("bob@example.test", mail_quota=None)
        self.successResultOf(self.deliver(MESSAGE, "alice@example.test", "bob@example.test"))

    def test_over_message_quota(self) -> None:
        """Too many messages are a full mailbox like too many octets: in DATA, then at RCPT."""
        self.set("bob@example.test", message_quota=0)
        both = self.deliver(MESSAGE, "alice@example.test", "bob@example.test")
        refused = self.failureResultOf(both, Refused).value
        self.assertEqual((refused.code, refused.status), (452, "4.2.2"))
        refused = self.assertRaises(
            Refused, self.intake.recipient, self.origin(), parse_address("bob@example.test")
        )
        self.assertEqual((refused.code, refused.status), (452, "4.2.2"))
        self.set("bob@example.test", message_quota=1)
        self.successResultOf(self.deliver(MESSAGE, "bob@example.test"))

    def test_store_faults(self) -> None:
        """A full disk and a removed account are temporary refusals; other faults stay faults."""
        for fault, expected in ((StoreFull("full"), (452, "4.3.1")),):
            self.store.commit_fault = fault
            refused = self.failureResultOf(self.deliver(MESSAGE, "bob@example.test"), Refused).value
            self.assertEqual((refused.code, refused.status), expected)
        self.store.commit_fault = StoreFault("broken")
        self.failureResultOf(self.deliver(MESSAGE, "bob@example.test"), StoreFault)
        self.store.commit_fault = None
        envelope = Envelope(self.origin(), None, [Recipient(parse_address("bob@example.test"), self.bob.id)])
        sink = self.intake.stage(envelope)
        sink.write(MESSAGE)
        body = self.successResultOf(sink.finish())
        self.successResultOf(self.store.commit(RemoveAccount("bob@example.test")))
        refused = self.failureResultOf(self.intake.accept(envelope, body), Refused).value
        self.assertEqual((refused.code, refused.status), (451, "4.2.1"))


class CaptureTests(HouseTestCase):
    capture = "bob@example.test"

    def test_everything_elsewhere_is_filed(self) -> None:
        """With capture, mail for elsewhere is taken from anybody and stays here, once, saying for whom."""
        self.successResultOf(self.deliver(MESSAGE, "x@far.test", "y@far.test", "alice@example.test"))
        self.assertEqual(self.queue(), ())
        (caught,) = self.inbox(self.bob)
        self.assertIn(b"Delivered-To: x@far.test\r\nDelivered-To: y@far.test\r\n", caught)
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_unknown_here_is_still_unknown(self) -> None:
        """Capture is for elsewhere: a misspelt name of ours is refused."""
        found = self.intake.recipient(self.origin(), parse_address("dave@example.test"))
        assert isinstance(found, Deferred)
        self.failureResultOf(found, Refused)

    def test_account_is_gone(self) -> None:
        """Without the capturing account mail for elsewhere waits at its sender."""
        self.successResultOf(self.store.commit(RemoveAccount("bob@example.test")))
        found = self.intake.recipient(self.origin(), parse_address("x@far.test"))
        assert isinstance(found, Deferred)
        self.assertEqual(self.failureResultOf(found, Refused).value.code, 451)

    def test_reports_are_caught(self) -> None:
        """A bounce to somebody elsewhere is captured too."""
        unit = self.successResultOf(self.intake.report(parse_address("x@far.test"), MESSAGE))
        assert unit is not None
        self.assertIsNone(unit.transfer)
        self.assertEqual([filing.account_id for filing in unit.filings], [self.bob.id])


class ReportTests(HouseTestCase):
    def report(self, to: str) -> object:
        unit = self.successResultOf(self.intake.report(parse_address(to), MESSAGE))
        return unit and self.successResultOf(self.store.commit(unit))

    def test_to_one_of_ours(self) -> None:
        """A bounce is filed with a null Return-Path."""
        self.report("alice@example.test")
        (message,) = self.inbox(self.alice)
        self.assertTrue(message.startswith(b"Return-Path: <>\r\nDelivered-To: alice@example.test\r\n"))
        self.assertTrue(message.endswith(MESSAGE))

    def test_to_elsewhere(self) -> None:
        """A bounce leaves with the null reverse-path."""
        self.report("x@far.test")
        (queued,) = self.queue()
        self.assertEqual(queued.transfer.reverse_path, "")
        self.assertEqual(self.body(queued.body), MESSAGE)

    def test_to_nobody(self) -> None:
        """Nobody is told about mail of a removed or disabled account."""
        self.assertIsNone(self.report("dave@example.test"))
        self.assertIsNone(self.report("carol@example.test"))
