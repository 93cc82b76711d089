"""Searches on every engine, as tests; mixed with Conformance."""

from __future__ import annotations

from base64 import b64encode

from mailftp.store import searching
from mailftp.store.criteria import (
    All,
    And,
    BodyHas,
    Email,
    HasFlag,
    HeaderHas,
    Modseq,
    Not,
    Or,
    Received,
    Saved,
    Sent,
    Size,
    TextHas,
    Thread,
    Uids,
)
from mailftp.store.engine import SMALL_BODY, LimitReached, NoSuchMailbox
from mailftp.store.queries import ListMailbox, ListPlaces, SearchMessages
from mailftp.store.records import Filing
from mailftp.store.searching import Search
from mailftp.store.units import Expunge

#: One message each: UIDs 1 to 6.
TEXTS = (
    b"From: Ann <ann@one.test>\r\nSubject: Plain words\r\nDate: Sat, 1 Jan 2000 23:30:00 -0500\r\n\r\n"
    b"A line of text.\r\nAnother one.\r\n",
    b"From: =?utf-8?q?J=C3=B6rg?= <j@two.test>\r\n"
    b"Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n =?utf-8?b?IGF1cw==?= Ulm\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Sch=F6ne Gr=FC=\r\n=DFe\r\n",
    b"From: c@three.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b64encode("<p>Voilà, ÉTÉ</p>".encode())
    + b"\r\n--b\r\nContent-Type: image/png; name=holiday.png\r\n\r\nhidden in a picture\r\n--b--\r\n",
    b"Subject: large\r\nX-Empty:\r\n\r\n"
    + b"filler line\r\n" * (SMALL_BODY // 10)
    + b"needle at the end\r\n",
    b"\r\nno header at all\r\n",
    b"Subject: in Japanese\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n"
    + "日本語のテキスト".encode("iso-2022-jp")
    + b"\r\n",
)


class Searching:
    async def fill(self):
        for number, text in enumerate(TEXTS):
            flags = frozenset(["\\Seen"] * (number % 2) + ["$Work"] * (number % 3 // 2))
            await self.accept(
                text, Filing(self.alice.id, "INBOX", flags, b"Return-Path: <r%d@x>\r\n" % number)
            )
            self.clock.advance(3600)
        self.listing = await self.store.read(ListMailbox(self.alice.id))

    async def found(self, criterion, **told):
        search = Search(criterion, self.listing)
        return list(await search.run(self.store, self.alice.id, self.listing.mailbox.id, **told))

    async def test_search_columns(self):
        """What a listing knows: flags without case, sizes, times, modseqs, UIDs; at once or on a thread."""
        await self.fill()
        sizes, times, modseqs = self.listing.sizes, self.listing.received, self.listing.modseqs
        for criterion, expected in (
            (All(), [1, 2, 3, 4, 5, 6]),
            (Not(All()), []),
            (HasFlag("\\seen"), [2, 4, 6]),
            (HasFlag("$WORK"), [3, 6]),
            (And((HasFlag("$work"), Not(HasFlag("\\Seen")))), [3]),
            (Or((HasFlag("$work"), HasFlag("\\Seen"))), [2, 3, 4, 6]),
            (Or(()), []),
            (And(()), [1, 2, 3, 4, 5, 6]),
            (Uids(((2, 3), (6, 99))), [2, 3, 6]),
            (Size(above=sizes[0]), [n + 1 for n in range(6) if sizes[n] > sizes[0]]),
            (Size(below=sizes[0]), [n + 1 for n in range(6) if sizes[n] < sizes[0]]),
            (Received(times[1], times[3]), [2, 3]),
            (Modseq(modseqs[4]), [5, 6]),
        ):
            self.assertEqual(await self.found(criterion), expected, criterion)
            self.patch(searching, "AT_ONCE", 0)
            self.assertEqual(await self.found(criterion), expected, criterion)
            self.patch(searching, "AT_ONCE", 1000)

    async def test_search_places(self):
        """By identifiers, and by the time of saving."""
        await self.fill()
        places = await self.store.read(ListPlaces(self.alice.id, self.listing.mailbox.id, range(1, 9)))
        for criterion, expected in (
            (Email(places.email_ids[2]), [3]),
            (Thread(places.thread_ids[3]), [4]),
            (Email(999), []),
            (Saved(places.saved[1], places.saved[3]), [2, 3]),
            (Not(Saved(before=places.saved[3])), [4, 5, 6]),
        ):
            self.assertEqual(await self.found(criterion), expected)

    async def test_search_headers(self):
        """Fields by their names, decoded and unfolded, without case; the prefix is header too; a Date counts
        as it is written."""
        await self.fill()
        day = 10957  # 1 January 2000.
        for criterion, expected in (
            (HeaderHas(b"subject", "PLAIN"), [1]),
            (HeaderHas(b"subject", "grüße aus ulm"), [2]),
            (HeaderHas(b"from", "JÖRG"), [2]),
            (HeaderHas(b"from", ""), [1, 2, 3]),
            (HeaderHas(b"x-empty", ""), [4]),
            (HeaderHas(b"x-empty", "x"), []),
            (HeaderHas(b"return-path", "R4@"), [5]),
            (HeaderHas(b"no such", ""), []),
            (Sent(day, day + 1), [1]),
            (Sent(before=day), []),
            (Not(Sent(since=day)), [2, 3, 4, 5, 6]),
        ):
            self.assertEqual(await self.found(criterion), expected, criterion)

    async def test_search_texts(self):
        """Words of any case in bodies, whatever their encoding and character set; TEXT also in headers, those
        of parts included; never in a picture."""
        await self.fill()
        for word, in_body, in_text in (
            ("LINE OF", [1], [1]),
            ("schöne grüße", [2], [2]),
            ("SCHO\u0308NE", [2], [2]),
            ("été", [3], [3]),
            ("NEEDLE", [4], [4]),
            ("header", [5], [5]),
            ("本語", [6], [6]),
            ("$B", [], []),
            ("plain", [], [1, 2, 6]),
            ("jörg", [], [2]),
            ("holiday", [], [3]),
            ("hidden", [], []),
            ("subject: plain", [], [1]),
            ("<r3@x>", [], [4]),
        ):
            self.assertEqual(await self.found(BodyHas(word)), in_body, word)
            self.assertEqual(await self.found(TextHas(word)), in_text, word)
        both = And((BodyHas("one"), TextHas("ANN"), TextHas("another"), HeaderHas(b"subject", "words")))
        self.assertEqual(await self.found(both), [1])
        self.assertEqual(await self.found(Or((BodyHas("needle"), Not(TextHas("subject"))))), [3, 4, 5])

    async def test_search_in_pieces(self):
        """A search of many messages reads a piece at a time, and tells how far it is."""
        await self.fill()
        self.patch(searching, "PIECE_MESSAGES", 2)
        self.patch(searching, "PIECE_HEADERS", 4)
        told = []
        criterion = Or((HeaderHas(b"subject", "large"), BodyHas("line")))
        found = await self.found(criterion, progress=lambda *step: told.append(step))
        self.assertEqual(found, [1, 4])
        self.assertEqual(told[:2], [(4, 6), (6, 6)])
        self.assertEqual(told[-1], (5, 5))

    async def test_search_what_is_gone(self):
        """A message that goes while it is looked for is passed over; a mailbox of another account is none."""
        await self.fill()
        search = Search(TextHas("a"), self.listing)
        await self.store.commit(Expunge(self.alice.id, self.listing.mailbox.id, (1, 2)))
        found = await search.run(self.store, self.alice.id, self.listing.mailbox.id)
        self.assertEqual(list(found), [3, 4, 5, 6])
        reading = self.store.read(SearchMessages(self.bob.id, self.listing.mailbox.id, (3,), (TextHas("a"),)))
        await self.assertFailure(reading, NoSuchMailbox)

    async def test_search_limits(self):
        """A search that would keep the server busy is refused."""
        await self.fill()
        many = And((HasFlag("x"),) * (searching.TESTS_LIMIT + 1))
        texts = And(tuple(TextHas(str(n)) for n in range(searching.TEXTS_LIMIT + 1)))
        deep = All()
        for _ in range(searching.DEPTH_LIMIT + 1):
            deep = Not(deep)
        for bomb in (many, texts, deep):
            with self.assertRaises(LimitReached):
                Search(bomb, self.listing)
        self.patch(searching, "BITS_LIMIT", 60 * len(TEXTS))
        different = [HasFlag(str(n)) for n in range(61)]
        Search(Or(tuple(different[:60])), self.listing)
        Search(Or(tuple(different[:60] * 2)), self.listing)
        with self.assertRaises(LimitReached):
            Search(Or(tuple(different)), self.listing)
