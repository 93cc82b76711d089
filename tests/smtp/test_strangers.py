"""What a client from elsewhere meets: rates, the greeting, lists, refusals held back, slow messages."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from twisted.internet.defer import fail

from mailftp.intake.intake import Intake
from mailftp.origin.checks import Checks, at_once
from mailftp.origin.greylist import Greylist
from mailftp.origin.strangers import PACE_SECONDS, Strangers
from mailftp.settings import Limits, OriginSettings, StrangerSettings
from mailftp.smtp.server import SMTPFactory
from tests import dialogs
from tests.connector import Client, advance, connect
from tests.intake.houses import NOW
from tests.smtp.servers import ServerTestCase
from tests.smtp.test_origin import Held

OPEN = StrangerSettings(greeting_delay=0.0, unknown_recipient_delay=0.0)
TRUSTED = (ip_network("127.0.0.1"),)
ENVELOPE = b"MAIL FROM:<a@e.test>\r\nRCPT TO:<alice@example.test>\r\n"
TEXT = b"Subject: hello\r\n\r\nHello.\r\n.\r\n"


class StrangerTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.table = Held()
        self.greylist = Greylist(Path(self.mktemp()), at_once)
        self.addCleanup(self.greylist.close)
        self.made: dict[str, SMTPFactory] = {}
        self.follow()

    def follow(self, **changed: object) -> None:
        """Go by these keys of [strangers]."""
        self.strangers = Strangers(
            replace(OPEN, **changed),  # type: ignore[arg-type]  # by name
            TRUSTED,
            self.clock,
            self.table,
            self.greylist,
            lambda: self.time,
        )
        self.made.clear()

    def client(self, host: str = "192.0.2.1", service: str = "smtp", **arguments: object) -> Client:
        if service not in self.made:
            self.made[service] = self.serve(service)
            self.made[service]._strangers = self.strangers
        return connect(self.made[service], peer=(host, 4000), clock=self.clock, **arguments)

    def advance(self, seconds: float) -> None:
        for factory in self.made.values():
            advance(factory, seconds)


class TranscriptTests(StrangerTestCase):
    def test_dialogs(self) -> None:
        """In one segment, and cut at every octet."""
        self.table.put("99.2.0.192.bl.test", "A", "127.0.0.2")
        self.table.put("99.2.0.192.bl.test", "TXT", '"https://bl.test/192.0.2.99"')
        self.follow(dnsbl=("bl.test",))
        for dialog in dialogs.load(Path(__file__).parent / "dialogs" / "listed"):
            for piece in (None, 1):
                client = self.client("192.0.2.99")
                dialogs.play(dialog, partial(self.exchange, client), client.is_closed, piece)
        self.follow(greylist=300.0)
        for dialog in dialogs.load(Path(__file__).parent / "dialogs" / "greylisted"):
            for piece in (None, 1):
                self.time += 1_000_000
                client = self.client()
                dialogs.play(dialog, partial(self.exchange, client), client.is_closed, piece)

    def exchange(self, client: Client, data: bytes) -> bytes:
        return b"" if client.closed else client.exchange(data)


class RateTests(StrangerTestCase):
    def test_connections(self) -> None:
        """One too many is told so in place of a greeting; a minute later it is welcome."""
        self.follow(connections_per_minute=2)
        for code in (b"220", b"220", b"421"):
            client = self.client()
            self.assertEqual(client.received()[:3], code)
        self.assertTrue(client.closed)
        self.assertEqual(self.client("192.0.3.1").received()[:3], b"220")
        self.assertEqual(self.client("127.0.0.1").received()[:3], b"220")
        self.clock.advance(120)
        self.assertEqual(self.client().received()[:3], b"220")

    def test_commands(self) -> None:
        """In one segment: what is within the limit is answered, then the connection ends."""
        self.follow(commands_per_minute=4)
        client = self.client()
        client.received()
        answers = client.exchange(b"EHLO client.test\r\n" + ENVELOPE + b"RCPT TO:<bob@example.test>\r\n" * 3)
        codes = [line[:3] for line in answers.split(b"\r\n") if line[3:4] == b" "]
        self.assertEqual(codes, [b"250", b"250", b"250", b"250", b"421"])
        self.assertIn(b"421 4.7.0 mx.example.test closes the connection: too many commands", answers)
        self.assertTrue(client.closed)
        # Another connection of the same network does not help.
        client = self.client()
        client.received()
        self.assertEqual(client.exchange(b"EHLO client.test\r\n")[:3], b"421")

    def test_submission(self) -> None:
        """There it is the rates alone that count."""
        self.follow(connections_per_minute=1, greeting_delay=5.0)
        self.assertEqual(self.client(service="submission").received()[:3], b"220")
        self.assertEqual(self.client(service="submission").received()[:3], b"421")

    def test_lmtp(self) -> None:
        self.follow(connections_per_minute=1, greeting_delay=5.0)
        for _ in range(3):
            self.assertEqual(self.client(service="lmtp").received()[:3], b"220")


class GreetingTests(StrangerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.follow(greeting_delay=2.0)

    def test_patient(self) -> None:
        """Who waited once need not again for a day."""
        client = self.client()
        self.assertEqual(client.received(), b"")
        self.advance(1.9)
        self.assertEqual(client.received(), b"")
        self.advance(0.2)
        self.assertEqual(client.received()[:4], b"220 ")
        self.assertEqual(self.client().received()[:4], b"220 ")
        self.clock.advance(86400)
        self.assertEqual(self.client().received(), b"")

    def test_early(self) -> None:
        """Who speaks first is sent away, and nothing that it said is done; so is one that sent all and half
        closed."""
        for end in (False, True):
            client = self.client()
            client.send(b"EHLO client.test\r\n" + ENVELOPE + b"DATA\r\n" + TEXT)
            if end:
                client.end()
            self.advance(1)
            self.assertEqual(client.received(), b"")
            self.advance(1.1)
            self.assertEqual(client.received(), b"554 5.5.1 You spoke before you were greeted\r\n")
            self.assertTrue(client.closed)
        self.assertEqual(self.inbox(self.alice), [])
        self.assertEqual(self.client().received(), b"")

    def test_much_too_early(self) -> None:
        """What is sent meanwhile stays in the network."""
        client = self.client()
        for _ in range(100):
            client.send(b"x" * 65536)
        self.assertLess(client.protocol._session.unread, 200_000)
        self.advance(2.1)
        self.assertEqual(client.received()[:4], b"554 ")

    def test_gone(self) -> None:
        """One that goes leaves nothing behind."""
        client = self.client()
        client.drop()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > 1.5], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_trusted(self) -> None:
        self.assertEqual(self.client("127.0.0.1").received()[:4], b"220 ")

    def test_stopping(self) -> None:
        client = self.client()
        self.made["smtp"].drain(5)
        self.advance(2.1)
        self.assertIn(b"421", client.received())
        self.assertTrue(client.closed)


class RecipientTests(StrangerTestCase):
    def meet(self, host: str = "192.0.2.1") -> Client:
        client = self.client(host)
        client.received()
        client.exchange(b"EHLO client.test\r\nMAIL FROM:<a@e.test>\r\n")
        return client

    def test_unknown(self) -> None:
        """The refusal is held back, each longer than the one before; known ones are answered at once."""
        self.follow(unknown_recipient_delay=1.0)
        client = self.meet()
        self.assertEqual(client.exchange(b"RCPT TO:<alice@example.test>\r\n")[:3], b"250")
        for seconds in (1, 2, 3):
            self.assertEqual(client.exchange(b"RCPT TO:<nobody@example.test>\r\nNOOP\r\n"), b"")
            self.advance(seconds - 0.5)
            self.assertEqual(client.received(), b"")
            self.advance(1)
            self.assertEqual([line[:3] for line in client.received().splitlines()], [b"550", b"250"])

    def test_unknown_and_gone(self) -> None:
        self.follow(unknown_recipient_delay=10.0)
        client = self.meet()
        client.send(b"RCPT TO:<nobody@example.test>\r\n")
        client.drop()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > 1.5], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_trusted(self) -> None:
        self.follow(unknown_recipient_delay=10.0, dnsbl=("bl.test",), greylist=300.0)
        self.table.put("1.0.0.127.bl.test", "A", "127.0.0.2")
        client = self.meet("127.0.0.1")
        self.assertEqual(client.exchange(b"RCPT TO:<nobody@example.test>\r\n")[:3], b"550")
        self.assertEqual(client.exchange(b"RCPT TO:<alice@example.test>\r\n")[:3], b"250")
        self.assertEqual(self.table.asked, [])

    def test_lists(self) -> None:
        """All are asked at once, when the client comes; the answers are waited for at the first recipient."""
        self.follow(dnsbl=("a.test", "b.test", "c.test"))
        self.table.put("1.2.0.192.b.test", "A", "127.0.0.2")
        self.table.held = []
        client = self.meet()
        self.assertEqual(len(self.table.asked), 3)
        self.assertEqual(client.exchange(b"RCPT TO:<alice@example.test>\r\nNOOP\r\n"), b"")
        self.table.release()
        client.pump()
        self.assertEqual([line[:9] for line in client.received().splitlines()], [b"550 5.7.1", b"250 2.0.0"])
        self.assertEqual(client.exchange(b"RCPT TO:<bob@example.test>\r\n")[:9], b"550 5.7.1")
        self.assertEqual(client.exchange(b"RCPT TO:<nobody@example.test>\r\n")[:9], b"550 5.1.1")

    def test_lists_that_do_not_answer(self) -> None:
        self.follow(dnsbl=("a.test",))
        self.table.held = []
        self.addCleanup(self.table.release)
        client = self.meet()
        client.send(b"RCPT TO:<alice@example.test>\r\n")
        self.advance(9)
        self.assertEqual(client.received(), b"")
        self.advance(2)
        self.assertEqual(client.received()[:3], b"250")

    def test_a_grey_list_that_fails(self) -> None:
        """Mail comes before the list."""
        self.follow(greylist=300.0)
        self.greylist._run = lambda work: fail(OSError("no disk"))
        client = self.meet()
        self.assertEqual(client.exchange(b"RCPT TO:<alice@example.test>\r\n")[:3], b"250")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class PaceTests(StrangerTestCase):
    def begin(self, **changed: object) -> Client:
        self.follow(**changed)
        client = self.client()
        client.received()
        client.exchange(b"EHLO client.test\r\n" + ENVELOPE + b"DATA\r\n")
        return client

    def drip(self, client: Client, octets: int) -> bool:
        """For an hour, so many octets every ten seconds; whether it lasted."""
        for _ in range(360):
            if client.closed:
                return False
            client.send(b"x" * octets)
            self.advance(10)
        return True

    def test_dripping(self) -> None:
        client = self.begin()
        self.assertFalse(self.drip(client, 10))
        self.assertEqual(
            client.received(),
            b"421 4.4.2 mx.example.test closes the connection: the message comes too slowly\r\n",
        )
        self.assertEqual(self.inbox(self.alice), [])

    def test_fast_enough(self) -> None:
        client = self.begin()
        self.assertTrue(self.drip(client, 1000))
        self.assertTrue(self.drip(self.begin(data_rate=0), 10))

    def test_we_are_slow(self) -> None:
        """While our disk holds it up, the client is not to blame."""
        self.store.hold_writes = True
        client = self.begin()
        client.send(b"x" * 1000)
        for _ in range(20):
            self.advance(PACE_SECONDS / 10)
        self.assertFalse(client.closed)

    def test_a_line_in_drips(self) -> None:
        """An octet of a command now and then is silence; whole lines are not, however slow."""
        for host in ("192.0.2.1", "127.0.0.1"):
            client = self.client(host)
            client.received()
            for _ in range(20):
                if not client.closed:
                    client.send(b"x")
                    self.advance(20)
            self.assertIn(b"421 4.4.2", client.received(), host)
            client = self.client(host)
            client.received()
            for _ in range(20):
                client.send(b"NO")
                self.advance(100)
                self.assertEqual(client.exchange(b"OP\r\n")[:3], b"250")

    def test_next_message(self) -> None:
        """Between messages nothing is counted."""
        client = self.begin()
        self.assertEqual(client.exchange(TEXT)[:3], b"250")
        for _ in range(6):
            self.advance(PACE_SECONDS)
            self.assertEqual(client.exchange(b"NOOP\r\n")[:3], b"250")


class LimitTests(ServerTestCase):
    limits = Limits(message_size=10_000_000, recipients=10, header_size=10_000, mime_parts=20, mime_depth=5)

    def setUp(self) -> None:
        super().setUp()
        off = OriginSettings("off", "off", "off", "off")
        checks = Checks(off, "mx.example.test", Held(), self.clock, at_once)
        self.intake = Intake(self.settings, self.store, now=lambda: NOW, checks=checks)

    def send(self, text: bytes, host: str = "192.0.2.1") -> bytes:
        client = self.connect("smtp", peer=(host, 4000))
        client.exchange(b"EHLO client.test\r\n" + ENVELOPE + b"DATA\r\n")
        return client.exchange(text + b".\r\n")

    def nested(self, depth: int, more: bytes = b"") -> bytes:
        head = b"".join(
            b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n)
            for n in range(depth - 1)
        )
        return head + b"Content-Type: text/plain\r\n\r\nHello.\r\n" + more

    def flat(self, parts: int, size: int = 10) -> bytes:
        part = b"--b\r\n\r\n" + (b"y" * 60 + b"\r\n") * (size // 60 + 1)
        return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * (parts - 1) + b"--b--\r\n"

    def test_header(self) -> None:
        self.assertEqual(self.send(b"X: " + b"y" * 9000 + b"\r\n\r\nHello.\r\n")[:3], b"250")
        self.assertEqual(self.send(b"X: y\r\n" * 2000 + b"\r\nHello.\r\n")[:9], b"552 5.3.4")

    def test_depth(self) -> None:
        self.assertEqual(self.send(self.nested(5))[:3], b"250")
        refused = b"554 5.6.0 MIME parts are more than 5 deep in each other\r\n"
        self.assertEqual(self.send(self.nested(6)), refused)
        self.assertEqual(
            self.send(self.nested(500)), b"554 5.6.0 The message has more than 20 MIME parts\r\n"
        )
        self.assertEqual(self.send(self.nested(6), "127.0.0.1")[:3], b"250")
        forwarded = b"Content-Type: message/rfc822\r\n\r\n" * 6 + b"\r\n"
        self.assertEqual(self.send(forwarded), refused)

    def test_parts(self) -> None:
        """In memory, and in a file."""
        for size in (10, 100_000):
            self.assertEqual(self.send(self.flat(20, size))[:3], b"250")
            self.assertEqual(
                self.send(self.flat(21, size)), b"554 5.6.0 The message has more than 20 MIME parts\r\n"
            )

    def test_what_only_looks_so(self) -> None:
        """A log, a patch, or mail quoted in the text."""
        for line in (b"-- not a part\r\n", b"Content-Type: text/plain\r\n", b"--b\r\n"):
            self.assertEqual(self.send(b"Subject: text\r\n\r\n" + line * 1000)[:3], b"250")

    def test_cut_anywhere(self) -> None:
        """Octet by octet it is as deep."""
        client = self.connect("smtp")
        client.exchange(b"EHLO client.test\r\n" + ENVELOPE + b"DATA\r\n")
        text = self.nested(6) + b".\r\n"
        for at in range(len(text)):
            client.send(text[at : at + 1])
        self.assertEqual(client.received()[:9], b"554 5.6.0")
