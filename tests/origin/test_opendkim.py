"""OpenDKIM checks what we sign."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.origin.test_dkim import MESSAGE, RSA, record, signed_by_us


def verdict(message: bytes, name: str, record: str) -> str:
    """What OpenDKIM says of the signatures of a message. Raises SkipTest."""
    program = shutil.which("opendkim", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise SkipTest("install the Debian package opendkim")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "message").write_bytes(message)
        (folder / "keys").write_text(f"{name} {record}\n")
        (folder / "conf").write_text(f"Mode v\nTestPublicKeys {folder}/keys\n")
        done = subprocess.run(
            [program, "-x", folder / "conf", "-t", folder / "message", "-v"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
    return done.stdout.decode()


class OpenDKIMTests(SynchronousTestCase):
    def verdict(self, message: bytes) -> str:
        return verdict(message, "sel._domainkey.e.test", record(RSA))

    def test_opendkim_checks_ours(self) -> None:
        made = signed_by_us(MESSAGE, RSA)
        self.assertIn("2048-bit key) succeeded", self.verdict(made))
        self.assertIn("failed", self.verdict(made.replace(b"Hello", b"Hallo")))
        self.assertIn("failed", self.verdict(made.replace(b"From: ", b"From: e@e.test\r\nFrom: ")))
