"""The sink in front of the store, wherever the network cuts: what came passes, but for what is forged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailftp.intake.inspected import HeaderRoom, InspectedSink
from mailftp.intake.refused import Refused
from mailftp.intake.structure import PartsWatch, measure
from mailftp.message.fields import header_bounds
from mailftp.origin.findings import without_forged
from mailftp.settings import Limits
from mailftp.store.records import StagedBody

HOST = "mx.example.test"
PARTS = (
    b"From: a@e.test\r\n",
    b"Authentication-Results: mx.example.test; spf=pass\r\n",
    b"Authentication-Results: other.test; spf=pass\r\n",
    b" folded\r\n",
    b"\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"--b\r\n",
    b"--b--\r\n",
    b"text",
    b".\r\n",
)


class Kept:
    def __init__(self) -> None:
        self.data = b""
        self.aborted = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.data += data
        return None

    def finish(self) -> Deferred[StagedBody]:
        return succeed(StagedBody(len(self.data), b"", self.data))

    def abort(self) -> None:
        self.aborted = True


class Seen:
    """In the place of an inspection."""

    def __init__(self) -> None:
        self.text = b""
        self.abandoned = 0

    def body(self, piece: bytes) -> None:
        self.text += piece

    def abandon(self) -> None:
        self.abandoned += 1


class SinkTests(SynchronousTestCase):
    def begin(self, limit: int = 100_000) -> InspectedSink:
        self.kept, self.seen, self.parts, self.headers = Kept(), Seen(), PartsWatch(), []
        self.room = HeaderRoom()

        def read_header(header: bytes) -> bytes:
            self.headers.append(header)
            return without_forged(header, HOST)

        return InspectedSink(self.kept, self.seen, read_header, limit, self.parts, self.room)  # type: ignore[arg-type]

    @given(st.lists(st.sampled_from(PARTS), max_size=12), st.lists(st.integers(0, 400), max_size=12))
    def test_any_message_cut_anywhere(self, parts: list[bytes], cuts: list[int]) -> None:
        message = b"".join(parts) + b"\r\n"
        sink = self.begin()
        ends = sorted({cut for cut in cuts if cut < len(message)} | {len(message)})
        for start, end in zip([0, *ends], ends, strict=False):
            sink.write(message[start:end])
        self.successResultOf(sink.finish())
        end, start = header_bounds(message)
        self.assertEqual(self.headers, [message[:end]])
        self.assertEqual(self.seen.text, message[start:])
        self.assertEqual(self.kept.data, without_forged(message[:end], HOST) + message[end:])
        self.assertEqual(self.room.held, 0)
        # What could be parts is never counted as fewer than there are.
        found, depth = measure(StagedBody(len(message), b"", message))
        for limits in (Limits(mime_parts=max(1, found - 1)), Limits(mime_depth=max(1, depth - 1))):
            over = found > limits.mime_parts or depth > limits.mime_depth
            self.assertTrue(self.parts.may_exceed(limits) or not over)

    def test_too_large(self) -> None:
        """In one piece or in many; nothing of it goes further."""
        message = b"X: " + b"y" * 2000 + b"\r\n\r\nbody\r\n"
        for step in (1, 100, len(message)):
            sink = self.begin(limit=1000)
            for at in range(0, len(message), step):
                sink.write(message[at : at + step])
            self.assertEqual(self.failureResultOf(sink.finish(), Refused).value.status, "5.3.4")
            self.assertEqual((self.kept.data, self.headers, self.room.held), (b"", [], 0))

    def test_aborted(self) -> None:
        """In the midst of a large header, and after it: the room is given back, and nobody is asked more."""
        for text in (b"X: " + b"y" * 90_000, b"X: " + b"y" * 90_000 + b"\r\n\r\nbody"):
            sink = self.begin()
            sink.write(text[:80_000])
            self.assertGreater(self.room.held, 0)
            sink.write(text[80_000:])
            sink.abort()
            self.assertEqual((self.room.held, self.seen.abandoned, self.kept.aborted), (0, 1, True))
