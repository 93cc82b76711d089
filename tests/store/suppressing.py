"""Addresses that failed for good, as tests of every engine; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import LimitReached, NoSuchSuppression
from mailftp.store.queries import Suppressions
from mailftp.store.units import NoteRefusedAddress, Suppress, Unsuppress

DAY = 86400.0
GONE = "gone@b.test"


class Suppressing:
    async def refuse(self, address=GONE, reason="550 5.1.1 no such user", after=3):
        return await self.store.commit(NoteRefusedAddress(address, reason, after, 30 * DAY))

    async def suppressed(self):
        return [each.address for each in await self.store.read(Suppressions())]

    async def test_suppressed_after_some(self):
        """Once it was refused often enough, with the last reason; more refusals change nothing."""
        told = [await self.refuse(), await self.refuse(reason="550 5.1.1 last")]
        self.assertEqual((told, await self.suppressed()), ([False, False], []))
        self.clock.advance(DAY)
        self.assertTrue(await self.refuse(reason="550 5.1.1 really"))
        self.assertFalse(await self.refuse(reason="550 5.1.1 later"))
        (one,) = await self.store.read(Suppressions())
        now = self.clock.seconds()
        self.assertEqual((one.address, one.reason, one.failures), (GONE, "550 5.1.1 really", 3))
        self.assertEqual((one.since, one.until), (now, now + 30 * DAY))

    async def test_suppression_ends(self):
        """It ends by itself, and what was counted is forgotten then."""
        await self.refuse(after=1)
        self.clock.advance(30 * DAY - 1)
        self.assertEqual(await self.suppressed(), [GONE])
        self.clock.advance(2)
        self.assertEqual(await self.suppressed(), [])
        self.assertFalse(await self.refuse(after=2))
        self.clock.advance(31 * DAY)
        self.assertFalse(await self.refuse(after=2))
        self.assertTrue(await self.refuse(after=2))

    async def test_suppressed_by_hand(self):
        """Until it is removed; then it begins anew."""
        await self.refuse()
        await self.refuse()
        made = await self.store.commit(Suppress(GONE, "asked us"))
        self.assertEqual((made.until, made.failures, made.reason), (0.0, 0, "asked us"))
        self.clock.advance(1000 * DAY)
        self.assertFalse(await self.refuse())
        self.assertEqual(await self.suppressed(), [GONE])
        self.assertEqual(await self.store.commit(Unsuppress(GONE)), made)
        self.assertEqual(await self.suppressed(), [])
        self.assertFalse(await self.refuse())

    async def test_not_suppressed(self):
        """One that is only counted is not on the list to be removed."""
        await self.refuse()
        for address in (GONE, "other@b.test"):
            await self.assertFailure(self.store.commit(Unsuppress(address)), NoSuchSuppression)

    async def test_suppressions_bounded(self):
        for module in self.suppressing_modules:
            self.patch(module, "SUPPRESSIONS_LIMIT", 2)
        await self.refuse("a@b.test", after=1)
        await self.store.commit(Suppress("b@b.test"))
        self.assertFalse(await self.refuse("c@b.test", after=1))
        await self.assertFailure(self.store.commit(Suppress("d@b.test")), LimitReached)
        self.assertEqual(await self.suppressed(), ["a@b.test", "b@b.test"])

    async def test_suppressions_are_told(self):
        """Whoever keeps the list hears that it changed, and not of what is only counted."""
        self.heard.clear()
        await self.refuse()
        self.assertEqual(self.heard, [])
        await self.refuse(after=2)
        await self.store.commit(Unsuppress(GONE))
        await self.suppressed()
        self.assertEqual([change.kind for changes in self.heard for change in changes], ["suppression"] * 2)
