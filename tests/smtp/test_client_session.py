"""The client's state machine: what it says to what it hears, without a socket."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.client_body import DotStuffer
from mailftp.smtp.client_envelope import Envelope, mail_command, parse_extensions, rcpt_command, unaddressable
from mailftp.smtp.client_reply import Dialogue, Reply, ReplyFault, ReplyReader
from mailftp.smtp.client_session import ClientSession, ConnectionFault, Event, Greeter, Phase
from mailftp.store.records import ForwardPath

EHLO = b"250-far.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
BOB, EVE, DAN = ForwardPath("bob@b.test"), ForwardPath("eve@b.test"), ForwardPath("dan@b.test")


class SessionCase(SynchronousTestCase):
    def started(self, ehlo: bytes = EHLO, greeter: Greeter | None = None) -> ClientSession:
        """A session after the greetings, with nothing left to send."""
        session = ClientSession(greeter or Greeter("a.test"))
        session.receive(b"220 far.test\r\n")
        session.take()
        self.assertEqual(session.receive(ehlo), [Event.READY])
        self.assertEqual(session.take(), b"")
        return session

    def envelope(self, *recipients: ForwardPath, size: int = 100, **more) -> Envelope:
        return Envelope("alice@a.test", recipients or (BOB,), size, **more)

    def codes(self, session: ClientSession) -> dict[str, int]:
        return {address: reply.code for address, reply in session.result.replies.items()}

    def broken(self, session: ClientSession, data: bytes) -> ConnectionFault:
        fault = self.assertRaises(ConnectionFault, session.receive, data)
        self.assertEqual(session.phase, Phase.CLOSED)
        return fault


class GreetingTests(SessionCase):
    def test_ehlo(self) -> None:
        """EHLO follows the greeting; its reply's keywords are kept, upper case."""
        session = ClientSession(Greeter("a.test"))
        self.assertEqual(session.take(), b"")
        session.receive(b"220-far.test\r\n220 hello\r\n")
        self.assertEqual(session.take(), b"EHLO a.test\r\n")
        session.receive(
            b"250-far.test hi\r\n250-size 1000\r\n250-AUTH=LOGIN\r\n250-AUTH PLAIN\r\n250 DSN\r\n"
        )
        self.assertEqual(session.extensions, {"SIZE": "1000", "AUTH": "LOGIN PLAIN", "DSN": ""})

    def test_cut_anywhere(self) -> None:
        """The replies may come in pieces of any size."""
        for size in range(1, len(EHLO)):
            session = ClientSession(Greeter("a.test"))
            data, events = b"220 far.test\r\n" + EHLO, []
            for start in range(0, len(data), size):
                events += session.receive(data[start : start + size])
            self.assertEqual(events, [Event.READY])

    def test_greeting_refused(self) -> None:
        """554 in the place of a greeting is a fault that keeps the reply."""
        fault = self.broken(ClientSession(Greeter("a.test")), b"554 5.7.1 go away\r\n")
        self.assertEqual(fault.reply, Reply(554, "5.7.1", "go away"))
        self.assertEqual(fault.dialogue, "S: 554 5.7.1 go away")

    def test_helo(self) -> None:
        """A server that does not know EHLO gets HELO; one that refuses both is given up."""
        session = ClientSession(Greeter("a.test"))
        session.receive(b"220 far.test\r\n502 what\r\n")
        self.assertEqual(session.take(), b"EHLO a.test\r\nHELO a.test\r\n")
        self.assertEqual(session.receive(b"250 hello\r\n"), [Event.READY])
        session = ClientSession(Greeter("a.test"))
        session.receive(b"220 far.test\r\n500 what\r\n")
        self.broken(session, b"550 5.7.1 no\r\n")

    def test_ehlo_refused_for_now(self) -> None:
        """A 4xx to EHLO is no reason for HELO."""
        session = ClientSession(Greeter("a.test"))
        session.receive(b"220 far.test\r\n")
        self.broken(session, b"451 4.3.0 later\r\n")

    def test_lhlo(self) -> None:
        """LMTP says LHLO, and there is nothing older to fall back to (RFC 2033)."""
        session = ClientSession(Greeter("a.test", lmtp=True))
        session.receive(b"220 far.test\r\n")
        self.assertEqual(session.take(), b"LHLO a.test\r\n")
        self.broken(session, b"500 what\r\n")

    def test_421(self) -> None:
        """421 ends the connection wherever it comes."""
        session = self.started()
        session.begin(self.envelope())
        fault = self.broken(session, b"250 ok\r\n421 4.3.2 shutting down\r\n")
        self.assertEqual(fault.reply, Reply(421, "4.3.2", "shutting down"))

    def test_reply_to_nothing(self) -> None:
        """A reply that nobody asked for is a fault: the next would be taken for another's."""
        self.broken(self.started(), b"250 ok\r\n")


class EncryptionTests(SessionCase):
    OFFER = b"250-far.test\r\n250 STARTTLS\r\n"

    def test_starttls(self) -> None:
        """What was learnt in the clear is forgotten, and EHLO said again."""
        session = ClientSession(Greeter("a.test"))
        session.receive(b"220 far.test\r\n" + b"250-far.test\r\n250-XOLD\r\n250 STARTTLS\r\n")
        self.assertEqual(session.take(), b"EHLO a.test\r\nSTARTTLS\r\n")
        self.assertEqual(session.receive(b"220 go\r\n"), [Event.START_TLS])
        session.secured("TLSv1.3 X")
        self.assertEqual((session.extensions, session.take()), ({}, b"EHLO a.test\r\n"))
        self.assertEqual(session.receive(b"250-far.test\r\n250 STARTTLS\r\n"), [Event.READY])
        self.assertEqual(session.take(), b"")

    def test_injection(self) -> None:
        """Octets behind the 220 in one segment were never encrypted: the connection ends (CVE-2021-38371)."""
        for injected in (b"250-far.test\r\n250 AUTH PLAIN\r\n", b"2", b"\r\n"):
            session = ClientSession(Greeter("a.test"))
            session.receive(b"220 far.test\r\n" + self.OFFER)
            fault = self.broken(session, b"220 go\r\n" + injected)
            self.assertFalse(fault.tls_failed)

    def test_refused(self) -> None:
        """A refused STARTTLS leaves the connection in the clear, unless TLS is required."""
        session = ClientSession(Greeter("a.test"))
        session.receive(b"220 far.test\r\n" + self.OFFER)
        self.assertEqual(session.receive(b"454 4.7.0 not now\r\n"), [Event.READY])
        session = ClientSession(Greeter("a.test", tls_required=True))
        session.receive(b"220 far.test\r\n" + self.OFFER)
        self.broken(session, b"454 4.7.0 not now\r\n")

    def test_not_offered(self) -> None:
        """No STARTTLS is a fault where TLS is required, and none where it is not wanted."""
        session = ClientSession(Greeter("a.test", tls_required=True))
        session.receive(b"220 far.test\r\n")
        self.broken(session, b"250 far.test\r\n")
        self.started(self.OFFER, Greeter("a.test", tls=False))


class LoginTests(SessionCase):
    GREETER = Greeter("a.test", username="user", password="p\u00e4ss", private=True)

    def login(self, auth: bytes) -> ClientSession:
        session = ClientSession(self.GREETER)
        session.receive(b"220 far.test\r\n")
        session.take()
        session.receive(b"250-far.test\r\n250 AUTH " + auth + b"\r\n")
        return session

    def test_plain(self) -> None:
        """AUTH PLAIN with its initial response; the dialogue does not show it."""
        session = self.login(b"LOGIN PLAIN")
        secret = base64.b64encode(b"\0user\0p\xc3\xa4ss")
        self.assertEqual(session.take(), b"AUTH PLAIN " + secret + b"\r\n")
        self.assertEqual(session.receive(b"235 2.7.0 ok\r\n"), [Event.READY])
        self.assertIn("C: AUTH PLAIN [hidden]", str(session.dialogue))
        self.assertNotIn(secret.decode(), str(session.dialogue))

    def test_login(self) -> None:
        """AUTH LOGIN where there is no PLAIN."""
        session = self.login(b"LOGIN")
        self.assertEqual(session.take(), b"AUTH LOGIN\r\n")
        session.receive(b"334 VXNlcm5hbWU6\r\n")
        self.assertEqual(session.take(), base64.b64encode(b"user") + b"\r\n")
        session.receive(b"334 UGFzc3dvcmQ6\r\n")
        secret = base64.b64encode("p\u00e4ss".encode())
        self.assertEqual(session.take(), secret + b"\r\n")
        self.assertEqual(session.receive(b"235 ok\r\n"), [Event.READY])
        self.assertNotIn(secret.decode(), str(session.dialogue))

    def test_refused(self) -> None:
        """A refused login, or no mechanism that we know, is a fault."""
        self.assertEqual(
            self.broken(self.login(b"PLAIN"), b"535 5.7.8 no\r\n").reply, Reply(535, "5.7.8", "no")
        )
        self.broken(self.login(b"LOGIN"), b"504 no\r\n")
        session = ClientSession(self.GREETER)
        session.receive(b"220 far.test\r\n")
        self.broken(session, b"250-far.test\r\n250 AUTH GSSAPI\r\n")

    def test_never_in_the_clear(self) -> None:
        """A password is sent on loopback or under TLS, and nowhere else."""
        session = ClientSession(Greeter("a.test", username="user", password="pass"))
        session.receive(b"220 far.test\r\n")
        session.take()
        self.broken(session, b"250-far.test\r\n250 AUTH PLAIN\r\n")
        self.assertEqual(session.take(), b"")


class TransactionTests(SessionCase):
    def test_pipelined(self) -> None:
        """MAIL, RCPTs and DATA leave in one write (RFC 2920), with SIZE and BODY where they are offered."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE, eightbit=True))
        self.assertEqual(
            session.take(),
            b"MAIL FROM:<alice@a.test> SIZE=100 BODY=8BITMIME\r\n"
            b"RCPT TO:<bob@b.test>\r\nRCPT TO:<eve@b.test>\r\nDATA\r\n",
        )
        self.assertEqual(session.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), [Event.SEND_BODY])
        session.body_sent()
        self.assertEqual(session.receive(b"250 2.0.0 taken\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 250, "eve@b.test": 250})
        self.assertEqual(session.phase, Phase.READY)

    def test_one_by_one(self) -> None:
        """Without PIPELINING each command waits for the reply before it."""
        session = self.started(b"250 far.test\r\n")
        session.begin(self.envelope(BOB, EVE))
        said = []
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n"):
            said.append(session.take())
            self.assertEqual(session.receive(reply), [])
        said.append(session.take())
        self.assertEqual(
            said,
            [
                b"MAIL FROM:<alice@a.test>\r\n",
                b"RCPT TO:<bob@b.test>\r\n",
                b"RCPT TO:<eve@b.test>\r\n",
                b"DATA\r\n",
            ],
        )
        self.assertEqual(session.receive(b"354 go\r\n"), [Event.SEND_BODY])

    def test_mixed_refusals(self) -> None:
        """Each recipient has its own reply, wherever the replies are cut."""
        replies = b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n451 4.2.0 later\r\n354 go\r\n"
        for size in range(1, len(replies)):
            session, events = self.started(), []
            session.begin(self.envelope(BOB, EVE, DAN))
            for start in range(0, len(replies), size):
                events += session.receive(replies[start : start + size])
            self.assertEqual(events, [Event.SEND_BODY])
            session.body_sent()
            self.assertEqual(session.receive(b"250 taken\r\n"), [Event.DONE])
            self.assertEqual(self.codes(session), {"bob@b.test": 550, "eve@b.test": 250, "dan@b.test": 451})

    def test_all_refused_and_data_accepted(self) -> None:
        """A go-ahead with no recipient left is answered by a lone dot (RFC 2920 section 3.1)."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE))
        session.take()
        self.assertEqual(session.receive(b"250 ok\r\n550 no\r\n550 no\r\n354 go\r\n"), [])
        self.assertEqual(session.take(), b".\r\n")
        self.assertEqual(session.receive(b"554 no valid recipients\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 550, "eve@b.test": 550})

    def test_all_refused(self) -> None:
        """DATA refused for want of recipients leaves each its own refusal; RSET comes before the next."""
        session = self.started()
        session.begin(self.envelope(BOB))
        session.take()
        self.assertEqual(
            session.receive(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no recipients\r\n"), [Event.DONE]
        )
        self.assertEqual(session.result.replies["bob@b.test"], Reply(550, "5.1.1", "no"))
        session.begin(self.envelope(EVE))
        self.assertTrue(session.take().startswith(b"RSET\r\nMAIL FROM:"))
        events = session.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertEqual(events, [Event.SEND_BODY])

    def test_reset_refused(self) -> None:
        """A refused RSET leaves nobody knowing what the far side holds: the connection ends."""
        session = self.started()
        session.begin(self.envelope(BOB))
        session.receive(b"250 ok\r\n550 no\r\n503 no recipients\r\n")
        session.begin(self.envelope(EVE))
        self.broken(session, b"500 what\r\n")

    def test_all_refused_one_by_one(self) -> None:
        """Without PIPELINING, DATA is not asked for when nobody is left."""
        session = self.started(b"250 far.test\r\n")
        session.begin(self.envelope(BOB))
        session.receive(b"250 ok\r\n")
        session.take()
        self.assertEqual(session.receive(b"550 no\r\n"), [Event.DONE])
        self.assertEqual(session.take(), b"")

    def test_sender_refused(self) -> None:
        """A refused MAIL is the reply of every recipient; the pipelined rest is read and passed over."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE))
        self.assertEqual(session.receive(b"552 5.3.4 too big\r\n503 x\r\n250 x\r\n"), [])
        self.assertEqual(session.receive(b"503 x\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 552, "eve@b.test": 552})
        session = self.started(b"250 far.test\r\n")
        session.begin(self.envelope(BOB, EVE))
        session.take()
        self.assertEqual(session.receive(b"451 4.7.1 greylisted\r\n"), [Event.DONE])
        self.assertEqual((self.codes(session), session.take()), ({"bob@b.test": 451, "eve@b.test": 451}, b""))

    def test_sender_refused_and_data_accepted(self) -> None:
        """Even then the dot goes out alone, never the message; and not even the dot, which would be an empty
        message, to who takes recipients of a sender that it refuses."""
        session = self.started()
        session.begin(self.envelope(BOB))
        session.take()
        self.assertEqual(session.receive(b"550 no\r\n503 no\r\n354 go\r\n"), [])
        self.assertEqual(session.take(), b".\r\n")
        session.receive(b"250 taken\r\n")
        self.assertEqual(self.codes(session), {"bob@b.test": 550})
        session = self.started()
        session.begin(self.envelope(BOB))
        session.take()
        self.assertEqual(session.receive(b"550 no\r\n250 ok\r\n354 go\r\n"), [Event.DONE, Event.CLOSE])
        self.assertEqual((self.codes(session), session.take()), ({"bob@b.test": 550}, b""))

    def test_data_refused(self) -> None:
        """A refused DATA is the reply of those that were accepted."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE))
        session.receive(b"250 ok\r\n250 ok\r\n550 no\r\n451 4.3.0 disk\r\n")
        self.assertEqual(self.codes(session), {"bob@b.test": 451, "eve@b.test": 550})

    def test_final_refusal(self) -> None:
        """The reply to the message is for those that were accepted."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE))
        session.receive(b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n")
        session.body_sent()
        session.receive(b"554 5.7.1 spam\r\n")
        self.assertEqual(self.codes(session), {"bob@b.test": 554, "eve@b.test": 550})

    def test_refused_while_sending(self) -> None:
        """A refusal in the middle of the message counts, and the connection is used no more."""
        session = self.started()
        session.begin(self.envelope())
        session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertEqual(session.receive(b"552 5.2.3 too much\r\n"), [Event.DONE, Event.CLOSE])
        self.assertEqual((self.codes(session), session.phase), ({"bob@b.test": 552}, Phase.CLOSED))

    def test_taken_and_then_nonsense(self) -> None:
        """What follows the final 250 in one segment does not undo it, or the message would go twice."""
        for more in (b"421 bye\r\n", b"nonsense\r\n", b"250 again\r\n"):
            session = self.started()
            session.begin(self.envelope())
            session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
            session.body_sent()
            self.assertEqual(session.receive(b"250 taken\r\n" + more), [Event.DONE, Event.CLOSE])
            self.assertEqual(self.codes(session), {"bob@b.test": 250})

    def test_cut_keeps_the_refusals(self) -> None:
        """A connection that breaks tells which recipients had their final reply."""
        session = self.started()
        session.begin(self.envelope(BOB, EVE))
        session.receive(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n")
        self.assertEqual(session.fault("cut").replies, {"bob@b.test": Reply(550, "5.1.1", "no")})

    def test_out_of_place(self) -> None:
        """A 3xx where there is none in SMTP, or 2xx to DATA, breaks the connection."""
        for replies in (b"354 x\r\n", b"250 ok\r\n354 x\r\n", b"250 ok\r\n250 ok\r\n250 x\r\n"):
            session = self.started()
            session.begin(self.envelope())
            self.broken(session, replies)

    def test_lmtp(self) -> None:
        """LMTP answers the message once for each recipient that it accepted, in their order (RFC 2033)."""
        session = self.started(greeter=Greeter("a.test", lmtp=True))
        session.begin(self.envelope(BOB, EVE, DAN))
        session.receive(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
        session.body_sent()
        self.assertEqual(session.receive(b"250 2.0.0 in\r\n"), [])
        self.assertEqual(session.receive(b"452 4.2.2 full\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 250, "eve@b.test": 550, "dan@b.test": 452})

    def test_lmtp_without_recipients(self) -> None:
        """What LMTP says to a message for nobody is not defined: the connection ends."""
        session = self.started(greeter=Greeter("a.test", lmtp=True))
        session.begin(self.envelope(BOB))
        self.assertEqual(session.receive(b"250 ok\r\n550 no\r\n354 go\r\n"), [Event.DONE, Event.CLOSE])

    def test_second_message(self) -> None:
        """After a message that was taken the next needs no RSET, and has a dialogue of its own."""
        session = self.started()
        for _ in range(2):
            session.begin(self.envelope())
            self.assertTrue(session.take().startswith(b"MAIL"))
            session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
            session.body_sent()
            session.receive(b"250 taken\r\n")
        self.assertEqual(session.result.dialogue.count("MAIL FROM"), 1)
        self.assertNotIn("EHLO", session.result.dialogue)

    def test_too_large(self) -> None:
        """A message beyond the far side's SIZE is refused here, and nothing is said."""
        session = self.started()
        self.assertEqual(session.begin(self.envelope(size=1001)), [Event.DONE])
        self.assertEqual((session.result.replies["bob@b.test"].status, session.take()), ("5.3.4", b""))
        self.assertEqual(self.started(b"250-far\r\n250 SIZE 0\r\n").begin(self.envelope(size=9999)), [])
        self.assertEqual(self.started(b"250-far\r\n250 SIZE\r\n").begin(self.envelope(size=9999)), [])

    def test_quit(self) -> None:
        """QUIT, and the end whatever is said to it."""
        session = self.started()
        session.quit()
        self.assertEqual(session.take(), b"QUIT\r\n")
        self.assertEqual(session.receive(b"421 already gone\r\n"), [Event.CLOSE])

    def test_begin_out_of_turn(self) -> None:
        """A second transaction while one is under way is an error of ours."""
        session = self.started()
        session.begin(self.envelope())
        self.assertRaises(ValueError, session.begin, self.envelope())


class ChunkTests(SessionCase):
    EHLO = b"250-far.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n"

    def sent(self, ehlo: bytes = EHLO) -> ClientSession:
        """A session that has sent a short message for bob and eve, whole."""
        session = self.started(ehlo)
        self.send(session)
        return session

    def send(self, session: ClientSession) -> bytes:
        self.assertEqual(session.begin(self.envelope(BOB, EVE), at_hand=True), [Event.SEND_BODY])
        session.chunk(100, True)
        return session.take()

    def test_pipelined(self) -> None:
        """A short message leaves with its envelope; the reply to its last piece is that to the message."""
        session = self.started(self.EHLO)
        self.assertEqual(
            self.send(session),
            b"MAIL FROM:<alice@a.test>\r\nRCPT TO:<bob@b.test>\r\nRCPT TO:<eve@b.test>\r\nBDAT 100 LAST\r\n",
        )
        self.assertEqual(session.receive(b"250 ok\r\n250 ok\r\n"), [])
        self.assertEqual(session.phase, Phase.ENVELOPE)
        self.assertEqual(session.receive(b"550 5.1.1 no\r\n"), [])
        self.assertEqual(session.phase, Phase.FINAL)
        self.assertEqual(session.receive(b"250 taken\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 250, "eve@b.test": 550})
        self.assertNotIn(b"RSET", self.send(session))

    def test_waits(self) -> None:
        """A long message, one in a file, and any without PIPELINING wait for the recipients' replies."""
        one_by_one = b"250-far.test\r\n250 CHUNKING\r\n"
        for ehlo, size, at_hand in ((self.EHLO, 65537, True), (self.EHLO, 9, False), (one_by_one, 9, True)):
            session = self.started(ehlo)
            self.assertEqual(session.begin(self.envelope(size=size), at_hand=at_hand), [])
            self.assertEqual(session.receive(b"250 ok\r\n"), [])
            self.assertEqual(session.receive(b"250 ok\r\n"), [Event.SEND_BODY])
            self.assertNotIn(b"DATA", session.take())
            session = self.started(ehlo)
            session.begin(self.envelope(size=size), at_hand=at_hand)
            session.receive(b"250 ok\r\n")
            self.assertEqual(session.receive(b"550 no\r\n"), [Event.DONE])
            self.assertNotIn(b"BDAT", session.take())

    def test_few_unanswered(self) -> None:
        """Three pieces may be without an answer; one where there is no PIPELINING."""
        for ehlo, most in ((self.EHLO, 3), (b"250-far.test\r\n250 CHUNKING\r\n", 1)):
            session = self.started(ehlo)
            session.begin(self.envelope(size=9_000_000))
            session.receive(b"250 ok\r\n")
            session.receive(b"250 ok\r\n")
            for _ in range(most):
                self.assertTrue(session.may_send)
                session.chunk(1000, False)
            self.assertFalse(session.may_send)
            self.assertEqual(session.receive(b"250 so far\r\n"), [Event.SEND_MORE])
            self.assertTrue(session.may_send)

    def test_all_refused(self) -> None:
        """The piece for nobody is refused too: the recipients' own replies count, and RSET comes first."""
        for refusal in (b"503 5.5.1 no recipients\r\n", b"554 5.5.1 none\r\n"):
            session = self.sent()
            session.receive(b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 later\r\n")
            self.assertEqual(session.receive(refusal), [Event.DONE])
            self.assertEqual(self.codes(session), {"bob@b.test": 550, "eve@b.test": 450})
            self.assertTrue(self.send(session).startswith(b"RSET\r\nMAIL"))

    def test_sender_refused(self) -> None:
        """As with DATA; who takes recipients and the message after all has it."""
        session = self.sent()
        session.receive(b"550 5.7.1 no\r\n503 no\r\n503 no\r\n")
        self.assertEqual(session.receive(b"503 no\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 550, "eve@b.test": 550})
        session = self.sent()
        self.assertEqual(session.receive(b"550 5.7.1 no\r\n250 ok\r\n503 no\r\n250 taken\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 250, "eve@b.test": 550})

    def test_message_refused(self) -> None:
        """The state behind a refusal is not known: RSET."""
        session = self.sent()
        self.assertEqual(session.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n554 5.6.0 spam\r\n"), [Event.DONE])
        self.assertEqual(self.codes(session), {"bob@b.test": 554, "eve@b.test": 554})
        self.assertTrue(self.send(session).startswith(b"RSET\r\n"))
        self.broken(self.sent(), b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")

    def test_unknown(self) -> None:
        """500 or 502: what follows may be replies to lines of the message. The connection ends, and the fault
        says that DATA is left; not where BDAT was known before."""
        for code in (500, 502):
            session = self.sent()
            fault = self.broken(session, b"250 ok\r\n250 ok\r\n550 no\r\n%d what\r\n250 x\r\n" % code)
            self.assertEqual((fault.no_chunks, fault.undecided), (True, False))
            self.assertEqual(list(fault.replies), ["eve@b.test"])
            session = self.sent()
            events = session.receive(b"250 ok\r\n550 no\r\n550 no\r\n%d what\r\n" % code)
            self.assertEqual(events, [Event.DONE, Event.CLOSE])
            session = self.sent()
            session.receive(b"250 ok\r\n" * 4)
            self.send(session)
            self.assertEqual(
                session.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n%d what\r\n" % code), [Event.DONE]
            )
            self.assertEqual(self.codes(session), {"bob@b.test": code, "eve@b.test": code})

    def test_undecided(self) -> None:
        """Cut when all was sent, it may have been taken; not where it said 421 to the envelope, and not where
        a kept connection was closed before the second message came."""
        self.assertTrue(self.sent().fault("cut").undecided)
        session = self.sent()
        self.assertFalse(self.broken(session, b"250 ok\r\n421 4.3.2 bye\r\n").undecided)
        session = self.sent()
        self.assertTrue(self.broken(session, b"250 ok\r\n250 ok\r\n250 ok\r\n421 bye\r\n").undecided)
        for heard, undecided in ((b"", False), (b"250 ok\r\n", True)):
            session = self.sent()
            session.receive(b"250 ok\r\n" * 4)
            self.send(session)
            session.receive(heard)
            self.assertEqual(session.fault("cut").undecided, undecided)

    def test_not_used(self) -> None:
        """LMTP, and a connection that is told not to, have DATA."""
        for greeter in (Greeter("a.test", lmtp=True), Greeter("a.test", chunking=False)):
            session = self.started(self.EHLO, greeter)
            self.assertEqual(session.begin(self.envelope(), at_hand=True), [])
            self.assertTrue(session.take().endswith(b"DATA\r\n"))


class EnvelopeTests(SessionCase):
    def test_no_command_in_an_address(self) -> None:
        """An address that could end its path or its line never reaches the wire."""
        for bad in (
            "a@b.test>\r\nRSET",
            "a@b.test> NOTIFY=NEVER",
            "a\n@b.test",
            "a\0@b.test",
            "a b@b.test",
            "<a@b.test",
            "a@b@c.test",
            "bob",
            "",
            '"a"b"@b.test',
            '"a\\"@b.test',
            "a@",
            "@b",
        ):
            session = self.started()
            self.assertEqual(session.begin(self.envelope(ForwardPath(bad))), [Event.DONE], bad)
            self.assertEqual((session.result.replies[bad].status, session.take()), ("5.1.3", b""))
            if bad:
                session.begin(Envelope(bad, (BOB,), 10))
                self.assertEqual(
                    (session.result.replies["bob@b.test"].status, session.take()), ("5.1.3", b"")
                )

    def test_good_addresses(self) -> None:
        """What an address may hold, it may."""
        for good in ('"a b>c"@b.test', '"a\\"b"@b.test', "a+b=c@[IPv6:::1]", "!#$%&'*+-/=?^_`{|}~@x"):
            self.assertIsNone(unaddressable(good, {}), good)

    def test_some_bad(self) -> None:
        """The others go out without the one that cannot."""
        session = self.started()
        session.begin(self.envelope(ForwardPath("x y@b.test"), EVE))
        self.assertEqual(session.take().count(b"RCPT"), 1)

    def test_smtputf8(self) -> None:
        """UTF-8 in an address or the header needs a far side that takes it (RFC 6531)."""
        jo = ForwardPath("j\u00f6@b.test")
        session = self.started()
        self.assertEqual(session.begin(self.envelope(jo)), [Event.DONE])
        self.assertEqual(session.result.replies[jo.address].status, "5.6.7")
        self.assertEqual(session.begin(self.envelope(smtputf8=True)), [Event.DONE])
        self.assertEqual(session.result.replies["bob@b.test"].status, "5.6.7")
        session = self.started(b"250-far\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n")
        session.begin(self.envelope(jo))
        self.assertIn(b"MAIL FROM:<alice@a.test> SMTPUTF8\r\nRCPT TO:<j\xc3\xb6@b.test>\r\n", session.take())

    def test_null_sender(self) -> None:
        """A report has the null reverse-path."""
        self.assertEqual(mail_command(Envelope("", (BOB,), 5), {}), "MAIL FROM:<>")

    def test_dsn(self) -> None:
        """RFC 3461's parameters go to a far side that knows them, xtext encoded, and to no other."""
        envelope = Envelope("a@a.test", (BOB,), 5, ret="HDRS", envid="x+y z")
        self.assertEqual(mail_command(envelope, {"DSN": ""}), "MAIL FROM:<a@a.test> RET=HDRS ENVID=x+2By+20z")
        self.assertEqual(mail_command(envelope, {}), "MAIL FROM:<a@a.test>")
        recipient = ForwardPath("b@b.test", "rfc822;c=d@b.test", frozenset({"DELAY", "FAILURE"}))
        self.assertEqual(
            rcpt_command(recipient, {"DSN": ""}),
            "RCPT TO:<b@b.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;c+3Dd@b.test",
        )
        self.assertEqual(rcpt_command(recipient, {}), "RCPT TO:<b@b.test>")
        self.assertEqual(rcpt_command(ForwardPath("b@b.test", "x y;z"), {"DSN": ""}), "RCPT TO:<b@b.test>")

    def test_extensions(self) -> None:
        """Keywords are upper case; an empty line is none."""
        self.assertEqual(parse_extensions(("Size 5 ", "", "x")), {"SIZE": "5", "X": ""})


class ReplyTests(SynchronousTestCase):
    def read(self, data: bytes) -> Reply | None:
        reader = ReplyReader()
        reader.feed(data)
        lines = reader.next()
        return lines and lines.joined()

    def test_joined(self) -> None:
        """Lines are joined; the status is taken from them when its class fits the code."""
        self.assertEqual(self.read(b"250-2.1.0 a\r\n250 2.1.0 b\r\n"), Reply(250, "2.1.0", "a b"))
        self.assertEqual(self.read(b"550 5.1.1\r\n"), Reply(550, "5.1.1", ""))
        self.assertEqual(self.read(b"550 2.1.1 x\r\n"), Reply(550, "", "2.1.1 x"))
        self.assertEqual(self.read(b"550 5.1.1x\r\n"), Reply(550, "", "5.1.1x"))
        self.assertEqual(self.read(b"250\r\n"), Reply(250, "", ""))
        self.assertEqual(self.read(b"250-a\n250\n"), Reply(250, "", "a"))

    def test_printable(self) -> None:
        """Nothing that a terminal or a log would act on is kept; the text is bounded."""
        reply = self.read(b"550 a\x1b[2Jb\x00\xff\tc\rd\r\n")
        self.assertEqual(reply, Reply(550, "", "a?[2Jb?\ufffd?c?d"))
        self.assertEqual(len(self.read(b"550 " + b"x" * 2000 + b"\r\n").text), 1000)

    def test_bounds(self) -> None:
        """A line of 2,048 octets, 100 lines, one code: no more, no fewer."""
        self.assertRaises(ReplyFault, self.read, b"250 " + b"x" * 2045)
        self.assertRaises(ReplyFault, self.read, b"250-x\r\n" * 100)
        self.assertIsNotNone(self.read(b"250-x\r\n" * 99 + b"250 x\r\n"))
        self.assertRaises(ReplyFault, self.read, b"250-x\r\n251 y\r\n")
        for bad in (
            b"\r\n",
            b"25\r\n",
            b"2500 x\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250_x\r\n",
            b"\xb2\xb2\xb2 x\r\n",
        ):
            self.assertRaises(ReplyFault, self.read, bad)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.binary(max_size=200), st.integers(1, 20))
    def test_any_octets(self, data: bytes, size: int) -> None:
        """Any octets give replies or a ReplyFault, the same wherever they are cut."""

        def run(step: int) -> list[object]:
            reader, out = ReplyReader(), []
            try:
                for start in range(0, len(data), step):
                    reader.feed(data[start : start + step])
                    while (reply := reader.next()) is not None:
                        out.append(reply)
            except ReplyFault:
                out.append("fault")
            return out

        self.assertEqual(run(size), run(max(len(data), 1)))


class DialogueTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """At most 64 KiB are kept, the beginning and the end, with a line that says so between."""
        dialogue = Dialogue()
        for number in range(10_000):
            dialogue.add("S", f"250 {number:05} \u00e9 something")
        text = str(dialogue)
        self.assertLess(len(text.encode()), 64 * 1024)
        self.assertGreater(len(text.encode()), 60 * 1024)
        lines = text.split("\n")
        self.assertEqual((lines[0][:12], lines[-1][:12]), ("S: 250 00000", "S: 250 09999"))
        self.assertIn("[lines left out]", lines)
        dialogue.clear()
        self.assertEqual(str(dialogue), "")


def slow_stuff(message: bytes) -> bytes:
    """Dot-stuffing a line at a time, as the RFC words it."""
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line[:1] == b"." else b"") + line + b"\r\n" for line in lines) + b".\r\n"


class DotStufferTests(SynchronousTestCase):
    def stuff(self, message: bytes, size: int) -> bytes:
        stuffer = DotStuffer()
        pieces = [message[start : start + size] for start in range(0, len(message), size)]
        return b"".join(map(stuffer.feed, pieces)) + stuffer.finish()

    @settings(max_examples=500, deadline=None, derandomize=True)
    @given(st.text(alphabet="a.\r\n", max_size=24), st.integers(1, 9))
    def test_any_message(self, text: str, size: int) -> None:
        """Cut anywhere, the same is sent as line by line: dots doubled, every line ended by CRLF, no CR or
        LF alone, the end once and at the end."""
        sent = self.stuff(text.encode(), size)
        self.assertEqual(sent, slow_stuff(text.encode()))
        self.assertEqual(sent.count(b"\n"), sent.count(b"\r\n"))
        self.assertEqual(sent.count(b"\r"), sent.count(b"\r\n"))
        self.assertEqual((b"\r\n" + sent).find(b"\r\n.\r\n"), len(sent) - 3)

    def test_smuggling(self) -> None:
        """Every odd end of a message that some server takes for one is made harmless."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n.\r\n"):
            message = b"a" + end + b"MAIL FROM:<evil@c.test>\r\n"
            sent = self.stuff(message, len(message))
            self.assertEqual(sent, b"a\r\n..\r\nMAIL FROM:<evil@c.test>\r\n.\r\n")

    def test_fast_path(self) -> None:
        """A message as it is stored is sent as it is."""
        message = b"Subject: x\r\n\r\n" + b"line\r\n" * 100
        self.assertEqual(self.stuff(message, 64), message + b".\r\n")
