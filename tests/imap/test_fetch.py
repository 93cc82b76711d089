"""FETCH beyond its transcripts: parts, large bodies, many messages, other sessions."""

from __future__ import annotations

import base64
import os
import re
import tracemalloc

from mailftp.imap.context import CONDSTORE, QRESYNC, UIDONLY
from mailftp.imap.fetch_items import MAX_ITEMS, MAX_NAMES
from mailftp.message.index import index_message
from mailftp.store.engine import SMALL_BODY, StoreFault, StoreFull
from mailftp.store.queries import MailboxSince
from mailftp.store.records import Filing
from mailftp.store.units import Accept, DeleteMailbox, Expunge, FlagChange, StoreFlags
from tests.imap.mailboxes import RECEIVED, IMAPTestCase
from tests.imap.test_sections import BODY as NESTED

BINARY = bytes(range(256)) * 3
ATTACHMENT = bytes(range(256)) * 4000
CODED = (
    b"Subject: coded\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"gr=C3=BC=C3=9Fe=\r\n!\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(BINARY).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: x-nobody\r\n\r\nodd\r\n--b--\r\n"
)
LARGE = (
    b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nsmall part\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(ATTACHMENT).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: x-nobody\r\n\r\nodd\r\n--b--\r\n"
)
TALL = b"Subject: tall\r\n" + b"X-Line: of a header\r\n" * 5000 + b"X-Last: yes\r\n\r\ntext\r\n"
PREFIX = b"Return-Path: <a@b.test>\r\n"


def literals(answer: bytes) -> dict[bytes, bytes]:
    """Name -> octets of what stands in literals."""
    found = {}
    at = 0
    while match := re.compile(
        rb"[ (]([A-Z0-9.]+\[[^]]*\](?:<[0-9]+>)?|RFC822[.A-Z]*) ~?\{([0-9]+)\}\r\n"
    ).search(answer, at):
        end = match.end() + int(match[2])
        found[match[1]] = answer[match.end() : end]
        at = end
    return found


class FetchTestCase(IMAPTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serial = 0

    def ask(self, client, command: str, ok: bytes = b"OK") -> bytes:
        """The untagged responses."""
        self.serial += 1
        tag = b"x%d" % self.serial
        answer = client.exchange(tag + b" " + command.encode() + b"\r\n")
        untagged, tagged, last = answer.rpartition(tag + b" ")
        self.assertTrue(tagged and last.startswith(ok), answer[-300:])
        return untagged

    def deliver(self, message: bytes, prefix: bytes = PREFIX) -> None:
        sink = self.store.stage()
        sink.write(message)
        body = self.successResultOf(sink.finish())
        filing = Filing(self.ids["bob"], prefix=prefix)
        self.successResultOf(self.store.commit(Accept(body, RECEIVED, (filing,))))

    @property
    def mailbox(self):
        return self.successResultOf(self.store.read(MailboxSince(self.ids["bob"]))).mailbox

    def expunge(self, *uids: int) -> None:
        self.successResultOf(self.store.commit(Expunge(self.ids["bob"], self.mailbox.id, uids)))


class PartTests(FetchTestCase):
    messages = ()

    def setUp(self) -> None:
        super().setUp()
        for message in (NESTED, CODED, LARGE, TALL):
            self.deliver(message)

    def test_whole(self):
        """A message is its own copy's prefix and the body, be it small or a file."""
        client = self.enter("INBOX")
        for number, message in enumerate((NESTED, CODED, LARGE, TALL), 1):
            answer = self.ask(client, f"FETCH {number} (RFC822.SIZE BODY.PEEK[] BODY.PEEK[]<5.50>)")
            self.assertIn(b"RFC822.SIZE %d" % len(PREFIX + message), answer)
            seen = PREFIX + message
            self.assertEqual(literals(answer), {b"BODY[]": seen, b"BODY[]<5>": seen[5:55]})
            self.assertTrue(answer.endswith(b")\r\n"))

    def test_sections(self):
        """Parts by number, of a small message and of a large one, and what parts there are not."""
        client = self.enter("INBOX")
        found = literals(self.ask(client, "FETCH 1 (BODY[1] BODY[2.MIME] BODY[3.HEADER] BODY[3.2] BODY[9])"))
        self.assertEqual(found[b"BODY[1]"], b"one")
        self.assertEqual(
            found[b"BODY[2.MIME]"], b"Content-Type: application/octet-stream\r\nX-Two: yes\r\n\r\n"
        )
        self.assertTrue(found[b"BODY[3.HEADER]"].startswith(b"Subject: inner\r\n"))
        self.assertEqual(found[b"BODY[3.2]"], b"4.2.2.2")
        answer = self.ask(client, "FETCH 3 (BODY[1] BODY[TEXT]<0.5> BODY[HEADER] BODY[1.MIME] BODY[8])")
        found = literals(answer)
        head = LARGE.index(b"--b\r\n")
        self.assertEqual(found[b"BODY[1]"], b"small part")
        self.assertEqual(found[b"BODY[TEXT]<0>"], b"--b\r\n")
        self.assertEqual(found[b"BODY[HEADER]"], PREFIX + LARGE[:head])
        self.assertEqual(found[b"BODY[1.MIME]"], b"Content-Type: text/plain\r\n\r\n")
        self.assertIn(b'BODY[8] ""', answer)

    def test_header(self):
        """Headers alone are read where nothing else is wanted; one longer than a small body, too."""
        client = self.enter("INBOX")
        for number, message in ((1, NESTED), (3, LARGE), (4, TALL)):
            head = PREFIX + message[: index_message(message).root.body]
            found = literals(self.ask(client, f"FETCH {number} BODY.PEEK[HEADER]"))
            self.assertEqual(found, {b"BODY[HEADER]": head})
            fields = "HEADER.FIELDS (Subject X-Last Return-Path)"
            found = literals(self.ask(client, f"FETCH {number} BODY.PEEK[{fields}]"))
            last = b"X-Last: yes\r\n" if message is TALL else b""
            subject = head[len(PREFIX) :].partition(b"\r\n")[0] + b"\r\n"
            if message is NESTED:
                self.assertEqual(subject, b"Subject: outer\r\n")
            (value,) = found.values()
            self.assertEqual(value, PREFIX + subject + last + b"\r\n")
        self.assertGreater(index_message(TALL).root.body, SMALL_BODY)

    def test_binary(self):
        """RFC 3516 section 4.2: decoded, a literal8 where there is a NUL; its size; a part of it."""
        client = self.enter("INBOX")
        for number, data in ((2, BINARY), (3, ATTACHMENT)):
            answer = self.ask(
                client, f"FETCH {number} (BINARY.SIZE[2] BINARY.PEEK[2]<250.10> BINARY.PEEK[2])"
            )
            self.assertIn(b"BINARY.SIZE[2] %d " % len(data), answer)
            self.assertEqual(literals(answer), {b"BINARY[2]<250>": data[250:260], b"BINARY[2]": data})
            self.assertIn(b"BINARY[2] ~{%d}" % len(data), answer)
            self.assertIn(b"BINARY[2]<250> ~{10}", answer)
        answer = self.ask(client, "FETCH 2 (BINARY[1] BINARY.SIZE[1] BINARY.PEEK[7] BINARY.PEEK[1]<900.1>)")
        self.assertEqual(literals(answer), {b"BINARY[1]": "gr\u00fc\u00dfe!".encode()})
        self.assertIn(b"BINARY.SIZE[1] 8 ", answer)
        self.assertIn(b'BINARY[7] "" BINARY[1]<900> "")', answer)
        self.assertIn(b"FLAGS (\\Seen)", answer)
        self.assertEqual(literals(self.ask(client, "FETCH 3 BINARY.PEEK[]")), {b"BINARY[]": PREFIX + LARGE})

    def test_unknown_encoding(self):
        """RFC 3516 section 4.3: NO, and what else was asked for is there."""
        client = self.enter("INBOX")
        for number in (2, 3):
            answer = client.exchange(b"z FETCH %d (UID BINARY.PEEK[3] BODY.PEEK[3])\r\n" % number)
            self.assertEqual(literals(answer), {b"BODY[3]": b"odd"})
            self.assertIn(b"FETCH (UID %d BODY[3]" % number, answer)
            self.assertIn(b"z NO [UNKNOWN-CTE] ", answer)
            answer = client.exchange(b"z FETCH %d BINARY.SIZE[3]\r\n" % number)
            self.assertTrue(answer.startswith(b"z NO [UNKNOWN-CTE] "), answer)

    def test_preview(self):
        """RFC 8970, of a text in quoted-printable and of one in a file; a string in UTF-8 is a literal."""
        client = self.enter("INBOX")
        answer = self.ask(client, "FETCH 1:4 (PREVIEW)")
        self.assertIn(b'1 FETCH (PREVIEW "one")', answer)
        self.assertIn("PREVIEW {8}\r\ngr\u00fc\u00dfe!)".encode(), answer)
        self.assertIn(b'3 FETCH (PREVIEW "small part")', answer)
        self.assertIn(b'4 FETCH (PREVIEW "text")', answer)

    def test_old_index(self):
        """Parts are found also where the index that is kept is of another version."""
        rows = self.store._state.bodies.values()
        for body in rows:
            index = body.index
            body.index = _Old(index)
        client = self.enter("INBOX")
        self.assertEqual(literals(self.ask(client, "FETCH 2 BINARY.PEEK[2]")), {b"BINARY[2]": BINARY})

    def test_many_items(self):
        """Many items of one message are sent one after the other, each once."""
        client = self.enter("INBOX")
        items = [f"BODY.PEEK[]<{start}.1000>" for start in range(MAX_ITEMS - 1)]
        found = literals(self.ask(client, f"FETCH 2 ({' '.join(items + items)})"))
        seen = PREFIX + CODED
        self.assertEqual(
            found, {b"BODY[]<%d>" % n: seen[n : n + 1000] for n in range(MAX_ITEMS - 1) if n < len(seen)}
        )
        items += ["UID", "FLAGS", "RFC822.SIZE"]
        self.ask(client, f"FETCH 2 ({' '.join(items)})", b"BAD more than")
        names = " ".join(f"X-{n}" for n in range(MAX_NAMES + 1))
        self.ask(client, f"FETCH 2 BODY[HEADER.FIELDS ({names})]", b"BAD more than")

    def test_slow(self):
        """A client that does not read is waited for: little of a body is held, none is lost."""
        client = self.enter("INBOX")
        client.reading = False
        client.send(b"a FETCH 3 (BODY.PEEK[] BINARY.PEEK[2])\r\n")
        self.assertLess(client.transport.unsent, len(LARGE))
        client.reading = True
        found = literals(client.received())
        self.assertEqual(found, {b"BODY[]": PREFIX + LARGE, b"BINARY[2]": ATTACHMENT})

    def test_lost(self):
        """A client that goes in the middle of a large body leaves no file open."""
        before = os.listdir("/proc/self/fd")
        for item in ("BODY[]", "BINARY[2]"):
            client = self.enter("INBOX")
            client.reading = False
            client.send(f"a FETCH 3 {item}\r\n".encode())
            self.assertEqual(len(os.listdir("/proc/self/fd")), len(before) + 1)
            client.drop()
            self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))


class _Old:
    """An index whose stored form is of a version that is no more."""

    def __init__(self, index):
        self._index = index

    def encode(self):
        return b"\0\0" + self._index.encode()[2:]

    def __getattr__(self, name):
        return getattr(self._index, name)


class SessionTests(FetchTestCase):
    def test_many(self):
        """More messages than go into one piece, with what is in memory, what is kept ready, and octets."""
        self.put(b"Subject: x\r\n\r\n" + b"y" * 60_000)
        for number in range(9000):
            self.put(b"Subject: %d\r\n\r\n" % (number % 10))
        client = self.enter("INBOX")
        count = 9004
        self.assertEqual(
            self.ask(client, "FETCH 1:* (UID)"),
            b"".join(b"* %d FETCH (UID %d)\r\n" % (n, n) for n in range(1, count + 1)),
        )
        for items in ("ENVELOPE", "BODY.PEEK[HEADER.FIELDS (Subject)]", "BODY.PEEK[]", "THREADID PREVIEW"):
            answer = self.ask(client, f"UID FETCH 1:* ({items})")
            numbers = [int(n) for n in re.findall(rb"^\* ([0-9]+) FETCH \(UID ", answer, re.M)]
            self.assertEqual(numbers, list(range(1, count + 1)), items)
        answer = self.ask(client, "FETCH 9004,2:3,9000:9001,1 (UID ENVELOPE)")
        self.assertEqual(re.findall(rb"UID ([0-9]+)", answer), [b"1", b"2", b"3", b"9000", b"9001", b"9004"])

    def test_unread(self):
        """A client that asks for all and reads nothing makes us hold a few pieces, and gets all at last."""
        for number in range(2000):
            self.put(b"Subject: %d\r\n\r\n" % number + b"x" * 4000)
        for items, least in (
            ("BODY.PEEK[]", 8_000_000),
            ("ENVELOPE", 100_000),
            ("BODY.PEEK[HEADER]", 50_000),
        ):
            client = self.enter("INBOX")
            client.reading = False
            tracemalloc.start()
            client.send(b"a FETCH 1:* (%b %b)\r\n" % (items.encode(), b"UID FLAGS INTERNALDATE"))
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            self.assertLess(held, 3_000_000, items)
            client.reading = True
            answer = client.received()
            self.assertGreater(len(answer), least)
            self.assertEqual(answer.count(b" INTERNALDATE "), 2003)
            self.assertTrue(answer.endswith(b"a OK done\r\n"))

    def test_expunged(self):
        """RFC 9051 section 7.1: what another session has expunged keeps its number and is passed over, and
        the client is told that something is missing. The expunge is told when it may be."""
        client = self.enter("INBOX")
        self.expunge(2)
        for items in ("FLAGS", "ENVELOPE", "BODY.PEEK[]", "SAVEDATE"):
            answer = client.exchange(b"a FETCH 1:3 (%b)\r\n" % items.encode())
            self.assertEqual(re.findall(rb"\* ([0-9]+) FETCH", answer), [b"1", b"3"], items)
            self.assertIn(b"a OK [EXPUNGEISSUED] ", answer)
            self.assertNotIn(b" EXPUNGE\r\n", answer)
        answer = client.exchange(b"a FETCH 2 FLAGS\r\n")
        self.assertTrue(answer.startswith(b"a OK [EXPUNGEISSUED]"), answer)
        # UID FETCH may tell it.
        answer = client.exchange(b"a UID FETCH 1:3 FLAGS\r\n")
        self.assertTrue(
            answer.startswith(b"* 1 FETCH (UID 1 FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS ())\r\n* 2 EXPUNGE")
        )
        answer = client.exchange(b"a FETCH 1:* (UID)\r\n")
        self.assertEqual(answer, b"* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 3)\r\na OK done\r\n")

    def test_expunged_while_reading(self):
        """Gone after the store was asked and before the line is made."""
        client = self.enter("INBOX")
        read = self.store.read

        def late(query):
            answer = read(query)
            if type(query).__name__ == "ReadReady":
                self.store.read = read
                self.expunge(3)
            return answer

        self.store.read = late
        answer = client.exchange(b"a FETCH 1:3 (UID ENVELOPE)\r\n")
        self.assertEqual(re.findall(rb"UID ([0-9]+)", answer), [b"1", b"2"])
        self.assertIn(b"a OK [EXPUNGEISSUED]", answer)

    def test_read_only(self):
        """EXAMINE: nothing is seen."""
        client = self.enter()
        self.ask(client, "EXAMINE INBOX")
        self.assertNotIn(b"FLAGS", self.ask(client, "FETCH 1:* BODY[]"))
        self.assertEqual([row.flags for row in self.rows()], [frozenset()] * 3)

    def test_seen_at_once(self):
        """One unit for the messages of a piece, told in their lines; another session is told of it too."""
        client, other = self.enter("INBOX"), self.enter("INBOX")
        self.successResultOf(
            self.store.commit(
                StoreFlags(self.ids["bob"], self.mailbox.id, (2,), FlagChange.ADD, frozenset({"\\Seen", "x"}))
            )
        )
        other.exchange(b"n NOOP\r\n")
        client.exchange(b"n NOOP\r\n")
        answer = self.ask(client, "FETCH 1:* (BODY[TEXT])")
        self.assertIn(b"* 1 FETCH (FLAGS (\\Seen) BODY[TEXT]", answer)
        self.assertIn(b"* 2 FETCH (FLAGS (\\Seen x) BODY[TEXT]", answer)
        self.assertEqual({"\\Seen" in row.flags for row in self.rows()}, {True})
        self.assertEqual(self.ask(client, "NOOP"), b"")
        self.assertEqual(
            self.ask(other, "NOOP"), b"* 1 FETCH (FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS (\\Seen))\r\n"
        )

    def test_full_disk(self):
        """Mail can be read when nothing can be written."""
        client = self.enter("INBOX")

        def commit(unit):
            raise StoreFull("the disk is full")

        self.store.commit, commit_as_before = commit, self.store.commit
        self.assertEqual(literals(self.ask(client, "FETCH 2 BODY[TEXT]")), {b"BODY[TEXT]": b"second\r\n"})
        self.store.commit = commit_as_before

    def test_fault(self):
        """A store that fails is a NO, and the next command is answered."""
        client = self.enter("INBOX")
        read = self.store.read

        def failing(query):
            self.store.read = read
            raise StoreFault("the database failed: disk I/O error")

        self.store.read = failing
        self.ask(client, "FETCH 1 ENVELOPE", b"NO [")
        self.flushLoggedErrors()
        self.ask(client, "FETCH 1 ENVELOPE")

    def test_changed_since(self):
        """RFC 7162 section 3.1.4.1, with PARTIAL after it (RFC 9394 section 3.4)."""
        client = self.enter("INBOX")
        before = self.mailbox.modseq
        self.successResultOf(
            self.store.commit(
                StoreFlags(self.ids["bob"], self.mailbox.id, (1, 3), FlagChange.ADD, frozenset({"x"}))
            )
        )
        self.ask(client, "NOOP")
        answer = self.ask(client, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before})")
        form = b"* %d FETCH (UID %d FLAGS (x) MODSEQ (%d))\r\n"
        now = self.mailbox.modseq
        told = b"* OK [HIGHESTMODSEQ %d] modseqs are told\r\n" % now
        self.assertEqual(answer, told + form % (1, 1, now) + form % (3, 3, now))
        answer = self.ask(client, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before} PARTIAL -1:-1)")
        self.assertEqual(answer, form % (3, 3, now))
        self.assertIn(CONDSTORE, client.protocol._shared.enabled)

    def test_vanished(self):
        """RFC 7162 section 3.2.6: UIDs that were expunged since, of those asked for, before what changed."""
        client = self.enter()
        client.protocol._shared.enabled |= {CONDSTORE, QRESYNC}
        for number in range(5):
            self.put(b"Subject: %d\r\n\r\n" % number)
        before = self.mailbox.modseq
        self.expunge(2, 3, 6)
        self.ask(client, "SELECT INBOX")
        answer = self.ask(client, f"UID FETCH 3:9 (FLAGS) (CHANGEDSINCE {before} VANISHED)")
        self.assertEqual(answer, b"* VANISHED (EARLIER) 3,6\r\n")
        # What the client still counts is told later, and once.
        self.expunge(7)
        answer = self.ask(client, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before} VANISHED)")
        self.assertEqual(answer, b"* VANISHED (EARLIER) 2:3,6\r\n* VANISHED 7\r\n")

    def test_uidonly(self):
        """RFC 9586 section 3.3: UIDFETCH, and sequence numbers are refused."""
        client = self.enter()
        client.protocol._shared.enabled.add(UIDONLY)
        self.expunge(1)
        self.ask(client, "SELECT INBOX")
        self.ask(client, "FETCH 1 FLAGS", b"BAD [UIDREQUIRED]")
        self.assertEqual(
            self.ask(client, "UID FETCH 1:* FLAGS"), b"* 2 UIDFETCH (FLAGS ())\r\n* 3 UIDFETCH (FLAGS ())\r\n"
        )
        self.assertEqual(self.ask(client, "UID FETCH 3 (UID)"), b"* 3 UIDFETCH (UID 3)\r\n")
        answer = self.ask(client, "UID FETCH 2 BODY[TEXT]")
        self.assertEqual(answer, b"* 2 UIDFETCH (FLAGS (\\Seen) BODY[TEXT] {8}\r\nsecond\r\n)\r\n")

    def test_saved(self):
        """RFC 5182: `$`, of which some are gone."""
        client = self.enter("INBOX")
        client.protocol._shared.saved = [1, 3, 77]
        self.assertEqual(self.ask(client, "FETCH $ UID"), b"* 1 FETCH (UID 1)\r\n* 3 FETCH (UID 3)\r\n")
        client.protocol._shared.saved = []
        self.assertEqual(self.ask(client, "UID FETCH $ UID"), b"")

    def test_save_date(self):
        """RFC 8514: when it came into this mailbox."""
        self.clock.advance(1_000_000_000)
        self.put(b"Subject: later\r\n\r\n")
        client = self.enter("INBOX")
        self.assertIn(b"FETCH (SAVEDATE NIL)", self.ask(client, "FETCH 1 SAVEDATE"))
        self.assertIn(b'(SAVEDATE " 9-Sep-2001 01:46:40 +0000")', self.ask(client, "FETCH 4 SAVEDATE"))

    def test_gone(self):
        """A mailbox that was deleted under the session."""
        self.put(b"Subject: x\r\n\r\n", mailbox="Work")
        client = self.enter("Work")
        self.successResultOf(self.store.commit(DeleteMailbox(self.ids["bob"], "Work")))
        answer = client.exchange(b"a FETCH 1 ENVELOPE\r\n")
        self.assertNotIn(b"FETCH", answer)
        self.assertTrue(client.closed)
