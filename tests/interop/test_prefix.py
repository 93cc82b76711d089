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

    def behind(self, upstream: str) -> str:
        """The pages' address at an nginx that passes what is below /mail/ on to there."""
        server = self.account.server
        location = f"proxy_bind 127.0.0.2; proxy_pass {upstream}; client_max_body_size 0;"
        port = Nginx(self, server, f"location /mail/ {{ {location} }}\n").port
        url = f"https://{server.hostname}:{port}/mail/"
        there = run(
            self.curl, "-sS", "--retry", "30", "--retry-connrefused", "--retry-delay", "1",
            "--cacert", server.ca, "--resolve", f"{server.hostname}:{port}:127.0.0.1", url,
        )  # fmt: skip
        self.assertEqual(there.returncode, 0, there.stderr.decode())
        return url

    def test_prefix(self) -> None:
        """Sign in, read, write, upload where nginx passes the prefix on; read and look at the files where it
        takes it away: what node/prefix.mjs does."""
        self.url = self.behind("UPSTREAM")
        self.account.append(mails(6))
        self.assertEqual(self.script("prefix.mjs", {"taken": self.behind("UPSTREAM/")}), [])
        self.assertIn("Subject: Behind a proxy", self.account.there("Sent"))
        self.assertIn("Subject: Behind a proxy", self.account.there())
