"""Address lists of header fields, RFC 5322 sections 3.4 and 4.4; parameters, RFC 2045 and 2231."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.address_list import Entry, parse_address_list
from mailftp.message.parameters import parse_content_type, parse_disposition, parse_token

MISSING = (b"MISSING_MAILBOX", b"MISSING_DOMAIN")
LISTS: dict[bytes, list[tuple[bytes | None, bytes | None, bytes | None, bytes | None]]] = {
    b"a@b": [(None, None, b"a", b"b")],
    b" a@b , c@d ": [(None, None, b"a", b"b"), (None, None, b"c", b"d")],
    b"Ann Roe <a@b>": [(b"Ann Roe", None, b"a", b"b")],
    b"A. N. Roe <a@b>": [(b"A. N. Roe", None, b"a", b"b")],
    b'"Roe, Ann" <a@b>': [(b"Roe, Ann", None, b"a", b"b")],
    b'"Ann \\"x\\" Roe" <a@b>': [(b'Ann "x" Roe', None, b"a", b"b")],
    b"a@b (Ann (the) Roe)": [(b"Ann (the) Roe", None, b"a", b"b")],
    b"<a@b>": [(None, None, b"a", b"b")],
    b'"a b"@c': [(None, None, b"a b", b"c")],
    b"a . b @ c . d": [(None, None, b"a.b", b"c.d")],
    b"a@[127.0.0.1]": [(None, None, b"a", b"[127.0.0.1]")],
    b"<@r,@s:a@b>": [(None, b"@r,@s", b"a", b"b")],
    b"Team: a@b, C <c@d>;": [
        (None, None, b"Team", None),
        (None, None, b"a", b"b"),
        (b"C", None, b"c", b"d"),
        (None, None, None, None),
    ],
    b"undisclosed-recipients:;": [(None, None, b"undisclosed-recipients", None), (None, None, None, None)],
    b"Open: a@b": [(None, None, b"Open", None), (None, None, b"a", b"b"), (None, None, None, None)],
    b"(only a comment)": [],
    b"": [],
    b",,": [],
    b"a@b,,c@d": [(None, None, b"a", b"b"), (None, None, b"c", b"d")],
    b"root": [(None, None, b"root", b"MISSING_DOMAIN")],
    b"Ann Roe": [(b"Ann Roe", None, *MISSING)],
    b"Ann <>": [(b"Ann", None, *MISSING)],
    b"Ann <a@b": [(b"Ann", None, b"a", b"b")],
    b"a@": [(b"a@", None, *MISSING)],
    b"\xc3\xa4 <a@b>": [(b"\xc3\xa4", None, b"a", b"b")],
}


class AddressListTests(SynchronousTestCase):
    def test_lists(self) -> None:
        """Names, comments, routes, groups, the obsolete syntax, and what is broken."""
        for text, entries in LISTS.items():
            self.assertEqual(parse_address_list(text), [Entry(*entry) for entry in entries], text)

    def test_most(self) -> None:
        """No more than asked for, but the end of a group."""
        self.assertEqual(len(parse_address_list(b"a@b," * 100, 10)), 10)
        self.assertEqual(len(parse_address_list(b"g: " + b"a@b (c)," * 100, 10)), 11)

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.sampled_from([bytes([c]) for c in b'a."(),:;<>@[\\] \xff'] + [b"ab", b"@b", b"<a@b>"]),
            max_size=20,
        )
    )
    def test_any_list(self, pieces: list[bytes]) -> None:
        """Nothing raises, and an entry with a host has a mailbox."""
        for entry in parse_address_list(b"".join(pieces)):
            self.assertTrue(entry.mailbox or entry.host is None, entry)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.lists(st.sampled_from(["a@b", "Ann <c@d>", '"R, A" <e@f>', "x.y@z.test"]), min_size=1, max_size=6)
    )
    def test_ways_agree(self, addresses: list[str]) -> None:
        """The short way for sound addresses and the long one for the rest see the same."""
        text = ", ".join(addresses).encode()
        slow = parse_address_list(b"(c) " + text)
        fast = parse_address_list(text)
        self.assertEqual([entry[1:] for entry in slow], [entry[1:] for entry in fast])


class ParameterTests(SynchronousTestCase):
    def test_content_types(self) -> None:
        """Case is kept, comments go, values are unquoted."""
        for text, parts in {
            b"text/plain": (b"text", b"plain", ()),
            b"Text/HTML; Charset=UTF-8": (b"Text", b"HTML", ((b"Charset", b"UTF-8"),)),
            b'a/b; x="y;\\"z"': (b"a", b"b", ((b"x", b'y;"z'),)),
            b"(c) a (c) / (c) b (c) ; (c) x (c) = (c) y (c)": (b"a", b"b", ((b"x", b"y"),)),
            b"a/b; x=; y=z": (b"a", b"b", ((b"x", b""), (b"y", b"z"))),
            b"a/b; broken; y=z": (b"a", b"b", ((b"y", b"z"),)),
            b"a/b; x=y z; y=z": (b"a", b"b", ((b"x", b"y"), (b"y", b"z"))),
            b"a/b; x==?utf-8?q?y?=; y=z": (b"a", b"b", ((b"x", b"=?utf-8?q?y?="), (b"y", b"z"))),
            b'a/b; x="y': (b"a", b"b", ()),
            b"a/b;": (b"a", b"b", ()),
        }.items():
            found = parse_content_type(text)
            assert found is not None, text
            self.assertEqual((found.maintype, found.subtype, found.parameters), parts, text)

    def test_no_content_type(self) -> None:
        """What has no type and subtype is none."""
        for text in (b"", b"text", b"text/", b"/plain", b"text plain", b"text/plain x", b"(", b";"):
            self.assertIsNone(parse_content_type(text), text)

    def test_continued(self) -> None:
        """RFC 2231: split values are joined in the order of their numbers, and stay encoded."""
        for text, parameters in {
            b"a/b; x*1=c; x*0=b; y=z": ((b"y", b"z"), (b"x", b"bc")),
            b"a/b; x*=utf-8''%41": ((b"x*", b"utf-8''%41"),),
            b"a/b; x*0*=utf-8''%41; x*1=50%": ((b"x*", b"utf-8''%4150%25"),),
            b"a/b; x*0=a; x*1*=%41": ((b"x*", b"''a%41"),),
            b"a/b; x*0=a; x*2=c": ((b"x*0", b"a"), (b"x*2", b"c")),
            b"a/b; x*99999=a": ((b"x*99999", b"a"),),
        }.items():
            found = parse_content_type(text)
            assert found is not None
            self.assertEqual(found.parameters, parameters, text)

    def test_disposition_and_token(self) -> None:
        """Content-Disposition has parameters, Content-Transfer-Encoding is one word."""
        self.assertEqual(parse_disposition(b"inline; filename=a"), (b"inline", ((b"filename", b"a"),)))
        self.assertIsNone(parse_disposition(b""))
        self.assertEqual(parse_token(b"(c) base64 (c)"), b"base64")
        self.assertIsNone(parse_token(b"base 64"))
        self.assertIsNone(parse_token(b""))
