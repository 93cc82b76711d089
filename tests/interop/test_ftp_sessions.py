"""`mailftp ftp` on a running server: who, kick, metrics; and the transfer log that it writes."""

from __future__ import annotations

import ftplib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import RunningServer, program, run


class SessionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailftp-who-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = RunningServer(self, "a.test")
        self.server.configure(f'[ftp]\ntransfer_log = "{self.folder}/xferlog"\n')
        self.server.add_account("alice", "wonderland")
        self.server.start()

    def log_in(self) -> ftplib.FTP:
        client = ftplib.FTP()
        self.addCleanup(client.close)
        client.connect("127.0.0.1", self.server.ports["ftp"], timeout=60)
        client.login("alice@a.test", "wonderland")
        return client

    def ask(self, *words: str) -> bytes:
        done = self.server.cli("ftp", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_sessions(self) -> None:
        """Somebody who uploads is shown with what it does, counted, and thrown out."""
        client = self.log_in()
        client.storbinary("STOR whole", io.BytesIO(b"x" * 1000))
        client.voidcmd("ALLO 4000")
        data = client.transfercmd("STOR half")
        self.addCleanup(data.close)
        data.sendall(b"x" * 1000)
        for _ in range(600):
            (found,) = json.loads(self.ask("who", "--json"))
            if found.get("octets") == 1000:
                break
            time.sleep(0.1)
        self.assertEqual((found["account"], found["path"], found["percent"]), ("alice@a.test", "/half", 25.0))
        self.assertIn(b"/half", self.ask("who"))
        metrics = json.loads(self.ask("metrics", "--json"))
        self.assertEqual((metrics["sessions"], metrics["transfers"], metrics["uploaded"]), (1, 1, 1))
        self.assertIn(b"uploaded_octets", self.ask("metrics"))
        other = self.log_in()
        self.assertEqual(self.ask("kick", found["session"]), b"1 ended\n")
        self.assertRaises((ftplib.error_temp, EOFError, OSError), client.voidcmd, "NOOP")
        self.assertEqual(other.voidcmd("NOOP")[:3], "200")
        self.assertEqual(self.ask("kick", "alice@a.test"), b"1 ended\n")
        done = self.server.cli("ftp", "kick", "nobody")
        self.assertEqual((done.returncode, b"nobody" in done.stderr), (1, True))
        self.server.stop()
        lines = (self.folder / "xferlog").read_text().splitlines()
        self.assertEqual([line.split()[8] for line in lines], ["/whole", "/half"])
        self.assertEqual([line.split()[17] for line in lines], ["c", "i"])
        self.assertEqual(self.server.cli("ftp", "who").returncode, 1)


class CountsTests(SynchronousTestCase):
    def test_over_a_restart(self) -> None:
        """What curl fetched before the server's restart counts after it."""
        server = RunningServer(self, "a.test")
        server.configure('[[ftp.accounts]]\ndaily_download = "1KB"\n')
        server.add_account("alice", "wonderland")
        home = server.folder / "data" / "files" / "a.test" / "alice"
        home.mkdir(parents=True)
        (home / "f").write_bytes(bytes(600))
        # 19: CURLE_FTP_COULDNT_RETR_FILE.
        for status in (0, 19):
            server.start()
            url = f"ftp://127.0.0.1:{server.ports['ftp']}/f"
            curl = program("curl", "curl")
            done = run(curl, "-sS", "--max-time", "50", "-u", "alice@a.test:wonderland", url)
            self.assertEqual((done.returncode, len(done.stdout)), (status, 0 if status else 600), done.stderr)
            server.stop()
