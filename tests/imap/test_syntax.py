"""Commands out of octets, and what they say: RFC 3501 section 9, RFC 9051 section 9, RFC 7888."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.parser import MAX_DEPTH, Parser, SyntaxFault
from mailftp.imap.scanner import (
    COMMAND,
    COMMAND_BEFORE_LOGIN,
    DROPPED,
    LITERAL_BEFORE_LOGIN,
    LITERAL_MINUS,
    Broken,
    CommandScanner,
    CommandText,
    Continue,
    Event,
    Fault,
    Message,
)
from mailftp.imap.sequence import SAVED, parse_set

REFUSED = 13


def events(
    pieces: Iterable[bytes], authenticated: bool = True, literal_minus: bool = False
) -> list[Event | bytes]:
    """Everything that comes of it; messages as their octets, those of REFUSED octets are refused."""
    scanner = CommandScanner(literal_minus)
    scanner.authenticated = authenticated
    found: list[Event | bytes] = []
    message: list[bytes] | None = None
    for piece in pieces:
        scanner.feed(piece)
        while True:
            if message is not None:
                while taken := scanner.take(7):
                    message.append(taken)
                if scanner.message_left:
                    break
                found.append(b"".join(message))
                message = None
            event = scanner.next()
            if event is None:
                break
            found.append(event)
            if isinstance(event, Message):
                if event.octets == REFUSED:
                    scanner.refuse("no")
                else:
                    scanner.accept()
                    message = []
    return found


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(edge % (len(data) + 1) for edge in at)})
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


class ScannerTests(SynchronousTestCase):
    def check(self, data: bytes, expected: list[Event | bytes], **options: Any) -> None:
        """The same whole, octet by octet, and cut once at each place."""
        self.assertEqual(events([data], **options), expected)
        self.assertEqual(events((data[i : i + 1] for i in range(len(data))), **options), expected)
        if len(data) < 500:
            for at in range(len(data)):
                self.assertEqual(events([data[:at], data[at:]], **options), expected, at)

    def test_literals(self) -> None:
        """Waited for, sent unasked, empty, with line ends and announcements in them."""
        self.check(
            b"a LOGIN {5}\r\nalice {3+}\r\n\r\n{ {0+}\r\n\r\nb NOOP\r\n\r\n",
            [
                Continue(),
                CommandText(b"a LOGIN {5}\r\nalice {3+}\r\n\r\n{ {0+}\r\n"),
                CommandText(b"b NOOP"),
                CommandText(b""),
            ],
            authenticated=False,
        )

    def test_messages(self) -> None:
        """RFC 3502: several, each with what stands before it; the mailbox may be a literal and is none."""
        self.check(
            b"a append {5}\r\nINBOX (\\Seen) {6}\r\nx\r\n{9} (\\Draft) ~{2+}\r\n\0y\r\nb NOOP\r\n",
            [
                Continue(),
                Message(b"a append {5}\r\nINBOX (\\Seen) ", 6, True, False),
                b"x\r\n{9}",
                Message(b" (\\Draft) ", 2, False, True),
                b"\0y",
                CommandText(b""),
                CommandText(b"b NOOP"),
            ],
        )
        self.check(
            b"a UID REPLACE 7 {1+}\r\nb {0}\r\n\r\n",
            [Message(b"a UID REPLACE 7 {1+}\r\nb ", 0, True, False), b"", CommandText(b"")],
        )
        self.check(
            b'a REPLACE * "c" {1+}\r\nx\r\n',
            [Message(b'a REPLACE * "c" ', 1, False, False), b"x", CommandText(b"")],
        )

    def test_no_message_before_login(self) -> None:
        """A literal of an APPEND is one as any other, within its limit."""
        self.check(b"a APPEND b {2+}\r\nxy\r\n", [CommandText(b"a APPEND b {2+}\r\nxy")], authenticated=False)
        self.check(
            b"a APPEND b {99999}\r\nb NOOP\r\n",
            [Fault(b"a", "a literal has more than 4096 octets"), CommandText(b"b NOOP")],
            authenticated=False,
        )

    def test_refused_message(self) -> None:
        """A client that waits sends nothing more; of one that does not, all is dropped with what it holds."""
        after = b"b NOOP\r\n"
        self.check(
            b"a APPEND c {13}\r\n" + after,
            [Message(b"a APPEND c ", 13, True, False), Fault(b"a", "no"), CommandText(b"b NOOP")],
        )
        self.check(
            b"a APPEND c {13+}\r\n12345\r\nx NOOP {8+}\r\ny NOOP\r\n\r\n" + after,
            [Message(b"a APPEND c ", 13, False, False), Fault(b"a", "no"), CommandText(b"b NOOP")],
        )
        self.check(
            b"a APPEND c {13+}\r\n12345\r\nx NOOP {8}\r\n" + after,
            [Message(b"a APPEND c ", 13, False, False), Fault(b"a", "no"), CommandText(b"b NOOP")],
        )

    def test_literal_minus(self) -> None:
        """RFC 7888 section 5: a longer one has to wait; it is dropped, messages too."""
        for before in (b"a SEARCH TEXT", b"a APPEND b"):
            data = before + b" {4097+}\r\n" + b"x NOOP\r\n" * 512 + b"y\r\nb NOOP\r\n"
            fault = Fault(b"a", "a literal of more than 4096 octets has to wait for the server")
            self.check(data, [fault, CommandText(b"b NOOP")], literal_minus=True)
        self.check(
            b"a APPEND b {4097}\r\n" + b"x" * 4097 + b"\r\n",
            [Message(b"a APPEND b ", 4097, True, False), b"x" * 4097, CommandText(b"")],
            literal_minus=True,
        )
        self.assertEqual(LITERAL_MINUS, 4096)

    def test_limits(self) -> None:
        """Of a line, of a literal, and of all literals of a command together."""
        for authenticated, most in ((False, COMMAND_BEFORE_LOGIN), (True, COMMAND)):
            exact = b"a " + b"x" * (most - 2)
            self.assertEqual(events([exact + b"\r\n"], authenticated), [CommandText(exact)])
            self.assertIsInstance(events([exact + b"x"], authenticated)[0], Broken)
            small = b"{1000+}\r\n" + b"y" * 1000
            (fault, last) = events([b"a " + small * (most // 1000 + 1) + b"\r\nb NOOP\r\n"], authenticated)
            self.assertEqual(fault, Fault(b"a", f"a command has more than {most} octets"))
            self.assertEqual(last, CommandText(b"b NOOP"))
        self.check(
            b"a LOGIN {%d}\r\n" % (LITERAL_BEFORE_LOGIN + 1),
            [Fault(b"a", f"a literal has more than {LITERAL_BEFORE_LOGIN} octets")],
            authenticated=False,
        )

    def test_bombs(self) -> None:
        """What would have to be read without end breaks the connection; nothing is read after that."""
        for announced in (b"{%d+}" % (DROPPED + 1), b"{" + b"9" * 30 + b"+}"):
            found = events([b"a LOGIN " + announced + b"\r\nb NOOP\r\n", b"c NOOP\r\n"])
            self.assertEqual([type(event) for event in found], [Broken])
        self.check(b"a LOGIN {99999999999999999999}\r\n", [Fault(b"a", "no literal can be as long")])
        # A million empty literals, in one command.
        found = events([b"a " + b"{0+}\r\n" * 1_000_000], authenticated=False)
        self.assertEqual([type(event) for event in found], [Broken])

    def test_memory(self) -> None:
        """Before login the scanner holds a command at most, whatever is fed."""
        for octets in (b"x", b"{0+}\r\n", b"{4096+}\r\n" + b"x" * 4096, b"x NOOP\r\n"):
            scanner = CommandScanner()
            for _ in range(3000):
                scanner.feed(octets)
                while scanner.next() is not None:
                    pass
                self.assertLessEqual(len(scanner), COMMAND_BEFORE_LOGIN + 2)

    def test_tags(self) -> None:
        """A fault has the tag of its command, if that is one."""
        for line, tag in ((b"a.1", b"a.1"), (b"+", None), (b"", None), (b"a" * 256, None), (b"a(", None)):
            self.assertEqual(
                events([line + b" {99999}\r\n"]), [Fault(tag, "a literal has more than 65536 octets")]
            )

    def test_lines_and_clear(self) -> None:
        """Lines of a SASL exchange between commands; STARTTLS throws away."""
        scanner = CommandScanner()
        scanner.feed(b"a AUTHENTICATE X\r\n{5}\r\nb STARTTLS\r\nc NOOP\r\nd {3")
        self.assertEqual(scanner.next(), CommandText(b"a AUTHENTICATE X"))
        self.assertEqual(scanner.line(100), b"{5}")
        self.assertEqual(scanner.next(), CommandText(b"b STARTTLS"))
        scanner.clear()
        self.assertEqual(len(scanner), 0)
        scanner.feed(b"e {3}\r\nx")
        self.assertEqual(scanner.next(), Continue())
        with self.assertRaises(RuntimeError):
            scanner.line(100)

    @given(
        st.lists(
            st.sampled_from([
                b"a APPEND b ", b"{3+}\r\n", b"{13}\r\n", b"{13+}\r\n", b"~{2}\r\n", b"x NOOP", b"\r\n",
                b"{5000+}\r\n",
                b"{", b"}", b"\r", b"\n", b" ", b"abc", b"y" * 900, b"{2000000+}\r\n",
            ]),
            max_size=25,
        ).map(b"".join),
        st.lists(st.integers(0, 20000), max_size=6),
        st.booleans(),
        st.booleans(),
    )  # fmt: skip
    @settings(max_examples=400, deadline=None, derandomize=True)
    def test_any_cut(self, data: bytes, at: list[int], authenticated: bool, minus: bool) -> None:
        """The same events however the network cuts it."""
        self.assertEqual(events(cut(data, at), authenticated, minus), events([data], authenticated, minus))


class ParserTests(SynchronousTestCase):
    def refuse(self, text: bytes, read: Callable[[Parser], object], reason: str) -> None:
        with self.assertRaises(SyntaxFault, msg=repr(text)) as caught:
            read(Parser(text))
        self.assertIn(reason, str(caught.exception))

    def test_command(self) -> None:
        """From left to right, literals read in place."""
        parser = Parser(b'a1  login {5}\r\nalice "p\\"\\\\w" ')
        self.assertEqual(parser.tag(), b"a1")
        parser.space()
        self.assertEqual(parser.keyword(), b"LOGIN")
        parser.space()
        self.assertEqual(parser.astring(), b"alice")
        parser.space()
        self.assertEqual(parser.peek(), b'"')
        self.assertEqual(parser.astring(), b'p"\\w')
        parser.end()

    def test_strings(self) -> None:
        """Each form where it may stand."""
        self.assertEqual(Parser(b"a]b").astring(), b"a]b")
        self.assertEqual(Parser(b"a]b").atom(), b"a")
        self.assertEqual(Parser(b"nil").nstring(), None)
        self.assertEqual(Parser(b'""').nstring(), b"")
        self.assertEqual(Parser(b"~{2+}\r\n\0x").string(binary=True), b"\0x")
        self.assertEqual(Parser('"é"'.encode()).string(), "é".encode())
        for text in (b'"a', b'"a\\b"', b'"a\r\n"', b'"a\0"', b'"', b'"\\"'):
            self.refuse(text, Parser.string, "quoted string")
        for text in (b"a", b"", b"{3}", b"{a}\r\n", b"{-1}\r\n", b"~{1}\r\nx", b"{99999999999999999999}\r\n"):
            self.refuse(text, Parser.string, "a string is expected")
        self.refuse(b"{3}\r\nab", Parser.string, "not whole")
        self.refuse(b"{1}\r\n\0", Parser.string, "NUL")
        self.refuse(b"nill", Parser.nstring, "NIL is expected at octet 1")
        for text in (b"", b"(", b"a b"[1:], b"\x00", "é".encode()):
            self.refuse(text, Parser.astring, "is expected")

    def test_numbers(self) -> None:
        """ASCII digits within a range."""
        self.assertEqual(Parser(b"4294967295").nz_number(), 4294967295)
        self.assertEqual(Parser(b"9223372036854775807").number(0, 2**63 - 1), 2**63 - 1)
        for text in (b"4294967296", b"-1", b"", b"+1", b"\xd9\xa1", b"9" * 40):
            self.refuse(text, Parser.number, "is expected at octet 1")
        self.refuse(b"0", Parser.nz_number, "from 1 to")
        self.refuse(
            b"1_0", lambda parser: (parser.number(), parser.end()), "nothing more is expected at octet 2"
        )

    def test_sets(self) -> None:
        """A set, or $."""
        self.assertEqual(Parser(b"1:3,* x").sequence_set(), parse_set(b"1:3,*"))
        self.assertEqual(Parser(b"$").sequence_set(), SAVED)
        for text in (b"0", b"1,,2", b"x", b"", b"4294967296"):
            self.refuse(text, Parser.sequence_set, "number")

    def test_flags(self) -> None:
        """With and without parentheses; \\Recent is passed over."""
        self.assertEqual(Parser(b"()").flag_list(), ())
        self.assertEqual(Parser(b"(\\seen $Forwarded  a )").flag_list(), ("\\seen", "$Forwarded", "a"))
        self.assertEqual(Parser(b"(\\Recent \\Draft)").flag_list(), ("\\Draft",))
        self.assertEqual(Parser(b"\\Seen Junk").flags(), ("\\Seen", "Junk"))
        self.assertEqual(Parser(b"(a)").flags(), ("a",))
        for text in (
            b"(",
            b"(a",
            b"(a,b(",
            b"(\\Foo)",
            b"(\\*)",
            b"(])",
            b"(\\)",
            b"a",
            b"(" + b"a" * 256 + b")",
        ):
            with self.assertRaises(SyntaxFault, msg=repr(text)):
                Parser(text).flag_list()

    def test_dates(self) -> None:
        """RFC 3501 section 9: date and date-time."""
        for text in (b"1-Feb-1994", b'"01-feb-1994"'):
            self.assertEqual(Parser(text).date(), datetime.date(1994, 2, 1))
        zone = datetime.timezone(-datetime.timedelta(hours=8))
        expected = datetime.datetime(1994, 2, 7, 21, 52, 25, tzinfo=zone)
        for text in (
            b'" 7-Feb-1994 21:52:25 -0800"',
            b'"07-FEB-1994 21:52:25 -0800"',
            b'"7-Feb-1994 21:52:25 -0800"',
        ):
            found = Parser(text).date_time()
            self.assertEqual((found, found.utcoffset()), (expected, expected.utcoffset()))
        self.assertEqual(Parser(b'"31-Dec-2016 23:59:60 +0000"').date_time().second, 59)
        for text in (
            b"30-Feb-1994",
            b"1-Foo-1994",
            b"0-Feb-1994",
            b"1-Feb-0000",
            b'"1-Feb-1994',
            b"1-2-1994",
            b"",
        ):
            with self.assertRaises(SyntaxFault, msg=repr(text)):
                Parser(text).date()
        for text in (
            b'"31-Feb-1994 21:52:25 -0800"', b'"01-Feb-1994 24:00:00 -0800"', b'"01-Feb-1994 21:52:25 -0860"',
            b'"01-Feb-1994 21:52:25 +2400"', b'"01-Feb-1994 21:52:61 +0000"', b'"01-Feb-1994 21:52:25"',
            b'" "',
        ):  # fmt: skip
            with self.assertRaises(SyntaxFault, msg=repr(text)):
                Parser(text).date_time()

    def test_mailboxes(self) -> None:
        """Modified UTF-7, or UTF-8 once that is enabled; a pattern has wildcards outside of strings."""
        self.assertEqual(Parser(b"inbox").mailbox(), "INBOX")
        self.assertEqual(Parser(b'"Entw&APw-rfe"').mailbox(), "Entw\u00fcrfe")
        self.assertEqual(Parser('"Entwürfe"'.encode(), utf8=True).mailbox(), "Entw\u00fcrfe")
        self.assertEqual(Parser(b"%/a*").list_mailbox(), "%/a*")
        self.assertEqual(Parser(b'"a b%"').list_mailbox(), "a b%")
        self.refuse(b"a&b", Parser.mailbox, "&- at octet 1")
        self.refuse('"ü"'.encode(), Parser.mailbox, "modified UTF-7")
        self.refuse(b"a%", lambda parser: (parser.mailbox(), parser.end()), "nothing more")

    def test_nesting(self) -> None:
        """Parentheses are bounded, side by side they are not."""
        parser = Parser(b"(" * (MAX_DEPTH + 1))
        for _ in range(MAX_DEPTH):
            parser.open()
        with self.assertRaises(SyntaxFault):
            parser.open()
        parser = Parser(b"()" * (MAX_DEPTH * 3))
        for _ in range(MAX_DEPTH * 3):
            parser.open()
            parser.close()
        parser.end()
        self.refuse(b"x", Parser.open, "( is expected at octet 1")

    @given(
        st.binary(max_size=30)
        | st.lists(st.sampled_from([b'"', b"\\", b"{3}\r\n", b"~", b"(", b")", b" ", b"a", b"1", b":",
                                    b",", b"&", b"-Jan-", b"2020"])).map(b"".join)
    )  # fmt: skip
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_anything(self, text: bytes) -> None:
        """Whatever comes is read or refused, and a fault is ASCII and one line."""
        for read in (
            Parser.tag, Parser.atom, Parser.keyword, Parser.astring, Parser.string, Parser.nstring,
            Parser.number, Parser.nz_number, Parser.sequence_set, Parser.flag_list, Parser.flags, Parser.date,
            Parser.date_time, Parser.mailbox, Parser.list_mailbox, Parser.open, Parser.close,
            Parser.space, Parser.end,
        ):  # fmt: skip
            try:
                read(Parser(text))  # type: ignore[operator]
            except SyntaxFault as fault:
                self.assertTrue(str(fault).isascii() and str(fault).isprintable())
