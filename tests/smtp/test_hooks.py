"""Hooks at each stage of a mail: what they are asked, and what becomes of what they answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mailftp.intake.hooks import STAGE_SECONDS, TAKEN, MailHook, Stages
from mailftp.intake.refused import Refused
from mailftp.message.address import Address
from tests.connector import Client, connect
from tests.smtp.servers import ServerTestCase

HELLO = b"EHLO client.test\r\n"
MAIL = b"MAIL FROM:<z@far.test>\r\n"
RCPT = b"RCPT TO:<alice@example.test>\r\n"
TEXT = b"DATA\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n"
WHOLE = HELLO + MAIL + RCPT + TEXT


class Recording(MailHook):
    """Notes what it is asked, and says what `answers` has for a stage: raised where it is an exception."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    def _answer(self, stage: str, what: object) -> Any:
        self.asked.append(f"{stage} {what}")
        answer = self.answers.get(stage)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def connect(self, peer: Any) -> Any:
        return self._answer("connect", peer.address)

    def ehlo(self, origin: Any) -> Any:
        return self._answer("ehlo", origin.helo)

    def mail(self, envelope: Any) -> Any:
        return self._answer("mail", envelope.sender)

    def rcpt(self, envelope: Any, address: Any) -> Any:
        return self._answer("rcpt", address)

    def data(self, envelope: Any, body: Any) -> Any:
        self.bodies.append(body.data)
        return self._answer("data", len(envelope.recipients))

    def delivered(self, envelope: Any, accepted: Any) -> Any:
        return self._answer("delivered", len(accepted.filed))


class TakingTickets(MailHook):
    def rcpt(self, envelope: Any, address: Address) -> str | None:
        return TAKEN if address.domain == "tickets.test" else None


class HookTestCase(ServerTestCase):
    def client(self, *hooks: Any, name: str = "smtp") -> Client:
        """A client of a server with these hooks; what it was greeted with is unread."""
        factory = self.serve(name)
        factory.stages = Stages(hooks, self.clock)
        return connect(factory)

    def greeted(self, *hooks: Any, name: str = "smtp") -> Client:
        client = self.client(*hooks, name=name)
        self.assertEqual(client.received()[:4], b"220 ")
        return client


class AskedTests(HookTestCase):
    def test_every_stage_in_order(self) -> None:
        """Each is asked once, with what it is about, and the body is as it came."""
        hook = Recording()
        client = self.greeted(hook)
        self.assertEqual(self.codes(client, WHOLE), [b"250", b"250", b"250", b"354", b"250"])
        words = [asked.split()[0] for asked in hook.asked]
        self.assertEqual(words, ["connect", "ehlo", "mail", "rcpt", "data", "delivered"])
        self.assertEqual(hook.asked[1:4], ["ehlo client.test", "mail z@far.test", "rcpt alice@example.test"])
        self.assertEqual(hook.bodies, [b"Subject: hello\r\n\r\nHello.\r\n"])
        self.assertEqual(len(self.inbox(self.alice)), 1)

    def test_one_after_the_other(self) -> None:
        """The first that refuses ends it: those after it are not asked."""
        first, second = Recording(mail=Refused(550, "5.7.1", "Not you")), Recording()
        client = self.greeted(first, second)
        self.assertEqual(self.codes(client, HELLO + MAIL), [b"250", b"550"])
        self.assertNotIn("mail z@far.test", second.asked)
        self.assertIn("ehlo client.test", second.asked)


class RefusedTests(HookTestCase):
    def test_each_stage(self) -> None:
        """A refusal is told at its stage, and nothing is kept."""
        no = Refused(554, "5.7.1", "Not today")
        expected = {
            # Three errors before HELO are as many as are borne.
            "ehlo": [b"554", b"503", b"421"],
            "mail": [b"250", b"554", b"503"],
            "rcpt": [b"250", b"250", b"554"],
        }
        for stage, codes in expected.items():
            client = self.greeted(Recording(**{stage: no}))
            self.assertEqual(self.codes(client, HELLO + MAIL + RCPT), codes, stage)
        client = self.greeted(Recording(data=no))
        self.assertEqual(self.codes(client, WHOLE)[-1], b"554")
        self.assertEqual(self.inbox(self.alice), [])

    def test_connect(self) -> None:
        """It is said in place of the greeting, and the connection is closed."""
        client = self.client(Recording(connect=Refused(554, "5.7.1", "Not today")))
        self.assertEqual(client.received(), b"554 5.7.1 Not today\r\n")
        self.assertTrue(client.closed)

    def test_lmtp(self) -> None:
        """Each recipient is told (RFC 2033 section 4.2)."""
        client = self.greeted(Recording(data=Refused(550, "5.7.1", "Not that")), name="lmtp")
        said = b"LHLO client.test\r\n" + MAIL + RCPT + b"RCPT TO:<bob@example.test>\r\n" + TEXT
        self.assertEqual(self.codes(client, said)[-2:], [b"550", b"550"])
        self.assertEqual(self.inbox(self.bob), [])

    def test_after_the_250(self) -> None:
        """`delivered` comes too late to refuse: it is logged."""
        client = self.greeted(Recording(delivered=ValueError("too late")))
        self.assertEqual(self.codes(client, WHOLE)[-1], b"250")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.inbox(self.alice)), 1)


class FailingTests(HookTestCase):
    def test_fault(self) -> None:
        """Mail does not slip past a hook that fails; the dialogue goes on."""
        for stage in ("ehlo", "mail", "rcpt", "data"):
            client = self.greeted(Recording(**{stage: ValueError(stage)}))
            said = {"ehlo": HELLO, "mail": HELLO + MAIL, "rcpt": HELLO + MAIL + RCPT, "data": WHOLE}[stage]
            self.assertEqual(self.codes(client, said)[-1], b"451", stage)
            self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1, stage)
            self.assertEqual(self.codes(client, b"RSET\r\n"), [b"250"], stage)
        self.assertEqual(self.inbox(self.alice), [])

    def test_fault_at_connect(self) -> None:
        """The client may come again."""
        client = self.client(Recording(connect=ValueError("broken")))
        self.assertEqual(client.received()[:4], b"421 ")
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_too_slow(self) -> None:
        """A hook that never answers does not hold the client for ever."""
        client = self.greeted(Recording(mail=Deferred()))
        self.assertEqual(self.codes(client, HELLO + MAIL), [b"250"])
        self.clock.advance(STAGE_SECONDS)
        self.assertEqual(client.received()[:4], b"451 ")
        self.assertEqual(len(self.flushLoggedErrors()), 1)


class SlowTests(HookTestCase):
    def test_replies_keep_their_order(self) -> None:
        """Whichever stage waits, what was pipelined behind it is answered after it, cut at every octet."""
        whole = [b"250", b"250", b"250", b"354", b"250", b"221"]
        for number, stage in enumerate(("ehlo", "mail", "rcpt", "data")):
            for piece in (len(WHOLE) + 6, 1):
                waiting: Deferred[None] = Deferred()
                client = self.greeted(Recording(**{stage: waiting}))
                said, before = WHOLE + b"QUIT\r\n", b""
                for at in range(0, len(said), piece):
                    before += client.exchange(said[at : at + piece])
                done = number if stage != "data" else 4
                self.assertEqual(_codes(before), whole[:done], (stage, piece))
                waiting.callback(None)
                self.assertEqual(_codes(before + client.received()), whole, (stage, piece))

    def test_connect(self) -> None:
        """No greeting before the answer, and no answer to what is said before it."""
        waiting: Deferred[None] = Deferred()
        client = self.client(Recording(connect=waiting))
        self.assertEqual(client.exchange(HELLO), b"")
        waiting.callback(None)
        self.assertEqual(_codes(client.received()), [b"220", b"250"])

    def test_client_is_gone(self) -> None:
        """An answer that comes after the client left goes nowhere, and nothing is kept."""
        for stage in ("connect", "ehlo", "mail", "rcpt"):
            waiting: Deferred[None] = Deferred()
            client = self.client(Recording(**{stage: waiting}))
            client.exchange(WHOLE)
            client.drop()
            waiting.callback(None)
        self.assertEqual(self.inbox(self.alice), [])


class TakenTests(HookTestCase):
    def test_alone(self) -> None:
        """It is neither filed nor queued, and 250 is said though nobody of that name lives here."""
        hook = Recording()
        client = self.greeted(TakingTickets(), hook)
        said = HELLO + MAIL + b"RCPT TO:<seven@tickets.test>\r\n" + TEXT
        self.assertEqual(self.codes(client, said)[-1], b"250")
        self.assertEqual(len(hook.bodies), 1)
        self.assertEqual(self.queue(), ())

    def test_beside_a_resident(self) -> None:
        """Who lives here gets a copy, and the application's recipient none."""
        client = self.greeted(TakingTickets())
        said = HELLO + MAIL + RCPT + b"RCPT TO:<seven@tickets.test>\r\n" + TEXT
        self.assertEqual(self.codes(client, said)[-1], b"250")
        self.assertEqual(len(self.inbox(self.alice)), 1)
        self.assertEqual(self.queue(), ())


def _codes(said: bytes) -> list[bytes]:
    return [line[:3] for line in said.split(b"\r\n") if line[3:4] == b" "]
