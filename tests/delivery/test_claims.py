"""What is accepted now and leaves at once: no look at the queue, no body from the disk."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.at_hand import LARGEST, OCTETS, BodiesAtHand
from mailftp.delivery.destinations import WAITING
from mailftp.intake.intake import Envelope, Origin, Recipient
from mailftp.message.address import parse_address
from mailftp.store.engine import StoreFault
from mailftp.store.queries import Bodies, NextDue
from mailftp.store.records import Handling
from mailftp.store.units import LeaseDue
from mailftp.wire.peer import Peer
from tests.delivery.house import MESSAGE, HouseCase
from tests.smtp.far_side import Behaviour


class ClaimTests(HouseCase):
    async def take(self, *addresses: str, **handling: object) -> int:
        """Accept a message as SMTP does, and answer its number."""
        envelope = Envelope(
            Origin(Peer(None), "client.test", "ESMTPSA", "smtp-1"),
            parse_address("alice@a.test"),
            [Recipient(parse_address(address), None) for address in addresses],
            handling=Handling(**handling),
        )
        sink = self.store.stage()
        sink.write(MESSAGE)
        accepted = await self.intake.accept(envelope, await sink.finish())
        return accepted.queued

    def watch(self) -> list[str]:
        """The names of what the store is asked for from now on."""
        asked: list[str] = []
        for name in ("commit", "read"):
            method = getattr(self.store, name)

            def watched(what, method=method):
                asked.append(type(what).__name__)
                return method(what)

            self.patch(self.store, name, watched)
        return asked

    async def looked(self) -> None:
        """The service has seen that nothing is due."""
        await self.until(lambda: not self.service._looking)

    async def test_leaves_at_once(self) -> None:
        far = await self.routed()
        await self.looked()
        asked = self.watch()
        number = await self.take("x@b.test")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"x@b.test": "delivered"})
        self.assertEqual(len(far.taken), 1)
        self.assertIn(b"Subject: hello", far.taken[0].message)
        for what in (LeaseDue, NextDue, Bodies):
            self.assertNotIn(what.__name__, asked)

    async def test_tried_again(self) -> None:
        """A claim is an attempt like any other: what fails waits in the queue."""
        await self.routed(Behaviour(answers={"RCPT": "451 4.3.0 later"}))
        await self.looked()
        number = await self.take("x@b.test")
        await self.settled(number)
        self.assertEqual(await self.states(number), {"x@b.test": "waiting"})
        await self.until(lambda: self.service._timer is not None and self.service._timer.active())
        self.clock.advance(61)
        await self.settled(number, attempts=2)

    async def test_held(self) -> None:
        """What is to leave later waits in the queue (RFC 4865)."""
        await self.routed()
        await self.looked()
        number = await self.take("x@b.test", hold_until=self.clock.seconds() + 100)
        (recipient,) = (await self.queue(number)).recipients
        self.assertEqual((recipient.lease_owner, recipient.attempt), ("", 1))

    async def test_bounded(self) -> None:
        """For a destination that takes nothing, no more waits in memory than is allowed."""
        await self.routed(Behaviour(greeting=None))
        await self.looked()
        numbers = [await self.take("x@b.test") for _ in range(WAITING + 20)]
        self.assertEqual(self.service._destinations.waiting_count, WAITING)
        (last,) = (await self.queue(numbers[-1])).recipients
        self.assertEqual(last.lease_owner, "")

    async def test_not_running(self) -> None:
        """Nobody claims what nobody would send."""
        await self.house(start=False)
        number = await self.take("x@b.test")
        (recipient,) = (await self.queue(number)).recipients
        self.assertEqual(recipient.lease_owner, "")

    async def test_stopped_meanwhile(self) -> None:
        """Committed as the service stops: it is given back and due at once."""
        await self.routed()
        await self.looked()
        service = self.service
        claim = service.claim

        def stopping(transfer):
            claimed = claim(transfer)
            service._stopping = True
            return claimed

        self.patch(service, "claim", stopping)
        number = await self.take("x@b.test")
        await self.settled(number)
        (recipient,) = (await self.queue(number)).recipients
        self.assertEqual((recipient.lease_owner, recipient.state.value), ("", "waiting"))
        self.assertLessEqual(await self.store.read(NextDue()), 0)
        service._stopping = False

    async def test_not_accepted(self) -> None:
        """A claim for what the store would not take is no claim."""
        await self.routed()
        await self.looked()
        commit = self.store.commit
        self.patch(self.store, "commit", lambda unit: fail(StoreFault("the disk failed")))
        await self.assertFailure(Deferred.fromCoroutine(self.take("x@b.test")), StoreFault)
        self.patch(self.store, "commit", commit)
        self.assertEqual(self.service._claims, 0)


class AtHandTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        bodies = BodiesAtHand()
        for number in range(100):
            bodies.keep(number, b"x" * LARGEST)
        self.assertIsNone(bodies.get(0))
        kept = [number for number in range(100) if bodies.get(number) is not None]
        self.assertEqual(len(kept), OCTETS // LARGEST)
        self.assertEqual(kept[-1], 99)

    def test_too_large(self) -> None:
        bodies = BodiesAtHand()
        bodies.keep(1, b"x" * (LARGEST + 1))
        bodies.keep(2, None)
        self.assertIsNone(bodies.get(1))
        self.assertIsNone(bodies.get(2))

    def test_forgotten(self) -> None:
        bodies = BodiesAtHand()
        bodies.keep(1, b"x")
        bodies.forget(1)
        bodies.forget(1)
        self.assertIsNone(bodies.get(1))
