"""Base subjects (RFC 5256 section 2.1) and encoded words (RFC 2047)."""

from __future__ import annotations

import time
from email.header import decode_header, make_header

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.subject import base_subject
from mailftp.message.words import decode_words

SUBJECTS = {
    b"": "",
    b"hello": "hello",
    b"Re: hello": "hello",
    b"RE : Fwd:fw: hello": "hello",
    b"Re[2]: hello": "hello",
    b"Re [x]: hello": "hello",
    b"[list] Re: [list] hello (fwd) (FWD)": "hello",
    b"[list] hello": "hello",
    b"[list]": "[list]",
    b"Re: [list]": "[list]",
    b"[a][b] c": "c",
    b"[fwd: hello]": "hello",
    b"[Fwd: Re: [x] hello (fwd)] (fwd)": "hello",
    b"Re:": "",
    b"re": "re",
    b"Rework: hello": "Rework: hello",
    b"  many   spaces\there ": "many spaces here",
    b"=?utf-8?q?Re=3A_h=C3=A4?=": "h\u00e4",
    b"hello (fwd) there": "hello (fwd) there",
    b"[unclosed Re: hello": "[unclosed Re: hello",
}

WORDS = {
    b"plain": "plain",
    b"=?utf-8?B?aMOk?=": "h\u00e4",
    b"=?UTF-8*de?q?h=c3=a4?=": "h\u00e4",
    b"=?iso-8859-1?q?a_b?= =?iso-8859-1?q?c?= d": "a bc d",
    b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=": "\u00e4",
    b"=?utf-8?b?w?= x": " x",
    b"=?utf-8?b?w6Q?=": "\u00e4",
    b"=?utf-8?q?a?= =?iso-8859-1?q?=E4?=": "a\u00e4",
    b"=?utf-8?q?a?=b": "ab",
    b"=?x-unknown?q?a?=": "=?x-unknown?q?a?=",
    b"=?zlib?b?eJw=?=": "=?zlib?b?eJw=?=",
    b"=?idna?q?xn--a?=": "=?idna?q?xn--a?=",
    b"=?utf-8?q?=FF?=": "\ufffd",
    b"\xc3\xa4": "\u00e4",
    b"\xe4": "\u00e4",
    b"=?utf-7?q?+2AA-?=": "\ufffd",
    b"=?utf-8?q?=00?=\0": "\ufffd\ufffd",
    b"=?utf-8?x?a?=": "=?utf-8?x?a?=",
    b"=?utf-8?q?a": "=?utf-8?q?a",
}


class SubjectTests(SynchronousTestCase):
    def test_base(self) -> None:
        """Prefixes, list names and trailers go, what is said stays."""
        for subject, base in SUBJECTS.items():
            self.assertEqual(base_subject(subject), base, subject)

    def test_time_is_linear(self) -> None:
        """A megabyte of any of the parts is done in no time."""
        for piece in (b"Re: ", b"[x]", b"[fwd:", b"(fwd) ", b" ", b"=?utf-8?q?a?= ", b"=?"):
            start = time.process_time()
            base_subject(piece * 250_000 + b"]" * 100_000)
            self.assertLess(time.process_time() - start, 0.3, piece)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(alphabet="Re:FwdWD[] ()x\u00e4", max_size=40))
    def test_settled(self, subject: str) -> None:
        """A base subject has no prefix any more: it is its own base."""
        base = base_subject(subject.encode())
        self.assertEqual(base_subject(base.encode()), base)


class WordTests(SynchronousTestCase):
    def test_decode(self) -> None:
        """Encodings, languages, characters cut in two, unknown sets and codecs that are no sets."""
        for text, decoded in WORDS.items():
            self.assertEqual(decode_words(text), decoded, text)

    def test_standard_library(self) -> None:
        """The standard library reads them the same."""
        for text in (b"=?utf-8?B?aMOk?= and =?iso-8859-1?q?h=E4?=", b"a =?koi8-r?B?8NLJ18XU?= b"):
            self.assertEqual(decode_words(text), str(make_header(decode_header(text.decode()))))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.sampled_from(
                [b"=?", b"?=", b"utf-8", b"utf-7", b"hz", b"?q?", b"?b?", b"=", b"AA", b"\xff", b" "]
            ),
            max_size=20,
        )
    )
    def test_any_octets(self, pieces: list[bytes]) -> None:
        """Nothing raises."""
        decode_words(b"".join(pieces))
        base_subject(b"=?utf-8?q?" + b"".join(pieces))
