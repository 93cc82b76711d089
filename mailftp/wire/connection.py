"""What every server of ours is to its transport: one Connection for each client.

A protocol room's server.py subclasses `Connection` and overrides the methods of `Events`, which say what
happened. Everything that they share is here: replies made in one `received` leave in one write, timeouts are
swept once a second for the whole factory, connections are counted against the limits, a client that does not
read is not read from, and stopping drains.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, ClassVar
from typing import Protocol as Shape

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.wire.clearing import Farewell
from mailftp.wire.events import Events, Expiry
from mailftp.wire.factory import ConnectionFactory, Wiring
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer
from mailftp.wire.reading import FileReader
from mailftp.wire.tls import client_certificate, description, exporter, handle_of, layer
from mailftp.wire.transport import below

__all__ = ["LINGER", "READ_MUCH", "Connection", "ConnectionFactory", "Expiry", "Stream", "Wiring"]

#: Seconds that a connection which we have closed may take to read the rest and go.
LINGER = 30.0
#: Octets read at once, and octets not yet sent above which nothing is read: commands are short, and what is
#: read waits in memory while one of them is worked on.
READ = 16 * 1024
#: The same for those who have logged in, and while a message or a file arrives: fewer turns of the reactor.
READ_MUCH = 64 * 1024


class _State(enum.Enum):
    HANDSHAKING = 1  # TLS was begun and is not complete; nothing is received or sent
    OPEN = 2
    CLOSING = 3  # `close` was called: what was sent is leaving
    GONE = 4  # refused, aborted or lost


class _Pause:
    """Why nothing is read from the client, as bits; every reason has to go before reading goes on. Plain
    numbers: an enum.Flag takes 2 us for each &, five times a message."""

    NONE = 0
    PROTOCOL = 1  # pause()
    UNREAD = 2  # the client does not read what it was sent
    STREAM = 4  # a file is on its way


class Stream(Shape):
    """What a connection needs to know of a file that it is sending (mailftp.wire.stream)."""

    #: Octets that have left so far.
    sent: int

    def lost(self, reason: Failure) -> None:
        """The connection is gone; nothing more will leave."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Connection(Protocol, Events):
    """One client's connection.

    Subclasses override the methods of `Events` and call those of the first group here; they never touch
    `self.transport` but for streaming (mailftp.wire.stream) and `getHost`.

    An exception from a method of `Events` is logged with its traceback and closes the connection,
    after what was sent before it.
    """

    factory: ConnectionFactory
    #: TCP or Unix, perhaps with PROXY and TLS between: zope's interfaces cannot say all that it provides.
    transport: Any
    log: ClassVar[Logger] = Logger()
    #: Octets that one read of the transport gives, but for `read_much`.
    read_size: ClassVar[int] = READ
    #: The client; the real one behind a trusted proxy.
    peer: Peer
    #: Our own end: the address that the client connected to; as the proxy told it behind a trusted proxy.
    local: Peer
    #: Names this connection in every line of the log: "smtp-5f2a9c01".
    context: str
    #: Writes lines under `context`.
    journal: Journal
    #: The octets are encrypted now.
    secure: bool = False
    #: Seconds without an octet from the client before `expired(IDLE)`; None switches it off (a
    #: transfer is running).
    idle_limit: float | None
    #: Reactor time at which `expired(LOGIN)` comes; None once logged in.
    login_deadline: float | None

    _state: _State = _State.OPEN
    _pauses: int = _Pause.NONE
    _reading: bool = True
    #: Replies of the `received` that is running, and whether one is.
    _gathered: list[bytes]
    _gathering: bool = False
    #: Octets that came while paused: at most what one read of the transport gave.
    _held: list[bytes]
    #: What `start_tls` put above the transport.
    _layer: TLSMemoryBIOProtocol | None = None
    #: While TLS ends.
    _farewell: Farewell | None = None
    _stream: Stream | None = None
    #: Counted by the factory; greeted; at the end of what the client sends; told to close when flushed.
    _entered: bool = False
    _opened: bool = False
    _ended: bool = False
    _finished: bool = False
    #: When an octet last came from the client, and when one was last seen to leave for it.
    _heard: float = 0.0
    _moved: float = 0.0
    _progress: tuple[int, int] = (0, 0)

    # What it can do.

    def send(self, data: bytes) -> None:
        """Send octets; from inside `received` they are gathered, elsewhere they leave at once.

        After `close` it does nothing. While a file is being streamed they wait for its end.
        """
        if self._state is _State.OPEN:
            if self._gathering or self._stream is not None:
                self._gathered.append(data)
            else:
                self.transport.write(data)
        elif self._state is _State.HANDSHAKING:
            self._gathered.append(data)

    def start_tls(self, server_name: str = "") -> None:
        """Begin the handshake, after everything sent so far, with the certificate for `server_name` if there
        is one. Octets received before it are thrown away by the caller (STARTTLS injection, CVE-2011-0411);
        `received` is not called again before `secured`.

        Raises RuntimeError where there is no certificate or the connection is encrypted already.
        """
        tls = self.factory.wiring.tls
        if tls is None or self.secure:
            raise RuntimeError("STARTTLS was not on offer")
        if self._state is not _State.OPEN:
            return
        self._flush()
        # What came in the clear while the protocol had paused is as untrustworthy as the rest.
        self._held.clear()
        self._state = _State.HANDSHAKING
        self.transport.unregisterProducer()
        self._read_or_not()
        self._layer = layer(
            self.transport, _Decrypted(self), tls.connection_creator(server_name), client=False
        )
        self.transport = self._layer

    @property
    def may_end_tls(self) -> bool:
        """TLS was begun by `start_tls` and not from the first octet: it can be ended again."""
        return self.secure and self._layer is not None

    def end_tls(self) -> None:
        """End TLS after everything sent so far and go on in the clear; `cleared` tells when the client has
        ended its own. What it sends before that is thrown away."""
        handle = self.tls_handle()
        if self._state is not _State.OPEN or self._layer is None or handle is None:
            return
        self._flush()
        self._held.clear()
        self._state = _State.HANDSHAKING
        self.transport.unregisterProducer()
        self._read_or_not()
        self._farewell = Farewell(handle)
        self.transport.transport.write(self._farewell.begin())

    def _in_the_clear(self, data: bytes) -> None:
        """Octets came while TLS ends."""
        assert self._farewell is not None and self._layer is not None
        try:
            rest = self._farewell.feed(data)
        except SSL.Error:
            self.abort()
            return
        if rest is None:
            return
        self.transport = self._layer.transport
        self._layer = self._farewell = None
        self.secure = False
        self._state = _State.OPEN
        self.transport.registerProducer(_Unread(self), True)
        self._read_or_not()
        self._call(self.cleared)
        if rest:
            self.arrived(rest)

    def close(self) -> None:
        """Close when all that was sent has left."""
        if self._state is _State.HANDSHAKING:
            self.abort()
        elif self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._moved = self.factory.wiring.clock.seconds()
            if not self._gathering:
                self._flush()

    def abort(self) -> None:
        """Close now, dropping what has not left."""
        if self._state is not _State.GONE:
            self._state = _State.GONE
            self.transport.abortConnection()

    def pause(self) -> None:
        """Read no more from the client until `resume`; idempotent. Idle time does not run while paused."""
        self._pause(_Pause.PROTOCOL)

    def resume(self) -> None:
        """Read again. What had come already is in `received` in the next turn of the reactor, never
        before this returns."""
        self._unpause(_Pause.PROTOCOL)

    def read_much(self, much: bool) -> None:
        """Whether reads are of READ_MUCH octets from now on, or of `read_size`."""
        socket = below(self.transport)
        if socket is not None:
            socket.bufferSize = READ_MUCH if much else self.read_size

    # What is known of the encryption.

    @property
    def tls_description(self) -> str:
        """For Received lines and the log: "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" when not encrypted."""
        return description(self.transport) if self.secure else ""

    def tls_exporter(self) -> bytes | None:
        """Channel binding of type tls-exporter, RFC 9266; None when there is none to be had."""
        return exporter(self.transport) if self.secure else None

    @property
    def client_certificate(self) -> x509.Certificate | None:
        """The client's certificate, verified against `client_ca`; None when it presented none."""
        return client_certificate(self.transport) if self.secure else None

    @property
    def server_name(self) -> str:
        """The host that the client named in its TLS handshake (SNI, RFC 6066 section 3), in lower case; ""
        for none."""
        handle = self.tls_handle()
        asked = None if handle is None else handle.get_servername()
        # latin-1 takes every octet; a name that is not ASCII matches nothing.
        return "" if asked is None else asked.decode("latin-1").lower()

    def tls_handle(self) -> SSL.Connection | None:
        """OpenSSL's view of the connection; None when it is not encrypted."""
        return handle_of(self.transport) if self.secure else None

    # For mailftp.wire.stream.

    @property
    def reader(self) -> FileReader:
        return self.factory.wiring.reader

    def begin_stream(self, stream: Stream) -> None:
        """Give the transport to a stream: what is sent from now on waits for `end_stream`, and nothing is
        read. Raises ConnectionDone when the connection is gone."""
        if self._state not in (_State.OPEN, _State.CLOSING) or self._finished:
            raise ConnectionDone()
        if self._stream is not None:
            raise RuntimeError("a stream is under way")
        self._flush(finish=False)
        self._stream = stream
        self._moved = self.factory.wiring.clock.seconds()
        self.transport.unregisterProducer()
        self._pause(_Pause.STREAM)

    def end_stream(self) -> None:
        """The stream is complete and has unregistered its producer."""
        self._stream = None
        if self._state is _State.GONE:
            return
        self.transport.registerProducer(_Unread(self), True)
        if not self._gathering:
            self._flush()
        self._unpause(_Pause.STREAM)

    # What the transport says.

    def makeConnection(self, transport: ITransport) -> None:
        # Not __init__, so that a subclass need not call ours.
        self._gathered, self._held = [], []
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # upstream

    def connectionMade(self) -> None:
        wiring = self.factory.wiring
        self.journal = Journal.new(wiring.service)
        self.context = self.journal.context
        self.peer, self.local = Peer.far(self.transport), Peer.near(self.transport)
        self._heard = wiring.clock.seconds()
        self.idle_limit = self.factory.idle_limit
        self.login_deadline = self._heard + wiring.settings.limits.login_timeout
        if ITCPTransport.providedBy(self.transport):
            # 44 ms a reply otherwise: Nagle waits for an acknowledgement that the client delays.
            self.transport.setTcpNoDelay(True)
        self.read_much(False)
        reason = self.factory.enter(self)
        if reason is not None:
            self._refuse(reason)
            return
        self._entered = True
        if wiring.implicit_tls:
            self._state = _State.HANDSHAKING
        else:
            self.transport.registerProducer(_Unread(self), True)
            self._opened = True
            self._call(self.opened)

    def dataReceived(self, data: bytes) -> None:
        if self._farewell is not None:
            self._in_the_clear(data)
        elif self._layer is not None:
            self._layer.dataReceived(data)  # type: ignore[no-untyped-call]  # upstream
        else:
            self.arrived(data)

    def handshakeCompleted(self) -> None:
        """TLS is complete, be it from the start or after `start_tls`."""
        if self._state is not _State.HANDSHAKING:
            return
        self.secure = True
        self._state = _State.OPEN
        self._heard = self.factory.wiring.clock.seconds()
        self.transport.registerProducer(_Unread(self), True)
        self._read_or_not()
        if self._opened:
            self._call(self.secured)
        else:
            self._opened = True
            self._call(self.opened)

    def readConnectionLost(self) -> None:
        self._ended = True
        if self._layer is not None or self._state is _State.HANDSHAKING:
            # TLS says itself when one side is done; an end of the stream below it is a cut.
            self.transport.abortConnection()
        elif self._state is _State.OPEN:
            self._call(self.ended)

    def writeConnectionLost(self) -> None:
        """Part of IHalfCloseableProtocol; we never close one half."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._layer is not None:
            # It knows better why, and passes it on to `lost`.
            self._layer.connectionLost(reason)  # type: ignore[no-untyped-call]  # upstream
        else:
            self.lost(reason)

    # What becomes of it.

    def arrived(self, data: bytes) -> None:
        """Octets of the protocol, decrypted if need be."""
        self._heard = self.factory.wiring.clock.seconds()
        if self._state is not _State.OPEN:
            return
        if self._pauses or self._held or self._gathering:
            # TLS goes on giving what it has decrypted already.
            self._held.append(data)
        else:
            self._call(self.received, data)

    def lost(self, reason: Failure) -> None:
        """The connection is gone, for the reason that TLS or the transport gives."""
        if self._state is _State.HANDSHAKING:
            self.journal.record("tls-failed", peer=str(self.peer), reason=reason.getErrorMessage()[:200])
        self._state = _State.GONE
        self._held.clear()
        self._gathered.clear()
        if self._entered:
            self.factory.leave(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.lost(reason)
        if self._opened:
            self._call(self.closed, reason)

    def tick(self, now: float) -> None:
        """Look at the clocks; the factory calls it once a second."""
        idle = self.idle_limit if self.idle_limit is not None else self.factory.idle_limit
        if self._state is _State.CLOSING:
            if self._stuck(now) >= LINGER:
                self.abort()
        elif self._pauses & (_Pause.UNREAD | _Pause.STREAM) and self._stuck(now) >= idle:
            self.journal.record("stalled", peer=str(self.peer))
            self.abort()
        elif self.login_deadline is not None and now >= self.login_deadline:
            self.login_deadline = None
            self._expire(Expiry.LOGIN)
        elif self.idle_limit is not None and not self._pauses and now - self._heard >= self.idle_limit:
            self._heard = now
            self._expire(Expiry.IDLE)

    def stop(self) -> None:
        """The server is stopping."""
        if self._state is _State.HANDSHAKING:
            self.abort()
        elif self._state is _State.OPEN:
            self._call(self.drain)

    def unread(self, full: bool) -> None:
        """The transport's buffer is full, or empty again."""
        if full:
            self._moved = self.factory.wiring.clock.seconds()
            self._pause(_Pause.UNREAD)
        else:
            self._unpause(_Pause.UNREAD)

    def _refuse(self, reason: str) -> None:
        self._state = _State.GONE
        if self.factory.wiring.implicit_tls:
            # A handshake costs us more than it costs the client; a flood is not worth the words.
            self.transport.abortConnection()
            return
        self.transport.write(self.refusal(reason))
        self.transport.loseConnection()

    def _expire(self, clock: Expiry) -> None:
        if self._state is _State.HANDSHAKING:
            self.abort()
        else:
            self._call(self.expired, clock)

    def _stuck(self, now: float) -> float:
        """Seconds since an octet last left."""
        progress = (
            self._stream.sent if self._stream is not None else 0,
            # Our own transport tells; with another one only an empty buffer is progress.
            getattr(self.transport, "unsent", 0),
        )
        if progress != self._progress:
            self._progress = progress
            self._moved = now
        return now - self._moved

    def _call(self, happened: Callable[..., None], *arguments: object) -> None:
        """Tell the subclass, gather what it sends, and keep its faults from the reactor."""
        nested, self._gathering = self._gathering, True
        try:
            happened(*arguments)
        except Exception:
            self.journal.fault("fault", peer=str(self.peer))
            self.close()
        finally:
            self._gathering = nested
        if not nested:
            self._flush()

    def _flush(self, finish: bool = True) -> None:
        if self._stream is not None or self._state not in (_State.OPEN, _State.CLOSING):
            return
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self.transport.write(data)
        if finish and self._state is _State.CLOSING and not self._finished:
            self._finished = True
            # A registered producer would keep the transport open; and TLS has to hear the client's farewell.
            self.transport.unregisterProducer()
            self._pauses = _Pause.NONE
            self._read_or_not()
            self.transport.loseConnection()

    def _pause(self, reason: int) -> None:
        self._pauses |= reason
        self._read_or_not()

    def _unpause(self, reason: int) -> None:
        if not self._pauses & reason:
            return
        self._pauses &= ~reason
        if not self._pauses:
            now = self.factory.wiring.clock.seconds()
            self._heard = now
            if self._held:
                self.factory.wiring.clock.callLater(0, self._deliver)
        self._read_or_not()

    def _read_or_not(self) -> None:
        wanted = not self._ended and (not self._pauses or self._state is _State.HANDSHAKING)
        if wanted == self._reading or self._state is _State.GONE:
            return
        self._reading = wanted
        if wanted:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def _deliver(self) -> None:
        if self._held and not self._pauses and self._state is _State.OPEN:
            data = b"".join(self._held)
            self._held.clear()
            self._call(self.received, data)


@implementer(IPushProducer)
class _Unread:
    """Hears from the transport that a client does not read what it is sent, and stops reading from it:
    replies would otherwise pile up for as long as it sends commands."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pauseProducing(self) -> None:
        self._connection.unread(True)

    def resumeProducing(self) -> None:
        self._connection.unread(False)

    def stopProducing(self) -> None:
        """The connection is lost, which `connectionLost` tells."""


@implementer(IHandshakeListener)
class _Decrypted(Protocol):
    """Stands above the TLS layer that `start_tls` put in, for the connection that is already below it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def handshakeCompleted(self) -> None:
        self._connection.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        self._connection.arrived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connection.lost(reason)
