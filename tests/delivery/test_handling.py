"""What senders ask of delivery: to hold a message, to be in time, to go under TLS or not at all."""

from __future__ import annotations

from dataclasses import replace

from mailftp.smtp.client_envelope import Envelope, Wishes, mail_command, unsendable
from mailftp.store.queries import MailboxSince
from mailftp.store.records import ForwardPath, Handling
from mailftp.store.units import AddAccount, AddAlias, RemoveAccount
from tests.delivery.house import HouseCase
from tests.smtp.far_side import Behaviour, certificate
from tests.store.messages import VERIFIER

START = 1_000_000_000.0


class HandlingCase(HouseCase):
    async def inbox(self, account) -> list[bytes]:
        found = await self.store.read(MailboxSince(account.id))
        return [self.store._state.bodies[m.body.id].data for m in found.messages]


class HeldTests(HandlingCase):
    async def test_held(self) -> None:
        """It leaves when its time has come, and its time to be given up begins then."""
        far = await self.routed(Behaviour(answers={"RCPT": "451 4.2.0 later"}))
        number = await self.submit("bob@b.test", handling=Handling(hold_until=START + 7200))
        self.clock.advance(7000)
        self.assertEqual(far.taken, [])
        self.assertEqual((await self.queue(number)).recipients[0].attempt, 1)
        self.clock.advance(201)
        message = await self.settled(number)
        self.assertEqual(message.recipients[0].state.value, "waiting")

    async def test_filed_here(self) -> None:
        """For one of ours it is filed then, with the Received field of when it came; what an alias leads to
        elsewhere leaves."""
        far = await self.routed()
        await self.store.commit(AddAlias("info@a.test", ("alice@a.test", "bob@b.test")))
        paths = ("alice@a.test", ForwardPath("info@a.test", notify=frozenset({"SUCCESS"})))
        number = await self.submit(*paths, sender="z@far.test", handling=Handling(hold_until=START + 60))
        self.assertEqual(await self.inbox(self.alice), [])
        self.clock.advance(61)
        message = await self.settled(number)
        self.assertEqual({r.state.value for r in message.recipients}, {"delivered"})
        found = await self.store.read(MailboxSince(self.alice.id))
        prefixes = [m.prefix for m in found.messages]
        self.assertEqual(len(prefixes), 2)
        for prefix in prefixes:
            self.assertTrue(prefix.startswith(b"Return-Path: <z@far.test>\r\n"))
            self.assertTrue(prefix.endswith(b"Received: here\r\n"))
        await self.until(lambda: far.taken)
        self.assertIn("SRS0=", far.taken[0].mail)

    async def test_gone_meanwhile(self) -> None:
        """Whoever is no longer here is reported to the sender."""
        await self.house()
        await self.store.commit(AddAccount("carol@a.test", VERIFIER))
        number = await self.submit("carol@a.test", handling=Handling(hold_until=START + 60))
        await self.store.commit(RemoveAccount("carol@a.test"))
        self.clock.advance(61)
        message = await self.settled(number)
        self.assertEqual(message.recipients[0].state.value, "failed")
        (report,) = await self.inbox(self.alice)
        self.assertIn(b"carol@a.test is nobody here", report)

    async def test_large(self) -> None:
        """A message that is kept in a file is filed as well."""
        await self.house()
        text = b"Subject: large\r\n\r\n" + b"x" * 70 * 1024 + b"\r\n"
        number = await self.submit("alice@a.test", message=text, handling=Handling(hold_until=START + 60))
        self.clock.advance(61)
        await self.settled(number)
        self.assertEqual(await self.inbox(self.alice), [text])


class InTimeTests(HandlingCase):
    later = Behaviour(answers={"RCPT": "451 4.2.0 later"}, extensions=("PIPELINING", "DELIVERBY"))

    async def test_told_on(self) -> None:
        """The far side is asked with the time that is left, and of the priority."""
        far = await self.routed(Behaviour(extensions=("DELIVERBY 10", "MT-PRIORITY")))
        handling = Handling(priority=3, deliver_by=START + 100.5, by_mode="R")
        await self.settled(await self.submit("bob@b.test", handling=handling))
        self.assertIn(" MT-PRIORITY=3 BY=100;R", far.taken[0].mail)

    async def test_returned(self) -> None:
        """With R it is returned when its time is over, and not at the next attempt after it."""
        await self.routed(self.later)
        number = await self.submit("bob@b.test", handling=Handling(deliver_by=START + 30, by_mode="R"))
        await self.settled(number)
        self.clock.advance(31)
        message = await self.settled(number, attempts=2)
        self.assertEqual(message.recipients[0].state.value, "failed")
        (report,) = await self.inbox(self.alice)
        self.assertIn(b"Status: 5.4.7", report)

    async def test_not_asked_of_who_cannot(self) -> None:
        """With R a host that does not know DELIVERBY does not get it; with N it does."""
        far = await self.routed()
        handling = Handling(deliver_by=START + 100, by_mode="R")
        message = await self.settled(await self.submit("bob@b.test", handling=handling))
        self.assertEqual((message.recipients[0].state.value, far.taken), ("failed", []))
        await self.settled(await self.submit("bob@b.test", handling=replace(handling, by_mode="N")))
        self.assertEqual(len(far.taken), 1)

    async def test_told_that_it_is_late(self) -> None:
        """With N the sender is told when its time is over, once, and it is tried again."""
        await self.routed(self.later)
        number = await self.submit("bob@b.test", handling=Handling(deliver_by=START + 30, by_mode="N"))
        await self.settled(number)
        self.clock.advance(31)
        message = await self.settled(number, attempts=2)
        self.assertEqual(message.recipients[0].state.value, "waiting")
        (report,) = await self.inbox(self.alice)
        self.assertIn(b"Action: delayed", report)


class RequiredTLSTests(HandlingCase):
    async def test_in_the_clear(self) -> None:
        """Without TLS it does not go, and nothing of it is said."""
        far = await self.routed(Behaviour(extensions=("REQUIRETLS",)))
        number = await self.submit("bob@b.test", handling=Handling(requiretls=True))
        message = await self.settled(number)
        self.assertEqual((message.recipients[0].state.value, far.taken), ("waiting", []))
        self.assertIn("STARTTLS", message.recipients[0].last_error)

    async def test_certificate_of_nobody(self) -> None:
        """Nor to a host whose certificate nobody vouches for, which other mail goes to."""
        far = await self.routed(Behaviour(extensions=("STARTTLS", "REQUIRETLS"), tls=certificate()[0]))
        number = await self.submit("bob@b.test", handling=Handling(requiretls=True))
        message = await self.settled(number)
        self.assertEqual((message.recipients[0].state.value, far.taken), ("waiting", []))
        await self.settled(await self.submit("bob@b.test"))
        self.assertEqual(len(far.taken), 1)

    def test_words(self) -> None:
        """It is asked of a host that offers it, and refused here where none does."""
        envelope = Envelope("a@a.test", (ForwardPath("b@b.test"),), 10, wishes=Wishes(requiretls=True))
        self.assertIn(" REQUIRETLS", mail_command(envelope, {"REQUIRETLS": ""}))
        refused = unsendable(envelope, {"STARTTLS": ""})
        assert refused is not None
        self.assertEqual((refused.code, refused.status), (550, "5.7.30"))
        self.assertIsNone(unsendable(envelope, {"REQUIRETLS": ""}))
