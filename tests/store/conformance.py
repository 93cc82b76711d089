"""What every engine does, as tests. An engine's test class gives `open_store`.

`self.clock` is the engine's clock; `self.store` is open; `self.alice` and `self.bob` are accounts.
"""

from __future__ import annotations

import os
from dataclasses import replace

from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from mailftp.store.engine import (
    SMALL_BODY,
    AccountExists,
    MailboxExists,
    MissingBody,
    NoSuchAccount,
    OverQuota,
    StoreFault,
)
from mailftp.store.queries import (
    Accounts,
    AccountWithVerifier,
    Bodies,
    Copies,
    Indexes,
    ListMaildrop,
    Mailboxes,
    MailboxSince,
    MailUsage,
    NextDue,
    OpenBody,
    QueueAttempts,
    QueueDepth,
    QueueList,
)
from mailftp.store.quota import UNLIMITED
from mailftp.store.records import (
    NEW_ACCOUNT_MAILBOXES,
    BodyRef,
    Filing,
    Flagged,
    ForwardPath,
    QueueFigures,
    QueueFilter,
    RecipientState,
    StagedBody,
    Transfer,
)
from mailftp.store.units import (
    Accept,
    ActOnQueue,
    AddAccount,
    CreateMailbox,
    ExpireRetrieved,
    Expunge,
    FlagChange,
    LeaseDue,
    NoteRetrieved,
    QueueAction,
    RecordOutcomes,
    RemoveAccount,
    RenewLeases,
    SetAccount,
    SetUidls,
    SetVerifier,
    StoreFlags,
    VoidLeases,
)
from tests.store.messages import OTHER_VERIFIER, VERIFIER, inbox, message, outcome, staged, transfer

START = 1_700_000_000.0
OWNER = "node/boot1"

WAITING, HELD = RecipientState.WAITING, RecipientState.HELD
DELIVERED, FAILED, DROPPED = RecipientState.DELIVERED, RecipientState.FAILED, RecipientState.DROPPED


class Conformance:
    """Mixed with TestCase by each engine's tests."""

    async def setUp(self):
        self.clock = Clock()
        self.clock.advance(START)
        self.store = await self.open_store()
        self.heard = []
        self.alice = await self.store.commit(AddAccount("alice@example.test", VERIFIER))
        self.bob = await self.store.commit(AddAccount("bob@example.test", VERIFIER))
        self.store.subscribe(self.heard.append)

    async def accept(self, data, *filings, **fields):
        body = await staged(self.store, data)
        return await self.store.commit(Accept(body, self.clock.seconds(), filings, **fields))

    async def mailbox(self, account, name="INBOX", modseq=0):
        return await self.store.read(MailboxSince(account.id, name, modseq))

    async def only(self, account, name="INBOX"):
        (found,) = (await self.mailbox(account, name)).messages
        return found

    async def news(self):
        """All changes told so far: the feed speaks after the answers, so a further answer lets it."""
        await self.store.read(Accounts())
        return [change for changes in self.heard for change in changes]

    async def refused(self, fault, unit):
        return await self.assertFailure(self.store.commit(unit), fault)

    # Accounts.

    async def test_new_account(self):
        """A new account has its verifier, and the mailboxes that clients expect with their special uses."""
        account, verifier = await self.store.read(AccountWithVerifier("alice@example.test"))
        self.assertEqual(account, self.alice)
        self.assertEqual(verifier, VERIFIER)
        self.assertEqual(account.created, START)
        mailboxes = await self.store.read(Mailboxes(self.alice.id))
        self.assertEqual({m.name: m.special_use for m in mailboxes}, dict(NEW_ACCOUNT_MAILBOXES))
        self.assertTrue(all(m.subscribed and m.uidnext == 1 for m in mailboxes))

    async def test_account_exists(self):
        """A second account of the same address is refused and changes nothing."""
        await self.refused(AccountExists, AddAccount("alice@example.test", OTHER_VERIFIER))
        _, verifier = await self.store.read(AccountWithVerifier("alice@example.test"))
        self.assertEqual(verifier, VERIFIER)

    async def test_accounts_by_address(self):
        """All accounts are listed in the order of their addresses."""
        await self.store.commit(AddAccount("aaron@example.test", VERIFIER))
        listed = await self.store.read(Accounts())
        self.assertEqual([a.address.partition("@")[0] for a in listed], ["aaron", "alice", "bob"])

    async def test_set_verifier(self):
        """A new password replaces the SCRAM keys too and raises the version that open sessions compare."""
        changed = await self.store.commit(SetVerifier("bob@example.test", OTHER_VERIFIER))
        self.assertEqual(changed.verifier_version, self.bob.verifier_version + 1)
        account, verifier = await self.store.read(AccountWithVerifier("bob@example.test"))
        self.assertEqual((account, verifier), (changed, OTHER_VERIFIER))

    async def test_set_account(self):
        """Each field named is set, the others stay."""
        changes = (("disabled", True), ("mail_quota", 5000), ("message_quota", 7), ("files_quota", 9))
        changed = await self.store.commit(SetAccount("bob@example.test", changes))
        self.assertEqual(
            changed, replace(self.bob, disabled=True, mail_quota=5000, message_quota=7, files_quota=9)
        )
        changed = await self.store.commit(SetAccount("bob@example.test", (("mail_quota", None),)))
        self.assertEqual(changed, replace(self.bob, disabled=True, message_quota=7, files_quota=9))
        self.assertEqual((await self.store.read(Accounts()))[1], changed)

    async def test_set_unknown_field(self):
        """A field that an account does not have is refused by name."""
        fault = await self.refused(StoreFault, SetAccount("bob@example.test", (("id", 7),)))
        self.assertIn("id", str(fault))

    async def test_no_such_account(self):
        """Units for an address that has no account fail with NoSuchAccount; a query answers None."""
        for unit in (
            RemoveAccount("eve@example.test"),
            SetVerifier("eve@example.test", VERIFIER),
            SetAccount("eve@example.test", (("disabled", True),)),
            CreateMailbox(999, "Work"),
        ):
            await self.refused(NoSuchAccount, unit)
        self.assertIsNone(await self.store.read(AccountWithVerifier("eve@example.test")))
        self.assertEqual(await self.store.read(Mailboxes(999)), ())
        self.assertEqual(await self.store.read(MailUsage(999)), (0, 0))

    async def test_removed_account_leaves_nothing(self):
        """A later account of a removed one's name has another id, new UIDVALIDITY and no mail."""
        await self.accept(message(), *inbox(self.alice))
        before = (await self.mailbox(self.alice)).mailbox
        self.assertEqual(await self.store.commit(RemoveAccount("alice@example.test")), self.alice)
        self.assertIsNone(await self.mailbox(self.alice))
        again = await self.store.commit(AddAccount("alice@example.test", VERIFIER))
        self.assertNotEqual(again.id, self.alice.id)
        after = await self.mailbox(again)
        self.assertGreater(after.mailbox.uidvalidity, before.uidvalidity)
        self.assertEqual(after.messages, ())
        self.assertEqual(await self.store.read(MailUsage(again.id)), (0, 0))
        body = await staged(self.store, message())
        await self.refused(NoSuchAccount, Accept(body, START, inbox(self.alice)))

    # Mail.

    async def test_accept_files_a_message(self):
        """What was accepted is read back: where it is, its size with its prefix, flags and body."""
        data = message()
        accepted = await self.accept(
            data, Filing(self.alice.id, "INBOX", frozenset({"\\Seen"}), b"Return-Path: <>\r\n")
        )
        state = await self.mailbox(self.alice)
        (found,) = state.messages
        self.assertEqual(accepted.filed, ((self.alice.id, state.mailbox.id, 1),))
        self.assertIsNone(accepted.queued)
        self.assertEqual((found.uid, found.prefix, found.received), (1, b"Return-Path: <>\r\n", START))
        self.assertEqual(found.flags, {"\\Seen"})
        self.assertEqual(found.size, len(data) + len(b"Return-Path: <>\r\n"))
        self.assertEqual(state.mailbox.uidnext, 2)
        self.assertEqual(state.mailbox.modseq, found.modseq)
        self.assertEqual(await self.store.read(Bodies((found.body,))), (data,))

    async def test_accept_makes_a_missing_mailbox(self):
        """A filing into a mailbox that is not there makes it, subscribed; INBOX has no case."""
        await self.accept(message(), Filing(self.bob.id, "Lists"), Filing(self.bob.id, "inbox"))
        made = {m.name: m for m in await self.store.read(Mailboxes(self.bob.id))}
        self.assertTrue(made["Lists"].subscribed)
        self.assertEqual(made["Lists"].uidnext, 2)
        self.assertEqual(made["INBOX"].uidnext, 2)
        self.assertNotIn("inbox", made)
        listed = await self.only(self.bob, "Lists")
        self.assertEqual(listed.modseq, made["Lists"].modseq)

    async def test_one_body_many_holders(self):
        """One text filed for two accounts and twice over time is kept once, each with its own prefix."""
        data = message()
        await self.accept(
            data, Filing(self.alice.id, prefix=b"A: 1\r\n"), Filing(self.bob.id, prefix=b"B: 1\r\n")
        )
        await self.accept(data, Filing(self.alice.id))
        first, second = (await self.mailbox(self.alice)).messages
        other = await self.only(self.bob)
        self.assertEqual({first.body, second.body, other.body}, {first.body})
        self.assertEqual((first.prefix, other.prefix, second.prefix), (b"A: 1\r\n", b"B: 1\r\n", b""))
        self.assertEqual(len({first.email_id, second.email_id, other.email_id}), 3)

    async def test_one_email_in_two_mailboxes(self):
        """Filings of one Accept with one text in one account are one Email in several mailboxes."""
        await self.accept(message(), Filing(self.bob.id), Filing(self.bob.id, "Archive"))
        here, there = await self.only(self.bob), await self.only(self.bob, "Archive")
        self.assertEqual((here.email_id, here.thread_id), (there.email_id, there.thread_id))
        self.assertLess(here.modseq, there.modseq)

    async def test_large_body(self):
        """A body beyond SMALL_BODY is read by descriptor, whole; a small one is not, nor is it the other
        way round."""
        data = message(body=b"0123456789abcde\r\n" * 9000)
        self.assertGreater(len(data), SMALL_BODY)
        body = await staged(self.store, data, piece=10_000)
        self.assertEqual(body.size, len(data))
        await self.store.commit(Accept(body, START, inbox(self.alice)))
        found = await self.only(self.alice)
        self.assertTrue(found.body.large)
        descriptor = await self.store.read(OpenBody(found.body))
        with open(descriptor, "rb") as file:
            self.assertEqual(file.read(), data)
        await self.assertFailure(self.store.read(Bodies((found.body,))), MissingBody)
        await self.accept(message(), Filing(self.bob.id))
        small = (await self.only(self.bob)).body
        self.assertFalse(small.large)
        await self.assertFailure(self.store.read(OpenBody(small)), MissingBody)

    async def test_edge_of_small(self):
        """A body of exactly SMALL_BODY octets is small, one more is large."""
        for size, large in ((SMALL_BODY, False), (SMALL_BODY + 1, True)):
            await self.accept(b"x" * size, *inbox(self.alice))
            found = (await self.mailbox(self.alice)).messages[-1]
            self.assertEqual((found.body.size, found.body.large), (size, large))

    async def test_empty_body(self):
        """An empty body is a body."""
        await self.accept(b"", *inbox(self.alice))
        self.assertEqual(await self.store.read(Bodies(((await self.only(self.alice)).body,))), (b"",))

    async def test_missing_bodies(self):
        """Bodies that were never there are MissingBody, to read and to accept."""
        ghost = BodyRef(999, 5, False)
        for query in (Bodies((ghost,)), OpenBody(ghost), Indexes((ghost,))):
            await self.assertFailure(self.store.read(query), MissingBody)
        await self.refused(MissingBody, Accept(StagedBody(5, b"\1" * 32), START, inbox(self.alice)))

    async def test_aborted_body(self):
        """A body may be forgotten at any point, twice, small and large, also when it is finished: nothing of
        it is kept, and the same octets staged again are."""
        for size in (10, 300_000):
            for finished in (False, True):
                sink = self.store.stage()
                held_up = sink.write(b"x" * size)
                if finished:
                    await sink.finish()
                sink.abort()
                sink.abort()
                if held_up is not None:
                    held_up.addErrback(lambda failure: None)
            await self.accept(b"x" * size, *inbox(self.alice))
        kept = (await self.mailbox(self.alice)).messages
        self.assertEqual([message.size for message in kept], [10, 300_000])

    async def test_bodies_in_order(self):
        """Bodies and indexes come in the order asked, repeats included."""
        texts = [message(f"number {n}") for n in range(3)]
        for text in texts:
            await self.accept(text, *inbox(self.alice))
        refs = [m.body for m in (await self.mailbox(self.alice)).messages]
        order = (refs[2], refs[0], refs[2], refs[1])
        self.assertEqual(await self.store.read(Bodies(order)), (texts[2], texts[0], texts[2], texts[1]))
        found = await self.store.read(Indexes(order))
        self.assertEqual([i.base_subject[-1:] for i in found], ["2", "0", "2", "1"])

    async def test_create_mailbox(self):
        """A mailbox is made once; its UIDVALIDITY is above every other's."""
        before = await self.store.read(Mailboxes(self.alice.id))
        made = await self.store.commit(CreateMailbox(self.alice.id, "Receipts", "\\Important"))
        self.assertGreater(made.uidvalidity, max(m.uidvalidity for m in before))
        self.assertIn(made, await self.store.read(Mailboxes(self.alice.id)))
        await self.refused(MailboxExists, CreateMailbox(self.alice.id, "Receipts"))
        await self.refused(MailboxExists, CreateMailbox(self.alice.id, "iNbOx"))

    async def test_uids_and_modseqs_ascend(self):
        """UIDs count up by mailbox, modseqs by account, across mailboxes."""
        for name in ("INBOX", "Archive", "INBOX"):
            await self.accept(message(), Filing(self.alice.id, name))
        first, third = (await self.mailbox(self.alice)).messages
        second = await self.only(self.alice, "Archive")
        self.assertEqual((first.uid, third.uid, second.uid), (1, 2, 1))
        self.assertTrue(first.modseq < second.modseq < third.modseq)

    async def test_flags(self):
        """Flags are added, removed and replaced without regard to case; only messages that change get the
        new modseq."""
        for text in ("one", "two"):
            await self.accept(message(text), *inbox(self.alice))
        mailbox_id = (await self.mailbox(self.alice)).mailbox.id

        async def change(kind, *flags, uids=(1, 2, 99)):
            stored = await self.store.commit(
                StoreFlags(self.alice.id, mailbox_id, uids, kind, frozenset(flags))
            )
            self.assertEqual(stored.refused, ())
            return stored.modseq, [(m.flags, m.modseq) for m in (await self.mailbox(self.alice)).messages]

        modseq, now = await change(FlagChange.ADD, "\\Seen", "$Forwarded", uids=(1,))
        self.assertEqual(now[0], ({"\\Seen", "$Forwarded"}, modseq))
        self.assertEqual(now[1][0], frozenset())
        later, now = await change(FlagChange.ADD, "\\SEEN", "$FORWARDED")
        self.assertEqual(now[0], ({"\\Seen", "$Forwarded"}, modseq))
        self.assertEqual(now[1], ({"\\Seen", "$FORWARDED"}, later))
        self.assertEqual((await change(FlagChange.ADD, "\\seen"))[0], 0)
        _, now = await change(FlagChange.REMOVE, "$forwarded")
        self.assertEqual([flags for flags, _ in now], [{"\\Seen"}, {"\\Seen"}])
        last, now = await change(FlagChange.REPLACE, "\\Deleted", uids=(2,))
        self.assertEqual(now[1], ({"\\Deleted"}, last))
        self.assertEqual((await self.mailbox(self.alice)).mailbox.modseq, last)

    async def test_flags_unchanged_since(self):
        """Messages that changed after the modseq given are refused and keep their flags; the others change,
        each UID is named once, and what is gone is passed over."""
        for text in ("one", "two", "three"):
            await self.accept(message(text), *inbox(self.alice))
        before = (await self.mailbox(self.alice)).mailbox
        seen, work = frozenset({"\\Seen"}), frozenset({"work"})
        touched = await self.store.commit(StoreFlags(self.alice.id, before.id, (2,), FlagChange.ADD, seen))

        async def work_since(modseq, uids=(3, 2, 99, 2, 1)):
            return await self.store.commit(
                StoreFlags(self.alice.id, before.id, uids, FlagChange.ADD, work, modseq)
            )

        self.assertEqual(await work_since(0), Flagged(0, (1, 2, 3)))
        stored = await work_since(before.modseq)
        self.assertEqual(stored.refused, (2,))
        self.assertGreater(stored.modseq, touched.modseq)
        now = (await self.mailbox(self.alice)).messages
        self.assertEqual([m.flags for m in now], [work, seen, work])
        self.assertEqual([m.modseq for m in now], [stored.modseq, touched.modseq, stored.modseq])
        # What would change nothing is refused all the same: the asker has not seen how it is.
        self.assertEqual(await work_since(touched.modseq, (1,)), Flagged(0, (1,)))
        self.assertEqual((await work_since(touched.modseq, (2,))).refused, ())

    async def test_units_for_a_mailbox_that_is_gone(self):
        """Flags and expunges of a mailbox that is not there change nothing, as for UIDs that are gone."""
        unit = StoreFlags(self.alice.id, 999, (1,), FlagChange.ADD, frozenset({"\\Seen"}))
        self.assertEqual(await self.store.commit(unit), Flagged())
        self.assertEqual(await self.store.commit(Expunge(self.alice.id, 999, (1,))), ())

    async def test_units_for_another_account(self):
        """Flags and expunges of another account's mailbox change nothing."""
        await self.accept(message(), *inbox(self.bob))
        before = await self.mailbox(self.bob)
        seen = frozenset({"\\Seen"})
        unit = StoreFlags(self.alice.id, before.mailbox.id, (1,), FlagChange.ADD, seen)
        self.assertEqual(await self.store.commit(unit), Flagged())
        gone = await self.store.commit(Expunge(self.alice.id, before.mailbox.id, (1,)))
        self.assertEqual((gone, await self.mailbox(self.bob)), ((), before))

    async def test_expunge(self):
        """Expunged UIDs are answered once, leave tombstones, and are never given again."""
        for text in ("one", "two", "three"):
            await self.accept(message(text), *inbox(self.alice))
        state = await self.mailbox(self.alice)
        gone = await self.store.commit(Expunge(self.alice.id, state.mailbox.id, (3, 1, 7)))
        self.assertEqual(gone, (1, 3))
        self.assertEqual(await self.store.commit(Expunge(self.alice.id, state.mailbox.id, (1, 3))), ())
        news = await self.mailbox(self.alice, modseq=state.mailbox.modseq)
        self.assertEqual((news.messages, news.vanished), ((), (1, 3)))
        self.assertGreater(news.mailbox.modseq, state.mailbox.modseq)
        await self.accept(message("four"), *inbox(self.alice))
        self.assertEqual([m.uid for m in (await self.mailbox(self.alice)).messages], [2, 4])
        self.assertEqual((await self.mailbox(self.alice, modseq=news.mailbox.modseq)).vanished, ())
        self.assertEqual((await self.mailbox(self.alice)).vanished, ())

    async def test_expunge_marked(self):
        """Where the mark counts, a message that lost it in the meantime stays."""
        for text in ("one", "two", "three"):
            await self.accept(message(text), *inbox(self.alice))
        where = self.alice.id, (await self.mailbox(self.alice)).mailbox.id
        deleted = frozenset({"\\Deleted", "\\Seen", "x"})
        await self.store.commit(StoreFlags(*where, (1, 2), FlagChange.ADD, deleted))
        await self.store.commit(StoreFlags(*where, (2,), FlagChange.REMOVE, frozenset({"\\deleted"})))
        await self.store.commit(
            StoreFlags(*where, (3,), FlagChange.ADD, frozenset({"\\Deleted2", "Deleted"}))
        )
        self.assertEqual(await self.store.commit(Expunge(*where, (1, 2, 3, 9), marked=True)), (1,))
        self.assertEqual(await self.store.commit(Expunge(*where, (2, 3), marked=True)), ())
        self.assertEqual([m.uid for m in (await self.mailbox(self.alice)).messages], [2, 3])

    # Maildrops.

    async def maildrop(self, account, name="INBOX", **known):
        return await self.store.read(ListMaildrop(account.id, name, **known))

    async def test_maildrop(self):
        """A maildrop lists UIDs in their order and sizes with the prefix; of one that has not changed nothing
        is read, and a mailbox that is not there is None."""
        empty = await self.maildrop(self.alice)
        self.assertEqual((list(empty.uids), list(empty.sizes), empty.unchanged), ([], [], False))
        texts = [message(str(number) * number) for number in range(12)]
        for text in texts:
            await self.accept(text, *inbox(self.alice, prefix=b"P: q\r\n"))
        mailbox = (await self.mailbox(self.alice)).mailbox
        await self.store.commit(Expunge(self.alice.id, mailbox.id, (2,)))
        listing = await self.maildrop(self.alice)
        self.assertEqual(list(listing.uids), [1, *range(3, 13)])
        self.assertEqual(list(listing.sizes), [len(t) + 6 for t in (texts[0], *texts[2:])])
        self.assertEqual(listing.mailbox, (await self.mailbox(self.alice)).mailbox)
        known = (listing.mailbox.id, listing.mailbox.modseq)
        again = await self.maildrop(self.alice, known=known)
        self.assertEqual((again.unchanged, list(again.uids), again.mailbox), (True, [], listing.mailbox))
        await self.accept(texts[0], *inbox(self.alice))
        self.assertEqual(len((await self.maildrop(self.alice, known=known)).uids), 12)
        self.assertIsNone(await self.maildrop(self.alice, "Nowhere"))

    async def test_copies(self):
        """Messages by UID in the order asked, octet for octet; None for what is gone; a large one has a body
        to open."""
        texts = [bytes(range(256)) * 3, b"", b"\xff\x00,", b"x" * (SMALL_BODY + 1)]
        for text in texts:
            await self.accept(text, *inbox(self.alice, prefix=b"\x00P,: q\r\n"))
        await self.accept(texts[0], *inbox(self.alice))
        mailbox = (await self.mailbox(self.alice)).mailbox
        found = await self.store.read(Copies(mailbox.id, (5, 3, 99, 4, 1, 2)))
        self.assertEqual([None if c is None else c.data for c in found], [
            texts[0], texts[2], None, None, texts[0], b"",
        ])  # fmt: skip
        self.assertEqual([c.prefix for c in found if c], [b""] + [b"\x00P,: q\r\n"] * 4)
        (index,) = await self.store.read(Indexes((found[1].body,)))
        self.assertEqual(found[1].dot_free, index.dot_free)
        self.assertEqual((found[3].body.size, found[3].body.large), (SMALL_BODY + 1, True))
        self.assertEqual(await self.store.read(Bodies((found[1].body,))), (texts[2],))
        self.assertEqual(await self.store.read(Copies(999, (1,))), (None,))

    async def test_set_uidls(self):
        """UIDLs of another server are kept with their messages; none is there twice or has our own form, and
        a refused unit sets none."""
        for text in ("one", "two", "three"):
            await self.accept(message(text), *inbox(self.alice))
        before = (await self.maildrop(self.alice)).mailbox
        unit = SetUidls(before.id, ((1, b"old-1"), (3, b"old-3"), (9, b"old-9")))
        self.assertEqual(await self.store.commit(unit), (1, 3))
        listing = await self.maildrop(self.alice, known=(before.id, before.modseq))
        self.assertEqual(listing.uidls, {1: b"old-1", 3: b"old-3"})
        own = b"%d.2" % before.uidvalidity
        for uidl in (b"", b"a b", b"\xe4", b"x" * 71, b"a\r\n", own, b"old-1"):
            await self.refused(StoreFault, SetUidls(before.id, ((3, b"new"), (2, uidl))))
        await self.store.commit(SetUidls(before.id, ((1, b"old-1"), (3, b"newer"))))
        self.assertEqual((await self.maildrop(self.alice)).uidls, {1: b"old-1", 3: b"newer"})
        await self.store.commit(Expunge(self.alice.id, before.id, (1,)))
        self.assertEqual((await self.maildrop(self.alice)).uidls, {3: b"newer"})
        self.assertEqual(await self.store.commit(SetUidls(before.id, ((2, b"old-1"),))), (2,))
        self.assertEqual(await self.store.commit(SetUidls(999, ((2, b"old-1"),))), ())

    async def test_expire_retrieved(self):
        """What was fetched so long ago is expunged, the oldest first and no more than asked; the first time
        that it was fetched counts."""
        for text in ("one", "two", "three", "four"):
            await self.accept(message(text), *inbox(self.alice))
        mailbox = (await self.mailbox(self.alice)).mailbox
        self.assertEqual(await self.store.commit(NoteRetrieved(mailbox.id, (3, 9))), 1)
        self.clock.advance(50)
        self.assertEqual(await self.store.commit(NoteRetrieved(mailbox.id, (3, 1, 2))), 2)
        self.assertEqual(await self.store.commit(NoteRetrieved(999, (3,))), 0)
        self.assertEqual(await self.store.commit(ExpireRetrieved(51, 10)), 0)
        self.clock.advance(1)
        self.assertEqual(await self.store.commit(ExpireRetrieved(51, 10)), 1)
        self.assertEqual(list((await self.maildrop(self.alice)).uids), [1, 2, 4])
        self.clock.advance(50)
        self.assertEqual(await self.store.commit(ExpireRetrieved(51, 1)), 1)
        self.assertEqual(await self.store.commit(ExpireRetrieved(51, 9)), 1)
        self.assertEqual((await self.mailbox(self.alice, modseq=mailbox.modseq)).vanished, (1, 2, 3))
        await self.store.commit(NoteRetrieved(mailbox.id, (4,)))
        await self.store.commit(RemoveAccount("alice@example.test"))
        self.clock.advance(99)
        await self.store.commit(ExpireRetrieved(51, 9))
        self.assertEqual(await self.store.commit(ExpireRetrieved(51, 9)), 0)

    async def test_since_gives_what_is_newer(self):
        """MailboxSince gives messages that came or changed after a modseq, in UID order."""
        for text in ("one", "two", "three"):
            await self.accept(message(text), *inbox(self.alice))
        state = await self.mailbox(self.alice)
        known = state.mailbox.modseq
        await self.accept(message("four"), *inbox(self.alice))
        await self.store.commit(
            StoreFlags(self.alice.id, state.mailbox.id, (2,), FlagChange.ADD, frozenset({"\\Flagged"}))
        )
        news = await self.mailbox(self.alice, modseq=known)
        self.assertEqual([m.uid for m in news.messages], [2, 4])
        self.assertIsNone(await self.mailbox(self.alice, "Nowhere"))

    async def test_body_outlives_expunge_for_a_while(self):
        """A session that has the mailbox open can still read what another one expunged."""
        data = message()
        await self.accept(data, *inbox(self.alice))
        found = await self.only(self.alice)
        await self.store.commit(Expunge(self.alice.id, found.mailbox_id, (1,)))
        self.assertEqual(await self.store.read(Bodies((found.body,))), (data,))

    # Quota.

    async def test_usage_is_exact(self):
        """Octets and messages are what the mailboxes hold, prefixes included, through filing and
        expunging."""
        size = len(message())
        await self.accept(message(), Filing(self.alice.id, prefix=b"X: y\r\n"), Filing(self.alice.id, "Sent"))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (2 * size + 6, 2))
        mailbox_id = (await self.mailbox(self.alice)).mailbox.id
        await self.store.commit(Expunge(self.alice.id, mailbox_id, (1,)))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (size, 1))

    async def test_over_quota(self):
        """A unit that does not fit for one account is refused whole, naming the accounts; exactly full
        fits."""
        size = len(message())
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", 2 * size),)))
        await self.accept(message(), *inbox(self.alice))
        body = await staged(self.store, message())
        both = Accept(body, START, inbox(self.alice, self.bob, prefix=b"X"), transfer("a@b.test"))
        fault = await self.refused(OverQuota, both)
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual((await self.mailbox(self.bob)).messages, ())
        self.assertEqual(await self.store.read(QueueList()), ())
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (size, 1))
        await self.store.commit(Accept(body, START, inbox(self.alice)))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (2 * size, 2))

    async def test_refused_body_can_be_tried_again(self):
        """After OverQuota the same staged body may be accepted for the others, large ones too."""
        data = message(body=b"large\r\n" * 20_000)
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", 10),)))
        body = await staged(self.store, data)
        await self.refused(OverQuota, Accept(body, START, inbox(self.alice, self.bob)))
        await self.store.commit(Accept(body, START, inbox(self.bob)))
        descriptor = await self.store.read(OpenBody((await self.only(self.bob)).body))
        self.addCleanup(os.close, descriptor)
        self.assertEqual(os.pread(descriptor, len(data) + 1, 0), data)

    async def test_default_quota(self):
        """The server's quota holds for accounts without one of their own, and no account's own limit is
        touched by it."""
        store = await self.open_store(mail_quota=10)
        poor = await store.commit(AddAccount("poor@example.test", VERIFIER))
        body = await staged(store, message())
        await self.assertFailure(store.commit(Accept(body, START, inbox(poor))), OverQuota)
        await store.commit(SetAccount("poor@example.test", (("mail_quota", 10_000),)))
        await store.commit(Accept(body, START, inbox(poor)))

    async def test_over_message_quota(self):
        """The number of messages is held to like their octets, each place in a mailbox counting; exactly
        full fits, and what is expunged makes room."""
        await self.store.commit(SetAccount("alice@example.test", (("message_quota", 2),)))
        await self.accept(message(), *inbox(self.alice))
        size = len(message())
        body = await staged(self.store, message())
        twice = (Filing(self.alice.id), Filing(self.alice.id, "Sent"))
        fault = await self.refused(OverQuota, Accept(body, START, (*twice, Filing(self.bob.id))))
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual((await self.mailbox(self.bob)).messages, ())
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (size, 1))
        await self.store.commit(Accept(body, START, inbox(self.alice)))
        await self.refused(OverQuota, Accept(body, START, inbox(self.alice)))
        mailbox_id = (await self.mailbox(self.alice)).mailbox.id
        await self.store.commit(Expunge(self.alice.id, mailbox_id, (1,)))
        await self.store.commit(Accept(body, START, inbox(self.alice)))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (2 * size, 2))

    async def test_default_message_quota(self):
        """An account's own number wins over the server's, unlimited too; both quotas hold."""
        store = await self.open_store(message_quota=1)
        account = await store.commit(AddAccount("poor@example.test", VERIFIER))
        body = await staged(store, message())
        await store.commit(Accept(body, START, inbox(account)))
        await self.assertFailure(store.commit(Accept(body, START, inbox(account))), OverQuota)
        await store.commit(SetAccount("poor@example.test", (("message_quota", UNLIMITED),)))
        await store.commit(Accept(body, START, inbox(account)))
        await store.commit(SetAccount("poor@example.test", (("mail_quota", 10),)))
        await self.assertFailure(store.commit(Accept(body, START, inbox(account))), OverQuota)

    # Threads.

    async def test_threads_by_reference(self):
        """An answer joins the thread of what it answers, whichever of them came first."""
        await self.accept(message("Plan", "one@x"), *inbox(self.alice))
        await self.accept(message("Re: Plan", "two@x", "one@x"), *inbox(self.alice))
        await self.accept(message("Re: Plan", "four@x", "one@x three@x"), *inbox(self.alice))
        await self.accept(message("Re: Plan", "three@x", ""), *inbox(self.alice))
        found = (await self.mailbox(self.alice)).messages
        self.assertEqual({m.thread_id for m in found}, {found[0].thread_id})
        self.assertEqual(found[0].thread_id, found[0].email_id)

    async def test_threads_apart(self):
        """Another subject, another account or no common id is another thread."""
        await self.accept(message("Plan", "one@x"), *inbox(self.alice))
        await self.accept(message("Lunch?", "two@x", "one@x"), *inbox(self.alice))
        await self.accept(message("Plan", "three@x"), *inbox(self.alice))
        await self.accept(message("Plan"), *inbox(self.alice))
        await self.accept(message("Re: Plan", "four@x", "one@x"), *inbox(self.bob))
        found = (await self.mailbox(self.alice)).messages + (await self.mailbox(self.bob)).messages
        self.assertEqual(len({m.thread_id for m in found}), 5)

    async def test_nearest_reference_decides(self):
        """A message that refers to two threads joins the one it answers; the two stay apart."""
        await self.accept(message("Plan", "one@x"), *inbox(self.alice))
        await self.accept(message("Plan", "two@x"), *inbox(self.alice))
        await self.accept(message("Re: Plan", "three@x", "one@x two@x"), *inbox(self.alice))
        first, second, third = (await self.mailbox(self.alice)).messages
        self.assertNotEqual(first.thread_id, second.thread_id)
        self.assertEqual(third.thread_id, second.thread_id)

    async def test_thread_ends(self):
        """When its last email is gone a thread is not taken up again."""
        await self.accept(message("Plan", "one@x"), *inbox(self.alice))
        first = await self.only(self.alice)
        await self.store.commit(Expunge(self.alice.id, first.mailbox_id, (1,)))
        await self.accept(message("Re: Plan", "two@x", "one@x"), *inbox(self.alice))
        self.assertNotEqual((await self.only(self.alice)).thread_id, first.thread_id)

    # The queue.

    async def queue(self, *addresses, **fields):
        accepted = await self.accept(message("to " + addresses[0]), transfer=transfer(*addresses, **fields))
        return accepted.queued

    async def lease(self, limit=10, owner=OWNER, seconds=600.0, busy=frozenset()):
        return await self.store.commit(LeaseDue(owner, seconds, limit, busy))

    async def queued(self, *states, **fields):
        if states:
            fields["states"] = frozenset(states)
        return await self.store.read(QueueList(QueueFilter(**fields)))

    async def record(self, *outcomes, owner=OWNER, reports=()):
        return await self.store.commit(RecordOutcomes(owner, outcomes, reports))

    async def test_queue_keeps_everything(self):
        """A transfer comes out of the queue as it went in, its body readable."""
        paths = (
            ForwardPath("a@One.test", "rfc822;a@one.test", frozenset({"FAILURE", "DELAY"})),
            ForwardPath("b@two.test"),
        )
        sent = Transfer(
            "bob@example.test", paths, b"Received: x\r\n", self.bob.id, "HDRS", "id7", True, True, "c"
        )
        accepted = await self.accept(message(), *inbox(self.alice), transfer=sent)
        (listed,) = await self.queued()
        self.assertEqual((listed.id, listed.transfer, listed.accepted), (accepted.queued, sent, START))
        self.assertEqual(listed.size, len(message()) + len(b"Received: x\r\n"))
        first, second = listed.recipients
        self.assertEqual((first.address, first.domain, first.attempt), ("a@One.test", "one.test", 1))
        self.assertEqual((first.orcpt, first.notify), (paths[0].orcpt, paths[0].notify))
        self.assertEqual((second.state, second.lease_owner), (WAITING, ""))
        self.assertEqual(await self.store.read(Bodies((listed.body,))), (message(),))
        self.assertEqual((await self.only(self.alice)).body, listed.body)

    async def test_lease(self):
        """Due recipients are leased once, oldest first, up to the limit, each message with those alone."""
        first = await self.queue("a@one.test", "b@two.test")
        self.clock.advance(1)
        second = await self.queue("c@one.test")
        (leased,) = await self.lease(1)
        self.assertEqual((leased.id, [r.address for r in leased.recipients]), (first, ["a@one.test"]))
        (recipient,) = leased.recipients
        self.assertEqual((recipient.attempt, recipient.lease_owner), (1, OWNER))
        self.assertEqual(recipient.lease_until, self.clock.seconds() + 600)
        self.assertEqual(len(leased.transfer.recipients), 2)
        rest = await self.lease()
        self.assertEqual([(m.id, len(m.recipients)) for m in rest], [(first, 1), (second, 1)])
        self.assertEqual(await self.lease(), ())

    async def test_lease_passes_over_busy(self):
        """Destinations that can take no more are passed over, however many wait for them."""
        await self.queue(*(f"u{n}@busy.test" for n in range(40)))
        await self.queue("a@free.test")
        leased = await self.lease(5, busy=frozenset({"busy.test"}))
        self.assertEqual([r.domain for m in leased for r in m.recipients], ["free.test"])

    async def test_delivered(self):
        """A delivered recipient is finished, with the attempt on record; the body is let go with the last."""
        await self.queue("a@one.test", "b@two.test")
        (leased,) = await self.lease()
        first, second = leased.recipients
        self.assertEqual(await self.record(outcome(first, DELIVERED)), (first.id,))
        (listed,) = await self.queued()
        self.assertEqual([r.state for r in listed.recipients], [DELIVERED, WAITING])
        self.assertEqual(listed.body, leased.body)
        failed = outcome(second, FAILED, error="550 no")
        await self.record(failed)
        self.assertEqual(await self.queued(), ())
        (listed,) = await self.queued(FAILED)
        self.assertEqual(listed.recipients[1].last_error, "550 no")
        self.assertEqual((listed.body.id, listed.body.size), (0, leased.body.size))
        attempts = await self.store.read(QueueAttempts(leased.id))
        self.assertEqual([a.recipient_id for a in attempts], [first.id, second.id])
        self.assertEqual(attempts[1], failed.attempt)

    async def test_try_again(self):
        """A recipient to be tried again waits until then; its attempts count up."""
        await self.queue("a@one.test")
        (leased,) = await self.lease()
        then = self.clock.seconds() + 300
        await self.record(outcome(leased.recipients[0], WAITING, then, error="451 later", delay_warned=True))
        self.assertEqual(await self.lease(), ())
        self.assertEqual(await self.store.read(NextDue()), 300)
        (listed,) = await self.queued()
        (waiting,) = listed.recipients
        self.assertEqual((waiting.attempt, waiting.next_attempt, waiting.delay_warned), (2, then, True))
        self.clock.advance(300)
        (again,) = await self.lease()
        self.assertEqual(again.recipients[0].attempt, 2)

    async def test_next_due(self):
        """NextDue is None with nothing waiting, 0 when something is due, the lease's end when leased."""
        self.assertIsNone(await self.store.read(NextDue()))
        await self.queue("a@one.test")
        self.clock.advance(5)
        self.assertEqual(await self.store.read(NextDue()), 0)
        await self.lease(seconds=60)
        self.assertEqual(await self.store.read(NextDue()), 60)

    async def test_depth(self):
        """QueueDepth counts recipients by state, and knows when the oldest unfinished message came."""
        self.assertEqual(await self.store.read(QueueDepth()), QueueFigures(0, 0, 0, None))
        began = self.clock.seconds()
        await self.queue("a@one.test", "b@two.test")
        self.clock.advance(5)
        second = await self.queue("c@one.test")
        await self.store.commit(ActOnQueue(QueueAction.HOLD, (second,)))
        self.assertEqual(await self.store.read(QueueDepth()), QueueFigures(2, 0, 1, began))
        (leased,) = await self.lease(1)
        self.assertEqual(await self.store.read(QueueDepth()), QueueFigures(2, 1, 1, began))
        await self.lease(1)
        await self.record(*(outcome(r, DELIVERED) for m in (leased,) for r in m.recipients))
        self.assertEqual((await self.store.read(QueueDepth())).waiting, 1)

    async def test_lease_ends(self):
        """A lease that ran out is given again under the next number, and the first owner's outcome is
        refused: the fence."""
        await self.queue("a@one.test")
        (first,) = await self.lease(seconds=60)
        self.clock.advance(60)
        (second,) = await self.lease(owner="node/boot1")
        self.assertEqual(second.recipients[0].attempt, 2)
        self.assertEqual(await self.record(outcome(first.recipients[0], DELIVERED)), ())
        self.assertEqual(await self.store.read(QueueAttempts(first.id)), ())
        taken = await self.record(outcome(second.recipients[0], DELIVERED), owner="other/boot")
        self.assertEqual(taken, ())
        self.assertEqual(len(await self.record(outcome(second.recipients[0], DELIVERED))), 1)

    async def test_late_outcome_counts_when_nobody_took_over(self):
        """An outcome after the lease's end but before the next lease is taken: the message was sent."""
        await self.queue("a@one.test")
        (leased,) = await self.lease(seconds=60)
        self.clock.advance(100)
        self.assertEqual(len(await self.record(outcome(leased.recipients[0], DELIVERED))), 1)

    async def test_one_outcome_a_lease(self):
        """A second outcome of the same attempt is refused."""
        await self.queue("a@one.test")
        (leased,) = await self.lease()
        twice = outcome(leased.recipients[0], DELIVERED)
        self.assertEqual(len(await self.record(twice, twice)), 1)

    async def test_renew(self):
        """A renewed lease lasts longer; those of others and finished ones are not counted."""
        await self.queue("a@one.test", "b@two.test")
        (leased,) = await self.lease(seconds=60)
        ids = tuple(r.id for r in leased.recipients)
        await self.record(outcome(leased.recipients[1], DELIVERED))
        self.clock.advance(50)
        self.assertEqual(await self.store.commit(RenewLeases(OWNER, (*ids, 999), 60.0)), 1)
        self.assertEqual(await self.store.commit(RenewLeases("other/boot", ids, 60.0)), 0)
        self.clock.advance(50)
        self.assertEqual(await self.lease(), ())

    async def test_void_leases(self):
        """At start the leases of earlier boots of this node end; those of this boot and of other nodes
        stay."""
        await self.queue("a@one.test", "b@two.test", "c@three.test")
        owners = ("node/boot0", "node/boot1", "node2/boot0")
        leased = [(await self.lease(1, owner=owner))[0] for owner in owners]
        self.assertEqual(await self.store.commit(VoidLeases("node/boot1")), 1)
        (again,) = await self.lease()
        self.assertEqual(again.recipients[0].address, "a@one.test")
        self.assertEqual(await self.record(outcome(leased[0].recipients[0], DELIVERED), owner=owners[0]), ())

    async def test_reports_are_accepted_with_the_outcome(self):
        """A bounce is filed in the same transaction, even over quota, since the outcome must be kept."""
        await self.store.commit(SetAccount("bob@example.test", (("mail_quota", 1),)))
        await self.queue("a@one.test")
        (leased,) = await self.lease()
        report = Accept(await staged(self.store, message("Undelivered")), START, inbox(self.bob))
        await self.record(outcome(leased.recipients[0], FAILED), reports=(report,))
        self.assertEqual((await self.only(self.bob)).uid, 1)

    async def test_no_report_when_an_outcome_is_refused(self):
        """When any outcome is refused the others count and no report goes out."""
        await self.queue("a@one.test", "b@two.test")
        (leased,) = await self.lease()
        good, bad = leased.recipients
        report = Accept(await staged(self.store, message("Undelivered")), START, inbox(self.bob))
        outcomes = (outcome(good, FAILED), outcome(bad, FAILED, number=9))
        self.assertEqual(await self.record(*outcomes, reports=(report,)), (good.id,))
        self.assertEqual((await self.mailbox(self.bob)).messages, ())

    async def test_report_to_nobody(self):
        """A report to an account that is gone is left out; the outcome and the other reports stand."""
        await self.queue("a@one.test")
        (leased,) = await self.lease()
        body = await staged(self.store, message("Undelivered"))
        reports = (Accept(body, START, inbox(self.bob)), Accept(body, START, inbox(self.alice)))
        await self.store.commit(RemoveAccount("bob@example.test"))
        await self.record(outcome(leased.recipients[0], FAILED), reports=reports)
        self.assertEqual((await self.only(self.alice)).body.size, body.size)

    async def act(self, action, *ids):
        return await self.store.commit(ActOnQueue(action, ids))

    async def states(self, message_id):
        (listed,) = await self.queued(*RecipientState, ids=(message_id,))
        return [r.state for r in listed.recipients]

    async def test_hold_and_release(self):
        """A held message is not leased nor retried; released it is due at once. None named is none."""
        held = await self.queue("a@one.test", "b@two.test")
        self.assertEqual(await self.act(QueueAction.HOLD), 0)
        self.assertEqual(await self.act(QueueAction.HOLD, held, 999), 2)
        self.assertEqual(await self.act(QueueAction.HOLD, held), 0)
        self.assertEqual(await self.act(QueueAction.RETRY, held), 0)
        self.assertEqual(await self.lease(), ())
        self.assertIsNone(await self.store.read(NextDue()))
        self.assertEqual(await self.states(held), [HELD, HELD])
        self.assertEqual(await self.act(QueueAction.RELEASE, held), 2)
        self.assertEqual(len((await self.lease())[0].recipients), 2)

    async def test_retry(self):
        """A retried message is due at once; one that is leased is left alone."""
        queued = await self.queue("a@one.test")
        (leased,) = await self.lease()
        self.assertEqual(await self.act(QueueAction.RETRY, queued), 0)
        await self.record(outcome(leased.recipients[0], WAITING, self.clock.seconds() + 3600))
        self.assertEqual(await self.act(QueueAction.RETRY, queued), 1)
        self.assertEqual(len(await self.lease()), 1)

    async def test_drop(self):
        """A dropped message is finished and its body let go; there is nothing to act on any more."""
        queued = await self.queue("a@one.test")
        self.assertEqual(await self.act(QueueAction.DROP, queued), 1)
        self.assertEqual(await self.states(queued), [DROPPED])
        self.assertEqual(await self.lease(), ())
        for action in QueueAction:
            self.assertEqual(await self.act(action, queued), 0)
        (listed,) = await self.queued(DROPPED)
        self.assertEqual(listed.body.id, 0)

    async def test_hold_while_leased(self):
        """HOLD during an attempt takes effect when it ends with another try to come; RELEASE takes it
        back."""
        queued = await self.queue("a@one.test")
        for release, after in ((False, HELD), (True, WAITING)):
            (leased,) = await self.lease()
            self.assertEqual(await self.act(QueueAction.HOLD, queued), 1)
            self.assertEqual(await self.states(queued), [WAITING])
            if release:
                self.assertEqual(await self.act(QueueAction.RELEASE, queued), 1)
            await self.record(outcome(leased.recipients[0], WAITING, self.clock.seconds()))
            self.assertEqual(await self.states(queued), [after])
            await self.act(QueueAction.RELEASE, queued)

    async def test_drop_while_leased(self):
        """DROP during an attempt spares what was delivered and drops what would be tried again, also when
        its owner died."""
        queued = await self.queue("a@one.test", "b@two.test", "c@three.test")
        (leased,) = await self.lease()
        await self.act(QueueAction.HOLD, queued)
        self.assertEqual(await self.act(QueueAction.DROP, queued), 3)
        first, second, _ = leased.recipients
        await self.record(outcome(first, DELIVERED), outcome(second, WAITING, START + 9999))
        await self.store.commit(VoidLeases("node/boot2"))
        self.assertEqual(await self.states(queued), [DELIVERED, DROPPED, DROPPED])

    async def test_listing_filters(self):
        """A listing matches on id, sender, recipient, domain and state, together."""
        one = await self.queue("a@one.test", "b@two.test")
        two = await self.queue("a@one.test", sender="eve@example.test")
        three = await self.queue("c@three.test", sender="")
        await self.act(QueueAction.HOLD, two)

        async def ids(*states, **fields):
            return [m.id for m in await self.queued(*states, **fields)]

        self.assertEqual(await ids(), [one, two, three])
        self.assertEqual(await ids(ids=(three, one)), [one, three])
        self.assertEqual(await ids(sender="eve@example.test"), [two])
        self.assertEqual(await ids(sender="<>"), [three])
        self.assertEqual(await ids(recipient="a@one.test"), [one, two])
        self.assertEqual(await ids(domain="TWO.test"), [one])
        self.assertEqual(await ids(HELD), [two])
        self.assertEqual(await ids(HELD, domain="two.test"), [])
        listed = await self.store.read(QueueList(limit=2))
        self.assertEqual([m.id for m in listed], [one, two])

    async def test_history_is_forgotten(self):
        """A finished message is kept for a week, then its rows go with its attempts."""
        queued = await self.queue("a@one.test")
        (leased,) = await self.lease()
        await self.record(outcome(leased.recipients[0], DELIVERED))
        self.clock.advance(6.9 * 86400)
        await self.sweep()
        self.assertEqual(len(await self.store.read(QueueAttempts(queued))), 1)
        self.clock.advance(0.2 * 86400)
        await self.sweep()
        self.assertEqual(await self.queued(*RecipientState), ())
        self.assertEqual(await self.store.read(QueueAttempts(queued)), ())

    async def test_unnamed_bodies_are_swept(self):
        """A body that nothing names any more is gone after the grace time; one that was named again, or is
        still queued, stays."""
        keep, lose = message("keep"), message("lose")
        await self.accept(keep, *inbox(self.alice))
        await self.accept(lose, *inbox(self.alice), transfer=transfer("a@one.test"))
        kept, lost = (await self.mailbox(self.alice)).messages
        await self.store.commit(Expunge(self.alice.id, kept.mailbox_id, (1, 2)))
        await self.accept(keep, *inbox(self.bob))
        self.clock.advance(4000)
        await self.sweep()
        await self.store.read(Bodies((kept.body, lost.body)))
        (leased,) = await self.lease()
        await self.record(outcome(leased.recipients[0], DELIVERED))
        await self.sweep()
        await self.store.read(Bodies((lost.body,)))
        self.clock.advance(4000)
        await self.sweep()
        await self.assertFailure(self.store.read(Bodies((lost.body,))), MissingBody)
        self.assertEqual(await self.store.read(Bodies((kept.body,))), (keep,))

    # The feed.

    async def test_feed(self):
        """After each commit the feed tells what changed, once for each mailbox with its highest modseq."""
        accepted = await self.accept(
            message(), Filing(self.alice.id), Filing(self.alice.id), transfer=transfer("a@one.test")
        )
        mailbox = (await self.mailbox(self.alice)).mailbox
        told = await self.news()
        self.assertEqual(
            [(c.kind, c.account_id, c.mailbox_id, c.modseq) for c in told],
            [("mail", self.alice.id, mailbox.id, mailbox.modseq), ("queue", 0, 0, 0)],
        )
        self.assertIsNotNone(accepted.queued)

    async def test_feed_tells_of_accounts(self):
        """Changes of an account are told, so that its sessions can be closed."""
        await self.store.commit(SetVerifier("bob@example.test", OTHER_VERIFIER))
        await self.store.commit(RemoveAccount("alice@example.test"))
        told = [(c.kind, c.account_id) for c in await self.news()]
        self.assertEqual(told, [("account", self.bob.id), ("account", self.alice.id)])

    async def test_feed_is_silent_without_change(self):
        """A refused unit, an unchanged flag and a lease say nothing."""
        await self.refused(AccountExists, AddAccount("bob@example.test", VERIFIER))
        await self.refused(MailboxExists, CreateMailbox(self.bob.id, "INBOX"))
        await self.lease()
        mailbox_id = (await self.mailbox(self.bob)).mailbox.id
        await self.store.commit(Expunge(self.alice.id, mailbox_id, (1,)))
        self.assertEqual(await self.news(), [])

    async def test_feed_after_cancel(self):
        """A cancelled subscription hears no more; one that fails does not silence the others."""
        late = []
        cancelled = self.store.subscribe(late.append)
        broken = self.store.subscribe(lambda changes: 1 / 0)
        cancelled.cancel()
        cancelled.cancel()
        await self.accept(message(), *inbox(self.bob))
        self.assertEqual(len(await self.news()), 1)
        self.assertEqual(late, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        broken.cancel()

    async def test_what_the_feed_tells_can_be_read(self):
        """Whoever reads when it hears a notice sees what the notice is about."""
        reads = []

        def hear(changes):
            reads.extend(self.store.read(MailboxSince(c.account_id, "INBOX", c.modseq - 1)) for c in changes)

        self.store.subscribe(hear)
        await self.accept(message(), *inbox(self.bob))
        await self.news()
        (news,) = await gatherResults(reads)
        self.assertEqual([m.uid for m in news.messages], [1])

    # Many at once.

    async def test_a_failing_unit_spares_its_neighbours(self):
        """Units committed together stand or fall each by itself, and a failed one leaves no number used."""
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", 300),)))
        body = await staged(self.store, message())
        large = await staged(self.store, message(body=b"x" * 400))
        units = [
            Accept(body, START, inbox(self.bob)),
            Accept(large, START, (*inbox(self.bob), *inbox(self.alice))),
            AddAccount("bob@example.test", VERIFIER),
            Accept(StagedBody(3, b"\2" * 32), START, inbox(self.bob)),
            Accept(body, START, inbox(self.bob)),
            CreateMailbox(self.bob.id, "Sent"),
            Accept(large, START, inbox(self.bob)),
        ]
        results = await gatherResults(
            [self.store.commit(unit).addErrback(lambda failure: failure.type) for unit in units]
        )
        self.assertEqual(
            [results[n] for n in (1, 2, 3, 5)], [OverQuota, AccountExists, MissingBody, MailboxExists]
        )
        found = (await self.mailbox(self.bob)).messages
        self.assertEqual([m.uid for m in found], [1, 2, 3])
        self.assertEqual([m.modseq - found[0].modseq for m in found], [0, 1, 2])

    async def test_numbers_are_seen_in_order(self):
        """However reads and commits interleave, whoever has seen a UID or a modseq never finds a lower one
        appearing later."""
        body = await staged(self.store, message())
        commits = [
            self.store.commit(Accept(body, START, (Filing(self.alice.id, name),)))
            for _ in range(60)
            for name in ("INBOX", "Archive")
        ]
        seen: dict[int, int] = {}
        known = 0
        for _ in range(100_000):
            state = await self.mailbox(self.alice, modseq=known)
            for found in state.messages:
                self.assertNotIn(found.uid, seen)
                self.assertEqual(found.uid, len(seen) + 1)
                seen[found.uid] = found.modseq
            known = max(known, state.mailbox.modseq)
            self.assertEqual(state.mailbox.uidnext, len(seen) + 1)
            if len(seen) == 60:
                break
        await gatherResults(commits)
        self.assertEqual(len(seen), 60)
        self.assertEqual(sorted(seen.values()), list(seen.values()))

    async def test_closed_store(self):
        """A store that was stopped refuses in words, and can be stopped again."""
        await self.store.stop()
        await self.store.stop()
        await self.refused(StoreFault, AddAccount("x@example.test", VERIFIER))
        await self.assertFailure(self.store.read(Accounts()), StoreFault)
