"""How the queue treats what its senders ask for, as tests of every engine; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.queries import NextDue, QueueList
from mailftp.store.records import Handling
from mailftp.store.units import ActOnQueue, LeaseDue, QueueAction
from tests.store.messages import message, transfer

OWNER = "node/boot1"


class Handled:
    async def queue_up(self, address, **handling):
        accepted = await self.accept(
            message(address), transfer=transfer(address, handling=Handling(**handling))
        )
        return accepted.queued

    async def taken(self, limit=100):
        leased = await self.store.commit(LeaseDue(OWNER, 60.0, limit))
        return [m.recipients[0].address for m in leased]

    async def test_handling_is_kept(self):
        """What is asked comes back as it was."""
        handling = Handling(True, -3, 1_700_000_999.5, "R", 1_700_000_100.25)
        await self.accept(message(), transfer=transfer("a@far.test", handling=handling))
        (queued,) = await self.store.read(QueueList())
        self.assertEqual(queued.transfer.handling, handling)

    async def test_held_until(self):
        """Nothing is due before its time; the operator may send it off earlier."""
        now = self.clock.seconds()
        await self.queue_up("a@far.test", hold_until=now + 100)
        early = await self.queue_up("b@far.test", hold_until=now + 100)
        self.assertEqual(await self.store.read(NextDue()), 100.0)
        self.assertEqual(await self.taken(), [])
        await self.store.commit(ActOnQueue(QueueAction.RETRY, (early,)))
        self.assertEqual(await self.taken(), ["b@far.test"])
        self.clock.advance(100)
        self.assertEqual(await self.taken(), ["a@far.test"])

    async def test_priority(self):
        """Of what is due the higher priority goes first, until a lower one has waited its time."""
        await self.queue_up("low@far.test", priority=-9)
        await self.queue_up("plain@far.test")
        await self.queue_up("urgent@far.test", priority=9)
        self.assertEqual(await self.store.read(NextDue()), 0.0)
        self.assertEqual(await self.taken(), ["urgent@far.test", "plain@far.test", "low@far.test"])
        await self.queue_up("old@far.test")
        self.clock.advance(100)
        await self.queue_up("urgent@far.test", priority=9)
        self.assertEqual(await self.taken(1), ["old@far.test"])
