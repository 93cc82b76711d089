"""Postfix as the sending peer, with every extension that it knows."""

from __future__ import annotations

import smtplib
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.postfix import Postfix
from tests.interop.running import PATIENCE, RunningServer
from tests.interop.test_main_job import SHAPES


class PostfixTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "b.test")
        self.bob = self.server.add_account("bob", "hungry")
        self.jurgen = self.server.add_account("jürgen", "grün")
        self.server.start()
        self.postfix = Postfix(self, self.server.ports["smtp"])

    def peer(self) -> smtplib.SMTP:
        """Postfix, when it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return smtplib.SMTP("127.0.0.1", self.postfix.port, "client.test", timeout=PATIENCE)
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def until_logged(self, *words: str, count: int = 1) -> list[str]:
        """Lines of Postfix's log that have all these words."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self.postfix.log.read_text() if self.postfix.log.exists() else ""
            found = [line for line in text.splitlines() if all(word in line for word in words)]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"Postfix never logged {words}:\n{text}")
            time.sleep(0.05)

    def test_messages(self) -> None:
        """Messages of all shapes, pipelined, in chunks where Postfix chooses, over STARTTLS, DSN and
        SMTPUTF8 asked for; a recipient that is nobody is refused in the dialogue."""
        with self.peer() as peer:
            for name, message in SHAPES.items():
                options = ["BODY=8BITMIME"] if not message.isascii() else []
                refused = peer.sendmail(
                    "z@peer.test", [self.bob], message, options, ["NOTIFY=SUCCESS,FAILURE,DELAY"]
                )
                self.assertEqual(refused, {}, name)
            text = "From: ö@peer.test\r\nSubject: grüße\r\n\r\nHallo.\r\n".encode()
            peer.sendmail("ö@peer.test", [self.jurgen], text, ["SMTPUTF8", "BODY=8BITMIME", "ENVID=x+2By"])
            peer.sendmail("z@peer.test", ["nobody@b.test", self.bob], b"Subject: two\r\n\r\nx\r\n")
        sent = self.until_logged("status=sent", count=len(SHAPES) + 2)
        self.assertTrue(all("250 2.0.0 OK, accepted as" in line for line in sent), sent)
        (bounced,) = self.until_logged("status=bounced", "nobody@b.test")
        self.assertIn("550 5.1.1", bounced)
        self.until_logged("Untrusted TLS connection established")
        accepted = self.server.wait_for("accepted", sender="ö@peer.test")
        self.assertTrue(accepted["tls"])
        self.until_logged("status=deferred", count=0)
