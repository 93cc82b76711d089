"""The full-text index: built behind the store's back, complete without it, made again when it is damaged."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailftp.store import searching
from mailftp.store.criteria import And, BodyHas, HeaderHas, Not, Or, Sent, TextHas
from mailftp.store.engine import SMALL_BODY
from mailftp.store.queries import Accounts, ListMailbox, SearchIndex
from mailftp.store.records import Filing
from mailftp.store.searching import Search
from mailftp.store.sqlite import SQLiteStore, indexing, text_index
from mailftp.store.sqlite import searching as sqlite_searching
from mailftp.store.sqlite.text_index import TextIndex
from mailftp.store.units import Accept, AddAccount, Expunge, RemoveAccount
from tests.store.messages import VERIFIER, message, staged
from tests.store.searching import TEXTS

#: Criteria, on TEXTS: what they find does not depend on the index.
SEARCHES = (
    *(
        TextHas(word)
        for word in ("plain", "jörg", "holiday", "hidden", "subject: plain", "<r3@x>", "本語", "e", "1")
    ),
    *(
        BodyHas(word)
        for word in ("LINE OF", "schöne grüße", "été", "needle", "header", "本", "x", "one.\r\n")
    ),
    *map(TextHas, ('"""', 'li" OR "ne', "NEAR(line text)", "line*", "text: line", "-line", "^a line")),
    HeaderHas(b"subject", "grüße aus ulm"),
    HeaderHas(b"subject", "in"),
    HeaderHas(b"from", ""),
    HeaderHas(b"x-empty", ""),
    HeaderHas(b"x-empty", "x"),
    HeaderHas(b"return-path", "R4@"),
    Sent(10957, 10958),
    Not(Sent(since=10957)),
    Or((BodyHas("needle"), Not(TextHas("subject")))),
    And((TextHas("ann"), BodyHas("another"))),
)


class TextIndexTests(TestCase):
    timeout = 60

    async def setUp(self):
        self.patch(indexing, "WORTH_IT", 1)
        self.clock = Clock()
        self.clock.advance(1_700_000_000.0)
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.store = await self.opened()
        self.alice = (await self.store.commit(AddAccount("alice@example.test", VERIFIER))).id

    async def opened(self):
        store = SQLiteStore(self.folder / "mail.sqlite", self.folder / "blobs", reactor, self.clock)
        self.addCleanup(store.stop)
        await store.start()
        return store

    async def put(self, *texts, mailbox="INBOX"):
        for number, text in enumerate(texts):
            body = await staged(self.store, text)
            filing = Filing(self.alice, mailbox, prefix=b"Return-Path: <r%d@x>\r\n" % number)
            await self.store.commit(Accept(body, self.clock.seconds(), (filing,)))

    async def indexed(self):
        """Until the index has caught up with the store."""
        # The index hears of a commit after who made it.
        await self.store.read(Accounts())
        indexing = self.store._indexing
        for _ in range(5000):
            if indexing._thread.started and not (indexing._behind or indexing._now or indexing._working):
                return
            self.clock.advance(1.0)
            turn = Deferred()
            reactor.callLater(0.001, turn.callback, None)
            await turn
        self.fail("the index was not built")

    @property
    def path(self):
        return self.folder / "mail.texts" / f"{self.alice}.sqlite"

    async def found(self, criterion, mailbox="INBOX"):
        listing = await self.store.read(ListMailbox(self.alice, mailbox))
        return list(await Search(criterion, listing).run(self.store, self.alice, listing.mailbox.id))

    async def all_found(self):
        return [await self.found(criterion) for criterion in SEARCHES]

    async def unknown(self):
        """UIDs of INBOX that the index does not know."""
        listing = await self.store.read(ListMailbox(self.alice))
        query = SearchIndex(self.alice, listing.mailbox.id, tuple(listing.uids), (TextHas("x"),))
        return list((await self.store.read(query)).unknown)

    async def test_same_answers(self):
        """What is found is the same without an index, with one, and with one that is behind."""
        await self.put(*TEXTS)
        before = await self.all_found()
        self.assertEqual(await self.unknown(), [1, 2, 3, 4, 5, 6])
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
        self.assertEqual(await self.all_found(), before)
        await self.put(*TEXTS)
        self.assertEqual(await self.unknown(), [7, 8, 9, 10, 11, 12])
        twice = [[*uids, *(uid + 6 for uid in uids)] for uids in before]
        self.assertEqual(await self.all_found(), twice)
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
        self.assertEqual(await self.all_found(), twice)

    async def test_any_word(self):
        """Whatever piece of a text is looked for is found where it is, and nowhere else."""
        await self.put(*TEXTS)
        bodies = {1: "A line of text.", 2: "Schöne Grüße", 3: "<p>Voilà, ÉTÉ</p>", 6: "日本語のテキスト"}
        chance = random.Random(3)
        words = []
        for _ in range(100):
            text = bodies[chance.choice(list(bodies))]
            start = chance.randrange(len(text))
            words.append(text[start : start + chance.randint(1, 8)].strip() or text)
        expected = [await self.found(BodyHas(word)) for word in words]
        for word, uids in zip(words, expected, strict=True):
            self.assertTrue({uid for uid, text in bodies.items() if word in text} <= set(uids), word)
        await self.indexed()
        self.assertEqual([await self.found(BodyHas(word)) for word in words], expected)

    async def test_found_without_reading(self):
        """What the index knows is not read from the store."""
        await self.put(*TEXTS)
        await self.indexed()
        reads = []
        read = self.store.read
        self.patch(self.store, "read", lambda query: (reads.append(type(query).__name__), read(query))[1])
        self.assertEqual(await self.found(TextHas("no such words")), [])
        self.assertEqual(await self.found(TextHas("needle")), [4])
        self.assertEqual(reads, ["ListMailbox", "SearchIndex"] * 2)

    async def test_many_possible(self):
        """Where many messages may have a word they are looked into by pieces, with the same answers."""
        await self.put(*TEXTS, *TEXTS)
        expected = await self.all_found()
        await self.indexed()
        for few, piece in ((0, 5), (2, 1), (1000, 1000)):
            self.patch(sqlite_searching, "FEW", few)
            self.patch(searching, "PIECE_INDEX", piece)
            self.assertEqual(await self.all_found(), expected)

    async def test_removed_mail_leaves(self):
        """Words of a message that is gone are no more in the index; those of one that stays elsewhere are."""
        await self.put(*TEXTS, mailbox="Work")
        await self.indexed()
        work = (await self.store.read(ListMailbox(self.alice, "Work"))).mailbox.id
        await self.store.commit(Expunge(self.alice, work, (1, 4)))
        await self.indexed()
        index = TextIndex.open(self.path)
        self.addCleanup(index.close)
        self.assertEqual(len(index.email_ids()), 4)
        for word in ("plain words", "needle at"):
            self.assertEqual(index._candidates("bodies", word.upper().encode(), {1, 2, 3, 4, 5, 6}), set())
            self.assertEqual(index._candidates("headers", word.upper().encode(), {1, 2, 3, 4, 5, 6}), set())
        self.assertEqual(index._candidates("headers", b"HOLIDAY", {1, 2, 3, 4, 5, 6}), {3})

    async def test_removed_account(self):
        """The index of an account goes with it."""
        await self.put(*TEXTS)
        await self.indexed()
        self.assertTrue(self.path.exists())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        await self.store.commit(RemoveAccount("alice@example.test"))
        await self.indexed()
        self.assertEqual(os.listdir(self.path.parent), [])

    async def test_built_on(self):
        """An index that was not finished when the store stopped is gone on with, and has what went meanwhile
        taken out."""
        self.patch(indexing, "JOB_MESSAGES", 2)
        await self.put(*TEXTS)
        for _ in range(5000):
            if len(await self.unknown()) < 6:
                break
            self.clock.advance(1.0)
        await self.store.stop()
        self.store = await self.opened()
        inbox = (await self.store.read(ListMailbox(self.alice))).mailbox.id
        await self.store.commit(Expunge(self.alice, inbox, (1,)))
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
        self.assertEqual(await self.found(BodyHas("line")), [4])
        index = TextIndex.open(self.path)
        self.addCleanup(index.close)
        self.assertEqual(index.email_ids(), {2, 3, 4, 5, 6})

    async def test_damaged(self):
        """An index that cannot be read is made again; what is found meanwhile is right."""
        await self.put(*TEXTS)
        await self.indexed()
        expected = await self.all_found()
        size = self.path.stat().st_size
        self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
        self.path.write_bytes(b"SQLite format 3\0" + b"nonsense" * (size // 8))
        self.assertEqual(await self.all_found(), expected)
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
        self.assertEqual(await self.all_found(), expected)

    async def test_another_version(self):
        """An index of another version is not used, and made again with the next change."""
        await self.put(*TEXTS)
        await self.indexed()
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        self.assertEqual(await self.unknown(), [1, 2, 3, 4, 5, 6])
        await self.put(message())
        await self.indexed()
        self.assertEqual(await self.unknown(), [])

    async def test_older_database(self):
        """An index that knows more than the database, which was put back, is not used and made again."""
        await self.put(TEXTS[0])
        await self.indexed()
        await self.store.stop()
        backup = (self.folder / "mail.sqlite").read_bytes()
        self.store = await self.opened()
        await self.put(*TEXTS[1:3])
        await self.indexed()
        await self.store.stop()
        (self.folder / "mail.sqlite").write_bytes(backup)
        self.store = await self.opened()
        self.assertEqual(await self.unknown(), [1])
        await self.put(TEXTS[3])
        self.assertEqual(await self.found(BodyHas("needle")), [2])
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
        self.assertEqual(await self.found(BodyHas("needle")), [2])
        self.assertEqual(await self.found(BodyHas("schöne")), [])

    async def test_too_much(self):
        """A text that is too long for the index is read when it is searched."""
        self.patch(text_index, "MOST_TEXT", SMALL_BODY)
        await self.put(*TEXTS)
        await self.indexed()
        self.assertEqual(await self.unknown(), [4])
        self.assertEqual(await self.found(BodyHas("needle")), [4])

    async def test_not_wanted(self):
        """Where no index is wanted there is none, and one from before is removed."""
        await self.put(*TEXTS)
        await self.indexed()
        expected = await self.all_found()
        await self.store.stop()
        self.store = SQLiteStore(
            self.folder / "mail.sqlite", self.folder / "blobs", reactor, self.clock, text_index=False
        )
        self.addCleanup(self.store.stop)
        await self.store.start()
        await self.indexed()
        self.assertEqual(os.listdir(self.path.parent), [])
        self.assertEqual(await self.all_found(), expected)

    async def test_not_worth_it(self):
        """A few messages are read as fast."""
        self.patch(indexing, "WORTH_IT", 7)
        await self.put(*TEXTS)
        await self.indexed()
        self.assertFalse(self.path.exists())
        await self.put(message())
        await self.indexed()
        self.assertEqual(await self.unknown(), [])
