"""The .tac files that are shipped, each run by twistd as it stands."""

from __future__ import annotations

import ftplib
import io
import json
import poplib
import signal
import smtplib
import socket
import threading
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_port
from tests.serving import ROOT, Serving, mailftp, settings_text

_POLICY = """
from mailftp.intake.hooks import MailHook
from mailftp.intake.refused import Refused

class Policy(MailHook):
    def mail(self, envelope):
        if envelope.sender is not None and envelope.sender.local == "rude":
            raise Refused(550, "5.7.1", "Be kind")

policy = Policy()
"""


class Issuer(BaseHTTPRequestHandler):
    """Tells of tokens, as RFC 7662 has it."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert self.headers["Authorization"] == "Basic " + b64encode(b"mail:secret").decode()
        answer = {
            "good": {"active": True, "username": "bob", "scope": "openid mail"},
            "other-scope": {"active": True, "username": "bob", "scope": "openid"},
        }.get(form["token"][0], {"active": False})
        body = json.dumps(answer).encode()
        self.send_response(503 if form["token"] == ["fault"] else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


MESSAGE = b"Subject: hello\r\n\r\n.dot\r\nbye\r\n"


class Tac(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = self.folder / "mailftp.toml"

    def serve(self, name: str, **more: str) -> Serving:
        serving = Serving("-y", str(ROOT / "tac" / name), folder=self.folder, **more)
        self.addCleanup(lambda: serving.stop(signal.SIGKILL) if serving.process.poll() is None else None)
        return serving

    def configure(self) -> dict[str, int]:
        """Settings with one account, and the ports that they name."""
        ports = {service: free_port() for service in ("smtp", "pop3", "ftp")}
        listen = "".join(f'{name} = ["tcp:{port}:interface=127.0.0.1"]\n' for name, port in ports.items())
        self.config.write_text(settings_text(services=(), more=listen))
        added = mailftp(
            "account", "add", "bob", "--config", str(self.config), "--password-file", "-", given="secret\n"
        )
        self.assertEqual(added.returncode, 0, added.stderr)
        return ports

    def ftp(self, port: int, name: str) -> Any:
        client = ftplib.FTP(timeout=30)
        client.connect("127.0.0.1", port)
        client.login(name, "secret")
        self.addCleanup(client.close)
        return client

    def test_all(self) -> None:
        """Every service of the settings runs."""
        ports = self.configure()
        serving = self.serve("all.tac", MAILFTP_CONFIG=str(self.config))
        serving.wait_for("server started")
        smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30).quit()
        pop3 = poplib.POP3("127.0.0.1", ports["pop3"], timeout=30)
        pop3.user("bob")
        pop3.pass_("secret")
        self.assertEqual(pop3.stat(), (0, 0))
        pop3.quit()
        self.ftp(ports["ftp"], "bob").quit()
        self.assertEqual(serving.stop(), -signal.SIGTERM)

    def test_tokens(self) -> None:
        """A token opens the account that its issuer names, and passwords are as good as ever."""
        ports = self.configure()
        issuer = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
        self.addCleanup(issuer.server_close)
        serving_http = threading.Thread(target=issuer.serve_forever)
        serving_http.start()
        self.addCleanup(serving_http.join)
        self.addCleanup(issuer.shutdown)
        serving = self.serve(
            "tokens.tac",
            MAILFTP_CONFIG=str(self.config),
            INTROSPECTION=f"http://127.0.0.1:{issuer.server_port}/introspect",
            CLIENT="mail:secret",
        )
        serving.wait_for("server started")
        for token, answer in (
            (b"good", b"+OK maildrop has 0 messages (0 octets)"),
            (b"other-scope", b"-ERR [AUTH] wrong name or password"),
            (b"old", b"-ERR [AUTH] wrong name or password"),
            (b"fault", b"-ERR [SYS/TEMP] the accounts cannot be read just now"),
        ):
            pop3 = poplib.POP3("127.0.0.1", ports["pop3"], timeout=30)
            said = b64encode(b"n,a=bob,\x01auth=Bearer " + token + b"\x01\x01")
            pop3._putline(b"AUTH OAUTHBEARER " + said)
            got = pop3._getline()[0]
            if got.startswith(b"+ "):
                self.assertEqual(json.loads(b64decode(got[2:])), {"status": "invalid_token", "scope": "mail"})
                pop3._putline(b"AQ==")
                got = pop3._getline()[0]
            self.assertEqual(got, answer)
            pop3.close()
        pop3 = poplib.POP3("127.0.0.1", ports["pop3"], timeout=30)
        pop3.user("bob")
        pop3.pass_("secret")
        pop3.quit()
        self.assertEqual(serving.stop(), -signal.SIGTERM)

    def test_hooks(self) -> None:
        """A hook takes the mail of one domain, refuses some of it, and leaves the rest to the server."""
        ports = self.configure()
        tickets = self.folder / "tickets"
        serving = self.serve("hooks.tac", MAILFTP_CONFIG=str(self.config), TICKETS=str(tickets))
        serving.wait_for("server started")
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30) as client:
            client.sendmail("a@b.test", ["ticket-7@tickets.example.test"], MESSAGE)
            large = MESSAGE + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 2000
            client.sendmail("a@b.test", ["ticket-8@tickets.example.test"], large)
            client.sendmail("a@b.test", ["bob@example.test"], MESSAGE)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@b.test", ["complaint@tickets.example.test"], MESSAGE)
        kept = sorted((file.read_bytes() for file in tickets.iterdir()), key=len)
        self.assertEqual(kept, [MESSAGE, large])
        pop3 = poplib.POP3("127.0.0.1", ports["pop3"], timeout=30)
        pop3.user("bob")
        pop3.pass_("secret")
        self.assertEqual(pop3.stat()[0], 1)
        pop3.quit()

    def test_hook_of_a_plugin(self) -> None:
        """`twistd mailftp` asks the hooks that Twisted's plugin system finds."""
        ports = self.configure()
        plugins = self.folder / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "policy.py").write_text(_POLICY)
        serving = Serving(
            "mailftp", "--config", str(self.config), folder=self.folder, PYTHONPATH=f"{self.folder}:{ROOT}"
        )
        self.addCleanup(lambda: serving.stop(signal.SIGKILL) if serving.process.poll() is None else None)
        serving.wait_for("server started")
        with smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30) as client:
            with self.assertRaises(smtplib.SMTPSenderRefused) as caught:
                client.sendmail("rude@b.test", ["bob@example.test"], MESSAGE)
            self.assertEqual((caught.exception.smtp_code, caught.exception.smtp_error[:5]), (550, b"5.7.1"))
            client.sendmail("a@b.test", ["bob@example.test"], MESSAGE)

    def test_ftp_alone(self) -> None:
        """FTP runs, and nothing else of the settings."""
        ports = self.configure()
        self.serve("ftp.tac").wait_for("server started")
        client = self.ftp(ports["ftp"], "bob")
        client.storbinary("STOR letter", io.BytesIO(b"hello"))
        self.assertEqual(client.nlst(), ["letter"])
        home = self.folder / "data" / "files" / "example.test" / "bob"
        self.assertEqual((home / "letter").read_bytes(), b"hello")
        for other in ("smtp", "pop3"):
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports[other]), 30)

    def test_embedded(self) -> None:
        """FTP below another application's portal, with Twisted's realm and users; no store is made."""
        port = free_port()
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        homes = self.folder / "homes"
        serving = self.serve("embedded.tac", EMBEDDED_FTP=endpoint, EMBEDDED_HOMES=str(homes))
        serving.wait_for("still here")
        client = self.ftp(port, "alice")
        client.storbinary("STOR letter", io.BytesIO(b"hello"))
        self.assertEqual((homes / "alice" / "letter").read_bytes(), b"hello")
        got = io.BytesIO()
        client.retrbinary("RETR letter", got.write)
        self.assertEqual(got.getvalue(), b"hello")
        client.quit()
        self.assertEqual([path.name for path in homes.iterdir()], ["alice"])
        with self.assertRaises(ftplib.error_perm):
            self.ftp(port, "bob")

    def test_maildirs(self) -> None:
        """A message goes into a maildir by SMTP and out of it by POP3; who is not there is refused; Twisted's
        own checker says who may log in."""
        smtp, pop3 = free_port(), free_port()
        serving = self.serve(
            "maildirs.tac",
            MAILDIRS=str(self.folder / "maildirs"),
            MAILDIRS_SMTP=f"tcp:{smtp}:interface=127.0.0.1",
            MAILDIRS_POP3=f"tcp:{pop3}:interface=127.0.0.1",
        )
        serving.wait_for(f"{pop3}")
        with smtplib.SMTP("127.0.0.1", smtp, timeout=30) as client:
            client.sendmail("a@b.test", ["Alice@example.test"], MESSAGE)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@b.test", ["bob@example.test"], MESSAGE)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                client.sendmail("a@b.test", ["alice@elsewhere.test"], MESSAGE)
        reader = poplib.POP3("127.0.0.1", pop3, timeout=30)
        self.addCleanup(reader.close)
        reader.user("alice")
        with self.assertRaises(poplib.error_proto):
            reader.pass_("wrong")
        reader.user("alice")
        reader.pass_("secret")
        lines = reader.retr(1)[1]
        self.assertEqual(lines[0], b"Return-Path: <a@b.test>")
        self.assertIn(b"by mx.example.test with ESMTP", b" ".join(lines))
        self.assertTrue((b"\r\n".join(lines) + b"\r\n").endswith(MESSAGE))
        reader.dele(1)
        reader.quit()
        self.assertEqual(list((self.folder / "maildirs" / "alice" / "new").iterdir()), [])
