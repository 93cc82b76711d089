"""The webmail in Chromium: playwright-core drives it, axe-core looks at it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.web.webmail.cleaning import clean
from tests.interop.imap import PASSWORD, Account
from tests.interop.running import PATIENCE, RunningServer, environment, program
from tests.web.xss import CASES

NODE = Path(__file__).parent / "node"


class WebServer(RunningServer):
    services = ("smtp", "submission", "imap", "imaps", "http", "https")


class WebAccount(Account):
    kind = WebServer


class BrowserCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.node, self.chromium = program("node", "nodejs"), program("chromium", "chromium")
        if not (NODE / "node_modules" / "playwright-core").is_dir():
            raise SkipTest(
                f"needs playwright-core: npm ci --prefix {NODE.relative_to(Path(__file__).parents[2])}"
            )
        self.account = WebAccount(self, settings="[auth]\nargon2 = { time_cost = 1, memory_cost = 8 }\n")
        self.url = f"http://127.0.0.1:{self.account.server.ports['http']}/"

    def script(self, name: str, given: object = None) -> Any:
        """What a script of node/ tells at its end."""
        done = subprocess.run(
            [self.node, NODE / name, self.chromium, self.url, self.account.user, PASSWORD],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=PATIENCE * 5,
            env={**environment(), "HOME": str(self.account.folder), **_screenshots()},
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout.decode().splitlines()[-1])

    def email_ids(self) -> list[str]:
        """Of INBOX, by UID (RFC 8474)."""
        client = self.account.imaplib()
        client.select("INBOX", readonly=True)
        _, lines = client.fetch("1:*", "(EMAILID)")
        client.logout()
        found = [re.search(rb"EMAILID \((\w+)\)", line) for line in lines if isinstance(line, bytes)]
        return [match[1].decode() for match in found if match is not None]


class HostileTests(BrowserCase):
    def test_mail_that_attacks(self) -> None:
        """Of the whole corpus nothing runs and nothing is fetched, be it by the cleaner's doing alone or in
        the frame; and the same HTML uncleaned does both."""
        head = "From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        cases = [case for case in CASES if "\0" not in case]
        self.account.append((head + case.replace("\n", "\r\n")).encode() + b"\r\n" for case in cases)
        emails = self.email_ids()
        self.assertEqual(len(emails), len(cases))
        given = [
            {"raw": case, "cleaned": clean(case, {}).html, "email": email}
            for case, email in zip(cases, emails, strict=True)
        ]
        told = self.script("hostile.mjs", {"cases": given})
        self.assertGreater(told["raw"], 5)
        self.assertEqual(told["cleaned"], [])
        self.assertEqual(told["framed"], [])
        self.assertIn("sandbox", told["headers"]["content-security-policy"])


def _screenshots() -> dict[str, str]:
    folder = os.environ.get("MAILFTP_SCREENSHOTS")
    return {"MAILFTP_SCREENSHOTS": folder} if folder else {}
