"""FETCH responses beside Dovecot's, item by item, on the messages of the standard library."""

from __future__ import annotations

from mailftp.message.index import index_message
from tests.imap.mailboxes import IMAPTestCase
from tests.message import dovecot
from tests.message.test_dovecot import samples

ITEMS = (
    b"RFC822.SIZE BODY.PEEK[] BODY.PEEK[]<7.31> BODY.PEEK[]<100000.1> BODY.PEEK[HEADER.FIELDS (SUBJECT X-NO)]"
    b" BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT RECEIVED)] BODY.PEEK[TEXT]<3.9> RFC822.HEADER"
)
DECODED = b"BINARY.SIZE[1] BINARY.PEEK[1] BINARY.PEEK[1]<2.5>"


class FetchTests(IMAPTestCase):
    messages = ()

    def ours(self, messages: list[bytes], items: bytes) -> list[dict[bytes, dovecot.Value]]:
        for message in messages:
            self.put(message)
        client = self.enter("INBOX")
        answer = client.exchange(b"s NOOP\r\nf FETCH 1:* (%b)\r\n" % items)
        return dovecot._responses(answer, len(messages))

    def compare(self, messages: list[bytes], items: bytes) -> None:
        theirs = dovecot.fetch(messages, items)
        for number, (mine, other) in enumerate(zip(self.ours(messages, items), theirs, strict=True)):
            self.assertEqual(
                {name: value or b"" for name, value in mine.items()},
                {name: value or b"" for name, value in other.items()},
                messages[number][:500],
            )

    def test_items(self):
        """Sizes, whole messages, partials, fields."""
        # A header that is not ended: see tests.imap.test_differential.
        whole = [text for text in samples() if b"\r\n\r\n" in text and not text.startswith(b"\r\n")]
        self.assertGreater(len(whole), 30)
        self.compare(whole, ITEMS)

    def test_binary(self):
        """Decoded parts, where Dovecot can decode them; it gives up on base64 that goes on after its end."""
        sound = []
        for text in samples():
            root = index_message(text).root
            part = root.parts[0] if root.parts else root
            if root.media_type != "message/rfc822" and not part.parts and part.encoding != "base64":
                sound.append(text)
        self.assertGreater(len(sound), 20)
        self.compare(sound, DECODED)

    def test_base64(self):
        """A part in base64, of all lengths that padding knows; and in quoted-printable."""
        head = b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n"
        texts = [
            (b"base64", b"aGVsbG8="),
            (b"base64", b"aGVs\r\nbG8h"),
            (b"base64", b"aGVsbG8hIQ=="),
            (b"base64", b""),
            (b"quoted-printable", b"=C3=BC=\r\n x  \r\ny=20\r\n"),
            (b"quoted-printable", b"a=3D=\r\n"),
            (b"BASE64", b"AAEC/w=="),
        ]
        self.compare([head % text for text in texts], DECODED)
