"""From clear to encrypted, from one protocol to another, from one service to another: over real sockets."""

from __future__ import annotations

import socket
import ssl

from twisted.trial.unittest import SynchronousTestCase

from tests.hostile.raw import QUICK, Raw, plain, unverified
from tests.hostile.sink import Sink
from tests.interop.running import RunningServer

#: Verb for TLS, its answer, what an attacker puts behind it, what is asked under TLS and how it is refused.
INJECTIONS = {
    "smtp": (b"STARTTLS", b"220", b"EHLO e\r\nMAIL FROM:<e@far.test>\r\n", b"RCPT TO:<alice@a.test>", b"503"),
    "submission": (b"STARTTLS", b"220", b"EHLO evil\r\nAUTH PLAIN x\r\n", b"MAIL FROM:<a@a.test>", b"5"),
    "pop3": (b"STLS", b"+OK", b"USER evil\r\n", b"PASS x", b"-ERR"),
    "ftp": (b"AUTH TLS", b"234", b"USER evil\r\n", b"PASS x", b"503"),
}  # fmt: skip
WEB = (
    b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
)
#: What a page in a browser would have us do.
RIDERS = {
    "smtp": b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@a.test>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n",
    "pop3": b"USER alice\r\nPASS hungry\r\nRETR 1\r\nQUIT\r\n",
    "ftp": b"USER alice\r\nPASS hungry\r\nPWD\r\nQUIT\r\n",
}
RIDERS |= {"submission": RIDERS["smtp"], "submissions": RIDERS["smtp"]}
RIDERS |= {"pop3s": RIDERS["pop3"], "ftps": RIDERS["ftp"]}


class CrossingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "a.test", settings=QUICK)
        self.alice = self.server.add_account("alice", "hungry")

    def test_starttls_injection(self) -> None:
        """What comes in the segment of STARTTLS is neither done nor answered, not even in part; nor is the
        session of before TLS worth anything after it (CVE-2011-0411, CVE-2021-33515, CVE-2021-38542)."""
        self.server.start()
        for service, (verb, answer, behind, then, refused) in INJECTIONS.items():
            for piece in (behind, behind[:7]):
                with Raw(self.server.ports[service]) as client:
                    client.reply()
                    client.send(b"EHLO a\r\n" if "s" in service else b"NOOP\r\n")
                    client.reply()
                    client.send(verb + b"\r\n" + piece)
                    self.assertTrue(client.line().startswith(answer), service)
                    client.start_tls()
                    reply = client.ask(then)
                    self.assertTrue(reply.startswith(refused), (service, piece, reply))

    def test_session_fixation(self) -> None:
        """A name or a login given in the clear is not there after TLS began."""
        self.server.start()
        with Raw(self.server.ports["pop3"]) as client:
            client.reply()
            client.ask("USER alice", "+OK")
            client.ask("STLS", "+OK")
            client.start_tls()
            client.ask("PASS hungry", "-ERR")
        with Raw(self.server.ports["submission"]) as client:
            client.reply()
            client.ask("EHLO a", "250")
            client.ask(b"AUTH PLAIN " + plain(self.alice, "hungry"), "235")
            client.ask("STARTTLS", "220")
            client.start_tls()
            client.ask("EHLO a", "250")
            client.ask(f"MAIL FROM:<{self.alice}>", "530")

    def test_response_injection(self) -> None:
        """Octets that follow the far side's 220 to our STARTTLS are no answers to what we say under TLS: the
        connection is not used (CVE-2021-38371)."""
        injected = (
            b"220 go ahead\r\n250-sink.test\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n"
        )
        sink = Sink(self, {b"STARTTLS": injected}, extensions=(b"STARTTLS",))
        self.server.configure(
            f'{QUICK}[delivery]\nretry = ["1h"]\n[delivery.routes]\n"far.test" = "127.0.0.1:{sink.port}"\n'
        )
        self.server.start()
        with Raw(self.server.ports["submission"]) as client:
            client.reply()
            client.ask("EHLO a", "250")
            client.ask(b"AUTH PLAIN " + plain(self.alice, "hungry"), "235")
            client.ask(f"MAIL FROM:<{self.alice}>", "250")
            client.ask("RCPT TO:<bob@far.test>", "250")
            client.ask("DATA", "354")
            client.ask(b"Subject: x\r\n\r\nx\r\n.", "250")
        self.server.wait_for("deferred")
        self.assertEqual(sink.messages, [])
        self.assertEqual(len(self.server.queue()), 1)

    def test_browser(self) -> None:
        """A request that a browser was made to send is not a session: nothing that follows is done, in clear
        or, where a certificate is shared, under TLS (ALPACA)."""
        self.server.start()
        for service, rider in RIDERS.items():
            for request in WEB:
                with Raw(self.server.ports[service]) as client:
                    if service.endswith("s") and service != "pop3":
                        client.start_tls()
                    client.send(request + rider)
                    self.assertNotRegex(client.rest(), rb"(?m)^(354|230|257|\+OK maildrop)")

    def test_alpn(self) -> None:
        """A client that offers only another protocol gets no handshake."""
        self.server.start()
        for service in ("submissions", "pop3s", "ftps"):
            for names in (("http/1.1",), ("h2", "http/1.1"), ("imap",)):
                with Raw(self.server.ports[service]) as client:
                    self.assertRaises(ssl.SSLError, client.start_tls, unverified(names))

    def test_tickets(self) -> None:
        """A session of one service is not resumed at another, and is at its own."""
        self.server.start()
        context = unverified()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        resumed = {}
        for first in ("submissions", "pop3s", "ftps"):
            with Raw(self.server.ports[first]) as client:
                client.start_tls(context)
                client.reply()
                assert isinstance(client.socket, ssl.SSLSocket)
                session = client.socket.session
            for second in ("submissions", "pop3s", "ftps"):
                with Raw(self.server.ports[second]) as client:
                    client.start_tls(context, session)
                    client.reply()
                    assert isinstance(client.socket, ssl.SSLSocket)
                    resumed[first, second] = client.socket.session_reused
        self.assertEqual(resumed, {pair: pair[0] == pair[1] for pair in resumed})

    def test_aborted_logins(self) -> None:
        """Exchanges that are malformed, cancelled, endless or cut off let nobody in and leave the service as
        it was (CVE-2019-11494, CVE-2025-59028); no login is for another (CVE-2023-27582)."""
        self.server.add_account("bob", "thirsty")
        self.server.start()
        tries = [
            b"PLAIN\r\n*", b"PLAIN ====", b"PLAIN " + b"A" * 9000, b"LOGIN\r\n*", b"LOGIN ===\r\n=",
            b"SCRAM-SHA-256 biws", b"SCRAM-SHA-256\r\n\r\n", b"XOAUTH2 x", b"PLAIN AA==",
            b"PLAIN " + plain("bob@a.test", "thirsty", "alice@a.test"),
            b"PLAIN " + plain("bob@a.test\0alice", "thirsty"),
            b"PLAIN " + plain("", "", "alice@a.test"), b"PLAIN " + plain("alice@a.test", ""),
            b"PLAIN " + plain("alice@a.test", "hungry\0"),
        ]  # fmt: skip
        for service, last in (("submission", b"QUIT\r\n"), ("pop3", b"QUIT\r\n")):
            for octets in tries:
                with Raw(self.server.ports[service]) as client:
                    client.send(b"EHLO a\r\n" if service == "submission" else b"")
                    client.send(b"AUTH " + octets + b"\r\n" + last)
                    client.socket.shutdown(socket.SHUT_WR)
                    self.assertNotRegex(client.rest(), rb"(?m)^(235|\+OK maildrop)", octets)
            with Raw(self.server.ports[service]) as client:
                client.send(b"AUTH PLAIN\r\n" + plain(self.alice, "hungry")[:10])
            with Raw(self.server.ports[service]) as client:
                client.reply()
                if service == "submission":
                    client.ask("EHLO a", "250")
                client.ask(
                    b"AUTH PLAIN " + plain(self.alice, "hungry"), "235" if service == "submission" else "+OK"
                )
        self.assertFalse([line for line in self.server.output if '"traceback"' in line])
