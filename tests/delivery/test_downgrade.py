"""STARTTLS that was offered and is no more: while it is remembered, nothing leaves in the clear."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from mailftp.delivery.attempt import Attempt
from mailftp.delivery.downgrade import explained, holds, to_remember
from mailftp.delivery.routes import Hop
from mailftp.delivery.verdict import Job
from mailftp.settings import DeliveryRule
from mailftp.store.engine import StoreFault
from mailftp.store.queries import FindTLSMemory, TLSMemories
from mailftp.store.records import TLSMemory
from mailftp.store.units import ForgetTLS, RememberTLS
from tests.delivery.house import HouseCase
from tests.smtp.far_side import Behaviour, certificate

DAY = 86400.0
PLAIN = Behaviour().extensions


def offering(**more) -> Behaviour:
    return Behaviour(extensions=(*PLAIN, "STARTTLS"), tls=certificate()[0], **more)


#: What somebody in between can do.
STRIPPED = {
    "not offered": Behaviour(),
    "refused": offering(answers={"STARTTLS": "454 4.7.0 not now"}),
    "refused for good": offering(answers={"STARTTLS": "502 5.5.1 what"}),
    "no handshake": offering(
        answers={"STARTTLS": "220 2.0.0 go ahead"}, closes_after=frozenset({"STARTTLS"})
    ),
    "no ESMTP": offering(answers={"EHLO": "502 5.5.1 what"}),
}


class DowngradeTests(HouseCase):
    async def remembering(self, seconds: float = 2 * DAY, **more) -> None:
        """A house that has sent a message over STARTTLS."""
        self.far_side = await self.routed(offering(), tls_memory=seconds, **more)
        await self.settled(await self.submit("bob@b.test"))
        if seconds:
            await self.until(lambda: Deferred.fromCoroutine(self.listed()))
        await self.parted()

    async def parted(self) -> None:
        """No connection is left to be used again."""
        await self.service._connections.close()

    async def listed(self) -> tuple[TLSMemory, ...]:
        return await self.store.read(TLSMemories())

    async def sent(self) -> str:
        """The state of a message after its attempt, which `self.attempt` has then."""
        number = await self.submit("bob@b.test")
        await self.settled(number)
        await self.until(lambda: not self.service._jobs, "the end of what follows the record")
        (self.attempt,) = await self.attempts(number)
        return (await self.states(number))["bob@b.test"]

    async def test_stripped(self) -> None:
        await self.remembering()
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for name, behaviour in STRIPPED.items():
            self.far_side.behaviour = behaviour
            before = len(self.far_side.sessions)
            self.assertEqual(await self.sent(), "waiting", name)
            self.assertEqual(len(self.far_side.taken), 1, name)
            self.assertEqual(len(self.far_side.sessions), before + 1, name)
            self.assertFalse(any(line.startswith("MAIL") for line in self.far_side.sessions[-1].lines), name)
            for text in (self.attempt.outcome, self.attempt.dialogue):
                self.assertIn("downgrade: ", text, name)
                self.assertIn("; b.test took mail over STARTTLS at 2001-09-09T01:46Z and gets none", text)
                self.assertIn("before 2001-09-11T01:46Z; `mailftp tls forget b.test` allows it", text)
            deferred = [e for e in events if e.get("mailftp_event") == "deferred"][-1]
            self.assertEqual(deferred["mailftp_fields"]["status"], "4.7.4", name)
            self.assertIn("`mailftp tls forget b.test` allows it", deferred["mailftp_fields"]["reply"], name)

    async def test_kept_connection(self) -> None:
        """One that is in the clear is not used for it."""
        self.far_side = await self.routed(Behaviour(), tls_memory=2 * DAY)
        self.assertEqual(await self.sent(), "delivered")
        self.assertEqual(await self.listed(), ())
        await self.store.commit(RememberTLS("b.test", "mx.b.test", 2 * DAY))
        self.assertEqual(await self.sent(), "waiting")
        self.assertEqual((len(self.far_side.taken), len(self.far_side.sessions)), (1, 2))

    async def test_still_offered(self) -> None:
        """By any certificate, as before."""
        await self.remembering()
        self.far_side.behaviour = offering()
        self.assertEqual(await self.sent(), "delivered")
        self.assertTrue(self.far_side.sessions[-1].secure)

    async def test_tried_again(self) -> None:
        await self.remembering()
        self.far_side.behaviour = STRIPPED["not offered"]
        number = await self.submit("bob@b.test")
        await self.settled(number)
        self.far_side.behaviour = offering()
        self.clock.advance(61)
        await self.settled(number, 2)
        self.assertEqual(await self.states(number), {"bob@b.test": "delivered"})

    async def test_forgotten(self) -> None:
        await self.remembering()
        await self.store.commit(ForgetTLS("b.test"))
        for behaviour in STRIPPED.values():
            self.far_side.behaviour = behaviour
            self.assertEqual(await self.sent(), "delivered")
            await self.parted()

    async def test_expired(self) -> None:
        await self.remembering()
        self.far_side.behaviour = Behaviour()
        self.clock.advance(2 * DAY)
        self.assertEqual(await self.sent(), "delivered")

    async def test_off(self) -> None:
        """As before; and what an earlier setting wrote down counts no more."""
        await self.remembering(0.0)
        self.assertEqual(await self.listed(), ())
        await self.store.commit(RememberTLS("b.test", "mx.b.test", 2 * DAY))
        for behaviour in STRIPPED.values():
            self.far_side.behaviour = behaviour
            self.assertEqual(await self.sent(), "delivered")
            await self.parted()

    async def test_refused_teaches_nothing(self) -> None:
        """Whoever takes no mail may be anybody."""
        await self.routed(offering(answers={"RCPT": "550 5.7.1 no"}), tls_memory=2 * DAY)
        self.assertEqual(await self.sent(), "failed")
        self.assertEqual(await self.listed(), ())

    async def test_refreshed_sparingly(self) -> None:
        await self.remembering()
        (first,) = await self.listed()
        self.clock.advance(0.05 * DAY)
        await self.sent()
        self.assertEqual(await self.listed(), (first,))
        self.clock.advance(0.5 * DAY)
        await self.sent()

        async def renewed() -> bool:
            return (await self.listed())[0].since > first.since

        await self.until(lambda: Deferred.fromCoroutine(renewed()))

    async def test_rule_by_another_host(self) -> None:
        """The operator's word: a host that is not the domain's teaches nothing, and is not held to it."""
        far = await self.far(offering())
        rule = DeliveryRule(to=f"127.0.0.1:{far.port}")
        await self.house(self.plain(rules=(rule,), tls_memory=2 * DAY))
        self.assertEqual(await self.sent(), "delivered")
        self.assertEqual(await self.listed(), ())
        await self.store.commit(RememberTLS("b.test", "mx.b.test", 2 * DAY))
        await self.parted()
        far.behaviour = Behaviour()
        self.assertEqual(await self.sent(), "delivered")

    async def test_returned_in_the_end(self) -> None:
        """What is remembered for longer than mail waits: its sender is told why it did not leave."""
        await self.remembering()
        self.far_side.behaviour = Behaviour()
        number = await self.submit("bob@b.test")
        await self.settled(number)
        self.clock.advance(3601)
        await self.settled(number, 2)
        self.assertEqual(await self.states(number), {"bob@b.test": "failed"})
        self.assertIn(b"downgrade: ", b"".join(await self.inbox()))
        self.assertEqual(len(self.far_side.taken), 1)

    async def test_unreadable(self) -> None:
        """Not to know is no reason to send in the clear."""
        await self.remembering()
        self.far_side.behaviour = Behaviour()
        read = self.store.read

        def failing(query):
            if isinstance(query, FindTLSMemory):
                raise StoreFault("the disk is gone")
            return read(query)

        self.patch(self.store, "read", failing)
        self.assertEqual(await self.sent(), "waiting")
        self.assertIn("cannot be read: the disk is gone", self.attempt.outcome)
        self.assertEqual(len(self.far_side.taken), 1)

    async def test_more_is_said(self) -> None:
        """What MTA-STS, DANE and the operator say goes before it."""
        await self.remembering()
        message = await self.queue(await self.submit("bob@b.test", "eve@c.test"))
        for domain, expected in (("b.test", "encrypted"), ("c.test", "opportunistic")):
            attempt = Attempt(self.service._means, Job(message, domain, message.recipients[:1]))
            await attempt._recall()
            hop = Hop("mx.b.test", "127.0.0.1", 25)
            self.assertEqual(attempt._required(hop), expected)
            for tls in ("required", "dane", "implicit", "none"):
                self.assertEqual(attempt._required(replace(hop, tls=tls)), tls)


class MemoryTests(TestCase):
    def test_times(self) -> None:
        memory = TLSMemory("b.test", "mx.b.test", 1000.0)
        self.assertEqual(
            [holds(memory, 100.0, now) for now in (900.0, 1000.0, 1099.9, 1100.0)], [True] * 3 + [False]
        )
        self.assertFalse(holds(None, 100.0, 1000.0))
        again = [
            to_remember("b.test", "h", memory, 100.0, now) is not None
            for now in (999.0, 1000.0, 1009.9, 1010.0)
        ]
        self.assertEqual(again, [True, False, False, True])

    def test_endless(self) -> None:
        self.assertIn("before the end of time", explained("x", TLSMemory("b.test", "h", 0.0), 1e18))
