"""What counts as right, and what is wrong in which words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.comparison import Group, Status, groups, unquoted
from mailftp.dns.mail_zone import Site, Wanted, host_records, mail_records, quoted

KEY = f"v=DKIM1; k=rsa; p={'A' * 300}=="
SITE = Site(
    "mx.a.test",
    ("192.0.2.1", "192.0.2.2", "2001:db8::1"),
    ("mx.a.test",),
    ("a.test",),
    {"submissions": 465},
    authorities=("letsencrypt.org",),
)


def group(kind: str, data: str) -> Group:
    return Group((Wanted("a.test.", kind, data, "why"),))


class ComparisonTests(SynchronousTestCase):
    def said(self, kind: str, data: str, *found: str) -> tuple[str, str]:
        finding = group(kind, data).compare(found)
        self.assertEqual(finding.bad, finding.status is not Status.RIGHT)
        if finding.bad:
            self.assertEqual(finding.add, (f"a.test. 3600 IN {kind} {data}",))
        return finding.status.value, finding.note

    def test_right(self) -> None:
        """What says the same, or leaves to the operator what is the operator's."""
        for kind, data, *found in (
            ("MX", "10 mx.a.test.", "20 MX.a.test.", "30 backup.b.test."),
            ("A", "192.0.2.1", "192.0.2.1"),
            ("NS", "mx.a.test.", "ns2.b.test.", "mx.a.test."),
            ("SRV", "0 1 465 mx.a.test.", "5 5 465 mx.A.test."),
            ("SRV", "0 0 0 .", "0 0 1 ."),
            ("CAA", '0 issue "letsencrypt.org"', '0 iodef "mailto:x@a.test"'),
            ("CAA", '0 issue "letsencrypt.org"', '0 issue "letsencrypt.org"', '0 issue "other.org"'),
            ("TXT", quoted("v=spf1 mx ~all"), "google=1", "v=spf1  mx ~all"),
            ("TXT", quoted("v=DMARC1; p=quarantine"), "v=DMARC1;p=reject; rua=mailto:x@b.test"),
            ("TXT", quoted("v=TLSRPTv1; rua=mailto:x"), "v=TLSRPTv1; rua=https://x.test"),
            ("TXT", quoted("v=STSv1; id=1"), "v=STSv1; id=2"),
            ("TXT", quoted(KEY), KEY),
            ("TXT", quoted(KEY), KEY.replace("v=DKIM1; ", "").replace("AAA", "AAA ", 1)),
        ):
            self.assertEqual(self.said(kind, data, *found), ("right", ""), (kind, found))

    def test_wrong(self) -> None:
        """Each with what is the matter."""
        for kind, data, words, *found in (
            ("MX", "10 mx.a.test.", "mail goes to mx.b.test. and not to mx.a.test.", "10 mx.b.test."),
            ("MX", "10 mx.a.test.", "mail goes to . and not", "0 ."),
            ("A", "192.0.2.1", "192.0.2.1 is not there", "192.0.2.7"),
            ("A", "192.0.2.1", "192.0.2.7 is there too", "192.0.2.7", "192.0.2.1"),
            ("NS", "mx.a.test.", "mx.a.test. is not there", "ns.b.test."),
            ("SRV", "0 1 465 mx.a.test.", "it says port 993 at mx.a.test.", "0 1 993 mx.a.test."),
            ("SRV", "0 0 0 .", "it says port 993 at b.test.", "0 1 993 b.test."),
            ("CAA", '0 issue "a.org"', 'issue "a.org" may not issue', '0 issue "b.org"'),
            ("TXT", quoted("v=spf1 mx ~all"), "there are 2 of them", "v=spf1 mx", "v=spf1 a"),
            ("TXT", quoted("v=spf1 mx ~all"), "it says something else", "v=spf1 -all"),
            ("TXT", quoted("v=DMARC1; p=none"), "no policy", "v=DMARC1; rua=mailto:x@b.test"),
            ("TXT", quoted(KEY), "another key", KEY.replace("AAAA", "BBBB")),
            ("TXT", quoted(KEY), "another key", "v=DKIM1; p="),
        ):
            status, note = self.said(kind, data, *found)
            self.assertEqual(status, "wrong", (kind, found))
            self.assertIn(words, note)

    def test_missing(self) -> None:
        """Nothing, or nothing for the same."""
        for kind, data, *found in (
            ("A", "192.0.2.1"),
            ("TXT", quoted("v=spf1 mx ~all"), "google=1", "v=spf10 mx"),
            ("TXT", quoted(KEY), "something else"),
        ):
            self.assertEqual(self.said(kind, data, *found)[0], "missing", (kind, found))

    def test_together(self) -> None:
        """Several addresses, and several CAs, are one thing."""
        found = groups([*mail_records(SITE, "a.test", {"s": KEY}), *host_records(SITE)])
        counts = {(each.name, each.kind, each.sort): len(each.wanted) for each in found}
        self.assertEqual(counts["mx.a.test", "A", ""], 2)
        self.assertEqual(counts["a.test", "CAA", ""], 2)
        self.assertEqual(counts["s._domainkey.a.test", "TXT", "v=dkim1"], 1)
        self.assertFalse(any(each.compare(()).bad for each in found if each.kind in ("SRV", "CAA")))

    def test_quoting(self) -> None:
        """Strings of 255 octets are put together again."""
        for text in ("", 'a "word" \\ here', "x" * 255, "y" * 1000):
            self.assertEqual(unquoted(quoted(text)), text)
