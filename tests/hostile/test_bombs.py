"""Messages made to be expensive: their cost in memory and processor time is bounded, and in proportion."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.memory import MIB, Meter
from tests.hostile.raw import QUICK, Raw
from tests.interop.running import RunningServer

#: A header and a body for each bomb, of a few megabytes.
BOMBS = {
    "a header of 200,000 fields": b"".join(b"X-%d: y\r\n" % n for n in range(200_000)) + b"\r\n",
    "a field folded 200,000 times": b"Subject: a\r\n" + b" b\r\n" * 200_000 + b"\r\n",
    "a field of 4 MB in one line": b"Subject: " + b"x" * 4_000_000 + b"\r\n\r\n",
    "500,000 addresses": b"To: " + b"a@b,\r\n " * 500_000 + b"c@d\r\n\r\n",
    "groups within groups": b"To: " + b"a:" * 500_000 + b";" * 500_000 + b"\r\n\r\n",
    "comments within comments": b"To: " + b"(" * 1_000_000 + b")" * 1_000_000 + b"a@b\r\n\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?b?YQ==?=\r\n " * 100_000 + b"\r\n\r\n",
    "100,000 parameters of RFC 2231": (
        b"Content-Type: text/plain" + b"".join(b";\r\n a*%d*=x" % n for n in range(100_000)) + b"\r\n\r\n"
    ),
    "100,000 parts": (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        + b"--b\r\n\r\nx\r\n" * 100_000
        + b"--b--\r\n"
    ),
    "5,000 levels": (
        b"MIME-Version: 1.0\r\n"
        + b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5000)
        )
        + b"\r\nx\r\n"
    ),
    "50,000 messages in messages": (
        b"MIME-Version: 1.0\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 50_000 + b"\r\nx\r\n"
    ),
    "boundaries that begin alike": (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + b"-" * 69 + b"\r\n\r\n"
        + (b"-" * 70 + b"\r\n") * 60_000
    ),
}  # fmt: skip


class BombTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "bomb.test", settings=QUICK)
        self.server.add_account("alice", "hungry")
        self.server.start()

    def deliver(self, client: Raw, message: bytes) -> bytes:
        client.ask("MAIL FROM:<x@far.test>", "250")
        client.ask("RCPT TO:<alice@bomb.test>", "250")
        client.ask("DATA", "354")
        client.send(message)
        return client.ask(b".")

    def session(self) -> Raw:
        client = Raw(self.server.ports["smtp"])
        client.reply()
        client.ask("EHLO client.test", "250")
        return client

    def test_bombs(self) -> None:
        """Each is taken or refused for less than four times its size in memory, 64 MiB at least, and five
        seconds of processor time (the slowest took 0.9 once); what is taken comes back whole."""
        with self.session() as client:
            self.deliver(client, b"Subject: first\r\n\r\nx\r\n")
            taken = []
            for name, message in BOMBS.items():
                meter = Meter(self.server)
                reply = self.deliver(client, message)
                self.assertIn(reply[:3], (b"250", b"552", b"554"), name)
                self.assertLess(meter.peak, max(64 * MIB, 4 * len(message)), name)
                self.assertLess(meter.seconds, 5, name)
                if reply.startswith(b"250"):
                    taken.append(message)
        with Raw(self.server.ports["pop3"]) as pop:
            pop.reply()
            pop.ask("USER alice", "+OK")
            pop.ask("PASS hungry", "+OK")
            for number, message in enumerate(taken, 2):
                pop.ask(f"RETR {number}", "+OK")
                lines = []
                while (line := pop.line()) != b".":
                    lines.append(line.removeprefix(b"."))
                self.assertTrue((b"\r\n".join(lines) + b"\r\n").endswith(message), message[:60])

    def test_hops(self) -> None:
        """4,000 Received fields are a loop, and are said to be one; 100,000 are a header too large."""
        field = b"Received: from a by b; Sat, 21 Nov 2026 00:00:00 +0000\r\n"
        for count, said in ((4000, b"554 5.4.6"), (100_000, b"552 5.3.4")):
            with self.session() as client:
                meter = Meter(self.server)
                reply = self.deliver(client, field * count + b"\r\nx\r\n")
                self.assertEqual(reply[:9], said, reply)
                self.assertLess(meter.peak, 64 * MIB)
                self.assertLess(meter.seconds, 5)

    def next_client(self) -> None:
        """Somebody else is served as if nothing were."""
        with self.session() as client:
            self.assertEqual(self.deliver(client, b"Subject: next\r\n\r\nx\r\n")[:3], b"250")

    def test_a_million_chunks(self) -> None:
        """A message that comes an octet at a time, a million of them, is one message; the server holds no
        more for it than for the same message in one chunk, but for what is waiting in the network."""
        with self.session() as client:
            client.ask("MAIL FROM:<x@far.test>", "250")
            client.ask("RCPT TO:<alice@bomb.test>", "250")
            client.send(b"BDAT 14\r\nSubject: x\r\n\r\n")
            self.assertEqual(client.reply()[:3], b"250")
            reply = b"250 2.0.0 1 octets received\r\n"
            meter = Meter(self.server)
            for _ in range(500):
                client.send(b"BDAT 1\r\nx" * 2000)
                answered = bytearray()
                while len(answered) < 2000 * len(reply):
                    answered += client.socket.recv(65536)
                self.assertEqual(answered, reply * 2000)
            self.assertLess(meter.peak, 4 * MIB)
            client.ask("BDAT 0 LAST", "250")
        self.next_client()

    def test_lines_of_ten_megabytes(self) -> None:
        """As a command it is thrown away as it comes; as a line of a message it is kept, and costs no more
        than other messages of that size."""
        with self.session() as client:
            meter = Meter(self.server)
            client.send(b"NOOP " + b"x" * 10_000_000 + b"\r\n")
            self.assertEqual(client.reply()[:3], b"500")
            self.assertLess(meter.peak, 2 * MIB)
            meter = Meter(self.server)
            self.assertEqual(self.deliver(client, b"\r\n" + b"y" * 10_000_000 + b"\r\n")[:3], b"250")
            self.assertLess(meter.peak, 64 * MIB)
        self.next_client()
