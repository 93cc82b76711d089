"""The tutorial is true: its shell blocks are run, in their order, as a reader would.

Only the addresses differ: 127.0.0.1 and 127.0.0.2 become two that nobody else uses on the loopback, so
that the ports of the page are free.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import PATIENCE, ROOT, environment, program

PAGE = ROOT / "docs/tutorial/two_servers.rst"
#: Blocks of the installation: they are what README.rst says, and test_packaging installs the wheel.
INSTALLATION = {"In a checkout", "In the same folder"}


@dataclass(frozen=True)
class Block:
    section: str
    caption: str
    code: str

    @property
    def terminal(self) -> str:
        """The name of the terminal that the block keeps busy, or ""."""
        found = re.fullmatch(r"In a terminal of its own \((\w+)\)", self.caption)
        return found[1] if found else ""


def blocks(text: str) -> Iterator[Block]:
    section = ""
    for part in re.finditer(
        r"(?m)^(?P<title>\S.*)\n-+$"
        r"|^\.\. code-block:: sh\n(?:   :caption: (?P<caption>.*)\n)?\n(?P<code>(?:   .*\n|\n)+)",
        text,
    ):
        if part["title"]:
            section = part["title"]
        else:
            code = "\n".join(line[3:] for line in part["code"].splitlines())
            yield Block(section, part["caption"] or "", code.strip() + "\n")


class Reader:
    """Somebody at a few terminals."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tutorial-", dir="/tmp"))
        case.addCleanup(shutil.rmtree, self.folder)
        self.busy: dict[str, subprocess.Popen[bytes]] = {}
        case.addCleanup(self.leave)
        net = f"127.{random.randrange(1, 255)}.{random.randrange(256)}"
        self.a, self.b = f"{net}.1", f"{net}.2"
        # The page's A is where every client looks by itself; B is named on the page.
        (self.folder / ".curlrc").write_text(
            "silent\nshow-error\n"
            + "".join(f'connect-to = "localhost:{port}:{self.a}:{port}"\n' for port in (2587, 2121))
        )
        commands = self.folder / "bin"
        commands.mkdir()
        for name, start in (
            ("mailftp", "from mailftp.cli import main; main()"),
            ("twistd", "from twisted.scripts.twistd import run; run()"),
        ):
            file = commands / name
            file.write_text(f"#!{sys.executable}\nimport sys; sys.argv[0] = {name!r}\n{start}\n")
            file.chmod(0o755)
        self.environment = environment() | {
            "HOME": str(self.folder),
            "PATH": f"{commands}:{os.environ['PATH']}:/usr/sbin",
        }

    def here(self, code: str) -> str:
        """A command of the page at the addresses of this test."""
        code = code.replace("127.0.0.1", self.a).replace("127.0.0.2", self.b)
        if code.startswith("mailftp init"):
            code += f"sed -i 's/127\\.0\\.0\\.1/{self.a}/' a/mailftp.toml\n"
        return code

    def type(self, code: str) -> str:
        """What it prints; AssertionError when a command fails."""
        done = subprocess.run(
            ["bash", "-e", "-c", self.here(code)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        printed = done.stdout.decode(errors="replace")
        if done.returncode:
            raise AssertionError(f"{code}ended with {done.returncode}:\n{printed}{self.screens()}")
        return printed

    def keep_busy(self, terminal: str, code: str) -> None:
        with (self.folder / f"{terminal}.screen").open("ab") as screen:
            screen.truncate(0)
            self.busy[terminal] = subprocess.Popen(
                ["bash", "-c", "exec " + self.here(code)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def screen(self, terminal: str) -> str:
        return (self.folder / f"{terminal}.screen").read_text(errors="replace")

    def screens(self) -> str:
        return "".join(f"--- {terminal}\n{self.screen(terminal)}" for terminal in self.busy)

    def see(self, terminal: str, words: str, times: int = 1) -> None:
        """Look at a terminal until it has shown these words this often."""
        deadline = time.monotonic() + PATIENCE
        while self.screen(terminal).count(words) < times:
            if time.monotonic() > deadline or self.busy[terminal].poll() is not None:
                raise AssertionError(f"{terminal} does not show {words!r}:\n{self.screens()}")
            time.sleep(0.05)

    def answers(self, port: int) -> None:
        """Until somebody listens there."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((self.a, port), PATIENCE).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self, terminal: str) -> int:
        """As Ctrl-C does. Not by SIGINT: a shell's background job, such as a CI run may be, ignores that."""
        self.busy[terminal].terminate()
        status = self.busy[terminal].wait(PATIENCE)
        del self.busy[terminal]
        return status

    def leave(self) -> None:
        for process in self.busy.values():
            process.kill()
            process.wait()


class TutorialTests(SynchronousTestCase):
    def test_every_command(self) -> None:
        """From `mailftp init` to the file that comes back, each command does what the page says."""
        program("curl", "curl")
        program("dnsmasq", "dnsmasq-base")
        reader = Reader(self)
        delivered = 0
        printed: list[str] = []
        steps = [block for block in blocks(PAGE.read_text()) if block.caption not in INSTALLATION]
        for before, block in zip([None, *steps], steps, strict=False):
            if block.section == "When B is not there" and before and before.section != block.section:
                self.assertEqual(reader.stop("B"), -signal.SIGTERM)
            if block.terminal:
                self.assertEqual(len(block.code.replace("\\\n", "").splitlines()), 1)
                reader.keep_busy(block.terminal, block.code)
                if block.terminal == "dnsmasq":
                    reader.answers(5300)
                else:
                    reader.see(block.terminal, "server started")
                continue
            printed.append(reader.type(block.code))
            if "smtp://" in block.code or "queue retry" in block.code:
                if "B" in reader.busy:
                    delivered += 1
                    reader.see("A", " delivered ", delivered)
                else:
                    reader.see("A", " deferred ")
        checked = next(text for text in printed if "is fine" in text)
        self.assertEqual(checked.count("is fine"), 2)
        queue = next(text for text in printed if "last error" in text)
        self.assertRegex(queue, r"alice@a\.test +bob@b\.test +attempt 2 in \d+ s +.*refused")
        mails = [text for text in printed if text.startswith("Return-Path: <alice@a.test>")]
        self.assertEqual(len(mails), 2)
        for mail in mails:
            self.assertIn("Subject: lunch?\r\n", mail.replace("\n", "\r\n").replace("\r\r", "\r"))
        self.assertIn("Subject: lunch?\n\nAt one.\n", printed[-1])
        file = reader.folder / "a/data/files/a.test/alice/message"
        self.assertEqual(file.read_bytes(), (reader.folder / "message").read_bytes())

    def test_every_block_is_read(self) -> None:
        """No block of the page is of a kind that the test would pass over."""
        text = PAGE.read_text()
        self.assertEqual(len(list(blocks(text))), text.count(".. code-block::"))
        self.assertNotRegex(text, r"::\n\n")
