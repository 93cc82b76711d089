"""Messages with binary parts, made messages of lines."""

from __future__ import annotations

from base64 import b64decode
from email import message_from_bytes
from email.message import Message

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.binary import BinaryFault, as_lines
from mailftp.message.line_ends import crlf_only
from mailftp.message.part_encoding import PIECE

OCTETS = bytes(range(256)) * 3 + b"\r\r\n\n--"


def made(data: bytes) -> bytes:
    pieces = list(as_lines(data))
    for piece in pieces:
        assert crlf_only(piece), piece
    return b"".join(pieces)


def message(*parts: bytes, boundary: bytes = b"cut") -> bytes:
    lines = [b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + boundary]
    lines += [b"Content-Transfer-Encoding: binary\r\n\r\npreamble"]
    lines += [b"--" + boundary + b"\r\n" + part for part in parts]
    return b"\r\n".join([*lines, b"--" + boundary + b"--\r\nepilogue\r\n"])


def part(body: bytes, encoding: bytes = b"binary", kind: bytes = b"application/octet-stream") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


class BinaryTests(SynchronousTestCase):
    def parts(self, data: bytes) -> list[Message]:
        """As Python's own parser sees it, after what must hold of every one."""
        text = made(data)
        self.assertNotIn(b"\0", text)
        self.assertTrue(text.endswith(b"\r\n"))
        self.assertTrue(crlf_only(text))
        self.assertNotRegex(text.lower(), rb"encoding:\s*binary")
        found = message_from_bytes(text)
        return found.get_payload() if found.is_multipart() else [found]  # type: ignore[return-value]

    def test_binary_part(self) -> None:
        """Its octets are all there, in base64; its neighbours are as they were."""
        text = b"Content-Type: text/plain\r\n\r\nHello.\r\n"
        first, second = self.parts(message(text, part(OCTETS)))
        self.assertEqual(first.get_payload(), "Hello.\r\n")
        self.assertEqual(second.get_payload(decode=True), OCTETS)
        self.assertEqual(second["Content-Transfer-Encoding"], "base64")

    def test_text_said_to_be_binary(self) -> None:
        """Lines stay lines."""
        (only,) = self.parts(message(part(b"gr\xc3\xbcn\r\n.\r\n", kind=b"text/plain")))
        self.assertEqual(only["Content-Transfer-Encoding"], "8bit")
        self.assertEqual(only.get_payload(decode=True), b"gr\xc3\xbcn\r\n.\r\n")

    def test_part_that_lies(self) -> None:
        """A part that says it is 8bit, or nothing, and is not, becomes base64 too."""
        for one in (part(OCTETS, b"8BIT"), b"\r\n" + OCTETS, b"Content-Type: image/png\r\n\r\n" + OCTETS):
            self.assertEqual(self.parts(message(one))[0].get_payload(decode=True), OCTETS)

    def test_encoded_part(self) -> None:
        """What is encoded already keeps its encoding, with line ends as they have to be."""
        (only,) = self.parts(message(part(b"aGVs\nbG8=\n", b"base64")))
        self.assertEqual(b64decode(only.get_payload()), b"hello")

    def test_no_multipart(self) -> None:
        """A message that is one part, with MIME-Version or without."""
        for version in (b"", b"MIME-Version: 1.0\r\n"):
            (only,) = self.parts(version + b"Subject: x\r\n" + part(OCTETS))
            self.assertEqual(only.get_payload(decode=True), OCTETS)
            self.assertEqual((only["MIME-Version"], only["Subject"]), ("1.0", "x"))

    def test_nested(self) -> None:
        """Multiparts and messages in each other."""
        inner = b"Content-Type: message/rfc822\r\n\r\n" + message(part(OCTETS), boundary=b"inner")
        outer = self.parts(message(inner, part(b"\0")))
        letter = outer[0].get_payload()[0]  # type: ignore[index]
        self.assertEqual(letter.get_payload()[0].get_payload(decode=True), OCTETS)  # type: ignore[union-attr]
        self.assertEqual(outer[1].get_payload(decode=True), b"\0")

    def test_large_part(self) -> None:
        """One that is encoded in several pieces."""
        data = OCTETS * (2 * PIECE // len(OCTETS) + 1)
        self.assertEqual(self.parts(message(part(data)))[0].get_payload(decode=True), data)

    def test_cannot_be_made(self) -> None:
        """NUL between the parts, and anything but lines in a header."""
        for data in (
            message(part(b"x")).replace(b"preamble", b"pre\0amble"),
            message(part(b"x")).replace(b"preamble\r\n", b"preamble\r\n", 1).replace(b"epilogue", b"\0"),
            b"Subject: a\0b\r\n\r\nx\r\n",
            b"Subject: a\rb\r\n\r\nx\r\n",
            message(b"Content-Type: text/plain\r\nX: \0\r\n\r\nx"),
        ):
            self.assertRaises(BinaryFault, made, data)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"\r",
                    b"\n",
                    b"\0",
                    b"\r\n",
                    b"--cut",
                    b"--",
                    b"x",
                    b"Content-Type: text/plain",
                    b"Content-Transfer-Encoding: binary",
                    b"\r\n\r\n",
                    b"\xff",
                    b":",
                ]
            ),
            max_size=40,
        )
    )
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever comes is made lines of, or refused; and what is lines stays so."""
        data = message(b"".join(pieces))
        try:
            text = made(data)
        except BinaryFault:
            return
        self.assertTrue(crlf_only(text) and b"\0" not in text)
        self.assertEqual(made(text), text)
