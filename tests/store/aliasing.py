"""Aliases, grants and forwards of every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import LimitReached, NoSuchAccount, NoSuchAlias, OverQuota
from mailftp.store.names import TARGETS_LIMIT
from mailftp.store.queries import Aliases, Grants, Named, QueueList, ReturnTo
from mailftp.store.records import Alias, Destination, Filing, Grant
from mailftp.store.units import (
    AddAccount,
    AddAlias,
    GrantAddress,
    RemoveAccount,
    RemoveAlias,
    RevokeAddress,
    SetAccount,
)
from tests.store.messages import VERIFIER, message, transfer

INFO = "info@example.test"
ALICE, BOB = "alice@example.test", "bob@example.test"


class Aliasing:
    async def aliases(self):
        return await self.store.read(Aliases())

    async def test_alias(self):
        """Targets add up, each once and sorted; what is not said stays as it is."""
        made = await self.store.commit(AddAlias(INFO, (BOB, ALICE, BOB)))
        self.assertEqual(made, Alias(INFO, (ALICE, BOB)))
        made = await self.store.commit(AddAlias(INFO, ("x@far.test",), keep=True, owner=ALICE))
        self.assertEqual(made, Alias(INFO, (ALICE, BOB, "x@far.test"), True, ALICE))
        made = await self.store.commit(AddAlias(INFO, keep=False, members_only=True))
        self.assertEqual(made, Alias(INFO, (ALICE, BOB, "x@far.test"), False, ALICE, True))
        await self.store.commit(AddAlias("@example.test", (BOB,)))
        self.assertEqual(await self.aliases(), (Alias("@example.test", (BOB,)), made))
        self.assertEqual([c.kind for c in await self.news()], ["alias"] * 4)

    async def test_named(self):
        """A name can be an account, an alias, both or neither."""
        await self.store.commit(AddAlias(BOB, ("x@far.test",), keep=True))
        await self.store.commit(AddAlias(INFO, (BOB,)))
        for name, account, alias in (
            (ALICE, self.alice, None),
            (BOB, self.bob, Alias(BOB, ("x@far.test",), True)),
            (INFO, None, Alias(INFO, (BOB,))),
            ("nobody@example.test", None, None),
        ):
            self.assertEqual(await self.store.read(Named(name)), Destination(account, alias))

    async def test_remove_alias(self):
        """Whole, or a target at a time; with the last target it is gone. What is not there is named, and then
        nothing is removed."""
        await self.store.commit(AddAlias(INFO, (ALICE, BOB)))
        fault = await self.refused(NoSuchAlias, RemoveAlias(INFO, (ALICE, "c@example.test")))
        self.assertIn("c@example.test", str(fault))
        await self.refused(NoSuchAlias, RemoveAlias("else@example.test"))
        was = await self.store.commit(RemoveAlias(INFO, (ALICE,)))
        self.assertEqual(was.targets, (ALICE, BOB))
        self.assertEqual(await self.aliases(), (Alias(INFO, (BOB,)),))
        await self.store.commit(RemoveAlias(INFO, (BOB,)))
        self.assertEqual(await self.aliases(), ())
        await self.store.commit(AddAlias(INFO, (ALICE, BOB), keep=True))
        await self.store.commit(RemoveAlias(INFO))
        await self.store.commit(AddAlias(INFO, (ALICE,)))
        self.assertEqual(await self.aliases(), (Alias(INFO, (ALICE,)),))

    async def test_alias_limit(self):
        """One target too many, and none of them is added."""
        many = tuple(f"u{n}@far.test" for n in range(TARGETS_LIMIT))
        await self.store.commit(AddAlias(INFO, many))
        await self.refused(LimitReached, AddAlias(INFO, (BOB,)))
        self.assertEqual((await self.aliases())[0].targets, tuple(sorted(many)))

    async def test_removed_account(self):
        """What led from it, to it and was granted to it goes with it."""
        await self.store.commit(AddAlias(BOB, ("x@far.test",)))
        await self.store.commit(AddAlias(INFO, (ALICE, BOB)))
        await self.store.commit(AddAlias("sales@example.test", (BOB,)))
        await self.store.commit(GrantAddress(INFO, BOB))
        await self.store.commit(RemoveAccount(BOB))
        self.assertEqual(await self.aliases(), (Alias(INFO, (ALICE,)),))
        await self.store.commit(AddAccount(BOB, VERIFIER))
        self.assertEqual(await self.store.read(Grants()), ())

    async def test_grants(self):
        """Given once, listed by address, taken back; only what there is can be taken back."""
        for address, account in ((INFO, BOB), ("@example.test", ALICE), (INFO, ALICE), (INFO, BOB)):
            self.assertEqual(await self.store.commit(GrantAddress(address, account)), Grant(address, account))
        everything = (Grant("@example.test", ALICE), Grant(INFO, ALICE), Grant(INFO, BOB))
        self.assertEqual(await self.store.read(Grants()), everything)
        self.assertEqual(await self.store.read(Grants(self.bob.id)), everything[2:])
        await self.store.commit(RevokeAddress(INFO, ALICE))
        await self.refused(NoSuchAlias, RevokeAddress(INFO, ALICE))
        await self.refused(NoSuchAccount, RevokeAddress(INFO, "c@example.test"))
        await self.refused(NoSuchAccount, GrantAddress(INFO, "c@example.test"))
        self.assertEqual(await self.store.read(Grants()), (everything[0], everything[2]))

    async def test_forwards(self):
        """One unit files, sends and sends on, each under its own reverse-path, or does nothing of it."""
        sent = transfer("y@far.test")
        on = transfer("x@out.test", sender="SRS0=a=b@example.test", return_to="z@far.test")
        notice = transfer("x@out.test", sender="", return_to="")
        accepted = await self.accept(message(), Filing(self.alice.id), transfer=sent, forwards=(on, notice))
        listed = {m.id: m.transfer for m in await self.store.read(QueueList())}
        ids = (accepted.queued, *accepted.forwarded)
        self.assertEqual(listed, dict(zip(ids, (sent, on, notice), strict=True)))
        self.assertEqual(len(accepted.filed), 1)
        await self.store.commit(SetAccount(ALICE, (("mail_quota", 1),)))
        with self.assertRaises(OverQuota):
            await self.accept(message("more"), Filing(self.alice.id), forwards=(on,))
        self.assertEqual(len(await self.store.read(QueueList())), 3)

    async def test_return_to(self):
        """Who sent it is found by our reverse-path, and by no other."""
        on = transfer("x@out.test", sender="SRS0=a=b@example.test", return_to="z@far.test")
        await self.accept(message(), forwards=(on,), transfer=transfer("y@far.test", sender=BOB))
        self.assertEqual(await self.store.read(ReturnTo("SRS0=a=b@example.test")), "z@far.test")
        for path in (BOB, "", "SRS0=a=c@example.test"):
            self.assertIsNone(await self.store.read(ReturnTo(path)))
