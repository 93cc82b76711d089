"""Mail leaves for hosts that others wrote, found by MX in a real server's DNS: Postfix, Exim, OpenSMTPD.

Each sends on what it took to a sink that keeps the octets: what arrives there is what was submitted here.
"""

from __future__ import annotations

import smtplib
import ssl
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.raw import QUICK
from tests.hostile.sink import Sink
from tests.interop.postfix import Postfix
from tests.interop.relays import Exim, OpenSMTPD
from tests.interop.running import PATIENCE, RunningDNS, RunningServer
from tests.interop.test_main_job import SHAPES


def body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def arrived(raw: bytes) -> bytes:
    """A message as a sink has it, without its end and what was put before dots."""
    return raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


class FarSideTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sink = Sink(self)

    def start(self, port: int) -> None:
        """Our server, whose mail for b.test goes to this port of the one MX host that DNS has."""
        dns = RunningDNS(self, {"b.test": "127.0.0.1"})
        self.server = RunningServer(
            self,
            "a.test",
            settings=(
                f'{QUICK}[dns]\nservers = ["{dns.server}"]\n[delivery]\nport = {port}\nretry = ["1s", "1h"]\n'
            ),
        )
        self.alice = self.server.add_account("alice", "hungry")
        self.server.start()

    def submit(self, messages: dict[str, bytes], *recipients: str, options: tuple[str, ...] = ()) -> None:
        port = self.server.ports["submission"]
        with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=PATIENCE) as peer:
            context = ssl.create_default_context(cafile=str(self.server.ca))
            context.check_hostname = False
            peer.starttls(context=context)
            peer.login(self.alice, "hungry")
            for message in messages.values():
                asked = ["NOTIFY=SUCCESS,FAILURE"]
                utf8 = [] if message.isascii() else ["BODY=8BITMIME"]
                peer.sendmail(self.alice, list(recipients), message, [*utf8, *options], asked)

    def dialogue(self) -> str:
        """What was said of the first message, from the queue."""
        done = self.server.cli("queue", "show", "1")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def until_arrived(self, bodies: list[bytes]) -> None:
        """Each body is in the sink, unchanged; reports of the peer may be there beside them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [body(arrived(raw)) for raw in self.sink.messages]
            missing = [wanted for wanted in bodies if wanted not in found]
            if not missing:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f"not arrived: {missing}\n{found}")
            time.sleep(0.05)
        for wanted in bodies:
            self.assertEqual(found.count(wanted), bodies.count(wanted))

    def carry(self, port: int, *words: str, tls: str = "TLSv1.3") -> None:
        """Messages of all shapes to two recipients by one transaction each, one to somebody who is
        refused."""
        self.start(port)
        shapes = {
            name: message if b"\r\n\r\n" in message else b"Subject: bare\r\n\r\n" + message
            for name, message in SHAPES.items()
        }
        shapes |= {"large": b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n.\r\n" * 100_000}
        self.submit(shapes, "bob@b.test", "eve@b.test")
        for _ in range(2 * len(shapes)):
            delivered = self.server.wait_for("delivered")
            self.assertTrue(delivered["tls"].startswith(tls), delivered)
            self.assertEqual(delivered["attempt"], 1)
        self.until_arrived([body(message) for message in shapes.values() if body(message)])
        self.assertEqual([line for line in self.server.output if "Starting factory" in line], [])
        said = self.dialogue()
        for word in words:
            self.assertIn(word, said)

    def refused(self) -> None:
        """One of two recipients is refused: the other one has it, and alice hears of that one."""
        self.submit({"refused": b"Subject: x\r\n\r\nfor two\r\n"}, "bob@b.test", "nobody@b.test")
        bounced = self.server.wait_for("bounced")
        self.assertEqual((bounced["recipient"], bounced["reply"][:3]), ("nobody@b.test", "550"))
        self.until_arrived([b"for two\r\n"])

    def test_exim(self) -> None:
        exim = Exim(self, self.sink.port)
        self.carry(exim.port, "250-CHUNKING", "C: BDAT ", "250-DSN", "NOTIFY=SUCCESS,FAILURE")
        self.refused()
        self.utf8()

    def test_opensmtpd(self) -> None:
        peer = OpenSMTPD(self, self.sink.port)
        # Debian's breaks off at the end of each handshake, where TLS 1.3 looks to a client as if it were
        # complete (openssl s_client sees the same): its mail comes in the clear, and the queue says why.
        self.carry(peer.port, "250-8BITMIME", "NOTIFY=SUCCESS,FAILURE", tls="")
        said = self.dialogue()
        self.assertTrue("*: in the clear, TLS failed: " in said or "*: TLSv1." in said, said)
        self.refused()

    def test_postfix(self) -> None:
        postfix = Postfix(self, self.sink.port)
        # In the clear: this one has no certificate.
        self.carry(postfix.port, "250-PIPELINING", "NOTIFY=SUCCESS,FAILURE", tls="")
        self.utf8()

    def utf8(self) -> None:
        """Addresses and a header in UTF-8 (RFC 6531), which this peer takes."""
        text = "From: alice@a.test\r\nSubject: grüße\r\n\r\nan jürgen\r\n".encode()
        self.submit({"utf8": text}, "jürgen@b.test", options=("SMTPUTF8",))
        self.server.wait_for("delivered", recipient="jürgen@b.test")
