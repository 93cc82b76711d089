"""COPY and MOVE of every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import NoSuchMailbox, OverQuota
from mailftp.store.queries import Bodies, MailUsage
from mailftp.store.records import Copied, Filing
from mailftp.store.units import CopyMessages, Expunge, MoveMessages, SetAccount
from tests.store.messages import message


class Copying:
    async def three(self):
        """Alice's INBOX with three messages, the second one seen."""
        for n in range(3):
            flags = frozenset({"\\Seen", "$Forwarded"} if n == 1 else ())
            await self.accept(message(f"number {n}"), Filing(self.alice.id, "INBOX", flags, b"X: %d\r\n" % n))
            self.clock.advance(100)
        return await self.mailbox(self.alice)

    async def usage(self):
        return await self.store.read(MailUsage(self.alice.id))

    async def test_copy(self):
        """Copies keep flags, date, ids and text, in UID order with one modseq above all before; what is gone
        is passed over, the sources stay, and each copy counts."""
        before = await self.three()
        octets, _ = await self.usage()
        copied = await self.store.commit(
            CopyMessages(self.alice.id, before.mailbox.id, (3, 99, 2, 2), "Archive")
        )
        there = await self.mailbox(self.alice, "Archive")
        self.assertEqual(copied, Copied(there.mailbox.id, there.mailbox.uidvalidity, (2, 3), (1, 2)))
        self.assertEqual((await self.mailbox(self.alice)), before)
        self.assertEqual(there.mailbox.uidnext, 3)
        for source, copy in zip(before.messages[1:], there.messages, strict=True):
            self.assertEqual(
                (copy.flags, copy.received, copy.email_id, copy.thread_id, copy.body, copy.prefix),
                (
                    source.flags,
                    source.received,
                    source.email_id,
                    source.thread_id,
                    source.body,
                    source.prefix,
                ),
            )
            self.assertEqual(copy.modseq, there.mailbox.modseq)
        self.assertGreater(there.mailbox.modseq, before.mailbox.modseq)
        self.assertEqual(await self.usage(), (octets + sum(m.size for m in before.messages[1:]), 5))
        self.assertEqual((await self.news())[-1].mailbox_id, there.mailbox.id)

    async def test_a_copy_outlives_its_source(self):
        """To expunge the source leaves the copy whole; with the last place in a mailbox the octets go."""
        before = await self.three()
        copied = await self.store.commit(CopyMessages(self.alice.id, before.mailbox.id, (1,), "Archive"))
        await self.store.commit(Expunge(self.alice.id, before.mailbox.id, (1, 2, 3)))
        copy = await self.only(self.alice, "Archive")
        self.assertEqual(await self.store.read(Bodies((copy.body,))), (message("number 0"),))
        self.assertEqual(await self.usage(), (copy.size, 1))
        await self.store.commit(Expunge(self.alice.id, copied.mailbox_id, copied.targets))
        self.assertEqual(await self.usage(), (0, 0))

    async def test_copy_into_the_same_mailbox(self):
        """The copies have new UIDs behind the others."""
        before = await self.three()
        copied = await self.store.commit(CopyMessages(self.alice.id, before.mailbox.id, (1, 3), "inbox"))
        self.assertEqual((copied.sources, copied.targets), ((1, 3), (4, 5)))
        after = await self.mailbox(self.alice)
        self.assertEqual([m.uid for m in after.messages], [1, 2, 3, 4, 5])
        self.assertEqual(after.messages[3].email_id, after.messages[0].email_id)

    async def test_copy_over_quota(self):
        """Copies that do not all fit are refused, none is made and no number is used."""
        before = await self.three()
        octets, _ = await self.usage()
        await self.store.commit(
            SetAccount("alice@example.test", (("mail_quota", octets + before.messages[0].size),))
        )
        fault = await self.refused(
            OverQuota, CopyMessages(self.alice.id, before.mailbox.id, (1, 2), "Archive")
        )
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual((await self.mailbox(self.alice, "Archive")).messages, ())
        self.assertEqual(await self.usage(), (octets, 3))
        copied = await self.store.commit(CopyMessages(self.alice.id, before.mailbox.id, (1,), "Archive"))
        self.assertEqual(copied.targets, (1,))

    async def test_copy_over_message_quota(self):
        """Each copy is a message more; a full account can move."""
        before = await self.three()
        await self.store.commit(SetAccount("alice@example.test", (("message_quota", 4),)))
        source = before.mailbox.id
        fault = await self.refused(OverQuota, CopyMessages(self.alice.id, source, (1, 2), "Archive"))
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual((await self.usage())[1], 3)
        await self.store.commit(CopyMessages(self.alice.id, source, (1,), "Archive"))
        moved = await self.store.commit(MoveMessages(self.alice.id, source, (2, 3), "Archive"))
        self.assertEqual(moved.targets, (2, 3))
        self.assertEqual((await self.usage())[1], 4)

    async def test_move(self):
        """Moved messages keep their ids and leave tombstones; a full account can move; none counts twice."""
        before = await self.three()
        usage = await self.usage()
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", 1),)))
        moved = await self.store.commit(MoveMessages(self.alice.id, before.mailbox.id, (1, 3, 99), "Archive"))
        self.assertEqual((moved.sources, moved.targets), ((1, 3), (1, 2)))
        here = await self.mailbox(self.alice, modseq=before.mailbox.modseq)
        self.assertEqual((here.messages, here.vanished), ((), (1, 3)))
        there = (await self.mailbox(self.alice, "Archive")).messages
        self.assertEqual(
            [(m.email_id, m.thread_id, m.received) for m in there],
            [(m.email_id, m.thread_id, m.received) for m in before.messages[::2]],
        )
        self.assertEqual(await self.usage(), usage)
        self.assertEqual(await self.store.read(Bodies((there[0].body,))), (message("number 0"),))
        self.assertEqual(
            {c.mailbox_id for c in (await self.news())[-2:]}, {before.mailbox.id, moved.mailbox_id}
        )

    async def test_move_within_a_mailbox(self):
        """RFC 6851 section 3.3 lets the target be the source: the messages get new UIDs."""
        before = await self.three()
        moved = await self.store.commit(MoveMessages(self.alice.id, before.mailbox.id, (1, 2), "INBOX"))
        self.assertEqual((moved.sources, moved.targets), ((1, 2), (4, 5)))
        after = await self.mailbox(self.alice, modseq=before.mailbox.modseq)
        self.assertEqual(([m.uid for m in after.messages], after.vanished), ([4, 5], (1, 2)))

    async def test_nothing_to_copy(self):
        """With none of the messages there, nothing changes and the feed is silent."""
        before = await self.three()
        told = await self.news()
        for unit in (CopyMessages, MoveMessages):
            copied = await self.store.commit(unit(self.alice.id, before.mailbox.id, (98, 99), "Archive"))
            self.assertEqual((copied.sources, copied.targets), ((), ()))
        self.assertEqual(await self.mailbox(self.alice), before)
        self.assertEqual(await self.news(), told)

    async def test_copy_of_others(self):
        """Another account's mailbox is neither source nor target, and a missing one is said to be missing."""
        before = await self.three()
        await self.accept(message("secret"), Filing(self.bob.id, "Work"))
        theirs = (await self.mailbox(self.bob, "Work")).mailbox.id
        for unit in (CopyMessages, MoveMessages):
            await self.refused(NoSuchMailbox, unit(self.alice.id, theirs, (1,), "INBOX"))
            await self.refused(NoSuchMailbox, unit(self.alice.id, 999, (1,), "INBOX"))
            fault = await self.refused(NoSuchMailbox, unit(self.alice.id, before.mailbox.id, (1,), "Work"))
            self.assertIn("Work", str(fault))
        self.assertEqual(await self.mailbox(self.alice), before)
        self.assertEqual(len((await self.mailbox(self.bob, "Work")).messages), 1)
