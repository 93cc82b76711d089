"""Addresses: RFC 5321 section 4.1.2, RFC 6531."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.address import Address, AddressFault, parse_address, parse_domain, parse_mailbox

#: What is written -> local, domain, str, key.
GOOD = [
    ("bob@example.test", "bob", "example.test", "bob@example.test", "bob@example.test"),
    ("Bob@EXAMPLE.Test", "Bob", "example.test", "Bob@example.test", "bob@example.test"),
    ("a.b+c@x", "a.b+c", "x", "a.b+c@x", "a.b+c@x"),
    ("!#$%&'*+-/=?^_`{|}~@x.test", "!#$%&'*+-/=?^_`{|}~", "x.test", None, None),
    ('"bob"@x.test', "bob", "x.test", "bob@x.test", "bob@x.test"),
    ('"Bob Roe"@x.test', "Bob Roe", "x.test", '"Bob Roe"@x.test', '"bob roe"@x.test'),
    ('"a\\"b\\\\c"@x.test', 'a"b\\c', "x.test", '"a\\"b\\\\c"@x.test', '"a\\"b\\\\c"@x.test'),
    ('"a@b"@x.test', "a@b", "x.test", '"a@b"@x.test', '"a@b"@x.test'),
    ('"a..b"@x.test', "a..b", "x.test", '"a..b"@x.test', '"a..b"@x.test'),
    ("bob@[127.0.0.1]", "bob", "[127.0.0.1]", None, "bob@[127.0.0.1]"),
    ("bob@[ipv6:0:0:0:0:0:0:0:1]", "bob", "[IPv6:::1]", "bob@[IPv6:::1]", "bob@[ipv6:::1]"),
    ("bob@[IPv6:2001:DB8::1]", "bob", "[IPv6:2001:db8::1]", None, None),
    ("bob@bücher.test", "bob", "xn--bcher-kva.test", "bob@xn--bcher-kva.test", None),
    ("bob@BÜCHER.test", "bob", "xn--bcher-kva.test", None, None),
    ("bob@bücher。test", "bob", "xn--bcher-kva.test", None, None),
    ("bob@XN--BCHER-KVA.test", "bob", "xn--bcher-kva.test", None, None),
    ("Jürgen@x.test", "Jürgen", "x.test", "Jürgen@x.test", "jürgen@x.test"),
    ("Ju\u0308rgen@x.test", "Ju\u0308rgen", "x.test", None, "j\u00fcrgen@x.test"),
    ("用户@例子.test", "用户", "xn--fsqu00a.test", None, None),
    ("bob@my_host.test", "bob", "my_host.test", None, None),
    ("a" * 64 + "@x.test", "a" * 64, "x.test", None, None),
]

BAD = [
    "", "@", "bob", "bob@", "@x.test", '""@x.test', "bob@@x.test", "a@b@x.test", "a b@x.test",
    ".a@x.test", "a.@x.test", "a..b@x.test", "a(c)@x.test", "<a@x.test>", "a@x.test>", " a@x.test",
    "a@x.test ", "a@x.test\r\nRCPT TO:<b@x.test>", "a\r\n@x.test", "a\0@x.test", "a\x7f@x.test",
    "a\x80@x.test", "a\u2028b@x.test", "a\u202eb@x.test", "a\u00a0b@x.test", "a\ud800@x.test",
    "a\ufeff@x.test", '"a\r\nb"@x.test', '"a\tb"@x.test', '"a"b@x.test', '"a@x.test', '"a\\"@x.test',
    "a@-x.test", "a@x-.test", "a@x..test", "a@.x", "a@x.", "a@x.test;ls", "a@x/y", "a@127.0.0.1",
    "a@[127.0.0.1", "a@[127.0.0]", "a@[127.0.0.01]", "a@[256.0.0.1]", "a@[IPv6:]", "a@[IPv6:fe80::1%eth0]",
    "a@[::1]", "a@[x25:1]", "a@[IPv6:::1]x", "a@" + "x" * 64 + ".test", "a" * 65 + "@x.test",
    "ä" * 33 + "@x.test", "a@" + "x.".join(["x" * 62] * 5), "a@" + "ä" * 200, "a@\u0660.test\0",
    "a@ü\u202e.test", "a@☃.\u2028", "a\n@x.test", "a@x.test\n", "a@[127.0.0.1]\n", "a@[127.0.0.1\n]",
]  # fmt: skip


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Each form is taken apart, and its normal forms are right."""
        for text, local, domain, written, key in GOOD:
            address = parse_address(text)
            self.assertEqual((address.local, address.domain), (local, domain), text)
            if written:
                self.assertEqual(str(address), written)
            if key:
                self.assertEqual(address.key, key)

    def test_bad(self) -> None:
        """What is no address is refused with words, whatever it holds."""
        for text in BAD:
            with self.assertRaises(AddressFault) as caught:
                parse_address(text)
            self.assertTrue(str(caught.exception))

    def test_str_is_taken_back(self) -> None:
        """str() of an address is the same address, and a key is its own key."""
        for text, *_ in GOOD:
            address = parse_address(text)
            self.assertEqual(parse_address(str(address)), address)
            self.assertEqual(parse_address(address.key).key, address.key)

    def test_equal_accounts(self) -> None:
        """Quoting, case, normal form and the spelling of the domain do not make another account."""
        for one, other in [
            ('"bob"@x.test', "BOB@X.TEST"),
            ("jürgen@bücher.test", "JU\u0308RGEN@xn--bcher-kva.TEST"),
            ("a@[IPv6:::1]", "a@[ipv6:0:0::1]"),
        ]:
            self.assertEqual(parse_address(one).key, parse_address(other).key)

    def test_typed_by_people(self) -> None:
        """The command line takes a pasted path; the envelope does not."""
        self.assertEqual(parse_mailbox(" <bob@x.test>\n"), Address("bob", "x.test"))
        self.assertEqual(parse_mailbox("bob@x.test"), Address("bob", "x.test"))
        self.assertRaises(AddressFault, parse_mailbox, "Bob <bob@x.test>")

    def test_domain(self) -> None:
        """A domain by itself has one form."""
        self.assertEqual(parse_domain("EXAMPLE.test"), "example.test")
        self.assertRaises(AddressFault, parse_domain, "")

    def test_time_is_linear(self) -> None:
        """A megabyte of hostile text is refused at once."""
        for text in ('"' + "\\a" * 10**6, "a." * 10**6 + "@x", "a@" + "ä." * 10**6, "a@" * 10**6):
            start = time.process_time()
            self.assertRaises(AddressFault, parse_address, text)
            self.assertLess(time.process_time() - start, 0.1)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(alphabet=st.characters() | st.sampled_from('@."\\[]: aA'), max_size=40))
    def test_any_text(self, text: str) -> None:
        """Any text is an address that can be written and read again, or a fault; never anything else."""
        try:
            address = parse_address(text + "@x.test")
        except AddressFault:
            return
        self.assertEqual(parse_address(str(address)), address)
        self.assertEqual(parse_address(address.key).key, address.key)
        self.assertFalse(set("\r\n\0") & set(str(address)))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(max_size=40))
    def test_any_domain(self, text: str) -> None:
        """A domain's form is ASCII, in lower case but for the tag of a literal, and its own form."""
        try:
            domain = parse_domain(text)
        except AddressFault:
            return
        self.assertTrue(domain.isascii())
        self.assertEqual(parse_domain(domain), domain)
