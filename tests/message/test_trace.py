"""Trace fields: RFC 5321 section 4.4."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message import trace
from mailftp.message.fields import iter_fields


class TraceTests(SynchronousTestCase):
    def test_received(self) -> None:
        """Each clause in RFC 5321's order, folded, the date last."""
        field = trace.received(
            from_helo="client.example.test",
            peer="[IPv6:2001:db8::1]",
            by="mx.example.test",
            with_protocol="ESMTPS",
            id="smtp-5f2a9c01",
            for_="bob@example.test",
            tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
            when=1795312135.0,
        )
        self.assertEqual(
            field,
            b"Received: from client.example.test ([IPv6:2001:db8::1]) by mx.example.test\r\n"
            b"\twith ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id smtp-5f2a9c01 for\r\n"
            b"\t<bob@example.test>; Sun, 22 Nov 2026 01:48:55 +0000\r\n",
        )

    def test_received_without(self) -> None:
        """What is not known is left out, and an empty HELO does not spoil the syntax."""
        field = trace.received(
            from_helo="", peer="", by="mx", with_protocol="", id="", for_="", tls="", when=0
        )
        self.assertEqual(
            field,
            b"Received: from unknown (unknown) by mx with SMTP;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n",
        )

    def test_paths(self) -> None:
        """Return-Path has the null path, Delivered-To has no brackets."""
        self.assertEqual(trace.return_path(""), b"Return-Path: <>\r\n")
        self.assertEqual(trace.return_path("ä@x.test"), "Return-Path: <ä@x.test>\r\n".encode())
        self.assertEqual(trace.delivered_to("a@x.test"), b"Delivered-To: a@x.test\r\n")

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(*[st.text(alphabet=st.characters() | st.sampled_from("\r\n: \t()\\<>"), max_size=1200)] * 6)
    def test_no_injection(self, helo: str, peer: str, by: str, id: str, for_: str, tls: str) -> None:
        """Whatever the far side says, there is one field, and no line is longer than SMTP carries."""
        made = [
            trace.received(
                from_helo=helo, peer=peer, by=by, with_protocol=id, id=id, for_=for_, tls=tls, when=1e9
            ),
            trace.return_path(for_),
            trace.delivered_to(for_),
        ]
        for field in made:
            self.assertEqual(len(list(iter_fields(field))), 1)
            self.assertTrue(field.endswith(b"\r\n"))
            for line in field.split(b"\r\n"):
                self.assertNotIn(b"\n", line)
                self.assertNotIn(b"\r", line)
                self.assertNotIn(b"\0", line)
                self.assertLessEqual(len(line), 998)
        parsed = message_from_bytes(made[0] + b"\r\n", policy=default)
        self.assertEqual(parsed.keys(), ["Received"])
