"""Domains that took mail over STARTTLS, as tests of every engine; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import NoSuchTLSMemory
from mailftp.store.queries import FindTLSMemory, TLSMemories
from mailftp.store.records import TLSMemory
from mailftp.store.units import ForgetTLS, RememberTLS

DAY = 86400.0


class RememberingTLS:
    async def remember(self, domain="b.test", host="mx.b.test"):
        await self.store.commit(RememberTLS(domain, host, 2 * DAY))

    async def remembered(self):
        return [each.domain for each in await self.store.read(TLSMemories())]

    async def test_tls_remembered(self):
        """With the last host and time; nobody else's."""
        await self.remember()
        self.clock.advance(DAY)
        await self.remember(host="mx2.b.test")
        now = TLSMemory("b.test", "mx2.b.test", self.clock.seconds())
        self.assertEqual(await self.store.read(FindTLSMemory("b.test")), now)
        self.assertEqual(await self.store.read(TLSMemories()), (now,))
        self.assertIsNone(await self.store.read(FindTLSMemory("c.test")))

    async def test_old_tls_memories_go(self):
        """With the next that is written down."""
        await self.remember()
        self.clock.advance(2 * DAY)
        await self.remember("c.test")
        self.assertEqual(await self.remembered(), ["c.test"])

    async def test_tls_forgotten(self):
        await self.remember()
        await self.remember("c.test")
        forgotten = await self.store.commit(ForgetTLS("b.test"))
        self.assertEqual(forgotten, TLSMemory("b.test", "mx.b.test", self.clock.seconds()))
        self.assertEqual(await self.remembered(), ["c.test"])
        await self.assertFailure(self.store.commit(ForgetTLS("b.test")), NoSuchTLSMemory)

    async def test_tls_memories_bounded(self):
        """The oldest go."""
        self.patch(self.tls_memory_module, "TLS_MEMORIES_LIMIT", 2)
        for domain in ("z.test", "b.test", "c.test"):
            await self.remember(domain)
            self.clock.advance(1)
        self.assertEqual(await self.remembered(), ["b.test", "c.test"])
