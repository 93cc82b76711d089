"""A door is one endpoint of one service: it stays while the factory behind it changes.

New settings make a new factory for each service. The door gives new connections to the newest and lets
those of older ones end in their own time, so a reload drops nobody.

A door is bound with privileges and opened without: between the two, clients wait in the kernel's queue and
are not turned away.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IAddress, ILoggingContext
from twisted.internet.protocol import Protocol, ServerFactory
from zope.interface import implementer

from mailftp.dns.authority import Authority
from mailftp.dns.datagrams import DatagramSocket
from mailftp.settings.endpoints import listening_address, split_endpoint
from mailftp.wire.connection import ConnectionFactory
from mailftp.wire.listener import CannotListen, ListenerService


@implementer(ILoggingContext)
class Threshold(ServerFactory):
    """What the listener is given: it stands for the newest of the factories that it was given itself."""

    noisy = False

    def __init__(self, service: str) -> None:
        self._service = service
        self._factories: list[ConnectionFactory] = []

    @property
    def furnished(self) -> bool:
        """Whether there is somebody to let people in."""
        return bool(self._factories)

    @property
    def occupied(self) -> bool:
        """Whether somebody is inside."""
        return any(factory.connections for factory in self._factories)

    def logPrefix(self) -> str:
        """Twisted logs that this "starting on 2525"."""
        return self._service

    def change(self, factory: ConnectionFactory) -> None:
        """New connections are this factory's from now on."""
        self._factories = [factory, *(older for older in self._factories if tuple(older.connections))]

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self._factories[0].buildProtocol(addr) if self._factories else None

    def drain(self, seconds: float) -> Deferred[None]:
        """Fires when the last connection of every factory is gone."""
        draining = [factory.drain(seconds) for factory in self._factories]
        return DeferredList(draining, consumeErrors=True).addCallback(lambda _: None)


class Door(ListenerService):
    """One endpoint. Nobody comes in before `open`."""

    def __init__(self, endpoint: str, service: str, reactor: Any, **listening: Any) -> None:
        self.service = service
        self._threshold = Threshold(service)
        self._open = self._retired = False
        super().__init__(endpoint, self._threshold, reactor, key=f"listen.{service}", **listening)

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self._read_or_not()

    def startService(self) -> None:
        super().startService()
        self._read_or_not()

    def stopService(self) -> Deferred[None]:
        """Fires when it is closed and, unless it was retired, everybody who was inside has gone."""
        self._open = False
        closed = super().stopService()
        if self._retired:
            return closed
        both = DeferredList([closed, self.drain()], consumeErrors=True)
        return both.addCallback(lambda _: None)

    def retire(self) -> None:
        """Stopping it will leave those alone who are inside."""
        self._retired = True

    def drain(self) -> Deferred[None]:
        """Ask those inside to go; fires when they have."""
        return self._threshold.drain(self.drain_seconds)

    @property
    def furnished(self) -> bool:
        return self._threshold.furnished

    @property
    def occupied(self) -> bool:
        """Whether somebody is inside."""
        return self._threshold.occupied

    @property
    def whereabouts(self) -> str:
        """Where it is, for people: "127.0.0.1:2525"; the endpoint where that is no host and port."""
        for address in self.addresses:
            if isinstance(address, IPv4Address | IPv6Address):
                host = f"[{address.host}]" if ":" in address.host else address.host
                return f"{host}:{address.port}"
        return self.endpoint

    def change(self, factory: ConnectionFactory) -> None:
        """New connections are this factory's from now on."""
        self._threshold.change(factory)

    def open(self) -> None:
        self._open = True
        self._read_or_not()

    def _read_or_not(self) -> None:
        port: Any = self._port
        if port is not None:
            # Of the reactor's ports, TCP and Unix: what Twisted's own pauseProducing of a port calls.
            (port.startReading if self._open else port.stopReading)()


class DatagramDoor(Service):
    """An endpoint "udp:PORT:interface=ADDRESS" or "udp6:PORT" of the name service. Nobody is connected to it,
    so nobody is inside, and there is nobody to wait for."""

    furnished = True
    occupied = False

    def __init__(self, endpoint: str, service: str, reactor: Any, authority: Authority) -> None:
        self.endpoint, self.service = endpoint, service
        self._reactor, self._authority = reactor, authority
        _, positional, named = split_endpoint(endpoint)
        self._host = listening_address(endpoint) or ""
        self._port = int(named.get("port") or positional[0])
        self._socket: DatagramSocket | None = None
        self._open = False

    @property
    def addresses(self) -> list[IAddress]:
        """Where it listens: [] before it does, else one address."""
        if self._socket is None:
            return []
        host, port = self._socket.address
        return [(IPv6Address if ":" in host else IPv4Address)("UDP", host, port)]

    @property
    def whereabouts(self) -> str:
        """Where it is, for people: "127.0.0.1:53/udp"."""
        if self._socket is None:
            return self.endpoint
        host, port = self._socket.address
        return f"[{host}]:{port}/udp" if ":" in host else f"{host}:{port}/udp"

    def privilegedStartService(self) -> None:
        """Binds; raises CannotListen."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # upstream
        self._bind()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # upstream
        self._bind()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # upstream
        self._open = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return succeed(None)

    def retire(self) -> None:
        """There is nobody inside."""

    def drain(self) -> Deferred[None]:
        return succeed(None)

    def change(self, factory: ConnectionFactory) -> None:
        """What it answers is the Authority's, whoever makes the connections."""

    def open(self) -> None:
        if self._socket is not None and not self._open:
            self._open = True
            self._socket.start()

    def _bind(self) -> None:
        if self._socket is not None:
            return
        answer = self._authority.answer_datagram
        try:
            self._socket = DatagramSocket(self._host, self._port, self._reactor, answer)
        except OSError as fault:
            words = f"listen.{self.service}: cannot listen on {self.endpoint}: {fault.strerror or fault}"
            raise CannotListen(words) from None


AnyDoor = Door | DatagramDoor
