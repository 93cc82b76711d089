"""What accounts send, by every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import OverQuota, SendingLimit
from mailftp.store.queries import Bodies, QueueList
from mailftp.store.records import Account
from mailftp.store.units import CreateMailbox, DeleteMailbox, RenameMailbox, SetAccount, Submission
from tests.store.messages import inbox, message, transfer

DAY = 86400.0


class Submitting:
    def submission(self, *recipients, messages=3, new=2, account=None, **more):
        return Submission((account or self.alice).id, recipients, messages, new, **more)

    async def submit(self, *recipients, about="hello", **how):
        sent = transfer(*recipients) if recipients else None
        return await self.accept(
            message(about), transfer=sent, submission=self.submission(*recipients, **how)
        )

    async def limited(self, *recipients, **how):
        with self.assertRaises(SendingLimit) as raised:
            await self.submit(*recipients, **how)
        return raised.exception.what, raised.exception.most

    async def own(self, **changes):
        return await self.store.commit(SetAccount("alice@example.test", tuple(changes.items())))

    async def test_messages_in_a_day(self):
        """So many and no more; what is refused is not counted, and the next day begins at nothing. Another
        account has its own count."""
        for _ in range(3):
            await self.submit("a@far.test")
        self.assertEqual(await self.limited("a@far.test"), ("messages", 3))
        self.assertEqual(await self.limited("b@far.test"), ("messages", 3))
        await self.submit("a@far.test", account=self.bob)
        self.assertEqual(len(await self.store.read(QueueList())), 4)
        self.clock.advance(DAY)
        await self.submit("a@far.test")

    async def test_new_recipients_in_a_day(self):
        """Whoever was written to before is not new, on any day; a message with too many new ones is refused
        whole."""
        await self.submit("a@far.test", "b@far.test", messages=0)
        self.assertEqual(await self.limited("c@far.test", messages=0), ("new recipients", 2))
        await self.submit("a@far.test", "b@far.test", messages=0)
        self.clock.advance(DAY)
        await self.submit("c@far.test", messages=0)
        self.assertEqual(await self.limited("d@far.test", "e@far.test", messages=0), ("new recipients", 2))
        await self.submit("d@far.test", "c@far.test", messages=0)

    async def test_no_limits(self):
        """0 is none, and what stays in the house is not counted."""
        for number in range(5):
            await self.submit(f"a{number}@far.test", messages=0, new=0)
        for _ in range(5):
            await self.accept(message(), *inbox(self.bob), submission=self.submission(messages=1))
        await self.limited("a@far.test", messages=5)

    async def test_limits_of_its_own(self):
        """An account's own limits win, a 0 among them."""
        changed = await self.own(daily_messages=1, daily_new_recipients=0)
        self.assertEqual(changed, replace(self.alice, daily_messages=1, daily_new_recipients=0))
        self.assertIsInstance(changed, Account)
        await self.submit("a@far.test", "b@far.test", "c@far.test")
        self.assertEqual(await self.limited("a@far.test"), ("messages", 1))
        await self.own(daily_messages=None)
        await self.submit("a@far.test")

    async def test_refused_for_another_reason(self):
        """A message that is not kept is not counted either."""
        await self.store.commit(SetAccount("bob@example.test", (("mail_quota", 1),)))
        for _ in range(3):
            with self.assertRaises(OverQuota):
                await self.accept(
                    message(), *inbox(self.bob), submission=self.submission("a@far.test", messages=1)
                )
        await self.submit("a@far.test", messages=1)

    async def test_copy_in_sent(self):
        """Filed as read, if the account asks, once for the same message, with what its author alone sees."""
        await self.submit("a@far.test")
        self.assertEqual((await self.mailbox(self.alice, "Sent")).messages, ())
        self.assertTrue((await self.own(file_sent=True)).file_sent)
        accepted = await self.submit("a@far.test", copy_prefix=b"Bcc: b@far.test\r\n")
        copy = await self.only(self.alice, "Sent")
        self.assertEqual((copy.flags, copy.prefix), ({"\\Seen"}, b"Bcc: b@far.test\r\n"))
        self.assertEqual(accepted.filed, ((self.alice.id, copy.mailbox_id, copy.uid),))
        self.assertEqual(await self.store.read(Bodies((copy.body,))), (message(),))
        self.assertEqual((await self.submit("a@far.test")).filed, ())
        await self.submit(about="another")
        self.assertEqual(len((await self.mailbox(self.alice, "Sent")).messages), 2)
        self.assertEqual((await self.mailbox(self.alice)).messages, ())

    async def test_sent_by_its_use(self):
        """The mailbox of that use, whatever its name; one of that name; or a new one."""
        await self.own(file_sent=True)
        await self.store.commit(RenameMailbox(self.alice.id, "Sent", "Gesendet"))
        await self.submit()
        await self.only(self.alice, "Gesendet")
        await self.store.commit(DeleteMailbox(self.alice.id, "Gesendet"))
        await self.store.commit(CreateMailbox(self.alice.id, "Sent"))
        await self.submit()
        await self.store.commit(DeleteMailbox(self.alice.id, "Sent"))
        await self.submit()
        await self.only(self.alice, "Sent")

    async def test_sent_counts(self):
        """The copy counts against the quota like any other."""
        await self.own(file_sent=True, mail_quota=10)
        with self.assertRaises(OverQuota):
            await self.submit("a@far.test")
        self.assertEqual(await self.store.read(QueueList()), ())
