"""Aliases on running servers: forwarding from one to the other, the reports, and names beyond ASCII."""

from __future__ import annotations

import smtplib
import ssl
from base64 import b64encode

from tests.interop.test_main_job import TwoServers


class AliasTests(TwoServers):
    def alias(self, *words: str) -> None:
        """On the running server B."""
        done = self.b.cli("alias", *words)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_forwarding(self) -> None:
        """Bob has his mail forwarded and keeps a copy; what the far side refuses is reported to who sent
        it, by way of the rewritten sender."""
        self.a.start()
        self.b.start()
        carol = self.a.add_account("carol", "a password")
        self.alias("add", self.bob, carol, "nobody@a.test", "--keep")
        self.submit(b"From: alice@a.test\r\nSubject: forward me\r\n\r\nHello.\r\n")
        self.b.wait_for("delivered", recipient=carol)
        self.b.wait_for("bounced", recipient="nobody@a.test")
        self.b.wait_for("delivered", recipient=self.alice)
        (kept,) = self.maildrop(self.b, self.bob, "hungry")
        self.assertIn(b"Return-Path: <alice@a.test>\r\n", kept)
        (sent_on,) = self.maildrop(self.a, carol, "a password")
        self.assertRegex(sent_on, rb"\AReturn-Path: <SRS0=\w{6}=\w\w=a\.test=alice@b\.test>\r\n")
        self.assertIn(b"Delivered-To: bob@b.test\r\n", sent_on)
        (report,) = self.maildrop(self.a, self.alice, "wonder land")
        self.assertIn(b"Return-Path: <>\r\n", report)
        self.assertIn(b"nobody@a.test", report)

    def test_names_beyond_ascii(self) -> None:
        """From an account with such a name, over an alias with one, to another, by SMTPUTF8 all the way."""
        jurgen = self.b.add_account("jürgen", "grün")
        anais = self.a.add_account("anaïs", "été")
        self.a.start()
        self.b.start()
        self.alias("add", "büro@b.test", jurgen)
        client = smtplib.SMTP(self.a.address, self.a.ports["submission"], "client.a.test", timeout=60)
        self.addCleanup(client.close)
        context = ssl.create_default_context(cafile=str(self.a.ca))
        context.check_hostname = False
        client.starttls(context=context)
        client.ehlo()
        # smtplib's own login() takes ASCII alone.
        response = b64encode(f"\0{anais}\0été".encode()).decode()
        self.assertEqual(client.docmd("AUTH", f"PLAIN {response}")[0], 235)
        message = "From: anaïs@a.test\r\nSubject: grüße\r\n\r\nHallo.\r\n".encode()
        client.sendmail(anais, ["büro@b.test"], message, mail_options=["SMTPUTF8", "BODY=8BITMIME"])
        client.quit()
        self.a.wait_for("delivered", recipient="büro@b.test")
        (got,) = self.maildrop(self.b, jurgen, "grün")
        for field in (
            "Return-Path: <anaïs@a.test>",
            "Delivered-To: jürgen@b.test",
            "Delivered-To: büro@b.test",
        ):
            self.assertIn(f"{field}\r\n".encode(), got)
        self.assertRegex(got.replace(b"\r\n\t", b" "), rb"with UTF8SMTPSA? .*for <b\xc3\xbcro@b\.test>")
        self.assertTrue(got.endswith(message[message.index(b"From:") :]))
