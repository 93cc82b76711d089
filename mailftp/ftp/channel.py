"""A session's data connections, one after the other: passive ports, calls to the client, and who may come.

What is refused here: a connection to anybody but the client (the bounce attack of RFC 2577 section 3), to a
privileged port, and one from anybody but the client (a stolen transfer: seen on ProFTPD 1.3.8 and others).
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IReactorTCP,
)
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.internet.tcp import makeBinding
from twisted.python.failure import Failure

from mailftp.ftp.addresses import PassiveAddresses
from mailftp.ftp.data import Address, DataConnection, DataConnections, DataFault, IDataConnection
from mailftp.ftp.pace import Allowance
from mailftp.ftp.passive import Accepted, QuietPort, listen
from mailftp.settings import Network
from mailftp.wire.connection import Connection
from mailftp.wire.peer import Peer
from mailftp.wire.proxy import ProxiedConnection, ProxyFactory
from mailftp.wire.tls import resumed

#: Seconds that a client has to make its data connection once a transfer waits for it.
PATIENCE = 30.0
#: Ports that are tried before we say that none is free.
TRIES = 64
#: Connections from strangers after which a passive port is given up.
STRANGERS = 10
#: Transfers in a row that one passive port serves. Opening one costs more than sending a small file; but the
#: longer one stays the longer a stranger may look for it, and the client runs out of ports to come from
#: (each pair of ports rests for a minute or two in TIME_WAIT).
USES = 64
#: Seconds for which a passive port is kept for the session's next transfer.
KEPT = 5.0
#: Why a port that we wanted to call from cannot be had: another may do.
_PORT_FAULTS = frozenset({errno.EACCES, errno.EADDRINUSE, errno.EADDRNOTAVAIL})


class _Door(ServerFactory):
    """Lets in whom the channel expects on a passive port."""

    noisy = False

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]  # Twisted's is narrower
        return self._channel.admit(addr)


class _Call(ClientFactory):
    """Makes a connection to where PORT said."""

    noisy = False

    def __init__(self, channel: DataChannel, port: int) -> None:
        self._channel = channel
        #: The port that it is made from; 0 for any.
        self.port = port

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]  # ours may be TLS's
        return self._channel.admit(addr)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._channel.refused(self.port, reason)


class _Behind(ServerFactory):
    """Lets in whom a PROXY header names."""

    noisy = False

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]  # Twisted's is narrower
        return self._channel.named(addr)


class _Made(ClientFactory):
    """Builds the protocol that exists already, for the TLS layer above it."""

    noisy = False

    def __init__(self, connection: DataConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> DataConnection:  # type: ignore[override]
        return self._connection


class DataChannel:
    """One session's data connections, one after the other.

    A passive port is the session's own: no other client's data ever goes through it. Where it can be it is
    kept for the next transfer, and it is not in the reactor until a transfer has to wait for the client.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        clear: DataConnections,
        private: DataConnections | None,
        *,
        control: Connection,
        ends: tuple[str | None, str | None],
        is_private: Callable[[], bool],
        server_name: Callable[[], str] = lambda: "",
        addresses: PassiveAddresses,
    ) -> None:
        """`ends` are the addresses of the control connection's own socket, ours and the other one: behind a
        proxy they are not what it told of the client. None where there are none."""
        self._reactor = reactor
        self._clear = clear
        self._private = private
        self._is_private = is_private
        #: What HOST said: the certificate is that of the control connection.
        self._server_name = server_name
        self._addresses = addresses
        #: Other servers, for FXP.
        self.others: tuple[Network, ...] = ()
        self._control = control
        here, there = ends
        #: How fast the login may be, once there is one.
        self.allowance: Allowance | None = None
        self._local = Peer.of(here).address
        # A link-local address means nothing without its scope.
        self._interface = here if here is not None and "%" in here else str(self._local)
        # A proxy may carry the data connections too.
        self._peers = {control.peer.address, Peer.of(there).address} - {None}
        self._port: QuietPort | IListeningPort | None = None
        #: A passive port that nobody was told to come to, and when it was put aside.
        self._kept: QuietPort | None = None
        self._kept_since = 0.0
        #: The client came, and no transfer has asked yet.
        self._accepted: Accepted | None = None
        self._target: tuple[Address, int] | None = None
        self._connector: IConnector | None = None
        self._connection: DataConnection | None = None
        self._opened = False
        self._strangers = 0
        #: A proxy is connected that has not named its client yet.
        self._unnamed: ProxiedConnection | None = None
        self._waiting: Deferred[IDataConnection] | None = None
        self._timer: IDelayedCall | None = None

    @property
    def family(self) -> int | None:
        return None if self._local is None or not self._peers else self._local.version

    @property
    def aimed(self) -> bool:
        return (
            self._port is not None
            or self._target is not None
            or self._connection is not None
            or self._accepted is not None
            or self._unnamed is not None
        )

    @property
    def moved(self) -> int:
        """Octets that have gone or come on the connection that is open."""
        return 0 if self._connection is None else self._connection.moved

    @property
    def calling(self) -> bool:
        return self._target is not None

    def connected(self) -> bool:
        there = self._connection or self._accepted or self._unnamed
        if there is None and isinstance(self._port, QuietPort):
            self._take(self._port)
        return self._connection is not None or self._accepted is not None or self._unnamed is not None

    def _take(self, port: QuietPort) -> None:
        """See whether the client has come to a passive port."""
        while self._port is port and (accepted := port.take()) is not None:
            if self._welcome(accepted.address[0]):
                self._accepted = accepted
                self._put_aside()
                return
            accepted.socket.close()

    def listen(self, tell: bool = True) -> tuple[Address, int]:
        told = self._told() if tell and self._local is not None else self._local
        kept, self._kept = self._kept, None
        # It is in use now: whoever looks for a port to be had must not find this one.
        self._clear.keepers.pop(self, None)
        self.abandon()
        if self._local is None or not self._peers:
            raise DataFault("No data connections here")
        self._strangers = 0
        if kept is not None and not kept.fresh():
            kept.shut()
            kept = None
        self._port = kept or self._new_port()
        if self._is_private() and isinstance(self._port, QuietPort):
            # The handshake may be over when the transfer begins. A client that hangs up right after one would
            # reset the connection by the session tickets that it has not read, and lose what it sent.
            self._port.wait()
        bound: Any = self._port.getHost()
        assert told is not None
        return told, int(bound.port)

    def _new_port(self) -> QuietPort | IListeningPort:
        while True:
            for number in self._numbers():
                try:
                    return listen(self._reactor, number, _Door(self), self._interface)
                except CannotListenError:
                    continue
            if not self._clear.keepers:
                raise DataFault("No port free")
            next(iter(self._clear.keepers)).tidy()

    def _numbers(self) -> Iterable[int]:
        """Ports to try, in an order that nobody can guess (RFC 2577 section 6)."""
        ports = self._clear.wiring.settings.ftp.passive_ports
        if ports is None:
            return (0,)
        every = range(ports[0], ports[1] + 1)
        return _chance.sample(every, min(TRIES, len(every)))

    def _told(self) -> Address:
        """The address for the client: ours, or the one that the settings give for clients beyond NAT."""
        assert self._local is not None
        try:
            return self._addresses.told(self._control.peer) or self._local
        except LookupError as unknown:
            raise DataFault(f"The address of {unknown} is not known just now; say EPSV") from None

    def aim(self, address: Address, port: int) -> None:
        self.abandon()
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if not self._expected(address):
            raise DataFault("Data connections go to your own address only")
        if port < 1024:
            raise DataFault("Data connections go to ports from 1024 on only")
        self._target = address, port

    @property
    def paced(self) -> bool:
        return self.allowance is not None and self.allowance.download is not None

    def send_whole(self, data: bytes) -> int:
        accepted = self._accepted
        if accepted is None or self._is_private() or self._by_proxy(accepted.address[0]):
            return 0
        try:
            if _talks(accepted.socket):
                # Closing over octets that nobody has read would reset the connection.
                return 0
            sent = accepted.socket.send(data) if data else 0
        except OSError:
            # Full, or lost, which shows when it is opened.
            return 0
        if sent == len(data):
            self._accepted = None
            accepted.socket.close()
        return sent

    def open(self) -> Deferred[IDataConnection]:
        if self._connection is not None and self._opened:
            return succeed(self._connection)
        if not self.aimed:
            return fail(DataFault("Say PASV or PORT first"))
        waiting = self._waiting = Deferred()
        self._timer = self._clear.wiring.clock.callLater(PATIENCE, self._out_of_time)
        if self.connected():
            accepted, self._accepted = self._accepted, None
            if accepted is not None:
                accepted.adopt(self._protocol(accepted.address[0]))
        elif isinstance(self._port, QuietPort):
            self._port.wait()
        elif self._target is not None and self._connector is None:
            self._call()
        return waiting

    def _call(self, port: int | None = None) -> None:
        """Connect to the client: from the port below that of the control connection where that takes a
        privilege and we have it (RFC 959 section 3.2), which old firewalls expect; else from any."""
        assert self._target is not None
        if port is None:
            port = self._clear.calling_port(self._control.local.port)
        self._connector = self._reactor.connectTCP(
            str(self._target[0]),
            self._target[1],
            _Call(self, port),
            timeout=PATIENCE,
            # Several clients are called from it, and the last connection to this one rests in TIME_WAIT.
            bindAddress=makeBinding(self._interface, port, reuseAddress=port != 0),  # type: ignore[arg-type]  # a new type of tuple
        )

    def release(self) -> None:
        self._connection = None
        self._give_up()

    def abandon(self) -> None:
        self.tidy()
        self._give_up()

    def _give_up(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            # Its Deferred only says when the last of it is gone.
            port.stopListening()
        accepted, self._accepted = self._accepted, None
        if accepted is not None:
            accepted.socket.close()
        connector, self._connector, self._target = self._connector, None, None
        connection, self._connection = self._connection, None
        unnamed, self._unnamed = self._unnamed, None
        if unnamed is not None and unnamed.transport is not None:
            unnamed.transport.abortConnection()
        self._opened = False
        if connection is not None:
            connection.abort()
        elif connector is not None:
            connector.disconnect()
        if self._waiting is not None:
            self._answer(DataFault("Data connection given up"))

    def tidy(self, before: float | None = None) -> None:
        """Close the passive port that is kept; with a time, only if it was put aside before that."""
        if self._kept is not None and (before is None or self._kept_since < before):
            self._clear.keepers.pop(self, None)
            self._kept.shut()
            self._kept = None

    def _put_aside(self) -> None:
        """The client has come; its passive port may serve the next transfer."""
        port, self._port = self._port, None
        if isinstance(port, QuietPort) and port.uses < USES:
            port.rest()
            self._kept = port
            self._kept_since = self._clear.wiring.clock.seconds()
            self._clear.keepers.pop(self, None)
            self._clear.keepers[self] = None
        elif port is not None:
            port.stopListening()

    # What the network says.

    def _expected(self, address: Address | None) -> bool:
        """The client's own, or a server's that its account may use for FXP."""
        if address is None or address in self._peers:
            return address is not None
        return any(address in network for network in self.others)

    def _welcome(self, host: str | None) -> bool:
        """Whether a connection is the client's; after too many that are not, the port is given up."""
        if self._by_proxy(host) or self._expected(Peer.of(host).address):
            return True
        self._strangers += 1
        self._control.journal.warn("data connection refused", stranger=host or "")
        if self._strangers >= STRANGERS:
            self.abandon()
        return False

    def _by_proxy(self, host: str | None) -> bool:
        """Whether a PROXY header comes first from there. What we call ourselves is no proxy."""
        networks = self._clear.wiring.settings.ftp.proxy_data
        address = Peer.of(host).address if networks and self._target is None else None
        return address is not None and any(address in network for network in networks)

    def admit(self, address: IAddress) -> IProtocol | None:
        """A connection came, or ours was made; None closes it."""
        host = getattr(address, "host", None)
        if not self._welcome(host) or (self._connection or self._unnamed) is not None:
            return None
        made = self._protocol(host)
        self._put_aside()
        return made

    def _protocol(self, host: str | None) -> IProtocol:
        """The protocol of a new data connection from there: behind a header if that is to come."""
        if not self._by_proxy(host):
            return self._data_protocol()
        wiring = self._clear.wiring
        factory = ProxyFactory(_Behind(self), wiring.settings.ftp.proxy_data, wiring.clock)
        self._unnamed = ProxiedConnection(factory, None)  # type: ignore[arg-type]  # as ProxyFactory has it
        return self._unnamed

    def named(self, address: IAddress) -> IProtocol | None:
        """A proxy has said for whom it is connected; None closes it."""
        unnamed, self._unnamed = self._unnamed, None
        if unnamed is None:
            return None
        host = getattr(address, "host", None)
        client = Peer.of(host).address
        # Not `_expected`: the proxy's own address is what stands here when it names nobody.
        if client != self._control.peer.address and not any(client in network for network in self.others):
            self._control.journal.warn("data connection refused", stranger=host or "")
            self._answer(DataFault("The data connection is not from you"))
            return None
        return self._data_protocol()

    def _data_protocol(self) -> IProtocol:
        """In TLS if that was agreed."""
        private = self._private if self._is_private() else None
        connection = self._connection = DataConnection()
        connection.factory = private or self._clear
        connection.channel = self
        if private is None:
            return connection
        assert private.wiring.tls is not None
        control = self._control.tls_handle()
        factory = private.wiring.tls.wrap_data(_Made(connection), self._server_name(), control)
        made: IProtocol = factory.buildProtocol(None)
        return made

    def refused(self, port: int, reason: Failure) -> None:
        """Our own connection could not be made."""
        error = getattr(reason.value, "osError", None)
        if port and error in _PORT_FAULTS and self._target is not None:
            if error == errno.EACCES:
                self._clear.privileged = False
            self._call(0)
            return
        self._target = self._connector = None
        self._answer(DataFault("Cannot connect to you"))

    def arrived(self, connection: DataConnection) -> None:
        """It is open: connected, and encrypted if need be."""
        if connection is not self._connection:
            return
        handle = connection.tls_handle()
        if handle is not None and self._clear.reuse_required and not resumed(handle):
            self._answer(DataFault("TLS session of data connection not resumed"))
            self.abandon()
            return
        self._opened = True
        self._answer(connection)

    def departed(self, connection: DataConnection) -> None:
        if connection is self._connection and not self._opened:
            # The handshake failed.
            self._connection = None
            self._answer(DataFault("Data connection lost before it began"))

    def _out_of_time(self) -> None:
        self._timer = None
        self._answer(DataFault("No data connection came"))
        self.abandon()

    def _answer(self, outcome: DataConnection | DataFault) -> None:
        waiting, self._waiting = self._waiting, None
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if waiting is not None:
            if isinstance(outcome, DataFault):
                waiting.errback(outcome)
            else:
                waiting.callback(outcome)


def _talks(found: socket.socket) -> bool:
    """Whether the other end has sent octets. Raises OSError when the connection is lost."""
    try:
        return found.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False


_chance = random.SystemRandom()
