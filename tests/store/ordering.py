"""Sorting and threading on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from mailftp.store.engine import NoSuchMailbox
from mailftp.store.findings import SortKey, ThreadAlgorithm
from mailftp.store.queries import ListMailbox, SortMessages, ThreadMessages
from mailftp.store.records import Filing
from mailftp.store.units import Expunge

KEYS = {
    SortKey.ARRIVAL: [1, 2, 3, 4, 5],
    SortKey.SIZE: [5, 4, 1, 2, 3],
    SortKey.SUBJECT: [5, 2, 4, 1, 3],
    SortKey.FROM: [5, 4, 3, 1, 2],
    SortKey.DISPLAYFROM: [5, 2, 3, 1, 4],
    SortKey.TO: [2, 3, 4, 5, 1],
    SortKey.DISPLAYTO: [2, 3, 4, 5, 1],
    SortKey.CC: [1, 2, 4, 5, 3],
    SortKey.DATE: [4, 3, 1, 2, 5],
}


class Ordering:
    async def put_in_order(self):
        for fields in (
            b"From: One <m@x.test>\r\nTo: b@x.test\r\nSubject: [l] pear\r\nDate: 3 Jan 2020 10:00 +0000\r\n"
            b"Message-ID: <1@x>\r\n",
            b"From: =?utf-8?q?=C3=84nne?= <n@x.test>\r\nSubject: Re: APPLE\r\n"
            b"Date: 3 Jan 2020 10:00 -0100\r\n"
            b"References: <0@x> <1@x>\r\nMessage-ID: <2@x>\r\n",
            b'From: "B" <c@x.test>\r\nCc: z@x.test, a@x.test\r\nSubject: quince\r\n'
            b"Date: 2 Jan 2020 9:00 +0000\r\n"
            b"In-Reply-To: <2@x>\r\nX-Long: it is\r\nMessage-ID: <3@x>\r\n",
            b"From: Zoe <b@x.test>\r\nSubject: apple (fwd)\r\nDate: 1 Jan 2020 9:00 +0000\r\n"
            b"Message-ID: <4@x>\r\nX-L: is\r\n",
            b"Message-ID: <5@x>\r\n",
        ):
            self.clock.advance(10)
            await self.accept(fields + b"\r\n", Filing(self.alice.id))
        return (await self.store.read(ListMailbox(self.alice.id))).mailbox.id

    async def test_sort(self):
        """By each key, and reversed; equals by the next key, or by UID in either direction."""
        inbox = await self.put_in_order()

        async def ordered(*order):
            query = SortMessages(self.alice.id, inbox, (4, 2, 3, 1, 5), order)
            return list(await self.store.read(query))

        for key, expected in KEYS.items():
            self.assertEqual(await ordered((key, False)), expected, key)
        self.assertEqual(await ordered((SortKey.SIZE, True)), [3, 2, 1, 4, 5])
        self.assertEqual(await ordered((SortKey.SUBJECT, True)), [3, 1, 2, 4, 5])
        self.assertEqual(await ordered((SortKey.SUBJECT, False), (SortKey.DATE, False)), [5, 4, 2, 1, 3])
        await self.store.commit(Expunge(self.alice.id, inbox, (3,)))
        self.assertEqual(await ordered((SortKey.ARRIVAL, True)), [5, 4, 2, 1])
        reading = self.store.read(SortMessages(self.bob.id, inbox, (1,), ((SortKey.SIZE, False),)))
        await self.assertFailure(reading, NoSuchMailbox)

    async def test_thread(self):
        """By references, through one that is not there; what shares a subject is one thread."""
        inbox = await self.put_in_order()

        async def threads(algorithm, uids):
            found = await self.store.read(ThreadMessages(self.alice.id, inbox, uids, algorithm))
            return list(zip(found.uids, found.depths, strict=True))

        by_references = await threads(ThreadAlgorithm.REFERENCES, (1, 2, 3, 4, 5))
        self.assertEqual(by_references, [(4, 0), (1, 0), (2, 1), (3, 2), (5, 0)])
        some = await threads(ThreadAlgorithm.REFERENCES, (2, 3, 4))
        self.assertEqual(some, [(0, 0), (4, 1), (2, 1), (3, 2)])
        by_subject = await threads(ThreadAlgorithm.ORDEREDSUBJECT, (1, 2, 3, 4, 5))
        self.assertEqual(by_subject, [(4, 0), (2, 1), (3, 0), (1, 0), (5, 0)])
        reading = self.store.read(ThreadMessages(self.bob.id, inbox, (1,), ThreadAlgorithm.REFERENCES))
        await self.assertFailure(reading, NoSuchMailbox)
