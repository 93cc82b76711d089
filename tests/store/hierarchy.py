"""Names of mailboxes on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store import names
from mailftp.store.engine import (
    LimitReached,
    MailboxExists,
    MailboxRefused,
    NoSuchAccount,
    NoSuchMailbox,
)
from mailftp.store.queries import Bodies, Mailboxes, MailUsage, Subscriptions
from mailftp.store.records import NEW_ACCOUNT_MAILBOXES, Filing
from mailftp.store.units import (
    CopyMessages,
    CreateMailbox,
    DeleteMailbox,
    RenameMailbox,
    SetAccount,
    SetSubscription,
)
from tests.store.messages import message


class Hierarchy:
    async def make(self, *wanted, **fields):
        return [await self.store.commit(CreateMailbox(self.alice.id, name, **fields)) for name in wanted]

    async def boxes(self):
        """Alice's mailboxes beside those of a new account, by name."""
        found = await self.store.read(Mailboxes(self.alice.id))
        return {m.name: m for m in found if m.name not in NEW_ACCOUNT_MAILBOXES}

    async def subscribed(self):
        found = set(await self.store.read(Subscriptions(self.alice.id)))
        return found - NEW_ACCOUNT_MAILBOXES.keys()

    def rename(self, old, new):
        return self.store.commit(RenameMailbox(self.alice.id, old, new))

    # Subscriptions.

    async def test_create_without_subscription(self):
        """A mailbox can be made unsubscribed; a subscription of its name from before holds for it."""
        await self.store.commit(SetSubscription(self.alice.id, "b", True))
        a, b = await self.make("a", "b", subscribe=False)
        self.assertEqual((a.subscribed, b.subscribed), (False, True))
        self.assertEqual(await self.boxes(), {"a": a, "b": b})
        self.assertEqual(await self.subscribed(), {"b"})

    async def test_not_quite_inbox(self):
        """A name with a dotless i, whose capital is I, is not INBOX."""
        (made,) = await self.make("\u0131nbox")
        self.assertEqual(await self.boxes(), {"\u0131nbox": made})

    async def test_set_subscription(self):
        """Subscribing and its end are kept, answered and told, each time that they change something."""
        (a,) = await self.make("a", subscribe=False)
        for wanted in (True, False):
            self.assertTrue(await self.store.commit(SetSubscription(self.alice.id, "a", wanted)))
            now = (await self.boxes())["a"]
            self.assertEqual(now.subscribed, wanted)
            self.assertGreater(now.modseq, a.modseq)
            told = await self.news()
            self.assertEqual((told[-1].mailbox_id, told[-1].modseq), (a.id, now.modseq))
            self.assertFalse(await self.store.commit(SetSubscription(self.alice.id, "a", wanted)))
            self.assertEqual(((await self.boxes())["a"], await self.news()), (now, told))
        await self.refused(NoSuchAccount, SetSubscription(999, "a", True))
        await self.refused(NoSuchAccount, SetSubscription(999, "a", False))

    async def test_subscription_without_mailbox(self):
        """A name without a mailbox can be subscribed and is listed; INBOX has no case."""
        self.assertTrue(await self.store.commit(SetSubscription(self.alice.id, "Lists/x", True)))
        self.assertEqual(await self.subscribed(), {"Lists/x"})
        (change,) = await self.news()
        self.assertEqual((change.kind, change.account_id, change.mailbox_id), ("mail", self.alice.id, 0))
        self.assertTrue(await self.store.commit(SetSubscription(self.alice.id, "inbox", False)))
        self.assertNotIn("INBOX", await self.store.read(Subscriptions(self.alice.id)))
        self.assertIn("INBOX", await self.store.read(Subscriptions(self.bob.id)))
        self.assertEqual(await self.store.read(Subscriptions(999)), ())

    # Deleting.

    async def test_delete_mailbox(self):
        """What was in a deleted mailbox counts no more; what is beneath it, copies elsewhere and the
        subscription stay; a later mailbox of its name is another and empty."""
        a, beneath = await self.make("a", "a/b")
        await self.accept(message("lost"), Filing(self.alice.id, "a"))
        await self.accept(message("kept"), Filing(self.alice.id, "a"))
        before = (await self.mailbox(self.alice, "a")).mailbox
        await self.store.commit(CopyMessages(self.alice.id, a.id, (2,), "Archive"))
        copy = await self.only(self.alice, "Archive")
        self.assertEqual(await self.store.commit(DeleteMailbox(self.alice.id, "a")), before)
        self.assertEqual(await self.boxes(), {"a/b": beneath})
        self.assertIsNone(await self.mailbox(self.alice, "a"))
        self.assertEqual(await self.subscribed(), {"a", "a/b"})
        self.assertEqual((await self.news())[-1].mailbox_id, a.id)
        for _ in range(2):
            self.assertEqual(await self.store.read(MailUsage(self.alice.id)), (copy.size, 1))
            self.assertEqual(await self.store.read(Bodies((copy.body,))), (message("kept"),))
            await self.sweep()
        (again,) = await self.make("a")
        self.assertGreater(again.uidvalidity, a.uidvalidity)
        self.assertNotEqual(again.id, a.id)
        self.assertEqual((await self.mailbox(self.alice, "a")).messages, ())

    async def test_delete_refused(self):
        """INBOX, a name of no mailbox, and another account's mailbox are not deleted."""
        await self.accept(message(), Filing(self.alice.id))
        await self.accept(message(), Filing(self.bob.id, "Work"))
        before = await self.mailbox(self.alice)
        await self.refused(MailboxRefused, DeleteMailbox(self.alice.id, "inbox"))
        for account_id, name in ((self.alice.id, "Work"), (self.alice.id, "Archive/"), (999, "INBOX")):
            await self.refused(NoSuchMailbox, DeleteMailbox(account_id, name))
        self.assertEqual(await self.mailbox(self.alice), before)
        self.assertEqual(len((await self.mailbox(self.bob, "Work")).messages), 1)

    # Renaming.

    async def test_rename_tree(self):
        """All that is beneath a mailbox goes with it, with ids, UIDs and UIDVALIDITY; names that only begin
        alike stay, also where they hold what a pattern would take for more."""
        a, deep, like, other = await self.make("a_%", "a_%/b/c", "a_%b", "axyz/b")
        await self.accept(message("one"), Filing(self.alice.id, "a_%/b/c"))
        before = await self.only(self.alice, "a_%/b/c")
        renamed = await self.rename("a_%", "new/place")
        self.assertEqual([m.name for m in renamed], ["new/place", "new/place/b/c"])
        self.assertEqual(
            [(m.id, m.uidvalidity) for m in renamed], [(a.id, a.uidvalidity), (deep.id, deep.uidvalidity)]
        )
        self.assertEqual(await self.boxes(), {m.name: m for m in renamed} | {"a_%b": like, "axyz/b": other})
        self.assertEqual(await self.only(self.alice, "new/place/b/c"), before)
        self.assertGreater(min(m.modseq for m in renamed), before.modseq)
        self.assertEqual({c.mailbox_id for c in (await self.news())[-2:]}, {a.id, deep.id})
        await self.accept(message("two"), Filing(self.alice.id, "new/place/b/c"))
        self.assertEqual([m.uid for m in (await self.mailbox(self.alice, "new/place/b/c")).messages], [1, 2])

    async def test_rename_keeps_subscriptions(self):
        """The new name is subscribed where the old one was, and the old one stays so."""
        await self.make("a")
        await self.make("a/b", subscribe=False)
        renamed = await self.rename("a", "z")
        self.assertEqual([m.subscribed for m in renamed], [True, False])
        self.assertEqual(await self.subscribed(), {"a", "z"})

    async def test_rename_upwards(self):
        """A tree can take the place of what is above it, also where one mailbox gets another's old name."""
        made = await self.make("a/b/b/b", "a/b/b", "a/b")
        await self.rename("a/b", "a")
        self.assertEqual(
            {name: m.id for name, m in (await self.boxes()).items()},
            {"a/b/b": made[0].id, "a/b": made[1].id, "a": made[2].id},
        )

    async def test_rename_without_mailbox(self):
        """A name that is only above mailboxes can be renamed."""
        (made,) = await self.make("a/b")
        (renamed,) = await self.rename("a", "z")
        self.assertEqual((renamed.name, renamed.id), ("z/b", made.id))

    async def test_rename_refused(self):
        """A rename that cannot be done whole changes nothing."""
        await self.make("a", "a/b", "z/b", "only/beneath")
        await self.accept(message(), Filing(self.bob.id, "Work"))
        before = await self.store.read(Mailboxes(self.alice.id))
        told = await self.news()
        for old, new, fault in (
            ("a", "z", MailboxExists),
            ("a", "Archive", MailboxExists),
            ("only", "a", MailboxExists),
            ("a", "inbox", MailboxExists),
            ("a", "a", MailboxExists),
            ("only", "only", MailboxExists),
            ("INBOX", "a", MailboxExists),
            ("INBOX", "Inbox", MailboxExists),
            ("a", "a/b/c", MailboxRefused),
            ("Work", "mine", NoSuchMailbox),
            ("a/", "mine", NoSuchMailbox),
        ):
            await self.refused(fault, RenameMailbox(self.alice.id, old, new))
        await self.refused(NoSuchMailbox, RenameMailbox(999, "a", "b"))
        await self.refused(NoSuchMailbox, RenameMailbox(999, "INBOX", "b"))
        self.assertEqual(await self.store.read(Mailboxes(self.alice.id)), before)
        self.assertEqual(await self.news(), told)

    async def test_rename_inbox(self):
        """The messages of INBOX go to a new mailbox, quota or not; INBOX and what is beneath it stay."""
        (beneath,) = await self.make("INBOX/x")
        for text in ("one", "two"):
            await self.accept(message(text), Filing(self.alice.id))
        before = await self.mailbox(self.alice)
        usage = await self.store.read(MailUsage(self.alice.id))
        await self.store.commit(SetAccount("alice@example.test", (("mail_quota", 1),)))
        (made,) = await self.rename("inbox", "old mail")
        self.assertEqual(await self.boxes(), {"INBOX/x": beneath, "old mail": made})
        self.assertGreater(made.uidvalidity, before.mailbox.uidvalidity)
        self.assertEqual((made.uidnext, made.subscribed), (3, True))
        inbox = await self.mailbox(self.alice, modseq=before.mailbox.modseq)
        self.assertEqual((inbox.mailbox.id, inbox.messages), (before.mailbox.id, ()))
        self.assertEqual(inbox.vanished, (1, 2))
        there = (await self.mailbox(self.alice, "old mail")).messages
        self.assertEqual([m.email_id for m in there], [m.email_id for m in before.messages])
        self.assertEqual(await self.store.read(MailUsage(self.alice.id)), usage)
        (empty,) = await self.rename("INBOX", "nothing")
        self.assertEqual(empty.uidnext, 1)

    # Limits.

    async def test_mailboxes_limit(self):
        """There is an end to mailboxes, which deleting one moves; a rename needs none more."""
        self.patch(names, "MAILBOXES_LIMIT", len(NEW_ACCOUNT_MAILBOXES) + 1)
        await self.make("a")
        await self.refused(LimitReached, CreateMailbox(self.alice.id, "b"))
        await self.refused(LimitReached, RenameMailbox(self.alice.id, "INBOX", "b"))
        await self.rename("a", "b")
        self.assertEqual(list(await self.boxes()), ["b"])
        await self.store.commit(DeleteMailbox(self.alice.id, "b"))
        await self.make("c")

    async def test_subscriptions_limit(self):
        """Names made, renamed and deleted again and again cannot leave subscriptions without end."""
        self.patch(names, "SUBSCRIPTIONS_LIMIT", len(NEW_ACCOUNT_MAILBOXES) + 1)
        await self.make("a")
        for unit in (
            SetSubscription(self.alice.id, "b", True),
            RenameMailbox(self.alice.id, "a", "b"),
            RenameMailbox(self.alice.id, "INBOX", "b"),
            CreateMailbox(self.alice.id, "b"),
        ):
            await self.refused(LimitReached, unit)
        self.assertEqual(list(await self.boxes()), ["a"])
        self.assertEqual(await self.subscribed(), {"a"})
        await self.make("c", subscribe=False)
        await self.store.commit(DeleteMailbox(self.alice.id, "a"))
        await self.make("a")

    async def test_name_limit(self):
        """A name that a client gives has an end, also where a rename makes it longer."""
        longest = "n" * names.NAME_LIMIT
        await self.refused(LimitReached, CreateMailbox(self.alice.id, longest + "n"))
        await self.refused(LimitReached, SetSubscription(self.alice.id, longest + "n", True))
        await self.refused(LimitReached, RenameMailbox(self.alice.id, "INBOX", longest + "n"))
        await self.make(longest, "a", "a/b")
        await self.refused(LimitReached, RenameMailbox(self.alice.id, "a", longest[:-1]))
        self.assertEqual(set(await self.boxes()), {longest, "a", "a/b"})
