"""What is under a lease from the moment it is accepted, as tests of every engine; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.queries import NextDue, QueueAttempts
from mailftp.store.records import ForwardPath, RecipientState, Transfer
from mailftp.store.units import Accept, Claim, LeaseDue, RecordOutcomes, VoidLeases
from tests.store.messages import message, outcome, staged

OWNER = "node/boot"


class Claiming:
    async def accept_claimed(self, *addresses):
        paths = tuple(ForwardPath(address, "", frozenset({"FAILURE"})) for address in addresses)
        transfer = Transfer("alice@a.test", paths, b"Received: here\r\n")
        body = await staged(self.store, message("claimed"))
        return await self.store.commit(
            Accept(body, self.clock.seconds(), transfer=transfer, claim=Claim(OWNER, 60.0))
        )

    async def test_claimed(self):
        """It is as LeaseDue would have given it, and nobody else gets it."""
        accepted = await self.accept_claimed("x@b.test", "y@c.test")
        self.assertEqual(await self.store.commit(LeaseDue("other/boot", 60.0, 10)), ())
        self.clock.advance(61)
        (leased,) = await self.store.commit(LeaseDue("other/boot", 60.0, 10))
        claimed = accepted.claimed
        self.assertEqual(claimed.id, accepted.queued)
        self.assertEqual([r.attempt for r in leased.recipients], [2, 2])
        for ours, theirs in zip(claimed.recipients, leased.recipients, strict=True):
            self.assertEqual(ours.id, theirs.id)
            self.assertEqual(
                (ours.address, ours.domain, ours.notify), (theirs.address, theirs.domain, theirs.notify)
            )
            self.assertEqual((ours.attempt, ours.lease_owner), (1, OWNER))
        self.assertEqual(claimed.transfer, leased.transfer)
        self.assertEqual(claimed.body, leased.body)
        self.assertEqual((claimed.accepted, claimed.message_id), (leased.accepted, leased.message_id))

    async def test_claimed_outcome(self):
        accepted = await self.accept_claimed("x@b.test")
        (recipient,) = accepted.claimed.recipients
        ended = (outcome(recipient, RecipientState.DELIVERED),)
        self.assertEqual(await self.store.commit(RecordOutcomes(OWNER, ended)), (recipient.id,))
        (attempt,) = await self.store.read(QueueAttempts(accepted.queued))
        self.assertEqual(attempt.number, 1)
        self.assertIsNone(await self.store.read(NextDue()))

    async def test_claim_of_an_earlier_boot(self):
        """Whoever claimed it and died before it began: it is due at once."""
        accepted = await self.accept_claimed("x@b.test")
        self.assertEqual(await self.store.commit(VoidLeases("node/next")), 1)
        (leased,) = await self.store.commit(LeaseDue("node/next", 60.0, 10))
        self.assertEqual(leased.id, accepted.queued)

    async def test_nobody_is_told_of_a_claim(self):
        """There is nothing to do for whoever looks for due mail."""
        told = []
        subscription = self.store.subscribe(told.extend)
        self.addCleanup(subscription.cancel)
        await self.accept_claimed("x@b.test")
        self.assertEqual([change.kind for change in told if change.kind == "queue"], [])
