"""The files of the pages: addresses, caching, coding, the policy."""

from __future__ import annotations

import gzip
import re

from twisted.trial.unittest import SynchronousTestCase

from mailftp.web.forwarded import Origin
from mailftp.web.hosts import parse_host
from mailftp.web.pages import Answer, Visit
from mailftp.web.webmail.assets import Asset, assets, files, shell
from mailftp.wire.peer import Peer


def ask(asset: Asset, **fields: str) -> Answer:
    header = {name.replace("_", "-"): value for name, value in fields.items()}
    origin = Origin(Peer.of("192.0.2.9"), True)
    answer = asset.answer(Visit(origin, parse_host("a.test"), "https://a.test/", fields=header))
    assert isinstance(answer, Answer)
    return answer


class AssetTests(SynchronousTestCase):
    def test_shell(self) -> None:
        """It loads what is there and nothing else, and its policy lets no script in that is not a file."""
        for name in ("index.html", "browse.html"):
            self.check(ask(shell(name)))

    def check(self, answer: Answer) -> None:
        there = assets()
        named = re.findall(rb'(?:src|href)="([^"]+)"', answer.body)
        self.assertGreater(len(named), 3)
        for name in named:
            self.assertIn("/" + name.decode(), there)
        policy = answer.headers["Content-Security-Policy"]
        for part in ("script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
            self.assertIn(part, policy)
        for part in ("unsafe", "*", "http:", "https:"):
            self.assertNotIn(part, policy)
        self.assertEqual(answer.headers["Cache-Control"], "no-cache")

    def test_modules(self) -> None:
        """A module imports those that are there, by names that keep it in its own release; nothing makes
        markup of text."""
        there = files().contents
        for name, octets in there.items():
            if not name.endswith(".js"):
                continue
            text = octets.decode()
            for imported in re.findall(r'(?:from|import) "([^"]+)"', text):
                self.assertIn(imported.removeprefix("./"), there, name)
                self.assertTrue(imported.startswith("./"), name)
            # Each of them would be refused by the browser too (Trusted Types), but only when it is reached.
            self.assertNotRegex(
                text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc"
            )
            self.assertLess(text.count("\n"), 420, f"{name} says more than one thing")

    def test_coding(self) -> None:
        """Compressed for whom takes it, with a tag of its own; 304 for whom has it."""
        asset = Asset(b"a" * 1000, "text/css; charset=utf-8")
        plain, small = ask(asset), ask(asset, accept_encoding="br, gzip;q=0.8")
        self.assertEqual((plain.body, plain.headers.get("Content-Encoding")), (b"a" * 1000, None))
        self.assertEqual(
            (gzip.decompress(small.body), small.headers["Content-Encoding"]), (plain.body, "gzip")
        )
        self.assertNotEqual(plain.headers["ETag"], small.headers["ETag"])
        self.assertEqual(ask(asset, accept_encoding="gzip;q=0, identity").body, plain.body)
        self.assertIn("immutable", plain.headers["Cache-Control"])
        for known in (plain.headers["ETag"], f'"x", W/{plain.headers["ETag"]}', "*"):
            answer = ask(asset, if_none_match=known)
            self.assertEqual((answer.status, answer.body), (304, b""), known)
        self.assertEqual(ask(asset, if_none_match=small.headers["ETag"]).status, 200)
        self.assertEqual(ask(Asset(b"a", "text/css"), accept_encoding="gzip").body, b"a")
