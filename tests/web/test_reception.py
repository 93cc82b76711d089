"""Bodies that are taken as they come."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from mailftp.store.engine import StoreFull
from mailftp.web.pages import Answer, Page, Visit, refusal
from tests.web.site import WebCase, responses

HEAD = b"POST /take HTTP/1.1\r\nHost: mx.a.test\r\n"


class Taker:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.waits: list[Deferred[None]] = []
        self.slow = self.aborted = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.pieces.append(data)
        if not self.slow:
            return None
        self.waits.append(Deferred())
        return self.waits[-1]

    def finish(self) -> Deferred[Any]:
        return succeed(b"".join(self.pieces))

    def abort(self) -> None:
        self.aborted = True


class Taking(Page):
    methods = ("POST",)
    body_limit = 4 << 20

    def __init__(self) -> None:
        self.taker = Taker()
        self.begun: Deferred[Any] = Deferred()

    def begin(self, visit: Visit) -> Deferred[Any]:
        return self.begun

    def not_taken(self, failure: Failure) -> Answer | None:
        return refusal(507, "full") if failure.check(StoreFull) else None

    def answer(self, visit: Visit) -> Answer:
        return Answer(b"%d" % len(visit.received))


class Receptions(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.page = Taking()
        self.root.at("/take", self.page)

    def test_held_back(self) -> None:
        """Nothing is read or kept beyond what the transport had, until somebody takes it."""
        client = self.connect()
        client.send(HEAD + b"Content-Length: 300000\r\n\r\n" + bytes(100_000))
        self.assertFalse(client.transport.reading)
        self.assertEqual(self.page.taker.pieces, [])
        self.page.begun.callback(self.page.taker)
        client.send(bytes(200_000))
        [response] = responses(client.received())
        self.assertEqual(response.body, b"300000")

    def test_slow_disk(self) -> None:
        """A taker that asks for time gets it."""
        self.page.begun.callback(self.page.taker)
        self.page.taker.slow = True
        client = self.connect()
        client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n")
        self.assertFalse(client.transport.reading)
        self.page.taker.waits.pop().callback(None)
        client.send(b"2\r\nto\r\n0\r\n\r\n")
        self.assertEqual(client.received(), b"")
        self.page.taker.waits.pop().callback(None)
        client.pump()
        [response] = responses(client.received())
        self.assertEqual(response.body, b"6")

    def test_refused(self) -> None:
        """A short body is read to its end, and the connection stays; a long one is not."""
        self.page.begun.callback(refusal(401, "who are you", WWW_Authenticate="Basic"))
        client = self.connect()
        said = client.exchange(HEAD + b"Content-Length: 5\r\n\r\nshort")
        [response] = responses(said)
        self.assertEqual((response.status, response.headers["WWW-Authenticate"]), (401, "Basic"))
        self.assertFalse(client.closed)
        self.page.begun = succeed(refusal(401, "who are you"))
        said = client.exchange(HEAD + b"Content-Length: 3000000\r\n\r\n" + bytes(1_500_000))
        [response] = responses(said)
        self.assertEqual((response.status, response.headers["Connection"]), (401, "close"))
        self.assertEqual(self.page.taker.pieces, [])

    def test_hung_up(self) -> None:
        """Who goes before the end leaves nothing behind."""
        self.page.begun.callback(self.page.taker)
        client = self.connect()
        client.send(HEAD + b"Content-Length: 10\r\n\r\nfive.")
        client.drop()
        self.assertTrue(self.page.taker.aborted)

    def test_hung_up_early(self) -> None:
        client = self.connect()
        client.send(HEAD + b"Content-Length: 10\r\n\r\nfive.")
        client.drop()
        # It was cancelled.
        self.assertTrue(self.page.begun.called)
        self.assertEqual(self.page.taker.pieces, [])

    def test_full(self) -> None:
        """What the page knows of is said in its words."""
        self.page.begun.callback(self.page.taker)
        self.page.taker.write = lambda data: fail(StoreFull("full"))  # type: ignore[method-assign]
        client = self.connect()
        [response] = responses(client.exchange(HEAD + b"Content-Length: 4\r\n\r\nbody"))
        self.assertEqual(response.status, 507)
        self.assertTrue(self.page.taker.aborted)

    def test_too_long(self) -> None:
        self.page.begun.callback(self.page.taker)
        [response] = responses(self.connect().exchange(HEAD + b"Content-Length: 5000000\r\n\r\n"))
        self.assertEqual(response.status, 413)
