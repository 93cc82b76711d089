from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.listings import Listings
from mailftp.accounts.passwords import make_verifier
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import MailboxSince
from mailftp.store.records import Filing, MaildropListing
from mailftp.store.units import Accept, AddAccount, Expunge, FlagChange, RemoveAccount, StoreFlags
from tests.accounts.stores import CHEAP

VERIFIER = make_verifier("x", CHEAP)


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store: Any = MemoryStore()
        self.successResultOf(self.store.start())
        self.reads: list[Any] = []
        read = self.store.read

        def counted(query: Any) -> Any:
            self.reads.append(query)
            return read(query)

        self.store.read = counted
        self.listings = Listings(most=10)
        self.bob = self.add("bob")

    def add(self, name: str) -> int:
        account = self.successResultOf(self.store.commit(AddAccount(f"{name}@example.test", VERIFIER)))
        number: int = account.id
        return number

    def put(self, account_id: int, text: bytes = b"A: b\r\n\r\n") -> None:
        sink = self.store.stage()
        sink.write(text)
        body = self.successResultOf(sink.finish())
        self.successResultOf(self.store.commit(Accept(body, 1.0, (Filing(account_id),))))

    def listed(self, account_id: int, listings: Listings | None = None) -> MaildropListing:
        work = (listings or self.listings).read(self.store, account_id)
        listing = self.successResultOf(Deferred.fromCoroutine(work))
        assert listing is not None
        return listing

    def test_unchanged(self) -> None:
        """A mailbox that has not changed is not read again; one that has, is."""
        self.put(self.bob)
        first = self.listed(self.bob)
        self.assertIs(self.listed(self.bob), first)
        self.put(self.bob)
        self.assertEqual(list(self.listed(self.bob).uids), [1, 2])
        self.assertEqual([query.known[1] > 0 for query in self.reads], [False, True, True])

    def test_folders(self) -> None:
        """Folders of one account are told apart, and one that is not there is None."""
        self.put(self.bob)
        work = self.listings.read(self.store, self.bob, "Archive")
        archive = self.successResultOf(Deferred.fromCoroutine(work))
        assert archive is not None
        self.assertEqual(list(archive.uids), [])
        self.assertEqual(list(self.listed(self.bob).uids), [1])
        missing = self.listings.read(self.store, self.bob, "Attic")
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(missing)))

    def test_another_account_of_that_name(self) -> None:
        """An account that was removed and made again shares nothing with the old one."""
        self.put(self.bob)
        before = self.listed(self.bob)
        self.successResultOf(self.store.commit(RemoveAccount("bob@example.test")))
        bob = self.add("bob")
        self.put(bob)
        self.assertNotEqual(self.listed(bob).mailbox.uidvalidity, before.mailbox.uidvalidity)

    def test_bounded(self) -> None:
        """The least lately used are forgotten, and one too large is never kept."""
        alice = self.add("alice")
        for _ in range(6):
            self.put(self.bob)
            self.put(alice)
        self.listed(self.bob)
        self.listed(alice)
        self.assertEqual(set(self.listings._known), {(alice, "INBOX")})
        for _ in range(6):
            self.put(alice)
        self.assertEqual(len(self.listed(alice).uids), 12)
        self.assertEqual((dict(self.listings._known), self.listings._count), ({}, 0))

    @given(st.lists(st.sampled_from(["put", "expunge", "flag", "list"]), max_size=12))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_as_if_read_anew(self, steps: list[str]) -> None:
        """Whatever happens in between, a remembered listing is what a fresh one would be."""
        self.setUp()
        for step in steps:
            now = self.successResultOf(self.store.read(MailboxSince(self.bob)))
            uids = tuple(message.uid for message in now.messages[:1])
            if step == "put":
                self.put(self.bob)
            elif step == "expunge":
                self.successResultOf(self.store.commit(Expunge(self.bob, now.mailbox.id, uids)))
            elif step == "flag":
                unit = StoreFlags(self.bob, now.mailbox.id, uids, FlagChange.ADD, frozenset({"\\Seen"}))
                self.successResultOf(self.store.commit(unit))
            else:
                self.listed(self.bob)
            self.assertEqual(self.listed(self.bob, Listings()), self.listed(self.bob))
