"""Attacks that have worked against other servers, one by one, against the whole server."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.connector import connect
from tests.smtp.servers import PLAIN_ALICE, PLAIN_WRONG, ServerTestCase

HELLO = b"EHLO client.test\r\n"
ENVELOPE = b"MAIL FROM:<z@far.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"
SMUGGLED = b"MAIL FROM:<evil@far.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSmuggled.\r\n.\r\n"


class SmugglingTests(ServerTestCase):
    """CVE-2023-51764 (Postfix), 51765 (Sendmail), 51766 (Exim), 52354 (chasquid), CVE-2024-27305."""

    def test_no_second_message(self) -> None:
        """Whatever stands between text and dot and commands, short of CR LF . CR LF, bob gets nothing: on the
        MX the message is refused, on submission the commands are text."""
        from_alice = b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"
        count = 0
        for before, after in product((b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\n", b"\0\r\n"), repeat=2):
            odd = b"First." + before + b"." + after
            if b"\r\n.\r\n" in odd:
                continue
            count += 1
            mx = connect(self.serve("smtp"))
            mx.exchange(HELLO)
            submission = connect(self.serve("submissions"))
            submission.exchange(HELLO + PLAIN_ALICE)
            self.assertEqual(self.codes(mx, ENVELOPE + odd + SMUGGLED)[3:], [b"550"], odd)
            answer = self.codes(submission, from_alice + odd + SMUGGLED)
            self.assertEqual(answer[3:], [b"550" if b"\0" in odd else b"250"], odd)
        self.assertGreater(count, 25)
        self.assertEqual(self.boxes(self.bob)["INBOX"], 0)
        for message in self.inbox(self.alice):
            self.assertIn(b"Smuggled.", message)
            self.assertEqual(message.count(b"\n"), message.count(b"\r\n"))
            self.assertEqual(message.count(b"\r"), message.count(b"\r\n"))

    def test_line_too_long_in_data(self) -> None:
        """A line longer than any buffer does not put the session back to reading commands."""
        mx = connect(self.serve("smtp"))
        mx.exchange(HELLO + ENVELOPE)
        for _ in range(10):
            mx.send(b"x" * 50_000)
        self.assertEqual(self.codes(mx, b"\r\n" + SMUGGLED[:-3]), [])
        self.assertEqual(self.codes(mx, b".\r\n"), [b"250"])
        self.assertEqual(self.boxes(self.bob)["INBOX"], 0)


class InjectionTests(ServerTestCase):
    def test_commands_behind_starttls(self) -> None:
        """Commands in the segment of STARTTLS, or before the handshake, are never executed, not even half of
        one (CVE-2011-0411, CVE-2021-33515, CVE-2021-38542)."""
        for behind in (b"MAIL FROM:<x@y.test>\r\n", b"MAIL FR", b"NOOP\r\n" * 1000):
            client = connect(self.serve("smtp"))
            client.exchange(HELLO)
            self.assertEqual(client.exchange(b"STARTTLS\r\n" + behind), b"220 2.0.0 Ready to start TLS\r\n")
            client.start_tls()
            self.assertEqual(client.received(), b"")
            self.assertEqual(self.codes(client, b"OM:<x@y.test>\r\n"), [b"500"])
            self.assertEqual(self.codes(client, b"RCPT TO:<alice@example.test>\r\n"), [b"503"])

    def test_transaction_across_starttls(self) -> None:
        """A transaction cannot begin in clear and end under TLS."""
        client = connect(self.serve("smtp"))
        client.exchange(HELLO + b"MAIL FROM:<x@y.test>\r\n")
        self.assertEqual(self.codes(client, b"STARTTLS\r\n"), [b"503"])

    def test_nothing_of_the_client_ends_a_header_line(self) -> None:
        """Names that try to break out of the Received field are refused or defused."""
        client = connect(self.serve("smtp"))
        client.received()
        for name in (b"a\rX-Evil: 1", b"a)", b"a;b", b"a\x00b"):
            self.assertIn(self.codes(client, b"HELO " + name + b"\r\n")[0], (b"501", b"500"))
            client = connect(self.serve("smtp"))
            client.received()
        client.exchange(HELLO)
        self.codes(client, b'MAIL FROM:<"a b\\"c>"@x.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n')
        client.exchange(b"hi\r\n.\r\n")
        (message,) = self.inbox(self.alice)
        self.assertTrue(message.startswith(b'Return-Path: <"a b\\"c>"@x.test>\r\nDelivered-To: '))

    def test_aborted_logins(self) -> None:
        """Malformed, endless and abandoned AUTH exchanges (CVE-2019-11494, CVE-2025-59028) harm nobody."""
        said = [
            b"AUTH PLAIN ====\r\n",
            b"AUTH PLAIN A\r\n",
            b"AUTH PLAIN " + b"A" * 20_000 + b"\r\n",
            b"AUTH PLAIN\r\n\xff\xfe\r\n",
            b"AUTH LOGIN\r\n\r\n",
            b"AUTH PLAIN AAAA\r\n",
            b"AUTH  PLAIN\r\n*\r\n",
            b"AUTH PLAIN AGFsaWNlAHJpZ2h0AHg=\r\n",
        ]
        for octets in said:
            client = connect(self.serve("submissions"))
            client.exchange(HELLO)
            answer = client.exchange(octets)
            self.assertNotIn(b"235", answer)
            client.drop()
        self.assertEqual(self.flushLoggedErrors(), [])
        good = connect(self.serve("submissions"))
        good.exchange(HELLO)
        self.assertEqual(self.codes(good, PLAIN_ALICE), [b"235"])

    def test_authorization_identity(self) -> None:
        """Nobody acts for another: an authzid that is not the login is refused (CVE-2023-27582)."""
        client = connect(self.serve("submissions"))
        client.exchange(HELLO)
        # bob NUL alice@example.test NUL right
        said = b"AUTH PLAIN Ym9iQGV4YW1wbGUudGVzdABhbGljZUBleGFtcGxlLnRlc3QAcmlnaHQ=\r\n"
        self.assertNotIn(b"235", client.exchange(said))


class StateTests(ServerTestCase):
    def test_random_dialogues(self) -> None:
        """Whatever is said in whatever order: a message is filed only after a sender and a recipient of its
        own transaction, each command has its reply, and nothing faults."""
        lines = [
            b"EHLO c.test",
            b"HELO c.test",
            b"RSET",
            b"NOOP",
            b"VRFY bob",
            b"DATA",
            b".",
            b"text",
            b"STARTTLS x",
            b"HELP",
            b"MAIL FROM:<z@far.test>",
            b"MAIL FROM:<z@far.test> SIZE=9999999",
            b"RCPT TO:<alice@example.test>",
            b"RCPT TO:<dave@example.test>",
            b"RCPT TO:<x@far.test>",
            PLAIN_WRONG[:-2],
            b"",
            b"\xff",
        ]

        @settings(max_examples=150, deadline=None, derandomize=True)
        @given(st.lists(st.sampled_from(lines), max_size=30))
        def check(said: list[bytes]) -> None:
            client = connect(self.serve("smtp"))
            client.received()
            before = self.boxes(self.alice)["INBOX"]
            expected, sender, recipient, in_data, greeted = 0, False, False, False, False
            for line in said:
                if client.closed:
                    break
                answer = self.codes(client, line + b"\r\n")
                if in_data:
                    self.assertEqual(answer, [b"250"] if line == b"." else [])
                    if line == b".":
                        expected += 1
                        in_data = sender = recipient = False
                    continue
                self.assertEqual(len(answer), 1, line)
                if answer == [b"421"]:
                    break
                if line[1:4] in (b"HLO", b"ELO") or line == b"RSET":
                    greeted, sender, recipient = greeted or line != b"RSET", False, False
                elif answer == [b"354"]:
                    self.assertTrue(sender and recipient)
                    in_data = True
                elif line.startswith(b"MAIL") and answer == [b"250"]:
                    self.assertTrue(greeted and not sender)
                    sender = True
                elif line.startswith(b"RCPT") and answer == [b"250"]:
                    self.assertTrue(sender and b"alice" in line)
                    recipient = True
            if not client.closed:
                client.drop()
            self.assertEqual(self.boxes(self.alice)["INBOX"] - before, expected)

        check()
