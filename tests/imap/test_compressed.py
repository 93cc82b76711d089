"""COMPRESS=DEFLATE on a connection: RFC 4978."""

from __future__ import annotations

import tracemalloc
import zlib

from mailftp.wire.connection import READ_MUCH
from tests.connector import advance
from tests.imap.mailboxes import IMAPTestCase
from tests.imap.test_fetch import LARGE, literals


class Compressed:
    """A client's end of a connection that has said COMPRESS."""

    def __init__(self, client) -> None:
        self.client = client
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
        self._inflate = zlib.decompressobj(-15)

    def encode(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def received(self) -> bytes:
        return self._inflate.decompress(self.client.received())

    def exchange(self, data: bytes, piece: int = 1 << 20) -> bytes:
        sent = self.encode(data)
        got = b""
        for start in range(0, len(sent), piece):
            self.client.send(sent[start : start + piece])
            got += self.received()
        return got


class CompressTests(IMAPTestCase):
    def begin(self, mailbox: str = "INBOX", client=None) -> Compressed:
        client = client or self.enter(mailbox)
        answer = client.exchange(b"z COMPRESS DEFLATE\r\n")
        self.assertEqual(answer, b"z OK compressed from here\r\n")
        return Compressed(client)

    def test_conversation(self):
        """Commands and replies, cut anywhere; news that nobody asked for too."""
        for piece in (1, 7, 1000):
            session = self.begin()
            self.assertEqual(
                session.exchange(b"a FETCH 2 (UID BODY.PEEK[TEXT])\r\nb NOOP\r\n", piece),
                b"* 2 FETCH (UID 2 BODY[TEXT] {8}\r\nsecond\r\n)\r\na OK done\r\nb OK done\r\n",
            )
            self.assertTrue(session.exchange(b"c IDLE\r\n").startswith(b"+ "))
            count = len(self.rows())
            self.put(b"Subject: new\r\n\r\n")
            self.assertEqual(session.received(), b"* %d EXISTS\r\n" % (count + 1))
            self.assertIn(b"c OK", session.exchange(b"DONE\r\n"))
            self.assertIn(b"* BYE", session.exchange(b"d LOGOUT\r\n"))
            self.assertTrue(session.client.closed)

    def test_quiet(self):
        """Memory is given back while nothing is said, and the conversation goes on."""
        session = self.begin()
        session.exchange(b"i IDLE\r\n")
        deflater = session.client.protocol._deflater
        self.assertIsNotNone(deflater._deflate)
        for _ in range(30):
            advance(self.factory, 1)
        self.assertIsNone(deflater._deflate)
        self.put(b"Subject: new\r\n\r\n")
        self.assertEqual(session.received(), b"* 4 EXISTS\r\n")
        self.assertEqual(session.exchange(b"DONE\r\n"), b"i OK done\r\n")

    def test_large(self):
        """A body that is a file, both ways; it costs less than it is."""
        session = self.begin()
        answer = session.exchange(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(LARGE), LARGE), 1000)
        self.assertIn(b"a OK [APPENDUID", answer)
        sent = session.encode(b"b FETCH 4 BODY.PEEK[]\r\n")
        session.client.send(sent)
        raw = session.client.received()
        self.assertLess(len(raw), len(LARGE) // 2)
        self.assertEqual(literals(session._inflate.decompress(raw)), {b"BODY[]": LARGE})

    def test_refused(self):
        """Not before login, not twice, and by no other mechanism."""
        client = self.connect()
        self.assertIn(b"a BAD log in first", client.exchange(b"a COMPRESS DEFLATE\r\n"))
        session = self.begin()
        self.assertEqual(
            session.exchange(b"a COMPRESS DEFLATE\r\nb COMPRESS\r\n"),
            b"a NO [COMPRESSIONACTIVE] it is compressed already\r\nb BAD a space is expected at octet 11\r\n",
        )
        client = self.enter()
        self.assertTrue(client.exchange(b"a COMPRESS LZMA\r\n").startswith(b"a NO "))

    def test_too_early(self):
        """What came behind the command was not compressed, or is not known to be: the connection ends."""
        client = self.enter()
        answer = client.exchange(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
        self.assertIn(b"* BYE something came between", answer)
        self.assertTrue(client.closed)

    def test_no_stream(self):
        """Octets that are no deflate stream: BYE, compressed."""
        session = self.begin()
        session.client.send(b"a NOOP\r\n" * 10)
        self.assertIn(b"* BYE no deflate stream", session.received())
        self.assertTrue(session.client.closed)

    def test_half_closed(self):
        """What was sent before the client said that it sends no more is answered."""
        session = self.begin()
        commands = b"".join(b"%d NOOP\r\n" % number for number in range(6_000))
        session.client.send(session.encode(commands))
        session.client.end()
        self.assertEqual(session.received().count(b" OK done\r\n"), 6_000)
        self.assertTrue(session.client.closed)

    def test_bomb(self):
        """A thousandfold of commands in a few octets: what is held of them is one piece."""
        session = self.begin()
        session.client.reading = False
        bomb = session.encode(b"a NOOP\r\n" * 10_000)
        self.assertLess(len(bomb), 1000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        session.client.send(bomb)
        held = tracemalloc.get_traced_memory()[0] - before
        self.assertLess(held, 8 * READ_MUCH)
        self.assertLess(tracemalloc.get_traced_memory()[1] - before, 32 * READ_MUCH)
        self.assertLessEqual(len(session.client.protocol.session.scanner), READ_MUCH)
        session.client.drop()

    def test_message_bomb(self):
        """A message of 20 MB in 20 KB is staged piece by piece."""
        session = self.begin()
        size = 20_000_000
        stage = self.store.stage
        largest = []

        def staged():
            sink = stage()
            sink.write = lambda data: largest.append(len(data))
            return sink

        self.store.stage = staged
        session.client.send(session.encode(b"a APPEND INBOX {%d+}\r\n" % size + b"x" * size + b"\r\n"))
        self.assertEqual(sum(largest), size)
        self.assertLessEqual(max(largest), READ_MUCH)

    def test_over_tls(self):
        """Within TLS, as clients use it."""
        client = self.connect(self.make_factory(tls=True))
        self.assertIn(b"STARTTLS", client.received())
        self.assertIn(b"a OK", client.exchange(b"a STARTTLS\r\n"))
        client.start_tls()
        self.assertIn(b"b OK", client.exchange(b"b LOGIN bob hungry\r\n"))
        session = self.begin(client=client)
        self.assertIn(b"* 3 EXISTS", session.exchange(b"c EXAMINE INBOX\r\n"))

    def test_lost(self):
        """A connection that is lost with something still to inflate."""
        session = self.begin()
        session.client.reading = False
        session.client.send(session.encode(b"a NOOP\r\n" * 10_000))
        session.client.drop()
        session.client.clock.advance(1)
        self.assertEqual(self.flushLoggedErrors(), [])
