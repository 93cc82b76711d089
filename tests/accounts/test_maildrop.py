from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailftp.accounts.avatars import Content, Drops, IMaildrop, MaildropLocked
from mailftp.accounts.maildrop import MaildropLocks, StoreMaildrop
from mailftp.store.engine import StoreFault
from mailftp.store.queries import Copies
from mailftp.store.units import Expunge, NoteRetrieved
from tests.accounts.stores import FewAccounts


class MaildropTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = FewAccounts(bob="x")
        self.store.put(1, b"Subject: a\r\n\r\nx\r\n", prefix=b"Return-Path: <>\r\n")
        self.store.put(1, b"Subject: b\r\n\r\n.dot\r\n")
        self.store.put(1, b"y" * 100, large=True, prefix=b"P: q\r\n")
        self.store.put(1, b"z\r\n." * 30, large=True)
        self.locks = MaildropLocks()
        self.drop = self.make()

    def make(self) -> StoreMaildrop:
        return StoreMaildrop(self.store, self.store.accounts["bob@example.test"][0], self.locks)

    def open(self) -> Drops:
        return self.successResultOf(self.drop.open())

    def read(self, *numbers: int) -> tuple[Content, ...]:
        return self.successResultOf(self.drop.read(numbers))

    def test_provides(self) -> None:
        """It is an IMaildrop."""
        verifyObject(IMaildrop, self.drop)

    def test_list(self) -> None:
        """Sizes are those of prefix and body; identifiers hold UIDVALIDITY and UID."""
        drops = self.open()
        self.assertEqual(list(drops.sizes), [34, 20, 106, 120])
        self.assertEqual(list(drops.uidls(0, 4)), [b"7.1", b"7.2", b"7.3", b"7.4"])
        self.assertEqual(list(drops.uidls(2, 3)), [b"7.3"])

    def test_set_uidls(self) -> None:
        """An identifier that was set stands in place of the usual one."""
        self.store.uidls[2] = b"old"
        self.assertEqual(list(self.open().uidls(0, 3)), [b"7.1", b"old", b"7.3"])

    def test_no_such_folder(self) -> None:
        """A folder that is not there is a LookupError, and leaves no lock."""
        self.store.inboxes.clear()
        self.failureResultOf(self.drop.open("Attic"), LookupError)
        self.assertEqual(self.locks._held, {})
        self.assertEqual(len(self.successResultOf(self.make().open("inbox"))), 0)

    def test_no_inbox(self) -> None:
        """An account without an INBOX has an empty maildrop."""
        del self.store.inboxes[1]
        self.assertEqual(len(self.open()), 0)

    def test_lock(self) -> None:
        """A second session is told that it is in use until the first gives it up, be it twice."""
        self.open()
        second = self.make()
        self.failureResultOf(second.open(), MaildropLocked)
        second.release()
        self.failureResultOf(self.make().open(), MaildropLocked)
        self.drop.release()
        self.drop.release()
        self.successResultOf(second.open())
        self.drop.release()
        self.failureResultOf(self.make().open(), MaildropLocked)

    def test_lock_of_another_process(self) -> None:
        """Locks in a shared file keep other processes out, folder by folder, until they are given up or their
        process ends."""
        path = Path(self.mktemp())
        ours, theirs = MaildropLocks(), MaildropLocks()
        for locks in (ours, theirs):
            locks.share(path)
            self.addCleanup(locks.close)
        self.assertTrue(ours.take(1, self))
        self.assertTrue(ours.take(1, self))
        self.assertFalse(theirs.take(1, self))
        self.assertTrue(theirs.take(2, self))
        self.assertTrue(theirs.take(1, self, "Archive"))
        self.assertFalse(ours.take(1, self, "Archive"))
        ours.release(1, self)
        self.assertTrue(theirs.take(1, self))
        self.assertFalse(ours.take(1, self))
        # What the kernel does for a process that is killed.
        theirs.close()
        self.assertTrue(ours.take(1, self))

    def test_lock_is_given_up_when_the_store_fails(self) -> None:
        """A listing that fails or is cancelled leaves no lock."""
        self.store.broken = StoreFault("disk")
        self.failureResultOf(self.drop.open(), StoreFault)
        self.store.broken, self.store.slow = None, True
        opening = self.make().open()
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.store.slow = False
        self.open()

    def test_read_small(self) -> None:
        """Small bodies come by one query, whole, and say whether a line starts with a dot."""
        self.open()
        self.store.reads.clear()
        one, two = self.read(0, 1)
        self.assertEqual(len(self.store.reads), 1)
        self.assertIsInstance(self.store.reads[0], Copies)
        self.assertEqual((one.prefix, one.data), (b"Return-Path: <>\r\n", b"Subject: a\r\n\r\nx\r\n"))
        self.assertEqual((one.dot_free, two.dot_free), (True, False))
        self.assertEqual(one.size, 34)

    def test_read_in_any_order(self) -> None:
        """Small and large in the order asked; large ones as descriptors of their own."""
        self.open()
        contents = self.read(3, 0, 2, 1)
        for content in contents:
            if content.descriptor >= 0:
                self.addCleanup(os.close, content.descriptor)
        self.assertEqual([c.size for c in contents], [120, 34, 106, 20])
        self.assertEqual([c.dot_free for c in contents], [False, True, True, False])
        self.assertEqual(os.pread(contents[2].descriptor, 1000, 0), b"y" * 100)
        self.assertEqual(contents[1].descriptor, -1)

    def test_gone(self) -> None:
        """A body that is gone is a LookupError, and no descriptor is left open."""
        self.open()
        before = len(os.listdir("/proc/self/fd"))
        del self.store.bodies[4]
        for numbers in ((3,), (2, 3)):
            with self.assertRaises((LookupError, KeyError)):
                raise self.failureResultOf(self.drop.read(numbers)).value
        del self.store.inboxes[1][0]
        self.failureResultOf(self.drop.read((0, 1)), LookupError)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_cancelled_while_opening(self) -> None:
        """A descriptor that comes when nobody waits any more is closed."""
        self.open()
        self.store.slow = True
        reading = self.drop.read((2,))
        copies, found = self.store.pending.pop()
        copies.callback(found)
        indexes, result = self.store.pending.pop()
        indexes.callback(result)
        opening, descriptor = self.store.pending.pop()
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        opening.callback(descriptor)
        with self.assertRaises(OSError):
            os.fstat(descriptor)

    def test_update(self) -> None:
        """All deletions are one unit; none is no unit; what has gone already is passed over."""
        self.open()
        self.successResultOf(self.drop.update(()))
        self.assertEqual(self.store.commits, [])
        self.successResultOf(self.drop.update((0, 2)))
        self.assertEqual(self.store.commits, [Expunge(1, 10, (1, 3))])
        self.successResultOf(self.drop.update((0,)))

    def test_retrieved(self) -> None:
        """What a client leaves is noted where mail expires, and only there."""
        self.open()
        self.successResultOf(self.drop.update((), (0, 1)))
        self.assertEqual(self.store.commits, [])
        self.drop.release()
        account = self.store.accounts["bob@example.test"][0]
        drop = StoreMaildrop(self.store, account, self.locks, expiring=True)
        self.successResultOf(drop.open())
        self.successResultOf(drop.update((2,), (0, 1)))
        self.assertEqual(self.store.commits, [Expunge(1, 10, (3,)), NoteRetrieved(10, (1, 2))])

    def test_fixed_when_opened(self) -> None:
        """Mail that arrives meanwhile does not show, and what was read is not moved."""
        before = self.open()
        self.store.put(1, b"new\r\n")
        self.store.inboxes[1].pop(0)
        self.failureResultOf(self.drop.read((0,)), LookupError)
        contents: Any = self.read(1)
        self.assertEqual(contents[0].data, b"Subject: b\r\n\r\n.dot\r\n")
        self.assertEqual(len(before), 4)
