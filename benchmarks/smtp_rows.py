"""The SMTP rows of benchmarks.side_by_side: Postfix's own load generator, smtp-source, brings the messages,
and each is answered 250 before the next."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.ftp_rows import Measure, Target, memory, tree

#: Rows of which less is better: CPU seconds, MiB.
LESS = frozenset({"cpu-s-1000", "memory-100-MiB"})


def bring(target: Target, sessions: int, size: int, count: int, *, kept: bool = True) -> float:
    """Seconds for so many messages; `kept`: a connection brings one after the other, in place of one each."""
    source = shutil.which("smtp-source", path="/usr/sbin:/usr/bin") or sys.exit("needs postfix")
    start = time.monotonic()
    subprocess.run(
        [
            source, *(["-d"] if kept else []),
            "-s", str(sessions), "-m", str(count), "-l", str(size),
            "-f", "s@sender.test", "-t", "u0@bench.test", f"127.0.0.1:{target.port}",
        ],
        check=True,
    )  # fmt: skip
    return time.monotonic() - start


def used(root: int) -> float:
    """CPU seconds that a server's processes have taken, those that have ended among them."""
    ticks = 0
    for process in tree(root):
        with suppress(OSError):
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, words[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def cost(target: Target) -> float:
    """CPU seconds of the server for 1,000 messages of 4 KiB from twenty connections."""
    before = used(target.process)
    bring(target, 20, 4096, 2000)
    return (used(target.process) - before) / 2


def size(target: Target) -> float:
    """MiB of all processes together, each page once, just when a hundred connections have brought mail."""
    bring(target, 100, 4096, 1000)
    return memory(target.process) / 1024


def rows() -> dict[str, Measure]:
    """Messages a second; then what they cost."""

    def accepted(sessions: int, octets: int, count: int, *, kept: bool = True) -> Measure:
        return lambda target: count / bring(target, sessions, octets, count, kept=kept)

    return {
        "1x4KiB": accepted(1, 4096, 500),
        "20x4KiB": accepted(20, 4096, 2000),
        "100x4KiB": accepted(100, 4096, 2000),
        "20x100KiB": accepted(20, 102400, 1000),
        "20x4KiB-new": accepted(20, 4096, 2000, kept=False),
        "cpu-s-1000": cost,
        "memory-100-MiB": size,
    }
