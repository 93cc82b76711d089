"""Random names."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from mailftp.wire import tokens
from mailftp.wire.tokens import Tokens


class TokenTests(TestCase):
    def test_each_is_new(self):
        """So many digits each, none twice, beyond what is asked of the kernel at a time."""
        for octets in (4, 8):
            new = Tokens(octets)
            made = [new() for _ in range(5 * 1024 // octets)]
            self.assertEqual({len(token) for token in made}, {2 * octets})
            self.assertEqual(len(set(made)), len(made))
            self.assertTrue(all(int(token, 16) >= 0 for token in made))

    def test_no_octet_twice(self):
        """What was asked for is handed out in order, each octet once."""
        given = iter(["00112233", "44556677"])
        self.patch(tokens.secrets, "token_hex", lambda octets: next(given))
        new = Tokens(2)
        self.assertEqual([new() for _ in range(4)], ["0011", "2233", "4455", "6677"])
