"""OpenDKIM checks what we sign."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.origin.test_dkim import MESSAGE, RSA, record, signed_by_us


class OpenDKIMTests(SynchronousTestCase):
    def verdict(self, message: bytes) -> str:
        program = shutil.which("opendkim", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if program is None:
            raise SkipTest("install the Debian package opendkim")
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "message").write_bytes(message)
        (folder / "keys").write_text(f"sel._domainkey.e.test {record(RSA)}\n")
        (folder / "conf").write_text(f"Mode v\nTestPublicKeys {folder}/keys\n")
        done = subprocess.run(
            [program, "-x", folder / "conf", "-t", folder / "message", "-v"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return done.stdout.decode()

    def test_opendkim_checks_ours(self) -> None:
        made = signed_by_us(MESSAGE, RSA)
        self.assertIn("2048-bit key) succeeded", self.verdict(made))
        self.assertIn("failed", self.verdict(made.replace(b"Hello", b"Hallo")))
        self.assertIn("failed", self.verdict(made.replace(b"From: ", b"From: e@e.test\r\nFrom: ")))
