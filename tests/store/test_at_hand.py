"""What is kept on the reactor's thread is never older than what anybody was told."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.store.at_hand import AtHand
from mailftp.store.queries import Accounts, AccountWithVerifier, ListMaildrop, Mailboxes
from mailftp.store.records import Account, Change, Filing, Mailbox, MaildropListing
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount, SetAccount, SetVerifier
from tests.store import test_sqlite
from tests.store.messages import OTHER_VERIFIER, VERIFIER, staged

BOB = (Account(1, "bob@example.test", 0.0), VERIFIER)
WHO = AccountWithVerifier("bob@example.test")
NOBODY = AccountWithVerifier("nobody@example.test")


def listed(account_id: int = 1, modseq: int = 9, name: str = "INBOX") -> MaildropListing:
    return MaildropListing(Mailbox(account_id * 10, account_id, name, 1, 5, modseq), False, (1,), (2,), {})


def known(account_id: int = 1, modseq: int = 9, name: str = "INBOX") -> ListMaildrop:
    return ListMaildrop(account_id, name, (account_id * 10, modseq))


class AtHandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.at_hand = AtHand(3)

    def keep(self, query, answer):
        self.assertIs(self.at_hand.begins(query).answered(answer), answer)

    def test_account(self) -> None:
        """An account and one that is not there are kept alike, until any account changes."""
        self.keep(WHO, BOB)
        self.keep(NOBODY, None)
        self.assertEqual(self.at_hand.answer(WHO), (BOB,))
        self.assertEqual(self.at_hand.answer(NOBODY), (None,))
        self.at_hand.forget([Change("mail", 1, 10, 10), Change("queue"), Change("alias")])
        self.assertEqual(self.at_hand.answer(WHO), (BOB,))
        self.at_hand.forget([Change("account", 2)])
        self.assertIsNone(self.at_hand.answer(WHO))
        self.assertIsNone(self.at_hand.answer(NOBODY))

    def test_maildrop(self) -> None:
        """For who knows it as it is, until that account's mail changes, or any account."""
        for change in (Change("mail", 1, 99, 10), Change("account", 2)):
            self.keep(ListMaildrop(1), listed())
            self.keep(ListMaildrop(2), listed(2))
            self.at_hand.forget([Change("mail", 2, 20, 10)])
            self.assertIsNone(self.at_hand.answer(known(2)))
            (answer,) = self.at_hand.answer(known())
            self.assertTrue(answer.unchanged)
            self.assertEqual(answer.mailbox, listed().mailbox)
            for query in (ListMaildrop(1), known(modseq=8), known(name="Archive")):
                self.assertIsNone(self.at_hand.answer(query))
            self.at_hand.forget([change])
            self.assertIsNone(self.at_hand.answer(known()))

    def test_no_mailbox(self) -> None:
        """That there is none is not kept."""
        self.keep(ListMaildrop(1), None)
        self.assertIsNone(self.at_hand.answer(ListMaildrop(1)))

    def test_changed_meanwhile(self) -> None:
        """What was read while it changed is answered and not kept; what failed is not kept."""
        for query, answer, change, asked in (
            (WHO, BOB, Change("account", 1), WHO),
            (NOBODY, None, Change("account", 7), NOBODY),
            (ListMaildrop(1), listed(), Change("mail", 1, 10, 10), known()),
            (ListMaildrop(1), listed(), Change("account", 1), known()),
        ):
            reading = self.at_hand.begins(query)
            self.at_hand.forget([change])
            self.assertIs(reading.answered(answer), answer)
            self.assertIsNone(self.at_hand.answer(asked))
            self.at_hand.begins(query).failed(None)
            self.assertIsNone(self.at_hand.answer(asked))
            reading = self.at_hand.begins(query)
            self.at_hand.forget([Change("mail", 2, 20, 10), Change("queue")])
            reading.answered(answer)
            self.assertIsNotNone(self.at_hand.answer(asked))

    def test_bounded(self) -> None:
        """The least lately used go first."""
        for number in range(4):
            self.keep(AccountWithVerifier(f"u{number}@example.test"), None)
            self.keep(ListMaildrop(number), listed(number))
            self.at_hand.answer(AccountWithVerifier("u0@example.test"))
            self.at_hand.answer(known(0))
        kept = [bool(self.at_hand.answer(AccountWithVerifier(f"u{n}@example.test"))) for n in range(4)]
        self.assertEqual(kept, [True, False, True, True])
        self.assertEqual([bool(self.at_hand.answer(known(n))) for n in range(4)], [True, False, True, True])
        self.at_hand.forget([Change("mail", n, 0, 10) for n in range(4)])
        self.assertEqual(
            (self.at_hand._mailboxes, self.at_hand._names, self.at_hand._under_way), ({}, {}, set())
        )


class Watching(SQLiteStore):
    """After each commit that nothing else waits for, compares all that is kept with the database, and keeps
    as much of it as there is."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.waiting = self.kept = 0

    def commit(self, unit):
        self.waiting += 1
        return super().commit(unit).addBoth(self._compare)

    def _compare(self, result):
        self.waiting -= 1
        if not self.waiting and self._open:
            for address, found in self._at_hand._accounts.items():
                assert found == self._read(AccountWithVerifier(address)), address
            for (account_id, name), mailbox in self._at_hand._mailboxes.items():
                listing = self._read(ListMaildrop(account_id, name))
                assert listing is not None and listing.mailbox == mailbox, (account_id, name)
            self._keep_all()
        return result

    def _keep_all(self) -> None:
        names = [account.address for account in self._read(Accounts())]
        for name in (*names, "nobody@example.test", "carol@example.test"):
            query = AccountWithVerifier(name)
            found = self._read(query)
            self._at_hand.begins(query).answered(found)
            self.kept += 1
            for mailbox in self._read(Mailboxes(found[0].id)) if found else ():
                drop = ListMaildrop(mailbox.account_id, mailbox.name)
                self._at_hand.begins(drop).answered(self._read(drop))


class WatchedConformance(test_sqlite.SQLiteConformance):
    """The whole suite once more, over a store that watches itself."""

    async def open_store(self, mail_quota=None, message_quota=None):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        store = Watching(
            folder / "mail.sqlite",
            folder / "blobs",
            reactor,
            self.clock,
            mail_quota,
            message_quota=message_quota,
        )
        self.addCleanup(store.stop)
        await store.start()
        return store

    async def tearDown(self) -> None:
        self.assertTrue(self.store.kept)


class SQLiteTests(TestCase):
    async def test_at_once(self) -> None:
        """The second time no thread is asked; whoever is told of a commit reads what it did."""
        from twisted.internet.task import Clock

        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        store = SQLiteStore(folder / "mail.sqlite", folder / "blobs", reactor, Clock())
        self.addCleanup(store.stop)
        await store.start()
        self.assertIsNone(await store.read(WHO))
        self.assertIsNone(self.successResultOf(store.read(WHO)))
        bob = await store.commit(AddAccount("bob@example.test", VERIFIER))
        self.assertEqual(await store.read(WHO), (bob, VERIFIER))
        self.assertEqual(self.successResultOf(store.read(WHO)), (bob, VERIFIER))
        read = []
        changed = store.commit(SetVerifier(bob.address, OTHER_VERIFIER))
        # In the very turn in which the commit is answered.
        changed.addCallback(lambda _: store.read(WHO).addCallback(read.append))
        await changed
        self.assertEqual(read[0][1], OTHER_VERIFIER)
        await store.commit(SetAccount(bob.address, (("disabled", True),)))
        self.assertTrue((await store.read(WHO))[0].disabled)
        listing = await store.read(ListMaildrop(bob.id))
        asked = ListMaildrop(bob.id, "INBOX", (listing.mailbox.id, listing.mailbox.modseq))
        self.assertTrue(self.successResultOf(store.read(asked)).unchanged)
        body = await staged(store, b"Subject: x\r\n\r\nx\r\n")
        await store.commit(Accept(body, 1.0, (Filing(bob.id),)))
        self.assertEqual(len((await store.read(asked)).uids), 1)
