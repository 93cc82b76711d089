"""Fields and bodies that are made from values: whatever a client gives, they stay one field, one part."""

from __future__ import annotations

from email import message_from_bytes, policy

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.composing import NewPart, compose
from mailftp.message.header_writing import (
    FieldFault,
    addresses_field,
    message_ids_field,
    raw_field,
    structured,
    text_field,
    urls_field,
)

TEXTS = st.text(max_size=200) | st.text('ab \t\r\n\0=?:;,<>"\\ü', max_size=80)
WRITERS = [
    lambda text: raw_field("X-A", text),
    lambda text: text_field("X-A", text),
    lambda text: addresses_field("X-A", [(None, [(text, "a@b.test")])]),
    lambda text: addresses_field("X-A", [(None, [(None, text), ("n", text)])]),
    lambda text: addresses_field("X-A", [(text, [(None, "a@b.test")])]),
    lambda text: message_ids_field("X-A", ["a@b", text]),
    lambda text: urls_field("X-A", [text, "http://x/"]),
    lambda text: structured("X-A", "a/b", [("name", text), ("filename", text)]),
]


class ComposingTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(TEXTS)
    def test_one_field(self, text: str) -> None:
        """Each line after the first begins with a space, none is too long, none is empty."""
        for write in WRITERS:
            try:
                made = write(text)
            except FieldFault:
                continue
            if not made:
                continue
            lines = made.split(b"\r\n")
            self.assertEqual((lines[0][:4], lines[-1]), (b"X-A:", b""))
            self.assertTrue(all(line.startswith(b" ") and line.strip() for line in lines[1:-1]), made)
            self.assertTrue(all(len(line) <= 998 for line in lines))
            self.assertNotRegex(made.replace(b"\r\n", b""), rb"[\x00-\x08\x0a-\x1f\x7f]")

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=120))
    def test_text_is_read_again(self, text: str) -> None:
        """By Python's own parser, as it was."""
        read = message_from_bytes(text_field("Subject", text) + b"\r\n", policy=policy.default)
        self.assertEqual(str(read["Subject"]), text)

    @settings(deadline=None)
    @given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400), st.binary(max_size=300))
    def test_content_is_read_again(self, text: str, octets: bytes) -> None:
        """Texts but for their line ends, octets as they are."""
        marks = iter(("first-mark", "second-mark"))
        attached = NewPart("application/octet-stream", octets, name="ä.bin", disposition="attachment")
        body = NewPart("multipart/mixed", parts=[NewPart("text/plain", text), attached])
        made = b"".join(compose(b"Subject: x\r\n", body, lambda: next(marks)))
        self.assertTrue(all(len(line) <= 998 for line in made.split(b"\r\n")))
        read = message_from_bytes(made, policy=policy.default)
        first, second = read.iter_parts()
        wanted = text.replace("\r\n", "\n").replace("\r", "\n")
        payload = first.get_payload(decode=True).decode("utf-8").replace("\r\n", "\n")
        self.assertEqual(payload, wanted)
        self.assertEqual((second.get_payload(decode=True), second.get_filename()), (octets, "ä.bin"))
