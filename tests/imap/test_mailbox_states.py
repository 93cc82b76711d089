"""Selected mailboxes kept as the store has them: the memory engine, and SQLite with its threads."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.imap.mailbox_states import OVERHEAD, MailboxStates
from mailftp.imap.selected import News
from mailftp.store.memory import MemoryStore
from mailftp.store.records import Filing
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import (
    Accept,
    AddAccount,
    CopyMessages,
    DeleteMailbox,
    Expunge,
    FlagChange,
    RemoveAccount,
    RenameMailbox,
    StoreFlags,
)
from tests.store.messages import VERIFIER, message, staged


class Broken(Exception):
    pass


class MemoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore(Clock().seconds, None)
        self.successResultOf(self.store.start())
        self.alice = self.done(self.store.commit(AddAccount("alice@example.test", VERIFIER)))
        self.bob = self.done(self.store.commit(AddAccount("bob@example.test", VERIFIER)))
        self.told: list[str] = []
        self.states = MailboxStates(self.store, 2 * (OVERHEAD + 2))
        self.states.start()
        self.addCleanup(self.states.stop)

    def done(self, deferred):
        return self.successResultOf(deferred)

    def deliver(self, name: str = "INBOX") -> None:
        async def accept() -> None:
            body = await staged(self.store, message())
            await self.store.commit(Accept(body, 1.0, (Filing(self.alice.id, name),)))

        self.done(Deferred.fromCoroutine(accept()))

    def open(self, name: str = "INBOX", who: str = "a"):
        opening = self.states.open(self.alice.id, name, lambda: self.told.append(who))
        return self.done(Deferred.fromCoroutine(opening))

    def test_news(self) -> None:
        """Two sessions share a state and hear of what arrives, of flags and of what is expunged."""
        self.deliver()
        first, second = self.open(who="a"), self.open("inbox", "b")
        self.assertIs(first.state, second.state)
        self.assertEqual((first.exists, self.told), (1, []))
        self.deliver()
        self.done(
            self.store.commit(
                StoreFlags(self.alice.id, first.state.mailbox.id, (1,), FlagChange.ADD, frozenset({"x"}))
            )
        )
        self.assertEqual(set(self.told), {"a", "b"})
        for view in (first, second):
            self.assertEqual(view.take_news(expunges=True), News(exists=2, changed=(1,)))
        self.done(self.store.commit(Expunge(self.alice.id, first.state.mailbox.id, (1,))))
        self.assertEqual(second.take_news(expunges=True), News((1,), (1,)))

    def test_another_account(self) -> None:
        """A name is looked for in its own account only, also when another account's is known by it."""
        self.deliver("Projects")
        self.open("Projects")
        opening = self.states.open(self.bob.id, "Projects", lambda: None)
        self.failureResultOf(Deferred.fromCoroutine(opening), LookupError)

    def test_left(self) -> None:
        """Who has left hears nothing; who comes again sees what happened meanwhile, in the same state."""
        self.deliver()
        view = self.open()
        self.states.close(view)
        self.states.close(view)
        self.deliver()
        self.done(self.store.commit(Expunge(self.alice.id, view.state.mailbox.id, (1,))))
        self.assertEqual(self.told, [])
        again = self.open()
        self.assertIs(again.state, view.state)
        self.assertEqual(list(again.uids()), [2])

    def test_unwatched_are_bounded(self) -> None:
        """Of mailboxes that nobody looks at, those left first are let go."""
        views = {}
        for name in ("One", "Two", "Three"):
            self.deliver(name)
            self.deliver(name)
            views[name] = self.open(name)
        for view in views.values():
            self.states.close(view)
        for name in ("Three", "One"):
            again = self.open(name)
            self.assertEqual(list(again.uids()), [1, 2])
            self.assertEqual(again.state is views[name].state, name == "Three")

    def test_renamed(self) -> None:
        """A selected mailbox that gets another name is followed; a new one of the old name is another."""
        self.deliver("Old")
        view = self.open("Old")
        self.done(self.store.commit(RenameMailbox(self.alice.id, "Old", "New")))
        self.deliver("New")
        self.assertEqual(view.take_news(expunges=True), News(exists=2))
        self.assertIs(self.open("New").state, view.state)
        self.deliver("Old")
        other = self.open("Old")
        self.assertIsNot(other.state, view.state)
        self.assertEqual((other.exists, view.take_news(expunges=True)), (1, News()))

    def test_deleted(self) -> None:
        """A selected mailbox that is deleted and made again is gone to who had it, and new to who comes."""
        self.deliver("Old")
        view = self.open("Old")
        self.done(self.store.commit(DeleteMailbox(self.alice.id, "Old")))
        self.deliver("Old")
        self.failureResultOf(Deferred.fromCoroutine(self.states.refresh(view)), LookupError)
        again = self.open("Old")
        self.assertIsNot(again.state, view.state)
        self.assertNotEqual(again.state.mailbox.uidvalidity, view.state.mailbox.uidvalidity)

    def test_name_taken_before_it_was_read(self) -> None:
        """Renamed, and the old name given to another, before anything could be read: it is followed all the
        same, and the other's messages are not taken for its own."""
        self.deliver("Old")
        view = self.open("Old")
        self.states.stop()
        self.done(self.store.commit(RenameMailbox(self.alice.id, "Old", "New")))
        for _ in range(3):
            self.deliver("Old")
        self.done(Deferred.fromCoroutine(self.states.refresh(view)))
        self.assertEqual((view.state.mailbox.name, view.take_news(expunges=True)), ("New", News()))

    def test_nobody_looks(self) -> None:
        """For a mailbox that nobody has selected, nothing is read when it changes."""
        self.states.close(self.open())
        asked, read = [], self.store.read

        def counted(query):
            asked.append(query)
            return read(query)

        self.store.read = counted
        self.deliver()
        self.assertEqual(asked, [])
        view = self.open()
        self.assertEqual((view.exists, len(asked)), (1, 1))

    def test_gone(self) -> None:
        """Of a mailbox that is gone each session hears, and its state is no longer there to be had."""
        self.deliver()
        view = self.open()
        self.done(self.store.commit(RemoveAccount("alice@example.test")))
        self.failureResultOf(Deferred.fromCoroutine(self.states.refresh(view)), LookupError)
        self.assertEqual(self.told, ["a"])
        opening = self.states.open(self.alice.id, "INBOX", lambda: None)
        self.failureResultOf(Deferred.fromCoroutine(opening), LookupError)
        self.states.close(view)

    def test_let_go_while_opening(self) -> None:
        """A state that is let go while it is read for somebody is not given to them beside another."""
        self.deliver()
        view = self.open()
        self.states.close(view)
        read, waiting = self.store.read, []

        def late(query):
            waiting.append(Deferred())
            return waiting[-1].addCallback(lambda _: read(query))

        self.store.read = late
        opening = Deferred.fromCoroutine(self.states.open(self.alice.id, "INBOX", lambda: None))
        self.store.read = read
        for name in ("One", "Two"):
            self.deliver(name)
            self.deliver(name)
            self.states.close(self.open(name))
        other = self.open()
        self.assertIsNot(other.state, view.state)
        waiting[0].callback(None)
        self.assertIs(self.done(opening).state, other.state)

    def test_a_session_that_fails(self) -> None:
        """An error in one session keeps the news from no other."""

        def fail() -> None:
            raise Broken

        self.done(Deferred.fromCoroutine(self.states.open(self.alice.id, "INBOX", fail)))
        self.open(who="b")
        self.deliver()
        self.assertEqual(self.told, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_store_fails(self) -> None:
        """A read that fails is an error to who asked; the next one brings everything."""
        view = self.open()
        read = self.store.read

        def broken(query):
            raise Broken

        self.store.read = broken
        self.deliver()
        self.failureResultOf(Deferred.fromCoroutine(self.states.refresh(view)), Broken)
        self.store.read = read
        self.done(Deferred.fromCoroutine(self.states.refresh(view)))
        self.assertEqual(view.take_news(expunges=True), News(exists=1))


class SQLiteTests(TestCase):
    timeout = 120

    async def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.store = SQLiteStore(folder / "mail.sqlite", folder / "blobs", reactor, reactor, None)
        await self.store.start()
        self.addCleanup(self.store.stop)
        self.alice = await self.store.commit(AddAccount("alice@example.test", VERIFIER))
        self.states = MailboxStates(self.store)
        self.states.start()
        self.addCleanup(self.states.stop)

    async def deliver(self, count: int, name: str) -> None:
        for n in range(count):
            body = await staged(self.store, message(f"{name} {n}"))
            await self.store.commit(Accept(body, 1.0, (Filing(self.alice.id, name),)))

    async def copy(self, mailbox_id: int, count: int) -> None:
        for _ in range(count):
            await self.store.commit(CopyMessages(self.alice.id, mailbox_id, (1, 2), "INBOX"))

    async def test_uid_visibility(self) -> None:
        """Deliveries and copies by several writers at once: of readers that poll and of one that only hears,
        none ever sees a UID below one that it has seen, and all see every message in the end."""
        await self.deliver(2, "Source")
        source = await self.states.open(self.alice.id, "Source", lambda: None)
        heard: list[int] = []
        over: list[bool] = []
        everything: Deferred[None] = Deferred()

        def hear() -> None:
            self.see(listener, heard)
            if len(heard) == 320 and not everything.called:
                everything.callback(None)

        listener = await self.states.open(self.alice.id, "INBOX", hear)

        async def poll() -> list[int]:
            seen: list[int] = []
            view = await self.states.open(self.alice.id, "INBOX", lambda: None)
            while not over:
                await self.states.refresh(view)
                self.see(view, seen)
            await self.states.refresh(view)
            self.see(view, seen)
            return seen

        polls = gatherResults([Deferred.fromCoroutine(poll()) for _ in range(3)], consumeErrors=True)
        writers = [self.deliver(40, "INBOX") for _ in range(4)]
        writers += [self.copy(source.state.mailbox.id, 40) for _ in range(2)]
        await gatherResults([Deferred.fromCoroutine(writer) for writer in writers], consumeErrors=True)
        over.append(True)
        for seen in await polls:
            self.assertEqual(seen, list(range(1, 321)))
        await everything
        self.assertEqual(heard, list(range(1, 321)))

    def see(self, view, seen: list[int]) -> None:
        """Take the news: what is new is above all that was seen."""
        if view.take_news(expunges=True).exists is not None:
            uids = list(view.uids())
            self.assertEqual(uids[: len(seen)], seen)
            seen[:] = uids
