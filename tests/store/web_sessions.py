"""Browsers that are logged in, on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import NoSuchAccount
from mailftp.store.names import WEB_SESSIONS
from mailftp.store.queries import FindWebSession
from mailftp.store.queries import WebSessions as ListWebSessions
from mailftp.store.units import (
    CloseWebSessions,
    OpenWebSession,
    RemoveAccount,
    SetAccount,
    SetVerifier,
    UseWebSession,
)
from tests.store.messages import OTHER_VERIFIER


class WebSessions:
    async def open_session(self, name, account=None, stale=0.0):
        account = account or self.alice
        unit = OpenWebSession(
            account.id, name.encode(), account.verifier_version, "192.0.2.1", f"Browser {name}", stale
        )
        return await self.store.commit(unit)

    async def session_of(self, name):
        return await self.store.read(FindWebSession(name.encode()))

    async def agents(self, account=None):
        listed = await self.store.read(ListWebSessions((account or self.alice).id))
        return [session.agent for session in listed]

    async def test_web_session(self):
        """It is found by its token, used, listed by last use, closed by its owner and by nobody else."""
        one = await self.open_session("one")
        self.clock.advance(60)
        two = await self.open_session("two")
        self.assertEqual((one.opened + 60, one.used), (two.opened, one.opened))
        self.assertEqual(await self.session_of("one"), (one, self.alice))
        self.assertIsNone(await self.session_of("three"))
        self.assertEqual(await self.agents(), ["Browser two", "Browser one"])
        self.clock.advance(60)
        await self.store.commit(UseWebSession(one.id))
        session, _ = await self.session_of("one")
        self.assertEqual((session.used, session.opened), (one.opened + 120, one.opened))
        self.assertEqual(await self.agents(), ["Browser one", "Browser two"])
        self.assertEqual(await self.store.commit(CloseWebSessions(self.bob.id, (one.id,))), 0)
        self.assertEqual(await self.store.commit(CloseWebSessions(self.bob.id)), 0)
        self.assertEqual(await self.store.commit(CloseWebSessions(self.alice.id, (one.id, 999))), 1)
        self.assertIsNone(await self.session_of("one"))
        await self.store.commit(UseWebSession(one.id))
        self.assertIsNone(await self.session_of("one"))
        self.assertEqual(await self.store.commit(CloseWebSessions(self.alice.id)), 1)
        self.assertEqual(await self.agents(), [])

    async def test_web_session_ends_with_the_password(self):
        """A new password ends the sessions of the old one; a disabled account has none."""
        await self.open_session("old")
        changed = await self.store.commit(SetVerifier("alice@example.test", OTHER_VERIFIER))
        self.assertIsNone(await self.session_of("old"))
        self.assertEqual(await self.agents(), [])
        # The password that was checked while it was changed.
        await self.open_session("late")
        self.assertIsNone(await self.session_of("late"))
        await self.open_session("new", changed)
        self.assertEqual((await self.session_of("new"))[1], changed)
        await self.store.commit(SetAccount("alice@example.test", (("disabled", True),)))
        self.assertIsNone(await self.session_of("new"))
        await self.store.commit(SetAccount("alice@example.test", (("disabled", False),)))
        self.assertIsNotNone(await self.session_of("new"))
        await self.store.commit(RemoveAccount("alice@example.test"))
        self.assertIsNone(await self.session_of("new"))
        self.assertEqual(await self.agents(), [])
        await self.refused(NoSuchAccount, OpenWebSession(self.alice.id, b"x", 1, "", ""))

    async def test_web_session_limits(self):
        """Those used least lately go when there are too many, and those that nobody used for long."""
        for number in range(WEB_SESSIONS + 2):
            await self.open_session(str(number))
            self.clock.advance(1)
        self.assertEqual(len(await self.agents()), WEB_SESSIONS)
        self.assertIsNone(await self.session_of("1"))
        self.assertIsNotNone(await self.session_of("2"))
        await self.open_session("last", stale=self.clock.seconds() - 1.5)
        self.assertEqual(await self.agents(), ["Browser last", f"Browser {WEB_SESSIONS + 1}"])
        await self.open_session("other", self.bob, stale=self.clock.seconds())
        self.assertEqual(len(await self.agents()), 2)
