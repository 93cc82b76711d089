"""THREAD's algorithms on what somebody could have made to keep a server busy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.index import StoredKeys
from mailftp.store import thread_algorithms
from mailftp.store.engine import LimitReached
from mailftp.store.findings import ThreadAlgorithm
from mailftp.store.thread_algorithms import Threader

ENVELOPE = b'(NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL)'


def threads(messages):
    """Of (message id, references)."""
    threader = Threader(ThreadAlgorithm.REFERENCES)
    for uid, (message_id, references) in enumerate(messages, 1):
        threader.take(uid, float(uid), StoredKeys(ENVELOPE, message_id, references, "", None))
    found = threader.result()
    return list(zip(found.uids, found.depths, strict=True))


class ThreadTests(SynchronousTestCase):
    def test_deep(self):
        """A thread of 20,000 answers, in their order and the other way round."""
        chain = [(str(n), (str(n - 1),)) for n in range(1, 20_001)]
        expected = list(zip(range(1, 20_001), range(20_000), strict=True))
        self.assertEqual(threads(chain), expected)
        backwards = threads(reversed(chain))
        self.assertEqual(backwards[0], (20_000, 0))
        self.assertEqual(backwards[-1], (1, 19_999))

    def test_wide(self):
        """20,000 answers to one message, which are all told another parent by the next."""
        answers = [(str(n), ("0",)) for n in range(20_000)] + [("x", tuple(map(str, range(1000))))]
        found = threads(answers)
        self.assertEqual(len(found), 20_001)
        self.assertEqual(max(depth for _, depth in found), 2)

    def test_loops(self):
        """Messages that are above each other, or above themselves."""
        self.assertEqual(threads([("a", ("b",)), ("b", ("a",))]), [(2, 0), (1, 1)])
        self.assertEqual(threads([("a", ("a",)), ("b", ("a", "b", "a"))]), [(1, 0), (2, 1)])
        self.assertEqual(threads([("a", ("b", "c")), ("c", ("a", "b"))]), [(2, 0), (1, 1)])

    def test_same_id(self):
        """A second message of an id is a thread of its own."""
        self.assertEqual(threads([("a", ()), ("a", ()), ("b", ("a",))]), [(1, 0), (3, 1), (2, 0)])

    def test_limit(self):
        """What would take too long to look through is refused."""
        self.patch(thread_algorithms, "_STEPS", 0)
        # Each message is put beneath the end of a chain, and has something beneath it already.
        chain = tuple(map(str, range(1000)))
        pairs = [(f"c{n}", (f"p{n}",)) for n in range(400)] + [(f"p{n}", chain) for n in range(400)]
        with self.assertRaises(LimitReached):
            threads([("x", chain), *pairs])
