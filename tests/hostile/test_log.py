"""What strangers say reaches the log as fields, never as lines: over every wire, in both formats."""

from __future__ import annotations

import json
import re
import socket
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.raw import QUICK, Raw, ftp, plain, store
from tests.hostile.sink import Sink
from tests.interop.running import RunningServer

#: Line ends of every kind, a terminal's escapes, a bidirectional mark, quotes, and a field of our own.
EVIL = (
    "x\u2028FORGED\u0085FORGED\u000bFORGED\u001b[2J\u202e\" level=critical event=FORGED name=\"root\\",
    "x\rFORGED event=login",
    "x\nFORGED event=login",
    "\x00\x7f\x1b]0;FORGED\x07",
    '{"event": "FORGED"}',
)  # fmt: skip


class LogTests(SynchronousTestCase):
    def queued(self, server: RunningServer) -> list[str]:
        return [str(message["id"]) for message in server.queue()]

    def said(self, form: str) -> list[str]:
        """The log of a server that was told EVIL in every place."""
        refusals = [text.encode() for text in EVIL]
        sink = Sink(
            self,
            {
                b"": b"220-" + refusals[0] + b"\r\n220 " + refusals[3] + b"\r\n",
                b"DATA": b"503 no recipients\r\n",
                b"RCPT": b"450 4.0.0 " + refusals[0] + refusals[3] + refusals[4] + b"\r\n",
            },
        )
        server = RunningServer(self, "a.test")
        server.configure(
            f'{QUICK}[delivery]\nretry = ["1h"]\n[delivery.routes]\n"far.test" = "127.0.0.1:{sink.port}"\n'
        )
        if form == "text":
            server.file.write_text(server.file.read_text().replace('format = "json"', 'format = "text"'))
        alice = server.add_account("alice", "hungry")
        server.start()
        for evil in EVIL:
            octets = evil.encode()
            for service, words in (
                ("ftp", (b"USER %s", b"PASS %s", b"CWD %s", b"GET %s")),
                ("pop3", (b"USER %s", b"PASS %s", b"AUTH %s", b"%s")),
                ("smtp", (b"EHLO %s", b"HELO a", b"MAIL FROM:<%s@far.test>", b"RCPT TO:<%s@a.test>", b"%s")),
            ):
                with Raw(server.ports[service]) as client:
                    client.send(
                        b"".join(
                            word % octets + b"\r\n" if b"%s" in word else word + b"\r\n" for word in words
                        )
                    )
                    client.socket.shutdown(socket.SHUT_WR)
                    client.rest()
            with ftp(server.ports["ftp"], "alice", "hungry") as client:
                name = re.sub(rb"[\r\n\0]", b"_", octets)
                store(client, b"STOR " + name, b"x")
            with Raw(server.ports["submission"]) as client:
                client.send(
                    b"EHLO a\r\nAUTH PLAIN " + plain(evil.replace("\0", ""), evil.replace("\0", "")) + b"\r\n"
                )
                client.socket.shutdown(socket.SHUT_WR)
                client.rest()
        with Raw(server.ports["submission"]) as client:
            client.reply()
            client.ask("EHLO a", "250")
            client.ask(b"AUTH PLAIN " + plain(alice, "hungry"), "235")
            client.ask(f"MAIL FROM:<{alice}>", "250")
            client.ask("RCPT TO:<bob@far.test>", "250")
            client.ask("DATA", "354")
            client.ask(b"Subject: x\r\n\r\nx\r\n.", "250")
        for _ in range(10):
            # Its words are in the log once they are in the queue; each run of the command takes its time.
            if b"FORGED" in server.cli("queue", "show", *self.queued(server)).stdout:
                break
        server.stop()
        self.assertTrue(any("FORGED" in line for line in server.output), "nothing of it was logged at all")
        self.assertFalse([line for line in server.output if "hungry" in line])
        return list(server.output)

    def test_json(self) -> None:
        """Every line is one JSON object, and none has an event that a stranger named."""
        for line in self.said("json"):
            entry = json.loads(line)
            self.assertNotEqual(entry["event"], "FORGED")
            self.assertNotEqual(entry["level"], "critical")
            self.assertTrue(line.isprintable(), quote(line))

    def test_text(self) -> None:
        """Every line begins with its time, or is a traceback's; nothing in it is unprintable, and outside of
        quotes there is no field of theirs."""
        for line in self.said("text"):
            self.assertRegex(line, r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+ ")
            self.assertTrue(line.isprintable(), quote(line))
            bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
            self.assertNotIn("event=FORGED", bare)
            self.assertNotIn("level=critical", bare)
