"""Bodies that are sent as they are read."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred

from mailftp.web.content import PIECE, FileContent
from mailftp.web.pages import Answer, Page, Visit
from mailftp.wire.reading import FileReader
from tests.web.site import WebCase, responses


class Sent:
    """Pieces that the test gives."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []
        self.closed = 0

    def __aiter__(self) -> Sent:
        return self

    async def __anext__(self) -> bytes:
        self.asked.append(Deferred())
        piece = await self.asked[-1]
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self.closed += 1


class SentPage(Page):
    def __init__(self, pieces: Sent) -> None:
        self.pieces = pieces

    def answer(self, visit: Visit) -> Answer:
        return Answer(b"", headers={"Content-Length": "6"}, pieces=self.pieces)


GET = b"GET /sent HTTP/1.1\r\nHost: mx.a.test\r\n\r\n"


class Streams(WebCase):
    """However an answer ends, what is open for it is closed, once."""

    def setUp(self) -> None:
        super().setUp()
        self.pieces = Sent()
        self.root.at("/sent", SentPage(self.pieces))

    def test_whole(self) -> None:
        client = self.connect()
        client.exchange(GET)
        for piece in (b"abc", b"def", b""):
            self.pieces.asked[-1].callback(piece)
        [response] = responses(client.exchange(b""))
        self.assertEqual((response.body, self.pieces.closed), (b"abcdef", 1))
        # The connection is good for another request.
        client.exchange(GET)
        self.assertEqual(len(self.pieces.asked), 4)

    def test_head(self) -> None:
        response = self.ask("/sent", method="HEAD")
        self.assertEqual(response.headers["Content-Length"], "6")
        self.assertEqual((self.pieces.asked, self.pieces.closed), ([], 1))

    def test_cut_off(self) -> None:
        client = self.connect()
        client.exchange(GET)
        self.pieces.asked[-1].callback(b"abc")
        self.pieces.asked[-1].errback(OSError("the disk is gone"))
        said = client.exchange(b"")
        [logged] = self.flushLoggedErrors(OSError)
        self.assertEqual(str(logged.value), "the disk is gone")
        self.assertTrue(said.endswith(b"\r\n\r\nabc"))
        self.assertEqual((client.closed, self.pieces.closed), (True, 1))

    def test_client_gone(self) -> None:
        client = self.connect()
        client.exchange(GET)
        client.transport.abortConnection()
        client.pump()
        self.pieces.asked[-1].callback(b"abc")
        self.assertEqual((self.pieces.closed, len(self.pieces.asked)), (1, 1))


class FileContents(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.octets = os.urandom(2 * PIECE + 5)
        self.path.write_bytes(self.octets)
        self.closed: list[int] = []

    def opened(self, offset: int, length: int) -> FileContent:
        descriptor = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        return FileContent(FileReader(), descriptor, offset, length, lambda: self.closed.append(descriptor))

    def whole(self, content: FileContent) -> bytes:
        async def read() -> bytes:
            return b"".join([piece async for piece in content])

        return self.successResultOf(Deferred.fromCoroutine(read()))

    def test_parts(self) -> None:
        size = len(self.octets)
        for offset, length in ((0, size), (5, PIECE), (size - 1, 1), (3, 0)):
            self.assertEqual(self.whole(self.opened(offset, length)), self.octets[offset : offset + length])

    def test_shorter(self) -> None:
        async def read() -> None:
            async for _ in self.opened(0, len(self.octets) + 1):
                pass

        self.failureResultOf(Deferred.fromCoroutine(read()), EOFError)
