"""What an operator asks of queued mail, on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.records import RecipientState
from mailftp.store.units import QueueAction, SetRoute, VoidLeases
from tests.store.messages import outcome

WAITING, HELD = RecipientState.WAITING, RecipientState.HELD
DELIVERED, FAILED = RecipientState.DELIVERED, RecipientState.FAILED


class Steering:
    async def test_bounce(self):
        """What is to be bounced is due at once, held or not, and whoever leases it is told; asked twice
        it counts once."""
        queued = await self.queue("a@one.test", "b@two.test")
        await self.act(QueueAction.HOLD, queued)
        self.assertEqual(await self.act(QueueAction.BOUNCE, queued), 2)
        self.assertEqual(await self.act(QueueAction.BOUNCE, queued), 0)
        (leased,) = await self.lease()
        self.assertEqual([r.give_up for r in leased.recipients], [True, True])
        await self.record(*(outcome(r, FAILED) for r in leased.recipients))
        self.assertEqual(await self.states(queued), [FAILED, FAILED])

    async def test_bounce_while_leased(self):
        """An attempt that is under way may still deliver; what it does not, and what its owner leaves behind,
        is due at once, a wish to hold or drop it forgotten."""
        queued = await self.queue("a@one.test", "b@two.test", "c@three.test")
        (leased,) = await self.lease()
        self.assertEqual([r.give_up for r in leased.recipients], [False] * 3)
        await self.act(QueueAction.DROP, queued)
        self.assertEqual(await self.act(QueueAction.BOUNCE, queued), 3)
        first, second, _ = leased.recipients
        await self.record(outcome(first, DELIVERED), outcome(second, WAITING, self.clock.seconds() + 9999))
        await self.store.commit(VoidLeases("node/boot2"))
        self.assertEqual(await self.states(queued), [DELIVERED, WAITING, WAITING])
        (again,) = await self.lease()
        self.assertEqual(
            [(r.domain, r.give_up) for r in again.recipients], [("three.test", True), ("two.test", True)]
        )

    async def test_route(self):
        """A route is kept with what is unfinished, from the next lease on, and can be taken back."""
        queued = await self.queue("a@one.test", "b@two.test")
        other = await self.queue("c@one.test")
        (leased, _) = await self.lease()
        await self.record(outcome(leased.recipients[0], DELIVERED), outcome(leased.recipients[1], WAITING))
        self.assertEqual(await self.store.commit(SetRoute("lmtp:[::1]:24", (queued, 999))), 1)
        self.assertEqual(await self.store.commit(SetRoute("lmtp:[::1]:24", (queued,))), 0)
        (again,) = await self.lease()
        self.assertEqual([(r.domain, r.route) for r in again.recipients], [("two.test", "lmtp:[::1]:24")])
        self.assertEqual(await self.store.commit(SetRoute("", (queued, other))), 1)
        self.assertEqual({r.route for m in await self.queued() for r in m.recipients}, {""})

    async def test_listing_by_error_and_age(self):
        """A listing matches part of a last error, in any case of letters, and what was accepted by a time."""
        old = await self.queue("a@one.test")
        self.clock.advance(100)
        new = await self.queue("b@one.test")
        (leased, _) = await self.lease()
        await self.record(outcome(leased.recipients[0], WAITING, error="451 Greylisted, 100% sure"))
        now = self.clock.seconds()
        self.assertEqual([m.id for m in await self.queued(error="greyLISTED")], [old])
        self.assertEqual([m.id for m in await self.queued(error="100% s")], [old])
        self.assertEqual(await self.queued(error="1_0"), ())
        self.assertEqual([m.id for m in await self.queued(accepted_by=now - 100)], [old])
        self.assertEqual([m.id for m in await self.queued(accepted_by=now)], [old, new])
        self.assertEqual(await self.queued(accepted_by=now - 101), ())
