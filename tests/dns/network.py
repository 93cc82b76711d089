"""A network in memory for the resolver's tests: its clock, its datagrams and its TCP connections."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

#: What a server does with a query: octets to answer with (one or several packets), None for silence.
Behaviour = Callable[[dns.message.Message], "bytes | list[bytes] | None"]


class Port:
    """A connected UDP socket."""

    def __init__(self, network: MemoryNetwork, protocol: DatagramProtocol) -> None:
        self.network, self.protocol = network, protocol
        self.peer: tuple[str, int] = ("", 0)
        self.closed = False

    def connect(self, host: str, port: int) -> None:
        if host in self.network.unreachable:
            raise OSError(101, "Network is unreachable")
        self.peer = (host, port)

    def write(self, wire: bytes) -> None:
        self.network.datagrams.append((*self.peer, wire))
        behaviour = self.network.udp.get(self.peer)
        if behaviour is None:
            self.network.callLater(0, self._refused)
            return
        answer = behaviour(dns.message.from_wire(wire))
        for packet in [answer] if isinstance(answer, bytes) else answer or []:
            self.network.callLater(0, self._deliver, packet)

    def _refused(self) -> None:
        """The kernel's word that nothing listens there, in one of the two ways in which Twisted tells it."""
        if not self.closed and self.network.hangs_up:
            self.closed = True
            self.protocol.stopProtocol()
        elif not self.closed:
            self.protocol.connectionRefused()

    def _deliver(self, packet: bytes) -> None:
        if not self.closed:
            self.protocol.datagramReceived(packet, self.network.source or self.peer)

    def stopListening(self) -> Deferred[None] | None:
        self.closed = True
        return None


class Connector:
    """A TCP connection, or the try at one."""

    def __init__(self, network: MemoryNetwork, peer: tuple[str, int], factory: object) -> None:
        self.network, self.peer, self.factory = network, peer, factory
        self.transport: StringTransport | None = None
        self.over = False

    def begin(self) -> None:
        behaviour = self.network.tcp.get(self.peer)
        if self.over:
            return
        if behaviour is None:
            self.over = True
            self.factory.clientConnectionFailed(self, Failure(error.ConnectionRefusedError()))
            return
        self.protocol = self.factory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        wire = self.transport.value()
        assert int.from_bytes(wire[:2], "big") == len(wire) - 2
        self.network.streams.append((*self.peer, wire[2:]))
        answer = behaviour(dns.message.from_wire(wire[2:]))
        for octets in [answer] if isinstance(answer, bytes) else answer or []:
            self.network.callLater(0, self.protocol.dataReceived, octets)

    def disconnect(self) -> None:
        if not self.over:
            self.over = True
            reason = Failure(error.ConnectionDone())
            if self.transport is None:
                self.network.callLater(0, self.factory.clientConnectionFailed, self, reason)
            else:
                self.network.callLater(0, self.factory.clientConnectionLost, self, reason)

    def cut(self) -> None:
        """The server closes the connection."""
        self.over = True
        self.factory.clientConnectionLost(self, Failure(error.ConnectionDone()))


@implementer(IReactorTime, IReactorUDP, IReactorTCP)
class MemoryNetwork(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.udp: dict[tuple[str, int], Behaviour] = {}
        self.tcp: dict[tuple[str, int], Behaviour] = {}
        self.datagrams: list[tuple[str, int, bytes]] = []
        self.streams: list[tuple[str, int, bytes]] = []
        self.ports: list[Port] = []
        self.connectors: list[Connector] = []
        self.unreachable: set[str] = set()
        #: When set, the address that answers come from.
        self.source: tuple[str, int] | None = None
        self.no_sockets = False
        #: A refused datagram closes the port, as epoll does, and is not told as a refusal, as poll does.
        self.hangs_up = False

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 0):
        assert port == 0
        if self.no_sockets:
            raise error.CannotListenError(interface, port, OSError(24, "Too many open files"))
        self.ports.append(Port(self, protocol))
        return self.ports[-1]

    def connectTCP(self, host: str, port: int, factory, timeout: float = 30, bindAddress=None):
        self.connectors.append(Connector(self, (host, port), factory))
        self.callLater(0, self.connectors[-1].begin)
        return self.connectors[-1]

    def listenTCP(self, port: int, factory, backlog: int = 50, interface: str = ""):
        raise NotImplementedError

    def settle(self) -> None:
        """Let everything that can happen at once happen."""
        for _ in range(100):
            self.advance(0)

    @property
    def open_sockets(self) -> int:
        return sum(not port.closed for port in self.ports) + sum(not c.over for c in self.connectors)


def framed(wire: bytes) -> bytes:
    """With the two octets of length that TCP wants."""
    return len(wire).to_bytes(2, "big") + wire


class Zone:
    """A server's behaviour from lines of a zone file; counts what it is asked."""

    def __init__(self, *lines: str, soa: bool = True, authentic: bool = False) -> None:
        self.records: dict[tuple[str, str], dns.rrset.RRset] = {}
        self.asked: list[tuple[str, str]] = []
        self.soa, self.authentic = soa, authentic
        for line in lines:
            name, ttl, kind, rest = line.split(None, 3)
            rrset = dns.rrset.from_text(name + ".", int(ttl), "IN", kind, rest)
            kept = self.records.setdefault((name, kind), rrset)
            for record in rrset:
                kept.add(record)

    def __call__(self, query: dns.message.Message) -> bytes:
        return self.reply(query).to_wire()

    def reply(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name, kind = question.name.to_text(True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        for _ in range(20):
            alias = self.records.get((name, "CNAME"))
            if alias is None or kind == "CNAME":
                break
            reply.answer.append(alias)
            name = alias[0].target.to_text(True)
        found = self.records.get((name, kind))
        if found is not None:
            reply.answer.append(found)
        elif not any(known == name for known, _ in self.records) and name not in ("", "alias-elsewhere"):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if found is None and self.soa:
            soa = "ns.test. root.test. 1 3600 600 86400 120"
            reply.authority.append(dns.rrset.from_text("test.", 300, "IN", "SOA", soa))
        if self.authentic:
            reply.flags |= dns.flags.AD
        return reply
