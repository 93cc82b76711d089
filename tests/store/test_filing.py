"""Messages that are filed together end up as if they had come one by one."""

from __future__ import annotations

import random
from hashlib import sha256

from mailftp.store.engine import NoSuchAccount, OverQuota
from mailftp.store.records import Filing, StagedBody, Verifier
from mailftp.store.sqlite import writer as writer_module
from mailftp.store.sqlite.filing import is_plain
from mailftp.store.units import Accept, AddAccount, CreateMailbox, SetAccount
from tests.store.messages import message, transfer
from tests.store.test_writer import WriterCase

#: A body by its hash: one by one, a body that is there already uses up a number.
TABLES = (
    "SELECT * FROM accounts ORDER BY id",
    "SELECT sha256, size, data, stored FROM bodies JOIN body_indexes ON body_id = id ORDER BY id",
    "SELECT sha256 FROM unused_bodies JOIN bodies ON body_id = id ORDER BY id",
    "SELECT e.id, account_id, thread_id, sha256, body_size, received, created_modseq, prefix"
    " FROM emails AS e JOIN bodies ON body_id = bodies.id ORDER BY e.id",
    "SELECT * FROM mailboxes ORDER BY id",
    "SELECT * FROM mailbox_messages ORDER BY mailbox_id, uid",
    "SELECT * FROM thread_keys ORDER BY account_id, key",
    "SELECT q.id, sha256 FROM queue_messages AS q JOIN bodies ON body_id = bodies.id ORDER BY q.id",
)


class Together(WriterCase):
    def accept(self, number: int, *filings: Filing, reference: str = "", **more) -> Accept:
        data = message(f"about {number % 3}", f"{number}@x", reference)
        body = StagedBody(len(data), sha256(data).digest(), data)
        return Accept(body, self.now, filings or (Filing(self.bob),), **more)

    def everything(self):
        return {sql: self.rows(sql) for sql in TABLES}

    def statements(self) -> list[str]:
        seen: list[str] = []
        self.writer._connection.set_trace_callback(seen.append)
        return seen

    def test_few_statements(self):
        """Sixty messages need hardly more than twenty."""
        self.run_all(*(self.accept(n) for n in range(2)))
        seen = self.statements()
        self.run_all(*(self.accept(n) for n in range(100, 160)))
        self.assertLess(len(seen), 40, seen)
        self.assertEqual([uid for (uid,) in self.rows("SELECT uid FROM mailbox_messages")], [*range(1, 63)])

    def history(self, chance: random.Random):
        """Batches of units; mailboxes that are missing, accounts that are, full ones, and queued mail."""
        prefixes, boxes, flags = [b"", b"X: y\r\n"], ["inbox", "INBOX", "Lists", "New"], ["\\Seen", "work"]
        for batch in range(12):
            units = []
            for _ in range(chance.randint(1, 30)):
                number = chance.randint(1, 40)
                filings = tuple(
                    Filing(
                        chance.choice([1, 1, 2, 2, 3, 3, 3, 9 if batch % 4 == 3 else 1]),
                        chance.choice(boxes if batch > 2 else boxes[:2]),
                        frozenset(chance.sample(flags, chance.randint(0, 2))),
                        chance.choice(prefixes),
                    )
                    for _ in range(chance.choice([1, 1, 1, 2, 3]))
                )
                more = {}
                if batch % 3 == 2 and chance.random() < 0.1:
                    more["transfer"] = transfer("a@one.test")
                reference = f"{chance.randint(1, 40)}@x" if chance.random() < 0.5 else ""
                units.append(self.accept(number, *filings, reference=reference, **more))
                if chance.random() < 0.05:
                    units.append(CreateMailbox(chance.randint(1, 3), chance.choice(boxes[2:])))
                if chance.random() < 0.03:
                    units.append(
                        SetAccount("bob@example.test", (("mail_quota", chance.choice([None, 4000])),))
                    )
            yield units

    def outcomes(self, seed: int):
        for name in ("ann", "cid"):
            self.do(AddAccount(f"{name}@example.test", Verifier("x")))
        found = []
        for units in self.history(random.Random(seed)):
            jobs = self.run_all(*units)
            found.append([(job.value, type(job.fault)) for job in jobs])
        return found, self.everything()

    def test_as_one_by_one(self):
        """Whatever comes in one batch: the same answers, and the same rows to the last number."""
        faults = set()
        for seed in range(8):
            self.setUp()
            together = self.outcomes(seed)
            self.setUp()
            patch = self.patch(writer_module, "is_plain", lambda unit: False)
            self.assertEqual(together, self.outcomes(seed), seed)
            patch.restore()
            faults |= {fault for batch in together[0] for _, fault in batch}
        self.assertTrue({NoSuchAccount, OverQuota} <= faults, faults)

    def test_same_body_twice(self):
        """One that another unit of the batch has brought already, by itself."""
        first = self.accept(1, transfer=transfer("a@one.test"))
        jobs = self.run_all(first, self.accept(1), self.accept(1), self.accept(2))
        self.assertEqual([job.fault for job in jobs], [None] * 4)
        self.assertEqual(self.rows("SELECT count(*) FROM bodies"), [(2,)])
        self.assertEqual(self.rows("SELECT count(*) FROM mailbox_messages"), [(4,)])

    def test_what_is_plain(self):
        self.assertTrue(is_plain(self.accept(1)))
        self.assertFalse(is_plain(self.accept(1, transfer=transfer("a@one.test"))))
        self.assertFalse(is_plain(self.accept(1, forwards=(transfer("a@one.test"),))))
        self.assertFalse(is_plain(CreateMailbox(1, "x")))
        data = message()
        self.assertFalse(is_plain(Accept(StagedBody(len(data), sha256(data).digest(), data), 0.0)))
