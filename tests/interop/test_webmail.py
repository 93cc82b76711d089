"""The webmail in Chromium: playwright-core drives it, axe-core looks at it."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, formatdate
from pathlib import Path
from threading import Timer
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.web.webmail.cleaning import clean
from tests.interop.imap import PASSWORD, Account
from tests.interop.running import PATIENCE, RunningServer, environment, program
from tests.web.xss import CASES

NODE = Path(__file__).parent / "node"

PEOPLE = (
    ("Carol Danvers", "carol@sender.test"),
    ("Dmitri Ivanov", "dmitri@sender.test"),
    ("Élodie Martin", "elodie@sender.test"),
    ("Newsletter", "news@shop.test"),
    ("Sam", "sam@sender.test"),
)
SUBJECTS = (
    "Minutes of Tuesday's meeting", "The roof of the boat house", "Invoice 2041 is due", "Summer programme",
    "Question about the garden",
)  # fmt: skip
#: Ten by ten.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
)
NEWSLETTER = """<table width="600" align="center" cellpadding="12" style="background-color: #f3efe4">
<tr><td bgcolor="#27496d"><font color="#ffffff" size="5">Summer programme</font></td></tr>
<tr><td><p>Dear <b>Bob</b>, come and <a href="https://example.test/">see</a> us.
<img src="cid:pic@x" width="40" height="40" alt="square"></p><p style="color: #b3261e">Only this week.</p>
<img src="https://tracker.test/pixel.png" alt=""><script>alert(1)</script></td></tr></table>
"""


class WebServer(RunningServer):
    services = ("smtp", "submission", "imap", "imaps", "http", "https")


class WebAccount(Account):
    kind = WebServer


class BrowserCase(SynchronousTestCase):
    #: Further tables of the server's.
    settings = ""

    def setUp(self) -> None:
        self.node, self.chromium = program("node", "nodejs"), program("chromium", "chromium")
        if not (NODE / "node_modules" / "playwright-core").is_dir():
            raise SkipTest(
                f"needs playwright-core: npm ci --prefix {NODE.relative_to(Path(__file__).parents[2])}"
            )
        self.account = WebAccount(
            self, settings="[auth]\nargon2 = { time_cost = 1, memory_cost = 8 }\n" + self.settings
        )
        self.url = f"http://127.0.0.1:{self.account.server.ports['http']}/"

    @contextmanager
    def begun(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A script that is spoken to while it runs."""
        errors = self.account.folder / "errors"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [self.node, NODE / name, self.chromium, self.url, self.account.user, PASSWORD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=self.environment,
                # Its browser goes with it.
                start_new_session=True,
            )
        timer = Timer(max(300.0, PATIENCE * 4), os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            yield process
            self.assertEqual(process.wait(PATIENCE), 0)
        finally:
            timer.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
            process.stdout.close()  # type: ignore[union-attr]

    def told(self, script: subprocess.Popen[bytes]) -> Any:
        """The next line of a script."""
        assert script.stdout is not None
        line = script.stdout.readline()
        if not line:
            self.fail((self.account.folder / "errors").read_text())
        return json.loads(line)

    @property
    def environment(self) -> dict[str, str]:
        folder = os.environ.get("MAILFTP_SCREENSHOTS")
        shown = {"MAILFTP_SCREENSHOTS": folder} if folder else {}
        patience = {"MAILFTP_TEST_PATIENCE": str(PATIENCE)}
        return {**environment(), "HOME": str(self.account.folder), **patience, **shown}

    def script(self, name: str, given: object = None) -> Any:
        """What a script of node/ tells at its end."""
        done = subprocess.run(
            [self.node, NODE / name, self.chromium, self.url, self.account.user, PASSWORD],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=PATIENCE * 5,
            env=self.environment,
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


def mails(count: int) -> Iterator[bytes]:
    """What somebody has in INBOX, oldest first: plain and HTML, with pictures and files, an answer."""
    yield _mail(1000, ("Nora", "nora@sender.test"), "The greenhouse", "Tomatoes.\n")
    for number in reversed(range(count)):
        person, subject = PEOPLE[number % 5], SUBJECTS[number % 5]
        text = (
            f"Hello Bob,\n\nplease look at https://example.test/page?n={number} before Friday.\n"
            f"\n> you wrote:\n> that it rains\n\nBest wishes\n{person[0]}\n"
        )
        yield _mail(number, person, subject + (f" ({number})" if number > 5 else ""), text)
    yield _mail(-1, PEOPLE[1], "Re: " + SUBJECTS[0], "I agree.\n", "<r0@sender.test>", "<m0@sender.test>")


def _mail(
    number: int, person: tuple[str, str], subject: str, text: str, own_id: str = "", answers: str = ""
) -> bytes:
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr(person)
    message["To"] = "Bob <bob@example.test>"
    message["Subject"] = subject
    message["Message-ID"] = own_id or f"<m{number}@sender.test>"
    message["Date"] = formatdate(1_790_000_000 - number * 7000)
    if answers:
        message["In-Reply-To"] = message["References"] = answers
    message.set_content(text)
    if number % 5 == 3:
        message.add_alternative(NEWSLETTER, subtype="html")
        page = message.get_payload()[1]
        page.add_related(PNG, "image", "png", cid="<pic@x>")
    elif number % 5 == 2:
        message.add_attachment(PNG, "image", "png", filename="plan of the harbour.png")
        message.add_attachment(b"%PDF-1.4" * 3000, "application", "pdf", filename="invoice-2041.pdf")
    return message.as_bytes()


class ReadingTests(BrowserCase):
    def test_somebody_reads_mail(self) -> None:
        """List, conversation, HTML, attachments, search, stars, moving with undo, folders, keyboard, colours,
        new mail, at two sizes: what node/webmail.mjs does. No error in the page, nothing that axe finds."""
        self.account.append(mails(60))
        with self.begun("webmail.mjs") as script:
            self.assertEqual(self.told(script), "ready")
            self.account.append([_mail(-9, PEOPLE[0], "Just now", "x")])
            assert script.stdin is not None
            script.stdin.write(b"go\n")
            script.stdin.flush()
            told = self.told(script)
        for size in ("desk", "phone"):
            self.assertEqual(told[size], {"axe": [], "faults": []}, size)
        self.assertEqual((told["settings"], told["faults"]), ([], []))


class WritingTests(BrowserCase):
    def test_somebody_writes_mail(self) -> None:
        """With formats, kept as it is typed, over a reload, with a file, from Drafts again, to Sent and to
        the one who gets it, who answers: what node/writing.mjs does, at two sizes."""
        self.account.append(mails(6))
        told = self.script("writing.mjs")
        self.assertEqual((told["axe"], told["faults"]), ([], []))
        # What the page has made opens IMAP.
        with imaplib.IMAP4("127.0.0.1", self.account.port, timeout=PATIENCE) as program_of_its_own:
            program_of_its_own.login(self.account.user, told["secret"])
        client = self.account.imaplib()
        client.select("Sent", readonly=True)
        _, lines = client.fetch("1", "(BODY[])")
        [(_, octets)] = [line for line in lines if isinstance(line, tuple)]
        sent = message_from_bytes(octets, policy=SMTP)
        self.assertEqual(sent["Subject"], "From desk")
        kinds = [part.get_content_type() for part in sent.walk()]
        self.assertEqual(
            kinds,
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/plain"],
        )
        plain, html, file = [part.get_content() for part in sent.walk() if not part.is_multipart()]
        lines = plain.strip().splitlines()
        self.assertEqual(lines[0], "Plain, bold <b>and</b> more, and again")
        self.assertEqual(lines[-2:], ["-- ", "Harbour lane 1"])
        self.assertEqual(sent["From"], f"Bob Boatman <{self.account.user}>")
        self.assertIn("<b>bold</b> &lt;b&gt;and&lt;/b&gt; more", html)
        self.assertEqual(file.strip(), "four")
        flags = self.account.there()
        self.assertIn("\\Answered", flags["Subject: From desk"])
        self.assertNotIn("\\Answered", flags["Subject: From phone"])
        self.assertIn("Subject: Re: From desk", flags)


class AnsweringTests(BrowserCase):
    def test_somebody_answers_mail(self) -> None:
        """To all, with the sending undone and done anew; forwards with files, one of them dropped; prints;
        uses each key: what node/answering.mjs does. What was undone reaches nobody."""
        to = "Bob <{}>, Dan <dan@sender.test>"
        message = (
            f"From: Carol <carol@sender.test>\r\nTo: {to.format(self.account.user)}\r\n"
            "Cc: erin@sender.test\r\nSubject: Regatta\r\nMessage-ID: <regatta@sender.test>\r\n"
            "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nWho comes?\r\n"
        )
        self.account.append([*mails(6), message.encode()])
        self.assertEqual(self.script("answering.mjs"), {"axe": [], "faults": []})
        client = self.account.imaplib()
        client.select("INBOX", readonly=True)
        _, found = client.search(None, 'SUBJECT "Re: Regatta"')
        self.assertEqual(len(found[0].split()), 1)
        _, lines = client.fetch(found[0].decode(), "(BODY[TEXT])")
        [(_, octets)] = [line for line in lines if isinstance(line, tuple)]
        self.assertIn(b"Again: Me, if it rains", octets)
        self.assertIn("\\Answered", self.account.there()["Subject: Regatta"])
        # Nor does it wait to.
        self.assertEqual(self.account.server.queue(), [])


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
