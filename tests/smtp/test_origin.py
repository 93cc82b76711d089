"""Mail from strangers through the whole server: what is refused, what is marked, what is believed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from mailftp.dns.resolver import Answer
from mailftp.intake import inspected
from mailftp.intake.intake import Intake
from mailftp.intake.submission import HEADER_LIMIT
from mailftp.origin.checks import Checks, at_once
from mailftp.origin.findings import read_results
from tests import dialogs
from tests.connector import Client, connect
from tests.dns.table import Table
from tests.intake.houses import NOW
from tests.origin.test_dkim import MESSAGE, RSA, record, signed_by_dkimpy
from tests.smtp.servers import PLAIN_ALICE, ServerTestCase

ENVELOPE = b"MAIL FROM:<a@e.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"
FORGED = b"Authentication-Results: mx.example.test; dmarc=pass\r\n"
THEIRS = b"Authentication-Results: relay.e.test; spf=pass\r\n"
TEXT = b"From: a@e.test\r\n\r\nHello.\r\n"


class Held(Table):
    """Answers wait in `held` while it is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Deferred[Answer], Deferred[Answer]]] | None = None

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        answer = super().lookup(name, kind)
        if self.held is None:
            return answer
        self.held.append((answer, Deferred()))
        return self.held[-1][1]

    def release(self) -> None:
        held, self.held = self.held or [], None
        for answer, waiting in held:
            answer.addBoth(waiting.callback)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class OriginTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.table = Held()
        self.table.put("e.test", "TXT", '"v=spf1 ip4:192.0.2.1 -all"')
        self.table.put("_dmarc.e.test", "TXT", '"v=DMARC1; p=quarantine"')
        self.table.put("_dmarc.bank.test", "TXT", '"v=DMARC1; p=reject"')
        self.follow()

    def follow(self, **changed: object) -> None:
        """Go by these keys of [origin]."""
        origin = replace(self.settings.origin, **changed)  # type: ignore[arg-type]  # by name
        self.settings = replace(self.settings, origin=origin)
        checks = Checks(origin, self.settings.hostname, self.table, self.clock, at_once)
        self.intake = Intake(self.settings, self.store, now=lambda: NOW, checks=checks)

    def exchange(self, client: Client, data: bytes) -> bytes:
        return b"" if client.closed else client.exchange(data)

    def send(self, text: bytes, name: str = "smtp", said: bytes = b"", **arguments: object) -> bytes:
        """The reply to a message's end."""
        client = self.connect(name, **arguments)
        client.exchange(b"EHLO mx.e.test\r\n" + said)
        self.assertTrue(client.exchange(ENVELOPE).endswith(b"of its own\r\n"))
        return client.exchange(text + b".\r\n")


class TranscriptTests(OriginTestCase):
    def test_dialogs(self) -> None:
        """In one segment, and cut at every octet."""
        for dialog in dialogs.load(Path(__file__).parent / "dialogs" / "origin"):
            for piece in (None, 1):
                client = connect(self.serve("smtp"))
                dialogs.play(dialog, partial(self.exchange, client), client.is_closed, piece)


class MarkTests(OriginTestCase):
    def test_one_field(self) -> None:
        """Ours stands above the message; a forged one is gone, another host's is still there."""
        self.assertEqual(self.send(FORGED + THEIRS + TEXT)[:4], b"250 ")
        (message,) = self.inbox(self.alice)
        fields = [line for line in message.split(b"\r\n") if line.startswith(b"Authentication-Results:")]
        self.assertEqual([field.split()[1] for field in fields], [b"mx.example.test;", b"relay.e.test;"])
        self.assertTrue(message.endswith(b"\r\n" + THEIRS + TEXT))
        found = read_results(message, "mx.example.test")
        self.assertEqual(found, {"iprev": "permerror", "spf": "pass", "dkim": "none", "dmarc": "pass"})

    def test_signed(self) -> None:
        """By dkimpy, over a forged field that we take out: the signature is checked over what was sent."""
        text = record(RSA)
        self.table.put("sel._domainkey.e.test", "TXT", f'"{text[:200]}" "{text[200:]}"')
        signed = signed_by_dkimpy(RSA, b"relaxed/relaxed").replace(b"Received: ", FORGED + b"Received: ", 1)
        self.assertEqual(self.send(signed, peer=("192.0.2.77", 4000))[:4], b"250 ")
        (message,) = self.inbox(self.alice)
        found = read_results(message, "mx.example.test")
        self.assertEqual((found["spf"], found["dkim"], found["dmarc"]), ("fail", "pass", "pass"))
        self.assertTrue(message.endswith(MESSAGE))

    def test_quarantine(self) -> None:
        """What the author's domain does not want shown goes to Junk."""
        self.assertEqual(self.send(TEXT, peer=("192.0.2.77", 4000))[:4], b"250 ")
        self.assertEqual(self.boxes(self.alice)["INBOX"], 0)
        (message,) = self.inbox(self.alice, "Junk")
        self.assertIn(b'dmarc=fail\r\n\treason="p=quarantine"', message.replace(b" reason", b"\r\n\treason"))

    def test_no_report_to_the_forged(self) -> None:
        """Who asks for a report of success gets one, but not for a message whose author is forged."""
        for host in ("192.0.2.1", "192.0.2.77"):
            client = self.connect("smtp", peer=(host, 4000))
            client.exchange(b"EHLO mx.e.test\r\nMAIL FROM:<a@e.test>\r\n")
            client.exchange(b"RCPT TO:<alice@example.test> NOTIFY=SUCCESS\r\nDATA\r\n")
            self.assertEqual(client.exchange(TEXT + b".\r\n")[:4], b"250 ")
            self.assertEqual(len(self.queue()), 1)

    def test_log(self) -> None:
        """The line of a message says what was found."""
        lines: list[dict[str, object]] = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        self.send(TEXT)
        checks = [
            line["mailftp_fields"]["checks"]  # type: ignore[index]  # a mapping
            for line in lines
            if line.get("mailftp_event") == "accepted"
        ]
        self.assertEqual(checks, ["iprev=permerror spf=pass dkim=none dmarc=pass"])

    def test_enforced(self) -> None:
        self.follow(spf="enforce")
        self.assertEqual(self.send(TEXT, peer=("192.0.2.77", 4000))[:10], b"550 5.7.23")
        self.assertEqual(self.send(TEXT)[:4], b"250 ")
        self.assertEqual(sum(self.boxes(self.alice).values()), 1)

    def test_large_header(self) -> None:
        """It is refused, and none of it is kept."""
        line = b"X-Header: " + b"x" * 980 + b"\r\n"
        self.assertEqual(self.send(line * (HEADER_LIMIT // len(line) + 1) + b"\r\n")[:9], b"552 5.3.4")
        self.assertEqual(self.send(line * (HEADER_LIMIT // len(line)) + TEXT)[:4], b"250 ")

    def test_many_large_headers(self) -> None:
        """What all connections hold of headers is bounded; who is refused may come again."""
        self.patch(inspected, "SHARED", 300_000)
        clients = [self.connect("smtp") for _ in range(4)]
        for client in clients:
            client.exchange(b"EHLO mx.e.test\r\n" + ENVELOPE)
            client.send((b"X-Header: " + b"x" * 980 + b"\r\n") * 200)
        clients[0].drop()
        answers = [client.exchange(b"\r\n" + TEXT + b".\r\n")[:9] for client in clients[1:]]
        self.assertEqual(answers, [b"250 2.0.0", b"452 4.3.1", b"452 4.3.1"])
        self.assertEqual(self.send((b"X-Header: " + b"x" * 980 + b"\r\n") * 200 + b"\r\n")[:4], b"250 ")


class BelievedTests(OriginTestCase):
    def test_this_machine(self) -> None:
        """Nothing is asked about it, nothing is refused; a forged field is taken out all the same."""
        self.follow(spf="enforce", iprev="enforce")
        bad = FORGED + TEXT.replace(b"e.test", b"bank.test")
        self.assertEqual(self.send(bad, peer=("127.0.0.1", 4000))[:4], b"250 ")
        self.assertEqual(self.table.asked, [])
        (message,) = self.inbox(self.alice)
        self.assertEqual(message.count(b"Authentication-Results"), 1)
        self.assertEqual(read_results(message, "mx.example.test"), {"dkim": "none"})

    def test_submission(self) -> None:
        """Who has logged in is known; only the forged field goes."""
        self.table.put("_dmarc.example.test", "TXT", '"v=DMARC1; p=reject"')
        text = FORGED + THEIRS + TEXT.replace(b"a@e.test", b"alice@example.test")
        client = self.connect("submissions", peer=("192.0.2.77", 4000))
        client.exchange(b"EHLO desk\r\n" + PLAIN_ALICE)
        client.exchange(ENVELOPE.replace(b"a@e.test", b"alice@example.test"))
        self.assertEqual(client.exchange(text + b".\r\n")[:4], b"250 ")
        self.assertEqual(self.table.asked, [])
        (message,) = self.inbox(self.alice)
        self.assertNotIn(FORGED, message)
        self.assertIn(THEIRS, message)

    def test_lmtp(self) -> None:
        """The server beside us has checked, and may have our name."""
        client = connect(self.serve("lmtp"), peer=("192.0.2.77", 4000))
        client.exchange(b"LHLO front\r\n" + ENVELOPE)
        self.assertEqual(client.exchange(FORGED + TEXT + b".\r\n")[:4], b"250 ")
        self.assertEqual(self.table.asked, [])
        self.assertIn(FORGED, self.inbox(self.alice)[0])

    def test_off(self) -> None:
        self.follow(spf="off", dkim="off", dmarc="off", iprev="off")
        self.assertEqual(self.send(FORGED + TEXT)[:4], b"250 ")
        self.assertIn(FORGED, self.inbox(self.alice)[0])


class WaitingTests(OriginTestCase):
    def test_order(self) -> None:
        """However late the answers come, the replies keep the order of the commands."""
        self.table.held = []
        client = self.connect("smtp")
        client.exchange(b"EHLO mx.e.test\r\n")
        client.exchange(ENVELOPE)
        self.assertEqual(client.exchange(TEXT + b".\r\nNOOP\r\nQUIT\r\n"), b"")
        self.assertEqual(self.inbox(self.alice), [])
        self.table.release()
        client.pump()
        self.assertEqual([line[:3] for line in client.received().splitlines()], [b"250", b"250", b"221"])
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_lost(self) -> None:
        """A client that goes in the midst leaves no question behind; after its end the message is kept."""
        self.table.held = []
        for text in (b"From: a@e.test\r\n", TEXT):
            client = self.connect("smtp")
            client.exchange(b"EHLO mx.e.test\r\n" + ENVELOPE)
            client.send(text)
            client.drop()
        self.table.release()
        self.assertEqual(self.inbox(self.alice), [])
        self.assertFalse([call for call in self.clock.getDelayedCalls() if "Timeout" in repr(call)])
        self.table.held = []
        client = self.connect("smtp")
        client.exchange(b"EHLO mx.e.test\r\n" + ENVELOPE)
        client.send(TEXT + b".\r\n")
        client.drop()
        self.table.release()
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_budget(self) -> None:
        """A DNS that never answers delays a message by the set time; DMARC then lets it pass."""
        self.follow(seconds=5.0)
        self.table.held = []
        self.addCleanup(self.table.release)
        client = self.connect("smtp")
        client.exchange(b"EHLO mx.e.test\r\n" + ENVELOPE)
        client.send(TEXT + b".\r\n")
        self.clock.advance(4.9)
        self.assertEqual(client.received(), b"")
        self.clock.advance(0.2)
        self.assertEqual(client.received()[:4], b"250 ")
        found = read_results(self.inbox(self.alice)[0], "mx.example.test")
        self.assertEqual(
            found, {"iprev": "temperror", "spf": "temperror", "dkim": "none", "dmarc": "temperror"}
        )
