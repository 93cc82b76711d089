"""The index of a message: tree, ENVELOPE, BODY, BODYSTRUCTURE, and the bounds on all of them."""

from __future__ import annotations

import random
import time
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message import envelope
from mailftp.message.index import (
    DOT_FREE_SIZE,
    INDEX_VERSION,
    MessageIndex,
    Part,
    index_message,
    stored_dot_free,
)
from tests.message.dovecot import parse_values

#: The envelope of RFC 3501 section 8, with its body's header.
RFC3501 = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
    b"From: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
    b"To: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
)

NESTED = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n"
    b"--a\r\nContent-Type: text/html\r\n\r\n<p>\r\n</p>\r\n"
    b"--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\none\r\ntwo\r\n"
    b"--a\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n"
    b"--b\r\n\r\nSubject: digested\r\n\r\nx\r\n--b--\r\n\r\n"
    b"--a\r\nContent-Type: image/png; name*0=long; name*1=name.png\r\nContent-Transfer-Encoding: BASE64\r\n"
    b'Content-Disposition: attachment; filename="a \\"b\\".png"\r\nContent-ID: <c@d>\r\n'
    b"Content-Language: en, de\r\nContent-Location: http://x.test/\r\n\r\nAAAA\r\n"
    b"--a--\r\nepilogue\r\n"
)


def kinds(part: Part) -> object:
    return [part.media_type, *map(kinds, part.parts)] if part.parts else part.media_type


class IndexTests(SynchronousTestCase):
    def test_rfc3501(self) -> None:
        """The example of RFC 3501 section 8."""
        index = index_message(RFC3501 + b"x\r\n" * 92)
        self.assertEqual(
            index.envelope,
            b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes"'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' (("Terry Gray" NIL "gray" "cac.washington.edu"))'
            b' ((NIL NIL "imap" "cac.washington.edu"))'
            b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))'
            b' NIL NIL "<B27397-0100000@cac.washington.edu>")',
        )
        self.assertEqual(index.body, b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7bit" 276 92)')
        self.assertEqual(index.sent, 837595405.0)
        self.assertEqual(index.message_id, "B27397-0100000@cac.washington.edu")

    def test_tree(self) -> None:
        """Parts within parts, their offsets and lines."""
        index = index_message(NESTED)
        self.assertEqual(
            kinds(index.root),
            [
                "multipart/mixed",
                "text/html",
                ["message/rfc822", "text/plain"],
                ["multipart/digest", ["message/rfc822", "text/plain"]],
                "image/png",
            ],
        )
        html, message, digest, image = index.root.parts
        self.assertEqual(NESTED[html.header : html.end], b"Content-Type: text/html\r\n\r\n<p>\r\n</p>")
        self.assertEqual(NESTED[message.body : message.end], b"Subject: inner\r\n\r\none\r\ntwo")
        self.assertEqual(message.lines, 3)
        self.assertEqual(NESTED[message.parts[0].body : message.parts[0].end], b"one\r\ntwo")
        inner = digest.parts[0].parts[0]
        self.assertEqual(NESTED[inner.body : inner.end], b"x")
        self.assertEqual((image.encoding, NESTED[image.body : image.end]), ("base64", b"AAAA"))
        self.assertEqual(index.lines, NESTED.count(b"\n"))
        self.assertEqual(index.root.end, len(NESTED))

    def test_bodystructure(self) -> None:
        """Parameters, disposition, language, location, the nested envelope."""
        index = index_message(NESTED)
        [structure] = parse_values(index.bodystructure)
        self.assertEqual(
            structure[3],
            [
                b"image", b"png", [b"name", b"longname.png"], b"<c@d>", None, b"BASE64", b"4", None,
                [b"attachment", [b"filename", b'a "b".png']], [b"en", b"de"], b"http://x.test/",
            ],
        )  # fmt: skip
        self.assertEqual(structure[1][7][1], b"inner")
        self.assertEqual(structure[4:], [b"mixed", [b"boundary", b"a"], None, None, None])
        [body] = parse_values(index.body)
        self.assertEqual(body[4:], [b"mixed"])
        self.assertEqual(body[3][2:], [[b"name", b"longname.png"], b"<c@d>", None, b"BASE64", b"4"])

    def test_broken_multiparts(self) -> None:
        """No boundary, no parts, no end, a delimiter of an outer multipart, a header without a body."""
        head = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
        for message, tree in [
            (b"Content-Type: multipart/mixed\r\n\r\n--a\r\n\r\nx", "multipart/mixed"),
            (head, "multipart/mixed"),
            (head + b"--a--\r\n", "multipart/mixed"),
            (head + b"--a", "multipart/mixed"),
            (head + b"--a\r\n", ["multipart/mixed", "text/plain"]),
            (head + b"--a\r\n--a\r\n", ["multipart/mixed", "text/plain", "text/plain"]),
            (head + b"--a\r\n\r\nno end", ["multipart/mixed", "text/plain"]),
            (head + b"--a\r\nContent-Type: text/x\r\n--a--", ["multipart/mixed", "text/x"]),
            (
                head + b"--a\r\nContent-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n1\r\n--a\r\n\r\n2",
                ["multipart/mixed", ["multipart/x", "text/plain"], "text/plain"],
            ),
            (
                head + b"--a\r\nContent-Type: multipart/x; boundary=ab\r\n\r\n--ab\r\n\r\n1\r\n--a\r\n\r\n2",
                ["multipart/mixed", ["multipart/x", "text/plain"], "text/plain"],
            ),
            (b"Content-Type: nonsense\r\n\r\nx", "text/plain"),
            (b"Content-Type: message/rfc822\r\n\r\n", ["message/rfc822", "text/plain"]),
            (b"Content-Type: message/rfc822", ["message/rfc822", "text/plain"]),
            (b"", "text/plain"),
            (b"\r\nbody only", "text/plain"),
            (b"Subject: header only", "text/plain"),
            (b"Content-Transfer-Encoding: base64\r\n\r\n", "text/plain"),
        ]:
            index = index_message(message)
            self.assertEqual(kinds(index.root), tree, message)
            parse_values(index.bodystructure)
            self.assertEqual(index.root.end, len(message))

    def test_without_mime_version(self) -> None:
        """Content-* fields mean nothing without MIME-Version or Content-Type."""
        index = index_message(b"Content-Transfer-Encoding: base64\r\nContent-ID: <a@b>\r\n\r\nx")
        self.assertEqual(index.body, b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)')
        self.assertEqual(index.root.encoding, "7bit")

    def test_strings(self) -> None:
        """8-bit text is a literal, NUL is never sent, folded fields are one line."""
        index = index_message(b"Subject: \xc3\xa4\0b\r\nDate: a\r\n b\r\nMessage-ID:\r\n <x@y>\r\n\r\n")
        self.assertEqual(
            index.envelope,
            b'("a b" {6}\r\n\xc3\xa4\xef\xbf\xbdb NIL NIL NIL NIL NIL NIL NIL "<x@y>")',
        )
        self.assertEqual(index.message_id, "x@y")

    def test_duplicate_fields(self) -> None:
        """Two From fields are one list: what was checked and what is shown are the same."""
        index = index_message(b"From: a@b\r\nFrom: c@d\r\nSubject: one\r\nSubject: two\r\n\r\n")
        [envelope] = parse_values(index.envelope)
        self.assertEqual(envelope[2], [[None, None, b"a", b"b"], [None, None, b"c", b"d"]])
        self.assertEqual(envelope[1], b"two")

    def test_known_addresses(self) -> None:
        """A field that is remembered comes to what one that is taken apart anew does, and counts as much."""
        fields = [
            b"", b"a@b.test", b"Ann <a@b.test>, \r\n b@c.test", b"team: a@b.test, b@c.test;", b"<>",
            b"\xff\0(", b"," * 150, b"a@b.test," * 22, b'"' + b"x" * 190 + b'" <a@b.test>',
            b"=?utf-8?q?=C3=A9?= <a@b.test>",
        ]  # fmt: skip
        messages = [
            b"From: %b\r\nTo: %b\r\nCc: %b\r\n\r\n" % (one, other, other)
            for one in fields
            for other in fields
        ]
        known = [index_message(message).envelope for _ in range(2) for message in messages]
        self.patch(envelope, "_MOST_KNOWN", -1)
        self.assertEqual(known, [index_message(message).envelope for message in messages] * 2)

    def test_thread_fields(self) -> None:
        """References count before In-Reply-To; ids come once, in their order."""
        index = index_message(b"References: <a@b>\r\n <c@d> junk <a@b>\r\nIn-Reply-To: <e@f>\r\n\r\n")
        self.assertEqual(index.references, ("a@b", "c@d"))
        index = index_message(b"References: junk\r\nIn-Reply-To: your mail <e@f> of <g@h>\r\n\r\n")
        self.assertEqual(index.references, ("e@f",))

    def test_octets(self) -> None:
        """Dots, 8-bit octets, the longest line."""
        index = index_message(b"A: b\r\n\r\n.\r\n" + b"x" * 70000 + b"\r\n\xff\r\n")
        self.assertEqual((index.dot_free, index.eightbit, index.longest_line), (False, True, 70000))
        index = index_message(b"A: b\n\na.\nbcdef\n" * 20000)
        self.assertEqual((index.dot_free, index.eightbit, index.longest_line), (True, False, 5))
        self.assertFalse(index_message(b".a").dot_free)

    def test_fields(self) -> None:
        """The message's own fields, those of its parts not."""
        index = index_message(NESTED)
        self.assertEqual([field.name for field in index.fields], [b"mime-version", b"content-type"])
        self.assertEqual(NESTED[index.fields[0].start : index.fields[0].end], b"MIME-Version: 1.0\r\n")

    def test_memoryview(self) -> None:
        """A memoryview is taken as well."""
        self.assertEqual(index_message(memoryview(NESTED)), index_message(NESTED))


class StoredFormTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What is stored is read back the same."""
        for message in (NESTED, RFC3501, b"", b"no colon\r\n: \r\n\xff: \r\n\r\n"):
            index = index_message(message)
            self.assertEqual(MessageIndex.decode(index.encode()), index)

    def test_version(self) -> None:
        """The version is in front, and another one is not read."""
        stored = index_message(NESTED).encode()
        self.assertEqual(int.from_bytes(stored[:2], "little"), INDEX_VERSION)
        self.assertIsNone(MessageIndex.decode(b"\xff\xff" + stored[2:]))
        self.assertIsNone(stored_dot_free(b"\xff\xff" + stored[2:]))
        self.assertIsNone(stored_dot_free(stored[: DOT_FREE_SIZE - 1]))
        for text, free in ((b"A: b\r\n\r\nx.\r\n", True), (b"A: b\r\n\r\n.x\r\n", False)):
            self.assertEqual(stored_dot_free(index_message(text).encode()[:DOT_FREE_SIZE]), free)

    def test_cut(self) -> None:
        """Cut at any octet it is refused and not half read."""
        stored = index_message(NESTED).encode()
        for at in range(len(stored)):
            self.assertIsNone(MessageIndex.decode(stored[:at]))

    def test_damaged(self) -> None:
        """With octets changed it is refused or reads as something, and never raises."""
        stored = bytearray(index_message(NESTED).encode())
        source = random.Random(1)
        for _ in range(3000):
            damaged = bytearray(stored)
            for _ in range(source.choice((1, 2, 8))):
                damaged[source.randrange(2, len(damaged))] = source.randrange(256)
            MessageIndex.decode(bytes(damaged))


def many_parts(count: int) -> bytes:
    return b"Content-Type: multipart/x; boundary=a\r\n\r\n" + b"--a\r\n\r\n\r\n" * count


def unfinished(count: int) -> bytes:
    """Multiparts that each look for an end which never comes."""
    out = [b"Content-Type: multipart/x; boundary=a\r\n\r\n"]
    for n in range(count):
        out.append(b"--a\r\nContent-Type: multipart/x; boundary=b%d\r\n\r\nx\r\n" % n)
    return b"".join(out)


def deep(count: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/x; boundary=%d\r\n\r\n--%d\r\n" % (n, n)
        for n in range(10**6, 10**6 + count)
    )


#: Each makes a message of about n octets.
BOMBS = {
    "parts": lambda n: many_parts(n // 9),
    "parts that do not end": lambda n: unfinished(n // 60),
    "depth": lambda n: deep(n // 55),
    "messages in messages": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * (n // 32),
    "digests": lambda n: b"Content-Type: multipart/digest; boundary=a\r\n\r\n" + b"--a\r\n\r\n" * (n // 7),
    "lines of dashes": lambda n: deep(90) + b"--\r\n" * (n // 4),
    "prefixes": lambda n: b'Content-Type: multipart/x; boundary=""\r\n\r\n' + b"--\r\n" * (n // 4),
    "addresses": lambda n: b"To: " + b"a@b," * (n // 4) + b"\r\n\r\n",
    "broken addresses": lambda n: b"To: " + b"(,@<:;>" * (n // 7) + b"\r\n\r\n",
    "quotes": lambda n: b"To: " + b'"\\' * (n // 2) + b"\r\n\r\n",
    "brackets": lambda n: b"To: " + b"[\\" * (n // 2) + b"\r\n\r\n",
    "quoted parameters": lambda n: b"Content-Type: a/b" + b';a="\\' * (n // 5) + b"\r\n\r\n",
    "comments": lambda n: b"From: " + b"(" * n + b"\r\n\r\n",
    "address fields": lambda n: b"Cc: a@b\r\n" * (n // 9) + b"\r\n",
    "fields": lambda n: b"a:\r\n" * (n // 4) + b"\r\n",
    "one field": lambda n: b"Subject: " + b"Re: [x] " * (n // 8) + b"\r\n\r\n",
    "folds": lambda n: b"Content-Type: text/plain;\r\n" + b" x=y;\r\n" * (n // 7) + b"\r\n",
    "split parameters": lambda n: (
        b"Content-Type: text/plain" + b"".join(b"; x*%d=y" % (i % 10000) for i in range(n // 9)) + b"\r\n\r\n"
    ),
    "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?=?= " * (n // 14) + b"\r\n\r\n",
    "references": lambda n: b"References: " + b"<a@b> <" * (n // 7) + b"\r\n\r\n",
    "empty lines": lambda n: b"\r\n" * (n // 2),
    "line feeds": lambda n: b"a: b\n" + b"\n" * n,
    "carriage returns": lambda n: b"a: b\r" + b"\r" * n,
    "nothing": lambda n: b"\0" * n,
    "dates": lambda n: b"Date: " + b"(" * n + b")" * n + b"\r\n\r\n",
}


class BoundTests(SynchronousTestCase):
    """CVE classes of mail parsers: work grows with the message and not faster, and memory hardly."""

    def test_time_is_linear(self) -> None:
        """Twice the message takes at most about twice the time, whatever it is made of."""
        for name, bomb in BOMBS.items():
            spent = []
            for size in (100_000, 200_000):
                message = bomb(size)
                start = time.process_time()
                index_message(message)
                spent.append(time.process_time() - start)
            self.assertLess(spent[1], 3.5 * spent[0] + 0.1, name)
            self.assertLess(spent[1], 3.0, name)

    def test_memory(self) -> None:
        """Half a megabyte of anything needs no more than 40 beside it."""
        for name, bomb in BOMBS.items():
            message = bomb(500_000)
            tracemalloc.start()
            try:
                index_message(message)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 40_000_000, name)

    def test_depth_and_parts(self) -> None:
        """Depth and number of parts end at their bounds, and what is beyond is an opaque part."""
        index = index_message(deep(300))
        depth = 0
        part = index.root
        while part.parts:
            depth += 1
            part = part.parts[0]
        self.assertEqual((depth, part.media_type), (99, "application/octet-stream"))
        self.assertEqual(len(index_message(many_parts(20000)).root.parts), 9999)
        self.assertIn(
            b'"application" "octet-stream"', index_message(b"Content-Type: message/rfc822\r\n\r\n" * 200).body
        )

    def test_encoded_index_is_bounded(self) -> None:
        """The stored form of a bomb is no bomb."""
        for name, bomb in BOMBS.items():
            index = index_message(bomb(500_000))
            stored = index.encode()
            self.assertLess(len(stored), 3_000_000, name)
            self.assertEqual(MessageIndex.decode(stored), index)


PIECES = st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/digest; boundary=\"b\"\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Type: text/plain; x*0*=y; x*1=z\r\n", b"\r\n",
    b"\r\n--a\r\n",
    b"--b\r\n", b"--b--\r\n", b"\n--a--", b"From: a (b) <@c:d@e>, f: g;\r\n", b"To: \"\\",
    b"Subject: =?utf-8?b?", b"From: [\\[",
    b"\0", b"\xff", b"\r", b"\n", b" ", b":", b"MIME-Version: 1.0\r\n",
    b"Content-Disposition: a; b=\"c\r\n d\"\r\n",
])  # fmt: skip


class AnyMessageTests(SynchronousTestCase):
    def _check(self, message: bytes) -> None:
        index = index_message(message)
        for ready in (index.envelope, index.body, index.bodystructure):
            self.assertEqual(len(parse_values(ready)), 1)
            self.assertNotIn(b"\0", ready)
        [envelope] = parse_values(index.envelope)
        self.assertEqual(len(envelope), 10)
        self._check_part(index.root, 0, len(message), message)
        self.assertEqual(index.lines, message.count(b"\n"))
        self.assertEqual(index.root.end, len(message))
        self.assertEqual(MessageIndex.decode(index.encode()), index)

    def _check_part(self, part: Part, start: int, end: int, message: bytes) -> None:
        self.assertTrue(start <= part.header <= part.body <= part.end <= end, (part, start, end))
        self.assertEqual(part.lines, message.count(b"\n", part.body, part.end))
        at = part.body
        for child in part.parts:
            self._check_part(child, at, part.end, message)
            at = child.end

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(st.lists(PIECES, max_size=25))
    def test_pieces(self, pieces: list[bytes]) -> None:
        """Any arrangement of what mail is made of has an index whose parts lie within each other."""
        self._check(b"".join(pieces))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.binary(max_size=200))
    def test_octets(self, message: bytes) -> None:
        """So have any octets."""
        self._check(message)

    def test_cut(self) -> None:
        """And a message that ends at any octet."""
        for at in range(len(NESTED)):
            self._check(NESTED[:at])
