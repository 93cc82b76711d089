"""App passwords of every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import (
    AppPasswordExists,
    LimitReached,
    NoSuchAccount,
    NoSuchAppPassword,
    StoreFault,
)
from mailftp.store.names import APP_PASSWORDS_LIMIT
from mailftp.store.queries import AccountWithVerifier, AppPasswords
from mailftp.store.records import Verifier
from mailftp.store.units import (
    AddAccount,
    AddAppPassword,
    NoteAppPasswordUse,
    RemoveAccount,
    RemoveAppPasswords,
    SetVerifier,
)
from tests.store.messages import OTHER_VERIFIER, VERIFIER

ALICE, BOB = "alice@example.test", "bob@example.test"
PLAIN = Verifier("$argon2id$app")


class AppPasswording:
    async def app_passwords(self, account):
        return await self.store.read(AppPasswords(account.id))

    async def test_app_password(self):
        """Kept as it was given, read by its account's id and with the account's verifier, and by no other."""
        scram = replace(VERIFIER.scram, stored_key=b"other", server_key=b"keys")
        unit = AddAppPassword(BOB, "phone", "abcd", Verifier("$x", scram), ("smtp", "imap"), read_only=True)
        phone = await self.store.commit(unit)
        scanner = await self.store.commit(AddAppPassword(BOB, "a scanner", "abce", PLAIN))
        self.assertEqual((phone.name, phone.selector, phone.protocols), ("phone", "abcd", ("imap", "smtp")))
        self.assertEqual((phone.read_only, phone.verifier), (True, Verifier("$x", scram)))
        self.assertEqual((phone.created, phone.last_used), (self.clock.seconds(), None))
        self.assertEqual((scanner.protocols, scanner.read_only, scanner.verifier), ((), False, PLAIN))
        self.assertEqual(await self.app_passwords(self.bob), (scanner, phone))
        self.assertEqual(await self.app_passwords(self.alice), ())
        account, verifier = await self.store.read(AccountWithVerifier(BOB))
        self.assertEqual(account, self.bob)
        self.assertEqual(verifier, replace(VERIFIER, app_passwords=(scanner, phone)))
        self.assertEqual([(c.kind, c.account_id) for c in await self.news()], [("account", self.bob.id)] * 2)

    async def test_app_password_refused(self):
        """A second one of that name or selector, one for nobody, one too many, keys by another salt."""
        await self.store.commit(AddAppPassword(BOB, "phone", "abcd", PLAIN))
        await self.refused(AppPasswordExists, AddAppPassword(BOB, "phone", "abce", PLAIN))
        await self.refused(AppPasswordExists, AddAppPassword(BOB, "fax", "abcd", PLAIN))
        await self.refused(NoSuchAccount, AddAppPassword("eve@example.test", "phone", "abcd", PLAIN))
        scram = replace(VERIFIER.scram, salt=b"another")
        await self.refused(StoreFault, AddAppPassword(BOB, "fax", "abce", Verifier("$x", scram)))
        await self.store.commit(AddAppPassword(ALICE, "phone", "abcd", PLAIN))
        for number in range(1, APP_PASSWORDS_LIMIT):
            await self.store.commit(AddAppPassword(BOB, f"n{number}", f"s{number}", PLAIN))
        await self.refused(LimitReached, AddAppPassword(BOB, "one more", "abce", PLAIN))
        self.assertEqual(len(await self.app_passwords(self.bob)), APP_PASSWORDS_LIMIT)

    async def test_remove_app_passwords(self):
        """One by name, or all; what is not there is refused. Their ids are not given again."""
        one = await self.store.commit(AddAppPassword(BOB, "one", "aaaa", PLAIN))
        two = await self.store.commit(AddAppPassword(BOB, "two", "bbbb", PLAIN))
        self.assertEqual(await self.store.commit(RemoveAppPasswords(BOB, "two")), (two,))
        await self.refused(NoSuchAppPassword, RemoveAppPasswords(BOB, "two"))
        await self.refused(NoSuchAccount, RemoveAppPasswords("eve@example.test", "two"))
        three = await self.store.commit(AddAppPassword(BOB, "three", "bbbb", PLAIN))
        self.assertNotIn(three.id, (one.id, two.id))
        before = len(await self.news())
        self.assertEqual(await self.store.commit(RemoveAppPasswords(BOB, None)), (one, three))
        self.assertEqual(await self.store.commit(RemoveAppPasswords(BOB, None)), ())
        self.assertEqual(len(await self.news()), before + 1)
        self.assertEqual(await self.store.read(AccountWithVerifier(BOB)), (self.bob, VERIFIER))

    async def test_app_password_use(self):
        """Noted with the time; nobody is told, and one that is gone is nothing."""
        made = await self.store.commit(AddAppPassword(BOB, "one", "aaaa", PLAIN))
        heard = len(await self.news())
        self.clock.advance(50)
        await self.store.commit(NoteAppPasswordUse(made.id))
        await self.store.commit(NoteAppPasswordUse(made.id + 7))
        self.assertEqual(await self.app_passwords(self.bob), (replace(made, last_used=self.clock.seconds()),))
        self.assertEqual(len(await self.news()), heard)

    async def test_app_passwords_of_a_changed_account(self):
        """A new password of the account leaves them; with the account they go."""
        made = await self.store.commit(AddAppPassword(BOB, "one", "aaaa", PLAIN))
        await self.store.commit(SetVerifier(BOB, OTHER_VERIFIER))
        _, verifier = await self.store.read(AccountWithVerifier(BOB))
        self.assertEqual(verifier, replace(OTHER_VERIFIER, app_passwords=(made,)))
        await self.store.commit(RemoveAccount(BOB))
        again = await self.store.commit(AddAccount(BOB, VERIFIER))
        self.assertEqual(await self.app_passwords(again), ())
