"""The SMTP servers on a transport: logins, TLS, slow stores, lost connections."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import succeed
from twisted.logger import globalLogPublisher

from mailftp.accounts.credentials import Password
from mailftp.accounts.sasl import Challenge, Proven
from mailftp.intake.intake import Intake
from mailftp.settings import Limits
from mailftp.store.engine import StoreFault, StoreFull
from tests import dialogs
from tests.connector import Client, advance, connect
from tests.intake.houses import NOW
from tests.smtp.servers import PLAIN_ALICE, PLAIN_WRONG, ServerTestCase

HELLO = b"EHLO client.test\r\n"
ENVELOPE = b"MAIL FROM:<z@far.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"
FROM_ALICE = b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
TEXT = b"Subject: hello\r\n\r\nHello.\r\n"


class DialogTests(ServerTestCase):
    """The session's transcripts once more, through the whole server and under TLS."""

    limits = Limits(message_size=100_000, recipients=5)

    def setUp(self) -> None:
        super().setUp()
        self.settings = replace(self.settings, domains=("example.test", "fakeplace.edu"))
        self.intake = Intake(self.settings, self.store, now=lambda: NOW)
        for name in ("bob@fakeplace.edu", *(f"b{number}@example.test" for number in range(1, 7))):
            self.add(name)

    def play(self, folder: str, name: str, implicit_tls: bool = True) -> None:
        for dialog in dialogs.load(Path(__file__).parent / "dialogs" / folder):
            for piece in (None, 1):
                client = connect(self.serve(name, implicit_tls=implicit_tls))
                dialogs.play(dialog, partial(self.exchange, client), client.is_closed, piece)

    def exchange(self, client: Client, data: bytes) -> bytes:
        """As the client's own; what it has left to say to a closed connection is not sent."""
        return b"" if client.closed else client.exchange(data)

    def test_mx(self) -> None:
        """What a server on port 25 says under TLS."""
        self.play("mx", "smtp")

    def test_port25(self) -> None:
        """What it says where there is no TLS yet."""
        self.play("port25", "smtp", implicit_tls=False)

    def test_submission(self) -> None:
        """What a submission server says."""
        self.play("submission", "submissions")


class MXTests(ServerTestCase):
    def test_lecture(self) -> None:
        """The dialogue of a first lecture ends in bob's mailbox, whatever pieces it comes in."""
        said = (
            b"HELO ycp.edu\r\nMAIL FROM: alice@ycp.edu\r\nRCPT TO: bob@example.test\r\n"
            b"DATA\r\nDo you like ketchup?\r\nHow about pickles?\r\n.\r\nQUIT\r\n"
        )
        for piece in (1, 7, len(said)):
            client = self.connect("smtp")
            answer = b"".join(client.exchange(said[at : at + piece]) for at in range(0, len(said), piece))
            codes = [line[:3] for line in answer.split(b"\r\n")]
            self.assertEqual(codes, [b"250", b"250", b"250", b"354", b"250", b"221", b""])
            self.assertTrue(client.closed)
        messages = self.inbox(self.bob)
        self.assertEqual(len(messages), 3)
        for message in messages:
            self.assertTrue(message.endswith(b"\r\nDo you like ketchup?\r\nHow about pickles?\r\n"))
            self.assertIn(b"with SMTP id", message)

    def test_one_write_for_a_pipelined_group(self) -> None:
        """The replies to one segment leave in one segment."""
        client = self.connect("smtp")
        client.exchange(HELLO)
        before = len(client.transport.writes)
        self.assertEqual(self.codes(client, ENVELOPE), [b"250", b"250", b"354"])
        self.assertEqual(len(client.transport.writes), before + 1)

    def test_no_login_and_no_relay(self) -> None:
        """On the MX there is no AUTH, and mail for elsewhere is refused."""
        client = self.connect("smtp")
        answer = client.exchange(HELLO)
        self.assertNotIn(b"AUTH", answer)
        self.assertIn(b"250 STARTTLS\r\n", answer)
        self.assertEqual(self.codes(client, PLAIN_ALICE), [b"502"])
        answer = self.codes(client, b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n")
        self.assertEqual(answer, [b"250", b"550", b"554"])

    def test_bare_line_end_is_refused(self) -> None:
        """A bare LF costs the message, after its true end; nothing is kept and the session goes on."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE)
        smuggled = b"first\n.\nMAIL FROM:<x@y.test>\nRCPT TO:<bob@example.test>\nDATA\nsecond\r\n.\r\n"
        self.assertEqual(self.codes(client, smuggled), [b"550"])
        self.assertEqual(self.boxes(self.alice)["INBOX"] + self.boxes(self.bob)["INBOX"], 0)
        self.assertTrue(all(sink.aborted for sink in self.store.sinks))
        self.assertEqual(self.codes(client, ENVELOPE + TEXT + b".\r\n"), [b"250", b"250", b"354", b"250"])

    def test_idle(self) -> None:
        """Five minutes of silence end with 421; a mail session without a login has no login clock."""
        factory = self.serve("smtp")
        client = connect(factory)
        client.received()
        advance(factory, 298)
        self.assertEqual(client.received(), b"")
        advance(factory, 3)
        self.assertTrue(client.received().startswith(b"421 4.4.2 "))
        self.assertTrue(client.closed)

    def test_too_many_connections(self) -> None:
        """A connection too many is told so with 421."""
        client = connect(self.serve("smtp"))
        self.assertTrue(client.protocol.refusal("too many").startswith(b"421 4.7.0 "))  # type: ignore[attr-defined]

    def test_half_closed(self) -> None:
        """Whoever sends everything and closes their half still gets every reply, slow ones too."""
        client = self.connect("smtp")
        self.store.hold_commits = True
        client.send(HELLO + ENVELOPE + TEXT + b".\r\n")
        client.end()
        self.assertFalse(client.closed)
        self.store.release()
        self.assertIn(b"\r\n250 2.0.0 OK, accepted as ", client.received())
        self.assertTrue(client.closed)


class SlowTests(ServerTestCase):
    def test_order_of_replies(self) -> None:
        """While a recipient is looked up nothing behind it is answered, and then everything is, in order."""
        client = self.connect("smtp")
        client.exchange(HELLO)
        self.store.hold_reads = True
        said = (
            b"MAIL FROM:<z@far.test>\r\nRCPT TO:<dave@example.test>\r\nRCPT TO:<alice@example.test>\r\n"
            b"NOOP\r\nRCPT TO:<x@far.test>\r\nDATA\r\n"
        )
        self.assertEqual(self.codes(client, said), [b"250"])
        self.store.release()
        # Nobody has the name; that the domain leads to nobody is looked up after it.
        self.assertEqual(self.codes(client, b""), [])
        self.store.release()
        self.assertEqual(self.codes(client, b""), [b"550"])
        self.store.release()
        self.assertEqual(self.codes(client, b""), [b"250", b"250", b"550", b"354"])

    def test_slow_commit(self) -> None:
        """The next message, pipelined behind a commit, waits for it; the client is not cut off meanwhile."""
        factory = self.serve("smtp")
        client = connect(factory)
        client.exchange(HELLO + ENVELOPE)
        self.store.hold_commits = True
        self.assertEqual(self.codes(client, TEXT + b".\r\n" + ENVELOPE), [])
        advance(factory, 1000)
        self.assertFalse(client.closed)
        self.store.release()
        self.assertEqual(self.codes(client, b""), [b"250", b"250", b"250", b"354"])

    def test_input_behind_a_slow_command_is_bounded(self) -> None:
        """A megabyte pipelined behind a slow look-up stays in the network."""
        client = self.connect("smtp")
        client.exchange(HELLO)
        self.store.hold_reads = True
        client.send(b"MAIL FROM:<z@far.test>\r\nRCPT TO:<alice@example.test>\r\n" + b"NOOP\r\n" * 170_000)
        self.assertFalse(client.transport.reading)
        self.assertLess(client.protocol._session.unread, 2 * 65536)  # type: ignore[attr-defined]
        self.store.release()
        client.received()
        # A hundred NOOPs are enough, so then it is over.
        self.assertTrue(client.closed)

    def test_a_thousand_recipients_at_once(self) -> None:
        """A thousand pipelined recipients answered at once do not pile up calls."""
        client = self.connect("smtp")
        client.exchange(HELLO)
        said = b"MAIL FROM:<z@far.test>\r\n" + b"RCPT TO:<Postmaster>\r\n" * 1000 + b"DATA\r\n"
        self.assertEqual(self.codes(client, said), [b"250"] * 1001 + [b"354"])

    def test_back_pressure(self) -> None:
        """While the store takes no more, nothing is read from the client; then it goes on."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE)
        self.store.hold_writes = True
        body = b"0123456789abcde\r\n" * 20_000
        client.send(body + b".\r\nNOOP\r\n")
        rounds = 0
        while self.store.held:
            self.assertFalse(client.transport.reading)
            self.assertEqual(len(self.store.held), 1)
            self.assertEqual(client.received(), b"")
            rounds += 1
            self.store.release()
            client.pump()
        self.assertGreater(rounds, 3)
        self.assertEqual(self.codes(client, b""), [b"250", b"250"])
        self.assertTrue(self.inbox(self.alice)[0].endswith(body))

    def test_disk_full_while_writing(self) -> None:
        """A full disk is told at the end of the message, 452; the body is dropped, the session goes on."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE)
        self.store.write_fault = StoreFull("full")
        client.send(TEXT)
        client.send(TEXT)
        self.assertEqual(self.codes(client, b".\r\n"), [b"452"])
        self.assertTrue(self.store.sinks[-1].aborted)
        self.assertLessEqual(self.store.sinks[-1].octets, len(TEXT))
        self.store.write_fault = None
        self.assertEqual(self.codes(client, ENVELOPE + TEXT + b".\r\n")[-1], b"250")

    def test_store_fault(self) -> None:
        """Our own fault is a temporary refusal and a line with a traceback."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE)
        self.store.commit_fault = StoreFault("broken")
        self.assertEqual(self.codes(client, TEXT + b".\r\n"), [b"451"])
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)
        self.assertTrue(self.store.sinks[-1].aborted)

    def test_lost_in_data(self) -> None:
        """A connection lost in the message leaves nothing behind."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE + TEXT)
        client.drop()
        self.assertTrue(self.store.sinks[-1].aborted)
        self.assertEqual(self.boxes(self.alice)["INBOX"], 0)

    def test_lost_while_looking_up(self) -> None:
        """An answer that comes when the client has gone does nothing."""
        client = self.connect("smtp")
        self.store.hold_reads = True
        client.exchange(HELLO + ENVELOPE + TEXT + b".\r\n")
        client.drop()
        self.store.release()
        self.assertEqual(self.store.sinks, [])

    def test_lost_while_writing(self) -> None:
        """A store that gets room again when the client has gone goes on with nothing."""
        client = self.connect("smtp")
        client.exchange(HELLO + ENVELOPE)
        self.store.hold_writes = True
        client.send(TEXT)
        client.drop()
        self.store.release()
        self.assertTrue(self.store.sinks[-1].aborted)

    def test_drain(self) -> None:
        """Stopping: who is idle hears 421 at once, who is in a message when it is safe."""
        factory = self.serve("smtp")
        idle, busy = connect(factory), connect(factory)
        idle.received()
        busy.exchange(HELLO + ENVELOPE + TEXT)
        drained = factory.drain(60)
        self.assertTrue(idle.received().startswith(b"421 4.3.2 "))
        self.assertTrue(idle.closed)
        self.assertEqual(self.codes(busy, b".\r\n"), [b"250", b"421"])
        self.successResultOf(drained)
        self.assertEqual(self.boxes(self.alice)["INBOX"], 1)


class SubmissionTests(ServerTestCase):
    def test_under_tls(self) -> None:
        """AUTH, then mail for anywhere, with the header completed and Bcc gone."""
        client = self.connect("submissions")
        self.assertIn(b"250 AUTH PLAIN LOGIN\r\n", client.exchange(HELLO))
        self.assertEqual(self.codes(client, FROM_ALICE), [b"530", b"503", b"503"])
        self.assertEqual(self.codes(client, PLAIN_ALICE), [b"235"])
        self.assertEqual(self.codes(client, FROM_ALICE), [b"250", b"250", b"354"])
        self.assertEqual(
            self.codes(client, b"Subject: s\r\nBcc: x@y.test\r\n\r\nbare\nline\r\n.\r\n"), [b"250"]
        )
        (message,) = self.inbox(self.bob)
        self.assertIn(b"\r\nMessage-ID: <", message)
        self.assertIn(b"with ESMTPSA (TLSv1.3", message.replace(b"\r\n\t", b" "))
        self.assertNotIn(b"Bcc", message)
        self.assertTrue(message.endswith(b"\r\n\r\nbare\r\nline\r\n"))
        client.send(b"QUIT\r\n")
        self.assertEqual(self.realm.logouts, 1)

    def test_relay(self) -> None:
        """Who is logged in may send elsewhere, as themselves only."""
        client = self.connect("submissions")
        client.exchange(HELLO + PLAIN_ALICE)
        self.assertEqual(self.codes(client, b"MAIL FROM:<bob@example.test>\r\n"), [b"553"])
        said = b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n"
        self.assertEqual(self.codes(client, said + TEXT + b".\r\n"), [b"250", b"250", b"354", b"250"])
        (queued,) = self.queue()
        self.assertEqual(queued.transfer.account_id, self.alice.id)

    def test_starttls(self) -> None:
        """In clear there is no AUTH; what is said before and behind STARTTLS is forgotten; then it works."""
        client = self.connect("submission")
        answer = client.exchange(HELLO)
        self.assertIn(b"250 STARTTLS\r\n", answer)
        self.assertNotIn(b"AUTH", answer)
        self.assertEqual(self.codes(client, PLAIN_ALICE), [b"538"])
        answer = client.exchange(b"STARTTLS\r\nEHLO injected.test\r\n" + PLAIN_ALICE + FROM_ALICE)
        self.assertEqual(answer, b"220 2.0.0 Ready to start TLS\r\n")
        client.start_tls()
        self.assertEqual(client.received(), b"")
        self.assertEqual(self.codes(client, b"MAIL FROM:<alice@example.test>\r\n"), [b"503"])
        answer = client.exchange(HELLO)
        self.assertIn(b"250 AUTH PLAIN LOGIN\r\n", answer)
        self.assertNotIn(b"STARTTLS", answer)
        self.assertEqual(
            self.codes(client, PLAIN_ALICE + FROM_ALICE + TEXT + b".\r\n"),
            [b"235", b"250", b"250", b"354", b"250"],
        )
        self.assertEqual(self.codes(client, b"STARTTLS\r\n"), [b"503"])

    def test_login_in_clear_is_forgotten(self) -> None:
        """On loopback AUTH is offered in clear; a login before STARTTLS is over with it."""
        client = self.connect("submission", peer=("127.0.0.1", 4000))
        self.assertIn(b"250 AUTH PLAIN LOGIN\r\n", client.exchange(HELLO))
        self.assertEqual(self.codes(client, PLAIN_ALICE + b"STARTTLS\r\n"), [b"235", b"220"])
        self.assertEqual(self.realm.logouts, 1)
        client.start_tls()
        client.exchange(HELLO)
        self.assertEqual(self.codes(client, b"MAIL FROM:<alice@example.test>\r\n"), [b"530"])

    def test_no_certificate(self) -> None:
        """Without a certificate STARTTLS is not offered, and from afar nobody can log in."""
        client = connect(self.serve("submission", tls=False))
        answer = client.exchange(HELLO)
        self.assertNotIn(b"STARTTLS", answer)
        self.assertNotIn(b"AUTH", answer)
        self.assertEqual(
            self.codes(client, b"STARTTLS\r\n" + PLAIN_ALICE + FROM_ALICE)[:3], [b"502", b"504", b"530"]
        )

    def test_without_logins(self) -> None:
        """A service that was given no Login lets nobody send."""
        client = connect(self.serve("submissions", login=False))
        self.assertEqual(
            self.codes(client, HELLO + PLAIN_ALICE + b"MAIL FROM:<>\r\n"), [b"220", b"250", b"504", b"530"]
        )

    def test_failures(self) -> None:
        """Three wrong passwords end the connection."""
        client = self.connect("submissions")
        client.exchange(HELLO)
        self.assertEqual(self.codes(client, PLAIN_WRONG * 2), [b"535", b"535"])
        self.assertEqual(self.codes(client, PLAIN_WRONG), [b"535", b"421"])
        self.assertTrue(client.closed)

    def test_login_clock(self) -> None:
        """Who does not log in within the login time hears 421; who has logged in is not hurried."""
        factory = self.serve("submissions")
        slow, fast = connect(factory), connect(factory)
        slow.received()
        fast.exchange(HELLO + PLAIN_ALICE)
        advance(factory, 62)
        self.assertTrue(slow.received().startswith(b"421 4.4.2 "))
        self.assertTrue(slow.closed)
        self.assertFalse(fast.closed)

    def test_lost_during_a_login(self) -> None:
        """A login that was under way when the client went is given up."""
        client = self.connect("submissions")
        client.exchange(HELLO)
        self.checker.held = []
        client.exchange(PLAIN_ALICE)
        client.drop()
        self.assertEqual(self.realm.minds, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_closed_from_outside(self) -> None:
        """When the account's password changes, its connection ends."""
        client = self.connect("submissions")
        client.exchange(HELLO + PLAIN_ALICE)
        self.realm.minds[0].close()
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(self.realm.logouts, 1)

    def test_prompts(self) -> None:
        """AUTH LOGIN with its two prompts, cut at every octet."""
        client = self.connect("submissions")
        client.exchange(HELLO)
        got = b""
        for line in (b"AUTH LOGIN\r\n", b"YWxpY2VAZXhhbXBsZS50ZXN0\r\n", b"cmlnaHQ=\r\n"):
            for octet in line:
                got += client.exchange(bytes([octet]))
        self.assertEqual(got, b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Authenticated\r\n")

    def test_final_challenge(self) -> None:
        """SCRAM's last word is sent before 235 and acknowledged by an empty line; who does not is not in."""
        factory = self.serve("submissions", mechanisms=Final())
        client = connect(factory)
        self.assertIn(b"AUTH FINAL\r\n", client.exchange(HELLO))
        self.assertEqual(client.exchange(b"AUTH FINAL\r\n"), b"334 \r\n")
        self.assertEqual(client.exchange(b"Zmlyc3Q=\r\n"), b"334 c2Vjb25k\r\n")
        self.assertEqual(client.exchange(b"dGhpcmQ=\r\n"), b"334 dj1zaWc=\r\n")
        self.assertEqual(self.codes(client, b"*\r\n" + FROM_ALICE), [b"501", b"530", b"503", b"503"])
        client.exchange(b"AUTH FINAL Zmlyc3Q=\r\n")
        self.assertEqual(self.realm.logouts, 1)
        client.exchange(b"dGhpcmQ=\r\n")
        self.assertEqual(client.exchange(b"\r\n"), b"235 2.7.0 Authenticated\r\n")
        self.assertEqual(self.codes(client, FROM_ALICE), [b"250", b"250", b"354"])


class Final:
    """Mechanisms with one that has a last word, as SCRAM."""

    client_first = True

    def offered(self, channel: Any) -> tuple[str, ...]:
        return ("FINAL",)

    def begin(self, name: str, channel: Any) -> Any:
        self.steps = iter([Challenge(b"second"), Proven(Password(b"alice@example.test", b"right"), b"v=sig")])
        return self

    def step(self, response: bytes) -> Any:
        return succeed(next(self.steps))


class LogTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[tuple[str, dict[str, Any]]] = []

        def hear(event: dict[str, Any]) -> None:
            if "mailftp_event" in event:
                self.lines.append((event["mailftp_event"], event["mailftp_fields"]))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)

    def test_accepted(self) -> None:
        """A message that was accepted is one line, with the id that its reply and its Received field have."""
        client = self.connect("smtp")
        answer = client.exchange(HELLO + ENVELOPE + TEXT + b".\r\n")
        ((event, fields),) = self.lines
        self.assertEqual(event, "accepted")
        self.assertEqual((fields["sender"], fields["to"]), ("z@far.test", "alice@example.test"))
        self.assertEqual((fields["recipients"], fields["size"], fields["filed"]), (1, len(TEXT), 1))
        self.assertIn(fields["id"].encode(), answer)
        self.assertIn(fields["id"].encode(), self.inbox(self.alice)[0])

    def test_refused(self) -> None:
        """A refusal is a line with the reply; no body and no password is in any line."""
        client = self.connect("smtp")
        client.exchange(
            HELLO + b"MAIL FROM:<>\r\nRCPT TO:<dave@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
        )
        client.exchange(b"secret\nbody\r\n.\r\n")
        self.assertEqual([event for event, _ in self.lines], ["refused", "refused"])
        self.assertTrue(self.lines[0][1]["reply"].startswith("550 5.1.1 "))
        self.assertEqual(self.lines[0][1]["to"], "dave@example.test")
        self.assertTrue(self.lines[1][1]["reply"].startswith("550 5.6.11 "))
        self.assertNotIn("secret", repr(self.lines))
