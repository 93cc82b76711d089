"""The client over sockets: against a server that misbehaves to order, and against Postfix's smtp-sink."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor, ssl
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailftp.smtp.client import (
    CHUNK,
    ConnectionFault,
    OutgoingBody,
    Reply,
    SMTPClient,
    Target,
    _Shell,
    connect,
)
from mailftp.store.records import ForwardPath
from tests.ports import free_port
from tests.smtp.far_side import Behaviour, FarSide, certificate
from tests.smtp.smtp_sink import SMTPSink

BOB, EVE = ForwardPath("bob@b.test"), ForwardPath("eve@b.test")
MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n..\r\nlast\r\n"
TLS = ("PIPELINING", "STARTTLS")


def body(data: bytes = MESSAGE, prefix: bytes = b"") -> OutgoingBody:
    return OutgoingBody(prefix, len(data), data)


class ClientCase(TestCase):
    timeout = 20

    async def far(self, behaviour: Behaviour | None = None) -> FarSide:
        far = FarSide(behaviour)
        far.listen(reactor)
        self.addCleanup(far.stop)
        return far

    def target(self, port: int, **more) -> Target:
        return Target("far.test", "127.0.0.1", port, "a.test", **more)

    async def client(self, far: FarSide, creator=None, threads=None, **more) -> SMTPClient:
        client = await connect(reactor, self.target(far.port, **more), creator=creator, threads=threads)
        self.addCleanup(client.quit)
        return client

    async def refused(self, far: FarSide, **more) -> ConnectionFault:
        return await self.assertFailure(connect(reactor, self.target(far.port, **more)), ConnectionFault)


class SendingTests(ClientCase):
    async def test_message(self) -> None:
        """A message arrives as it was, prefix first, and the result has the replies and the dialogue."""
        far = await self.far()
        client = await self.client(far)
        result = await client.send("alice@a.test", (BOB, EVE), body(prefix=b"Received: x\r\n"))
        self.assertEqual(far.taken[0].message, b"Received: x\r\n" + MESSAGE)
        self.assertEqual(result.replies["bob@b.test"], Reply(250, "2.0.0", "taken"))
        self.assertIn("C: RCPT TO:<eve@b.test>", result.dialogue)
        self.assertNotIn("Subject", result.dialogue)
        self.assertEqual(client.remote, f"far.test [127.0.0.1]:{far.port}")

    async def test_few_segments(self) -> None:
        """Envelope in one write, message in one write."""
        far = await self.far()
        client = await self.client(far)
        far.segments.clear()
        await client.send("alice@a.test", (BOB, EVE), body())
        self.assertEqual(len(far.segments), 2)

    async def test_several(self) -> None:
        """One connection carries several messages; QUIT ends it."""
        far = await self.far()
        client = await self.client(far)
        for number in range(3):
            await client.send("alice@a.test", (BOB,), body(b"%d\r\n" % number))
            self.assertTrue(client.usable)
        await client.quit()
        self.assertEqual([taken.message for taken in far.taken], [b"0\r\n", b"1\r\n", b"2\r\n"])
        self.assertEqual((len(far.sessions), far.lines[-1]), (1, "QUIT"))
        self.assertFalse(client.usable)
        await self.assertFailure(client.send("alice@a.test", (BOB,), body()), ConnectionFault)

    async def test_no_pipelining(self) -> None:
        """A server without any extension gets the same message."""
        far = await self.far(Behaviour(extensions=(), answers={"EHLO": "502 what"}))
        client = await self.client(far)
        await client.send("alice@a.test", (BOB, EVE), body())
        self.assertEqual(far.taken[0].message, MESSAGE)
        self.assertIn("HELO a.test", far.lines)

    async def test_file(self) -> None:
        """A message in a file of several megabytes arrives whole, lines with dots included."""
        path = Path(self.mktemp())
        data = b"".join(b".%07d %s\r\n" % (n, b"x" * (n % 90)) for n in range(60_000))
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        threads = self.threads()
        far = await self.far(Behaviour(extensions=("PIPELINING",)))
        client = await self.client(far, threads=threads)
        result = await client.send(
            "alice@a.test", (BOB,), OutgoingBody(b"A: b\r\n", len(data), None, descriptor)
        )
        self.assertEqual(result.replies["bob@b.test"].code, 250)
        self.assertEqual(far.taken[0].message, b"A: b\r\n" + data)

    async def chunks(self, length: int, extensions: tuple[str, ...], answers=None):
        """What became of a message of so many octets in a file: the far side, and the result."""
        path = Path(self.mktemp())
        line = b"." + b"x" * 61 + b"\r\n"
        message = (line * (length // len(line) + 1))[: length - 2] + b"\r\n"
        path.write_bytes(message)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        far = await self.far(Behaviour(extensions=extensions, answers=answers or {}))
        client = await self.client(far, threads=self.threads())
        sent = OutgoingBody(b"A: b\r\n", len(message), None, descriptor)
        result = await client.send("alice@a.test", (BOB, EVE), sent)
        return far, result, b"A: b\r\n" + message

    async def test_chunks(self) -> None:
        """A large message leaves in pieces, unstuffed, and arrives as it was; without PIPELINING too."""
        for extensions in (("PIPELINING", "CHUNKING"), ("CHUNKING",)):
            far, result, message = await self.chunks(5 * CHUNK + 999, extensions)
            self.assertEqual(far.taken[0].message, message)
            self.assertEqual(result.replies["eve@b.test"], Reply(250, "2.0.0", "taken"))
            pieces = [line for line in far.lines if line.startswith("BDAT")]
            self.assertEqual(pieces[0], f"BDAT {CHUNK + 6}")
            self.assertEqual((len(pieces), pieces[-1]), (6, "BDAT 999 LAST"))
            self.assertIn("C: BDAT 999 LAST", result.dialogue)

    async def test_empty_file(self) -> None:
        """A message that is its prefix alone is one piece."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        far = await self.far(Behaviour(extensions=("CHUNKING",)))
        client = await self.client(far, threads=self.threads())
        await client.send("alice@a.test", (BOB,), OutgoingBody(b"A: b\r\n", 0, None, descriptor))
        self.assertEqual((far.taken[0].message, far.lines[-1]), (b"A: b\r\n", "BDAT 6 LAST"))

    async def test_piece_refused(self) -> None:
        """A refusal of a piece counts for all, and nothing of the message is kept."""
        answers = {"BDAT": "552 5.2.2 full"}
        far, result, _ = await self.chunks(8 * CHUNK, ("PIPELINING", "CHUNKING"), answers)
        self.assertEqual({reply.code for reply in result.replies.values()}, {552})
        self.assertEqual(far.taken, [])

    def threads(self) -> ThreadPool:
        threads = ThreadPool(1, 1)
        threads.start()
        self.addCleanup(threads.stop)
        return threads

    async def test_short_file(self) -> None:
        """A file that ends too early is never followed by the final dot."""
        path = Path(self.mktemp())
        path.write_bytes(b"half\r\n")
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        far = await self.far()
        client = await self.client(far, threads=self.threads())
        sending = client.send("alice@a.test", (BOB,), OutgoingBody(b"", 600, None, descriptor))
        fault = await self.assertFailure(sending, ConnectionFault)
        self.assertIn("ends at 6 of its 600 octets", str(fault))
        self.assertEqual(far.taken, [])

    async def test_unreadable_file(self) -> None:
        """A descriptor that cannot be read breaks the connection and not more."""
        far = await self.far()
        client = await self.client(far, threads=self.threads())
        sending = client.send("alice@a.test", (BOB,), OutgoingBody(b"", 600, None, 9999))
        fault = await self.assertFailure(sending, ConnectionFault)
        self.assertIn("cannot be read", str(fault))

    async def test_file_without_threads(self) -> None:
        """A file needs threads: to read it here would stop the reactor."""
        client = await self.client(await self.far())
        self.assertRaises(ValueError, client.send, "a@a.test", (BOB,), OutgoingBody(b"", 1, None, 0))

    async def test_refused_in_the_middle(self) -> None:
        """A refusal while a large message is being sent is its final reply."""
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 70 + b"\r\n")
        with path.open("ab") as file:
            file.truncate(30_000_000)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        far = await self.far(Behaviour(extensions=("PIPELINING",), refuses_after=1000))
        client = await self.client(far, threads=self.threads())
        try:
            result = await client.send("a@a.test", (BOB,), OutgoingBody(b"", 30_000_000, None, descriptor))
        except ConnectionFault:
            # The kernel may tell of the reset before it gives us the reply: then it is tried again later.
            pass
        else:
            self.assertEqual(result.replies["bob@b.test"].code, 552)
        self.assertEqual(far.taken, [])

    async def test_lmtp(self) -> None:
        """LMTP: a reply for each recipient."""
        far = await self.far(Behaviour(lmtp=True, answers={". RCPT TO:<eve@b.test>": "452 4.2.2 full"}))
        client = await self.client(far, lmtp=True)
        result = await client.send("alice@a.test", (BOB, EVE), body())
        self.assertEqual(
            {a: r.code for a, r in result.replies.items()}, {"bob@b.test": 250, "eve@b.test": 452}
        )
        self.assertEqual(far.lines[0], "LHLO a.test")


class BreakingTests(ClientCase):
    async def test_nothing_listens(self) -> None:
        """A refused connection is a ConnectionFault that names the far side."""
        port = free_port()
        fault = await self.assertFailure(connect(reactor, self.target(port)), ConnectionFault)
        self.assertIn(f"far.test [127.0.0.1]:{port}", str(fault))

    async def test_bad_greeting(self) -> None:
        """A greeting other than 220 is a fault with that reply, and the connection is closed."""
        far = await self.far(Behaviour(greeting="554 5.7.1 no"))
        fault = await self.refused(far)
        self.assertEqual(fault.reply, Reply(554, "5.7.1", "no"))

    async def test_cut(self) -> None:
        """A connection cut at any command is a fault; recipients that were refused before it are told."""
        far = await self.far(
            Behaviour(
                extensions=(), answers={"RCPT TO:<eve": "550 5.1.1 no", "DATA": None}, closes_after={"DATA"}
            )
        )
        client = await self.client(far)
        fault = await self.assertFailure(client.send("a@a.test", (EVE, BOB), body()), ConnectionFault)
        self.assertEqual(list(fault.replies), ["eve@b.test"])
        self.assertIn("C: DATA", fault.dialogue)
        far = await self.far(Behaviour(closes_after={"EHLO"}, answers={"EHLO": None}))
        await self.refused(far)

    async def test_cut_after_the_dot(self) -> None:
        """No reply to the message is a fault: whether it was taken nobody knows."""
        far = await self.far(Behaviour(answers={".": None}, closes_after={"."}))
        client = await self.client(far)
        await self.assertFailure(client.send("a@a.test", (BOB,), body()), ConnectionFault)

    async def test_closed_while_idle(self) -> None:
        """A far side that closes between two messages makes the client unusable, without a word."""
        far = await self.far(Behaviour(closes_after={"."}))
        client = await self.client(far)
        await client.send("a@a.test", (BOB,), body())
        await client._shell._gone
        self.assertFalse(client.usable)

    async def test_abort(self) -> None:
        """What is given up here fails here, and quit afterwards is quiet."""
        far = await self.far(Behaviour(answers={"MAIL": None}))
        client = await self.client(far)
        sending = client.send("a@a.test", (BOB,), body())
        client.abort()
        await self.assertFailure(sending, ConnectionFault)
        await client.quit()

    async def test_cancel(self) -> None:
        """Cancelling a transaction breaks its connection."""
        far = await self.far(Behaviour(answers={"MAIL": None}))
        client = await self.client(far)
        sending = client.send("a@a.test", (BOB,), body())
        sending.cancel()
        await self.assertFailure(sending, ConnectionFault)


class TLSTests(ClientCase):
    async def test_starttls(self) -> None:
        """STARTTLS is used where it is offered, whatever the certificate."""
        far = await self.far(Behaviour(extensions=TLS, tls=certificate("other.test")[0]))
        client = await self.client(far)
        await client.send("a@a.test", (BOB,), body())
        self.assertTrue(client.tls.startswith("TLSv1."), client.tls)
        self.assertEqual(far.lines[:3], ["EHLO a.test", "STARTTLS", "EHLO a.test"])
        self.assertEqual(far.taken[0].message, MESSAGE)

    async def test_large_file(self) -> None:
        """A file goes through TLS with back-pressure too."""
        path = Path(self.mktemp())
        data = b"0123456789\r\n" * 200_000
        path.write_bytes(data)
        descriptor = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, descriptor)
        threads = ThreadPool(1, 1)
        threads.start()
        self.addCleanup(threads.stop)
        far = await self.far(Behaviour(extensions=TLS, tls=certificate()[0]))
        client = await self.client(far, threads=threads)
        await client.send("a@a.test", (BOB,), OutgoingBody(b"", len(data), None, descriptor))
        self.assertEqual(far.taken[0].message, data)

    async def test_handshake_fails(self) -> None:
        """A failed handshake leads to a new connection in the clear."""
        far = await self.far(Behaviour(extensions=TLS, answers={"STARTTLS": "220 go"}))
        far.protocol = _Garbling
        client = await self.client(far)
        self.assertEqual((client.tls, len(far.sessions)), ("", 2))
        await client.send("a@a.test", (BOB,), body())
        self.assertEqual(len(far.taken), 1)

    async def test_handshake_fails_where_required(self) -> None:
        """Where TLS is required there is no second connection."""
        far = await self.far(Behaviour(extensions=TLS, answers={"STARTTLS": "220 go"}))
        far.protocol = _Garbling
        fault = await self.refused(far, tls="required")
        self.assertEqual((fault.tls_failed, len(far.sessions)), (True, 1))

    async def test_both_fail(self) -> None:
        """When the second connection fails too, the dialogue has both."""
        far = await self.far(Behaviour(extensions=TLS, answers={"STARTTLS": "220 go"}))
        far.protocol = _Garbling
        far.refuse_second = True
        fault = await self.refused(far)
        self.assertIn("C: STARTTLS", fault.dialogue)
        self.assertIn("S: 421", fault.dialogue)

    async def test_injection(self) -> None:
        """Words sent in one segment with the reply to STARTTLS end the connection, and none replaces it."""
        tls = certificate()[0]
        far = await self.far(Behaviour(extensions=TLS, tls=tls, injected="250-evil\r\n250 AUTH PLAIN\r\n"))
        fault = await self.refused(far)
        self.assertIn("somebody may be in between", str(fault))
        self.assertEqual(len(far.sessions), 1)

    async def test_certificate_checked(self) -> None:
        """Where TLS is required the certificate must be vouched for; one of our own choosing can be named."""
        tls, authority = certificate()
        far = await self.far(Behaviour(extensions=TLS, tls=tls))
        fault = await self.refused(far, tls="required")
        self.assertIn("certificate", str(fault))
        trusting = ssl.optionsForClientTLS("far.test", trustRoot=authority)
        client = await self.client(far, creator=trusting, tls="required")
        self.assertTrue(client.tls)
        far = await self.far(Behaviour(extensions=TLS, tls=certificate("other.test")[0]))
        other = ssl.optionsForClientTLS("far.test", trustRoot=certificate("other.test")[1])
        await self.assertFailure(
            connect(reactor, self.target(far.port, tls="required"), creator=other), ConnectionFault
        )

    async def test_implicit(self) -> None:
        """TLS from the first octet, as on port 465."""
        tls, authority = certificate()
        far = FarSide(Behaviour(extensions=("PIPELINING", "AUTH PLAIN"), answers={"AUTH": "235 2.7.0 ok"}))
        far.listening = reactor.listenSSL(0, far, tls, interface="127.0.0.1")
        far.port = far.listening.getHost().port
        self.addCleanup(far.stop)
        trusting = ssl.optionsForClientTLS("far.test", trustRoot=authority)
        client = await self.client(far, creator=trusting, tls="implicit", username="u", password="p")
        await client.send("a@a.test", (BOB,), body())
        self.assertTrue(client.tls)
        self.assertEqual(len(far.taken), 1)

    async def test_login(self) -> None:
        """A login on loopback goes in the clear where there is no TLS."""
        far = await self.far(Behaviour(extensions=("AUTH PLAIN",), answers={"AUTH": "235 2.7.0 ok"}))
        await self.client(far, username="u", password="p")
        self.assertEqual(far.lines[1], "AUTH PLAIN AHUAcA==")


class _Garbling(FarSide.protocol):
    """After STARTTLS it sends what is no handshake."""

    def connectionMade(self) -> None:
        super().connectionMade()
        if len(self.factory.sessions) > 1 and getattr(self.factory, "refuse_second", False):
            self.transport.write(b"421 busy\r\n")

    def dataReceived(self, data: bytes) -> None:
        if self.lines and self.lines[-1] == "STARTTLS":
            self.transport.write(b"500 what is this\r\n")
            self.transport.loseConnection()
            return
        super().dataReceived(data)


class PatienceTests(SynchronousTestCase):
    """How long the far side has, by a clock in memory (RFC 5321 section 4.5.3.2)."""

    def setUp(self) -> None:
        self.clock, self.transport = Clock(), StringTransport()
        self.transport.setTcpNoDelay = lambda _: None
        self.transport.startTLS = lambda _: None
        self.shell = _Shell(self.clock, Target("far.test", "127.0.0.1", 25, "a.test"), None, None)
        self.shell.makeConnection(self.transport)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def silent_for(self, deferred, seconds: float) -> None:
        """It fails after these seconds and not before."""
        self.clock.advance(seconds - 0.1)
        self.assertNoResult(deferred)
        self.clock.advance(0.2)
        self.assertIn("no reply in", str(self.failureResultOf(deferred, ConnectionFault).value))
        self.assertTrue(
            self.transport.disconnected or self.transport.aborting or self.transport.disconnecting
        )

    def test_greeting(self) -> None:
        """Five minutes for the greeting."""
        self.silent_for(self.shell.ready, 300)

    def test_octets_are_no_reply(self) -> None:
        """Single octets do not begin the time anew."""
        for octet in b"220-slow":
            self.clock.advance(30)
            self.shell.dataReceived(bytes([octet]))
        self.silent_for(self.shell.ready, 60)

    def test_handshake(self) -> None:
        """A minute for the handshake, and then it counts as failed TLS."""
        self.shell.dataReceived(b"220 far\r\n250-far\r\n250 STARTTLS\r\n")
        self.shell.dataReceived(b"220 go\r\n")
        self.clock.advance(61)
        self.assertTrue(self.failureResultOf(self.shell.ready, ConnectionFault).value.tls_failed)

    def test_transaction(self) -> None:
        """Five minutes for each command's reply, ten for the message's."""
        self.shell.dataReceived(b"220 far\r\n250 far\r\n")
        client = SMTPClient(self.shell, "far")
        self.clock.advance(3600)
        sending = client.send("a@a.test", (BOB,), body())
        self.clock.advance(299)
        self.shell.dataReceived(b"250 ok\r\n")
        self.clock.advance(299)
        self.shell.dataReceived(b"250 ok\r\n")
        self.clock.advance(299)
        self.shell.dataReceived(b"354 go\r\n")
        self.silent_for(sending, 600)

    def test_quit(self) -> None:
        """Ten seconds for the reply to QUIT."""
        self.shell.dataReceived(b"220 far\r\n250 far\r\n")
        gone = SMTPClient(self.shell, "far").quit()
        self.clock.advance(10.1)
        self.assertNoResult(gone)
        self.shell.connectionLost(Failure(ConnectionDone()))
        self.successResultOf(gone)


class SMTPSinkTests(ClientCase):
    async def sink(self, *options: str) -> SMTPSink:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        sink = await SMTPSink.start(*options, folder=str(self.folder))
        self.addCleanup(sink.stop)
        return sink

    def kept(self) -> list[bytes]:
        """Messages as smtp-sink wrote them: its own header lines, an empty line, LF line ends."""
        return sorted(path.read_bytes() for path in self.folder.iterdir())

    async def test_messages(self) -> None:
        """Postfix's sink takes what we send, dots and all, several on a connection."""
        sink = await self.sink()
        client = await connect(reactor, self.target(sink.port))
        for number in range(3):
            result = await client.send(
                "alice@a.test", (BOB, EVE), body(b"Subject: %d\r\n\r\n.a\r\n..\r\n" % number)
            )
            self.assertEqual({reply.code for reply in result.replies.values()}, {250})
        await client.quit()
        kept = self.kept()
        self.assertEqual(len(kept), 3)
        for number in range(3):
            self.assertIn(b"Subject: %d\n\n.a\n..\n" % number, b"".join(kept))

    async def test_old_server(self) -> None:
        """Without ESMTP (-e) and without PIPELINING (-p)."""
        for option in ("-e", "-p"):
            sink = await self.sink(option)
            client = await connect(reactor, self.target(sink.port))
            result = await client.send("alice@a.test", (BOB,), body())
            self.assertEqual(result.replies["bob@b.test"].code, 250)
            await client.quit()

    async def test_refusals(self) -> None:
        """RCPT and the end of DATA, refused for now (-r) and for good (-f)."""
        for options, code in (
            (("-f", "RCPT"), 500),
            (("-r", "RCPT"), 450),
            (("-f", "."), 500),
            (("-r", "."), 450),
        ):
            sink = await self.sink(*options)
            client = await connect(reactor, self.target(sink.port))
            result = await client.send("alice@a.test", (BOB,), body())
            self.assertEqual(result.replies["bob@b.test"].code, code, options)
            await client.quit()

    async def test_lmtp(self) -> None:
        """smtp-sink speaks LMTP with -L."""
        sink = await self.sink("-L")
        client = await connect(reactor, self.target(sink.port, lmtp=True))
        result = await client.send("alice@a.test", (BOB, EVE), body())
        self.assertEqual([reply.code for reply in result.replies.values()], [250, 250])
        await client.quit()
