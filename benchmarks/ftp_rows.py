"""The FTP rows of benchmarks.side_by_side: what is loaded, and how.

Small files and listings are the same in the peers' root and in our account's home; a large file is one file
with two names, so that each server finds the same pages in the cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

GIB = 1 << 30
#: Entries of the folder that is listed while others move files.
CROWD = 100_000
#: Sessions that are held idle, for the memory that one of them takes.
IDLE = 1000
#: Seconds between two NOOPs: some hundred of them while the files move.
BETWEEN = 0.002
#: Rows of which less is better: milliseconds, KiB.
LESS = frozenset({"noop-p50-ms", "noop-p99-ms", "idle-KiB"})


@dataclass(frozen=True)
class Target:
    """One server of a run."""

    name: str
    port: int
    user: str = "u0"
    #: The root of its processes.
    process: int = 0


Measure = Callable[[Target], float]


@dataclass(frozen=True)
class Places:
    """Where the servers are and what they serve."""

    kit: Path
    #: Runs a load program and gives its rate.
    load: Callable[..., float]
    #: What peers serve, and the home of u0 at our server and at the one that waits for no disk.
    root: Path
    home: Path
    lax_home: Path
    lax: Target
    #: Peers that need another process for TLS.
    private: dict[str, Target]


def fill(kit: Path, environment: dict[str, str], root: Path, home: Path, lax_home: Path) -> None:
    """The same files in the peers' root and in our homes."""
    subprocess.run(["bash", kit / "tools/mkftproot.sh", root], env=environment, check=True)
    for name in ("small", "many"):
        shutil.copytree(root / name, home / name)
    for folder in (root, home):
        (folder / "crowd").mkdir()
        for number in range(CROWD):
            (folder / "crowd" / f"entry-{number:06}.dat").touch()
    for folder in (home, lax_home):
        (folder / "up").mkdir(parents=True)
    for name in ("big", "mid"):
        os.link(root / name, home / name)


def rows(places: Places) -> dict[str, Measure]:
    """MB/s of large files, files, logins and listings a second, milliseconds of NOOP, KiB of memory."""
    program = places.kit / "bin" / "ftpload"

    def run(mode: str, *options: object) -> Measure:
        return lambda t: places.load(program, mode, "127.0.0.1", t.port, t.user, "benchpass", *options)

    def patient(mode: str, options: tuple[object, ...], count: int) -> Measure:
        """A tenth of it for ProFTPD, which would take a minute a row."""
        return lambda t: run(mode, *options, "-n", count // 10 if t.name == "proftpd" else count)(t)

    def warmed(measure: Measure) -> Measure:
        """The first touch of a page in a virtual machine costs a fault: nobody pays it in a figure."""

        def after(target: Target) -> float:
            run("retr", "-f", "big", "-k")(target)
            return measure(target)

        return after

    def store(*options: object) -> Measure:
        def measure(target: Target) -> float:
            rate = run("stor", "-f", f"up/s{time.monotonic_ns()}", "-s", GIB // 2, *options)(target)
            for folder in (places.root, places.home, places.lax_home):
                for file in folder.glob("up/*"):
                    file.unlink()
            return rate

        return measure

    def alike(measure: Measure) -> Measure:
        """No peer waits for the disk."""
        return lambda t: measure(places.lax if t.name == "mailftp" else t)

    def changed(command: str) -> Measure:
        """Listings a second when something changes before each."""

        def measure(target: Target) -> float:
            folder = (places.home if target.name == "mailftp" else places.root) / "many"
            rates = []
            for number in range(10):
                (folder / f"file-{number:05}.dat").write_bytes(b"x" * (time.monotonic_ns() % 1000))
                rates.append(run("list", "-f", "many", "-c", command, "-n", 1)(target))
            return statistics.median(rates)

        return measure

    def private(measure: Measure) -> Measure:
        return lambda t: measure(places.private.get(t.name, t))

    return {
        "retr1GiB-drop": warmed(run("retr", "-f", "big", "-n", 4, "-w", 1 << 20)),
        "retr1GiB-copy": warmed(run("retr", "-f", "big", "-n", 2, "-k")),
        "retr1GiB-2-drop": run("retr", "-f", "big", "-n", 2, "-j", 2, "-w", 1 << 20),
        "retr1GiB-2-copy": run("retr", "-f", "big", "-n", 1, "-j", 2, "-k"),
        "stor512MiB": alike(store()),
        "stor512MiB-2": alike(store("-j", 2)),
        "stor512MiB-durable": store(),
        "small4KiB": run("small", "-f", "small", "-n", 2000),
        "small4KiB-8": run("small", "-f", "small", "-n", 2000, "-j", 8),
        "login": patient("login", (), 400),
        "login-8": patient("login", ("-j", 8), 800),
        "list10000": patient("list", ("-f", "many", "-c", "LIST"), 20),
        "mlsd10000": patient("list", ("-f", "many", "-c", "MLSD"), 20),
        "list10000-changed": changed("LIST"),
        "mlsd10000-changed": changed("MLSD"),
        "tls-retr512MiB": private(run("retr", "-f", "mid", "-t")),
        "tls-small4KiB": private(run("small", "-f", "small", "-n", 400, "-t")),
        "idle-KiB": lambda target: idle(program, target),
        "noop-p50-ms": lambda target: noop(program, target, 0.50),
        "noop-p99-ms": lambda target: noop(program, target, 0.99),
    }


#: What peers do not have: vsftpd no MLSD, Pure-FTPd of the kit no TLS.
MISSING = {
    ("mlsd10000", "vsftpd"), ("mlsd10000-changed", "vsftpd"),
    ("tls-retr512MiB", "pureftpd"), ("tls-small4KiB", "pureftpd"),
}  # fmt: skip


def tree(root: int) -> Iterator[int]:
    """A process and everything below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            below.setdefault(parent, []).append(int(entry.name))
    todo = [root]
    while todo:
        one = todo.pop()
        yield one
        todo += below.get(one, [])


def memory(root: int) -> int:
    """KiB of memory of a server's processes, each page divided by those who share it."""
    total = 0
    for process in tree(root):
        with suppress(OSError):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def idle(program: Path, target: Target) -> float:
    """KiB that a session takes which has logged in and says nothing."""

    @contextmanager
    def held(count: int) -> Iterator[None]:
        words = [program, "idle", "127.0.0.1", target.port, target.user, "benchpass", "-n", count]
        with subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout is not None
            if not any("READY" in line for line in client.stdout):
                raise SystemExit(f"{target.name}: no {count} sessions")
            yield
            client.communicate()

    # What the first of them cost once for all, and what one session costs a server that has none.
    with held(10):
        before = memory(target.process)
        with held(IDLE):
            after = memory(target.process)
    return (after - before) / IDLE


def noop(program: Path, target: Target, share: float) -> float:
    """Milliseconds within which that share of the NOOPs are answered while eight clients fetch 1 GiB each and
    one lists 100,000 entries again and again."""
    words = [program, "list", "127.0.0.1", target.port, target.user, "benchpass", "-f", "crowd"]
    others = [program, "retr", *words[2:6], "-f", "big", "-n", 2, "-j", 8, "-k"]
    with socket.create_connection(("127.0.0.1", target.port)) as client, first_of_all():
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = client.makefile("rb")
        answers.readline()
        for line in (f"USER {target.user}", "PASS benchpass"):
            client.sendall(line.encode() + b"\r\n")
            while (answers.readline()[3:4]) == b"-":
                pass
        taken = []
        with running(others) as movers, running([*words, "-c", "LIST", "-n", 1000]) as lister:
            while movers.poll() is None:
                if lister.poll() is not None:
                    raise SystemExit(f"{target.name}: the listing ended")
                start = time.perf_counter()
                client.sendall(b"NOOP\r\n")
                if not answers.readline().startswith(b"2"):
                    raise SystemExit(f"{target.name}: NOOP refused")
                taken.append(time.perf_counter() - start)
                time.sleep(BETWEEN)
            if movers.returncode:
                raise SystemExit(f"{target.name}: the files did not come")
    return 1000 * statistics.quantiles(taken, n=100, method="inclusive")[round(share * 100) - 1]


@contextmanager
def running(words: list[object]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def first_of_all() -> Iterator[None]:
    """Where it is allowed the client that measures never waits for a core: only the server's time counts."""
    before = os.sched_getscheduler(0)
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
