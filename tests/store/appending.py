"""APPEND and REPLACE of every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import SMALL_BODY, NoSuchMailbox, NoSuchMessage, OverQuota
from mailftp.store.queries import Bodies, Mailboxes, MailUsage
from mailftp.store.records import Appended, Filing
from mailftp.store.units import AppendMessages, NewMessage, SetAccount
from tests.store.messages import inbox, message, staged


class Appending:
    async def append(self, *texts, name="Drafts", account=None, **fields):
        new = [
            NewMessage(await staged(self.store, text), 1000.0 + n, frozenset({"\\SEEN", f"k{n}"}))
            for n, text in enumerate(texts)
        ]
        return AppendMessages((account or self.alice).id, name, tuple(new), **fields)

    async def quota(self, octets):
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", octets),)))

    async def test_append(self):
        """Messages come into the mailbox in their order, each with its flags, date and text, the same text
        twice too, and all of them count."""
        large = message("large", body=b"x" * SMALL_BODY)
        texts = [message("one"), large, message("one")]
        appended = await self.store.commit(await self.append(*texts))
        there = await self.mailbox(self.alice, "Drafts")
        self.assertEqual(appended, Appended(there.mailbox.id, there.mailbox.uidvalidity, (1, 2, 3)))
        self.assertEqual(
            [(m.uid, m.flags, m.received, m.prefix) for m in there.messages],
            [(n + 1, {"\\Seen", f"k{n}"}, 1000.0 + n, b"") for n in range(3)],
        )
        self.assertEqual([m.size for m in there.messages], [len(text) for text in texts])
        self.assertEqual(len({m.email_id for m in there.messages}), 3)
        found = await self.store.read(Bodies((there.messages[0].body, there.messages[2].body)))
        self.assertEqual(found, (texts[0], texts[2]))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (sum(map(len, texts)), 3))
        self.assertEqual((await self.news())[-1].mailbox_id, there.mailbox.id)

    async def test_append_without_mailbox(self):
        """The mailbox is not made; another account's is none."""
        await self.accept(message(), Filing(self.bob.id, "Work"))
        before = await self.store.read(Mailboxes(self.alice.id))
        fault = await self.refused(NoSuchMailbox, await self.append(message(), name="Work"))
        self.assertIn("Work", str(fault))
        self.assertEqual(await self.store.read(Mailboxes(self.alice.id)), before)
        self.assertEqual(len((await self.mailbox(self.bob, "Work")).messages), 1)

    async def test_append_over_quota(self):
        """Messages that do not all fit are all refused, and no UID is used."""
        one, two = message("one"), message("two")
        await self.quota(len(one) + len(two) - 1)
        fault = await self.refused(OverQuota, await self.append(one, two))
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (0, 0))
        appended = await self.store.commit(await self.append(two))
        self.assertEqual(appended.uids, (1,))
        kept = await self.only(self.alice, "Drafts")
        self.assertEqual(await self.store.read(Bodies((kept.body,))), (two,))

    async def test_append_over_message_quota(self):
        """Messages that are too many are all refused, and no UID is used."""
        await self.store.commit(SetAccount("alice@example.test", (("message_quota", 2),)))
        texts = [message(str(n)) for n in range(3)]
        fault = await self.refused(OverQuota, await self.append(*texts))
        self.assertEqual(fault.account_ids, (self.alice.id,))
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (0, 0))
        appended = await self.store.commit(await self.append(*texts[:2]))
        self.assertEqual(appended.uids, (1, 2))
        # As many as there were, though by now fewer are allowed.
        await self.store.commit(SetAccount("alice@example.test", (("message_quota", 1),)))
        drafts = (await self.mailbox(self.alice, "Drafts")).mailbox.id
        await self.store.commit(await self.append(texts[2], replaces=(drafts, 1)))
        await self.refused(OverQuota, await self.append(texts[0]))
        self.assertEqual((await self.store.read(MailUsage(self.alice.id)))[1], 2)

    async def test_replace(self):
        """The new message is there and the old one gone, in one mailbox or from one to another."""
        await self.accept(message("old"), *inbox(self.alice))
        before = (await self.mailbox(self.alice)).mailbox
        same = await self.store.commit(
            await self.append(message("new"), name="inbox", replaces=(before.id, 1))
        )
        self.assertEqual((same.mailbox_id, same.uids), (before.id, (2,)))
        now = await self.mailbox(self.alice, modseq=before.modseq)
        self.assertEqual(([m.uid for m in now.messages], now.vanished), ([2], (1,)))
        other = await self.store.commit(await self.append(message("newest"), replaces=(before.id, 2)))
        self.assertEqual(other.uids, (1,))
        self.assertEqual((await self.mailbox(self.alice)).messages, ())
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (len(message("newest")), 1))

    async def test_replace_what_is_gone(self):
        """With nothing to replace nothing is appended; neither another account's message can be replaced nor
        the one that is being brought."""
        await self.accept(message("theirs"), *inbox(self.bob))
        theirs = (await self.mailbox(self.bob)).mailbox.id
        mine = (await self.mailbox(self.alice)).mailbox.id
        drafts = (await self.mailbox(self.alice, "Drafts")).mailbox
        for replaces in ((theirs, 1), (mine, 1), (999, 1), (drafts.id, drafts.uidnext)):
            await self.refused(NoSuchMessage, await self.append(message("new"), replaces=replaces))
        self.assertEqual((await self.mailbox(self.alice, "Drafts")).messages, ())
        self.assertEqual(len((await self.mailbox(self.bob)).messages), 1)
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (0, 0))

    async def test_replace_and_quota(self):
        """What replaces counts against what it replaces: an account over its quota may shrink, not grow."""
        await self.store.commit(await self.append(message("draft")))
        drafts = (await self.mailbox(self.alice, "Drafts")).mailbox.id
        await self.quota(1)
        await self.refused(OverQuota, await self.append(message("longer"), replaces=(drafts, 1)))
        await self.store.commit(await self.append(message("short"), replaces=(drafts, 1)))
        (left,) = (await self.mailbox(self.alice, "Drafts")).messages
        self.assertEqual(await self.store.read(Bodies((left.body,))), (message("short"),))
