"""curl at a running server, and nginx before it: TLS, the settings of programs, a reload, a prefix."""

from __future__ import annotations

import json
import signal
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.nginx import Nginx
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
        long = ("--data-binary", "x" * 100_000)
        self.assertEqual(self.over_tls("/autodiscover/autodiscover.xml", *long)[0], 413)
        self.assertEqual(self.over_tls("/", *long)[0], 405)

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


class NginxTests(SynchronousTestCase):
    def setUp(self) -> None:
        program("nginx", "nginx-light")
        self.curl = program("curl", "curl")
        self.server = WebServer(
            self, "web.test", settings='[proxy]\ntrusted = ["127.0.0.1/32"]\n[http]\nprefix = "/server/"\n'
        )
        self.server.start()
        self.port = Nginx(
            self,
            self.server,
            "location /server/ { proxy_pass UPSTREAM; }\n"
            "location /taken/ { proxy_pass UPSTREAM/; }\n"
            "location / { proxy_pass UPSTREAM; }\n",
        ).port

    def get(self, path: str) -> tuple[str, str, str]:
        """(status, a header that only TLS has, body)"""
        name = self.server.hostname
        done = run(
            self.curl, "-sS", "--retry", "30", "--retry-connrefused", "--retry-delay", "1",
            "--cacert", self.server.ca, "--resolve", f"{name}:{self.port}:127.0.0.1",
            "-w", "\n%{http_code} %header{strict-transport-security}", f"https://{name}:{self.port}{path}",
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        body, _, last = done.stdout.decode().rpartition("\n")
        status, _, strict = last.partition(" ")
        return status, strict, body

    def test_behind_nginx(self) -> None:
        """Plain, under a prefix that nginx passes on, and under one that it takes away; what we answer with
        knows that the client came by TLS."""
        query = "autodiscover/autodiscover.json?Protocol=AutodiscoverV1"
        for path in (f"/{query}", f"/server/{query}", f"/taken/{query}"):
            status, strict, body = self.get(path)
            self.assertEqual(status, "200", path)
            self.assertIn("max-age=", strict)
            url = f"https://{self.server.hostname}/server/autodiscover/autodiscover.xml"
            self.assertEqual(json.loads(body)["Url"], url, path)
        self.assertEqual(self.get("/server/none")[0], "404")
