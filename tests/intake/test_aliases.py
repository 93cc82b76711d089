"""Aliases, forwarding, lists and whole domains; who may send as what."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from mailftp.intake.envelope import Envelope, Origin, Recipient
from mailftp.intake.intake import Intake, Refused
from mailftp.message.address import Address, parse_address
from mailftp.store.records import QueueMessage
from mailftp.store.units import AddAlias, GrantAddress, RemoveAlias, SetAccount
from mailftp.wire.peer import Peer
from tests.intake.houses import FAR, HouseTestCase

MESSAGE = b"From: z@far.test\r\nSubject: hello\r\n\r\nHello.\r\n"
ALICE, BOB, INFO = "alice@example.test", "bob@example.test", "info@example.test"


class AliasTestCase(HouseTestCase):
    def alias(self, address: str, *targets: str, **more: bool | str) -> None:
        self.successResultOf(self.store.commit(AddAlias(address, targets, **more)))  # type: ignore[arg-type]

    def ask(
        self, address: str | Address, sender: str = "z@far.test", login: str | None = None
    ) -> Recipient | tuple[int, str]:
        """The recipient, or the code and status of the refusal."""
        asked = parse_address(address) if isinstance(address, str) else address
        whose = parse_address(sender) if sender else None
        try:
            found = self.intake.recipient(self.origin(login), asked, whose)
            if isinstance(found, Deferred):
                failures: list[Refused] = []
                found.addErrback(lambda failure: failures.append(failure.trap(Refused) and failure.value))
                result = self.successResultOf(found)
                if failures:
                    raise failures[0]
                return result
        except Refused as refused:
            return refused.code, refused.status
        return found

    def ends(self, address: str | Address, **how: str) -> set[str]:
        found = self.ask(address, **how)
        assert isinstance(found, Recipient), found
        if found.routes:
            return {str(route.address) for route in found.routes}
        return {str(found.address)}

    def mail(self, message: bytes, *to: str, sender: str = "z@far.test", login: str | None = None) -> None:
        self.successResultOf(self.deliver(message, *to, login=login, sender=sender))

    def left(self) -> list[tuple[str, list[str]]]:
        """What is in the queue: reverse-path and recipients."""
        return [
            (m.transfer.reverse_path, [r.address for r in m.recipients])
            for m in sorted(self.queue(), key=lambda m: m.id)
        ]

    def only_queued(self) -> QueueMessage:
        (message,) = self.queue()
        return message


class RecipientTests(AliasTestCase):
    def test_several(self) -> None:
        """An alias leads to accounts and to addresses elsewhere, through others, and to each once."""
        self.alias("sales@example.test", BOB, "x@out.test")
        self.alias(INFO, ALICE, BOB, "sales@example.test")
        self.assertEqual(self.ends(INFO), {ALICE, BOB, "x@out.test"})
        self.assertEqual(self.ends("Info+shop@EXAMPLE.test"), {ALICE, BOB, "x@out.test"})

    def test_forwarding(self) -> None:
        """An account's alias takes its mail, and leaves a copy when it is told to."""
        self.alias(BOB, "bob@out.test")
        self.assertEqual(self.ends(BOB), {"bob@out.test"})
        self.alias(BOB, keep=True)
        self.assertEqual(self.ends(BOB), {BOB, "bob@out.test"})
        self.alias(BOB, keep=False)
        self.alias(BOB, BOB)
        self.assertEqual(self.ends(BOB), {BOB, "bob@out.test"})

    def test_forwarding_of_a_disabled_account(self) -> None:
        """Its own copy is left out; the rest goes where it went."""
        self.alias("carol@example.test", "carol@out.test", keep=True)
        self.assertEqual(self.ends("carol@example.test"), {"carol@out.test"})

    def test_catch_all(self) -> None:
        """It has what nobody else has."""
        self.alias("@example.test", ALICE)
        self.alias(INFO, BOB)
        self.assertEqual(self.ends("anything@example.test"), {ALICE})
        self.assertEqual(self.ends(BOB), {BOB})
        self.assertEqual(self.ends("bob+x@example.test"), {"bob+x@example.test"})
        self.assertEqual(self.ends(INFO), {BOB})
        self.assertEqual(self.ask("carol@example.test"), (550, "5.2.1"))
        self.assertEqual(self.ask("anything@second.test"), (550, "5.1.1"))

    def test_domain(self) -> None:
        """A domain that is another's: every name there, with its details and aliases; what it has of its own
        comes first."""
        self.alias("@second.test", "@example.test")
        self.alias(INFO, ALICE)
        own = self.add("bob@second.test")
        self.assertEqual(self.ends("alice@second.test"), {"alice@second.test"})
        recipient = self.ask("alice+x@second.test")
        assert isinstance(recipient, Recipient)
        self.assertEqual(recipient.account_id, self.alice.id)
        self.assertEqual(self.ends("info@second.test"), {ALICE})
        bob = self.ask("bob@second.test")
        assert isinstance(bob, Recipient)
        self.assertEqual(bob.account_id, own.id)
        self.assertEqual(self.ask("nobody@second.test"), (550, "5.1.1"))

    def test_domains_in_a_circle(self) -> None:
        """They lead nowhere, and that is the end of it."""
        self.alias("@second.test", "@example.test")
        self.alias("@example.test", "@second.test")
        self.assertEqual(self.ask("nobody@second.test"), (550, "5.1.1"))
        self.assertEqual(self.ends("alice@second.test"), {"alice@second.test"})

    def test_postmaster(self) -> None:
        """An alias of that name has its mail, also without a domain; a catch-all does not."""
        bare = Address("postmaster", "")
        self.alias("@example.test", BOB)
        self.assertEqual(self.ends(bare), {ALICE})
        self.alias("postmaster@example.test", BOB, "admin@out.test")
        for address in (bare, parse_address("postmaster@second.test")):
            self.assertEqual(self.ends(address), {BOB, "admin@out.test"})

    def test_loops(self) -> None:
        """An alias that leads back to itself alone is refused; with somebody else behind it, that one has
        the mail."""
        self.alias("a@example.test", "b@example.test")
        self.alias("b@example.test", "a@example.test")
        self.assertEqual(self.ask("a@example.test"), (550, "5.4.6"))
        self.alias("b@example.test", BOB)
        self.assertEqual(self.ends("a@example.test"), {BOB})

    def test_chain(self) -> None:
        """Ten aliases in a row are enough."""
        for number in range(11):
            self.alias(f"a{number}@example.test", f"a{number + 1}@example.test")
        self.alias("a11@example.test", BOB)
        self.assertEqual(self.ends("a2@example.test"), {BOB})
        self.assertEqual(self.ask("a0@example.test"), (550, "5.4.6"))

    def test_nobody_behind_it(self) -> None:
        """Who is gone, disabled or full is left out; when that is everybody, the refusal says why."""
        self.alias(INFO, "gone@example.test", "carol@example.test")
        self.assertEqual(self.ask(INFO), (550, "5.2.1"))
        self.alias("other@example.test", "gone@example.test")
        self.assertEqual(self.ask("other@example.test"), (550, "5.1.1"))
        self.alias(INFO, BOB)
        self.assertEqual(self.ends(INFO), {BOB})

    def test_strangers(self) -> None:
        """Elsewhere is still for those who logged in: an alias alone opens the way."""
        self.alias(INFO, "x@out.test")
        self.assertEqual(self.ends(INFO), {"x@out.test"})
        self.assertEqual(self.ask("x@out.test"), (550, "5.7.1"))

    def test_changes_count_at_once(self) -> None:
        """What is remembered of an alias, or of there being none, ends when it changes."""
        self.assertEqual(self.ask(INFO), (550, "5.1.1"))
        self.assertEqual(self.ends(BOB), {BOB})
        self.alias(INFO, BOB)
        self.alias(BOB, "x@out.test")
        self.assertEqual(self.ends(INFO), {"x@out.test"})
        for address in (INFO, BOB):
            self.successResultOf(self.store.commit(RemoveAlias(address)))
        self.assertEqual(self.ends(BOB), {BOB})
        self.assertEqual(self.ask(INFO), (550, "5.1.1"))

    def test_asked_once(self) -> None:
        """A plain account, and a name that is nobody's, cost no look-up while they are remembered."""
        for _ in range(2):
            reads = self.store.reads
            self.ends(BOB)
            self.ask("nobody@example.test")
        self.assertEqual(self.store.reads, reads)


class HostTests(AliasTestCase):
    def at(self, local: str) -> Origin:
        return Origin(FAR, "client.test", "ESMTP", "smtp-test", local=Peer.of(local, 25))

    def asked(self, address: str, local: str = "192.0.2.1") -> Recipient:
        found = self.intake.recipient(self.at(local), parse_address(address))
        return self.successResultOf(found) if isinstance(found, Deferred) else found

    def test_literal_of_this_host(self) -> None:
        """Names at the address that the client called are those of the first domain."""
        for address, local in (
            ("bob@[192.0.2.1]", "192.0.2.1"),
            ("Bob@[IPv6:2001:db8::1]", "2001:db8:0::1"),
            ("bob@[192.0.2.1]", "::ffff:192.0.2.1"),
            ("bob@mx.example.test", "192.0.2.1"),
        ):
            self.assertEqual(self.asked(address, local).account_id, self.bob.id, address)
        self.assertEqual(self.asked("postmaster@[192.0.2.1]").account_id, self.alice.id)

    def test_literal_of_another(self) -> None:
        """That is relaying, and a name that is nobody's stays so."""
        for address, status in (("bob@[192.0.2.2]", "5.7.1"), ("nobody@[192.0.2.1]", "5.1.1")):
            with self.assertRaises(Refused) as raised:
                found = self.intake.recipient(self.at("192.0.2.1"), parse_address(address))
                assert isinstance(found, Deferred)
                raise self.failureResultOf(found, Refused).value
            self.assertEqual(raised.exception.status, status)


class DeliveryTests(AliasTestCase):
    def test_one_transaction(self) -> None:
        """Copies here and what leaves are one commit; each says by which way it came."""
        self.alias(INFO, ALICE, BOB, "x@out.test", "y@out.test")
        self.mail(MESSAGE, INFO)
        for account, name in ((self.alice, ALICE), (self.bob, BOB)):
            (copy,) = self.inbox(account)
            self.assertTrue(
                copy.startswith(
                    b"Return-Path: <z@far.test>\r\nDelivered-To: "
                    + name.encode()
                    + b"\r\nDelivered-To: info@example.test\r\nReceived: "
                ),
                copy,
            )
            self.assertTrue(copy.endswith(MESSAGE))
        message = self.only_queued()
        self.assertEqual(sorted(r.address for r in message.recipients), ["x@out.test", "y@out.test"])
        self.assertTrue(message.transfer.prefix.startswith(b"Delivered-To: info@example.test\r\nReceived: "))

    def test_each_once(self) -> None:
        """Named twice, by an alias and by name, everybody gets it once; what was named itself stays as it
        is."""
        self.alias(INFO, BOB, "x@out.test")
        self.mail(MESSAGE, INFO, BOB, "x@out.test", login="alice", sender=ALICE)
        self.assertEqual(len(self.inbox(self.bob)), 1)
        self.assertEqual(self.left(), [(ALICE, ["x@out.test"])])
        self.assertNotIn(b"Delivered-To", self.only_queued().transfer.prefix)

    def test_nothing_is_kept_when_it_does_not_fit(self) -> None:
        """A message that does not fit anywhere leaves nothing in the queue either."""
        self.alias(BOB, "bob@out.test", keep=True)
        self.successResultOf(self.store.commit(SetAccount(ALICE, (("mail_quota", 1),))))
        refused = self.failureResultOf(self.deliver(MESSAGE, BOB, ALICE), Refused).value
        self.assertEqual((refused.code, refused.account_ids), (452, (self.alice.id,)))
        self.assertEqual((self.inbox(self.bob), self.queue()), ([], ()))

    def test_full_member(self) -> None:
        """One that is full is left out when the others can have it."""
        self.alias(INFO, ALICE, BOB)
        self.successResultOf(self.store.commit(SetAccount(BOB, (("mail_quota", 1),))))
        self.mail(MESSAGE, INFO)
        self.assertEqual((len(self.inbox(self.alice)), len(self.inbox(self.bob))), (1, 0))
        self.successResultOf(self.store.commit(SetAccount(ALICE, (("mail_quota", 1),))))
        refused = self.failureResultOf(self.deliver(MESSAGE, INFO), Refused).value
        self.assertEqual((refused.code, refused.status), (452, "4.2.2"))

    def test_came_back(self) -> None:
        """What an alias sent on and comes back is refused; another way to the same account is left out."""
        self.alias(INFO, BOB, "x@out.test")
        again = b"Delivered-To: info@example.test\r\n" + MESSAGE
        self.assertEqual(self.failureResultOf(self.deliver(again, INFO), Refused).value.status, "5.4.6")
        self.alias("all@example.test", ALICE, INFO)
        self.mail(again, "all@example.test")
        self.assertEqual((len(self.inbox(self.alice)), self.inbox(self.bob), self.queue()), (1, [], ()))

    def test_sender_of_ours(self) -> None:
        """This host may send for our own senders: they stay."""
        self.alias(INFO, "x@out.test")
        self.mail(MESSAGE, INFO, login="alice", sender=ALICE)
        self.mail(MESSAGE, INFO, sender="")
        self.assertEqual(self.left(), [(ALICE, ["x@out.test"]), ("", ["x@out.test"])])

    def test_utf8(self) -> None:
        """An alias to a name beyond ASCII makes the transfer one that needs SMTPUTF8."""
        self.alias(INFO, "jürgen@out.test")
        self.mail(MESSAGE, INFO)
        self.assertTrue(self.only_queued().transfer.smtputf8)

    def test_utf8_names_of_ours(self) -> None:
        """Accounts and aliases may have such names, in either form of their letters."""
        jurgen = self.add("jürgen@example.test")
        self.alias("büro@example.test", "jürgen@example.test", BOB)
        for name in ("BÜRO@example.test", "bu\u0308ro@example.test", "büro+x@example.test"):
            self.mail(MESSAGE, name)
        self.assertEqual([len(self.inbox(account)) for account in (jurgen, self.bob)], [3, 3])
        self.assertIn("Delivered-To: jürgen@example.test\r\n".encode(), self.inbox(jurgen)[0])


class CapturedTests(AliasTestCase):
    capture = ALICE

    def test_capture(self) -> None:
        """What an alias would send on is captured too."""
        self.alias(INFO, BOB, "x@out.test")
        self.mail(MESSAGE, INFO)
        self.assertEqual((len(self.inbox(self.alice)), len(self.inbox(self.bob)), self.queue()), (1, 1, ()))


class SentOnTests(AliasTestCase):
    """The reverse-path of what is sent on, and the reports that come to it."""

    def setUp(self) -> None:
        super().setUp()
        self.alias(BOB, "bob@out.test", keep=True)

    def sent_on(self, sender: str = "z@far.test") -> str:
        self.mail(MESSAGE, BOB, sender=sender)
        message = self.queue()[-1]
        self.assertEqual([r.address for r in message.recipients], ["bob@out.test"])
        return message.transfer.reverse_path

    def test_rewritten(self) -> None:
        """A stranger's address becomes one of ours; the copy that is kept has the sender's."""
        self.assertRegex(self.sent_on(), r"\ASRS0=\w{6}=\w\w=far\.test=z@example\.test\Z")
        self.assertIn(b"Return-Path: <z@far.test>\r\n", self.inbox(self.bob)[0])

    def test_report(self) -> None:
        """A report to it goes to the sender, from nobody."""
        for sender in ("z@far.test", "bounces-0123456789-0123456789-bob=example.test@news.far.test"):
            path = self.sent_on(sender)
            self.mail(b"Subject: failed\r\n\r\n", path, sender="")
            message = self.queue()[-1]
            self.assertEqual((message.transfer.reverse_path, message.recipients[0].address), ("", sender))

    def test_report_of_our_own(self) -> None:
        """What cannot be delivered from here is reported to the sender, and not to the address of ours."""
        for sender in ("z@far.test", "bounces-0123456789-0123456789-bob=example.test@news.far.test"):
            path = parse_address(self.sent_on(sender))
            unit = self.successResultOf(self.intake.report(path, b"Subject: failed\r\n\r\n"))
            assert unit is not None and unit.transfer is not None
            transfer = unit.transfer
            self.assertEqual((transfer.reverse_path, transfer.recipients[0].address), ("", sender))

    def test_report_of_nobody(self) -> None:
        """With a sender, a wrong proof or a wrong name there is no way through to elsewhere."""
        path = parse_address(self.sent_on())
        self.assertEqual(self.ask(path), (550, "5.7.1"))
        forged = Address(path.local.replace("=z", "=y"), path.domain)
        self.assertEqual(self.ask(forged, sender=""), (550, "5.1.1"))
        self.time += 40 * 86400
        self.assertEqual(self.ask(path, sender=""), (550, "5.1.1"))

    def test_name_of_that_form(self) -> None:
        """An account may be called so."""
        odd = self.add("srs0=aaaaaa=aa=b@example.test")
        found = self.ask("SRS0=aaaaaa=aa=b@example.test")
        assert isinstance(found, Recipient)
        self.assertEqual(found.account_id, odd.id)

    def test_secret(self) -> None:
        """Reports find their way after a restart by the secret of the server."""
        self.intake = Intake(self.settings, self.store, lambda: self.time, secret=b"s" * 32)
        path = parse_address(self.sent_on())
        self.intake = Intake(self.settings, self.store, lambda: self.time, secret=b"s" * 32)
        self.assertIsInstance(self.ask(path, sender=""), Recipient)
        self.intake = Intake(self.settings, self.store, lambda: self.time, secret=b"t" * 32)
        self.assertEqual(self.ask(path, sender=""), (550, "5.1.1"))

    def test_report_to_an_alias(self) -> None:
        """A bounce about what was sent as an alias goes where the alias leads."""
        self.alias(INFO, ALICE, "x@out.test")
        unit = self.successResultOf(self.intake.report(parse_address(INFO), b"Subject: failed\r\n\r\n"))
        assert unit is not None
        self.successResultOf(self.store.commit(unit))
        self.assertEqual(len(self.inbox(self.alice)), 1)
        self.assertEqual(self.left(), [("", ["x@out.test"])])


class ListTests(AliasTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alias("team@example.test", ALICE, "x@out.test", owner=BOB)

    def test_mail(self) -> None:
        """What a list sends on has its owner as reverse-path, whoever wrote it, and says which list it is."""
        self.mail(MESSAGE, "team@example.test")
        self.mail(MESSAGE, "team@example.test", login="alice", sender=ALICE)
        self.assertEqual(self.left(), [(BOB, ["x@out.test"])] * 2)
        fields = (
            b"List-Id: <team.example.test>\r\nList-Post: <mailto:team@example.test>\r\n"
            b"List-Owner: <mailto:bob@example.test>\r\n"
        )
        self.assertIn(fields, self.inbox(self.alice)[0])
        self.assertIn(fields, self.queue()[0].transfer.prefix)

    def test_reports(self) -> None:
        """A list takes none: each would go to everybody."""
        self.assertEqual(self.ask("team@example.test", sender=""), (550, "5.7.2"))

    def test_closed(self) -> None:
        """Where only members may write, that is members and the owner, and details do not matter."""
        self.alias("team@example.test", members_only=True)
        for sender, login, ours in (
            ("z@far.test", None, False),
            ("x@out.test", None, True),
            (BOB, None, True),
            (INFO, "alice", True),
            ("Alice@example.test", None, True),
        ):
            answer = self.ask("team@example.test", sender, login)
            self.assertEqual(isinstance(answer, Recipient), ours, sender)
        self.assertEqual(self.ask("team@example.test", "z@far.test"), (550, "5.7.2"))

    def test_closed_list_behind_an_alias(self) -> None:
        """The alias opens no way into it."""
        self.alias("team@example.test", members_only=True)
        self.alias(INFO, "team@example.test")
        self.assertEqual(self.ask(INFO), (550, "5.7.2"))
        self.alias(INFO, BOB)
        self.assertEqual(self.ends(INFO), {BOB})
        self.assertEqual(self.ends(INFO, sender=ALICE), {ALICE, BOB, "x@out.test"})


class NotificationTests(AliasTestCase):
    """RFC 3461 section 5.2.7."""

    def send(self, to: str, *notify: str) -> None:
        envelope = Envelope(self.origin(), parse_address("z@far.test"), envid="e1")
        found = self.ask(to)
        assert isinstance(found, Recipient)
        envelope.recipients.append(replace(found, notify=frozenset(notify), orcpt=f"rfc822;{to}"))
        sink = self.intake.stage(envelope)
        sink.write(MESSAGE)
        self.successResultOf(Deferred.fromCoroutine(self._finish(envelope, sink)))

    def asked(self) -> list[tuple[str, str, frozenset[str]]]:
        """(address, ORCPT, NOTIFY) of what was sent on."""
        return [
            (r.address, r.orcpt, r.notify)
            for m in self.queue()
            if m.transfer.reverse_path
            for r in m.recipients
        ]

    def reports(self) -> list[bytes]:
        return [self.body(m.body) for m in self.queue() if not m.transfer.reverse_path]

    def test_one_target(self) -> None:
        """What was asked goes with it, and this server reports nothing."""
        self.alias(INFO, "x@out.test")
        self.send(INFO, "SUCCESS", "FAILURE")
        self.assertEqual(self.asked(), [("x@out.test", f"rfc822;{INFO}", frozenset({"SUCCESS", "FAILURE"}))])
        self.assertEqual(self.reports(), [])

    def test_several_targets(self) -> None:
        """This server reports that it was expanded; failures are still reported from there."""
        self.alias(INFO, "x@out.test", BOB)
        self.send(INFO, "SUCCESS", "FAILURE")
        self.assertEqual(self.asked(), [("x@out.test", f"rfc822;{INFO}", frozenset({"FAILURE"}))])
        (report,) = self.reports()
        self.assertIn(b"\r\nAction: expanded\r\n", report)

    def test_successes_alone(self) -> None:
        """Whoever asked for these alone hears of nothing else."""
        self.alias(INFO, "x@out.test", "y@out.test")
        self.send(INFO, "SUCCESS")
        self.assertEqual({notify for _, _, notify in self.asked()}, {frozenset({"NEVER"})})

    def test_list(self) -> None:
        """A list's owner hears of failures; the sender hears that the list has it."""
        self.alias("team@example.test", "x@out.test", owner=BOB)
        self.send("team@example.test", "SUCCESS", "DELAY")
        ((_, _, notify),) = self.asked()
        self.assertEqual(notify, {"FAILURE"})
        (report,) = self.reports()
        self.assertIn(b"\r\nAction: delivered\r\n", report)


class SenderTests(AliasTestCase):
    def may(self, login: str, sender: str) -> bool:
        try:
            checked = self.intake.sender(self.origin(login), parse_address(sender))
        except Refused:
            return False
        if checked is None:
            return True
        refused: list[object] = []
        checked.addErrback(refused.append)
        self.successResultOf(checked)
        return not refused

    def test_own(self) -> None:
        """Its own name, with details; as an alias or a domain that leads to it alone."""
        self.alias(INFO, BOB)
        self.alias("both@example.test", BOB, ALICE)
        self.alias("@second.test", "@example.test")
        for sender in (BOB, "Bob+x@example.test", INFO, "bob@second.test", "info@second.test"):
            self.assertTrue(self.may("bob", sender), sender)
        for sender in (ALICE, "both@example.test", "alice+x@example.test", "bob@far.test", "x@second.test"):
            self.assertFalse(self.may("bob", sender), sender)

    def test_catch_all(self) -> None:
        """Whoever has all other names may use them; not those that are somebody's."""
        self.alias("@second.test", BOB)
        self.assertTrue(self.may("bob", "shop@second.test"))
        self.assertFalse(self.may("alice", "shop@second.test"))
        self.add("own@second.test")
        self.assertFalse(self.may("bob", "own@second.test"))

    def test_list(self) -> None:
        """A list's one member is not the list."""
        self.alias("team@example.test", BOB, owner=ALICE)
        self.assertFalse(self.may("bob", "team@example.test"))

    def test_granted(self) -> None:
        """What was granted, with details; a whole domain; an address elsewhere."""
        for address in ("both@example.test", "@third.test", "bob@far.test"):
            self.successResultOf(self.store.commit(GrantAddress(address, BOB)))
        for sender in ("both@example.test", "BOTH+x@example.test", "any@third.test", "bob@far.test"):
            self.assertTrue(self.may("bob", sender), sender)
            self.assertFalse(self.may("alice", sender), sender)
        self.assertFalse(self.may("bob", "x@far.test"))

    def test_foreign_realm(self) -> None:
        """Somebody who is no account of the store sends as what the realm says."""
        origin = self.origin("bob")
        assert origin.submitter is not None
        stranger = replace(origin, submitter=replace(origin.submitter, account_id=None))  # type: ignore[type-var]
        self.assertIsNone(self.intake.sender(stranger, parse_address(BOB)))
        self.assertRaises(Refused, self.intake.sender, stranger, parse_address("bob+x@example.test"))
