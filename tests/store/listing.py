"""A mailbox's columns and its messages in bulk on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from array import array

from mailftp.store.engine import SMALL_BODY
from mailftp.store.names import TOMBSTONES_AGE
from mailftp.store.queries import (
    Bodies,
    Indexes,
    ListMailbox,
    ListPlaces,
    ListStatus,
    MailboxSince,
    ReadMessages,
    ReadReady,
)
from mailftp.store.records import NEW_ACCOUNT_MAILBOXES, Filing, ReadyItem
from mailftp.store.units import CopyMessages, CreateMailbox, Expunge, FlagChange, StoreFlags
from tests.store.messages import message

SEEN = frozenset({"\\Seen"})


class Listing:
    async def some(self, count, name="INBOX"):
        """Messages of different sizes, flags and times."""
        for number in range(count):
            self.clock.advance(0.5)
            flags = frozenset(["\\Seen"] * (number % 2) + ["\\Deleted", "word"] * (number % 3 // 2))
            filing = Filing(self.alice.id, name, flags, b"X: %d\r\n" % number)
            await self.accept(message(f"number {number}", body=b"line\r\n" * number), filing)
        return await self.listed(name)

    async def listed(self, mailbox="INBOX", modseq=0):
        return await self.store.read(ListMailbox(self.alice.id, mailbox, modseq))

    def rows(self, listing):
        flags = [listing.flag_sets[number] for number in listing.flag_numbers]
        return list(zip(listing.uids, listing.modseqs, listing.sizes, listing.received, flags, strict=True))

    async def expected(self, modseq=0):
        """The same by MailboxSince."""
        found = await self.store.read(MailboxSince(self.alice.id, "INBOX", modseq))
        rows = [(m.uid, m.modseq, m.size, m.received, m.flags) for m in found.messages]
        return found.mailbox, rows, list(found.vanished)

    async def test_list_mailbox(self):
        """A listing has each message's numbers and flags, whole or newer than a modseq, with expunges."""
        first = await self.some(7)
        self.assertEqual((first.mailbox, self.rows(first)), (await self.expected())[:2])
        self.assertEqual([a.typecode for a in (first.uids, first.modseqs, first.sizes)], ["I", "Q", "Q"])
        self.assertEqual(len(set(first.flag_sets)), len(first.flag_sets))
        self.assertEqual(first.vanished, array("I"))
        inbox = first.mailbox.id
        await self.store.commit(StoreFlags(self.alice.id, inbox, (5, 2), FlagChange.ADD, frozenset({"new"})))
        await self.store.commit(Expunge(self.alice.id, inbox, (6, 3)))
        await self.some(1)
        for modseq in (first.mailbox.modseq, first.mailbox.modseq - 1):
            later = await self.listed(inbox, modseq)
            found = later.mailbox, self.rows(later), list(later.vanished)
            self.assertEqual(found, await self.expected(modseq))
        self.assertEqual(list(later.vanished), [3, 6])
        self.assertTrue(later.vanished_complete)
        again = await self.listed("inbox", later.mailbox.modseq)
        self.assertEqual((again.mailbox, self.rows(again)), (later.mailbox, []))
        self.assertEqual(list(again.vanished), [])

    async def test_list_no_mailbox(self):
        """There is no listing of what is not there, nor of another account's mailbox by its id."""
        theirs = (await self.store.read(ListMailbox(self.bob.id))).mailbox.id
        for mailbox in ("no such", theirs, 999):
            self.assertIsNone(await self.listed(mailbox))
        places = await self.store.read(ListPlaces(self.alice.id, theirs, range(1, 9)))
        ready = await self.store.read(ReadReady(self.alice.id, theirs, (1,), (ReadyItem.BODY,)))
        messages = await self.store.read(ReadMessages(self.alice.id, theirs, (1,)))
        self.assertEqual((places, ready, messages), (None, None, None))

    async def test_expunges_forgotten(self):
        """Expunges of long ago are forgotten: a listing from before them says so, a later one is complete."""
        first = await self.some(3)
        inbox = first.mailbox.id
        await self.store.commit(Expunge(self.alice.id, inbox, (1,)))
        self.clock.advance(TOMBSTONES_AGE / 2)
        middle = await self.listed(modseq=first.mailbox.modseq)
        self.assertEqual((list(middle.vanished), middle.vanished_complete), ([1], True))
        await self.store.commit(Expunge(self.alice.id, inbox, (2,)))
        self.clock.advance(TOMBSTONES_AGE / 2)
        await self.sweep()
        late = await self.listed(modseq=first.mailbox.modseq)
        self.assertEqual((list(late.vanished), late.vanished_complete), ([2], False))
        late = await self.listed(modseq=middle.mailbox.modseq)
        self.assertEqual((list(late.vanished), late.vanished_complete), ([2], True))
        self.assertTrue((await self.listed()).vanished_complete)

    async def test_expunges_bounded(self):
        """Of more expunges than are remembered the first are forgotten."""
        for module in self.tombstone_modules:
            self.patch(module, "TOMBSTONES_LIMIT", 3)
        first = await self.some(6)
        for uids in ((1, 2), (3,), (4, 5)):
            await self.store.commit(Expunge(self.alice.id, first.mailbox.id, uids))
        await self.sweep()
        last = await self.listed()
        for modseq, gone, complete in (
            (first.mailbox.modseq, [3, 4, 5], False),
            (last.mailbox.modseq - 2, [3, 4, 5], True),
            (last.mailbox.modseq, [], True),
        ):
            found = await self.listed(modseq=modseq)
            self.assertEqual((list(found.vanished), found.vanished_complete), (gone, complete))

    async def test_list_status(self):
        """STATUS counts messages, the unseen and the deleted and octets, also after a change."""
        await self.some(6)
        await self.some(2, "Work")
        await self.store.commit(CreateMailbox(self.alice.id, "Empty"))
        for _ in range(2):
            found = await self.store.read(ListStatus(self.alice.id))
            names = [status.mailbox.name for status in found]
            self.assertEqual(names, sorted({*NEW_ACCOUNT_MAILBOXES, "Work", "Empty"}))
            for status in found:
                await self.check_status(status)
            inbox = next(s.mailbox.id for s in found if s.mailbox.name == "INBOX")
            await self.store.commit(Expunge(self.alice.id, inbox, (2,)))
            await self.store.commit(StoreFlags(self.alice.id, inbox, (1,), FlagChange.ADD, SEEN))
        some = await self.store.read(ListStatus(self.alice.id, frozenset({"inbox", "Empty", "none"})))
        self.assertEqual([s.mailbox.name for s in some], ["Empty", "INBOX"])
        self.assertEqual((some[0].messages, some[1].messages, some[1].unseen), (0, 5, 2))

    async def check_status(self, status):
        listing = await self.listed(status.mailbox.id)
        rows = self.rows(listing)
        self.assertEqual(status.mailbox, listing.mailbox)
        counts = status.messages, status.unseen, status.deleted, status.size
        unseen = sum("\\Seen" not in flags for *_, flags in rows)
        deleted = sum("\\Deleted" in flags for *_, flags in rows)
        self.assertEqual(counts, (len(rows), unseen, deleted, sum(listing.sizes)))
        sizes = zip(listing.sizes, rows, strict=True)
        self.assertEqual(status.deleted_size, sum(size for size, row in sizes if "\\Deleted" in row[-1]))

    async def test_list_places(self):
        """Email and thread ids and the time of saving, of a range or of UIDs; a copy is saved later."""
        await self.some(5)
        self.clock.advance(100)
        await self.store.commit(CreateMailbox(self.alice.id, "Work"))
        inbox = (await self.listed()).mailbox.id
        await self.store.commit(CopyMessages(self.alice.id, inbox, (2, 4), "Work"))
        for name in ("INBOX", "Work"):
            found = await self.store.read(MailboxSince(self.alice.id, name))
            expected = [(m.uid, m.email_id, m.thread_id, m.saved) for m in found.messages]
            for uids in (range(1, 1 << 32), (4, 2, 1, 3, 5, 77)):
                places = await self.store.read(ListPlaces(self.alice.id, found.mailbox.id, uids))
                columns = places.uids, places.email_ids, places.thread_ids, places.saved
                self.assertEqual(list(zip(*columns, strict=True)), expected)
        self.assertEqual(list(places.saved), [self.clock.seconds()] * 2)
        few = await self.store.read(ListPlaces(self.alice.id, inbox, range(2, 4)))
        self.assertEqual(list(few.uids), [2, 3])

    async def test_read_ready(self):
        """ENVELOPE, BODY and BODYSTRUCTURE come as they were made, in the order asked, UIDs ascending."""
        listing = await self.some(4)
        found = (await self.store.read(MailboxSince(self.alice.id))).messages
        indexes = await self.store.read(Indexes(tuple(m.body for m in found)))
        items = (ReadyItem.BODYSTRUCTURE, ReadyItem.ENVELOPE, ReadyItem.BODY)
        ready = await self.store.read(ReadReady(self.alice.id, listing.mailbox.id, range(1, 99), items))
        self.assertEqual(list(ready.uids), [1, 2, 3, 4])
        expected = [(i.bodystructure, i.envelope, i.body) for i in indexes]
        self.assertEqual(list(zip(*ready.texts, strict=True)), expected)
        ready = await self.store.read(ReadReady(self.alice.id, listing.mailbox.id, (9, 3, 1), items[1:2]))
        self.assertEqual(list(ready.uids), [1, 3])
        self.assertEqual(ready.texts, ([indexes[0].envelope, indexes[2].envelope],))
        none = await self.store.read(ReadReady(self.alice.id, listing.mailbox.id, (), items))
        self.assertEqual((list(none.uids), list(map(list, none.texts))), ([], [[], [], []]))

    async def test_read_messages(self):
        """Messages come whole, or their headers alone; large ones without their bodies."""
        await self.some(2)
        await self.accept(message(body=b"\0\xff\xfe\r\n"), Filing(self.alice.id, prefix=b"\xff: \0\r\n"))
        large = message("large", body=b"x" * 98 + b"\r\n" + b"y" * SMALL_BODY + b"\r\n")
        await self.accept(large, Filing(self.alice.id, prefix=b"P: 1\r\n"))
        await self.accept(b"\r\nno header\r\n\r\nat all\r\n", Filing(self.alice.id))
        await self.accept(b"Subject: only\r\n", Filing(self.alice.id))
        found = await self.store.read(MailboxSince(self.alice.id))
        refs = tuple(m.body for m in found.messages)
        small = dict(zip((1, 2, 3, 5, 6), await self.store.read(Bodies(refs[:3] + refs[4:])), strict=True))
        inbox = found.mailbox.id
        whole = await self.store.read(ReadMessages(self.alice.id, inbox, range(1, 9), with_index=True))
        self.assertEqual(list(whole.uids), [1, 2, 3, 4, 5, 6])
        self.assertEqual(list(whole.bodies), list(refs))
        self.assertEqual(list(whole.prefix_sizes), [len(m.prefix) for m in found.messages])
        self.assertEqual(list(whole.texts), [m.prefix + small.get(m.uid, b"") for m in found.messages])
        encoded = [index.encode() for index in await self.store.read(Indexes(refs))]
        self.assertEqual(list(whole.indexes), encoded)
        headers = await self.store.read(ReadMessages(self.alice.id, inbox, (1, 4, 5, 6), header_only=True))
        head = b"From: bob@example.test\r\nSubject: %b\r\n\r\n"
        self.assertEqual(
            list(headers.texts),
            [b"X: 0\r\n" + head % b"number 0", b"P: 1\r\n" + head % b"large", b"\r\n", b"Subject: only\r\n"],
        )
        self.assertEqual(list(headers.indexes), [])
