"""Messages of 8-bit text, made messages of 7 bits."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.seven_bit import as_seven_bit

GERMAN = "Grüße aus Köln,\r\n.\r\nFrom here = to there \t\r\n".encode()
RUSSIAN = "Привет, как дела?\r\n".encode() * 40


def message(*parts: bytes, encoding: bytes = b"8bit") -> bytes:
    lines = [b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=cut"]
    lines += [b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\npreamble \xfc"]
    lines += [b"--cut\r\n" + part for part in parts]
    return b"\r\n".join([*lines, b"--cut--\r\nepilogue\r\n"])


def part(body: bytes, kind: bytes = b"text/plain; charset=utf-8", encoding: bytes = b"8bit") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


class SevenBitTests(SynchronousTestCase):
    def seen(self, data: bytes) -> Message:
        """By Python's own parser, after what must hold of every one."""
        made = as_seven_bit(data)
        header, _, body = made.partition(b"\r\n\r\n")
        self.assertTrue(body.isascii(), body)
        self.assertLessEqual(max(map(len, body.split(b"\r\n"))), 998)
        self.assertNotIn(b"\n", body.replace(b"\r\n", b""))
        return message_from_bytes(made)

    def test_text(self) -> None:
        """Mostly ASCII text becomes quoted-printable and decodes to what it was, line ends and all."""
        found = self.seen(b"MIME-Version: 1.0\r\nSubject: x\r\n" + part(GERMAN))
        self.assertEqual(found["Content-Transfer-Encoding"], "quoted-printable")
        self.assertEqual(found.get_payload(decode=True), GERMAN)
        self.assertEqual(found["Subject"], "x")

    def test_other_script(self) -> None:
        """Text of another script becomes base64."""
        found = self.seen(b"MIME-Version: 1.0\r\n" + part(RUSSIAN))
        self.assertEqual(found["Content-Transfer-Encoding"], "base64")
        self.assertEqual(found.get_payload(decode=True), RUSSIAN)

    def test_no_mime(self) -> None:
        """A message without MIME fields gets them, or the encoding would mean nothing."""
        found = self.seen(b"Subject: x\r\n\r\n" + GERMAN)
        self.assertEqual(found["MIME-Version"], "1.0")
        self.assertEqual(found.get_payload(decode=True), GERMAN)

    def test_parts(self) -> None:
        """Each part by itself; what is ASCII stays octet for octet; what holds parts says 7bit."""
        plain, octets = part(b"plain ascii\r\n", encoding=b"7bit"), bytes(range(128, 256)) * 20
        inner = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + part(GERMAN)
        data = message(plain, part(GERMAN), part(octets, b"image/x"), inner)
        found = self.seen(data)
        self.assertEqual(found["Content-Transfer-Encoding"], "7bit")
        first, second, third, fourth = found.get_payload()
        self.assertIn(plain, as_seven_bit(data))
        self.assertEqual(second.get_payload(decode=True), GERMAN)
        self.assertEqual(third.get_payload(decode=True), octets)
        self.assertEqual(fourth.get_payload(0)["Subject"], "inner")
        self.assertEqual(fourth.get_payload(0).get_payload(decode=True).rstrip(), GERMAN.rstrip())

    def test_ascii(self) -> None:
        """What is ASCII is not touched."""
        data = message(part(b"hello\r\n")).replace(b"\xfc", b"u")
        self.assertIs(as_seven_bit(data), data)

    def test_encoded_with_strays(self) -> None:
        """A part that is encoded already keeps its encoding, and loses octets that no encoding makes."""
        found = self.seen(b"MIME-Version: 1.0\r\n" + part(b"aGVs\xfcbG8=\r\n", encoding=b"base64"))
        self.assertEqual(found.get_payload(decode=True), b"hello")

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
    def test_anything(self, bodies: list[bytes]) -> None:
        """Whatever the parts hold, all below the header is ASCII; a boundary in one begins another header."""
        assume(not any(b"--cut" in body for body in bodies))
        made = as_seven_bit(message(*(part(body) for body in bodies)))
        self.assertTrue(made.partition(b"\r\n\r\n")[2].isascii())
