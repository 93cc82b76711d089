"""The main job: Alice's mail on server A reaches Bob on server B, with clients that we did not write."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import tempfile
from pathlib import Path
from poplib import POP3_SSL
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.mail import below_trace, submitted, without_bcc
from tests.interop.running import RunningDNS, RunningServer, environment, program, real_messages, run

SHAPES = {
    "one line": b"hello\r\n",
    "header only": b"Subject: nothing more\r\n",
    "empty body": b"Subject: empty\r\n\r\n",
    "leading dots": b"Subject: dots\r\n\r\n.\r\n..\r\n...three\r\n.x\r\n\r\n.\r\n",
    "998 octets": b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n" + b"." + b"y" * 997 + b"\r\n",
    "8-bit": "Subject: grüße\r\n\r\nÄöü \x80 ß\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
}


class TwoServers(SynchronousTestCase):
    """A on 127.0.0.1 for a.test, B on 127.0.0.2 for b.test, the MX records in dnsmasq."""

    def setUp(self) -> None:
        self.dns = RunningDNS(self, {"a.test": "127.0.0.1", "b.test": "127.0.0.2"})
        self.a = RunningServer(self, "a.test", "127.0.0.1")
        self.b = RunningServer(self, "b.test", "127.0.0.2")
        for here, there in ((self.a, self.b), (self.b, self.a)):
            here.configure(
                f'[dns]\nservers = ["{self.dns.server}"]\n'
                f'[delivery]\nport = {there.ports["smtp"]}\nretry = ["1s", "1h"]\n'
            )
        self.alice = self.a.add_account("alice", "wonder land")
        self.bob = self.b.add_account("bob", "hungry")

    def submit(self, message: bytes, to: str | None = None, name: str = "message") -> None:
        """Alice's curl: STARTTLS, AUTH, one message."""
        file = Path(self.mktemp())
        file.write_bytes(message)
        done = run(
            program("curl", "curl"), "--silent", "--show-error", "--ssl-reqd", "--cacert", self.a.ca,
            f"smtp://localhost:{self.a.ports['submission']}/client.a.test",
            "--user", f"{self.alice}:wonder land", "--mail-from", self.alice, "--mail-rcpt", to or self.bob,
            "--upload-file", file,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""), name)

    def maildrop(self, server: RunningServer, name: str, password: str) -> list[bytes]:
        """Everything in a maildrop, by Python's own client over TLS; nothing is deleted."""
        context = ssl.create_default_context(cafile=str(server.ca))
        context.check_hostname = False
        pop = POP3_SSL(server.address, server.ports["pop3s"], context=context, timeout=60)
        pop.user(name)
        pop.pass_(password)
        count, _ = pop.stat()
        found = [b"\r\n".join(pop.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
        pop.quit()
        return found

    def arrived(self, message: bytes, original: bytes) -> None:
        """Octet for octet below the trace fields, but for what submission adds and removes."""
        below = below_trace(message, (self.a.hostname, self.b.hostname))
        self.assertEqual(submitted(below, original), without_bcc(original))


class MainJobTests(TwoServers):
    def test_curl_submits_and_curl_fetches(self) -> None:
        """Submitted over STARTTLS with AUTH, relayed by MX, fetched over pop3s, octet for octet."""
        self.a.start()
        self.b.start()
        message = b"From: alice@a.test\r\nTo: bob@b.test\r\nSubject: lunch?\r\n\r\nAt one.\r\n"
        self.submit(message)
        self.a.wait_for("delivered")
        done = run(
            program("curl", "curl"), "--silent", "--show-error", "--cacert", self.b.ca,
            "--connect-to", f"localhost:{self.b.ports['pop3s']}:127.0.0.2:{self.b.ports['pop3s']}",
            f"pop3s://localhost:{self.b.ports['pop3s']}/1", "--user", f"{self.bob}:hungry",
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.arrived(done.stdout, message)
        self.assertIn(b"Return-Path: <alice@a.test>\r\n", done.stdout)
        self.assertRegex(done.stdout, rb"(?s)Received: from \S+ .*by mx\.b\.test.*with ESMTPS")
        self.assertEqual(self.a.queue(), [])

    def test_swaks_submits_and_getmail_and_fetchmail_fetch(self) -> None:
        """swaks with STARTTLS and AUTH; getmail6 leaves the message, fetchmail takes it away."""
        self.a.start()
        self.b.start()
        swaks = program("swaks", "swaks")
        getmail = program("getmail", "getmail6")
        fetchmail = program("fetchmail", "fetchmail")
        done = run(
            swaks, "--server", "127.0.0.1", "--port", str(self.a.ports["submission"]), "--tls",
            "--auth", "PLAIN", "--auth-user", self.alice, "--auth-password", "wonder land",
            "--from", self.alice, "--to", self.bob,
            "--header", "Subject: from swaks", "--body", "swaks was here",
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout.decode())
        self.a.wait_for("delivered")

        folder = Path(tempfile.mkdtemp(prefix="mailftp-getmail-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        for part in ("cur", "new", "tmp"):
            (folder / "Maildir" / part).mkdir(parents=True)
        (folder / "getmailrc").write_text(
            "[retriever]\ntype = SimplePOP3SSLRetriever\n"
            f"server = 127.0.0.2\nport = {self.b.ports['pop3s']}\nusername = {self.bob}\npassword = hungry\n"
            f"[destination]\ntype = Maildir\npath = {folder}/Maildir/\n"
            "[options]\ndelivered_to = false\nreceived = false\ndelete = false\n"
        )
        other: dict[str, Any] = {}
        if os.getuid() == 0:
            # getmail does not deliver as root.
            other = {"user": 65534, "group": 65534, "extra_groups": ()}
            for path in (folder, *folder.rglob("*")):
                os.chown(path, 65534, 65534)
        done = run(getmail, f"--getmaildir={folder}", "--rcfile=getmailrc", "--dont-delete", **other)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())
        (got,) = (folder / "Maildir" / "new").iterdir()
        self.assertIn(b"Subject: from swaks", got.read_bytes())

        (folder / "fetchmailrc").write_text(
            f"poll 127.0.0.2 protocol pop3 service {self.b.ports['pop3s']}\n"
            f'  user "{self.bob}" password "hungry" ssl sslproto "auto" sslcertck\n'
            f'  sslcertfile "{self.b.ca}" sslcommonname "localhost"\n'
            f'  fetchall mda "/bin/cat >{folder}/fetched"\n'
        )
        (folder / "fetchmailrc").chmod(0o600)
        done = run(
            fetchmail, "--nosyslog", "--nodetach", "-f", folder / "fetchmailrc",
            "--pidfile", folder / "fetchmail.pid", "--idfile", folder / "ids",
            env=environment() | {"HOME": str(folder)},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())
        self.assertIn(b"swaks was here", (folder / "fetched").read_bytes())
        self.assertEqual(self.maildrop(self.b, "bob", "hungry"), [])

    def test_every_message_arrives_octet_for_octet(self) -> None:
        """CPython's real messages, and shapes that break servers: empty, dots, 998 octets, 8-bit, 20 MiB."""
        self.a.start()
        self.b.start()
        line = bytes(range(32, 127)) * 10 + b"\r\n"
        messages = (
            dict(real_messages()) | SHAPES | {"empty": b"", "20 MiB": b"Subject: big\r\n\r\n" + line * 22200}
        )
        self.assertGreater(len(messages["20 MiB"]), 20 * 1024 * 1024)
        self.assertGreater(len(messages), 48)
        for name, message in messages.items():
            self.submit(message, name=name)
            self.b.wait_for("accepted")
        found = self.maildrop(self.b, "bob", "hungry")
        self.assertEqual(len(found), len(messages))
        unmatched = dict(messages)
        for one in found:
            below = below_trace(one, (self.a.hostname, self.b.hostname))
            for name, original in unmatched.items():
                if submitted(below, original) == without_bcc(original):
                    del unmatched[name]
                    break
            else:
                self.fail(f"arrived, but nobody sent it: {below[:2000]!r}")
        self.assertEqual(list(unmatched), [])

    def test_bcc_is_removed(self) -> None:
        """A Bcc field does not leave with the message; Date and Message-ID are added where missing."""
        self.a.start()
        self.b.start()
        self.submit(
            b"From: alice@a.test\r\nBcc: carol@c.test\r\n\tdave@d.test\r\nSubject: s\r\n\r\nBcc: stays\r\n"
        )
        self.b.wait_for("accepted")
        (message,) = self.maildrop(self.b, "bob", "hungry")
        self.assertNotIn(b"carol", message)
        self.assertNotIn(b"dave", message)
        self.assertIn(b"\r\n\r\nBcc: stays\r\n", message)
        self.assertRegex(message, rb"\r\nDate: \w{3}, \d")
        self.assertRegex(message, rb"\r\nMessage-ID: <[^<>@\s]+@[^<>@\s]+>\r\n")


class TroubleTests(TwoServers):
    def test_b_is_down_and_a_is_killed(self) -> None:
        """The message waits in A's queue, survives kill -9 of A, and arrives, once, when B is back."""
        self.a.start()
        self.submit(b"Subject: patience\r\n\r\nwaiting\r\n")
        self.a.wait_for("deferred")
        (waiting,) = self.a.queue()
        self.assertEqual(waiting["recipients"][0]["address"], self.bob)
        self.a.kill()
        self.b.start()
        self.a.start()
        done = self.a.cli("queue", "retry", str(waiting["id"]))
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.b.wait_for("accepted")
        self.a.wait_for("delivered")
        (message,) = self.maildrop(self.b, "bob", "hungry")
        self.assertIn(b"\r\n\r\nwaiting\r\n", message)
        self.assertEqual(self.a.queue(), [])

    def test_b_refuses_and_alice_is_told(self) -> None:
        """B says 550: Alice gets a report that names the recipient, the reason and the original's header."""
        self.a.start()
        self.b.start()
        self.submit(b"Subject: are you there\r\nX-Own: kept\r\n\r\nsecret body\r\n", to="bobby@b.test")
        self.a.wait_for("bounced")
        (report,) = self.maildrop(self.a, "alice", "wonder land")
        self.assertIn(b"Return-Path: <>\r\n", report)
        self.assertRegex(report, rb"(?i)content-type: multipart/report;\s+report-type=delivery-status")
        self.assertIn(b"Final-Recipient: rfc822; bobby@b.test", report)
        self.assertRegex(report, rb"Action: failed\r\nStatus: 5\.1\.1\r\n")
        self.assertRegex(report, rb"Diagnostic-Code: smtp; 550")
        self.assertIn(b"Subject: are you there\r\n", report)
        self.assertIn(b"X-Own: kept\r\n", report)

    def test_the_queue_explains_itself(self) -> None:
        """`queue list` and `show` name sender, recipient and last error, running and stopped."""
        self.a.start()
        self.submit(b"Subject: x\r\n\r\nx\r\n")
        self.a.wait_for("deferred")
        for stopped in (False, True):
            if stopped:
                # twistd ends by the signal that it got, after everything is stopped in order.
                self.assertEqual(self.a.stop(), -signal.SIGTERM)
            (listed,) = json.loads(self.a.cli("queue", "list", "--json").stdout)
            self.assertEqual(listed["sender"], self.alice)
            shown = self.a.cli("queue", "show", str(listed["id"])).stdout.decode()
            self.assertIn(self.bob, shown)
            self.assertTrue(re.search("(?i)refused", shown), shown)
        self.assertEqual(self.a.cli("queue", "hold", str(listed["id"])).returncode, 0)
        (held,) = self.a.queue()
        self.assertEqual(held["recipients"][0]["state"], "held")
        self.assertEqual(self.a.cli("queue", "drop", str(listed["id"])).returncode, 0)
        self.assertEqual(self.a.queue(), [])
