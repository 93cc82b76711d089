"""The Authentication-Results field: written, read again, and forged ones found however they are written."""

from __future__ import annotations

import email
import email.policy

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.origin.findings import Finding, read_results, results_field, without_forged

US = "mx.example.test"


class FieldTests(SynchronousTestCase):
    def test_field(self) -> None:
        made = results_field(
            US,
            (
                Finding("iprev", "pass", "host.e.test", (("policy.iprev", "2001:db8::1"),)),
                Finding("spf", "pass", "", (("smtp.mailfrom", "e.test"),)),
                Finding(
                    "dkim", "fail", "the body was changed", (("header.d", "e.test"), ("header.s", "sel"))
                ),
                Finding("dmarc", "fail", "p=none", (("header.from", "e.test"),)),
            ),
        )
        self.assertEqual(
            made.decode().split("\r\n"),
            [
                "Authentication-Results: mx.example.test; iprev=pass reason=host.e.test",
                '\tpolicy.iprev="2001:db8::1"; spf=pass smtp.mailfrom=e.test; dkim=fail',
                '\treason="the body was changed" header.d=e.test header.s=sel; dmarc=fail',
                '\treason="p=none" header.from=e.test',
                "",
            ],
        )
        self.assertEqual(
            read_results(b"Return-Path: <a@e.test>\r\n" + made, US),
            {"iprev": "pass", "spf": "pass", "dkim": "fail", "dmarc": "fail"},
        )
        self.assertEqual(read_results(made, "other.test"), {})

    def test_nothing(self) -> None:
        self.assertEqual(results_field(US, ()), b"Authentication-Results: mx.example.test; none\r\n")

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_what_strangers_say(self, reason: str, domain: str) -> None:
        """Nothing of a record or an error ends the field, or makes a result of its own."""
        finding = Finding("spf", "fail", reason, (("smtp.mailfrom", domain),))
        made = results_field(US, (finding, Finding("dmarc", "fail")))
        self.assertEqual(read_results(made, US), {"spf": "fail", "dmarc": "fail"})
        parsed = email.message_from_bytes(made + b"\r\n", policy=email.policy.compat32)
        self.assertEqual(parsed.keys(), ["Authentication-Results"])

    def test_a_reason_that_is_a_result(self) -> None:
        made = results_field(US, (Finding("spf", "fail", '"; dmarc=pass \\"; dkim=pass'),))
        self.assertEqual(read_results(made, US), {"spf": "fail"})


class ForgeryTests(SynchronousTestCase):
    def test_ours(self) -> None:
        for forged in (
            b"Authentication-Results: mx.example.test; spf=pass\r\n",
            b"AUTHENTICATION-RESULTS:MX.Example.Test;spf=pass\r\n",
            b"Authentication-Results : mx.example.test 1; spf=pass\r\n",
            b"Authentication-Results:\r\n\tmx.example.test;\r\n\tspf=pass\r\n",
            b"Authentication-Results: (a (nested) comment) mx.example.test; spf=pass\r\n",
            b'Authentication-Results: "mx.example.test"; spf=pass\r\n',
            b'Authentication-Results: "m\\x.example.test"; spf=pass\r\n',
            b"Authentication-Results: mx.example.test(comment); spf=pass\r\n",
            b"Authentication-Results: mx.example.test.; spf=pass\r\n",
            b"Authentication-Results: ; spf=pass\r\n",
            b"Authentication-Results: (" + b"x" * 2000 + b") mx.example.test; spf=pass\r\n",
            b"Authentication-Results:\r\n",
            b"Authentication-Results: (never ending mx.example.test; spf=pass\r\n",
        ):
            header = b"From: a@e.test\r\n" + forged + b"To: b@f.test\r\n" + forged
            self.assertEqual(without_forged(header, US), b"From: a@e.test\r\nTo: b@f.test\r\n", forged)

    def test_others(self) -> None:
        """What other hosts found stays, and so does a message without any, octet for octet."""
        for header in (
            b"Authentication-Results: mx.elsewhere.test; spf=pass\r\nFrom: a@e.test\r\n",
            b"Authentication-Results: elsewhere.test (mx.example.test); spf=pass\r\n",
            b"From: a@e.test\r\nno field\r\nX: Authentication-Results: mx.example.test\r\n",
            b"",
        ):
            self.assertEqual(without_forged(header, US), header)

    @given(
        st.lists(
            st.sampled_from([b"Authentication-Results:", b" ", b"mx.example.test", b"\r\n", b"(", b")", b'"'])
        )
    )
    def test_any(self, parts: list[bytes]) -> None:
        """Whatever stands in a header: it is told once, and what is left is never ours."""
        left = without_forged(b"".join(parts), US)
        self.assertEqual(without_forged(left, US), left)
        self.assertEqual(read_results(left, US), {})
