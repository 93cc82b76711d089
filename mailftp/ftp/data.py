"""A data connection, and what a transfer and the session ask of it. mailftp.ftp.channel makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from mailftp.files.faults import fault
from mailftp.ftp.newlines import to_network
from mailftp.ftp.pace import Allowance, Pace
from mailftp.wire.connection import Connection, ConnectionFactory, Expiry, Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.moving import WORTH, Intake
from mailftp.wire.peer import Peer
from mailftp.wire.stream import Pacing, send_chunks, send_file
from mailftp.wire.transport import below, direct

Address = IPv4Address | IPv6Address
#: Runs on a thread what writes as it reads; None where there is none for it just now.
Direct = Callable[[Callable[[Callable[[memoryview], None]], None]], Deferred[None] | None]

#: Seconds that a client has to make its data connection once a transfer waits for it.
PATIENCE = 30.0
#: Octets of an upload that are read at once: each read costs a turn of the reactor.
READ = 256 * 1024
#: An upload of which FAST octets came in pieces of MUCH or more is received by a thread, in turns.
MUCH, FAST = 64 * 1024, 4 * 1024 * 1024
#: Octets of a text file that are read at once.
PIECE = 256 * 1024
#: Ports that are tried before we say that none is free.
TRIES = 64
#: Connections from strangers after which a passive port is given up.
STRANGERS = 10


class DataFault(Exception):
    """There is no data connection: 425."""


class DataLost(Exception):
    """The data connection was closed before the transfer was complete: 426."""


class IDataConnection(Protocol):
    """What a transfer asks of its data connection."""

    @property
    def peer(self) -> Peer:
        """The other end."""

    @property
    def moved(self) -> int:
        """Octets that have gone or come."""

    def send(self, data: bytes) -> None: ...

    def stream_file(self, descriptor: int, offset: int, length: int) -> Deferred[int]: ...

    def stream_text(self, descriptor: int) -> Deferred[int]:
        """A whole file, in lines that end as the wire's do."""

    def stream(self, read: Callable[[], Deferred[bytes]]) -> Deferred[int]: ...

    def read(self, descriptor: int, offset: int, length: int) -> Deferred[bytes]:
        """Of a file, b"" at its end; nothing is sent."""

    def receive(
        self, write: Callable[[bytes], Deferred[None] | None], intake: Direct | None = None
    ) -> Deferred[None]:
        """Fires at a proper end; fails with DataLost at any other, and with what `write` failed with.

        What comes fast may go through `intake` from some point on, and through `write` again later.
        """

    def finish(self) -> Deferred[None]:
        """Close; fires when what was sent has left, fails with DataLost when it could not."""


class IDataChannel(Protocol):
    """What the session asks for: at most one data connection, for the next transfer."""

    @property
    def aimed(self) -> bool:
        """PASV, PORT or their kind was said for the next transfer."""

    @property
    def calling(self) -> bool:
        """It was PORT or its kind: we connect."""

    def connected(self) -> bool:
        """Whether the client is connected already."""

    @property
    def family(self) -> int | None:
        """The network protocol of the control connection, 4 or 6; None: no data connection is possible."""

    def listen(self, tell: bool = True) -> tuple[Address, int]:
        """Open a passive port; the address to tell the client, which EPSV does without. Raises DataFault."""

    def aim(self, address: Address, port: int) -> None:
        """Remember where to connect to. Raises DataFault when that is not the client's to ask for."""

    @property
    def paced(self) -> bool:
        """Downloads have a rate: they have to be streamed."""

    def send_whole(self, data: bytes) -> int:
        """Send all of a transfer at once, and close, where the client is connected in the clear and takes it.

        The octets that were sent. When they were all and the connection is closed, nothing is `aimed` any
        more; else `open` has the connection for the rest.
        """

    def open(self) -> Deferred[IDataConnection]:
        """The connection, encrypted if that was agreed. Fails with DataFault."""

    def release(self) -> None:
        """The transfer is over: its connection closes by itself."""

    def abandon(self) -> None:
        """Give up what is open, waited for or under way."""


class Owner(Protocol):
    """Whose a data connection is: a channel."""

    @property
    def allowance(self) -> Allowance | None:
        """How fast its login may be; None before there is one."""

    def arrived(self, connection: DataConnection) -> None:
        """It is open: connected, and encrypted if need be."""

    def departed(self, connection: DataConnection) -> None:
        """It is gone."""

    def tidy(self) -> None:
        """Give up what is kept for another transfer."""


class DataConnection(Connection):
    """The server's end of one data connection; silent until a transfer takes it."""

    channel: Owner
    read_size = READ
    _write: Callable[[bytes], Deferred[None] | None] | None = None
    _done: Deferred[None] | None = None
    _handle_then: SSL.Connection | None = None
    _gone: Failure | None = None
    #: Octets that came, and that went in a stream that is over.
    _came = _went = 0
    #: Octets of those that came in large pieces, one after the other.
    _fast = 0
    #: Where a thread may put them, and its turn.
    _direct: Direct | None = None
    _turn: Intake | None = None
    #: How fast an upload may be, and what runs while the last of it is paid for.
    _rate: Pace | None = None
    _resting: IDelayedCall | None = None

    def opened(self) -> None:
        self.login_deadline = None
        self.idle_limit = None
        self._handle_then = self.tls_handle()
        self.pause()
        self.channel.arrived(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._gone is None:
            # `closed` is for those that were opened; this one's handshake failed.
            self._gone = reason
            self.channel.departed(self)

    @property
    def moved(self) -> int:
        """Octets that have gone or come, for whoever looks on."""
        return self._came + self._went + (0 if self._stream is None else self._stream.sent)

    def end_stream(self) -> None:
        self._note_stream()
        super().end_stream()

    def _note_stream(self) -> None:
        if self._stream is not None:
            self._went += self._stream.sent

    def stream_file(self, descriptor: int, offset: int, length: int) -> Deferred[int]:
        return send_file(self, descriptor, offset, length, self._pacing()).addErrback(_why)

    def _pacing(self) -> Pacing | None:
        allowance = self.channel.allowance
        if allowance is None or allowance.download is None:
            return None
        return Pacing(allowance.download, self.factory.wiring.clock)

    def stream_text(self, descriptor: int) -> Deferred[int]:
        position = 0

        def converted(data: bytes) -> bytes:
            nonlocal position
            position += len(data)
            return to_network(data)

        def piece() -> Deferred[bytes]:
            return self.reader.read(descriptor, position, PIECE).addCallback(converted)

        return send_chunks(self, piece, self._pacing()).addErrback(_why)

    def read(self, descriptor: int, offset: int, length: int) -> Deferred[bytes]:
        return self.reader.read(descriptor, offset, length)

    def stream(self, read: Callable[[], Deferred[bytes]]) -> Deferred[int]:
        return send_chunks(self, read, self._pacing()).addErrback(_why)

    def receive(
        self, write: Callable[[bytes], Deferred[None] | None], intake: Direct | None = None
    ) -> Deferred[None]:
        if self._gone is not None:
            return fail(DataLost("Data connection lost"))
        done = self._done = Deferred()
        self._write, self._direct = write, intake
        allowance = self.channel.allowance
        self._rate = None if allowance is None else allowance.upload
        socket = below(self.transport)
        if self._rate is not None and socket is not None:
            socket.bufferSize = min(READ, self._rate.portion)
        self.idle_limit = self.factory.idle_limit
        self.resume()
        return done

    def finish(self) -> Deferred[None]:
        if self._gone is not None:
            left = isinstance(self._gone.value, ConnectionDone)
            return succeed(None) if left else fail(DataLost("Data connection lost"))
        done: Deferred[None] = Deferred()
        if self.secure:
            # The client's close_notify may take its time, or never come; ours is on its way.
            done.callback(None)
        else:
            self._done = done
        self.close()
        return done

    def received(self, data: bytes) -> None:
        if self._write is None:
            # Octets against the direction of the transfer.
            return
        self._came += len(data)
        held = self._write(data)
        clock = self.factory.wiring.clock
        rest = 0.0 if self._rate is None else self._rate.pay(len(data), clock.seconds())
        self._fast = self._fast + len(data) if len(data) >= MUCH else 0
        if held is not None:
            self.pause()
            held.addCallbacks(lambda _: self._go_on(rest), self._refused)
        elif rest > 0:
            self.pause()
            self._rest_for(rest)
        else:
            self._take_in()

    def _go_on(self, rest: float) -> None:
        """What the sink has is written: the time for a thread to take over."""
        if not self._take_in():
            self._rest_for(rest)

    def _take_in(self) -> bool:
        """Have a thread receive; whether it does."""
        socket = direct(self.transport)
        if self._fast < FAST or self._direct is None or self._rate is not None:
            return False
        if socket is None or self._gone is not None:
            return False
        try:
            turn = Intake.of(socket.fileno())
        except OSError:
            return False
        running = self._direct(turn.run)
        if running is None:
            turn.stop()
            return False
        self.pause()
        self._turn = turn
        running.addCallback(lambda _: self._taken_in(turn))
        running.addErrback(self._not_taken_in, turn)
        return True

    def _not_taken_in(self, failure: Failure, turn: Intake) -> None:
        turn.stop()
        self._turn = None
        self._refused(failure)

    def _taken_in(self, turn: Intake) -> None:
        """A thread's turn is over: it has the next one, or the reactor goes on."""
        self._turn = None
        self._came += turn.came
        if self._gone is not None:
            return
        self._heard = self.factory.wiring.clock.seconds()
        if turn.broken:
            self._refused(Failure(DataLost("Data connection lost")))  # type: ignore[no-untyped-call]  # upstream
        elif turn.ended or turn.came < WORTH or not self._take_in():
            self._fast = 0
            self.resume()

    def _rest_for(self, seconds: float) -> None:
        """Read on when what came is paid for."""
        if seconds > 0 and self._gone is None:
            self._resting = self.factory.wiring.clock.callLater(seconds, self._rested)
        else:
            self.resume()

    def _rested(self) -> None:
        self._resting = None
        self.resume()

    def ended(self) -> None:
        """FIN: in the clear there is no other end of a file (RFC 959 section 3.3)."""
        if self._write is not None:
            self._settle(None)
        self.close()

    def expired(self, clock: Expiry) -> None:
        self.abort()

    def drain(self) -> None:
        """The control connection finishes the transfer."""

    def lost(self, reason: Failure) -> None:
        """TLS may have decrypted the last octets and the farewell after them while the client was held back:
        they are part of the file. What the sink says to them it says again when the upload is committed."""
        if self._write is not None:
            held = self._held.copy()
            self._held.clear()
            for data in held:
                waiting = self._write(data)
                if waiting is not None:
                    waiting.addErrback(lambda _: None)
        self._note_stream()
        super().lost(reason)

    def closed(self, reason: Failure) -> None:
        self._gone = reason
        if self._turn is not None:
            self._turn.stopped = True
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        self.channel.departed(self)
        proper = isinstance(reason.value, ConnectionDone)
        if self.secure and self._write is not None:
            # Without close_notify anybody on the way may have cut the upload short.
            proper = self._said_farewell()
        self._settle(None if proper else DataLost("Data connection lost"))

    def _said_farewell(self) -> bool:
        return self._handle_then is not None and bool(
            self._handle_then.get_shutdown() & SSL.RECEIVED_SHUTDOWN
        )

    def _refused(self, failure: Failure) -> None:
        self._settle(failure.value)
        self.abort()

    def _settle(self, error: BaseException | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            if error is None:
                done.callback(None)
            else:
                done.errback(error)


def _why(failure: Failure) -> NoReturn:
    """Why a stream ended early, in this room's words."""
    error = failure.value
    if isinstance(error, EOFError):
        raise DataLost("The file became shorter") from error
    if isinstance(error, OSError):
        raise fault(error) from error
    if isinstance(error, ConnectionClosed | SSL.Error):
        raise DataLost("Data connection lost") from error
    assert error is not None
    raise error


class _Uncounted(ConnectionLimits):
    """A session has one data connection at most, and sessions are counted."""

    def __init__(self) -> None:
        super().__init__(0, 0)

    def enter(self, peer: Peer) -> str | None:
        return None

    def leave(self, peer: Peer) -> None:
        pass


class DataConnections(ConnectionFactory):
    """All data connections of a service, in the clear or all of them in TLS."""

    protocol = DataConnection

    def __init__(self, wiring: Wiring, private: bool) -> None:
        super().__init__(replace(wiring, limits=_Uncounted(), implicit_tls=private))
        self.private = private
        ftp = wiring.settings.ftp
        #: TLS on a data connection must resume the session of its control connection.
        self.reuse_required = ftp.tls_reuse == "required"
        #: Ports below 1024 may be called from, for all that we know.
        self.privileged = True
        #: Channels that keep a passive port for their next transfer; whoever finds no port free has the
        #: oldest of them give it up.
        self.keepers: dict[Owner, None] = {}

    def calling_port(self, control: int) -> int:
        """The port to call a client from whose control connection is at `control`; 0 for any."""
        return control - 1 if self.privileged and 1 < control <= 1024 else 0
