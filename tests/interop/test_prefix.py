"""The pages in Chromium behind nginx, under a prefix."""

from __future__ import annotations

from tests.interop.nginx import Nginx
from tests.interop.running import program, run
from tests.interop.test_webmail import BrowserCase, mails


class PrefixTests(BrowserCase):
    #: A trusted address begins each connection with a PROXY header, but for HTTP: our own IMAP is of another.
    settings = '[proxy]\ntrusted = ["127.0.0.2/32"]\n[http]\nprefix = "/mail/"\n'

    def setUp(self) -> None:
        program("nginx", "nginx-light")
        self.curl = program("curl", "curl")
        super().setUp()

    def behind(self, locations: str) -> None:
        """Sign in, read, write, upload, under /mail/ of nginx: what node/prefix.mjs does."""
        server = self.account.server
        port = Nginx(self, server, locations).port
        self.url = f"https://{server.hostname}:{port}/mail/"
        there = run(
            self.curl, "-sS", "--retry", "30", "--retry-connrefused", "--retry-delay", "1",
            "--cacert", server.ca, "--resolve", f"{server.hostname}:{port}:127.0.0.1", self.url,
        )  # fmt: skip
        self.assertEqual(there.returncode, 0, there.stderr.decode())
        self.account.append(mails(6))
        self.assertEqual(self.script("prefix.mjs"), [])
        self.assertIn("Subject: Behind a proxy", self.account.there("Sent"))
        self.assertIn("Subject: Behind a proxy", self.account.there())

    def test_prefix_that_is_passed_on(self) -> None:
        self.behind(
            "location /mail/ { proxy_bind 127.0.0.2; proxy_pass UPSTREAM; client_max_body_size 0; }\n"
        )

    def test_prefix_that_is_taken_away(self) -> None:
        self.behind(
            "location /mail/ { proxy_bind 127.0.0.2; proxy_pass UPSTREAM/; client_max_body_size 0; }\n"
        )
