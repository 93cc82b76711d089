"""The files of an account by HTTP and by FTP at a time: curl at a running server."""

from __future__ import annotations

import hashlib
import json
import os

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import RunningServer, program, run


class Files(RunningServer):
    services = ("https", "ftp")


class FilesByHTTP(SynchronousTestCase):
    def setUp(self) -> None:
        self.program = program("curl", "curl")
        self.server = Files(self, "a.test", settings="[quota]\nfiles = 20_000_000\n")
        self.server.add_account("alice", "wonderland")
        self.server.add_account("bob", "builder")
        self.server.start()
        self.base = f"https://localhost:{self.server.ports['https']}/files"

    def curl(self, *words: str, user: str = "alice@a.test:wonderland") -> tuple[int, bytes]:
        """The status and the body."""
        always = ("-sS", "--cacert", self.server.ca, "--max-time", "50", "-w", "\n%{http_code}")
        done = run(self.program, *always, "-u", user, *words)
        self.assertIn(done.returncode, (0, 33), done.stderr)
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status), body

    def test_same_files_as_by_ftp(self) -> None:
        source = self.server.folder / "source"
        octets = os.urandom(3_000_000)
        source.write_bytes(octets)
        self.assertEqual(self.curl("-T", str(source), f"{self.base}/in%20box.bin")[0], 201)
        ftp = f"ftp://127.0.0.1:{self.server.ports['ftp']}"
        done = run(self.program, "-sS", "-u", "alice@a.test:wonderland", f"{ftp}/in%20box.bin")
        self.assertEqual(done.stdout, octets, done.stderr)
        # What FTP stored is there at once, whole or from where a download was cut.
        done = run(self.program, "-sS", "-u", "alice@a.test:wonderland", "-T", source, f"{ftp}/by-ftp")
        self.assertEqual(done.returncode, 0, done.stderr)
        fetched = self.server.folder / "fetched"
        fetched.write_bytes(octets[:1_000_000])
        self.assertEqual(self.curl("-C", "-", "-o", str(fetched), f"{self.base}/by-ftp")[0], 206)
        self.assertEqual(fetched.read_bytes(), octets)
        status, body = self.curl(f"{self.base}/by-ftp?digest=SHA-256")
        self.assertEqual(json.loads(body)["digest"], hashlib.sha256(octets).hexdigest())
        names = [entry["name"] for entry in json.loads(self.curl(f"{self.base}/")[1])["entries"]]
        self.assertEqual(names, ["by-ftp", "in box.bin"])
        # curl goes on with an upload by Content-Range, as it does by FTP's REST.
        first = self.server.folder / "first"
        first.write_bytes(octets[:1_000_000])
        part = ("-H", "Content-Range: bytes 0-999999/3000000")
        self.assertEqual(self.curl("-T", str(first), *part, f"{self.base}/cut")[0], 202)
        self.assertEqual(self.curl("-T", str(source), "-C", "1000000", f"{self.base}/cut")[0], 201)
        status, body = self.curl(f"{self.base}/cut")
        self.assertEqual((status, body == octets), (200, True))

    def test_quota_and_others(self) -> None:
        source = self.server.folder / "source"
        source.write_bytes(bytes(21_000_000))
        self.assertEqual(self.curl("-T", str(source), f"{self.base}/big")[0], 507)
        self.assertEqual(self.curl(f"{self.base}/big")[0], 404)
        self.assertEqual(self.curl("-T", str(self.server.ca), f"{self.base}/mine")[0], 201)
        self.assertEqual(self.curl(f"{self.base}/mine", user="bob@a.test:builder")[0], 404)
        self.assertEqual(self.curl(f"{self.base}/mine", user="alice@a.test:wrong")[0], 401)
        self.assertEqual(self.curl("-X", "DELETE", f"{self.base}/mine")[0], 204)

    def test_app_passwords(self) -> None:
        """One that may only read by FTP and HTTP changes nothing here either; one for mail opens nothing."""
        words = ("account", "app-password", "add", "alice", "--json", "--protocols")
        reader = json.loads(self.server.cli(*words, "http,ftp", "--name", "r", "--read-only").stdout)[
            "password"
        ]
        mail = json.loads(self.server.cli(*words, "imap", "--name", "m").stdout)["password"]
        self.curl("-T", str(self.server.ca), f"{self.base}/kept")
        user = f"alice@a.test:{reader}"
        self.assertEqual(self.curl(f"{self.base}/kept", user=user), (200, self.server.ca.read_bytes()))
        self.assertEqual(self.curl("-X", "DELETE", f"{self.base}/kept", user=user)[0], 403)
        self.assertEqual(self.curl("-T", str(self.server.ca), f"{self.base}/new", user=user)[0], 403)
        self.assertEqual(self.curl(f"{self.base}/kept", user=f"alice@a.test:{mail}")[0], 401)
