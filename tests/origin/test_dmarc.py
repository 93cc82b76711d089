"""DMARC: records, whose policy counts, alignment, and authors who cannot be told."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.origin.dmarc import (
    AuthorFault,
    Organisations,
    Published,
    Record,
    SeveralAuthors,
    aligned,
    author_domains,
    discover,
    parse_record,
    requested,
)
from mailftp.origin.spf import TemporaryFault

ORGANISATIONS = Organisations()


def found(domain: str, records: Mapping[str, tuple[str, ...] | None]) -> tuple[Published, list[str]]:
    """What is discovered in a DNS of these TXT records (None: a server is silent), and what was asked."""
    asked = []
    check = discover(domain, ORGANISATIONS)
    try:
        question = next(check)
        while True:
            asked.append(question.name)
            texts = records.get(question.name, ())
            if texts is None:
                question = check.throw(TemporaryFault("silence"))
            else:
                question = check.send(texts)
    except StopIteration as end:
        return end.value, asked


class RecordTests(SynchronousTestCase):
    def test_records(self) -> None:
        self.assertEqual(parse_record("v=DMARC1; p=reject"), Record("reject", "reject"))
        self.assertEqual(
            parse_record("v=DMARC1;p=Reject; sp=quarantine; adkim=s; aspf=s; pct=20; fo=1; x-new=2;"),
            Record("reject", "quarantine", True, True, 20),
        )

    def test_requests_that_are_unknown(self) -> None:
        """Section 6.6.3: none where reports are asked for, else no record at all."""
        self.assertIsNone(parse_record("v=DMARC1"))
        self.assertIsNone(parse_record("v=DMARC1; p=bounce"))
        self.assertIsNone(parse_record("v=DMARC1; p=reject; sp=bounce"))
        self.assertEqual(parse_record("v=DMARC1; rua=mailto:a@e.test"), Record("none", "none"))
        self.assertEqual(
            parse_record("v=DMARC1; p=reject; sp=x; rua=mailto:a@e.test"), Record("none", "none")
        )
        self.assertIsNone(parse_record("v=DMARC1; p=reject" + " " * 2048))

    def test_percentages(self) -> None:
        """What is no percentage is all."""
        for text, percent in (("0", 0), ("7", 7), ("100", 100), ("101", 100), ("-1", 100), ("٣", 100)):
            made = parse_record(f"v=DMARC1; p=reject; pct={text}")
            self.assertEqual(made and made.percent, percent)

    def test_sampling(self) -> None:
        """Section 6.6.4: the spared ones get what is next milder."""
        for policy, milder in (("reject", "quarantine"), ("quarantine", "none"), ("none", "none")):
            published = Published("e.test", "e.test", parse_record(f"v=DMARC1; p={policy}; pct=30"))
            self.assertEqual(
                [requested(published, lot) for lot in (0, 29, 30, 99)], [policy] * 2 + [milder] * 2
            )

    @given(st.text(alphabet="v=DMARC1;psctrejn adkimfo-,:@% \t", max_size=60))
    def test_any_text(self, text: str) -> None:
        made = parse_record(text)
        self.assertTrue(made is None or 0 <= made.percent <= 100)


class DiscoveryTests(SynchronousTestCase):
    def test_own_and_organisation(self) -> None:
        records = {
            "_dmarc.e.co.uk": ("v=DMARC1; p=reject; sp=none",),
            "_dmarc.b.e.co.uk": ("v=DMARC1; p=none",),
        }
        published, asked = found("a.e.co.uk", records)
        self.assertEqual(asked, ["_dmarc.a.e.co.uk", "_dmarc.e.co.uk"])
        self.assertEqual((published.request, published.organisation), ("none", "e.co.uk"))
        self.assertEqual(found("e.co.uk", records)[0].request, "reject")
        self.assertEqual(found("b.e.co.uk", records)[1], ["_dmarc.b.e.co.uk"])

    def test_public_suffixes(self) -> None:
        """A record at co.uk says nothing of those below it."""
        published, asked = found("e.co.uk", {"_dmarc.co.uk": ("v=DMARC1; p=reject",)})
        self.assertEqual((asked, published.record), (["_dmarc.e.co.uk"], None))

    def test_other_texts(self) -> None:
        """Other TXT records do not count; two that do are none (step 5)."""
        self.assertEqual(found("e.test", {"_dmarc.e.test": ("hello", "v=DMARC1; p=none")})[0].request, "none")
        self.assertIsNone(
            found("e.test", {"_dmarc.e.test": ("v=DMARC1; p=none", "v=DMARC1; p=none")})[0].record
        )
        self.assertEqual(len(found("a.e.test", {"_dmarc.a.e.test": ("v=DMARC10; p=none",)})[1]), 2)

    def test_silence(self) -> None:
        self.assertEqual(found("e.test", {"_dmarc.e.test": None})[0].trouble, "silence")
        self.assertEqual(found("a.e.test", {"_dmarc.e.test": None})[0].trouble, "silence")


class AlignmentTests(SynchronousTestCase):
    def vouched(self, text: str, spf: str | None = None, *dkim: str, author: str = "a.e.test") -> bool:
        published = Published(author, ORGANISATIONS(author), parse_record(text))
        return aligned(published, spf, dkim, ORGANISATIONS)

    def test_relaxed(self) -> None:
        for domain in ("a.e.test", "e.test", "b.e.test", "x.a.e.test"):
            self.assertTrue(self.vouched("v=DMARC1; p=reject", domain), domain)
            self.assertTrue(self.vouched("v=DMARC1; p=reject", None, "z.test", domain), domain)
        self.assertFalse(self.vouched("v=DMARC1; p=reject", "e2.test", "ae.test", "test"))
        self.assertFalse(self.vouched("v=DMARC1; p=reject"))

    def test_strict(self) -> None:
        self.assertTrue(self.vouched("v=DMARC1; p=reject; aspf=s; adkim=s", "a.e.test"))
        self.assertFalse(self.vouched("v=DMARC1; p=reject; aspf=s", "e.test"))
        self.assertFalse(self.vouched("v=DMARC1; p=reject; adkim=s", None, "e.test"))
        self.assertTrue(self.vouched("v=DMARC1; p=reject; adkim=s", "e.test"))

    def test_neighbours(self) -> None:
        """Two customers of a registry are not one organisation."""
        self.assertFalse(self.vouched("v=DMARC1; p=reject", "evil.co.uk", author="bank.co.uk"))


class AuthorTests(SynchronousTestCase):
    def test_authors(self) -> None:
        for header, domains in (
            (b"From: a@E.test\r\n", ("e.test",)),
            (b'FROM : "x@bank.test" <a@e.test>\r\n', ("e.test",)),
            (b"From: a@e.test,\r\n b@f.test, c@e.test\r\n", ("e.test", "f.test")),
            (b"From: (a@x.test) a@e.test (b@y.test)\r\n", ("e.test",)),
            ("From: a@bücher.example\r\n".encode(), ("xn--bcher-kva.example",)),
            (b"From: a@xn--bcher-kva.EXAMPLE\r\n", ("xn--bcher-kva.example",)),
        ):
            self.assertEqual(author_domains(header + b"To: b@f.test\r\n"), domains)

    def test_nobody(self) -> None:
        for header in (
            b"To: a@e.test\r\n",
            b"From: \r\n",
            b"From: nobody\r\n",
            b"From: a@" + b"x" * 70 + b"\r\n",
        ):
            self.assertRaises(AuthorFault, author_domains, header)

    def test_too_many(self) -> None:
        """A reader shows one of them: which one?"""
        long = b"From: " + b"x" * 9000 + b" <a@e.test>\r\n"
        self.assertRaises(SeveralAuthors, author_domains, long)
        many = b"From: " + b", ".join(b"a@e%d.test" % n for n in range(5)) + b"\r\n"
        for header in (
            b"From: a@e.test\r\nFrom: a@bank.test\r\n",
            b"From: a@e.test\r\nfrom : b@e.test\r\n",
            many,
        ):
            self.assertRaises(SeveralAuthors, author_domains, header)
