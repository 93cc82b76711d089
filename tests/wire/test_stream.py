"""Streams: all of it, in order, without holding it, on every kind of transport."""

from __future__ import annotations

import hashlib
import os
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.wire.reading import PIECE, FileReader, PooledReader
from mailftp.wire.stream import CHUNK, StreamTarget, send_chunks, send_file
from mailftp.wire.transport import install
from tests import certificates
from tests.connector import BUFFER, connect, wiring
from tests.wire.network import dial
from tests.wire.test_connection import TalkFactory, limited


class SlowReader(FileReader):
    """Has nothing in the page cache, and reads when told."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Deferred[bytes], tuple[int, int, int]]] = []

    def cached(self, descriptor: int, offset: int, length: int) -> None:
        return None

    def read(self, descriptor: int, offset: int, length: int) -> Deferred[bytes]:
        waiting: Deferred[bytes] = Deferred(lambda d: None)
        self.waiting.append((waiting, (descriptor, offset, length)))
        return waiting

    def go(self) -> None:
        waiting, (descriptor, offset, length) = self.waiting.pop(0)
        waiting.callback(os.pread(descriptor, length, offset))


def a_file(test: Any, size: int) -> tuple[int, bytes]:
    """An open file of octets that differ everywhere, and its content."""
    content = hashlib.shake_128(b"file").digest(size)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        descriptor = os.dup(file.fileno())
    test.addCleanup(os.close, descriptor)
    return descriptor, content


class Memory(SynchronousTestCase):
    """To a Connection whose transport buffers, as under TLS."""

    def setUp(self) -> None:
        self.reader = FileReader()
        self.open(self.reader)

    def open(self, reader: FileReader, **options: Any) -> None:
        self.factory = TalkFactory(wiring("smtp", reader=reader, **options))
        self.client = connect(self.factory)
        self.client.received()

    def test_range(self) -> None:
        """A range of the file arrives, and the number of its octets."""
        descriptor, content = a_file(self, 3 * CHUNK)
        sent = send_file(self.client.protocol, descriptor, 1000, 2 * CHUNK)
        self.assertEqual(self.client.received(), content[1000 : 1000 + 2 * CHUNK])
        self.assertEqual(self.successResultOf(sent), 2 * CHUNK)
        self.assertEqual(self.successResultOf(send_file(self.client.protocol, descriptor, 5, 0)), 0)
        self.assertEqual(self.client.exchange(b"a\r\n"), b"250 a\r\n")

    def test_not_held(self) -> None:
        """A client that does not read makes nothing pile up."""
        descriptor, content = a_file(self, 40 * CHUNK)
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.pump()
        self.assertLessEqual(len(self.client.transport.buffer), BUFFER + CHUNK)
        self.assertNoResult(sent)
        self.client.reading = True
        self.assertEqual(self.client.received(), content)
        self.assertEqual(self.successResultOf(sent), len(content))

    def test_not_torn(self) -> None:
        """What is sent meanwhile follows the stream, commands wait, and so does closing."""
        descriptor, content = a_file(self, 3 * CHUNK)
        self.client.reading = False
        self.client.protocol.send(b"before;")
        send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.protocol.send(b"* after\r\n")
        self.client.send(b"a\r\nQUIT\r\n")
        self.client.reading = True
        self.assertEqual(self.client.received(), b"before;" + content + b"* after\r\n250 a\r\n221 bye\r\n")
        self.assertTrue(self.client.closed)

    def test_close_waits(self) -> None:
        """A connection that is closed while a stream runs closes after it."""
        descriptor, content = a_file(self, 3 * CHUNK)
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.protocol.close()
        self.client.pump()
        self.assertFalse(self.client.closed)
        self.client.reading = True
        self.assertEqual(self.client.received(), content)
        self.assertTrue(self.client.closed)
        self.assertEqual(self.successResultOf(sent), len(content))

    def test_lost(self) -> None:
        """When the connection is lost the stream fails, and so does one that begins later."""
        descriptor, content = a_file(self, 3 * CHUNK)
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.drop()
        self.failureResultOf(sent, ConnectionLost)
        self.failureResultOf(send_file(self.client.protocol, descriptor, 0, 1), ConnectionDone)

    def test_lost_while_reading(self) -> None:
        """While a thread still reads the file, the loss is not told: the caller would close the file."""
        descriptor, content = a_file(self, 10)
        reader = SlowReader()
        self.open(reader)
        sent = send_file(self.client.protocol, descriptor, 0, 10)
        self.client.drop()
        self.assertNoResult(sent)
        reader.go()
        self.failureResultOf(sent, ConnectionLost)

    def test_threads(self) -> None:
        """What is not in the page cache is read elsewhere, piece by piece."""
        descriptor, content = a_file(self, 2 * CHUNK + 5)
        reader = SlowReader()
        self.open(reader)
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        got = b""
        for _ in range(3):
            self.assertNoResult(sent)
            reader.go()
            got += self.client.received()
        self.assertEqual(got, content)
        self.assertEqual(self.successResultOf(sent), len(content))

    def test_shorter(self) -> None:
        """A file that ends too soon is an EOFError; the connection is still there."""
        descriptor, content = a_file(self, 10)
        self.failureResultOf(send_file(self.client.protocol, descriptor, 0, 11), EOFError)
        self.assertEqual(self.client.exchange(b"a\r\n"), content + b"250 a\r\n")

    def test_unreadable(self) -> None:
        """A file that cannot be read is an OSError."""
        for reader in FileReader(), None:
            self.open(reader or SlowReader())
            if reader is None:
                self.client.protocol.reader.read = FileReader().read  # type: ignore[method-assign]
            self.failureResultOf(send_file(self.client.protocol, -1, 0, 11), OSError)

    def test_cancel(self) -> None:
        """Cancelling ends the stream; the connection goes on."""
        descriptor, content = a_file(self, 40 * CHUNK)
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.protocol.send(b"* aborted\r\n")
        sent.cancel()
        self.failureResultOf(sent, CancelledError)
        self.client.reading = True
        got = self.client.received()
        self.assertTrue(got.endswith(b"* aborted\r\n"))
        self.assertLess(len(got), 3 * CHUNK)
        self.assertEqual(self.client.exchange(b"a\r\n"), b"250 a\r\n")

    def test_stalled(self) -> None:
        """A client that reads nothing of a stream for the idle time is aborted; one that reads is not."""
        self.open(self.reader, settings=limited(idle_timeout={"smtp": 20.0}, login_timeout=1e9))
        descriptor, content = a_file(self, 8 * CHUNK)
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        for _ in range(5):
            self.factory.wiring.clock.pump([1.0] * 15)
            del self.client.transport.buffer[:10]
            self.client.pump()
        self.assertNoResult(sent)
        self.factory.wiring.clock.pump([1.0] * 22)
        self.client.pump()
        self.assertTrue(self.client.closed)
        self.assertTrue(isinstance(self.failureResultOf(sent), Failure))

    def test_chunks(self) -> None:
        """Generated pieces arrive in order; an empty one is the end; none is asked for too early."""
        pieces = [b"a" * CHUNK, b"b" * CHUNK, b"c", b""]
        asked = []

        def read() -> Deferred[bytes]:
            asked.append(1)
            return succeed(pieces[len(asked) - 1])

        self.client.reading = False
        sent = send_chunks(self.client.protocol, read)
        self.assertEqual(len(asked), 1)
        self.client.reading = True
        self.assertEqual(self.client.received(), b"".join(pieces))
        self.assertEqual(self.successResultOf(sent), 2 * CHUNK + 1)

    def test_many_chunks(self) -> None:
        """Ten thousand pieces that are there at once do not exhaust the stack."""
        left = iter([b"x"] * 10000 + [b""])
        self.assertEqual(
            self.successResultOf(send_chunks(self.client.protocol, lambda: succeed(next(left)))), 10000
        )
        self.assertEqual(len(self.client.received()), 10000)

    def test_chunks_fail(self) -> None:
        """What `read` fails with, be it at once, ends the stream; the connection goes on."""

        def broken() -> Deferred[bytes]:
            raise KeyError("gone")

        self.failureResultOf(send_chunks(self.client.protocol, broken), KeyError)
        waiting: Deferred[bytes] = Deferred()
        sent = send_chunks(self.client.protocol, lambda: waiting)
        waiting.errback(Failure(KeyError("gone")))
        self.failureResultOf(sent, KeyError)
        self.assertEqual(self.client.exchange(b"a\r\n"), b"250 a\r\n")

    def test_two(self) -> None:
        """Two streams at once are the caller's error."""
        waiting: Deferred[bytes] = Deferred()
        sent = send_chunks(self.client.protocol, lambda: waiting)
        self.assertRaises(RuntimeError, send_file, self.client.protocol, 0, 0, 1)
        waiting.callback(b"")
        self.assertEqual(self.successResultOf(sent), 0)

    def test_starttls(self) -> None:
        """Under TLS the octets are the same, and encrypted."""
        self.open(self.reader, tls=certificates.service(self.mktemp()))
        self.client.exchange(b"STARTTLS\r\n")
        self.client.start_tls()
        descriptor, content = a_file(self, 5 * CHUNK + 1)
        self.client.transport.writes.clear()
        self.client.reading = False
        sent = send_file(self.client.protocol, descriptor, 0, len(content))
        self.client.pump()
        self.assertLess(len(self.client.transport.buffer), BUFFER + 2 * CHUNK)
        self.client.reading = True
        self.assertEqual(self.client.received(), content)
        self.assertEqual(self.successResultOf(sent), len(content))
        self.assertNotIn(content[:64], b"".join(self.client.transport.writes))


class Data(StreamTarget):
    """A data connection as FTP has it."""

    def connectionMade(self) -> None:
        self.factory.made(self)  # type: ignore[union-attr]


class Sockets(TestCase):
    """To real sockets, by our own transport and by Twisted's."""

    def setUp(self) -> None:
        self.pool = PooledReader(reactor)
        self.pool.startService()
        self.addCleanup(self.pool.stopService)

    async def connection(self, fast: bool, tls: bool = False) -> tuple[Any, Data]:
        """A client and the data connection at the other end."""
        made: Deferred[Data] = Deferred()
        factory = Factory.forProtocol(Data)
        factory.made = made.callback  # type: ignore[attr-defined]
        if tls:
            factory = certificates.service(self.mktemp(), "ftp").wrap(factory)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.assertTrue(install(port)) if fast else None
        self.addCleanup(port.stopListening)
        client = await dial(reactor, port.getHost().port)
        if tls:
            client.transport.startTLS(CertificateOptions())
        data = await made
        data.reader = self.pool
        return client, data

    async def transfer(self, size: int, fast: bool, tls: bool = False, cached: bool = True) -> None:
        descriptor, content = a_file(self, size)
        client, data = await self.connection(fast, tls)
        if not cached:
            self.pool.cached = lambda *args: None  # type: ignore[method-assign]
        sent = send_file(data, descriptor, 0, size)
        sent.addBoth(lambda result: data.transport.loseConnection() or result)
        got = await client.lost
        self.assertEqual(await sent, size)
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(content).digest())

    def test_transfers(self) -> Deferred[None]:
        """Small and large files arrive whole, from the page cache and by threads, plain and by TLS."""

        async def test() -> None:
            for fast in True, False:
                for tls in False, True:
                    for cached in True, False:
                        for size in 0, 1, CHUNK + 1, 5 * PIECE + 3:
                            self.pool = PooledReader(reactor)
                            self.pool.startService()
                            await self.transfer(size, fast, tls, cached)
                            self.pool.stopService()

        return Deferred.fromCoroutine(test())

    def test_same_turn(self) -> Deferred[None]:
        """A small file in the page cache is sent before send_file returns."""

        async def test() -> None:
            descriptor, content = a_file(self, 4096)
            client, data = await self.connection(fast=True)
            self.assertEqual(self.successResultOf(send_file(data, descriptor, 0, 4096)), 4096)
            data.transport.loseConnection()
            self.assertEqual(await client.lost, content)

        return Deferred.fromCoroutine(test())

    def test_slow_client(self) -> Deferred[None]:
        """A client that does not read stops the stream, with nothing buffered; its loss fails it."""

        async def test() -> None:
            descriptor, content = a_file(self, 32 * PIECE)
            client, data = await self.connection(fast=True)
            client.transport.pauseProducing()
            sent = send_file(data, descriptor, 0, len(content))
            for _ in range(20):
                turn: Deferred[None] = Deferred()
                reactor.callLater(0, turn.callback, None)
                await turn
            self.assertFalse(sent.called)
            self.assertEqual(data.transport.unsent, 0)
            client.transport.abortConnection()
            with self.assertRaises(ConnectionLost):
                await sent

        return Deferred.fromCoroutine(test())

    def test_lost_before(self) -> Deferred[None]:
        """A data connection that is gone already fails at once."""

        async def test() -> None:
            client, data = await self.connection(fast=True)
            data.transport.abortConnection()
            await client.lost
            self.failureResultOf(send_file(data, 0, 0, 1), ConnectionDone)

        return Deferred.fromCoroutine(test())


class Reading(SynchronousTestCase):
    """FileReader."""

    def test_cached(self) -> None:
        """What was just written is in the page cache; past the end there is nothing."""
        descriptor, content = a_file(self, 100)
        view = FileReader().cached(descriptor, 10, 1000)
        if view is None:
            self.skipTest("this file system cannot say what it has in memory")
        self.assertEqual(bytes(view), content[10:])
        self.assertEqual(FileReader().cached(descriptor, 100, 10), b"")
        self.assertRaises(OSError, FileReader().cached, -1, 0, 1)

    def test_clock_is_not_needed(self) -> None:
        """A stream in memory takes no time of the clock's."""
        clock = Clock()
        client = connect(TalkFactory(wiring("smtp", clock=clock)))
        descriptor, _ = a_file(self, 10 * CHUNK)
        self.assertEqual(self.successResultOf(send_file(client.protocol, descriptor, 0, 1000)), 1000)
