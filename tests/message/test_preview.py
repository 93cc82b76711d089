"""The first words of messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.index import index_message
from mailftp.message.preview import CHARACTERS, looked_at, preview_of, preview_part
from tests.message.test_dovecot import samples


def preview(data: bytes) -> str | None:
    part = preview_part(index_message(data).root)
    if part is None:
        return None
    start, end = looked_at(part)
    return preview_of(part, data[start:end])


def message(kind: str, body: bytes, encoding: str = "8bit") -> bytes:
    head = f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


ALTERNATIVE = (
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\n'
    b'Content-Type: multipart/alternative; boundary="a"\r\n\r\n'
    b"--a\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n"
    b"--a\r\nContent-Type: text/plain\r\n\r\n%b\r\n--a--\r\n"
    b"--m\r\nContent-Type: text/plain\r\n\r\nattached\r\n--m--\r\n"
)


class PreviewTests(SynchronousTestCase):
    def test_plain(self):
        """One line of the text, in its charset and without its encoding."""
        self.assertEqual(preview(b"Subject: x\r\n\r\nHello,\r\n\r\n  you.\r\n"), "Hello, you.")
        self.assertEqual(
            preview(message("text/plain; charset=iso-8859-1", b"gr=FC=DFe=\r\n!", "quoted-printable")),
            "gr\u00fc\u00dfe!",
        )
        self.assertEqual(
            preview(message("text/plain; charset=utf-8", b"Z3LDvMOfZQ==", "base64")), "gr\u00fc\u00dfe"
        )

    def test_undeclared(self):
        """Octets without a charset are UTF-8 when they can be, also where the last character is cut."""
        for kind in ("text/plain", "text/plain; charset=us-ascii", "text/plain; charset=x-nobody"):
            self.assertEqual(preview(message(kind, "gr\u00fc\u00df".encode())), "gr\u00fc\u00df")
            self.assertEqual(preview(message(kind, b"gr\xfc")), "gr\u00fc")
        cut = message("text/plain", b" " * 4095 + "\u00fc".encode())
        self.assertEqual(preview(cut), "")

    def test_html(self):
        """Only what a reader would see."""
        body = (
            b"<html><head><style>p { x }</style><title>no</title></head><body><!-- not this -->"
            b"<script>alert('x')</script><p class='a>b'>Caf&eacute; &amp;&nbsp;<b>more</b></p><unfinished"
        )
        self.assertEqual(preview(message("text/html", body)), "b'>Caf\u00e9 & more")

    def test_quotes(self):
        """What is answered is left out, unless there is nothing else."""
        self.assertEqual(preview(b"\r\n> you said\r\n> this\r\nNo.\r\n"), "No.")
        self.assertEqual(preview(b"\r\n> only this\r\n"), "> only this")

    def test_parts(self):
        """The plain one of alternatives, before an attachment; where it is empty, the other."""
        self.assertEqual(preview(ALTERNATIVE % b"plain"), "plain")
        self.assertEqual(preview(ALTERNATIVE % b""), "rich")

    def test_none(self):
        """What has no text has no preview, and an attached message's text is not the message's."""
        self.assertIsNone(preview(message("image/png", b"aGVsbG8=", "base64")))
        self.assertIsNone(preview(message("message/rfc822", b"Subject: x\r\n\r\ninner")))
        self.assertEqual(preview(b"Subject: x\r\n\r\n"), "")

    def test_length(self):
        """RFC 8970 section 3.1: never more than 256 characters."""
        self.assertEqual(preview(b"\r\n" + b"word " * 1000), ("word " * 40).strip())
        self.assertEqual(len(preview(b"\r\n" + "\u00fc".encode() * 100_000)), CHARACTERS)

    def test_hostile_html(self):
        """Thirty thousand octets that begin what they never end are looked at in linear time."""
        for text in (b"<script ", b"<style", b"<!--", b"<"):
            self.assertEqual(preview(message("text/html", text * 40_000)), "")

    def test_samples(self):
        """Real mail, broken mail too: a short line or nothing, that anything can store."""
        for data in samples():
            found = preview(data)
            if found is not None:
                self.assertLessEqual(len(found), CHARACTERS)
                self.assertTrue(found.isprintable() or not found or "\n" not in found)
                found.encode("utf-8")

    @given(st.binary(max_size=200))
    def test_anything(self, data):
        """Nothing raises."""
        for kind in ("text/plain; charset=utf-7", "text/html"):
            preview(message(kind, data, "quoted-printable"))

    def test_absurd_header(self):
        """A part with a header of a megabyte is shown without its charset being looked for."""
        head = b"Content-Type: text/plain; charset=koi8-r\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"
        part = preview_part(index_message(head + b"text").root)
        self.assertEqual(looked_at(part), (part.body, part.end))
        self.assertEqual(preview(head + b"text"), "text")
