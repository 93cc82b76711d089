"""Endpoints as services: binding, real clients, PROXY headers, draining."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailftp.wire.connection import Connection, ConnectionFactory
from mailftp.wire.listener import CannotListen, ListenerService
from mailftp.wire.transport import FastServer
from tests.connector import wiring
from tests.wire.network import Client, dial
from tests.wire.test_connection import TalkFactory

ANY = "tcp:0:interface=127.0.0.1"
LOOPBACK = (ip_network("127.0.0.0/8"),)


#: Serves one client on the socket that it inherits, and says by what transport.
INHERITED = """
import os
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="smtp")
from twisted.internet import reactor
from mailftp.wire.listener import ListenerService
from tests.connector import wiring
from tests.wire.test_connection import Talk, TalkFactory
class Once(Talk):
    def closed(self, reason):
        print(type(self.transport).__name__)
        reactor.stop()
factory = TalkFactory(wiring("smtp", clock=reactor))
factory.protocol = Once
ListenerService("systemd:domain=INET:index=0", factory, reactor).startService()
reactor.run()
"""


class Who(Connection):
    """Says who the client is, and echoes."""

    def opened(self) -> None:
        self.send(f"{self.peer} {self.local} {self.peer.proxied} {self.peer.local}\r\n".encode())

    def received(self, data: bytes) -> None:
        self.send(b"<" + data + b">")


class WhoFactory(ConnectionFactory):
    protocol = Who


def run(test: Any) -> Any:
    """A test method written as a coroutine."""

    def method(self: TestCase) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    method.__name__, method.__doc__ = test.__name__, test.__doc__
    return method


class Listening(TestCase):
    """ListenerService on real sockets."""

    def serve(
        self, factory: ConnectionFactory, endpoint: str = "tcp:0:interface=127.0.0.1", **options: Any
    ) -> Any:
        service = ListenerService(endpoint, factory, reactor, key="listen.test", **options)
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def talk(self, **options: Any) -> Any:
        return self.serve(TalkFactory(wiring("smtp", clock=reactor)), drain_seconds=0.1, **options)

    @run
    async def test_echo(self) -> None:
        """A client is greeted and answered, over our own transport."""
        factory = TalkFactory(wiring("smtp", clock=reactor))
        service = self.serve(factory)
        client = await dial(reactor, service.addresses[0].port)
        self.assertEqual(await client.expect(8), b"220 hi\r\n")
        (connection,) = factory.connections
        self.assertIsInstance(connection.transport, FastServer)
        client.transport.write(b"a\r\nQUIT\r\n")
        self.assertEqual(await client.lost, b"250 a\r\n221 bye\r\n")

    @run
    async def test_half_close(self) -> None:
        """`printf 'a\\r\\nQUIT\\r\\n' | nc`: the end comes with the commands, the replies still arrive."""
        for commands in b"a\r\n", b"a\r\nQUIT\r\n":
            client = await dial(reactor, self.talk().addresses[0].port)
            client.transport.write(commands)
            client.transport.loseWriteConnection()
            self.assertIn(b"220 hi\r\n250 a\r\n", await client.lost)

    def test_taken(self) -> None:
        """A port that is taken fails the start, and the text names the key and the endpoint."""
        taken = self.talk().addresses[0].port
        service = ListenerService(
            f"tcp:{taken}:interface=127.0.0.1", TalkFactory(wiring("smtp")), reactor, key="listen.pop3"
        )
        error = self.assertRaises(CannotListen, service.privilegedStartService)
        self.assertEqual(
            str(error),
            f"listen.pop3: cannot listen on tcp:{taken}:interface=127.0.0.1: Address already in use",
        )

    def test_tls_string(self) -> None:
        """An endpoint that brings TLS of its own, or is none, is refused in words."""
        for endpoint, said in (
            ("ssl:443:privateKey=x", "TLS is by the name of the service"),
            ("systemd:domain=INET:index=7", "no such socket"),
            ("tcp:a=b:c=d", "these parts"),
        ):
            error = self.assertRaises(
                ValueError,
                ListenerService,
                endpoint,
                TalkFactory(wiring("smtp")),
                reactor,
                key="listen.smtp",
            )
            self.assertTrue(str(error).startswith(f"listen.smtp: {endpoint}: "))
            self.assertIn(said, str(error))

    @run
    async def test_unix(self) -> None:
        """A Unix socket works with Twisted's own transport, and its client is local."""
        path = os.path.relpath(self.mktemp())
        factory = WhoFactory(wiring("lmtp", clock=reactor))
        self.serve(factory, f"unix:{path}")

        client = await connectProtocol(UNIXClientEndpoint(reactor, path), Client())
        self.assertEqual(await client.expect(24), b"local local False True\r\n")

    @run
    async def test_inherited(self) -> None:
        """A socket that systemd passes on is served, by our own transport."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        script = Path(self.mktemp())
        script.write_text(INHERITED)
        ended: Deferred[bytes] = Deferred()

        class Child(ProcessProtocol):
            said = b""

            def outReceived(child, data: bytes) -> None:
                child.said += data

            errReceived = outReceived

            def processEnded(child, reason: Failure) -> None:
                # Else a client of a child that failed would wait for ever.
                listening.close()
                ended.callback(child.said)

        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        descriptors = {0: "w", 1: "r", 2: "r", 3: listening.fileno()}
        arguments = [sys.executable, str(script.absolute())]
        process = reactor.spawnProcess(
            Child(), sys.executable, arguments, env=environment, childFDs=descriptors
        )
        self.addCleanup(lambda: process.pid and process.signalProcess("KILL"))
        client = await dial(reactor, listening.getsockname()[1])
        client.transport.write(b"a\r\nQUIT\r\n")
        self.assertEqual(await client.lost, b"220 hi\r\n250 a\r\n221 bye\r\n")
        self.assertEqual(await ended, b"FastServer\n")

    @run
    async def test_restart(self) -> None:
        """Stopped and started again, it listens again; while stopped it refuses."""
        service = self.talk()
        port = service.addresses[0].port
        await service.stopService()
        self.assertEqual(service.addresses, [])
        with self.assertRaises(ConnectError):
            await dial(reactor, port)
        service.startService()
        client = await dial(reactor, service.addresses[0].port)
        await client.expect(8)

    @run
    async def test_drain(self) -> None:
        """Stopping tells the clients, waits for them, and aborts who is not done in time."""
        service = self.talk()
        idle = await dial(reactor, service.addresses[0].port)
        busy = await dial(reactor, service.addresses[0].port)
        await idle.expect(8)
        await busy.expect(8)
        busy.transport.write(b"BUSY\r\n")
        await busy.expect(10)
        stopped = service.stopService()
        self.assertEqual(await idle.lost, b"421 stopping\r\n")
        self.assertEqual(await busy.expect(14), b"421 stopping\r\n")
        self.assertFalse(stopped.called)
        await busy.lost
        await stopped
