from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.names import full_name, shown_name

ONE = ("example.test",)


class NameTests(SynchronousTestCase):
    def test_full_address(self) -> None:
        """A full address is taken in any case, its domain in either form."""
        self.assertEqual(full_name(b"Bob@EXAMPLE.test", ONE), "bob@example.test")
        self.assertEqual(full_name("bob@b\u00fccher.test".encode(), ONE), "bob@xn--bcher-kva.test")

    def test_local_part_alone(self) -> None:
        """The local part is enough where there is one domain, and only there."""
        self.assertEqual(full_name(b"Bob", ONE), "bob@example.test")
        self.assertIsNone(full_name(b"bob", ("a.test", "b.test")))
        self.assertIsNone(full_name(b"bob", ()))

    def test_no_name(self) -> None:
        """What cannot be an account's name is none."""
        for name in (b"", b"\xff", b"a b", b"bob@", b"@example.test", b"x" * 321, b"a\0b", b"../etc"):
            self.assertIsNone(full_name(name, ONE), name)

    def test_shown(self) -> None:
        """A log line shows the full form, or what was sent as far as it can be an address."""
        self.assertEqual(shown_name(b"BOB", ONE), "bob@example.test")
        self.assertEqual(shown_name(b"\xff" * 1000, ONE), "\\xff" * 320)

    @given(st.binary(max_size=40))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, name: bytes) -> None:
        """Any octets are a name or none, and a name stays itself."""
        full = full_name(name, ONE)
        if full is not None:
            self.assertEqual(full_name(full.encode(), ONE), full)
        shown_name(name, ONE)
