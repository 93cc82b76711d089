"""Names of mailboxes: RFC 3501 section 5.1.3, RFC 9051 section 5.1."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.mailbox_names import (
    MAX_LEVEL,
    MAX_NAME,
    NameFault,
    decode_utf7,
    encode_utf7,
    new_name,
    read_name,
    write_name,
)

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


class Utf7Tests(SynchronousTestCase):
    def test_known(self) -> None:
        """The example of RFC 3501, and names that clients in use send."""
        for name, text in (
            ("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("R&D", b"R&-D"),
            ("&", b"&-"),
            ("Entw\u00fcrfe", b"Entw&APw-rfe"),
            ("\U0001f4e8", b"&2D3c6A-"),
            ("\u00e9&\u00e9", b"&AOk-&-&AOk-"),
            ("", b""),
            ("a-b", b"a-b"),
        ):
            self.assertEqual(encode_utf7(name), text)
            self.assertEqual(decode_utf7(text), name)

    def test_refused(self) -> None:
        """Whatever is not the only form of a name."""
        for text in (
            b"&", b"R&D", b"a&AOk", b"&AOk", b"&AOk-&AOk-", b"&AGE-", b"&ACY-", b"&AOl-", b"&AOkA-", b"&A-",
            b"&AO-", b"&2D0-", b"&3OgA-", b"&AOk=-", b"&U/BTFw-", b"& -", b"&&-", b"caf\xc3\xa9", b"caf\xe9",
            b"a\0b", b"a\r\nb", b"a\x7f",
        ):  # fmt: skip
            with self.assertRaises(NameFault, msg=repr(text)):
                decode_utf7(text)

    @given(_NAMES)
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_both_ways(self, name: str) -> None:
        """A name comes back, out of printable ASCII."""
        text = encode_utf7(name)
        self.assertTrue(all(0x20 <= octet <= 0x7E for octet in text))
        self.assertEqual(decode_utf7(text), name)

    @given(st.text(alphabet="&-AOkGEZ,/a2D3c6", max_size=14).map(str.encode) | st.binary(max_size=12))
    @settings(max_examples=1000, deadline=None, derandomize=True)
    def test_one_form(self, text: bytes) -> None:
        """What is taken is what would be sent."""
        try:
            name = decode_utf7(text)
        except NameFault:
            return
        self.assertEqual(encode_utf7(name), text)


class NameTests(SynchronousTestCase):
    def test_inbox(self) -> None:
        """In any case, alone and as the first level; nothing that only looks like it."""
        for text, name in (
            (b"inbox", "INBOX"),
            (b"InBoX/a", "INBOX/a"),
            (b"inboxes", "inboxes"),
            (b"a/inbox", "a/inbox"),
            ("\u0131nbox".encode(), "\u0131nbox"),
        ):
            self.assertEqual(read_name(text, utf8=True), name)
        self.assertEqual(read_name(b"&ATE-nbox", utf8=False), "\u0131nbox")

    def test_normal_form(self) -> None:
        """The same name composed and decomposed is one name, whichever way it is sent."""
        composed, apart = "caf\u00e9", "cafe\u0301"
        for utf8 in (False, True):
            self.assertEqual(read_name(write_name(apart, utf8), utf8), composed)
            self.assertEqual(read_name(write_name(composed, utf8), utf8), composed)

    def test_ampersand_in_utf8(self) -> None:
        """Once names are UTF-8, & has no meaning."""
        self.assertEqual(read_name(b"R&D", utf8=True), "R&D")
        self.assertEqual(read_name(b"&AOk-", utf8=True), "&AOk-")

    def test_no_utf8(self) -> None:
        """Lone surrogates, overlong forms, Latin-1."""
        for text in (b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xff"):
            with self.assertRaises(NameFault):
                read_name(text, utf8=True)

    def test_new(self) -> None:
        """A delimiter at the end is taken off; limits are of UTF-8."""
        self.assertEqual(new_name("a/b/"), "a/b")
        self.assertEqual(new_name("100% *"), "100% *")
        self.assertEqual(new_name("\u00e9" * (MAX_LEVEL // 2)), "\u00e9" * (MAX_LEVEL // 2))
        deep = "/".join("a" * 500)
        self.assertEqual(new_name(deep), deep)

    def test_refused(self) -> None:
        """With a reason that a user can act on."""
        for name, reason in (
            ("", "wants a name"), ("/", "wants a name"), ("/a", "nothing before"), ("a//b", "nothing before"),
            ("a//", "nothing before"), ("..", ". or .."), ("a/../b", ". or .."), ("./a", ". or .."),
            ("a\0", "control"), ("a\r\nb", "control"), ("a\x85", "control"), ("a\u2028", "control"),
            ("a\ud800", "control"), ("\u00e9" * (MAX_LEVEL // 2 + 1), "level"),
            ("a/" * MAX_NAME + "b", "longer"),
        ):  # fmt: skip
            with self.assertRaises(NameFault) as caught:
                new_name(name)
            self.assertIn(reason, str(caught.exception))

    @given(_NAMES, st.booleans())
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_made_names_are_found_again(self, name: str, utf8: bool) -> None:
        """A name that was made is read as itself from what the client is shown."""
        try:
            made = new_name(read_name(write_name(name, utf8), utf8))
        except NameFault:
            return
        self.assertEqual(read_name(write_name(made, utf8), utf8), made)
        self.assertEqual(new_name(made), made)
        self.assertTrue(unicodedata.is_normalized("NFC", made))
