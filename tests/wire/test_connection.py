"""What mailftp.wire.connection promises to every protocol."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailftp.settings import Limits, Settings
from mailftp.wire.connection import LINGER, Connection, ConnectionFactory, Expiry
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.peer import Peer
from tests import certificates
from tests.connector import BUFFER, advance, connect, wiring


class Talk(Connection):
    """A protocol of lines that shows every call it gets. Lines that come together are all answered."""

    def opened(self) -> None:
        self.events: list[object] = []
        self.send(b"220 hi\r\n")

    def received(self, data: bytes) -> None:
        self.events.append(data)
        for line in data.split(b"\r\n")[:-1]:
            if line == b"QUIT":
                self.send(b"221 bye\r\n")
                self.close()
            elif line == b"STARTTLS":
                self.send(b"220 go\r\n")
                self.start_tls()
                return
            elif line == b"BOOM":
                self.send(b"250 before\r\n")
                raise ZeroDivisionError("boom")
            elif line == b"PAUSE":
                self.pause()
            else:
                self.send(b"250 " + line + b"\r\n")

    def secured(self) -> None:
        self.events.append("secured")

    def expired(self, clock: Expiry) -> None:
        self.events.append(clock)
        self.send(b"421 " + clock.value.encode() + b"\r\n")
        self.close()

    def drain(self) -> None:
        self.send(b"421 stopping\r\n")
        if b"BUSY\r\n" not in self.events:
            self.close()

    def closed(self, reason: Failure) -> None:
        self.events.append("closed")

    def refusal(self, reason: str) -> bytes:
        return b"421 " + reason.encode() + b"\r\n"


class TalkFactory(ConnectionFactory):
    protocol = Talk


def limited(**limits: object) -> Settings:
    return Settings(folder=Path("/x"), data=Path("/x"), limits=Limits(**limits))  # type: ignore[arg-type]


class Replies(SynchronousTestCase):
    """Sending and closing."""

    def setUp(self) -> None:
        self.factory = TalkFactory(wiring("smtp"))
        self.client = connect(self.factory)
        self.assertEqual(self.client.received(), b"220 hi\r\n")

    def test_one_write(self) -> None:
        """All replies to what came together leave in one write."""
        self.client.transport.writes.clear()
        self.assertEqual(self.client.exchange(b"a\r\nb\r\nc\r\n"), b"250 a\r\n250 b\r\n250 c\r\n")
        self.assertEqual(len(self.client.transport.writes), 1)

    def test_outside_received(self) -> None:
        """What is sent outside of any call leaves at once."""
        self.client.protocol.send(b"* later\r\n")
        self.assertEqual(self.client.transport.writes[-1], b"* later\r\n")

    def test_no_delay(self) -> None:
        """TCP_NODELAY is on."""
        self.assertTrue(self.client.transport.no_delay)

    def test_close_flushes(self) -> None:
        """What was sent before `close` arrives, what is sent after it does not; nothing more is received."""
        self.assertEqual(self.client.exchange(b"a\r\nQUIT\r\nb\r\n"), b"250 a\r\n221 bye\r\n")
        self.assertTrue(self.client.closed)
        self.assertEqual(self.client.protocol.events[-1], "closed")

    def test_fault(self) -> None:
        """An exception in `received` is logged; replies made before it leave; the connection closes."""
        self.assertEqual(self.client.exchange(b"a\r\nBOOM\r\n"), b"250 a\r\n250 before\r\n")
        self.assertTrue(self.client.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_half_close(self) -> None:
        """A client that ends its half right after its commands still gets every reply."""
        self.client._outgoing += b"a\r\nQUIT\r\n"
        self.client.end()
        self.assertEqual(self.client.received(), b"250 a\r\n221 bye\r\n")
        other = connect(self.factory)
        other._outgoing += b"a\r\n"
        other.end()
        self.assertEqual(other.received(), b"220 hi\r\n250 a\r\n")
        self.assertTrue(other.closed)

    def test_half_close_while_busy(self) -> None:
        """While the protocol has paused, the client's end is not even seen; then come the replies."""
        self.client._outgoing += b"PAUSE\r\n"
        self.client.end()
        self.assertFalse(self.client.closed)
        self.client.protocol.send(b"250 done\r\n")
        self.client.protocol.resume()
        self.assertEqual(self.client.received(), b"250 done\r\n")
        self.assertTrue(self.client.closed)

    def test_identity(self) -> None:
        """Each connection has a context of its own, its peer and its local address."""
        other = connect(self.factory, peer=("::ffff:192.0.2.9", 1), host=("2001:db8::1", 25))
        self.assertNotEqual(other.protocol.context, self.client.protocol.context)
        self.assertEqual(other.protocol.context, other.protocol.journal.context)
        self.assertEqual(str(other.protocol.peer), "192.0.2.9:1")
        self.assertEqual(other.protocol.local, Peer.of("2001:db8::1", 25))
        self.assertIsNone(connect(self.factory, peer=None).protocol.peer.address)


class Clocks(SynchronousTestCase):
    """Idle and login time."""

    def test_idle(self) -> None:
        """After the idle time without an octet the protocol is told, once; each octet begins it anew."""
        factory = TalkFactory(
            wiring("smtp", settings=limited(idle_timeout={"smtp": 10.0}, login_timeout=100.0))
        )
        client = connect(factory)
        advance(factory, 9)
        client.exchange(b"a\r\n")
        advance(factory, 9)
        self.assertEqual(client.received(), b"")
        advance(factory, 1)
        self.assertEqual(client.received(), b"421 idle\r\n")
        self.assertTrue(client.closed)

    def test_login(self) -> None:
        """The login time runs whatever the client sends, and ends when the protocol says so."""
        factory = TalkFactory(wiring("smtp", settings=limited(login_timeout=5.0)))
        client, other = connect(factory), connect(factory)
        other.protocol.login_deadline = None
        for _ in range(5):
            client.exchange(b"a\r\n")
            advance(factory, 1)
        self.assertEqual(client.received(), b"421 login\r\n")
        self.assertTrue(client.closed)
        self.assertFalse(other.closed)

    def test_switched_off(self) -> None:
        """No idle time runs while paused, or with an idle limit of None."""
        factory = TalkFactory(wiring("smtp", settings=limited(idle_timeout={"smtp": 5.0})))
        paused, never = connect(factory), connect(factory)
        for client in paused, never:
            client.protocol.login_deadline = None
        paused.send(b"PAUSE\r\n")
        never.protocol.idle_limit = None
        advance(factory, 60)
        self.assertFalse(paused.closed or never.closed)
        paused.protocol.resume()
        advance(factory, 6)
        self.assertIn(b"421 idle", paused.received())

    def test_no_timers(self) -> None:
        """There is one timer for all connections, and none without connections."""
        factory = TalkFactory(wiring("smtp"))
        clients = [connect(factory) for _ in range(20)]
        self.assertEqual(len(factory.wiring.clock.getDelayedCalls()), 1)
        for client in clients:
            client.drop()
        self.assertEqual(factory.wiring.clock.getDelayedCalls(), [])
        self.assertEqual(list(factory.connections), [])

    def test_deaf_after_close(self) -> None:
        """A client that never reads the farewell is aborted after a while."""
        factory = TalkFactory(wiring("smtp"))
        client = connect(factory)
        client.reading = False
        client.send(b"QUIT\r\n")
        self.assertFalse(client.closed)
        advance(factory, LINGER + 1)
        client.pump()
        self.assertTrue(client.closed)


class Pressure(SynchronousTestCase):
    """Clients that send and do not read."""

    def setUp(self) -> None:
        self.factory = TalkFactory(wiring("smtp", settings=limited(idle_timeout={"smtp": 20.0})))
        self.client = connect(self.factory)
        self.client.protocol.login_deadline = None

    def flood(self) -> int:
        """Send 8 MiB of commands and read nothing; the most that the server holds for us."""
        self.client.reading = False
        self.client.send(b"ab\r\n" * (2 * 1024 * 1024))
        return len(self.client.transport.buffer)

    def test_bounded(self) -> None:
        """What waits for a client that does not read stays bounded however much it sends."""
        # One read's worth of four-octet commands above the limit, each answered with eight octets.
        self.assertLess(self.flood(), BUFFER + 2 * BUFFER + 1)
        self.assertGreater(len(self.client._outgoing), 7 * 1024 * 1024)

    def test_goes_on(self) -> None:
        """When the client reads again, every command is answered."""
        self.flood()
        self.client.reading = True
        self.assertEqual(self.client.received().count(b"250 ab\r\n"), 2 * 1024 * 1024)

    def test_independent(self) -> None:
        """The protocol's pause and the pause because of an unread buffer do not undo each other."""
        self.flood()
        self.client.protocol.pause()
        self.client.reading = True
        self.client.pump()
        self.assertFalse(self.client.transport.reading)
        self.client.protocol.resume()
        self.assertTrue(self.client.transport.reading)
        self.flood()
        self.client.protocol.pause()
        self.client.protocol.resume()
        self.assertFalse(self.client.transport.reading)

    def test_aborted(self) -> None:
        """Who reads nothing for the idle time though there is something to read is aborted."""
        self.flood()
        advance(self.factory, 19)
        self.client.pump()
        self.assertFalse(self.client.closed)
        advance(self.factory, 3)
        self.client.pump()
        self.assertTrue(self.client.closed)

    def test_slow_is_not_deaf(self) -> None:
        """Who reads slowly, but reads, is not aborted."""
        self.flood()
        for _ in range(10):
            del self.client.transport.buffer[:100]
            advance(self.factory, 10)
        self.client.pump()
        self.assertFalse(self.client.closed)


class Encryption(SynchronousTestCase):
    """STARTTLS and implicit TLS."""

    def setUp(self) -> None:
        self.tls = certificates.service(self.mktemp(), "smtp")
        self.factory = TalkFactory(wiring("smtp", tls=self.tls))

    def test_starttls(self) -> None:
        """After STARTTLS the same connection goes on, encrypted, and says how."""
        client = connect(self.factory)
        self.assertFalse(client.protocol.secure)
        self.assertEqual(client.protocol.tls_description, "")
        client.exchange(b"STARTTLS\r\n")
        client.start_tls()
        self.assertTrue(client.protocol.secure)
        self.assertEqual(client.protocol.events[-1], "secured")
        self.assertTrue(client.protocol.tls_description.startswith("TLSv1.3 TLS_AES_"))
        self.assertEqual(
            client.protocol.tls_exporter(),
            client.ssl.export_keying_material(b"EXPORTER-Channel-Binding", 32, b""),
        )
        self.assertEqual(client.exchange(b"a\r\nQUIT\r\n"), b"250 a\r\n221 bye\r\n")
        self.assertTrue(client.closed)

    def test_no_exporter_before_1_3(self) -> None:
        """TLS 1.2 gives no tls-exporter binding."""
        client = connect(self.factory)
        client.exchange(b"STARTTLS\r\n")
        client.start_tls(version=SSL.TLS1_2_VERSION)
        self.assertTrue(client.protocol.tls_description.startswith("TLSv1.2 ECDHE"))
        self.assertIsNone(client.protocol.tls_exporter())

    def test_injection(self) -> None:
        """What comes in the clear behind STARTTLS never reaches the protocol, in whatever pieces."""
        for held in False, True:
            client = connect(self.factory)
            client.received()
            if held:
                client.protocol.pause()
                client.protocol.arrived(b"EVIL\r\n")
                client.protocol.start_tls()
                client.protocol.resume()
            else:
                client.send(b"STARTTLS\r\n")
                client.protocol.arrived(b"EVIL\r\n")
            client.received()
            client.start_tls()
            self.assertEqual(client.exchange(b"a\r\n"), b"250 a\r\n")
            self.assertNotIn(b"EVIL", b"".join(e for e in client.protocol.events if isinstance(e, bytes)))

    def test_handshake_while_paused(self) -> None:
        """A protocol that had paused still gets its handshake, and is still paused after it."""
        client = connect(self.factory)
        client.protocol.pause()
        client.protocol.start_tls()
        client.start_tls()
        self.assertEqual(client.protocol.events[-1], "secured")
        self.assertEqual(client.exchange(b"a\r\n"), b"220 hi\r\n")
        client.protocol.resume()
        self.assertEqual(client.received(), b"250 a\r\n")

    def test_implicit(self) -> None:
        """On an implicit TLS port the greeting comes when the connection is encrypted."""
        factory = TalkFactory(wiring("submissions", "smtp", tls=self.tls, implicit_tls=True))
        client = connect(factory)
        self.assertEqual(client.received(), b"220 hi\r\n")
        self.assertTrue(client.protocol.secure)
        self.assertEqual(client.exchange(b"a\r\nQUIT\r\n"), b"250 a\r\n221 bye\r\n")
        self.assertTrue(client.closed)

    def test_implicit_handshake_stalls(self) -> None:
        """On an implicit TLS port too; and the protocol never hears of such a client."""
        factory = TalkFactory(wiring("submissions", "smtp", tls=self.tls, implicit_tls=True))
        outer = self.tls.wrap(factory)
        client = connect(outer, clock=factory.wiring.clock)
        client.send(b"\x16\x03")
        advance(factory, 61)
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(client.transport.writes, [])
        self.assertEqual(list(factory.connections), [])

    def test_bounded(self) -> None:
        """Under TLS too, what waits for a client that does not read stays bounded."""
        client = connect(self.factory)
        client.exchange(b"STARTTLS\r\n")
        client.start_tls()
        client.reading = False
        client.send(b"ab\r\n" * 1024 * 1024)
        self.assertLess(len(client.transport.buffer), 4 * BUFFER)
        client.reading = True
        self.assertEqual(client.received().count(b"250 ab\r\n"), 1024 * 1024)

    def test_handshake_stalls(self) -> None:
        """A client that never completes the handshake is cut off at the login time."""
        client = connect(self.factory)
        client.send(b"STARTTLS\r\n")
        advance(self.factory, 61)
        client.pump()
        self.assertTrue(client.closed)

    def test_not_tls(self) -> None:
        """Octets that are no TLS end the connection without a word of the protocol."""
        client = connect(self.factory)
        client.exchange(b"STARTTLS\r\n")
        self.assertNotIn(b"250", client.exchange(b"EHLO me\r\n"))
        self.assertTrue(client.closed)
        self.assertEqual(client.protocol.events[-1], "closed")

    def test_pause_holds(self) -> None:
        """What TLS has decrypted already waits while paused, and comes after `resume` returned."""
        client = connect(self.factory)
        client.exchange(b"STARTTLS\r\n")
        client.start_tls()
        client.ssl.send(b"PAUSE\r\n")
        client.ssl.send(b"a\r\n")
        client._take_ciphertext()
        self.assertEqual(client.received(), b"")
        client.protocol.resume()
        self.assertEqual(client.protocol.events[-1], b"PAUSE\r\n")
        self.assertEqual(client.received(), b"250 a\r\n")

    def test_not_offered(self) -> None:
        """Without a certificate, or when encrypted, start_tls is an error of the caller's."""
        client = connect(TalkFactory(wiring("smtp")))
        self.assertRaises(RuntimeError, client.protocol.start_tls)


class Counted(SynchronousTestCase):
    """Limits on connections."""

    def test_refusal(self) -> None:
        """One connection too many is told so in the protocol's words; a place that is left is free again."""
        limits = ConnectionLimits(total=3, per_address=2)
        factory = TalkFactory(wiring("smtp", limits=limits))
        first, second = connect(factory), connect(factory)
        third = connect(factory, peer=("::ffff:192.0.2.1", 5))
        self.assertEqual(third.received(), b"421 too many connections from your address\r\n")
        self.assertTrue(third.closed)
        other = connect(factory, peer=("192.0.2.2", 5))
        self.assertEqual(other.received(), b"220 hi\r\n")
        self.assertEqual(connect(factory, peer=("192.0.2.3", 5)).received(), b"421 too many connections\r\n")
        first.drop()
        self.assertEqual(connect(factory).received(), b"220 hi\r\n")
        self.assertFalse(second.closed)

    def test_flood_of_lines(self) -> None:
        """A flood of refused connections is one line a second in the log, with their number."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        factory = TalkFactory(wiring("smtp", limits=ConnectionLimits(total=0, per_address=1)))
        for _ in range(50):
            connect(factory)
        factory.wiring.clock.advance(1)
        connect(factory)
        lines = [event for event in events if event.get("mailftp_event") == "refused"]
        self.assertEqual([line["mailftp_fields"]["count"] for line in lines], [1, 50])  # type: ignore[index]

    def test_networks(self) -> None:
        """An IPv6 client counts by its /64; a Unix socket counts in all only."""
        limits = ConnectionLimits(total=100, per_address=1)
        self.assertIsNone(limits.enter(Peer.of("2001:db8::1")))
        self.assertIsNotNone(limits.enter(Peer.of("2001:db8::2")))
        self.assertIsNone(limits.enter(Peer.of("2001:db8:0:1::1")))
        self.assertIsNone(limits.enter(Peer.of(None)))
        self.assertIsNone(limits.enter(Peer.of(None)))
        limits.leave(Peer.of("2001:db8::2"))
        self.assertIsNone(limits.enter(Peer.of("2001:db8::3")))
        self.assertEqual(limits.open, 4)

    def test_implicit_tls(self) -> None:
        """On an implicit TLS port one too many is closed without a handshake."""
        tls = certificates.service(self.mktemp(), "pop3s")
        factory = TalkFactory(
            wiring("pop3s", "pop3", tls=tls, implicit_tls=True, limits=ConnectionLimits(0, 0))
        )
        client = connect(factory)
        self.assertTrue(client.closed)
        self.assertIsNone(client.ssl)


class Faults(SynchronousTestCase):
    """Errors of a protocol's own."""

    def test_everywhere(self) -> None:
        """An exception in any of the methods is logged and closes that connection alone."""

        class Broken(Connection):
            def opened(self) -> None:
                self.send(b"220 hi\r\n")
                if self.peer.port == 1:
                    raise ZeroDivisionError("opened")

            def expired(self, clock: Expiry) -> None:
                raise ZeroDivisionError("expired")

            def closed(self, reason: Failure) -> None:
                raise ZeroDivisionError("closed")

        class BrokenFactory(ConnectionFactory):
            protocol = Broken

        factory = BrokenFactory(wiring("smtp", settings=limited(login_timeout=5.0)))
        first, second = connect(factory, peer=("192.0.2.1", 1)), connect(factory, peer=("192.0.2.1", 2))
        self.assertEqual(first.received(), b"220 hi\r\n")
        self.assertTrue(first.closed)
        self.assertFalse(second.closed)
        advance(factory, 6)
        second.pump()
        self.assertTrue(second.closed)
        self.assertEqual(list(factory.connections), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)

    def test_sweep_goes_on(self) -> None:
        """A connection that cannot be looked at does not stop the clocks of the others."""
        factory = TalkFactory(wiring("smtp", settings=limited(login_timeout=5.0)))
        broken, whole = connect(factory), connect(factory)
        broken.protocol.login_deadline = "never"
        advance(factory, 6)
        self.assertIn(b"421 login", whole.received())
        broken.pump()
        self.assertTrue(broken.closed)
        self.assertTrue(self.flushLoggedErrors(TypeError))

    def test_peers(self) -> None:
        """What is no address is a local socket, and a zone is not part of an address."""
        self.assertEqual(Peer.of("nonsense", 7), Peer(None, 0))
        self.assertEqual(str(Peer.of("fe80::1%eth0", 7)), "[fe80::1]:7")
        self.assertTrue(Peer.of("::ffff:127.0.0.1", 7).local)
        self.assertFalse(Peer.of("127.0.0.1", 7, proxied=True).local)
        self.assertEqual(Peer.of("192.0.2.77").network(1), "192.0.2.0/24")
        self.assertEqual(Peer.of("2001:db8:1:2::3").network(), "2001:db8:1:2::/64")


class Draining(SynchronousTestCase):
    """Stopping."""

    def test_drain(self) -> None:
        """Who can stop says so at once, who is busy has the time given, then is aborted; and only then
        does `drain` fire."""
        factory = TalkFactory(wiring("smtp"))
        idle, busy = connect(factory), connect(factory)
        busy.exchange(b"BUSY\r\n")
        drained = factory.drain(5)
        self.assertEqual(idle.received(), b"220 hi\r\n421 stopping\r\n")
        self.assertTrue(idle.closed)
        self.assertEqual(busy.exchange(b"more\r\n"), b"421 stopping\r\n250 more\r\n")
        self.assertNoResult(drained)
        self.assertEqual(connect(factory).received(), b"421 the server is stopping\r\n")
        advance(factory, 5)
        busy.pump()
        self.assertTrue(busy.closed)
        self.successResultOf(drained)
        self.assertEqual(connect(factory).received(), b"220 hi\r\n")

    def test_nobody(self) -> None:
        """Without connections it fires at once."""
        self.successResultOf(TalkFactory(wiring("smtp")).drain(5))
