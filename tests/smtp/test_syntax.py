"""Command lines, paths, parameters and replies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.address import Address
from mailftp.smtp.syntax import (
    Reply,
    SyntaxFault,
    parse_auth,
    parse_auth_response,
    parse_hello,
    parse_mail,
    parse_rcpt,
    split_command,
)

ALL = frozenset({"SIZE", "BODY", "AUTH"})


class CommandTests(SynchronousTestCase):
    def test_split(self) -> None:
        """Verb and argument; blanks around are tolerated, tabs too."""
        for line, expected in {
            b"QUIT": ("QUIT", b""),
            b"quit  ": ("QUIT", b""),
            b"HELO\tycp.edu ": ("HELO", b"ycp.edu"),
            b"mail  FROM:<a@b>": ("MAIL", b"FROM:<a@b>"),
        }.items():
            self.assertEqual(split_command(line), expected)

    def test_not_a_command(self) -> None:
        """An empty line, a number, a control octet, a letter beyond ASCII: 500."""
        for line in (b"", b" NOOP", b"123", b"NO\0OP", b"NOOP a\rb", b"NOOP \x1b[A", b"\xc3\xa9", b"A" * 17):
            self.assertEqual(self.assertRaises(SyntaxFault, split_command, line).reply.code, 500, line)

    def test_hello(self) -> None:
        """Real names are taken, with underscores and literals; what could end a field or comment is not."""
        for name in (b"ycp.edu", b"my_pc", b"[192.0.2.1]", b"[IPv6:2001:db8::1]", b"localhost", b"a-b.c"):
            self.assertEqual(parse_hello("HELO", name), name.decode())
        for name in (b"", b"a b", b"a(b)", b"a;b", b"<a>", b"a\xff", b"[", b"[]", b"x" * 256, b'"a"'):
            self.assertEqual(self.assertRaises(SyntaxFault, parse_hello, "EHLO", name).reply.code, 501, name)


class AuthTests(SynchronousTestCase):
    def test_initial_response(self) -> None:
        """None, empty and some are three things."""
        self.assertEqual(parse_auth(b"plain"), ("PLAIN", None))
        self.assertEqual(parse_auth(b"PLAIN ="), ("PLAIN", b""))
        self.assertEqual(parse_auth(b"SCRAM-SHA-256-PLUS  YQ=="), ("SCRAM-SHA-256-PLUS", b"a"))

    def test_bad(self) -> None:
        """Neither a mechanism's name nor base64 may hold anything else."""
        for argument in (
            b"",
            b"PLAIN YQ== YQ==",
            b"PLAIN YQ",
            b"PLAIN Y Q=",
            b"PLAIN *",
            b"PL;AIN",
            b"A" * 21,
            b"PLAIN \xff",
        ):
            self.assertEqual(self.assertRaises(SyntaxFault, parse_auth, argument).reply.code, 501, argument)
        for line in (b"*", b"YQ", b"YQ==YQ==", b"Y\nQ=", b" YQ=="):
            self.assertEqual(self.assertRaises(SyntaxFault, parse_auth_response, line).reply.code, 501, line)
        self.assertEqual(parse_auth_response(b""), b"")


class PathTests(SynchronousTestCase):
    def test_paths(self) -> None:
        """With brackets or without, with blanks where people type them, source routes dropped."""
        for argument in (
            b"FROM:<a@b.test>",
            b"from:<a@b.test>",
            b"FROM: <a@b.test>",
            b"FROM : < a@b.test >",
            b"FROM: a@b.test",
            b"FROM:a@B.test",
            b"FROM:<@x.test,@y.test:a@b.test>",
        ):
            self.assertEqual(parse_mail(argument, ALL).sender, Address("a", "b.test"), argument)

    def test_odd_paths(self) -> None:
        """Quoted local parts may hold brackets, blanks and escapes; literals are domains."""
        self.assertEqual(parse_mail(b'FROM:<"a >b"@c.test> SIZE=1', ALL).sender, Address("a >b", "c.test"))
        self.assertEqual(parse_mail(rb'FROM:<"a\"b"@c.test>', ALL).sender, Address('a"b', "c.test"))
        self.assertEqual(parse_mail(b"FROM:<a@[127.0.0.1]>", ALL).sender, Address("a", "[127.0.0.1]"))
        self.assertIsNone(parse_mail(b"FROM:<>", ALL).sender)
        self.assertEqual(parse_rcpt(b"TO:<postMaster>", frozenset()).recipient, Address("postMaster", ""))

    def test_bad_paths(self) -> None:
        """What is no path is refused with 501, or 553 beyond ASCII."""
        for argument in (
            b"",
            b"FROM",
            b"FROM:",
            b"FROM:<a@b.test",
            b"FROM:a@b.test>",
            b"FROM:<a@b.test>x",
            b"TO:<a@b>",
            b"FROM:<a b@c.test>",
            b"FROM:<a>",
            b"FROM:<@x.test:>",
            b"FROM:<<a@b.test>>",
            b"FROM:<a@b@c d>",
            b"FROM:<a@b..test>",
            b"FROM:<" + b"a" * 65 + b"@b.test>",
        ):
            fault = self.assertRaises(SyntaxFault, parse_mail, argument, ALL)
            self.assertEqual(fault.reply.code, 501, argument)
        self.assertEqual(
            self.assertRaises(SyntaxFault, parse_mail, b"FROM:<\xff@b.test>", ALL).reply.code, 553
        )
        self.assertEqual(self.assertRaises(SyntaxFault, parse_rcpt, b"TO:<>", ALL).reply.code, 501)

    def test_parameters(self) -> None:
        """Keywords in any case; values strictly, so that no number of Python's is one of ours."""
        mail = parse_mail(b"FROM:<a@b.test> size=0123 BODY=8bitMIME", ALL)
        self.assertEqual((mail.size, mail.parameters["BODY"]), (123, "8bitMIME"))
        self.assertEqual(parse_mail(b"FROM:<a@b.test>", ALL).size, 0)
        for words in (
            b"SIZE",
            b"SIZE=",
            b"SIZE=1_0",
            b"SIZE=+1",
            b"SIZE=-1",
            "SIZE=\u0663".encode(),
            b"SIZE=" + b"9" * 21,
            b"SIZE=1 SIZE=1",
            b"BODY=x",
            b"BODY=",
            b"=x",
            b"AUTH=a b=",
            b"AUTH=+zz",
            b"SIZE=1=2",
        ):
            fault = self.assertRaises(SyntaxFault, parse_mail, b"FROM:<a@b.test> " + words, ALL)
            self.assertIn(fault.reply.code, (501, 555), words)
        fault = self.assertRaises(SyntaxFault, parse_mail, b"FROM:<a@b.test> SIZE=1", frozenset())
        self.assertEqual(fault.reply.code, 555)

    def test_anything(self) -> None:
        """No octets make a parser do anything but answer or refuse, and quickly."""

        @settings(max_examples=400, deadline=None, derandomize=True)
        @given(st.binary(max_size=200) | st.text('<>"\\@:, a', max_size=60).map(str.encode))
        def check(octets: bytes) -> None:
            for parse in (
                split_command,
                lambda o: parse_hello("EHLO", o),
                lambda o: parse_mail(b"FROM:" + o, ALL),
                lambda o: parse_rcpt(b"TO:" + o, ALL),
            ):
                try:
                    parse(octets)
                except SyntaxFault as fault:
                    self.assertIn(fault.reply.code, (500, 501, 553, 555))

        check()

    def test_hostile_quotes(self) -> None:
        """Quotes and backslashes by the thousand do not make the path slow to refuse."""
        for octets in (b'"' * 2000, b'<"' + b'\\"' * 1000, b'<""' * 700, b"<" * 2000, b'<"a"' * 500 + b">"):
            self.assertRaises(SyntaxFault, parse_mail, b"FROM:" + octets, ALL)


class ReplyTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Code and enhanced code on each line, a hyphen on all but the last."""
        self.assertEqual(Reply(250, "2.0.0", "OK").encode(), b"250 2.0.0 OK\r\n")
        self.assertEqual(Reply(250, "", "a\nB").encode(), b"250-a\r\n250 B\r\n")
        self.assertEqual(Reply(334, "", "").encode(), b"334 \r\n")

    def test_nothing_ends_a_line(self) -> None:
        """Whatever a client said, no octet of it ends our line or reaches a terminal as a control."""
        self.assertEqual(Reply(550, "5.1.1", "a\rb\x1b\u2028\u00e9").encode(), b"550 5.1.1 a?b???\r\n")

    def test_long_lines_are_cut(self) -> None:
        """No line has more than 512 octets."""
        for line in Reply(550, "5.1.1", "x" * 2000).encode().split(b"\r\n"):
            self.assertLessEqual(len(line), 510)
        self.assertEqual(Reply(550, "5.1.1", "x" * 2000).encode().count(b"x"), 2000)


class OriginalRecipientTests(SynchronousTestCase):
    def orcpt(self, value: bytes) -> str:
        return parse_rcpt(b"TO:<b@b.test> ORCPT=" + value, frozenset({"ORCPT"}), True).orcpt

    def test_octets_of_utf8(self) -> None:
        """Postfix says an address beyond ASCII as xtext of its octets; it is told on as what it is."""
        self.assertEqual(self.orcpt(b"rfc822;j+C3+BCrgen@b.test"), "utf-8;jürgen@b.test")
        self.assertEqual(self.orcpt("utf-8;jürgen@b.test".encode()), "utf-8;jürgen@b.test")
        self.assertEqual(self.orcpt(b"rfc822;a+2Bb@c.test"), "rfc822;a+b@c.test")

    def test_no_address(self) -> None:
        """Octets that are no UTF-8, and control characters, are refused."""
        for value in (b"rfc822;j+FF@b.test", b"rfc822;j+C2+80@b.test", b"rfc822;j+0A@b.test"):
            self.assertRaises(SyntaxFault, self.orcpt, value)
