"""Headers of submitted messages: completed on the way, the rest untouched."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailftp.intake.header import HeaderWatch
from mailftp.intake.refused import Refused
from mailftp.intake.submission import HEADER_LIMIT, CompletingSink, complete_header
from mailftp.message.fields import count, header_end, without
from mailftp.store.records import StagedBody

FULL = b"From: a@b.test\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <x@y>\r\nSubject: s\r\n"


class KeepingSink:
    def __init__(self) -> None:
        self.data = b""
        self.wait: Deferred[None] | None = None
        self.aborted = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.data += data
        return self.wait

    def finish(self) -> Deferred[StagedBody]:
        return succeed(StagedBody(len(self.data), b"", self.data))

    def abort(self) -> None:
        self.aborted = True


def complete(header: bytes) -> bytes:
    return complete_header(header, hostname="mx.example.test", now=0.0)


class SubmissionTests(SynchronousTestCase):
    def through(self, message: bytes, piece: int) -> bytes:
        kept = KeepingSink()
        sink = CompletingSink(kept, complete)
        for start in range(0, len(message), piece):
            self.assertIsNone(sink.write(message[start : start + piece]))
        self.successResultOf(sink.finish())
        return kept.data

    def test_complete_is_untouched(self) -> None:
        """A header that has everything passes octet by octet as it came."""
        message = FULL + b"\r\nBody\r\n\r\nBcc: not a field\r\n"
        for piece in (1, 2, 7, len(message)):
            self.assertEqual(self.through(message, piece), message)

    def test_missing_fields_are_added(self) -> None:
        """Date and Message-ID appear above what is there, which stays octet for octet."""
        message = b"Subject: s\r\n\r\nBody\r\n"
        got = self.through(message, 3)
        self.assertRegex(
            got,
            rb"\ADate: Thu, 01 Jan 1970 00:00:00 \+0000\r\nMessage-ID: <[0-9a-f]{32}@mx\.example\.test>\r\n",
        )
        self.assertTrue(got.endswith(b"example.test>\r\n" + message))

    def test_names_in_any_case(self) -> None:
        """A field is there whatever the case of its name."""
        header = (
            FULL.replace(b"From", b"FROM").replace(b"Date", b"date").replace(b"Message-ID", b"Message-Id")
        )
        self.assertEqual(complete(header), header)

    def test_bcc_is_removed(self) -> None:
        """Bcc goes, folded and in any case, and nothing else does."""
        got = self.through(
            FULL + b"BCC: x@y.test,\r\n z@y.test\r\nTo: t@y.test\r\nBcc: q\r\n\r\nBody\r\n",
            5,
        )
        self.assertEqual(got, FULL + b"To: t@y.test\r\n\r\nBody\r\n")

    def test_no_header(self) -> None:
        """Text without a header, an empty header and no message stay as they are below what is added."""
        for message in (b"Hello there\r\nBye\r\n", b"\r\nHello there\r\nBye\r\n", b""):
            for piece in (1, 4, 100):
                got = self.through(message, piece)
                self.assertEqual((count(got, "Date"), count(got, "Message-ID")), (1, 1))
                self.assertTrue(got.endswith(b"@mx.example.test>\r\n" + message))

    def test_line_that_is_no_field(self) -> None:
        """A Bcc below a broken line is not told either, and nothing is put in between."""
        got = self.through(FULL + b"no field\r\nBcc: q\r\n\r\nBody\r\n", 6)
        self.assertEqual(got, FULL + b"no field\r\n\r\nBody\r\n")

    def test_mbox_line(self) -> None:
        """A Date below an mbox "From " line counts: no second one is added."""
        message = b"From someone Fri Apr 06 16:46:09 2001\r\n" + FULL + b"\r\nBody\r\n"
        self.assertEqual(self.through(message, 5), message)

    def test_endless_header(self) -> None:
        """A header that does not end is refused, and not kept in memory meanwhile."""
        kept = KeepingSink()
        sink = CompletingSink(kept, complete)
        line = b"X-Long: " + b"x" * 990 + b"\r\n"
        for _ in range(2 * HEADER_LIMIT // 1000):
            sink.write(line)
        self.assertEqual(self.failureResultOf(sink.finish(), Refused).value.code, 552)
        self.assertEqual(kept.data, b"")

    def test_large_text_without_header(self) -> None:
        """Much text without an empty line is a body and not an endless header."""
        message = b"just text\r\n" * 60_000
        got = self.through(message, 16384)
        self.assertTrue(got.endswith(b"@mx.example.test>\r\n" + message))

    def test_back_pressure(self) -> None:
        """What the store says about waiting reaches the one who writes."""
        kept = KeepingSink()
        kept.wait = Deferred()
        sink = CompletingSink(kept, complete)
        self.assertIsNone(sink.write(FULL))
        self.assertIs(sink.write(b"\r\nBody\r\n"), kept.wait)
        late = CompletingSink(kept, complete)
        late.write(FULL)
        finished = late.finish()
        self.assertNoResult(finished)
        kept.wait.callback(None)
        self.successResultOf(finished)

    def test_any_header(self) -> None:
        """However it is cut, the text comes through and a header has each field and no Bcc."""
        lines = st.sampled_from(
            [b"From: x@y\r\n", b"Bcc: q\r\n", b"Date: x\r\n", b"\r\n", b"text\r\n", b" folded\r\n"]
        )

        @settings(max_examples=200, deadline=None, derandomize=True)
        @given(st.lists(lines, max_size=8), st.integers(1, 9))
        def check(parts: list[bytes], piece: int) -> None:
            got = self.through(b"".join(parts), piece)
            header = got[: header_end(got)]
            for name in ("Date", "Message-ID"):
                self.assertGreaterEqual(count(header, name), 1)
            if not parts or not parts[0].startswith((b"text", b" folded")):
                self.assertEqual(header, without(header, ("Bcc",)))
            self.assertEqual(got.count(b"text\r\n"), parts.count(b"text\r\n"))

        check()


class WatchTests(SynchronousTestCase):
    def test_cut_anywhere(self) -> None:
        """Hops and owners are found wherever the pieces end, and only in the header."""
        message = (
            b"Received: a\r\n b\r\nrECEIVED: c\r\nX-Received: no\r\nDelivered-To: Bob@Example.test \r\n"
            b"Subject: Received: no\r\n\r\nReceived: no\r\nDelivered-To: no@x.test\r\n"
        )
        for piece in range(1, len(message)):
            watch = HeaderWatch()
            for start in range(0, len(message), piece):
                watch.feed(message[start : start + piece])
            # A real scanner parts no CR from its LF; the watch must not mind when one does.
            self.assertEqual((watch.hops, watch.delivered_to), (2, {"bob@example.test"}), piece)
            self.assertTrue(watch.done)

    def test_empty_header(self) -> None:
        """A message that begins with an empty line has no header."""
        watch = HeaderWatch()
        watch.feed(b"\r\nReceived: no\r\n\r\n")
        self.assertEqual((watch.hops, watch.done), (0, True))

    def test_long_line_is_not_kept(self) -> None:
        """A header line of a megabyte leaves a kilobyte behind, and the next line is still seen."""
        watch = HeaderWatch()
        for _ in range(1000):
            watch.feed(b"x" * 1000)
            self.assertLess(len(watch._carry), 2100)
        watch.feed(b"\r\nReceived: a\r\n\r\n")
        self.assertEqual((watch.hops, watch.done), (1, True))
