"""IMAP against a real process: injection, bombs of literals and parentheses, wildcards, names that lead
out."""

from __future__ import annotations

import os
import re
import socket
import ssl

from tests.hostile.memory import MIB, Meter
from tests.hostile.raw import Raw, plain, unverified
from tests.hostile.test_floods import LIMITS, FloodCase, pour

#: Names that other servers took for a place outside of the account's mailboxes (CVE-2021-40525 and its like).
WAYS_OUT = (
    "../bob/INBOX", "..", ".", "a/../../b", "/etc/passwd", "//", "a//b", "a/./b", "~bob/INBOX", "~/mbox",
    "%2e%2e/x", "&AC4ALg-/x", "&AC8-etc", "a\\\\..\\\\b", "INBOX/../../x", "#shared/x", "{5+}\r\na\0b\r\n",
    "&AAA-x", "x" * 5000, "a/" * 400 + "a", "CON", "a\tb", "&2D8-",
)  # fmt: skip

BOMBS = (
    b"b SEARCH " + b"(" * 20_000 + b"\r\n",
    b"b SEARCH " + b"NOT " * 10_000 + b"ALL\r\n",
    b"b SEARCH " + b"OR ALL " * 8_000 + b"ALL\r\n",
    b"b FETCH 1 " + b"(" * 30_000 + b"\r\n",
    b"b FETCH 1 BODY[" + b"1." * 30_000 + b"1]\r\n",
    b"b FETCH 1 BODY[HEADER.FIELDS (" + b"a " * 30_000 + b"a)]\r\n",
    b"b FETCH " + b"1," * 30_000 + b"1 FLAGS\r\n",
    b"b FETCH 4294967295:1,4294967296 FLAGS\r\n",
    b"b UID FETCH 1:4294967295 FLAGS\r\n",
    b"b STORE 1 +FLAGS (" + b"f" * 250 + b")\r\n",
    b"b STORE 1 +FLAGS (" + b" ".join(b"f%d" % n for n in range(9_000)) + b")\r\n",
    b'b LIST "" ' + b"*a" * 400 + b"b\r\n",
    b'b LIST "" ' + b"%" * 30_000 + b"\r\n",
    b'b LIST "" (' + b"* " * 30_000 + b"*)\r\n",
    b"b SEARCH TEXT {60000+}\r\n" + b"x" * 60_000 + b"\r\n",
    b"b LOGIN " + b"{0+}\r\n" * 5 + b"\r\n",
    b"b ID (" + b'"a" "b" ' * 5_000 + b")\r\n",
    b"b ENABLE" + b" X" * 30_000 + b"\r\n",
    b"b NOTIFY SET" + b" (PERSONAL NONE)" * 4_000 + b"\r\n",
    b"b GETMETADATA INBOX (" + b"/private/a " * 5_000 + b"/private/a)\r\n",
    b"b APPEND INBOX {99999999999999999999}\r\n",
    b"b SELECT INBOX (QRESYNC (1 1 " + b"1:2," * 10_000 + b"9))\r\n",
    b"b THREAD REFERENCES UTF-8 " + b"(" * 5_000 + b"ALL\r\n",
)


class IMAPTests(FloodCase):
    settings = LIMITS

    def enter(self, mailbox: str = "INBOX") -> Raw:
        client = Raw(self.server.ports["imap"])
        self.addCleanup(client.close)
        client.line()
        client.send(b"a LOGIN alice hungry\r\n")
        self.assertIn(b"a OK", client.line())
        client.send(f"s SELECT {mailbox}\r\n".encode())
        self.until(client, b"s")
        return client

    def until(self, client: Raw, tag: bytes) -> bytes:
        """The tagged response, or a BYE."""
        while True:
            line = client.line()
            if line.startswith((tag + b" ", b"* BYE", b"* BAD")):
                return line

    def test_starttls(self) -> None:
        """What comes behind STARTTLS is neither done nor answered (CVE-2011-0411, CVE-2021-33515)."""
        for behind in (b"b LOGIN alice hungry\r\n", b"b LOGIN {5+}\r\nal", b"b NOOP", b"b LOGIN {5}\r\n"):
            with Raw(self.server.ports["imap"]) as client:
                client.line()
                client.send(b"a STARTTLS\r\n" + behind)
                self.assertEqual(client.line(), b"a OK begin TLS")
                client.start_tls()
                client.send(b"c SELECT INBOX\r\n")
                self.assertEqual(client.line(), b"c BAD log in first")

    def test_other_protocols(self) -> None:
        """A browser's request, or a client of another protocol, is no session; a TLS session of imaps is not
        resumed elsewhere."""
        rider = b"\r\na LOGIN alice hungry\r\nb SELECT INBOX\r\n"
        for request in (b"POST / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\n", b"EHLO a\r\n" * 20):
            for service in ("imap", "imaps"):
                with Raw(self.server.ports[service]) as client:
                    if service == "imaps":
                        client.start_tls()
                    client.send(request + rider)
                    self.assertNotIn(b"b OK", client.rest())
        for names in (("http/1.1",), ("pop3",)):
            with Raw(self.server.ports["imaps"]) as client:
                self.assertRaises(ssl.SSLError, client.start_tls, unverified(names))
        context = unverified()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with Raw(self.server.ports["imaps"]) as client:
            client.start_tls(context)
            client.line()
            assert isinstance(client.socket, ssl.SSLSocket)
            session = client.socket.session
        for service, reused in (("imaps", True), ("pop3s", False), ("submissions", False)):
            with Raw(self.server.ports[service]) as client:
                client.start_tls(context, session)
                assert isinstance(client.socket, ssl.SSLSocket)
                self.assertEqual(client.socket.session_reused, reused, service)

    def test_aborted_logins(self) -> None:
        """Exchanges that are malformed, cancelled, endless or cut off let nobody in (CVE-2019-11494,
        CVE-2025-59028)."""
        tries = (
            b"PLAIN\r\n*", b"PLAIN ====", b"PLAIN " + b"A" * 7000, b"LOGIN\r\n*", b"LOGIN ===\r\n=",
            b"SCRAM-SHA-256 biws", b"SCRAM-SHA-256\r\n\r\n", b"PLAIN AA==", b"PLAIN\r\n" + b"A" * 20_000,
            b"PLAIN " + plain("alice@flood.test", "hungry\0"), b"PLAIN " + plain("alice", "hungry", "bob"),
            b"PLAIN {3}\r\nabc", b"", b"PLAIN =",
        )  # fmt: skip
        for octets in tries:
            with Raw(self.server.ports["imap"]) as client:
                client.send(b"a AUTHENTICATE " + octets + b"\r\n")
                client.socket.shutdown(socket.SHUT_WR)
                self.assertNotIn(b"a OK", client.rest(), octets)
        with Raw(self.server.ports["imap"]) as client:
            client.send(b"a AUTHENTICATE PLAIN\r\n" + plain("alice", "hungry")[:10])
        self.enter()
        self.assertNoFault()

    def test_names_alike(self) -> None:
        """A name that exists and one that does not get the same answer; no name forges a line of the log."""
        for form in ("a LOGIN {} wrong\r\n", 'a LOGIN "{}" "wr\\"ong"\r\n'):
            answers = set()
            for name in ("alice", "nobody", "alice@flood.test", "x@elsewhere.test"):
                with Raw(self.server.ports["imap"]) as client:
                    client.line()
                    client.send(form.format(name).encode())
                    answers.add(client.line())
            self.assertEqual(answers, {b"a NO [AUTHENTICATIONFAILED] wrong name or password"})
        evil = b'bob\x1b[31m\xff\n{"event":"login"}'
        with Raw(self.server.ports["imap"]) as client:
            client.line()
            literal = b"{%d+}\r\n%b" % (len(evil), evil)
            client.send(b'a ID ("name" %b)\r\nb LOGIN %b x\r\n' % (literal, literal))
            client.line()
        self.server.wait_for("login refused", service="imap")
        self.assertNoFault()

    def test_bombs(self) -> None:
        """Commands made to be expensive are answered, or the client is told to go; each costs little, and
        others are served."""
        self.assertServing()
        client = self.enter()
        client.send(b"a APPEND INBOX {12+}\r\nSubject: x\r\n\r\n")
        self.assertIn(b"a OK", self.until(client, b"a"))
        for bomb in BOMBS:
            client = self.enter()
            meter = Meter(self.server)
            client.send(bomb)
            answer = self.until(client, b"b")
            self.assertRegex(answer, rb"^(b (OK|NO|BAD)|\* B(YE|AD)) ", bomb[:40])
            self.assertLess(meter.peak, 24 * MIB, bomb[:40])
            self.assertLess(meter.seconds, 5, bomb[:40])
            client.close()
        self.assertServing()
        self.assertNoFault()

    def test_literals(self) -> None:
        """Literals without end, huge, many, empty, before and after a login: memory is bounded
        (CVE-2024-34055, CVE-2024-37358, CVE-2026-27857)."""
        self.assertServing()
        for beginning, piece in (
            (b"a LOGIN {4096+}\r\n", b"x" * MIB),
            (b"a LOGIN {9999999999+}\r\n", b"x" * MIB),
            (b"a LOGIN ", b"{0+}\r\n " * 100_000),
            (b"", b"a LOGIN {0+}\r\n {0+}\r\n\r\n" * 50_000),
            (b"a NOOP ", b"(" * MIB),
        ):
            with Raw(self.server.ports["imap"]) as client:
                client.line()
                meter = Meter(self.server)
                pour(client, beginning + piece, 20)
                self.assertServing()
                self.assertLess(meter.peak, 4 * MIB, beginning)
        for beginning, piece in (
            (b"a APPEND nowhere {9999999999+}\r\n", b"x" * MIB),
            (b"a SEARCH TEXT {9999999999+}\r\n", b"x" * MIB),
            (b"a SEARCH ", b"{0+}\r\n " * 100_000),
            (b"", b"a FETCH 1:* (UID FLAGS ENVELOPE)\r\n" * 10_000),
            (b"", b'a LIST "" *\r\n' * 50_000),
            (b"a IDLE\r\n", b"x" * MIB),
        ):
            client = self.enter()
            meter = Meter(self.server)
            pour(client, beginning + piece, 20)
            self.assertServing()
            self.assertLess(meter.peak, 8 * MIB, beginning + piece[:30])
            client.close()
        self.assertNoFault()

    def test_names_that_lead_out(self) -> None:
        """No name of a mailbox is a place on the disk: each is refused, or is a mailbox of that name."""
        before = {path: os.listdir(path) for path in (self.server.folder, self.server.folder / "data")}
        client = self.enter()
        for name in WAYS_OUT:
            octets = name.encode() if name.startswith("{") else b'"%b"' % name.encode()
            for command in (b"CREATE", b"SELECT", b"SUBSCRIBE", b"RENAME INBOX", b"DELETE"):
                if client is None:
                    client = self.enter()
                client.send(b"n %b %b\r\n" % (command, octets))
                answer = self.until(client, b"n")
                if not answer.startswith(b"n "):
                    client.close()
                    client = None
        client = self.enter()
        client.send(b'l LIST "" *\r\n')
        listed = []
        while not (line := client.line()).startswith(b"l "):
            listed.append(line)
        names = [re.sub(rb'^\* LIST \([^)]*\) "/" ', b"", line) for line in listed]
        self.assertFalse([name for name in names if b".." in name.split(b"/")])
        after = {path: os.listdir(path) for path in before}
        self.assertEqual({p: set(n) - set(before[p]) for p, n in after.items()}, {p: set() for p in before})
        self.assertNoFault()
