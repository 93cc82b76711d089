"""What an operator finds of a message, on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.queries import QueueList, TraceMail
from mailftp.store.records import Filing, QueueFilter, RecipientState
from mailftp.store.units import FlagChange, NoteRetrieved, StoreFlags
from tests.store.messages import inbox, message, outcome, transfer

PREFIX = b"Return-Path: <Eve@far.test>\r\nDelivered-To: x\r\n"


class Tracing:
    async def traced(self, message_id="", address="", limit=100):
        return await self.store.read(TraceMail(message_id, address, limit))

    async def test_copies_of_a_message(self):
        """Every copy of a message with its mailbox, flags and trace, whoever's; answers to it are not it."""
        junk = Filing(self.bob.id, "Junk", frozenset({"\\Flagged"}))
        accepted = await self.accept(message("Plan", "one@x"), Filing(self.alice.id, prefix=PREFIX), junk)
        await self.accept(message("Re: Plan", "two@x", "one@x"), *inbox(self.alice))
        (_, mailbox, uid), _ = accepted.filed
        await self.store.commit(
            StoreFlags(self.alice.id, mailbox, (uid,), FlagChange.ADD, frozenset({"\\Seen"}))
        )
        await self.store.commit(NoteRetrieved(mailbox, (uid,)))
        found = {copy.account: copy for copy in await self.traced("one@x")}
        alices, bobs = found[self.alice.address], found[self.bob.address]
        self.assertEqual((alices.mailbox, alices.uid, alices.flags), ("INBOX", uid, frozenset({"\\Seen"})))
        self.assertEqual((alices.prefix, alices.message_id, alices.subject), (PREFIX, "one@x", "Plan"))
        self.assertEqual((alices.retrieved, bobs.retrieved), (self.clock.seconds(), None))
        self.assertEqual((bobs.mailbox, bobs.flags), ("Junk", frozenset({"\\Flagged"})))
        self.assertEqual(await self.traced("one"), ())

    async def test_mail_of_an_address(self):
        """What an account has and what an address sent, newest first; a limit; nobody's is nothing."""
        await self.accept(message("a", "one@x"), Filing(self.alice.id, prefix=PREFIX))
        await self.accept(message("b", "two@x"), Filing(self.bob.id, prefix=PREFIX), *inbox(self.alice))
        eves = await self.traced(address="EVE@far.test")
        self.assertEqual([(c.account, c.message_id) for c in eves], [
            (self.bob.address, "two@x"), (self.alice.address, "one@x"),
        ])  # fmt: skip
        alices = await self.traced(address=self.alice.address)
        self.assertEqual([copy.message_id for copy in alices], ["two@x", "one@x"])
        self.assertEqual(
            [c.message_id for c in await self.traced(address=self.alice.address, limit=1)], ["two@x"]
        )
        self.assertEqual(await self.traced("one@x", self.bob.address), ())
        self.assertEqual(await self.traced(address="ve@far.test"), ())

    async def test_queue_by_message_and_party(self):
        """Queued mail is found by Message-ID, when it is finished too, and by whom it is from or to."""
        first = await self.accept(message("a", "one@x"), transfer=transfer("Bob@far.test"))
        second = await self.accept(
            message("b", "two@x"), transfer=transfer("c@far.test", sender="bob@far.test")
        )
        (leased,) = [m for m in await self.lease() if m.id == first.queued]
        await self.record(outcome(leased.recipients[0], RecipientState.DELIVERED))

        async def found(newest=False, **wanted):
            chosen = QueueFilter(states=frozenset(RecipientState), **wanted)
            return [m.id for m in await self.store.read(QueueList(chosen, newest=newest))]

        self.assertEqual(await found(message_id="one@x"), [first.queued])
        self.assertEqual(await found(message_id="one"), [])
        self.assertEqual(await found(party="BOB@far.test"), [first.queued, second.queued])
        self.assertEqual(await found(newest=True), [second.queued, first.queued])
        self.assertEqual(leased.message_id, "one@x")
