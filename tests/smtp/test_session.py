"""The SMTP session without a network: dialogues, order, limits."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.data import LineEnds
from mailftp.smtp.rules import ALLOWED, State
from mailftp.smtp.session import VERBS
from mailftp.smtp.syntax import COMMAND_LINE
from tests import dialogs
from tests.smtp.driver import Dialogue, terms

FOLDER = Path(__file__).parent / "dialogs"
SUBMISSION = {"login_required": True, "line_ends": LineEnds.NORMALISED}


def mx() -> Dialogue:
    dialogue = Dialogue(terms())
    dialogue.session.secure = True
    return dialogue


def port25() -> Dialogue:
    return Dialogue(terms(), starttls=True)


def submission() -> Dialogue:
    dialogue = Dialogue(terms(**SUBMISSION), mechanisms=("PLAIN", "LOGIN"))
    dialogue.session.secure = True
    return dialogue


def cleartext() -> Dialogue:
    return Dialogue(terms(**SUBMISSION), starttls=True)


class DialogTests(SynchronousTestCase):
    """The transcripts, as they are and cut at every octet."""

    def play(self, folder: str, make: object) -> None:
        for dialog in dialogs.load(FOLDER / folder):
            for piece in (None, 1, 3):
                dialogue = make()  # type: ignore[operator]
                dialogs.play(dialog, dialogue.exchange, dialogue.closed, piece)

    def test_mx(self) -> None:
        """What a server on port 25 says under TLS."""
        self.play("mx", mx)

    def test_port25(self) -> None:
        """What it says where there is no TLS yet."""
        self.play("port25", port25)

    def test_submission(self) -> None:
        """What a submission server says under TLS."""
        self.play("submission", submission)

    def test_cleartext(self) -> None:
        """What a submission server says where there is no TLS yet."""
        self.play("cleartext", cleartext)


class StateTests(SynchronousTestCase):
    def put(self, state: State) -> Dialogue:
        """A dialogue in that state."""
        dialogue = submission()
        ready = b"EHLO c.test\r\nAUTH PLAIN AGEAcmlnaHQ=\r\n"
        said = {
            State.CONNECTED: b"",
            State.READY: ready,
            State.MAIL: ready + b"MAIL FROM:<a@b.test>\r\n",
            State.RCPT: ready + b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n",
            State.CHUNKS: ready + b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 1\r\nx",
        }[state]
        dialogue.exchange(said)
        self.assertIs(dialogue.session.state, state)
        return dialogue

    def test_every_command_in_every_state(self) -> None:
        """A command that the table does not allow is answered 503 and changes nothing; the others are not."""
        arguments = {
            "MAIL": "FROM:<a@b.test>",
            "RCPT": "TO:<c@d.test>",
            "HELO": "x",
            "EHLO": "x",
            "VRFY": "x",
            "BDAT": "0",
        }
        for state, allowed in ALLOWED.items():
            for verb in VERBS:
                dialogue = self.put(state)
                answer = dialogue.exchange(f"{verb} {arguments.get(verb, '')}\r\n".encode())
                if verb in allowed:
                    refused = {
                        ("AUTH", State.READY),
                        ("STARTTLS", State.READY),
                        ("BDAT", State.CONNECTED),
                        ("BDAT", State.READY),
                        ("DATA", State.CHUNKS),
                    }
                    self.assertEqual(
                        answer.startswith(b"503"), (verb, state) in refused, (verb, state, answer)
                    )
                else:
                    self.assertTrue(answer.startswith(b"503 5.5.1 "), (verb, state, answer))
                    self.assertIs(dialogue.session.state, state)

    def test_every_verb_is_allowed_somewhere(self) -> None:
        """The table and the functions speak of the same commands."""
        self.assertEqual(set().union(*ALLOWED.values()), set(VERBS))

    def test_starttls_forgets(self) -> None:
        """After STARTTLS nothing of before holds: no HELO, no login, no sender (CVE-2021-38371's class)."""
        dialogue = cleartext()
        dialogue.exchange(b"EHLO before.test\r\nSTARTTLS\r\nMAIL FROM:<x@y.test>\r\n")
        self.assertIs(dialogue.session.state, State.TLS)
        self.assertEqual(dialogue.exchange(b"NOOP\r\n"), b"")
        dialogue.session.secured()
        dialogue.session.offer(("PLAIN",), False)
        self.assertEqual(dialogue.session.helo, "")
        self.assertEqual(dialogue.advance(), b"")
        self.assertTrue(dialogue.exchange(b"MAIL FROM:<a@b.test>\r\n").startswith(b"503 "))
        answer = dialogue.exchange(b"EHLO after.test\r\n")
        self.assertIn(b"250 AUTH PLAIN\r\n", answer)
        self.assertNotIn(b"STARTTLS", answer)

    def test_random_commands_never_fault(self) -> None:
        """Whatever is said in whatever order, each command has one answer and the session goes on."""
        lines = [f"{verb}{argument}" for verb in (*VERBS, "GRR") for argument in ("", " x", " FROM:<a@b.c>")]
        lines += ["RCPT TO:<d@e.f>", "MAIL FROM:<>", "AUTH PLAIN AGEAcmlnaHQ=", "."]

        @settings(max_examples=150, deadline=None, derandomize=True)
        @given(st.lists(st.sampled_from(lines), max_size=25))
        def check(said: list[str]) -> None:
            dialogue = submission()
            dialogue.exchange(b"")
            for line in said:
                before = dialogue.session.state
                if dialogue.was_closed:
                    return
                answer = dialogue.exchange(line.encode() + b"\r\n")
                in_message = before is State.DATA and line != "."
                replies = [part for part in answer.split(b"\r\n")[:-1] if part[3:4] == b" "]
                expected = 0 if in_message else 1
                self.assertEqual(
                    len(replies) - dialogue.was_closed * (len(replies) > 1), expected, (line, answer)
                )

        check()


class OrderTests(SynchronousTestCase):
    def test_replies_keep_their_order(self) -> None:
        """While a look-up is under way nothing behind it is read, and the replies come in the order asked."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\n")
        dialogue.slow = True
        said = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<no@x.test>\r\nNOOP\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"
        self.assertEqual(dialogue.exchange(said), b"")
        got = b""
        for _ in range(4):
            self.assertEqual(len(dialogue.asked), 1)
            got += dialogue.answer_one()
        self.assertEqual(
            [line[:3] for line in got.split(b"\r\n")], [b"250", b"550", b"250", b"250", b"354", b""]
        )

    def test_unread_input_is_counted(self) -> None:
        """The server can see how much waits behind a slow command."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\n")
        dialogue.slow = True
        dialogue.exchange(b"MAIL FROM:<a@b.test>\r\n" + b"NOOP\r\n" * 1000)
        self.assertEqual(dialogue.session.unread, 6000)

    def test_message_without_waiting_for_354(self) -> None:
        """A script that sends everything at once is served (RFC 2920 forbids it, printf | nc does it)."""
        dialogue = mx()
        answer = dialogue.exchange(
            b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"
        )
        self.assertEqual(
            [line[:3] for line in answer.split(b"\r\n")[1:]],
            [b"250", b"250", b"250", b"354", b"250", b"221", b""],
        )
        self.assertEqual(dialogue.messages, [b"hi\r\n"])

    def test_refused_message_is_not_read_as_commands(self) -> None:
        """When DATA is refused and a message follows all the same, its lines are no commands."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\n")
        answer = dialogue.exchange(
            b"RCPT TO:<no@x.test>\r\nDATA\r\n"
            b"RSET\r\nMAIL FROM:<smuggled@x.test>\r\nRCPT TO:<b@x.test>\r\n.\r\n"
        )
        self.assertEqual([line[:3] for line in answer.split(b"\r\n")], [b"550", b"554", b"421", b""])
        self.assertTrue(dialogue.was_closed)
        self.assertEqual(len(dialogue.transactions), 1)


class LimitTests(SynchronousTestCase):
    def test_long_line_is_not_stored(self) -> None:
        """A line of a megabyte is one error, and only a line's worth of it is ever held."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\n")
        for _ in range(1000):
            self.assertEqual(dialogue.exchange(b"x" * 1000), b"")
            self.assertLess(dialogue.session.unread, COMMAND_LINE)
        self.assertEqual(
            dialogue.exchange(b"\r\nNOOP\r\n"), b"500 5.5.2 The line is too long\r\n250 2.0.0 OK\r\n"
        )

    def test_longest_command_line(self) -> None:
        """2,048 octets with CRLF are a line, one more is not."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\n")
        self.assertEqual(dialogue.exchange(b"NOOP " + b"x" * 2041 + b"\r\n"), b"250 2.0.0 OK\r\n")
        self.assertTrue(dialogue.exchange(b"NOOP " + b"x" * 2042 + b"\r\n").startswith(b"500 "))

    def test_long_login_line(self) -> None:
        """A line of an AUTH exchange may have 12,288 octets; beyond it the exchange is over."""
        dialogue = submission()
        dialogue.exchange(b"EHLO c.test\r\nAUTH PLAIN\r\n")
        self.assertEqual(dialogue.exchange(b"A" * 12288 + b"\r\n"), b"500 5.5.6 The line is too long\r\n")
        self.assertIs(dialogue.session.state, State.READY)
        initial = b"AUTH PLAIN " + b"AAAA" * 3000 + b"\r\n"
        self.assertTrue(dialogue.exchange(initial).startswith((b"535", b"334")))

    def test_bare_lf_gets_an_answer(self) -> None:
        """A client that sends LF alone hears what is wrong instead of waiting."""
        self.assertIn(b"500 5.5.2 Lines must end with CR LF", mx().exchange(b"HELO c.test\n"))

    def test_errors_close(self) -> None:
        """Ten bad commands end a connection, three before HELO."""
        early = mx()
        early.exchange(b"WHAT\r\n" * 2)
        self.assertFalse(early.was_closed)
        self.assertEqual(early.exchange(b"WHAT\r\n")[:3], b"421")
        self.assertTrue(early.was_closed)
        late = mx()
        late.exchange(b"HELO c.test\r\n" + b"WHAT\r\n" * 9)
        self.assertFalse(late.was_closed)
        late.exchange(b"WHAT\r\n")
        self.assertTrue(late.was_closed)

    def test_a_message_clears_errors(self) -> None:
        """Whoever brings mail may err again."""
        dialogue = mx()
        message = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n.\r\n"
        dialogue.exchange(b"HELO c.test\r\n")
        for _ in range(5):
            dialogue.exchange(b"WHAT\r\n" * 9 + message)
        self.assertFalse(dialogue.was_closed)
        self.assertEqual(len(dialogue.messages), 5)

    def test_idle_commands_close(self) -> None:
        """10^5 pipelined NOOPs are answered a hundred times and a little."""
        dialogue = mx()
        answer = dialogue.exchange(b"HELO c.test\r\n" + b"NOOP\r\n" * 100_000)
        self.assertTrue(dialogue.was_closed)
        self.assertLess(answer.count(b"\r\n"), 130)
        self.assertEqual(dialogue.session.unread, 0)

    def test_address_harvest_closes(self) -> None:
        """A hundred refused recipients are enough."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\n")
        answer = dialogue.exchange(b"RCPT TO:<no@x.test>\r\n" * 1000)
        self.assertEqual(answer.count(b"550 "), 100)
        self.assertEqual(answer.count(b"421 "), 1)

    def test_too_large(self) -> None:
        """A message beyond SIZE is refused at its end with 552, and its octets are not passed on."""
        dialogue = mx()
        dialogue.exchange(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
        for _ in range(200):
            dialogue.exchange(b"x" * 998 + b"\r\n")
        self.assertEqual([reply.code for reply in dialogue.spoiled], [552])
        self.assertLessEqual(sum(map(len, dialogue._body)), 100_000)
        self.assertEqual(dialogue.exchange(b".\r\n"), b"552 5.3.4 The message is too large\r\n")
        self.assertEqual(dialogue.messages, [])

    def test_tls_on_a_port_in_clear(self) -> None:
        """A TLS handshake on a port that begins in clear ends at its first octets."""
        dialogue = mx()
        self.assertIn(b"421 4.7.0", dialogue.exchange(b"\x16\x03\x01\x02\x00\x01\x00"))
        self.assertTrue(dialogue.was_closed)

    def test_expire_and_drain(self) -> None:
        """A silent client and a stopping server are told with 421; a message under way is finished first."""
        silent = mx()
        silent.session.expire()
        self.assertIn(b"421 4.4.2 ", silent.advance())
        self.assertTrue(silent.was_closed)
        stopping = mx()
        stopping.exchange(b"HELO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nhi\r\n")
        stopping.session.drain()
        self.assertEqual(stopping.advance(), b"")
        answer = stopping.exchange(b".\r\nQUIT\r\n")
        self.assertEqual([line[:3] for line in answer.split(b"\r\n")], [b"250", b"421", b""])
        self.assertTrue(stopping.was_closed)
        self.assertEqual(stopping.exchange(b"NOOP\r\n"), b"")
