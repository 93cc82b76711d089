"""What we send on is one message, whatever was submitted; read octet for octet at the far side."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.raw import QUICK, Raw, plain
from tests.hostile.sink import Sink
from tests.interop.running import RunningServer

SMUGGLED = b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<victim@far.test>\r\nDATA\r\nSmuggled.\r\n"
ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"\r\0\n")


class OutboundTests(SynchronousTestCase):
    def test_outbound(self) -> None:
        """Every odd end of a message with commands behind it, submitted and relayed: at the far side there is
        one message for each, with no bare CR, LF or NUL in it, and no line that a server with another idea
        of a line end could take for its end (CVE-2023-51764 and kin, and what a filter would pass on)."""
        sink = Sink(self)
        server = RunningServer(
            self, "a.test", settings=f'{QUICK}[delivery.routes]\n"far.test" = "127.0.0.1:{sink.port}"\n'
        )
        alice = server.add_account("alice", "hungry")
        server.start()
        taken = 0
        with Raw(server.ports["submission"]) as client:
            client.reply()
            client.ask("EHLO a", "250")
            client.ask(b"AUTH PLAIN " + plain(alice, "hungry"), "235")
            for before, after in product(ENDS, repeat=2):
                odd = before + b"." + after
                if b"\r\n.\r\n" in odd:
                    continue
                client.ask(f"MAIL FROM:<{alice}>", "250")
                client.ask("RCPT TO:<bob@far.test>", "250")
                client.ask("DATA", "354")
                reply = client.ask(b"Subject: odd\r\n\r\nFirst." + odd + SMUGGLED + b".")
                self.assertIn(reply[:3], (b"250", b"550", b"554"), odd)
                taken += reply.startswith(b"250")
        for _ in range(taken):
            server.wait_for("delivered")
        self.assertGreater(taken, 15)
        self.assertEqual(len(sink.messages), taken)
        for message in sink.messages:
            body = message.removesuffix(b".\r\n")
            self.assertNotIn(b"\0", body)
            self.assertEqual(body.count(b"\r\n"), body.count(b"\n"))
            self.assertEqual(body.count(b"\r\n"), body.count(b"\r"))
            self.assertNotIn(b"\r\n.\r\n", body)
            self.assertEqual(body.count(b"Smuggled."), 1)
        recipients = {line for line in sink.commands if line.upper().startswith(b"RCPT")}
        self.assertEqual(len(recipients), 1, recipients)

    def test_envelope(self) -> None:
        """No address carries a command to the far side: line ends, blanks, brackets, quotes, shell words."""
        sink = Sink(self)
        server = RunningServer(
            self, "a.test", settings=f'{QUICK}[delivery.routes]\n"far.test" = "127.0.0.1:{sink.port}"\n'
        )
        alice = server.add_account("alice", "hungry")
        server.start()
        odd = [
            b'"a\\\r\nRCPT TO:<evil"@far.test', b'"a\nDATA"@far.test', b'"a\rDATA"@far.test',
            b'"a\0b"@far.test',
            b'"a> SIZE=1\\"b"@far.test', b"a>\tNOTIFY=NEVER\t<b@far.test", b'"x;|$(id)`id`"@far.test',
            b"a@far.test>\r\nRCPT TO:<evil@far.test", b'"../../etc/passwd"@far.test', b"-oQ/tmp@far.test",
            b'""@far.test', b"\xff@far.test", b'"\xc3"@far.test',
        ]  # fmt: skip
        with Raw(server.ports["submission"]) as client:
            client.reply()
            client.ask("EHLO a", "250")
            client.ask(b"AUTH PLAIN " + plain(alice, "hungry"), "235")
        taken = 0
        for address in odd:
            with Raw(server.ports["submission"]) as client:
                client.reply()
                client.ask("EHLO a", "250")
                client.ask(b"AUTH PLAIN " + plain(alice, "hungry"), "235")
                client.ask(f"MAIL FROM:<{alice}>", "250")
                reply = client.ask(b"RCPT TO:<" + address + b">")
                if reply.startswith(b"250") and b"\n" not in address:
                    client.ask("DATA", "354")
                    client.ask(b"Subject: x\r\n\r\nx\r\n.", "250")
                    taken += 1
        for _ in range(taken):
            server.wait_for("delivered")
        self.assertGreaterEqual(taken, 2)
        for line in sink.commands:
            self.assertRegex(line, rb"\A(EHLO|MAIL|RCPT|DATA|QUIT|RSET)\b[^\r\n\0]*\r\n\Z")
        for line in sink.commands:
            if line.startswith(b"RCPT"):
                self.assertRegex(line, rb'\ARCPT TO:<("([^"\\]|\\.)*"|[^"<> ]+)@far\.test>\r\n\Z')
