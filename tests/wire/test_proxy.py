"""PROXY headers: read from those who are trusted, and from nobody else."""

from __future__ import annotations

import socket
from ipaddress import ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.wire.connection import Connection, ConnectionFactory
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.listener import ListenerService
from mailftp.wire.proxy import PATIENCE, Header, MalformedHeader, ProxyFactory, parse
from tests import certificates
from tests.connector import Client, connect, wiring
from tests.wire.network import dial

TRUSTED = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int = 0x21, family: int = 0x11, block: bytes | None = None, tlvs: bytes = b"") -> bytes:
    """A version 2 header; by default for 203.0.113.9:40001 to 198.51.100.1:25."""
    if block is None:
        block = socket.inet_aton("203.0.113.9") + socket.inet_aton("198.51.100.1") + b"\x9c\x41\x00\x19"
    block += tlvs
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


def v2_six() -> bytes:
    pair = [socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8:ffff::9", "::1")]
    return v2(family=0x21, block=b"".join(pair) + b"\x9c\x41\x00\x19")


FOUR = ("203.0.113.9:40001", "198.51.100.1:25")
SIX = ("[2001:db8:ffff::9]:40001", "[::1]:25")
UNKNOWN = ("192.0.2.1:40000", "192.0.2.25:25")

#: Every kind of header, and the client and local address that it makes.
HEADERS = (
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 40001 25\r\n", FOUR),
    (b"PROXY TCP6 2001:db8:ffff::9 ::1 40001 25\r\n", SIX),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 40001 25\r\n", ("203.0.113.9:40001", "[::1]:25")),
    (b"PROXY UNKNOWN\r\n", UNKNOWN),
    (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535 and more\r\n", UNKNOWN),
    (v2(), FOUR),
    (v2(tlvs=b"\x03\x00\x04abcd" + b"\x20\x07\x00" + b"x" * 1792), FOUR),
    (v2_six(), SIX),
    (v2(command=0x20), UNKNOWN),
    (v2(command=0x20, family=0, block=b""), UNKNOWN),
    (v2(family=0, block=b""), UNKNOWN),
    (v2(family=0x31, block=b"/run/client".ljust(216, b"\0")), UNKNOWN),
)

MALFORMED = (
    b"EHLO me\r\n",
    b"\x16\x03\x01\x02\x00",
    b"PROXY TCP5 203.0.113.9 198.51.100.1 40001 25\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 40001\r\n",
    b"PROXY TCP4 203.0.113.999 198.51.100.1 40001 25\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 40001 25\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 65536 25\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 1_0 25\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 040 25\r\n",
    b"PROXY TCP4  203.0.113.9 198.51.100.1 40 25\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 40 25\n" + b"x" * 107,
    b"PROXY " + b"x" * 200,
    b"PROXY UNKNOWN" + b"x" * 93 + b"\r\n",
    SIGNATURE + b"\x11\x11\x00\x0c" + b"x" * 12,
    SIGNATURE + b"\x22\x11\x00\x0c" + b"x" * 12,
    SIGNATURE + b"\x21\x12\x00\x0c" + b"x" * 12,
    SIGNATURE + b"\x21\x11\x00\x0b" + b"x" * 11,
    SIGNATURE + b"\x21\x21\x00\x0c" + b"x" * 12,
    SIGNATURE + b"\x21\x11\x08\x01",
    SIGNATURE + b"\x20\x00\xff\xff",
)


class Who(Connection):
    """Says who the client is, and shows what it sends; speaks STARTTLS."""

    def opened(self) -> None:
        self.send(f"{self.peer} {self.local} {self.peer.local}\r\n".encode())

    def received(self, data: bytes) -> None:
        if data == b"STARTTLS\r\n":
            self.send(b"go\r\n")
            self.start_tls()
        else:
            self.send(b"<" + data + b">")

    def refusal(self, reason: str) -> bytes:
        return b"421 " + reason.encode()


class WhoFactory(ConnectionFactory):
    protocol = Who


class Parsing(SynchronousTestCase):
    """The header itself."""

    def test_prefixes(self) -> None:
        """No beginning of a header is a header, and none is malformed."""
        for header, _ in HEADERS:
            for length in range(len(header)):
                self.assertIsNone(parse(header[:length]))
            parsed = parse(header + b"rest")
            assert parsed is not None
            self.assertEqual(parsed[1], len(header))

    def test_malformed(self) -> None:
        """Anything else is refused, and a header that is too long before it has come."""
        for data in MALFORMED:
            self.assertRaises(MalformedHeader, parse, data)

    @given(
        st.binary(max_size=40),
        st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]),
    )
    @settings(max_examples=400, deadline=None, derandomize=True)
    def test_anything(self, tail: bytes, start: bytes) -> None:
        """Whatever comes, it is a header, the beginning of one, or malformed; never another error."""
        try:
            parsed = parse(start + tail)
        except MalformedHeader:
            return
        if parsed is not None:
            self.assertIsInstance(parsed[0], Header)
            self.assertLessEqual(parsed[1], len(start + tail))


class Trusted(SynchronousTestCase):
    """A factory behind a proxy."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.limits = ConnectionLimits(100, 1)
        self.inner = WhoFactory(wiring("smtp", clock=self.clock, limits=self.limits))
        self.factory = ProxyFactory(self.inner, TRUSTED, self.clock)

    def connect(self, **options: Any) -> Client:
        return connect(self.factory, clock=self.clock, **options)

    def test_real_client(self) -> None:
        """The protocol sees the client and the address that the header names; nothing is said before."""
        for header, (peer, local) in HEADERS:
            client = self.connect()
            self.assertEqual(client.received(), b"")
            client.send(header)
            self.assertEqual(client.received(), f"{peer} {local} False\r\n".encode())
            client.drop()

    def test_every_cut(self) -> None:
        """A header may be cut anywhere, and what follows it in the same segment is not lost."""
        for header, (peer, local) in HEADERS:
            whole = header + b"first"
            places = range(1, len(whole)) if len(whole) < 300 else (1, 15, 16, 17, 40, len(header) - 1)
            for place in places:
                client = self.connect()
                client.send(whole[:place])
                client.send(whole[place:])
                answer = client.received()
                self.assertTrue(answer.startswith(f"{peer} {local} False\r\n".encode()), answer)
                self.assertEqual(answer.partition(b"\r\n")[2].replace(b"><", b""), b"<first>")
                client.drop()
            client = self.connect()
            for octet in whole:
                client.send(bytes([octet]))
            self.assertIn(f"{peer} {local} False\r\n<f>".encode(), client.received())
            client.drop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_malformed(self) -> None:
        """A header that is none closes the connection, and the protocol never hears of it."""
        for data in MALFORMED:
            client = self.connect()
            client.send(data)
            self.assertTrue(client.closed, data)
            self.assertEqual(client.received(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(list(self.inner.connections), [])

    def test_late(self) -> None:
        """A proxy that does not send a header in time is cut off."""
        client = self.connect()
        client.send(b"PROXY TCP4 203")
        self.clock.advance(PATIENCE + 0.1)
        client.pump()
        self.assertTrue(client.closed)

    def test_untrusted(self) -> None:
        """From anywhere else a header is only octets of the protocol."""
        client = self.connect(peer=("198.51.100.66", 4))
        self.assertEqual(client.received(), b"198.51.100.66:4 192.0.2.25:25 False\r\n")
        self.assertEqual(client.exchange(HEADERS[0][0]), b"<" + HEADERS[0][0] + b">")

    def test_mapped(self) -> None:
        """A trusted IPv4 network is meant when the proxy comes as an IPv4-mapped IPv6 address."""
        client = self.connect(peer=("::ffff:192.0.2.7", 4))
        client.send(HEADERS[0][0])
        self.assertTrue(client.received().startswith(b"203.0.113.9:40001 "))

    def test_limits(self) -> None:
        """Connections are counted by the real client, not by the proxy."""
        for number in range(3):
            client = self.connect()
            client.send(b"PROXY TCP4 203.0.113.%d 198.51.100.1 40001 25\r\n" % number)
            self.assertIn(b"203.0.113", client.received())
        client = self.connect()
        client.send(b"PROXY TCP4 203.0.113.2 198.51.100.1 40002 25\r\n")
        self.assertEqual(client.received(), b"421 too many connections from your address")

    def test_starttls(self) -> None:
        """STARTTLS works through it."""
        tls = certificates.service(self.mktemp())
        inner = WhoFactory(wiring("smtp", clock=self.clock, tls=tls))
        client = connect(ProxyFactory(inner, TRUSTED, self.clock), clock=self.clock)
        client.send(HEADERS[0][0])
        client.received()
        self.assertEqual(client.exchange(b"STARTTLS\r\n"), b"go\r\n")
        client.start_tls()
        self.assertEqual(client.exchange(b"x"), b"<x>")

    def test_implicit_tls(self) -> None:
        """Under implicit TLS the header comes first, in the clear."""
        tls = certificates.service(self.mktemp())
        inner = WhoFactory(wiring("smtps", clock=self.clock, tls=tls, implicit_tls=True))
        client = connect(ProxyFactory(tls.wrap(inner), TRUSTED, self.clock), clock=self.clock)
        client.send(v2())
        client.start_tls()
        self.assertEqual(client.received(), b"203.0.113.9:40001 198.51.100.1:25 False\r\n")

    def test_half_close(self) -> None:
        """A client's end of sending is passed on, to those who know what that is and to those who do not."""
        client = self.connect()
        client._outgoing += HEADERS[0][0] + b"x"
        client.end()
        self.assertTrue(client.received().endswith(b"<x>"))
        self.assertTrue(client.closed)
        plain = connect(ProxyFactory(Factory.forProtocol(Protocol), TRUSTED, self.clock), clock=self.clock)
        plain._outgoing += HEADERS[0][0]
        plain.end()
        self.assertTrue(plain.closed)

    def test_stop(self) -> None:
        """When nothing listens any more, proxies that have not sent a header are cut off."""
        waiting, served = self.connect(), self.connect()
        served.send(HEADERS[0][0])
        self.factory.stopFactory()
        waiting.pump()
        self.assertTrue(waiting.closed)
        self.assertFalse(served.closed)


class Real(TestCase):
    """Over TCP."""

    def test_every_cut(self) -> None:
        """The header arrives in two segments, cut at every octet."""
        factory = WhoFactory(wiring("smtp", clock=reactor))
        trusted = [ip_network("127.0.0.0/8")]
        listener = ListenerService(
            "tcp:0:interface=127.0.0.1", factory, reactor, trusted=trusted, drain_seconds=0.1
        )
        listener.startService()
        self.addCleanup(listener.stopService)
        expected = b"203.0.113.9:40001 198.51.100.1:25 False\r\n<x>"

        async def test() -> None:
            for header in HEADERS[0][0], v2():
                for place in range(1, len(header) + 1):
                    client = await dial(reactor, listener.addresses[0].port)
                    client.transport.write(header[:place])
                    # One turn of the reactor and the server's acknowledgement of the first segment.
                    turn: Deferred[None] = Deferred()
                    reactor.callLater(0, turn.callback, None)
                    await turn
                    client.transport.write(header[place:] + b"x")
                    self.assertEqual(await client.expect(len(expected)), expected)
                    client.transport.loseConnection()
                    await client.lost

        return Deferred.fromCoroutine(test())
