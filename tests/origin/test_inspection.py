"""All checks of a message together, over a resolver of plain values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.resolver import Answer, Unresolved
from mailftp.message.address import parse_address
from mailftp.message.fields import header_bounds
from mailftp.origin.checks import Checks, at_once
from mailftp.origin.inspection import SIGNATURES, Findings, Inspection
from mailftp.origin.policy import quarantined, refusal
from mailftp.settings import OriginSettings
from mailftp.wire.peer import Peer
from tests.dns.table import Table
from tests.origin.test_dkim import MESSAGE, NOW, RSA, record, signed_by_dkimpy, signed_by_us

GOOD, BAD = Peer.of("192.0.2.1", 4000), Peer.of("192.0.2.9", 4000)
PLAIN = b"From: a@e.test\r\nSubject: hello\r\n\r\nHello.\r\n"


class Silent(Table):
    """Some names are never answered."""

    def __init__(self) -> None:
        super().__init__()
        self.silent: set[str] = set()
        self.given_up = 0

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        if name not in self.silent:
            return super().lookup(name, kind)
        self.asked.append((name, kind))
        return Deferred(self._cancelled)

    def _cancelled(self, answer: Deferred[Answer]) -> None:
        self.given_up += 1

    def stop(self) -> Deferred[None]:
        raise AssertionError("nobody stops it here")


class InspectionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.table = Silent()
        self.table.put("e.test", "TXT", '"v=spf1 ip4:192.0.2.1 -all"').put(
            "_dmarc.e.test", "TXT", '"v=DMARC1; p=reject"'
        )
        self.table.put("1.2.0.192.in-addr.arpa", "PTR", "mx.e.test.").put("mx.e.test", "A", "192.0.2.1")
        halves = [f'"{text}"' for text in (record(RSA)[:200], record(RSA)[200:])]
        self.table.put("sel._domainkey.e.test", "TXT", " ".join(halves))
        self.settings = OriginSettings()

    def begin(self, message: bytes, peer: Peer = GOOD, sender: str = "a@e.test") -> Inspection:
        checks = Checks(self.settings, "mx.example.test", self.table, self.clock, at_once)
        address = parse_address(sender) if sender else None
        inspection = checks.begin(peer, "mx.e.test", address, NOW)
        assert inspection is not None
        end, start = header_bounds(message)
        checks.read_header(inspection, message[:end], peer)
        for at in range(start, len(message), 7):
            inspection.body(message[at : at + 7])
        return inspection

    def find(self, message: bytes, peer: Peer = GOOD, sender: str = "a@e.test") -> Findings:
        return self.successResultOf(Deferred.fromCoroutine(self.begin(message, peer, sender).conclude()))

    def results(self, message: bytes, peer: Peer = GOOD, sender: str = "a@e.test") -> str:
        return str(self.find(message, peer, sender))


class FindingTests(InspectionTestCase):
    def test_good(self) -> None:
        findings = self.find(signed_by_us(MESSAGE, RSA))
        self.assertEqual(str(findings), "iprev=pass spf=pass dkim=pass dmarc=pass")
        self.assertIsNone(refusal(findings, replace(self.settings, spf="enforce", dkim="enforce")))
        told = [finding.properties for finding in findings.found]
        self.assertEqual(told[1], (("smtp.mailfrom", "e.test"),))
        self.assertEqual(told[2], (("header.d", "e.test"), ("header.s", "sel"), ("header.a", "rsa-sha256")))
        self.assertEqual(told[3], (("header.from", "e.test"),))

    def test_either_is_enough(self) -> None:
        """Forwarded, the signature vouches; unsigned, SPF does."""
        self.assertIn("spf=fail dkim=pass dmarc=pass", self.results(signed_by_us(MESSAGE, RSA), BAD))
        self.assertIn("spf=pass dkim=none dmarc=pass", self.results(MESSAGE))

    def test_somebody_else(self) -> None:
        """SPF and DKIM of another domain vouch for that one."""
        findings = self.find(
            signed_by_us(MESSAGE, RSA).replace(b"<a@e.test>", b"<a@bank.test>"), sender="a@e.test"
        )
        self.assertEqual(str(findings), "iprev=pass spf=pass dkim=fail dmarc=none")
        self.table.put("_dmarc.bank.test", "TXT", '"v=DMARC1; p=quarantine"')
        findings = self.find(b"From: a@bank.test\r\n\r\n")
        self.assertEqual((str(findings.found[-1]), findings.request), ("dmarc=fail", "quarantine"))
        self.assertTrue(quarantined(findings, self.settings))
        self.assertFalse(quarantined(findings, replace(self.settings, dmarc="mark")))

    def test_the_strictest_author(self) -> None:
        self.table.put("_dmarc.bank.test", "TXT", '"v=DMARC1; p=quarantine"')
        self.table.put("_dmarc.shop.test", "TXT", '"v=DMARC1; p=none"')
        findings = self.find(b"From: a@shop.test, b@bank.test, c@e.test\r\n\r\n")
        self.assertEqual([f.result for f in findings.of("dmarc")], ["fail", "fail", "pass"])
        self.assertEqual((findings.request, findings.policy_domain), ("quarantine", "bank.test"))

    def test_null_sender(self) -> None:
        """RFC 7208 section 2.4: the name that the client said is checked."""
        self.table.put("mx.e.test", "TXT", '"v=spf1 a -all"')
        findings = self.find(PLAIN, sender="")
        self.assertEqual(findings.of("spf")[0].properties, (("smtp.helo", "mx.e.test"),))
        self.assertEqual(findings.of("spf")[0].result, "pass")
        self.assertEqual(findings.of("dmarc")[0].result, "pass")

    def test_several_signatures(self) -> None:
        """Each has its result; what cannot be read is one too."""
        self.table.put("old._domainkey.e.test", "TXT", '"v=DKIM1; p="')
        revoked = signed_by_us(MESSAGE, RSA).replace(b"s=sel", b"s=old")
        message = b"DKIM-Signature: v=1\r\n" + revoked[: -len(MESSAGE)] + signed_by_us(MESSAGE, RSA)
        findings = self.find(message)
        self.assertEqual([f.result for f in findings.of("dkim")], ["neutral", "permerror", "pass"])
        self.assertIsNone(refusal(findings, replace(self.settings, dkim="enforce")))

    def test_forms(self) -> None:
        """Signatures of one form share a hash of the body, and those of two forms have two."""
        both = signed_by_us(MESSAGE, RSA)[: -len(MESSAGE)] * 2 + signed_by_dkimpy(RSA, b"simple/simple")
        self.assertEqual([f.result for f in self.find(both).of("dkim")], ["pass"] * 3)

    def test_more_than_was_signed(self) -> None:
        """l= lets anybody add to the body: the signature is good and vouches for nothing."""
        signed = signed_by_dkimpy(RSA, b"relaxed/relaxed", length=True)
        self.assertIn("dkim=pass dmarc=pass", self.results(signed, BAD))
        findings = self.find(signed + b"And now to something else.\r\n", BAD)
        self.assertIn("dkim=pass dmarc=fail", str(findings))
        self.assertEqual(findings.request, "reject")

    def test_too_many_signatures(self) -> None:
        field = signed_by_us(MESSAGE, RSA)[: -len(MESSAGE)]
        many = b"".join(field.replace(b"s=sel", b"s=sel%d" % n) for n in range(50))
        self.assertEqual(len(self.find(many + MESSAGE).of("dkim")), SIGNATURES)
        keys = [name for name, _ in self.table.asked if "_domainkey" in name]
        self.assertEqual(len(keys), SIGNATURES)

    def test_too_many_forms(self) -> None:
        """A body is hashed three times and no more, however many lengths are signed."""
        field = signed_by_us(MESSAGE, RSA)[: -len(MESSAGE)]
        many = b"".join(field.replace(b"v=1;", b"v=1; l=%d;" % n) for n in range(4))
        results = [finding.result for finding in self.find(many + MESSAGE).of("dkim")]
        self.assertEqual(results, ["fail", "fail", "fail", "policy"])

    def test_trusted(self) -> None:
        """Signatures alone, and nothing is asked where there is none."""
        near = Peer.of("127.0.0.1", 4000)
        self.assertEqual(self.results(PLAIN, near), "dkim=none")
        self.assertEqual(self.table.asked, [])
        self.assertEqual(self.results(signed_by_us(MESSAGE, RSA), near), "dkim=pass")
        self.settings = replace(self.settings, trusted=(ip_network("192.0.2.0/24"),))
        self.assertEqual(self.results(PLAIN, BAD), "dkim=none")
        self.assertIn("spf=fail", self.results(PLAIN, near))

    def test_off(self) -> None:
        self.settings = replace(self.settings, spf="off", iprev="off")
        self.assertEqual(self.results(PLAIN), "spf=pass dkim=none dmarc=pass")
        self.settings = replace(self.settings, dmarc="off")
        self.assertEqual(self.results(PLAIN), "dkim=none")
        self.settings = replace(self.settings, dkim="off")
        checks = Checks(self.settings, "mx.example.test", self.table, self.clock, at_once)
        self.assertIsNone(checks.begin(GOOD, "h.test", None, NOW))


class IprevTests(InspectionTestCase):
    def result(self, peer: Peer) -> str:
        return self.find(PLAIN, peer).of("iprev")[0].result

    def test_names(self) -> None:
        self.assertEqual(self.result(GOOD), "pass")
        self.assertEqual(self.result(BAD), "permerror")
        self.table.put("9.2.0.192.in-addr.arpa", "PTR", "nowhere.test.", "mx.e.test.")
        self.assertEqual(self.result(BAD), "fail")
        self.table.put("nowhere.test", "A", Unresolved("SERVFAIL"))
        self.assertEqual(self.result(BAD), "temperror")
        self.table.put("9.2.0.192.in-addr.arpa", "PTR", Unresolved("SERVFAIL"))
        self.assertEqual(self.result(BAD), "temperror")

    def test_ipv6(self) -> None:
        peer = Peer.of("2001:db8::1", 4000)
        self.table.put(peer.address.reverse_pointer, "PTR", "six.e.test.").put(
            "six.e.test", "AAAA", "2001:db8::1"
        )
        self.assertEqual(self.result(peer), "pass")

    def test_many_names(self) -> None:
        """An address with a thousand names costs ten questions."""
        self.table.put("9.2.0.192.in-addr.arpa", "PTR", *(f"n{n}.test." for n in range(1000)))
        self.assertEqual(self.result(BAD), "fail")
        self.assertEqual(len([name for name, kind in self.table.asked if kind == "A"]), 10)


class PolicyTests(InspectionTestCase):
    def refused(self, message: bytes, peer: Peer = BAD, **settings: str) -> str:
        found = refusal(self.find(message, peer), replace(self.settings, **settings))
        return "" if found is None else f"{found.code} {found.status} {found.text}"

    def test_dmarc(self) -> None:
        self.assertEqual(self.refused(PLAIN), "550 5.7.1 The DMARC policy of e.test refuses this message")
        self.assertEqual(self.refused(PLAIN, dmarc="mark"), "")
        two = b"From: b@bank.test\r\n" + PLAIN
        self.assertEqual(self.refused(two, GOOD), "550 5.7.1 The message has more than one From field")
        self.assertEqual(self.refused(b"Subject: no author\r\n\r\n"), "")

    def test_dmarc_undecided(self) -> None:
        """What SPF or a key would have said is not known: the sender is to try again."""
        self.table.put("e.test", "TXT", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(PLAIN)[:9], "451 4.7.0")
        self.table.put("sel._domainkey.e.test", "TXT", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(signed_by_us(MESSAGE, RSA))[:9], "451 4.7.0")
        self.table.put("_dmarc.e.test", "TXT", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(PLAIN), "")

    def test_spf(self) -> None:
        wanted = "550 5.7.23 SPF of e.test does not let this client send"
        self.assertEqual(self.refused(PLAIN, spf="enforce"), wanted)
        self.table.put("e.test", "TXT", '"v=spf1 -all exp=why.e.test"').put(
            "why.e.test", "TXT", '"Not from %{i}!"'
        )
        self.assertEqual(self.refused(PLAIN, spf="enforce"), wanted + "; e.test says: Not from 192.0.2.9!")
        self.table.put("e.test", "TXT", '"v=spf1 ~all"')
        self.assertEqual(self.refused(PLAIN, spf="enforce", dmarc="off"), "")
        self.table.put("e.test", "TXT", '"v=spf1 nonsense"')
        self.assertEqual(self.refused(PLAIN, spf="enforce", dmarc="off"), "")
        self.table.put("e.test", "TXT", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(PLAIN, spf="enforce")[:10], "451 4.7.24")

    def test_dkim(self) -> None:
        broken = signed_by_us(MESSAGE, RSA).replace(b"Hello", b"Hallo")
        self.assertEqual(self.refused(broken, dkim="enforce", dmarc="off")[:10], "550 5.7.20")
        self.assertEqual(self.refused(PLAIN, dkim="enforce", dmarc="off"), "")
        self.table.put("sel._domainkey.e.test", "TXT", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(broken, dkim="enforce", dmarc="off")[:10], "451 4.7.20")

    def test_iprev(self) -> None:
        self.assertEqual(self.refused(PLAIN, iprev="enforce")[:10], "550 5.7.25")
        self.assertEqual(self.refused(PLAIN, GOOD, iprev="enforce"), "")
        self.table.put("9.2.0.192.in-addr.arpa", "PTR", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(PLAIN, iprev="enforce")[:10], "451 4.7.25")


class BudgetTests(InspectionTestCase):
    def test_silence(self) -> None:
        """Checks run side by side: a DNS that is silent costs one check's time and no more."""
        self.table.silent = {"e.test", "_dmarc.e.test", "sel._domainkey.e.test", "1.2.0.192.in-addr.arpa"}
        running = Deferred.fromCoroutine(self.begin(signed_by_us(MESSAGE, RSA)).conclude())
        self.clock.advance(19)
        self.assertNoResult(running)
        self.clock.advance(1)
        findings = self.successResultOf(running)
        self.assertEqual(str(findings), "iprev=temperror spf=temperror dkim=temperror dmarc=temperror")

    def test_questions(self) -> None:
        """All checks of a message share the number."""
        self.settings = replace(self.settings, lookups=6)
        field = signed_by_us(MESSAGE, RSA)[: -len(MESSAGE)]
        many = b"".join(field.replace(b"s=sel", b"s=sel%d" % n) for n in range(5))
        results = self.results(many + MESSAGE)
        self.assertEqual(len(self.table.asked), 6)
        self.assertIn("dkim=temperror", results)
        self.assertIn("dmarc=temperror", results)

    def test_known(self) -> None:
        """What one message asked, the next knows, for as long as it holds, and five minutes at most."""
        checks = Checks(self.settings, "mx.example.test", self.table, self.clock, at_once)
        for seconds, asked in ((0, 6), (4, 0), (2, 1), (54, 6), (0, 0)):
            self.clock.advance(seconds)
            self.table.asked.clear()
            inspection = checks.begin(GOOD, "mx.e.test", parse_address("a@e.test"), NOW)
            assert inspection is not None
            signed = signed_by_us(MESSAGE.replace(b"a@e.test", b"a@sub.e.test"), RSA)
            end, start = header_bounds(signed)
            checks.read_header(inspection, signed[:end], GOOD)
            inspection.body(signed[start:])
            findings = self.successResultOf(Deferred.fromCoroutine(inspection.conclude()))
            self.assertEqual(str(findings), "iprev=pass spf=pass dkim=pass dmarc=pass")
            self.assertEqual(len(self.table.asked), asked, self.table.asked)

    def test_abandoned(self) -> None:
        """A client that goes away leaves nothing that waits."""
        self.table.silent = {"e.test", "_dmarc.e.test", "sel._domainkey.e.test", "1.2.0.192.in-addr.arpa"}
        inspection = self.begin(signed_by_us(MESSAGE, RSA))
        inspection.abandon()
        self.assertEqual(self.table.given_up, 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        inspection.abandon()
