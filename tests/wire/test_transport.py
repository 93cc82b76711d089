"""The transport that sends at once: that it does, and that Twisted is still as it expects."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

from twisted.internet import abstract, reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.unix import Port as UnixPort
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from mailftp.wire.transport import DISCARDING, FastServer, below, direct, install
from tests import certificates
from tests.wire.network import dial


class Guard(SynchronousTestCase):
    """What FastServer takes from Twisted without Twisted's promise."""

    def test_attributes(self) -> None:
        """The private attributes are there and begin as they did when this was written."""
        descriptor = abstract.FileDescriptor(reactor)
        self.assertEqual(descriptor.dataBuffer, b"")
        self.assertEqual(descriptor.offset, 0)
        self.assertEqual(descriptor._tempDataBuffer, [])
        self.assertEqual(descriptor._tempDataLen, 0)
        self.assertIs(descriptor._writeDisconnected, False)
        self.assertEqual(descriptor.disconnecting, 0)
        self.assertTrue(callable(descriptor._postLoseConnection))
        self.assertIs(tcp.Connection._aborting, False)
        self.assertIs(tcp.Connection.TLS, False)
        self.assertIs(tcp.Port.transport, tcp.Server)

    def test_buffering(self) -> None:
        """What is written to a FileDescriptor waits in `_tempDataBuffer`, counted by `_tempDataLen`."""
        descriptor = abstract.FileDescriptor(reactor)
        descriptor.connected = 1
        descriptor.startWriting = lambda: None  # type: ignore[method-assign]
        descriptor.write(b"abc")
        self.assertEqual((descriptor._tempDataBuffer, descriptor._tempDataLen), ([b"abc"], 3))


class Talk(Protocol):
    """Keeps what happens."""

    def connectionMade(self) -> None:
        self.data = b""
        self.lost: Deferred[object] = Deferred()
        self.factory.made(self)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure) -> None:
        self.lost.callback(reason.value)


class Later:
    """A reactor whose later calls are a clock's."""

    def __init__(self, real: Any, clock: Clock) -> None:
        self._real, self.callLater = real, clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Sending(TestCase):
    """FastServer on a real socket."""

    def setUp(self) -> Deferred[None]:
        self.factory = Factory.forProtocol(Talk)
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.assertTrue(install(self.port, backlog=10))
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """A connection: a socket that the reactor does not read from, and the server's end."""
        made: Deferred[Talk] = Deferred()
        self.factory.made = made.callback  # type: ignore[attr-defined]
        self.client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.client.setblocking(False)
        self.addCleanup(self.client.close)
        self.server = await made
        self.addCleanup(self.server.transport.abortConnection)

    async def turns(self, count: int = 1) -> None:
        for _ in range(count):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn

    async def read(self, size: int) -> bytes:
        data = b""
        for _ in range(100000):
            if len(data) >= size:
                break
            try:
                data += self.client.recv(1 << 20)
            except BlockingIOError:
                await self.turns()
        return data

    def test_at_once(self) -> None:
        """A write arrives before anything else happens, and nothing is left over."""
        self.server.transport.write(b"220 hi\r\n")
        self.assertEqual(self.client.recv(100), b"220 hi\r\n")
        self.assertEqual(self.server.transport.unsent, 0)

    def test_order(self) -> Deferred[None]:
        """Whatever the sizes, and however full the socket, the octets arrive in order."""

        async def test() -> None:
            picked = random.Random(5)
            pieces = [os.urandom(picked.choice([0, 1, 100, 5000, 70000, 3000000])) for _ in range(20)]
            for piece in pieces:
                self.server.transport.write(piece)
            self.server.transport.writeSequence([b"the ", b"end"])
            self.assertGreater(self.server.transport.unsent, 0)
            self.server.transport.loseConnection()
            whole = b"".join(pieces) + b"the end"
            self.assertEqual(await self.read(len(whole)), whole)
            await self.server.lost
            self.assertEqual(self.client.recv(1), b"")

        return Deferred.fromCoroutine(test())

    def test_close(self) -> Deferred[None]:
        """Closing with nothing left to send closes in the next turn, once."""

        async def test() -> None:
            self.server.transport.write(b"bye")
            self.server.transport.loseConnection()
            self.server.transport.loseConnection()
            self.assertFalse(self.server.lost.called)
            await self.turns(2)
            self.assertTrue(self.server.lost.called)
            self.assertEqual(self.client.recv(10), b"bye")
            self.assertEqual(self.client.recv(10), b"")
            self.server.transport.write(b"late")

        return Deferred.fromCoroutine(test())

    def test_close_while_reading(self) -> Deferred[None]:
        """Closing from inside dataReceived closes when that returns, by no further call, once; also where the
        protocol is told of one half's end, and where it says more after it closed."""
        clock = Clock()

        async def test() -> None:
            for last, half_closes in ((b"bye", False), (b"bye", True), (b"x" * 10000000 + b"bye", False)):
                transport: Any = self.server.transport
                transport.reactor = Later(transport.reactor, clock)
                if half_closes:
                    directlyProvides(self.server, IHalfCloseableProtocol)
                told: list[str] = []
                self.server.readConnectionLost = lambda told=told: told.append("half")

                def close(data: bytes, transport: Any = transport, last: bytes = last) -> None:
                    transport.loseConnection()
                    transport.write(last)
                    transport.loseConnection()
                    self.assertFalse(self.server.lost.called)

                self.server.dataReceived = close  # type: ignore[method-assign]
                self.client.sendall(b"QUIT\r\n")
                self.assertEqual(await self.read(len(last)), last)
                reason = await self.server.lost
                self.assertIsInstance(reason, ConnectionDone)
                self.assertEqual((self.client.recv(1), told), (b"", []))
                self.assertEqual(clock.getDelayedCalls(), [])
                self.client.close()
                await self.begin()

        return Deferred.fromCoroutine(test())

    def test_unread_while_reading(self) -> Deferred[None]:
        """Closed from inside dataReceived over octets that are not read yet: the last word is not lost."""

        async def test() -> None:
            transport = self.server.transport
            transport.bufferSize = 6

            def close(data: bytes) -> None:
                transport.write(b"421 bye\r\n")
                transport.loseConnection()

            self.server.dataReceived = close  # type: ignore[method-assign]
            self.client.sendall(b"EHLO me\r\n" * 1000)
            self.assertEqual(await self.read(9), b"421 bye\r\n")
            self.client.sendall(b"EHLO me\r\n" * 1000)
            await self.turns(2)
            self.assertEqual(self.client.recv(1), b"")
            self.client.close()
            await self.server.lost

        return Deferred.fromCoroutine(test())

    def test_abort_while_reading(self) -> Deferred[None]:
        """Closing and then aborting inside dataReceived is one loss, by abortion."""

        async def test() -> None:
            def close(data: bytes) -> None:
                self.server.transport.loseConnection()
                self.server.transport.abortConnection()

            self.server.dataReceived = close  # type: ignore[method-assign]
            self.client.sendall(b"x")
            self.assertIsInstance(await self.server.lost, ConnectionAborted)

        return Deferred.fromCoroutine(test())

    def test_unread(self) -> Deferred[None]:
        """The last word reaches a client that was still sending: what it sends is read away first."""

        async def test() -> None:
            for buffered in b"421 bye\r\n", b"x" * 10000000 + b"421 bye\r\n":
                self.server.transport.pauseProducing()
                self.client.sendall(b"EHLO me\r\n" * 1000)
                await self.turns(2)
                self.server.transport.write(buffered)
                self.server.transport.loseConnection()
                self.assertEqual(await self.read(len(buffered)), buffered)
                self.client.sendall(b"MAIL FROM:<>\r\n" * 1000)
                await self.turns(2)
                self.assertEqual(self.client.recv(1), b"")
                self.client.close()
                await self.server.lost
                self.assertEqual(self.server.data, b"")
                await self.begin()

        return Deferred.fromCoroutine(test())

    def test_unread_for_ever(self) -> Deferred[None]:
        """Who never stops sending is cut off after DISCARDING seconds."""
        clock = Clock()

        async def test() -> None:
            transport = self.server.transport
            transport.reactor = Later(transport.reactor, clock)
            transport.pauseProducing()
            self.client.sendall(b"EHLO me\r\n")
            await self.turns(2)
            transport.loseConnection()
            clock.advance(0)
            await self.turns(2)
            self.assertEqual(self.client.recv(1), b"")
            self.assertFalse(self.server.lost.called)
            clock.advance(DISCARDING)
            self.assertTrue(self.server.lost.called)
            self.assertEqual(clock.getDelayedCalls(), [])

        return Deferred.fromCoroutine(test())

    def test_abort_while_closing(self) -> Deferred[None]:
        """Aborting after closing is one loss."""

        async def test() -> None:
            self.server.transport.loseConnection()
            self.server.transport.abortConnection()
            await self.turns(3)
            self.assertTrue(self.server.lost.called)

        return Deferred.fromCoroutine(test())

    def test_loss_while_writing(self) -> Deferred[None]:
        """A write to a client that has gone does not raise; the loss is told by the reactor."""

        async def test() -> None:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.client.close()
            for _ in range(3):
                self.server.transport.write(b"x" * 100000)
            self.assertFalse(self.server.lost.called)
            await self.server.lost

        return Deferred.fromCoroutine(test())

    def test_producers(self) -> Deferred[None]:
        """Push and pull producers are asked as Twisted asks them."""

        class Push:
            said: list[str] = []

            def pauseProducing(self) -> None:
                self.said.append("pause")

            def resumeProducing(self) -> None:
                self.said.append("resume")

            def stopProducing(self) -> None:
                self.said.append("stop")

        class Pull(Push):
            left = 5

            def resumeProducing(pull) -> None:
                pull.left -= 1
                if pull.left:
                    self.server.transport.write(b"p")
                else:
                    self.server.transport.unregisterProducer()

        async def test() -> None:
            self.server.transport.registerProducer(Push(), True)
            self.server.transport.write(b"small")
            self.assertEqual(Push.said, [])
            self.server.transport.write(b"x" * 20000000)
            self.assertEqual(Push.said, ["pause"])
            await self.read(20000005)
            await self.turns(2)
            self.assertEqual(Push.said, ["pause", "resume"])
            self.server.transport.unregisterProducer()
            self.server.transport.registerProducer(Pull(), False)
            self.assertEqual(await self.read(4), b"pppp")
            self.server.transport.registerProducer(Push(), True)
            self.server.transport.abortConnection()
            await self.server.lost
            self.assertEqual(Push.said[-1], "stop")

        return Deferred.fromCoroutine(test())

    def test_half_closed(self) -> Deferred[None]:
        """After our half is closed nothing more is sent."""

        async def test() -> None:
            self.server.transport.write(b"all")
            self.server.transport.loseWriteConnection()
            await self.turns(2)
            self.server.transport.write(b"more")
            self.assertEqual(await self.read(3), b"all")
            self.assertEqual(self.client.recv(10), b"")

        return Deferred.fromCoroutine(test())

    def test_when_writable(self) -> Deferred[None]:
        """The call comes when the buffer is empty, once, and not within when_writable."""

        async def test() -> None:
            calls: list[int] = []
            transport = self.server.transport
            transport.write(b"x" * 10000000)
            transport.when_writable(lambda: calls.append(transport.unsent))
            self.assertEqual(transport.send_now(memoryview(b"y")), 0)
            await self.turns(3)
            self.assertEqual(calls, [])
            await self.read(10000000)
            await self.turns(3)
            self.assertEqual(calls, [0])
            self.assertEqual(transport.send_now(memoryview(b"y")), 1)
            self.assertNotIn(transport, reactor.getWriters())

        return Deferred.fromCoroutine(test())


class Where(TestCase):
    """Which transports streams may go past, and which ports take ours."""

    def test_other_ports(self) -> None:
        """A Unix port keeps its own transport."""
        port = UnixPort(self.mktemp(), Factory())
        self.assertFalse(install(port))
        self.assertIsNot(port.transport, FastServer)

    def test_tls(self) -> Deferred[None]:
        """Under TLS nothing may send by the socket, though it is found to wait for."""
        made: Deferred[Any] = Deferred()
        factory = Factory.forProtocol(Talk)
        factory.made = made.callback  # type: ignore[attr-defined]
        port = reactor.listenTCP(
            0, certificates.service(self.mktemp(), "ftp").wrap(factory), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        install(port)

        async def test() -> None:
            client = await dial(reactor, port.getHost().port)
            server = await made
            self.assertIsNone(direct(server.transport))
            self.assertIsInstance(below(server.transport), FastServer)
            client.transport.abortConnection()
            await server.lost
            self.assertIsNone(below(None))

        return Deferred.fromCoroutine(test())
