"""Reports: RFC 3464, RFC 6522, RFC 6533; read back by the standard library."""

from __future__ import annotations

import dataclasses
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.report import ReportedRecipient, build_report

FAILED = ReportedRecipient(
    address="bob@far.test",
    action="failed",
    status="5.1.1",
    diagnostic="550 5.1.1 no such user here",
    orcpt="rfc822;robert@far.test",
    remote="mx.far.test [192.0.2.1]",
    last_attempt=1795312135.0,
)
DELAYED = ReportedRecipient(
    address="eve@slow.test",
    action="delayed",
    status="4.4.1",
    diagnostic="no server answers",
    diagnostic_type="x-mailftp",
    will_retry_until=1795712135.0,
)
ORIGINAL = b"From: a@x.test\r\nMessage-ID: <m1@x.test>\r\nSubject: hello\r\n\r\nbody\r\n"
ANY = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n: \0-="), max_size=1500
)


def report(**changes: Any) -> bytes:
    return build_report(
        **{
            "hostname": "mx.example.test",
            "to": "alice@example.test",
            "recipients": (FAILED,),
            "arrival": 1795311135.0,
            "now": 1795312136.0,
            "message_id": "r1@mx.example.test",
            "envid": "QQ314159",
            "original": ORIGINAL,
            "whole": False,
            **changes,
        }
    )


def parse(data: bytes) -> EmailMessage:
    parsed = message_from_bytes(data, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


class ReportTests(SynchronousTestCase):
    def test_header(self) -> None:
        """From MAILER-DAEMON, to the sender, marked as automatic, threaded under the message."""
        made = parse(report())
        self.assertEqual(made["From"], "Mail Delivery System <MAILER-DAEMON@mx.example.test>")
        self.assertEqual(made["To"], "alice@example.test")
        self.assertEqual(made["Auto-Submitted"], "auto-replied")
        self.assertEqual(made["Message-ID"], "<r1@mx.example.test>")
        self.assertEqual(made["References"], "<m1@x.test>")
        self.assertEqual(made["Date"], "Sun, 22 Nov 2026 01:48:56 +0000")
        self.assertEqual(made["Subject"], "Your message could not be delivered")
        self.assertEqual(made.get_content_type(), "multipart/report")
        self.assertEqual(made.get_param("report-type"), "delivery-status")
        self.assertEqual(made.defects, [])

    def test_parts(self) -> None:
        """Text, delivery-status, and the header of the original."""
        text, status, returned = parse(report(recipients=(FAILED, DELAYED))).iter_parts()
        self.assertIn("bob@far.test", text.get_content())
        self.assertIn("550 5.1.1 no such user here", text.get_content())
        self.assertIn("eve@slow.test", text.get_content())
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        whole, first, second = status.get_payload()
        self.assertEqual(whole["Reporting-MTA"], "dns; mx.example.test")
        self.assertEqual(whole["Original-Envelope-Id"], "QQ314159")
        self.assertEqual(first["Original-Recipient"], "rfc822;robert@far.test")
        self.assertEqual(first["Final-Recipient"], "rfc822; bob@far.test")
        self.assertEqual(first["Action"], "failed")
        self.assertEqual(first["Status"], "5.1.1")
        self.assertEqual(first["Remote-MTA"], "dns; mx.far.test [192.0.2.1]")
        self.assertEqual(first["Diagnostic-Code"], "smtp; 550 5.1.1 no such user here")
        self.assertEqual(first["Last-Attempt-Date"], "Sun, 22 Nov 2026 01:48:55 +0000")
        self.assertIsNone(first["Will-Retry-Until"])
        self.assertEqual(second["Diagnostic-Code"], "x-mailftp; no server answers")
        self.assertEqual(second["Will-Retry-Until"], "Thu, 26 Nov 2026 16:55:35 +0000")
        self.assertEqual(returned.get_content_type(), "text/rfc822-headers")
        self.assertEqual(returned.get_content().splitlines(), ORIGINAL.decode().splitlines()[:3])

    def test_whole(self) -> None:
        """The whole message is a message/rfc822, octet for octet."""
        data = report(whole=True)
        returned = list(parse(data).iter_parts())[2]
        self.assertEqual(returned.get_content_type(), "message/rfc822")
        self.assertIn(b"Content-Type: message/rfc822\r\n\r\n" + ORIGINAL + b"\r\n--", data)
        self.assertTrue(data.isascii())

    def test_whole_eightbit(self) -> None:
        """An 8-bit original makes the report 8-bit, and says so in both headers."""
        data = report(whole=True, original=b"Subject: x\r\n\r\n\xff\xfe\r\n")
        self.assertEqual(parse(data)["Content-Transfer-Encoding"], "8bit")
        returned = list(parse(data).iter_parts())[2]
        self.assertEqual(returned["Content-Transfer-Encoding"], "8bit")
        self.assertIn(b"\xff\xfe", data)

    def test_eightbit_header(self) -> None:
        """The header alone travels in 7 bits, whatever is in it."""
        for head, kind in ((b"\xc3\xa4", "message/global-headers"), (b"\xff", "text/rfc822-headers")):
            data = report(original=b"Subject: " + head + b"\r\n\r\n")
            self.assertTrue(data.isascii())
            returned = list(message_from_bytes(data).get_payload())[2]  # type: ignore[arg-type]
            self.assertEqual(returned.get_content_type(), kind)
            self.assertEqual(returned["Content-Transfer-Encoding"], "quoted-printable")

    def test_long_lines(self) -> None:
        """A message whose lines no message/rfc822 may have comes back as its header, encoded."""
        data = report(whole=True, original=b"Subject: " + b"x" * 5000 + b"\r\n\r\n" + b"y" * 5000)
        self.assertLessEqual(max(map(len, data.split(b"\r\n"))), 998)
        returned = list(parse(data).iter_parts())[2]
        self.assertEqual(returned.get_content_type(), "text/rfc822-headers")

    def test_international(self) -> None:
        """Addresses outside ASCII have the types of RFC 6533."""
        recipient = dataclasses.replace(FAILED, address="jürgen@far.test", orcpt="utf-8;jürgen@far.test")
        data = report(recipients=(recipient,))
        self.assertIn(b"Content-Type: message/global-delivery-status\r\n", data)
        self.assertIn("Final-Recipient: utf-8; jürgen@far.test\r\n".encode(), data)

    def test_status_fits_the_action(self) -> None:
        """A status that is none, or of another class, is put right (RFC 3464 section 2.3.4)."""
        for action, given_status, written in [
            ("failed", "nonsense", b"5.0.0"),
            ("failed", "4.4.7", b"4.4.7"),
            ("failed", "2.0.0", b"5.0.0"),
            ("delayed", "5.1.1", b"4.1.1"),
            ("delivered", "", b"2.0.0"),
            ("exploded", "5.1.1\r\nX: y", b"5.0.0"),
        ]:
            recipient = dataclasses.replace(FAILED, action=action, status=given_status)
            self.assertIn(b"\r\nStatus: " + written + b"\r\n", report(recipients=(recipient,)))

    def test_subjects(self) -> None:
        """The subject tells the worst of what happened."""
        delivered = dataclasses.replace(FAILED, action="delivered")
        self.assertEqual(parse(report(recipients=(DELAYED, delivered)))["Subject"], "Your message is delayed")
        self.assertEqual(parse(report(recipients=(delivered,)))["Subject"], "Your message was delivered")

    def test_boundary(self) -> None:
        """A sender who knows our boundary cannot end a part with it."""
        boundary = parse(report(whole=True)).get_boundary()
        assert boundary is not None
        data = report(whole=True, original=b"A: b\r\n\r\n--" + boundary.encode() + b"--\r\n")
        self.assertEqual(len(list(parse(data).iter_parts())), 3)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(
        ANY, ANY, ANY, ANY, st.binary(max_size=300) | st.just(b"\r\n.\r\n--=_report_\r\n\0"), st.booleans()
    )
    def test_no_injection(
        self, words: str, path: str, envid: str, to: str, original: bytes, whole: bool
    ) -> None:
        """Whatever a stranger wrote, the report keeps its shape, and its lines fit SMTP."""
        recipient = dataclasses.replace(
            FAILED, diagnostic=words, address=path, orcpt=path, remote=words, action=words, status=words
        )
        data = report(
            recipients=(recipient, dataclasses.replace(DELAYED, diagnostic=words)),
            envid=envid,
            to=to,
            message_id=words,
            hostname=path,
            original=original,
            whole=whole,
        )
        self.assertNotIn(b"\0", data)
        for line in data.split(b"\r\n"):
            self.assertNotIn(b"\n", line)
            self.assertNotIn(b"\r", line)
            self.assertLessEqual(len(line), 998)
        parsed = message_from_bytes(data)
        allowed = {
            "Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
            "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
        }  # fmt: skip
        self.assertLessEqual(set(parsed.keys()), allowed)
        self.assertEqual(len(parsed.keys()), len(set(parsed.keys())))
        self.assertEqual(len(parsed.get_payload()), 3)
