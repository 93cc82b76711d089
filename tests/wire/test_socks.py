"""Connections through a SOCKS5 proxy (RFC 1928)."""

from __future__ import annotations

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.proto_helpers import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire.socks import PATIENCE, SOCKSEndpoint, SOCKSFault

BOUND = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"


class Heard(Protocol):
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class SOCKSTests(SynchronousTestCase):
    def begin(self, address: str = "192.0.2.7", login: tuple[str, str] | None = None) -> None:
        self.reactor = MemoryReactorClock()
        proxy = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 1080)
        endpoint = SOCKSEndpoint(self.reactor, proxy, address, 25, login)
        self.connecting = endpoint.connect(Factory.forProtocol(Heard))
        factory = self.reactor.tcpClients[0][2]
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def said(self) -> bytes:
        said = self.transport.value()
        self.transport.clear()
        return said

    def hear(self, data: bytes, *, cut: bool = False) -> None:
        for piece in [data[n : n + 1] for n in range(len(data))] if cut else [data]:
            self.transport.protocol.dataReceived(piece)

    def failed(self) -> str:
        fault = self.failureResultOf(self.connecting, SOCKSFault)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return str(fault.value)

    def test_connected(self) -> None:
        """Without a login, to an IPv4 address; octets behind the answer are the far side's, however cut."""
        for cut in (False, True):
            self.begin()
            self.assertEqual(self.said(), b"\x05\x01\x00")
            self.hear(b"\x05\x00", cut=cut)
            self.assertEqual(self.said(), b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x19")
            self.hear(BOUND + b"220 far", cut=cut)
            protocol = self.successResultOf(self.connecting)
            self.assertEqual(protocol.data, b"220 far")
            self.assertIs(protocol.transport, self.transport)
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_ipv6_and_a_name_in_the_answer(self) -> None:
        """An IPv6 address is sent as one; what the proxy is bound to may be a name."""
        self.begin("2001:db8::1")
        self.hear(b"\x05\x00")
        self.assertEqual(self.said()[3:], b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x19")
        self.hear(b"\x05\x00\x00\x03\x05proxy\x00\x00x")
        self.assertEqual(self.successResultOf(self.connecting).data, b"x")

    def test_login(self) -> None:
        """RFC 1929, where the proxy chooses it."""
        self.begin(login=("bob", "sécret"))
        self.assertEqual(self.said(), b"\x05\x02\x00\x02")
        self.hear(b"\x05\x02")
        self.assertEqual(self.said(), b"\x01\x03bob\x07s\xc3\xa9cret")
        self.hear(b"\x01\x00")
        self.assertEqual(self.said()[:3], b"\x05\x01\x00")

    def test_refusals(self) -> None:
        """What the proxy says instead is told in words, and the connection is closed."""
        for replies, words in (
            ((b"\x05\xff",), "it wants a login"),
            ((b"\x05\x02",), "it wants a login"),
            ((b"HTTP/1.1 400\r\n",), "no SOCKS5 proxy"),
            ((b"\x05\x00", b"\x05\x05\x00\x01\x00\x00"), "connection refused"),
            ((b"\x05\x00", b"\x05\x63\x00\x01\x00\x00"), "code 99"),
            ((b"\x05\x00", b"\x05\x00\x00\x09\x00\x00"), "makes no sense"),
        ):
            self.begin()
            for reply in replies:
                self.hear(reply)
            self.assertIn(words, self.failed())
            self.assertTrue(self.transport.disconnected)

    def test_login_refused(self) -> None:
        self.begin(login=("bob", "wrong"))
        self.hear(b"\x05\x02\x01\x01")
        self.assertIn("does not let us log in", self.failed())

    def test_closed_and_silent(self) -> None:
        """A proxy that closes, or says nothing, fails the connection."""
        self.begin()
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIn("closed the connection", self.failed())
        self.begin()
        self.reactor.advance(PATIENCE)
        self.assertIn("no answer in 60 seconds", self.failed())

    def test_bad_arguments(self) -> None:
        proxy = TCP4ClientEndpoint(MemoryReactorClock(), "127.0.0.1", 1080)
        self.assertRaises(ValueError, SOCKSEndpoint, Clock(), proxy, "mx.test", 25)
        for login in (("", "x"), ("x", ""), ("x" * 256, "y")):
            self.assertRaises(ValueError, SOCKSEndpoint, Clock(), proxy, "192.0.2.1", 25, login)
