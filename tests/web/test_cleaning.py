"""HTML mail made harmless, at the cleaner; what a browser makes of it is tests/interop/test_webmail.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from mailftp.web.webmail.cleaning import _ATTRIBUTES, _PROPERTIES, _TAGS, clean, clean_style
from mailftp.web.webmail.documents import INLINE, document_of, policy
from tests.web.xss import CASES

PNG = "data:image/png;base64,iVBORw0KGgo="
ADDED = {"a": {"rel", "target"}, "img": {"referrerpolicy"}}


class Parsed(HTMLParser):
    """What is in a document, by a parser that is not the cleaner's."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [found for name, found in self.tags if name == tag]


def mail(*lines: str) -> bytes:
    return "\r\n".join(["Subject: x", "MIME-Version: 1.0", *lines, ""]).encode()


class CleanerTests(SynchronousTestCase):
    def test_plain_styles_stay(self) -> None:
        for name in (
            "font-weight",
            "border-bottom-width",
            "border-left-width",
            "margin-left",
            "text-transform",
        ):
            self.assertEqual(clean_style(f"{name}: inherit"), f"{name}: inherit")
        for name in _PROPERTIES:
            self.assertRegex(name, r"\A[a-z]+(-[a-z]+)*\Z")

    def check(self, html: str) -> None:
        """Nothing that is not known to be good is in it."""
        for tag, attributes in Parsed(html).tags:
            self.assertIn(tag, _TAGS, html)
            known = _ATTRIBUTES["*"] | _ATTRIBUTES.get(tag, set()) | ADDED.get(tag, set())
            self.assertLessEqual(attributes.keys(), known, html)
            for name in ("href", "src"):
                if name in attributes:
                    self.assertRegex(
                        attributes[name], r"^(https?:|mailto:|tel:|data:image/(png|gif|jpeg|webp);)"
                    )
            for declaration in filter(None, attributes.get("style", "").split(";")):
                name, _, value = declaration.partition(":")
                self.assertIn(name.strip(), _PROPERTIES)
                self.assertNotRegex(value.lower(), r"url|expression|image-set|var\(|\\|@|/\*")

    def test_corpus(self) -> None:
        """Each published case is left without what it is about, and cleaning it again changes nothing."""
        for case in CASES:
            once = clean(case, {})
            self.check(once.html)
            again = clean(once.html, {}).html
            self.assertEqual(again, clean(again, {}).html, case)
            self.check(again)

    def test_kept(self) -> None:
        """What mail is made of stays: tables, colours, lists, links, which open in a window of their own."""
        html = (
            '<h1 align="center">T</h1><table width="600" bgcolor="#fff"><tr><td style="padding: 4px; color:'
            ' rgb(1, 2, 3)">a</td></tr></table><ul><li><b>x</b></li></ul><font color="red" size="2">f</font>'
            '<a href="https://x.test/?a=1&amp;b=2">l</a><a href="mailto:a@b.test">m</a>'
        )
        parsed = Parsed(clean(html, {}).html)
        self.assertEqual(parsed.text, "Taxflm")
        self.assertEqual(parsed.attributes("td"), [{"style": "padding: 4px; color: rgb(1, 2, 3)"}])
        self.assertEqual(parsed.attributes("font"), [{"color": "red", "size": "2"}])
        links = parsed.attributes("a")
        self.assertEqual([link["href"] for link in links], ["https://x.test/?a=1&b=2", "mailto:a@b.test"])
        for link in links:
            self.assertEqual((link["target"], "noopener" in link["rel"]), ("_blank", True))

    def test_pictures(self) -> None:
        """Those of elsewhere are counted and stay away until asked for; those of the mail are in it."""
        html = (
            '<img src="cid:a@b"><img src="CID:none"><img src=" HTTP://x.test/1.png">'
            f'<img src="//x.test/2.png"><img src="{PNG}"><img src="data:image/svg+xml;base64,AAAA">'
            '<img src="data:text/html,x"><img src="file:///etc/passwd"><img src="1.png">'
        )
        off, on = clean(html, {"a@b": PNG}), clean(html, {"a@b": PNG}, pictures=True)
        sources = [img["src"] for img in Parsed(off.html).attributes("img") if "src" in img]
        self.assertEqual((sources, off.remote), ([PNG, PNG], 1))
        sources = [img["src"] for img in Parsed(on.html).attributes("img") if "src" in img]
        self.assertEqual((sources, on.remote), ([PNG, "HTTP://x.test/1.png", PNG], 1))

    def test_styles(self) -> None:
        """Declaration by declaration; one escape, and the whole is gone."""
        for given, kept in (
            ("color: red; position: fixed; width: 10px", "color: red; width: 10px"),
            ("color: red; background: url(x)", "color: red"),
            ("width: calc(100% - 2px)", "width: calc(100% - 2px)"),
            ("color: r\\65 d", None),
            ("color: red /* x */", None),
            ("behavior: x", None),
            ("", None),
            ("COLOR: RGB(1,2,3); margin", "color: RGB(1,2,3)"),
            ("color: " + "x" * 1000, None),
        ):
            self.assertEqual(clean_style(given), kept, given)

    def test_large(self) -> None:
        """What is very long or very deep is cut and takes no more than its length."""
        self.check(clean("<div>" * 20_000 + "x", {}).html)
        self.check(clean("<p style='" + "color:red;" * 50_000 + "'>x", {}).html)
        self.assertLess(len(clean("x" * (5 * 1024 * 1024), {}).html), 4 * 1024 * 1024 + 1)


class DocumentTests(SynchronousTestCase):
    def test_which_part(self) -> None:
        """The last alternative, with its pictures; each part of a mixture; not what is attached."""
        message = mail(
            'Content-Type: multipart/mixed; boundary=M', "", "--M",
            'Content-Type: multipart/related; boundary=R', "", "--R",
            'Content-Type: multipart/alternative; boundary=A', "", "--A",
            "Content-Type: text/plain", "", "plain", "--A",
            "Content-Type: text/html; charset=iso-8859-1", "Content-Transfer-Encoding: quoted-printable", "",
            "<p>caf=E9</p><img src=3D\"cid:pic@x\">", "--A--", "--R",
            "Content-Type: image/png", "Content-ID: <pic@x>", "Content-Transfer-Encoding: base64", "",
            "iVBORw0KGgo=", "--R--", "--M",
            "Content-Type: text/html", "Content-Disposition: attachment; filename=a.html", "", "attached",
            "--M",
            "Content-Type: text/html", "", "<p>second</p>", "--M--",
        )  # fmt: skip
        document = document_of(message)
        assert document is not None
        parsed = Parsed(document.octets.decode())
        self.assertIn("café", parsed.text)
        self.assertIn("second", parsed.text)
        self.assertNotIn("attached", parsed.text)
        self.assertEqual([img["src"] for img in parsed.attributes("img")], [PNG])
        self.assertIsNone(document_of(mail("Content-Type: text/plain", "", "x")))
        self.assertIsNone(document_of(b""))

    def test_charsets(self) -> None:
        """A charset that would turn harmless octets into a tag (UTF-7) is none that is known here."""
        for charset in ("utf-7", "utf-16", "base64", "hz"):
            message = mail(
                f"Content-Type: text/html; charset={charset}", "", "+ADw-script+AD4-x+ADw-/script+AD4-"
            )
            document = document_of(message)
            assert document is not None
            self.assertNotIn(b"<script", document.octets)

    def test_bombs(self) -> None:
        """Pictures beyond the limit are left out, and many parts cost what they weigh."""
        picture = "A" * 4_000_000
        parts = [
            line
            for number in range(6)
            for line in ("--R", "Content-Type: image/png", f"Content-ID: <{number}>",
                         "Content-Transfer-Encoding: base64", "", picture)
        ]  # fmt: skip
        html = "".join(f'<img src="cid:{number}">' for number in range(6))
        message = mail("Content-Type: multipart/related; boundary=R", "", "--R", "Content-Type: text/html",
                       "", html, *parts, "--R--")  # fmt: skip
        document = document_of(message)
        assert document is not None
        self.assertLess(len(document.octets), INLINE * 4 / 3 + 100_000)
        self.assertEqual(document.octets.count(b"data:image/png"), 3)

    def test_policy(self) -> None:
        """No script, no form, no frame by strangers; pictures of elsewhere only when asked for."""
        for pictures in (False, True):
            text = policy(pictures)
            sandbox = re.findall(r"sandbox ([^;]*)", text)
            self.assertEqual(sandbox, ["allow-popups allow-popups-to-escape-sandbox"])
            for part in (
                "default-src 'none'",
                "form-action 'none'",
                "base-uri 'none'",
                "frame-ancestors 'self'",
            ):
                self.assertIn(part, text)
            self.assertNotIn("script-src", text)
            self.assertEqual("https:" in text, pictures)
