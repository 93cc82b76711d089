"""Content-Transfer-Encodings undone."""

from __future__ import annotations

import base64
import quopri

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.transfer_encoding import decode, decoder


def in_pieces(data: bytes, encoding: str, size: int) -> bytes:
    work = decoder(encoding)
    pieces = [work.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join([*pieces, work.finish()])


class TransferEncodingTests(SynchronousTestCase):
    def test_identity(self):
        """RFC 2045 section 6.2: three that change nothing; what nobody knows cannot be decoded."""
        for encoding in ("7bit", "8bit", "binary"):
            self.assertEqual(decode(b"a=\r\n\0", encoding), b"a=\r\n\0")
        self.assertIsNone(decode(b"x", "x-uuencode"))
        self.assertIsNone(decoder(""))

    def test_base64(self):
        """Line ends and odd characters are nothing, padding ends it, and a cut end gives what it holds."""
        for text, expected in (
            (b"aGVs\r\nbG8=\r\n", b"hello"),
            (b"aG-Vs!b G8", b"hello"),
            (b"aGVsbG8=\r\n--\r\nlist footer", b"hello"),
            (b"aGVsb", b"hel"),
            (b"aGVsbG", b"hell"),
            (b"", b""),
            (b"=", b""),
        ):
            for size in (1, 3, 100):
                self.assertEqual(in_pieces(text, "base64", size), expected, (text, size))

    def test_quoted_printable(self):
        """Escapes, soft line ends, and space that was added at the ends of lines; what is no escape stays."""
        for text, expected in (
            (b"a=3Db=\r\nc \t\r\nd\r\n", b"a=bc\r\nd\r\n"),
            (b"=e4=F6", b"\xe4\xf6"),
            (b"50=% =\r\n", b"50=% "),
            (b"end =", b"end "),
        ):
            for size in (1, 2, 100):
                self.assertEqual(in_pieces(text, "quoted-printable", size), expected, (text, size))

    def test_long_line(self):
        """A line of megabytes is decoded as it comes and not held; an escape in it may be cut anywhere."""
        text = b"x=41" * 100_000 + b" " * 50_000
        for size in (4093, 8191, 65536):
            self.assertEqual(in_pieces(text, "quoted-printable", size), b"xA" * 100_000 + b" " * 50_000)
        work = decoder("quoted-printable")
        for _ in range(100):
            work.feed(b"y" * 10_000)
            self.assertLess(len(work._left), 20_000)

    @given(st.binary(max_size=300), st.integers(1, 9))
    def test_round_trips(self, data, size):
        """What the standard library encodes."""
        self.assertEqual(in_pieces(base64.encodebytes(data), "base64", size), data)
        encoded = quopri.encodestring(data, quotetabs=True)
        self.assertEqual(in_pieces(encoded, "quoted-printable", size), data)

    @given(st.binary(max_size=300), st.integers(1, 9))
    def test_anything(self, data, size):
        """Nothing raises, and where it is cut does not matter."""
        for encoding in ("base64", "quoted-printable"):
            self.assertEqual(in_pieces(data, encoding, size), in_pieces(data, encoding, 1000))
