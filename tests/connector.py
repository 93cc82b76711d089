"""A client's end of a connection to one of our factories, in memory and under a `task.Clock`.

    factory = SMTPFactory(wiring("smtp", "smtp", tls=certificates.service(self.mktemp(), "smtp")))
    client = connect(factory, peer=("192.0.2.7", 40000))
    self.assertEqual(client.received(), b"220 ...")
    client.send(b"STARTTLS\\r\\n")
    client.received()
    client.start_tls()
    advance(factory, 300)
    self.assertTrue(client.closed)

TLS is real (OpenSSL on both ends); only the socket is not. Nothing happens but in `send`, `received`,
`exchange`, `start_tls`, `end`, `drop`, `pump` and `advance`, each of which moves octets in both directions
until none moves and no call is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.settings import Settings
from mailftp.wire.connection import Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.tls import ServiceTLS

#: What Twisted's TCP transport reads at once, and above which it calls its buffer full.
BUFFER = 65536

PEER = ("192.0.2.1", 40000)
HOST = ("192.0.2.25", 25)


def wiring(
    service: str,
    protocol: str | None = None,
    *,
    tls: ServiceTLS | None = None,
    implicit_tls: bool = False,
    settings: Settings | None = None,
    clock: Clock | None = None,
    limits: ConnectionLimits | None = None,
    **extra: Any,
) -> Wiring:
    """A Wiring with the defaults that a test does not care about, and a `task.Clock`."""
    settings = settings or Settings(folder=Path("/nonexistent"), data=Path("/nonexistent/data"))
    limits = limits or ConnectionLimits(settings.limits.connections, settings.limits.connections_per_ip)
    made = Wiring(
        service, protocol or service, settings, clock or Clock(), limits, tls=tls, implicit_tls=implicit_tls
    )
    return replace(made, **extra) if extra else made


def connect(
    factory: IProtocolFactory,
    *,
    peer: tuple[str, int] | None = PEER,
    host: tuple[str, int] = HOST,
    clock: Clock | None = None,
    **tls: Any,
) -> Client:
    """Connect to a factory; a peer of None is a client on a Unix socket.

    Where the factory's wiring says implicit TLS, the handshake is done before this returns, with the
    arguments of `Client.start_tls`. A factory that has no `wiring` needs a `clock`.
    """
    known = getattr(factory, "wiring", None)
    clock = clock or known.clock
    implicit = known is not None and known.implicit_tls
    if implicit:
        factory = known.tls.wrap(factory)
    addresses = [
        UNIXAddress(None) if pair is None else _address(pair) for pair in (peer, host if peer else None)
    ]
    protocol = factory.buildProtocol(addresses[0])
    client = Client(protocol, clock, *addresses)
    protocol.makeConnection(client.transport)
    client.pump()
    if implicit and not client.closed:
        client.start_tls(**tls)
    return client


def client_context(
    *, alpn: Sequence[bytes] = (), certificate: Any = None, version: int | None = None
) -> SSL.Context:
    """A client's TLS context, which takes any certificate.

    `certificate` is a tests.certificates.Issued; `version` SSL.TLS1_2_VERSION to have no other.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if certificate is not None:
        context.use_certificate(crypto.X509.from_cryptography(certificate.certificate))
        context.use_privatekey(crypto.PKey.from_cryptography_key(certificate.key))
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


def advance(factory: Any, seconds: float) -> None:
    """Let time pass for a factory, second by second, as the sweep of its timeouts does."""
    whole = int(seconds)
    factory.wiring.clock.pump([1.0] * whole + [seconds - whole])


def _address(pair: tuple[str, int]) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in pair[0] else IPv4Address
    return kind("TCP", *pair)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """The server's end. Behaves as Twisted's TCP transport does where protocols can tell."""

    def __init__(self, client: Client, peer: object, host: object) -> None:
        self._client, self._peer, self._host = client, peer, host
        self.buffer = bytearray()
        #: The octets of each write, for tests that count them.
        self.writes: list[bytes] = []
        self.reading = True
        self.losing = self.aborted = self.disconnected = False
        self.producer: Any = None
        self._streaming = self._producer_paused = False
        self.no_delay = self.keep_alive = False

    @property
    def unsent(self) -> int:
        return len(self.buffer)

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"bytes, not {type(data)}")
        if self.disconnected or self.aborted or not data:
            return
        self.writes.append(data)
        self.buffer += data
        if self.producer is not None and self._streaming and len(self.buffer) > BUFFER:
            self._producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, pieces: Sequence[bytes]) -> None:
        self.write(b"".join(pieces))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        if self.disconnected:
            producer.stopProducing()
            return
        self.producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.losing = True
        self.reading = False

    def abortConnection(self) -> None:
        self.aborted = True

    def loseWriteConnection(self) -> None:
        raise NotImplementedError("nothing of ours closes one half")

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if not self.losing and not self.disconnected:
            self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        return self.keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def emptied(self) -> None:
        """The client has read everything: a producer that was told to wait may go on."""
        if self.producer is not None and (not self._streaming or self._producer_paused):
            self._producer_paused = False
            self.producer.resumeProducing()

    @property
    def finished(self) -> bool:
        """Whether the socket would close now."""
        if self.aborted:
            return True
        waiting = self.producer is not None and (not self._streaming or self._producer_paused)
        return self.losing and not self.buffer and not waiting


class Client:
    """The client's end."""

    def __init__(self, protocol: IProtocol, clock: Clock, peer: object, host: object) -> None:
        self._lowest = protocol
        #: The server's protocol, below which TLS or PROXY may be.
        self.protocol: Any = protocol
        while hasattr(self.protocol, "wrappedProtocol"):
            self.protocol = self.protocol.wrappedProtocol
        self.clock = clock
        self.transport = MemoryTransport(self, peer, host)
        #: The server has closed the connection.
        self.closed = False
        #: Set to False to be a client that does not read.
        self.reading = True
        #: OpenSSL's view of the connection, once there is TLS.
        self.ssl: SSL.Connection | None = None
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._ended = self._end_told = False

    def send(self, data: bytes) -> None:
        """Send octets; more than 64 KiB reach the server in pieces of that."""
        if self.ssl is not None:
            for start in range(0, len(data), 16384):
                self.ssl.send(data[start : start + 16384])
                self._take_ciphertext()
        else:
            self._outgoing += data
        self.pump()

    def received(self) -> bytes:
        """All that the server sent since the last time."""
        self.pump()
        data, self._incoming = bytes(self._incoming), bytearray()
        return data

    def exchange(self, data: bytes) -> bytes:
        """Send, and give what was answered; for `tests.dialogs.play`."""
        if data:
            self.send(data)
        return self.received()

    def is_closed(self) -> bool:
        """`closed` as a function, for `tests.dialogs.play`."""
        return self.closed

    def end(self) -> None:
        """Say that no more will be sent, and go on reading (shutdown of one half)."""
        self._ended = True
        self.pump()

    def drop(self) -> None:
        """Vanish: the server's connection is lost with whatever it had still to send."""
        self._lose(ConnectionLost())

    def start_tls(
        self,
        *,
        server_name: str | None = "localhost",
        session: SSL.Session | None = None,
        context: SSL.Context | None = None,
        **context_options: Any,
    ) -> None:
        """Do a TLS handshake now. Raises SSL.Error when it fails, ConnectionError when the server closes.

        Further arguments are those of `client_context`. Resuming a `session` takes the `context` that it
        was made with.
        """
        context = context or client_context(**context_options)
        self.ssl = SSL.Connection(context, None)
        self.ssl.set_connect_state()
        if server_name is not None:
            self.ssl.set_tlsext_host_name(server_name.encode())
        if session is not None:
            self.ssl.set_session(session)
        for _ in range(10):
            try:
                self.ssl.do_handshake()
            except SSL.WantReadError:
                self._take_ciphertext()
                if self.closed:
                    raise ConnectionError("the server closed during the handshake")
                self.pump()
            else:
                self._take_ciphertext()
                self.pump()
                return
        raise AssertionError("the handshake does not end")

    def pump(self) -> None:
        """Move octets in both directions until none moves and no call is due."""
        for _ in range(100000):
            before = len(self.clock.getDelayedCalls())
            self.clock.advance(0)
            if not (self._to_server() | self._to_client()) and len(self.clock.getDelayedCalls()) >= before:
                break
        else:
            raise AssertionError("it does not come to rest")

    def _to_server(self) -> bool:
        transport = self.transport
        if self.closed or not transport.reading or transport.aborted:
            return False
        if self._outgoing:
            data = bytes(self._outgoing[:BUFFER])
            del self._outgoing[:BUFFER]
            self._lowest.dataReceived(data)
            return True
        if self._ended and not self._end_told:
            self._end_told = True
            transport.reading = False
            halves = IHalfCloseableProtocol(self._lowest, None)
            if halves is None:
                self._lose(ConnectionDone())
            else:
                halves.readConnectionLost()
            return True
        return False

    def _to_client(self) -> bool:
        transport = self.transport
        if self.closed:
            return False
        moved = False
        if transport.buffer and self.reading and not transport.aborted:
            data, transport.buffer = bytes(transport.buffer), bytearray()
            self._arrived(data)
            transport.emptied()
            moved = True
        if transport.finished:
            self._lose(ConnectionAborted() if transport.aborted else ConnectionDone())
            return True
        return moved

    def _lose(self, reason: Exception) -> None:
        self.closed = self.transport.disconnected = True
        producer, self.transport.producer = self.transport.producer, None
        if producer is not None:
            producer.stopProducing()
        self._lowest.connectionLost(Failure(reason))

    def _arrived(self, data: bytes) -> None:
        if self.ssl is None:
            self._incoming += data
            return
        self.ssl.bio_write(data)
        while True:
            try:
                self._incoming += self.ssl.recv(65536)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                # The server says farewell; so do we, as it waits for it.
                self.ssl.shutdown()
                break
        self._take_ciphertext()

    def _take_ciphertext(self) -> None:
        assert self.ssl is not None
        while True:
            try:
                self._outgoing += self.ssl.bio_read(65536)
            except SSL.WantReadError:
                return
