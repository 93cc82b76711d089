"""Both reach their files: a real tree there and back by lftp, hash for hash; curl, plain and encrypted."""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import PATIENCE, RunningServer, program, run

#: Not part of the language: what a distribution or a user adds, and what running it leaves.
PASSED_OVER = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "lib-dynload"}


def standard_library(folder: Path) -> None:
    """The interpreter's standard library, its own tests left out."""
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        folder,
        ignore=lambda _, names: [n for n in names if n in PASSED_OVER or n.startswith("config-")],
        symlinks=False,
        ignore_dangling_symlinks=True,
    )


def hashes(folder: Path) -> dict[str, str]:
    """Path below `folder` -> SHA-256, for every file."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


class FilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailftp-files-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = RunningServer(self, "a.test")
        self.alice = self.server.add_account("alice", "wonderland")
        self.server.start()

    def lftp(self, commands: str) -> None:
        done = run(
            program("lftp", "lftp"), "--norc", "-c",
            f"set net:max-retries 1; set net:timeout 30; set cmd:fail-exit yes; "
            f"set ssl:ca-file {self.server.ca}; set ssl:check-hostname no; set ftp:ssl-force yes; "
            f"set ftp:ssl-protect-data yes; open -u {self.alice},wonderland "
            f"ftp://127.0.0.1:{self.server.ports['ftp']}; {commands}",
            timeout=5 * PATIENCE,
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode().splitlines()
        self.assertEqual(done.returncode, 0, [line for line in said if " -> " not in line])

    def test_the_standard_library_there_and_back(self) -> None:
        """lftp `mirror -R` of over 1,000 real files, under TLS, and `mirror` back: every hash is equal."""
        source, back = self.folder / "source", self.folder / "back"
        standard_library(source)
        wanted = hashes(source)
        if len(wanted) < 1000:
            # A distribution may split its library: what it lacks comes from the interpreter's own sources.
            standard_library(source / "again")
            wanted = hashes(source)
        self.assertGreater(len(wanted), 1000)
        self.lftp(f"mirror -R -P 4 {source} tree; mirror -P 4 tree {back}")
        self.assertEqual(hashes(back), wanted)
        stored = self.server.folder / "data/files/a.test/alice/tree"
        self.assertEqual(hashes(stored), wanted)
        self.assertEqual([name for name in os.listdir(stored.parent) if name != "tree"], [])

    def test_curl(self) -> None:
        """Put and got by curl: plain and FTPS, explicit and implicit, passive; active where it is plain."""
        file = self.folder / "scan.pdf"
        file.write_bytes(os.urandom(300_000))
        plain, implicit = (f"127.0.0.1:{self.server.ports[name]}" for name in ("ftp", "ftps"))
        tls = ("--cacert", self.server.ca)
        ways = {
            "plain": (f"ftp://{plain}/", ()),
            "active": (f"ftp://{plain}/", ("--ftp-port", "127.0.0.1")),
            "explicit": (f"ftp://{plain}/", ("--ssl-reqd", *tls)),
            "implicit": (f"ftps://{implicit}/", tls),
        }
        for way, (url, options) in ways.items():
            curl = (program("curl", "curl"), "--silent", "--show-error", "--user", f"{self.alice}:wonderland")
            put = run(*curl, *options, "--upload-file", file, f"{url}{way}.pdf")
            self.assertEqual((put.returncode, put.stderr), (0, b""), way)
            got = run(*curl, *options, f"{url}{way}.pdf")
            self.assertEqual((got.returncode, got.stdout == file.read_bytes()), (0, True), way)
