from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.avatars import Drop, Drops
from mailftp.pop3.session import PIECE, Close, Fetch, LogIn, Offer, Session, State, Update
from mailftp.pop3.syntax import (
    COMMAND_LINE,
    SASL_LINE,
    Command,
    Excerpt,
    Stuffing,
    SyntaxFault,
    message_reply,
    parse_auth,
    parse_base64,
    parse_command,
    parse_number,
    parse_top,
)

_TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"x", b"\r\n\r\n", b"..", b"\n", b"yz"])).map(b"".join)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(edge % (len(data) + 1) for edge in at)})
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


class CommandTests(SynchronousTestCase):
    def test_commands(self) -> None:
        """A keyword in any case and what follows; blanks at the end only count in a password."""
        for line, verb, argument in (
            (b"stat", b"STAT", b""),
            (b"Retr 1  ", b"RETR", b"1"),
            (b"user  bob \t", b"USER", b"bob"),
            (b"PASS a b ", b"PASS", b"a b "),
            (b"pass  x", b"PASS", b" x"),
            (b"PASS", b"PASS", b""),
        ):
            self.assertEqual(parse_command(line), Command(verb, argument))

    def test_malformed(self) -> None:
        """What has no keyword is refused."""
        for line in (b"", b" STAT", b"STAT\t1", b"1", b"\xff", b"A" * 13, b"STAT\x00"):
            with self.assertRaises(SyntaxFault):
                parse_command(line)

    def test_numbers(self) -> None:
        """Ten ASCII digits and nothing that int() would also take."""
        self.assertEqual(parse_number(b"0012"), 12)
        for text in (b"", b"+1", b"-1", b"1_0", b" 1", b"1\n", "\u0663".encode(), b"1" * 11):
            with self.assertRaises(SyntaxFault):
                parse_number(text)
        self.assertEqual(parse_top(b"1  20"), (1, 20))

    def test_auth(self) -> None:
        """Mechanism in any case; no initial response, an empty one, and one."""
        self.assertEqual(parse_auth(b"plain"), ("PLAIN", None))
        self.assertEqual(parse_auth(b"PLAIN ="), ("PLAIN", b""))
        self.assertEqual(parse_auth(b"PLAIN YQ=="), ("PLAIN", b"a"))
        for text in (b"", b"PL/AIN", b"PLAIN Y", b"PLAIN YQ", b"PLAIN YR==", b"PLAIN Y Q==", b"x" * 21):
            with self.assertRaises(SyntaxFault):
                parse_auth(text)

    @given(st.binary(max_size=40))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, line: bytes) -> None:
        """Whatever comes is parsed or refused."""
        for parse in (parse_command, parse_number, parse_top, parse_auth, parse_base64):
            try:
                parse(line)  # type: ignore[operator]
            except SyntaxFault:
                pass


class MessageTests(SynchronousTestCase):
    @given(_TEXT, st.lists(st.integers(0, 100)))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_stuffing(self, text: bytes, at: list[int]) -> None:
        """However it is cut, no line ends the reply before its end, and taking the dots off gives it back."""
        stuffing = Stuffing()
        sent = b"".join(stuffing.feed(piece) for piece in cut(text, at)) + stuffing.end()
        *lines, end, rest = sent.split(b"\n")
        self.assertEqual((end, rest), (b".\r", b""))
        self.assertNotIn(b".\r", lines)
        plain = [line[1:] if line.startswith(b".") else line for line in lines]
        back = b"".join(line + b"\n" for line in plain)
        self.assertIn(back, (text, text + b"\r\n"))

    @given(_TEXT, st.integers(0, 5), st.lists(st.integers(0, 100)))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_excerpt(self, text: bytes, lines: int, at: list[int]) -> None:
        """However it is cut, TOP is the header, the empty line and so many lines of the body."""
        excerpt = Excerpt(lines)
        got = b""
        for piece in cut(text, at):
            if excerpt.complete:
                break
            got += excerpt.feed(piece)
        head, found, body = (b"\r\n" + text).partition(b"\r\n\r\n")
        expected = (head + found)[2:] + b"".join(body.splitlines(keepends=True)[:lines]) if found else text
        if b"\r" in body.replace(b"\r\n", b""):
            return
        self.assertEqual(got, expected)

    def test_replies(self) -> None:
        """With and without stuffing, without a last line end, and empty."""
        self.assertEqual(
            message_reply(b"+OK\r\n", b"A: b\r\n", b"\r\nx\r\n", True, None), b"+OK\r\nA: b\r\n\r\nx\r\n.\r\n"
        )
        self.assertEqual(message_reply(b"", b"", b"A: b\r\n\r\n.x", False, None), b"A: b\r\n\r\n..x\r\n.\r\n")
        self.assertEqual(message_reply(b"", b"", b"x", True, None), b"x\r\n.\r\n")
        self.assertEqual(message_reply(b"", b"", b"", True, None), b".\r\n")
        self.assertEqual(
            message_reply(b"", b"A: b\r\n", b"\r\n1\r\n2\r\n", True, 1), b"A: b\r\n\r\n1\r\n.\r\n"
        )
        self.assertEqual(message_reply(b"", b"", b"\r\nbody\r\n", True, 0), b"\r\n.\r\n")
        self.assertEqual(
            message_reply(b"", b"P: q\r\n", b"\r\n.\r\n", False, None), b"P: q\r\n\r\n..\r\n.\r\n"
        )


OFFER = Offer(stls=True, user=True, sasl=("PLAIN",))


def answers(session: Session, *pieces: bytes) -> list[Any]:
    got = []
    for piece in pieces:
        session.feed(piece)
        while (answer := session.next()) is not None:
            got.append(answer)
    return got


def transaction(*sizes: int) -> Session:
    session = Session(OFFER)
    session.opened(Drops.of(Drop(size, b"u%d" % size) for size in sizes))
    return session


class SessionTests(SynchronousTestCase):
    def test_line_limits(self) -> None:
        """A command of 255 octets is taken and one more is not; a SASL response may have 12,288."""
        session = transaction(1)
        noop = b"NOOP" + b" " * (COMMAND_LINE - 4)
        self.assertEqual(answers(session, noop + b"\r\n"), [b"+OK\r\n"])
        self.assertEqual(answers(session, noop + b" \r\n"), [b"-ERR the line is too long\r\n"])
        session = Session(OFFER)
        session.challenged(b"")
        (answer,) = answers(session, b"A" * SASL_LINE + b"\r\n")
        self.assertEqual(len(answer.response), SASL_LINE // 4 * 3)
        session.challenged(b"")
        (answer,) = answers(session, b"A" * (SASL_LINE + 1) + b"\r\n")
        self.assertEqual(answer.reply, b"-ERR the line is too long\r\n")
        self.assertIs(session.state, State.AUTHORIZATION)

    def test_no_memory_for_endless_lines(self) -> None:
        """A line that never ends is dropped as it comes."""
        session = Session(OFFER)
        for _ in range(100):
            answers(session, b"x" * 10_000)
        self.assertLessEqual(len(session._scanner), 10_000)

    def test_deletions_are_only_wished_by_quit(self) -> None:
        """DELE marks; the Update wish names what is marked, in order; without QUIT there is none."""
        session = transaction(1, 2, 3)
        got = answers(session, b"DELE 3\r\nDELE 1\r\nRETR 2\r\nQUIT\r\nSTAT\r\n")
        self.assertEqual(got[2:], [Fetch(1, None), Update((0, 2))])
        session = transaction(1, 2, 3)
        answers(session, b"DELE 1\r\n")
        session.end()
        self.assertEqual((answers(session, b"QUIT\r\n"), session.deleted), ([], set()))

    def test_stls_throws_away_what_follows(self) -> None:
        """Commands behind STLS in one segment are never seen, and USER before it is forgotten."""
        session = Session(OFFER)
        got = answers(session, b"USER bob\r\nSTLS\r\nPASS injected\r\n")
        self.assertEqual(len(got), 2)
        session.secured(Offer(user=True))
        self.assertEqual(answers(session, b"PASS x\r\n"), [b"-ERR USER first\r\n"])
        self.assertEqual(answers(session, b"STLS\r\n"), [b"-ERR TLS is not on offer\r\n"])

    def test_no_password_in_the_clear(self) -> None:
        """Where no password may be sent, USER says so before PASS can be, and CAPA has neither."""
        session = Session(Offer(stls=True, sasl=("SCRAM-SHA-256",)))
        capa, user, secret, plain = answers(session, b"CAPA\r\nUSER bob\r\nPASS x\r\nAUTH PLAIN\r\n")
        self.assertNotIn(b"\r\nUSER\r\n", capa)
        self.assertNotIn(b"PLAIN", capa)
        self.assertIn(b"STLS\r\n", capa)
        for answer in (user, secret, plain):
            self.assertTrue(answer.startswith(b"-ERR"), answer)

    def test_stls_only_where_it_can_be(self) -> None:
        """CAPA names STLS before a login and not after it."""
        session = transaction()
        self.assertNotIn(b"STLS", answers(session, b"CAPA\r\n")[0])

    def test_long_listing(self) -> None:
        """A long listing comes in pieces, each message once; commands behind it wait."""
        session = transaction(*range(1, 2 * PIECE + 2))
        session.feed(b"DELE 5\r\nLIST\r\nNOOP\r\nUIDL\r\n")
        session.next()
        pieces = []
        while (piece := session.next()) != b"+OK\r\n":
            assert isinstance(piece, bytes)
            pieces.append(piece)
        self.assertEqual(len(pieces), 3)
        lines = [b"%d %d\r\n" % (n, n) for n in range(1, 2 * PIECE + 2) if n != 5]
        self.assertEqual(b"".join(pieces).split(b"\r\n", 1)[1], b"".join((*lines, b".\r\n")))
        first = session.next()
        self.assertTrue(session.midway)
        rest = [first, session.next(), session.next()]
        self.assertFalse(session.midway)
        text = b"".join(piece for piece in rest if isinstance(piece, bytes))
        self.assertEqual(text.count(b"\r\n"), 2 * PIECE + 2)
        self.assertIn(b"\r\n2001 u2001\r\n.\r\n", text)
        self.assertIsNone(session.next())

    def test_absent_numbers_close_nothing(self) -> None:
        """Asking for messages that are not there is no sign of a broken client; unknown words are."""
        session = transaction(1)
        self.assertEqual(len(answers(session, b"RETR 2\r\n" * 500)), 500)
        self.assertIsInstance(answers(session, b"XYZZY\r\n" * 500)[-1], Close)

    @given(
        st.lists(
            st.sampled_from(
                [b"STAT", b"LIST", b"LIST 1", b"UIDL", b"DELE 1", b"DELE 2", b"RETR 2", b"TOP 1 1", b"RSET"]
                + [
                    b"NOOP",
                    b"CAPA",
                    b"QUIT",
                    b"USER x",
                    b"PASS y",
                    b"STLS",
                    b"AUTH PLAIN",
                    b"",
                    b"\xff",
                    b"X" * 300,
                ]
            )
        ),
        st.lists(st.integers(0, 5000)),
    )
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_model(self, commands: list[bytes], at: list[int]) -> None:
        """Cut anywhere, a session answers the same; its counts are those of a plain model."""
        data = b"".join(command + b"\r\n" for command in commands)
        whole, pieces = transaction(10, 20), transaction(10, 20)
        got = answers(whole, data)
        self.assertEqual(answers(pieces, *cut(data, at)), got)
        deleted: set[int] = set()
        for command, answer in zip(commands, got, strict=False):
            if command.startswith(b"DELE"):
                number = int(command[5:])
                self.assertEqual(answer.startswith(b"+OK"), number not in deleted)
                deleted.add(number)
            elif command == b"RSET":
                deleted.clear()
            elif command == b"STAT":
                left = {1: 10, 2: 20}.items()
                sizes = [size for number, size in left if number not in deleted]
                self.assertEqual(answer, b"+OK %d %d\r\n" % (len(sizes), sum(sizes)))
            elif command == b"QUIT":
                self.assertEqual(answer, Update(tuple(sorted(number - 1 for number in deleted))))

    @given(st.binary(max_size=200))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_anything(self, data: bytes) -> None:
        """Any octets in any state are answered with whole lines or wishes."""
        for session in (Session(OFFER), transaction(5)):
            for answer in answers(session, data, b"\r\n"):
                if isinstance(answer, bytes):
                    self.assertTrue(answer.startswith((b"+OK", b"-ERR")) and answer.endswith(b"\r\n"))
                else:
                    self.assertIsNotNone(answer)
        self.assertIsNotNone(LogIn)
