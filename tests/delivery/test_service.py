"""The queue at work, from a committed message to what its sender hears."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from pathlib import Path

from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from mailftp.dns.resolver import Unresolved
from mailftp.settings import Concurrency, Smarthost
from mailftp.store.engine import MissingBody, StoreFault, StoreFull
from mailftp.store.queries import MailboxSince, OpenBody, ReadStart
from mailftp.store.records import ForwardPath
from mailftp.store.units import ActOnQueue, LeaseDue, QueueAction, RecordOutcomes, RenewLeases, SetRoute
from tests.delivery.house import MESSAGE, HouseCase
from tests.smtp.far_side import Behaviour, FarSide, certificate

#: Silent from MAIL on.
HANG = {"MAIL": None, "RCPT": None, "DATA": None}


class DeliveryTests(HouseCase):
    async def test_delivered(self) -> None:
        """What is committed is delivered at once, with its trace fields, and nobody is told."""
        far = await self.routed()
        number = await self.submit("bob@b.test")
        message = await self.settled(number)
        self.assertEqual(message.recipients[0].state.value, "delivered")
        self.assertEqual(far.taken[0].message, b"Received: here\r\n" + MESSAGE)
        self.assertEqual(far.taken[0].mail.split()[1], "FROM:<alice@a.test>")
        (attempt,) = await self.attempts(number)
        self.assertEqual(attempt.remote, f"127.0.0.1 [127.0.0.1]:{far.port}")
        self.assertIn("C: RCPT TO:<bob@b.test>", attempt.dialogue)
        self.assertNotIn("Body.", attempt.dialogue)
        self.assertEqual(await self.inbox(), [])

    async def test_queued_before_start(self) -> None:
        """What was waiting when the service starts is delivered."""
        far = await self.far()
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}), start=False)
        number = await self.submit("bob@b.test")
        self.service.startService()
        await self.settled(number)
        self.assertEqual(len(far.taken), 1)

    async def test_one_transaction(self) -> None:
        """The recipients of one domain go together, beyond a hundred in several; a connection serves all."""
        far = await self.routed()
        number = await self.submit(*(f"u{n}@b.test" for n in range(250)))
        await self.settled(number)
        self.assertEqual(sum(len(taken.rcpts) for taken in far.taken), 250)
        self.assertLessEqual(max(len(taken.rcpts) for taken in far.taken), 100)
        self.assertEqual(set((await self.states(number)).values()), {"delivered"})

    async def test_dialogue_kept_once(self) -> None:
        """The dialogue of a transaction is kept with its first recipient; the others refer to it."""
        await self.routed()
        number = await self.submit("bob@b.test", "eve@b.test")
        await self.settled(number)
        first, second = await self.attempts(number)
        self.assertIn("C: RCPT TO:<eve@b.test>", first.dialogue)
        self.assertEqual(second.dialogue, "[as for bob@b.test]")

    async def test_capture(self) -> None:
        """With capture nothing leaves, what was queued before included."""
        far = await self.far()
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}, capture="alice@a.test"))
        number = await self.submit("bob@b.test")
        self.clock.advance(1000)
        await deferLater(reactor, 0.01)
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting"})
        self.assertEqual(far.sessions, [])

    async def test_connection_reused(self) -> None:
        """The next message for the same host soon after goes over the same connection."""
        far = await self.routed()
        for _ in range(3):
            await self.settled(await self.submit("bob@b.test"))
        self.assertEqual((len(far.taken), len(far.sessions)), (3, 1))
        self.clock.advance(5)
        await self.until(lambda: far.sessions[0].closed, "QUIT")
        self.assertEqual(far.lines[-1], "QUIT")
        await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(len(far.sessions), 2)

    async def test_kept_connection_died(self) -> None:
        """A kept connection that the far side has closed costs no attempt."""
        far = await self.routed()
        await self.settled(await self.submit("bob@b.test"))
        far.behaviour.closes_after = frozenset({"MAIL"})

        def first_time_only(line: str) -> str | None:
            far.behaviour.answers.clear()
            deferLater(reactor, 0, setattr, far.behaviour, "closes_after", frozenset())
            return None

        far.behaviour.answers["MAIL"] = first_time_only
        message = await self.settled(await self.submit("eve@b.test"))
        self.assertEqual(message.recipients[0].state.value, "delivered")
        self.assertEqual(len(far.sessions), 2)

    async def test_large_body(self) -> None:
        """A body that is a file is sent from its descriptor."""
        far = await self.routed()
        large = MESSAGE + b"0123456789\r\n" * 20_000
        number = await self.submit("bob@b.test", message=large)
        await self.settled(number)
        self.assertEqual(far.taken[0].message, b"Received: here\r\n" + large)

    async def test_lmtp(self) -> None:
        """An LMTP route has a reply for each recipient."""
        far = await self.far(Behaviour(lmtp=True, answers={". RCPT TO:<eve@b.test>": "552 5.2.2 full"}))
        await self.house(self.plain(routes={"b.test": f"lmtp:127.0.0.1:{far.port}"}))
        number = await self.submit("bob@b.test", "eve@b.test")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"bob@b.test": "delivered", "eve@b.test": "failed"})

    async def test_mx(self) -> None:
        """By MX: the second host is called when the first does not answer."""
        far = await self.far()
        await self.house(self.plain(port=far.port))
        self.table.put("b.test", "MX", "5 dead.test.", "9 mx.b.test.")
        # Nothing listens on this port of 127.0.0.3.
        self.table.put("dead.test", "A", "127.0.0.3").put("mx.b.test", "A", "127.0.0.1")
        number = await self.submit("bob@b.test")
        await self.settled(number)
        (attempt,) = await self.attempts(number)
        self.assertEqual(attempt.remote, f"mx.b.test [127.0.0.1]:{far.port}")
        self.assertEqual(far.lines[0], "EHLO mx.a.test")

    async def test_next_host(self) -> None:
        """A host that greets with 554, or says 421 in the middle, leads to the next one."""
        for behaviour in (Behaviour(greeting="554 5.7.1 no"), Behaviour(answers={"MAIL": "421 4.3.2 busy"})):
            bad = await self.far(behaviour)
            good = FarBehind(self, bad.port)
            await good.listen()
            await self.house(self.plain(port=bad.port))
            self.table.put("b.test", "MX", "5 bad.test.", "9 good.test.")
            self.table.put("bad.test", "A", "127.0.0.1").put("good.test", "A", "127.0.0.2")
            number = await self.submit("bob@b.test")
            await self.settled(number)
            self.assertEqual(await self.states(number), {"bob@b.test": "delivered"})
            self.assertEqual(len(good.far.taken), 1)
            await self.stopped()

    async def test_undecided(self) -> None:
        """A host that had the whole message and did not answer is not followed by another in this attempt."""
        bad = await self.far(Behaviour(answers={".": None}, closes_after={"."}))
        good = FarBehind(self, bad.port)
        await good.listen()
        await self.house(self.plain(port=bad.port))
        self.table.put("b.test", "MX", "5 bad.test.", "9 good.test.")
        self.table.put("bad.test", "A", "127.0.0.1").put("good.test", "A", "127.0.0.2")
        number = await self.submit("bob@b.test")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting"})
        self.assertEqual(good.far.taken, [])

    async def test_smarthost(self) -> None:
        """Everything goes to the smarthost, with TLS that is checked and a login."""
        options, authority = certificate("smart.test")
        far = await self.far(
            Behaviour(extensions=("STARTTLS", "AUTH PLAIN"), tls=options, answers={"AUTH": "235 2.7.0 ok"})
        )
        secret = Path(self.mktemp())
        secret.write_text("pass\n")
        smarthost = Smarthost(f"smart.test:{far.port}", "user", secret)
        creator = ssl.optionsForClientTLS("smart.test", trustRoot=authority)
        await self.house(self.plain(smarthost=smarthost), creator=creator)
        self.table.put("smart.test", "A", "127.0.0.1")
        number = await self.submit("bob@b.test", "eve@c.test")
        await self.settled(number)
        self.assertEqual(set((await self.states(number)).values()), {"delivered"})
        self.assertIn("AUTH PLAIN AHVzZXIAcGFzcw==", far.lines)
        for attempt in await self.attempts(number):
            self.assertNotIn("AHVzZXIAcGFzcw", attempt.dialogue)

    async def test_smarthost_without_its_password(self) -> None:
        """A password file that is missing or empty is said when the service is made."""
        empty = Path(self.mktemp())
        empty.write_text("\n")
        for path in (empty, Path("/nonexistent/secret")):
            with self.assertRaisesRegex(ValueError, "password_file"):
                await self.house(self.plain(smarthost=Smarthost("h:25", "u", path)), start=False)

    async def test_smtputf8(self) -> None:
        """SMTPUTF8 is asked for where the header needs it, not because the client had said the word."""
        far = await self.routed(Behaviour(extensions=("SMTPUTF8",)))
        await self.settled(await self.submit("bob@b.test", smtputf8=True))
        utf8 = MESSAGE.replace(b"hello", "h\u00e9".encode())
        await self.settled(await self.submit("bob@b.test", smtputf8=True, message=utf8))
        self.assertEqual(["SMTPUTF8" in taken.mail for taken in far.taken], [False, True])


class FarBehind:
    """A good server on 127.0.0.2 and the port of another."""

    def __init__(self, case: HouseCase, port: int) -> None:
        self.case, self.port, self.far = case, port, FarSide()

    async def listen(self) -> None:
        self.far.listen(reactor, "127.0.0.2", self.port)
        self.case.addCleanup(self.far.stop)


class FailureTests(HouseCase):
    async def bounced(self, number: int) -> bytes:
        """The one bounce about a message, in its sender's mailbox."""
        await self.settled(number)
        (bounce,) = await self.inbox()
        self.assertTrue(bounce.startswith(b"Return-Path: <>"), bounce[:40])
        return bounce

    async def test_refused(self) -> None:
        """550 is a bounce with the far side's words, in the sender's mailbox, from the null sender."""
        far = await self.routed(Behaviour(answers={"RCPT TO:<bob": "550 5.1.1 nobody here"}))
        number = await self.submit("bob@b.test", "eve@b.test", envid="e1")
        bounce = await self.bounced(number)
        self.assertEqual(await self.states(number), {"bob@b.test": "failed", "eve@b.test": "delivered"})
        for part in (
            b"Final-Recipient: rfc822; bob@b.test",
            b"Action: failed",
            b"Status: 5.1.1",
            b"Diagnostic-Code: smtp; 550 5.1.1 nobody here",
            b"Original-Envelope-Id: e1",
            b"Message-ID: <1@a.test>",
            b"Body.",
        ):
            self.assertIn(part, bounce)
        self.assertNotIn(b"eve@b.test", bounce)
        self.assertEqual(len(far.taken), 1)

    async def test_no_domain(self) -> None:
        """A domain that does not exist, or takes no mail, is a bounce without a call."""
        await self.house()
        self.table.put("null.test", "MX", "0 .")
        number = await self.submit("bob@nowhere.test", "eve@null.test")
        await self.settled(number)
        both = b"".join(await self.inbox())
        self.assertIn(b"Status: 5.1.2", both)
        self.assertIn(b"Status: 5.1.10", both)

    async def test_headers_only(self) -> None:
        """RET=HDRS gives the header back and not the message."""
        await self.house()
        bounce = await self.bounced(await self.submit("bob@nowhere.test", ret="HDRS"))
        self.assertIn(b"Message-ID: <1@a.test>", bounce)
        self.assertNotIn(b"Body.", bounce)

    async def test_large(self) -> None:
        """Of a message in a file the header is given back, all of it only when that was asked for."""
        await self.house()
        large = MESSAGE + b"0123456789\r\n" * 20_000
        bounce = await self.bounced(await self.submit("bob@nowhere.test", message=large))
        self.assertLess(len(bounce), 10_000)
        await self.settled(await self.submit("bob@nowhere.test", message=large, ret="FULL"))
        changes = await self.store.read(MailboxSince(self.alice.id))
        self.assertGreater(changes.messages[-1].size, len(large))

    async def test_notify(self) -> None:
        """NOTIFY=NEVER, or without FAILURE, means no bounce (RFC 3461 section 4.1)."""
        await self.house()
        never = ForwardPath("bob@nowhere.test", notify=frozenset({"NEVER"}))
        delay = ForwardPath("eve@nowhere.test", notify=frozenset({"DELAY", "SUCCESS"}))
        number = await self.submit(never, delay)
        await self.settled(number)
        self.assertEqual(set((await self.states(number)).values()), {"failed"})
        self.assertEqual(await self.inbox(), [])

    async def test_null_sender(self) -> None:
        """No bounce about a bounce."""
        await self.house()
        number = await self.submit("bob@nowhere.test", sender="")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"bob@nowhere.test": "failed"})
        self.assertEqual(await self.inbox(), [])

    async def test_sender_elsewhere(self) -> None:
        """A bounce to somebody elsewhere goes out itself, from the null sender."""
        far = await self.far()
        await self.house(self.plain(routes={"c.test": f"127.0.0.1:{far.port}"}))
        await self.settled(await self.submit("bob@nowhere.test", sender="carol@c.test"))
        await self.until(lambda: far.taken, "the bounce")
        self.assertEqual(far.taken[0].mail.split()[1], "FROM:<>")
        self.assertEqual(far.taken[0].rcpts[0].split()[1], "TO:<carol@c.test>")

    async def test_sender_gone(self) -> None:
        """Where there is nobody to tell, the recipient has failed all the same."""
        await self.house()
        for sender in ("nobody@a.test", "no address"):
            number = await self.submit("bob@nowhere.test", sender=sender)
            await self.settled(number)
            self.assertEqual(await self.states(number), {"bob@nowhere.test": "failed"})

    async def test_success(self) -> None:
        """NOTIFY=SUCCESS: "relayed" where the far side will not say so itself (RFC 3461 section 5.2.2)."""
        asked = ForwardPath("bob@b.test", orcpt="rfc822;bob@b.test", notify=frozenset({"SUCCESS"}))
        await self.routed()
        await self.settled(await self.submit(asked))
        (report,) = await self.inbox()
        self.assertIn(b"Action: relayed", report)
        await self.stopped()
        far = await self.routed(Behaviour(extensions=("DSN",)))
        await self.settled(await self.submit(asked))
        self.assertEqual(await self.inbox(), [])
        self.assertIn("RCPT TO:<bob@b.test> NOTIFY=SUCCESS ORCPT=rfc822;bob@b.test", far.lines)

    async def test_loop(self) -> None:
        """A host that is ourselves is a loop, 5.4.6."""
        await self.house(self.plain(port=2525), local_addresses={("127.0.0.1", 2525)})
        self.table.put("b.test", "MX", "5 x.test.").put("x.test", "A", "127.0.0.1")
        bounce = await self.bounced(await self.submit("bob@b.test"))
        self.assertIn(b"Status: 5.4.6", bounce)


class JournalTests(HouseCase):
    async def test_lines(self) -> None:
        """A line for each recipient and attempt, under the context that the message came by; no body."""
        await self.routed(
            Behaviour(answers={"RCPT TO:<eve": "451 4.7.1 later", "RCPT TO:<dan": "550 5.1.1 no"})
        )
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        await self.settled(await self.submit("bob@b.test", "eve@b.test", "dan@b.test"))
        lines = {
            event["mailftp_event"]: event["mailftp_fields"]
            for event in events
            if event.get("mailftp_context") == "smtp-1"
        }
        self.assertEqual(set(lines), {"delivered", "deferred", "bounced"})
        self.assertEqual(lines["delivered"]["recipient"], "bob@b.test")
        self.assertEqual(lines["deferred"]["retry_in"], 60.0)
        self.assertEqual(lines["bounced"]["reply"], "550 5.1.1 no")
        self.assertNotIn("Body.", str(lines))


class RetryTests(HouseCase):
    async def test_retry(self) -> None:
        """4xx is tried again by the schedule, and then delivered."""
        far = await self.routed(Behaviour(answers={"RCPT": "451 4.7.1 greylisted"}))
        number = await self.submit("bob@b.test")
        message = await self.settled(number)
        (recipient,) = message.recipients
        self.assertEqual(recipient.state.value, "waiting")
        self.assertEqual(recipient.next_attempt, self.clock.seconds() + 60)
        self.assertEqual(recipient.last_error, "451 4.7.1 greylisted")
        self.clock.advance(59)
        await deferLater(reactor, 0.01)
        self.assertEqual(len(far.sessions), 1)
        far.behaviour.answers.clear()
        self.clock.advance(2)
        message = await self.settled(number, 2)
        self.assertEqual(message.recipients[0].state.value, "delivered")
        self.assertEqual(await self.inbox(), [])

    async def test_dns_fails(self) -> None:
        """A name server that does not answer is no reason to return mail."""
        await self.house()
        self.table.put("b.test", "MX", Unresolved("SERVFAIL"))
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].state.value, "waiting")
        self.assertIn("SERVFAIL", message.recipients[0].last_error)

    async def test_warning_and_end(self) -> None:
        """The sender is warned once, and at the end gets the message back with the last error."""
        await self.routed(Behaviour(answers={"RCPT": "452 4.2.2 full"}))
        number = await self.submit("bob@b.test")
        attempts, warned_at, bounced_at = 1, None, None
        start = self.clock.seconds()
        for _ in range(40):
            message = await self.settled(number, attempts)
            seen = len(await self.inbox())
            if seen == 1 and warned_at is None:
                warned_at = self.clock.seconds() - start
            if message.recipients[0].state.value == "failed":
                bounced_at = self.clock.seconds() - start
                break
            self.clock.advance(message.recipients[0].next_attempt - self.clock.seconds())
            attempts += 1
        self.assertEqual((warned_at, bounced_at), (1200, 3600))
        warning, bounce = await self.inbox()
        self.assertIn(b"Action: delayed", warning)
        self.assertIn(b"Will-Retry-Until:", warning)
        self.assertNotIn(b"Body.", warning)
        self.assertIn(b"Action: failed", bounce)
        self.assertIn(b"452 4.2.2 full", bounce)

    async def test_operator(self) -> None:
        """What the operator makes due is tried at once."""
        far = await self.routed(Behaviour(answers={"RCPT": "451 4.7.1 later"}))
        number = await self.submit("bob@b.test")
        await self.settled(number)
        far.behaviour.answers.clear()
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (number,)))
        message = await self.settled(number, 2)
        self.assertEqual(message.recipients[0].state.value, "delivered")

    async def test_bounced_by_the_operator(self) -> None:
        """Nobody is called; the sender is told who returned it."""
        far = await self.routed(Behaviour(answers={"RCPT": "451 4.7.1 later"}))
        number = await self.submit("bob@b.test", "carol@b.test")
        await self.settled(number)
        called = len(far.sessions)
        await self.store.commit(ActOnQueue(QueueAction.BOUNCE, (number,)))
        message = await self.settled(number, 2)
        self.assertEqual([r.state.value for r in message.recipients], ["failed", "failed"])
        self.assertEqual(len(far.sessions), called)
        (bounce,) = await self.inbox()
        self.assertIn(b"returned by the postmaster", bounce)
        self.assertEqual(bounce.count(b"Action: failed"), 2)

    async def test_routed_by_the_operator(self) -> None:
        """What the operator gives a way of its own goes there, and the rest where it did."""
        far = await self.routed(Behaviour(answers={"RCPT": "451 4.7.1 later"}))
        other = await self.far()
        number, left = await self.submit("bob@b.test"), await self.submit("carol@b.test")
        await self.settled(number)
        await self.settled(left)
        await self.store.commit(SetRoute(f"127.0.0.1:{other.port}", (number,)))
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (number, left)))
        message = await self.settled(number, 2)
        self.assertEqual(message.recipients[0].state.value, "delivered")
        self.assertEqual((await self.settled(left, 2)).recipients[0].state.value, "waiting")
        self.assertEqual(len(other.taken), 1)
        self.assertEqual(far.taken, [])

    async def test_smtp_words_do_not_end_lines(self) -> None:
        """What is kept of a far side's words is one printable line."""
        await self.routed(Behaviour(answers={"RCPT": "451-4.7.1 a\x1b[1mb\r\n451 4.7.1 c"}))
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].last_error, "451 4.7.1 a?[1mb c")


class CapabilityTests(HouseCase):
    """What a far side can do decides how it gets a message."""

    EIGHT = MESSAGE.replace(b"Body.", "Grüße.".encode())

    async def test_without_8bitmime(self) -> None:
        """It is sent in 7 bits, small or from a file, and decodes to what it was."""
        for text in (self.EIGHT, self.EIGHT + "0123456789 ä\r\n".encode() * 20_000):
            far = await self.routed(Behaviour(extensions=("PIPELINING",)))
            message = await self.settled(await self.submit("bob@b.test", message=text, eightbit=True))
            self.assertEqual(message.recipients[0].state.value, "delivered")
            (taken,) = far.taken
            self.assertTrue(taken.raw.isascii())
            self.assertNotIn("BODY", taken.mail)
            decoded = message_from_bytes(taken.message).get_payload(decode=True)
            self.assertEqual(decoded, text.partition(b"\r\n\r\n")[2])
            await self.stopped()

    async def test_with_8bitmime(self) -> None:
        """Octet for octet where it is offered."""
        far = await self.routed()
        await self.settled(await self.submit("bob@b.test", message=self.EIGHT, eightbit=True))
        self.assertTrue(far.taken[0].message.endswith(self.EIGHT))
        self.assertIn("BODY=8BITMIME", far.taken[0].mail)

    async def test_limits(self) -> None:
        """RFC 9422: as many recipients a message and messages a connection as the far side says."""
        far = await self.routed(Behaviour(extensions=("PIPELINING", "LIMITS rcptmax=2 MAILMAX=2 RCPTMAX=x")))
        message = await self.settled(await self.submit(*(f"u{n}@b.test" for n in range(7))))
        self.assertEqual({r.state.value for r in message.recipients}, {"delivered"})
        self.assertEqual([len(taken.rcpts) for taken in far.taken], [2, 2, 2, 1])
        self.assertEqual(len(far.sessions), 2)


class ConcurrencyTests(HouseCase):
    async def test_limits(self) -> None:
        """No more connections to a domain, and in all, than the settings say; all is delivered in the end."""
        far = await self.far(Behaviour(answers=dict(HANG)))
        await self.house(
            self.plain(
                routes={f"d{n}.test": f"127.0.0.1:{far.port}" for n in range(4)},
                concurrency=Concurrency(total=10, per_destination=2),
            )
        )
        numbers = [await self.submit(f"u{n}@d{n % 4}.test") for n in range(20)]
        await self.until(lambda: sum(bool(s.lines) for s in far.sessions) == 5, "five connections")
        await deferLater(reactor, 0.05)
        self.assertEqual(len(far.sessions), 5)
        far.behaviour.answers.clear()
        for session in far.sessions:
            session.transport.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
            session._in_data = True
        for number in numbers:
            await self.settled(number)
        self.assertEqual(len(far.taken), 20)

    async def test_silent_ones_do_not_keep_new_ones_out(self) -> None:
        """Hosts that say nothing hold all the places for those who have not answered yet. Mail for others of
        those goes on all the same, and not only after minutes."""
        far = await self.far()
        silent = await self.far(Behaviour(greeting=None))
        await self.house(
            self.plain(
                routes={
                    **{f"d{n}.test": f"127.0.0.1:{silent.port}" for n in range(2)},
                    "b.test": f"127.0.0.1:{far.port}",
                },
                concurrency=Concurrency(total=4, per_destination=4),
            )
        )
        dead = [await self.submit(f"u{n}@d{n}.test") for n in range(2)]
        await self.until(lambda: len(silent.sessions) == 2, "two connections")
        number = await self.submit("u@b.test")
        for _ in range(6):
            self.clock.advance(5)
            await deferLater(reactor, 0.02)
        await self.settled(number)
        self.assertEqual(len(far.taken), 1)
        for one in dead:
            message = await self.settled(one)
            self.assertIn("kept us waiting", message.recipients[0].last_error)
            self.assertEqual(message.recipients[0].state.value, "waiting")

    async def test_dead_do_not_slow_the_rest(self) -> None:
        """While destinations that say nothing hold all the places that unknown ones may have, mail for one
        that answers goes on. When they are given up, the rest of their mail does not wait for a timeout
        again, but once the operator asks it does."""
        far = await self.far()
        silent = await self.far(Behaviour(greeting=None))
        routes = {f"d{n}.test": f"127.0.0.1:{silent.port}" for n in range(4)}
        await self.house(
            self.plain(
                routes={**routes, "b.test": f"127.0.0.1:{far.port}"},
                concurrency=Concurrency(total=4, per_destination=4),
            )
        )
        await self.settled(await self.submit("first@b.test"))
        dead = [await self.submit(f"u{n}@d{n % 4}.test") for n in range(12)]
        await self.until(lambda: len(silent.sessions) == 2, "two connections")
        live = [await self.submit(f"u{n}@b.test") for n in range(20)]
        for number in live:
            await self.settled(number)
        self.assertEqual((len(far.taken), len(silent.sessions)), (21, 2))
        soon: list[int] = []
        for _ in range(100):
            self.clock.advance(20)
            await deferLater(reactor, 0.01)
            errors = [(await self.queue(number)).recipients[0].last_error for number in dead]
            soon = [n for n, error in zip(dead, errors, strict=True) if "not tried again so soon" in error]
            if soon:
                break
        self.assertTrue(soon, errors)
        (again,) = (await self.queue(soon[0])).recipients
        self.assertTrue(self.service._destinations.dead(again.domain))
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (soon[0],)))
        self.assertFalse(self.service._destinations.dead(again.domain))

    async def test_leases_renewed(self) -> None:
        """While an attempt lasts its lease is renewed, so that nobody else begins one."""
        far = await self.routed(Behaviour(answers=dict(HANG)))
        number = await self.submit("bob@b.test")
        await self.until(lambda: any(s.lines[-1:] == ["DATA"] for s in far.sessions), "MAIL")
        for _ in range(7):
            self.clock.advance(40)
            (recipient,) = (await self.queue(number)).recipients
            self.assertGreater(recipient.lease_until, self.clock.seconds())
        self.assertEqual(await self.store.commit(LeaseDue("other/1", 60, 10)), ())


class StopTests(HouseCase):
    async def test_given_back(self) -> None:
        """What is under way when the service stops is cut after some seconds, and due again at once."""
        far = await self.routed(Behaviour(answers=dict(HANG)), concurrency=Concurrency(1, 1))
        first, second = await self.submit("bob@b.test"), await self.submit("eve@b.test")
        await self.until(lambda: far.sessions and far.sessions[0].lines[-1:] == ["DATA"], "MAIL")
        await self.stopped()
        for number in (first, second):
            (recipient,) = (await self.queue(number)).recipients
            self.assertEqual((recipient.state.value, recipient.lease_owner), ("waiting", ""))
            self.assertLessEqual(recipient.next_attempt, self.clock.seconds())
        far.behaviour.answers.clear()
        self.service = self.deliverer()
        self.service.startService()
        for number in (first, second):
            await self.until(
                lambda number=number: Deferred.fromCoroutine(self.delivered(number)), "the delivery"
            )

    async def delivered(self, number: int) -> bool:
        return set((await self.states(number)).values()) == {"delivered"}

    async def test_may_end(self) -> None:
        """An attempt that ends in time counts."""
        far = await self.routed(Behaviour(answers={".": None}))
        number = await self.submit("bob@b.test")
        await self.until(lambda: far.taken, "the message")
        stopping = self.service.stopService()
        far.sessions[0].transport.write(b"250 2.0.0 taken\r\n")
        await stopping
        self.assertEqual(await self.states(number), {"bob@b.test": "delivered"})

    async def test_connecting(self) -> None:
        """A stop while the greeting is waited for, and while the name is looked up."""
        far = await self.routed(Behaviour(greeting=None))
        number = await self.submit("bob@b.test")
        await self.until(lambda: far.sessions, "a connection")
        await self.stopped()
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting"})
        self.service = self.deliverer()
        self.table.lookup = lambda name, kind: Deferred()
        other = await self.submit("bob@c.test")
        self.service.startService()
        await deferLater(reactor, 0.01)
        await self.stopped()
        self.assertEqual(await self.states(other), {"bob@c.test": "waiting"})

    async def test_stopped_while_leasing(self) -> None:
        """What is leased in the moment of the stop is given back and not begun."""
        far = await self.routed()
        commit, held = self.store.commit, Deferred()

        def slow(unit):
            return held.addCallback(lambda _: commit(unit)) if isinstance(unit, LeaseDue) else commit(unit)

        self.store.commit = slow
        number = await self.submit("bob@b.test")
        stopping = self.service.stopService()
        held.callback(None)
        await stopping
        (recipient,) = (await self.queue(number)).recipients
        self.assertEqual((recipient.state.value, recipient.lease_owner), ("waiting", ""))
        self.assertEqual(far.sessions, [])

    async def test_earlier_boot(self) -> None:
        """Leases of this node's earlier boot end when it starts."""
        far = await self.far()
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}), start=False)
        number = await self.submit("bob@b.test")
        await self.store.commit(LeaseDue("mx.a.test/dead", 3600, 10))
        self.service.startService()
        await self.until(lambda: Deferred.fromCoroutine(self.delivered(number)), "the delivery")


class StoreFaultTests(HouseCase):
    def failing(self, kind: type, fault: Exception, times: int = 1) -> None:
        """Let the next commits of a kind fail."""
        commit, left = self.store.commit, [times]

        def failing(unit):
            if isinstance(unit, kind) and left[0]:
                left[0] -= 1
                return fail(fault)
            return commit(unit)

        self.store.commit = failing

    async def test_outcome_not_recorded(self) -> None:
        """A delivery that could not be written down is written down later, and not sent again."""
        far = await self.routed()
        self.failing(RecordOutcomes, StoreFull("full"))
        number = await self.submit("bob@b.test")
        await self.until(lambda: far.taken, "the message")
        await deferLater(reactor, 0.02)
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting"})
        self.flushLoggedErrors(StoreFull)
        self.clock.advance(10)
        await self.settled(number)
        self.assertEqual((await self.states(number), len(far.taken)), ({"bob@b.test": "delivered"}, 1))

    async def test_stop_with_a_broken_store(self) -> None:
        """A store that takes nothing any more does not keep the service from stopping."""
        far = await self.routed(Behaviour(answers=dict(HANG)))
        await self.submit("bob@b.test")
        await self.until(lambda: far.sessions and far.sessions[0].lines[-1:] == ["DATA"], "DATA")
        self.failing(RecordOutcomes, StoreFull("full"), 99)
        await self.stopped()
        self.assertEqual(len(self.flushLoggedErrors(StoreFull)), 1)

    async def test_unexpected(self) -> None:
        """An error of ours in looking, or after an attempt, is logged and does not end the work."""
        far = await self.far()
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}))
        read, log = self.store.read, self.service._books.log

        def broken(*_: object) -> Deferred[None]:
            self.store.read, self.service._books.log = read, log
            raise RuntimeError("a bug")

        self.store.read = broken
        number = await self.submit("bob@b.test")
        self.clock.advance(6)
        await self.settled(number)
        self.service._books.log = broken
        await self.settled(await self.submit("eve@b.test"))
        await self.settled(await self.submit("dan@b.test"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    async def test_body_lost(self) -> None:
        """A body that is gone does not keep its sender from hearing that it was not delivered."""
        await self.house()
        read, lost = self.store.read, [True]

        def failing(query):
            return fail(MissingBody("gone")) if isinstance(query, ReadStart) and lost[0] else read(query)

        self.store.read = failing
        number = await self.submit("bob@nowhere.test")
        await self.settled(number)
        lost[0] = False
        (bounce,) = await self.inbox()
        self.assertIn(b"Status: 5.1.2", bounce)

    async def test_file_unreadable(self) -> None:
        """A file that cannot be read leaves the recipients waiting."""
        await self.routed()
        read = self.store.read

        def failing(query):
            return fail(OSError(5, "Input/output error")) if isinstance(query, OpenBody) else read(query)

        self.store.read = failing
        large = MESSAGE + b"0123456789\r\n" * 20_000
        message = await self.settled(await self.submit("bob@b.test", message=large, smtputf8=True))
        self.assertIn("could not be read", message.recipients[0].last_error)

    async def test_report_not_made(self) -> None:
        """A bounce that cannot be made leaves its recipient waiting; the others' delivery counts."""
        await self.routed(Behaviour(answers={"RCPT TO:<bob": "550 5.1.1 no"}))
        report, self.intake.report = self.intake.report, lambda to, message: fail(StoreFull("full"))
        number = await self.submit("bob@b.test", "eve@b.test")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"bob@b.test": "waiting", "eve@b.test": "delivered"})
        self.flushLoggedErrors(StoreFull)
        self.intake.report = report
        self.clock.advance(60)
        await self.until(lambda: Deferred.fromCoroutine(self.inbox()), "the bounce")
        self.assertEqual((await self.states(number))["bob@b.test"], "failed")

    async def test_lease_fails(self) -> None:
        """A store that cannot lease is asked again."""
        far = await self.far()
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}))
        self.failing(LeaseDue, StoreFault("locked"))
        number = await self.submit("bob@b.test")
        self.clock.advance(6)
        await self.settled(number)

    async def test_renewal_fails(self) -> None:
        """A renewal that fails is tried again in the next round."""
        far = await self.routed(Behaviour(answers=dict(HANG)))
        number = await self.submit("bob@b.test")
        await self.until(lambda: any(s.lines[-1:] == ["DATA"] for s in far.sessions), "MAIL")
        self.failing(RenewLeases, StoreFault("locked"))
        self.clock.advance(40)
        self.clock.advance(40)
        (recipient,) = (await self.queue(number)).recipients
        self.assertEqual(recipient.lease_until, self.clock.seconds() + 120)

    async def test_body_unreadable(self) -> None:
        """A body that cannot be read is no attempt lost for good."""
        await self.routed()
        read = self.store.read

        def failing(query):
            return fail(StoreFault("broken")) if type(query).__name__ == "Bodies" else read(query)

        self.store.read = failing
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].state.value, "waiting")
        self.assertIn("could not be read", message.recipients[0].last_error)

    async def test_lease_lost(self) -> None:
        """When some leases were lost, the others' bounce is sent all the same."""
        await self.routed(Behaviour(answers={"RCPT": "550 5.1.1 no"}))
        commit = self.store.commit

        def steal(unit):
            if isinstance(unit, RecordOutcomes):
                stolen = replace(unit.outcomes[0], attempt=replace(unit.outcomes[0].attempt, number=99))
                unit = replace(unit, outcomes=(stolen, *unit.outcomes[1:]))
            return commit(unit)

        self.store.commit = steal
        number = await self.submit("bob@b.test", "eve@b.test")
        await self.until(lambda: Deferred.fromCoroutine(self.inbox()), "the bounce")
        (bounce,) = await self.inbox()
        self.assertIn(b"eve@b.test", bounce)
        self.assertNotIn(b"bob@b.test", bounce)
        self.assertEqual((await self.states(number))["bob@b.test"], "waiting")

    async def test_our_own_error(self) -> None:
        """An error of ours in an attempt is logged and the recipients wait."""
        await self.house()

        async def broken(domain: str, route: str, rule: object):
            raise RuntimeError("a bug")

        self.service._means.router.hops = broken
        message = await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(message.recipients[0].state.value, "waiting")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
