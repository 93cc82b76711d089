"""curl and openssl at a running server: TLS, ALPN, the settings of programs, a slow client, a reload."""

from __future__ import annotations

import signal
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import PATIENCE, RunningServer, program, run


class WebServer(RunningServer):
    services = (*RunningServer.services, "http", "https")


class CurlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.program = program("curl", "curl")
        self.server = WebServer(self, "web.test")
        self.server.start()

    def curl(self, *words: str) -> tuple[int, str]:
        """(status, body)"""
        done = run(self.program, "-sS", "-w", "\n%{http_code}", *words)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body

    def over_tls(self, path: str, *words: str) -> tuple[int, str]:
        port = self.server.ports["https"]
        name = self.server.hostname
        resolve = f"{name}:{port}:{self.server.address}"
        return self.curl(
            "--cacert", str(self.server.ca), "--resolve", resolve, *words, f"https://{name}:{port}{path}"
        )

    def test_curl(self) -> None:
        """The certificate is checked, the names are asked for by Host, everything has its answer."""
        status, policy = self.over_tls("/.well-known/mta-sts.txt", "-H", "Host: mta-sts.web.test")
        self.assertEqual(status, 200)
        self.assertIn(f"mx: {self.server.hostname}", policy)
        status, config = self.over_tls("/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=a@web.test")
        self.assertEqual(status, 200)
        for service in ("imaps", "pop3s", "submissions"):
            self.assertIn(f"<port>{self.server.ports[service]}</port>", config)
        port = self.server.ports["http"]
        self.assertEqual(
            self.curl(f"http://127.0.0.1:{port}/profile.mobileconfig?address=a@web.test")[0], 200
        )
        self.assertEqual(self.curl(f"http://127.0.0.1:{port}/", "-H", "Host: evil.test")[0], 421)
        self.assertEqual(self.curl("--path-as-is", f"http://127.0.0.1:{port}/../../etc/passwd")[0], 404)
        status, said = self.over_tls("/", "--data-binary", "x" * 100_000)
        self.assertEqual(status, 413)

    def test_zone(self) -> None:
        """What the zone says leads here: its records are there because https is listened on."""
        done = self.server.cli("dns", "zone")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        zone = done.stdout.decode()
        for name in ("mta-sts", "_mta-sts", "autoconfig", "autodiscover"):
            self.assertRegex(zone, rf"(?m)^{name}\b")

    def test_reload_and_stop(self) -> None:
        """A connection that waits between two requests outlives a reload and not the stop."""
        with socket.create_connection(("127.0.0.1", self.server.ports["http"]), PATIENCE) as client:
            ask = b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            for _ in range(2):
                client.sendall(ask)
                said = b""
                while b"by this name\n" not in said:
                    piece = client.recv(4096)
                    self.assertTrue(piece, said)
                    said += piece
                self.server.reload()
                self.server.wait_for("reloaded")
            self.assertEqual(self.server.stop(), -signal.SIGTERM)
            self.assertEqual(client.recv(4096), b"")
