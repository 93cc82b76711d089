"""Addresses that their servers refuse for good: counted by delivery, refused at RCPT."""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred

from mailftp.accounts.realm import Submitter
from mailftp.intake.intake import Origin, Refused
from mailftp.message.address import parse_address
from mailftp.store.queries import Suppressions
from mailftp.store.units import Suppress, Unsuppress
from mailftp.wire.peer import Peer
from tests.delivery.house import HouseCase
from tests.smtp.far_side import Behaviour


class SuppressionTests(HouseCase):
    sender = parse_address("alice@a.test")

    def asked(self, address: str = "gone@b.test", submitted: bool = True):
        """What intake says to RCPT."""
        submitter = Submitter("alice@a.test", self.alice.id) if submitted else None
        origin = Origin(Peer(None), "client.test", "ESMTPSA", "smtp-1", submitter)
        return maybeDeferred(
            self.intake.recipient, origin, parse_address(address), parse_address("alice@a.test")
        )

    async def primed(self) -> None:
        """The intake has read the list."""
        await self.asked("somebody@b.test")
        await self.until(lambda: self.intake._suppressed._by_address is not None)

    async def listed(self) -> list[str]:
        return [each.address for each in await self.store.read(Suppressions())]

    async def send(self, times: int) -> None:
        for _ in range(times):
            await self.settled(await self.submit("Gone@b.test"))

    async def test_after_three(self) -> None:
        await self.routed(Behaviour(answers={"RCPT": "550 5.1.1 no such user"}))
        await self.primed()
        await self.send(2)
        await self.asked()
        await self.send(1)
        await self.until(lambda: Deferred.fromCoroutine(self.listed()))
        refused = await self.assertFailure(self.asked(), Refused)
        self.assertEqual((refused.code, refused.status), (550, "5.1.1"))
        self.assertIn(
            "No mail is taken for gone@b.test since 2001-09-09: 550 5.1.1 no such user", refused.text
        )
        await self.asked("other@b.test")
        await self.store.commit(Unsuppress("gone@b.test"))
        await self.asked()

    async def test_what_does_not_count(self) -> None:
        """A full mailbox, suspected spam, a failure of our own making."""
        for number, reply in enumerate(("552 5.2.2 full", "550 5.7.1 spam", "554 5.0.0 no", "550 no")):
            if number:
                self.far_side.behaviour.answers["RCPT"] = reply
            else:
                self.far_side = await self.routed(Behaviour(answers={"RCPT": reply}))
            await self.send(3)
        self.assertEqual(await self.listed(), [])

    async def test_off(self) -> None:
        await self.routed(Behaviour(answers={"RCPT": "550 5.1.1 no such user"}), suppress_after=0)
        await self.send(4)
        self.assertEqual(await self.listed(), [])

    async def test_ends(self) -> None:
        await self.routed()
        await self.primed()
        await self.store.commit(Suppress("gone@b.test", "asked us", 100.0))
        await self.assertFailure(self.asked(), Refused)
        self.clock.advance(101)
        await self.asked()
