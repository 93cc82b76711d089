"""COMPRESS=DEFLATE's two streams: RFC 4978."""

from __future__ import annotations

import tracemalloc
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.compress import CompressionFault, Deflater, Inflater


def taken(inflater: Inflater, most: int = 1000) -> bytes:
    out = []
    while piece := inflater.take(most):
        assert len(piece) <= most
        out.append(piece)
    return b"".join(out)


def client() -> zlib._Compress:
    """As clients do it: the largest window, no header."""
    return zlib.compressobj(9, zlib.DEFLATED, -15, 9)


class DeflaterTests(SynchronousTestCase):
    def test_each_reply_can_be_read_at_once(self) -> None:
        """Nothing of a reply waits for the next."""
        deflater, theirs = Deflater(), zlib.decompressobj(-15)
        for number in range(200):
            reply = b"* %d FETCH (FLAGS (\\Seen))\r\n" % number * (number % 7)
            self.assertEqual(theirs.decompress(deflater.compress(reply)), reply)

    def test_rest(self) -> None:
        """Memory that is given back between two replies: the client sees one stream. Nothing is given back of
        one that was used since the last time."""
        deflater, theirs = Deflater(), zlib.decompressobj(-15)
        reply = b"* 1 FETCH (FLAGS (\\Seen))\r\n" * 100
        deflater.compress(b"")
        self.assertIsNone(deflater._deflate)
        self.assertEqual(theirs.decompress(deflater.compress(reply)), reply)
        for rests, given_back in ((0, False), (1, False), (2, True), (1, False), (3, True), (0, False)):
            for _ in range(rests):
                deflater.rest()
            self.assertEqual(deflater._deflate is None, given_back)
            self.assertEqual(theirs.decompress(deflater.compress(reply)), reply)
            self.assertFalse(theirs.eof)

    def test_nothing(self) -> None:
        """No reply is no octet: a flush of nothing would still be sent."""
        self.assertEqual(Deflater().compress(b""), b"")

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=2000), max_size=10))
    def test_any_octets(self, replies: list[bytes]) -> None:
        """What goes in comes out."""
        deflater, theirs = Deflater(), zlib.decompressobj(-15)
        for reply in replies:
            self.assertEqual(theirs.decompress(deflater.compress(reply)), reply)


class InflaterTests(SynchronousTestCase):
    COMMANDS = b"a NOOP\r\n" * 40 + bytes(range(256)) + b"b LOGOUT\r\n"

    def test_cut_at_every_byte(self) -> None:
        """However the stream arrives, the commands are the same."""
        stream = client()
        sent = stream.compress(self.COMMANDS) + stream.flush(zlib.Z_SYNC_FLUSH)
        for cut in range(len(sent) + 1):
            inflater = Inflater()
            inflater.feed(sent[:cut])
            first = taken(inflater)
            inflater.feed(sent[cut:])
            self.assertEqual(first + taken(inflater, 7), self.COMMANDS)
            self.assertEqual(inflater.waiting, 0)

    def test_partial_flush(self) -> None:
        """Some clients flush so, with no empty block at the end: the command is there all the same."""
        stream = client()
        inflater = Inflater()
        for command in (b"a NOOP\r\n", b"b IDLE\r\n", b"DONE\r\n"):
            inflater.feed(stream.compress(command) + stream.flush(zlib.Z_PARTIAL_FLUSH))
            self.assertEqual(taken(inflater), command)

    @settings(deadline=None)
    @given(st.binary(max_size=3000), st.integers(1, 50), st.integers(1, 300))
    def test_any_octets(self, commands: bytes, size: int, most: int) -> None:
        """In pieces of any size, taken with any room."""
        stream = client()
        sent = stream.compress(commands) + stream.flush(zlib.Z_SYNC_FLUSH)
        inflater = Inflater()
        out = b""
        for at in range(0, len(sent), size):
            inflater.feed(sent[at : at + size])
            out += taken(inflater, most)
        self.assertEqual(out, commands)

    def test_bomb(self) -> None:
        """64 KiB that would be 60 MiB cost what is taken of them, and no more."""
        stream = client()
        bomb = stream.compress(bytes(60 << 20)) + stream.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(bomb), 64 * 1024)
        inflater = Inflater()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        inflater.feed(bomb)
        for _ in range(20):
            self.assertEqual(len(inflater.take(16 * 1024)), 16 * 1024)
        self.assertLess(tracemalloc.get_traced_memory()[1], 512 * 1024)
        self.assertGreater(inflater.waiting, 0)

    def test_garbage(self) -> None:
        """Octets that are no stream are refused, and stay refused."""
        inflater = Inflater()
        inflater.feed(b"a1 NOOP\r\n" + b"\xff" * 20)
        self.assertRaises(CompressionFault, taken, inflater)
        self.assertRaises(CompressionFault, taken, inflater)

    def test_end_of_stream(self) -> None:
        """A client may end its stream, but not go on after it, be it in the same packet or later."""
        stream = client()
        sent = stream.compress(b"a LOGOUT\r\n") + stream.flush()
        inflater = Inflater()
        inflater.feed(sent)
        self.assertEqual(taken(inflater), b"a LOGOUT\r\n")
        inflater.feed(b"b NOOP\r\n")
        self.assertRaises(CompressionFault, inflater.take, 1000)
        joined = Inflater()
        joined.feed(sent + b"b NOOP\r\n")
        self.assertEqual(joined.take(1000), b"a LOGOUT\r\n")
        self.assertRaises(CompressionFault, joined.take, 1000)

    def test_no_room(self) -> None:
        """0 is no limit for zlib; it must not be one for us."""
        self.assertRaises(ValueError, Inflater().take, 0)
