"""Line ends on their way in."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.line_ends import LineEnds, crlf_only

TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x", b"\x85", b"\x0b"]), max_size=12).map(b"".join)


class LineEndTests(SynchronousTestCase):
    @given(TEXTS, st.integers(1, 5))
    def test_pieces(self, text, size):
        """Where it is cut does not matter, and only what has to is changed."""
        work = LineEnds()
        pieces = [work.feed(text[at : at + size]) for at in range(0, len(text), size)]
        got = b"".join([*pieces, work.finish()])
        self.assertEqual(got, re.sub(rb"\r\n|\r|\n", b"\r\n", text))
        self.assertEqual(work.changed, got != text)

    @given(TEXTS)
    def test_crlf_only(self, text):
        self.assertEqual(crlf_only(text), not re.search(rb"\r(?!\n)|(?<!\r)\n", text))
