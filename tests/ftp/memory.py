"""A server in memory, under a clock, whose data connections are made by the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire.peer import Peer
from tests.connector import Client, connect
from tests.files.inline import Inline
from tests.ftp.site import factory, settings

PEER, HOST = ("127.0.0.1", 40000), ("127.0.0.1", 21)


class Port:
    """A listening port; `door` is the factory behind it, None when it is closed."""

    def __init__(self, number: int, door: Any, interface: str) -> None:
        self.number, self.door, self.interface = number, door, interface

    def getHost(self) -> Any:
        return IPv4Address("TCP", self.interface, self.number)

    def stopListening(self) -> Deferred[None]:
        self.door = None
        return succeed(None)


class Call:
    """A connection that the server wants to make."""

    def __init__(self, host: str, port: int, caller: Any, bind: Any) -> None:
        self.host, self.port, self.caller = host, port, caller
        self.bind = (bind._address, bind._port)
        self.given_up = False

    def disconnect(self) -> None:
        self.given_up = True


class Network:
    """What the server opens: IReactorTCP without sockets."""

    def __init__(self) -> None:
        self.ports: list[Port] = []
        self.calls: list[Call] = []
        self.taken: set[int] = set()
        #: The addresses of hosts; None: the look-up fails.
        self.hosts: dict[str, str | None] = {}
        self.asked: list[str] = []

    def resolve(self, name: str) -> Deferred[str]:
        self.asked.append(name)
        address = self.hosts.get(name)
        return succeed(address) if address else fail(DNSLookupError(name))

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        number = port or 20000 + len(self.ports)
        if number in self.taken:
            raise CannotListenError(interface, port, OSError("in use"))
        self.ports.append(Port(number, factory, interface))
        return self.ports[-1]

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Call:
        self.calls.append(Call(host, port, factory, bindAddress))
        return self.calls[-1]


class MemoryCase(SynchronousTestCase):
    """`self.client` is logged out; `self.home` is alice's folder."""

    ftp: dict[str, Any] = {}
    peer, host = PEER, HOST
    service = "ftp"
    quota: int | None = None
    tls: Any = None

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir(parents=True)
        self.home = self.top / "files" / "example.test" / "alice"
        self.start()

    def start(self, **ftp: Any) -> None:
        """A new server, and a client that has read nothing yet."""
        self.data_clients: list[Client] = []
        self.clock, self.network, self.runner = Clock(), Network(), Inline()
        self.clock.advance(1_700_000_000)
        self.factory = factory(
            settings(self.top, **{**self.ftp, **ftp}),
            self.clock,
            self.network,
            self.runner,
            service=self.service,
            quota=self.quota,
            tls=self.tls,
        )
        self.client = self.connect()

    def connect(self) -> Client:
        return connect(self.factory, peer=self.peer, host=self.host)

    def log_in(self, *more: str) -> None:
        """Log in, say more, and forget the answers."""
        self.say("USER alice", "PASS wonderland", "TYPE I", *more)

    def say(self, *lines: str, client: Client | None = None) -> list[str]:
        """Say lines in one write; the lines of the answer."""
        return self.answers(
            "".join(line + "\r\n" for line in lines).encode("utf-8", "surrogateescape"), client
        )

    def answers(self, data: bytes = b"", client: Client | None = None) -> list[str]:
        client = client or self.client
        got = client.exchange(data)
        for _ in range(4):
            self.clock.advance(0.002)
            # What the server did to its data connections happens when these move.
            for one in self.data_clients:
                one.pump()
            got += client.received()
        return got.decode("utf-8", "surrogateescape").split("\r\n")[:-1]

    def codes(self, lines: Sequence[str]) -> list[str]:
        return [line[:3] for line in lines]

    def passive(self, peer: tuple[str, int] | None = None) -> Client:
        """PASV or EPSV, and the client's connection to it."""
        self.say("EPSV")
        return self.arrive(peer)

    def arrive(self, peer: tuple[str, int] | None = None) -> Client:
        door = self.network.ports[-1].door
        assert door is not None, "the port is closed"
        made = connect(door, peer=peer or (self.peer[0], 40001), host=self.host, clock=self.clock)
        self.data_clients.append(made)
        return made

    def admitted(self, host: str) -> bool:
        """Whether a connection from somewhere would be let in."""
        door = self.network.ports[-1].door
        kind = IPv6Address if ":" in host else IPv4Address
        return door is not None and door.buildProtocol(kind("TCP", host, 40002)) is not None

    def shown(self) -> list[str]:
        """Names in alice's home that are not hidden uploads."""
        return sorted(
            path.name for path in self.home.iterdir() if not path.name.startswith(".mailftp-upload-")
        )

    def address(self) -> Peer:
        return Peer.of(*self.peer)
