"""mailftp beside its peers: the same load, in one run, in alternating rounds; medians and ratios.

    python -m benchmarks.side_by_side KIT smtp|pop|ftp|imap [--rounds 5] [--peers postfix,...] [--tests ...]

KIT is the benchmark kit: load generators (`bin/` after its build.sh) and start scripts (`peers/`). Every
server listens on the loopback, has the account u0 (benchpass) at bench.test, and is on the same file system.
Absolute figures drift from day to day on a virtual machine; only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from smtplib import SMTP

from benchmarks import ftp_rows, imap_rows, smtp_rows
from benchmarks.ftp_rows import Measure, Target
from benchmarks.origin_price import name_server
from tests.interop.running import RunningServer
from tests.ports import free_ports

PEERS = {
    "smtp": "postfix,aiosmtpd",
    "pop": "dovecot",
    "ftp": "vsftpd,proftpd,pureftpd,pyftpdlib",
    "imap": "dovecot",
}

#: Rows of which less is better.
LESS = ftp_rows.LESS | smtp_rows.LESS
#: Accounts with 2,000 messages each, for eight sessions at one time.
EIGHT = tuple(f"u1{number}" for number in range(8))
#: The account with 100,000 messages.
CROWDED = "u20"


def stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for one in list(ftp_rows.tree(process.pid)):
            try:
                os.kill(one, number)
            except ProcessLookupError:
                continue
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue


def wait_for_port(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


class Bench:
    """The servers of one run, and what is measured on each."""

    def __init__(self, kit: Path, stack: ExitStack) -> None:
        self.kit, self.stack = kit, stack
        self.addCleanup = stack.callback
        self.work = Path(tempfile.mkdtemp(prefix="mailftp-bench-", dir="/tmp"))
        self.work.chmod(0o755)
        stack.callback(shutil.rmtree, self.work, ignore_errors=True)
        self.environment = os.environ | {
            "KIT": str(kit), "HOST": "127.0.0.1", "PY": sys.executable, "BUSER": "u0", "BPASS": "benchpass",
            "BDOMAIN": "bench.test", "FTPROOT": str(self.work / "ftproot"),
            "MAILROOT": str(self.work / "mail"), "PERF": "1",
        }  # fmt: skip

    def own(self, ftp: str = "", more: str = "") -> RunningServer:
        """Our server with u0 and u1, its limits out of the way as the peers' are; `ftp` is added to [ftp],
        `more` are further tables."""
        server = RunningServer(self, "bench.test")
        server.configure(
            "[limits]\nconnections_per_ip = 20000\nconnections = 20000\n"
            f"[ftp]\npassive_ports = ''\n{ftp}\n{more}"
        )
        server.file.write_text(server.file.read_text().replace('"json"', '"text"\nlevel = "warn"'))
        for name in ("u0", "u1", *EIGHT, CROWDED):
            server.add_account(name, "benchpass")
        server.start()
        return server

    def checking(self) -> RunningServer:
        """Our server, to which everybody is a stranger; the senders' names are in the DNS."""
        port = name_server(self.stack, "", "sender.test")
        return self.own(
            more=f'[dns]\nservers = ["127.0.0.1:{port}"]\n[origin]\ntrusted = []\n[strangers]\n'
            "greeting_delay = 0\nconnections_per_minute = 0\ncommands_per_minute = 0\n"
        )

    def peer(self, name: str, service: str = "", tls: bool = False) -> Target:
        """With `tls` one that offers it, where the start script has to be told."""
        port = free_ports(1)[0]
        folder = self.work / (f"{name}-tls" if tls else name)
        folder.mkdir(mode=0o755)
        if name == "pureftpd":
            # It serves the home of the user ftp, where the script mounts the root.
            self.stack.callback(subprocess.run, ["umount", os.path.expanduser("~ftp")], check=False)
        process = subprocess.Popen(
            ["bash", self.kit / "peers" / f"{name}.sh", folder, str(port)],
            env=self.environment | ({"TLS": "1"} if tls else {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.stack.callback(stop, process)
        port += name == "dovecot" and service != "imap"
        wait_for_port(port)
        return Target(name, port, "anonymous" if name in ("vsftpd", "pureftpd") else "u0", process.pid)

    def load(self, *words: object) -> float:
        """Run a load program; its ops_s, or MBps where files move."""
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
        files = str(words[0]).endswith("ftpload") and words[1] in ("retr", "stor")
        found = re.search(r"\bMBps=([0-9.]+)" if files else r"\bops_s=([0-9.]+)", done.stdout)
        if done.returncode or not found:
            raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
        return float(found[1])

    def smtp(self) -> dict[str, Measure]:
        """See benchmarks.smtp_rows."""
        return smtp_rows.rows()

    def pop(self) -> dict[str, Measure]:
        """RETR of every message, one at a time and 32 in flight; logins."""
        program = self.kit / "bin" / "popload"

        def run(mode: str, user: str, *numbers: int) -> Measure:
            return lambda t: self.load(program, mode, "127.0.0.1", t.port, user, "benchpass", *numbers)

        def often(measure: Measure, times: int) -> Measure:
            """2,000 messages are over in a tenth of a second, in which a neighbour's work decides: the same
            several times, one after the other, is one figure."""
            return lambda t: statistics.harmonic_mean([measure(t) for _ in range(times)])

        return {
            "retr": often(run("retr", "u1", 1, 1), 8),
            "retr32": often(run("retr", "u1", 1, 32), 8),
            "retr8": run("retr", "u1%d", 8, 1),
            "login": run("login", "u0", 300, 1),
            "list100k": self.list_crowded,
            "list100k-first": self.list_first,
        }

    def list_first(self, target: Target) -> float:
        """As `list_crowded`, for a server that has not yet seen this maildrop."""
        for file in (self.work / "mail" / CROWDED / "Maildir").glob("dovecot*"):
            file.unlink()
        return self.list_crowded(target)

    def list_crowded(self, target: Target) -> float:
        """Sessions per second that log in, LIST and UIDL 100,000 messages, and go."""
        with socket.create_connection(("127.0.0.1", target.port)) as client:
            start = time.monotonic()
            for line, end in (
                (f"USER {CROWDED}", b"\r\n"), ("PASS benchpass", b"\r\n"),
                ("LIST", b"\r\n.\r\n"), ("UIDL", b"\r\n.\r\n"),
            ):  # fmt: skip
                client.sendall(line.encode() + b"\r\n")
                answer = bytearray()
                while not answer.endswith(end) or (line[:4] == "USER" and answer.count(b"+OK") < 2):
                    piece = client.recv(1 << 20)
                    if not piece:
                        raise SystemExit(f"{target.name} hung up")
                    answer += piece
            if answer.count(b"\n") != 100_002:
                raise SystemExit(f"{target.name}: {answer[:200]!r}")
            taken = time.monotonic() - start
            client.sendall(b"QUIT\r\n")
            client.recv(1 << 10)
        return 1 / taken

    def ftp(self) -> dict[str, Measure]:
        return ftp_rows.rows(self.places)

    def fill_ftp(self, server: RunningServer, peers: list[str]) -> None:
        """Files for everybody; one more server of ours, which waits for no disk; peers with TLS."""
        lax = self.own("durable = false")
        home, lax_home = (one.folder / "data/files/bench.test/u0" for one in (server, lax))
        root = self.work / "ftproot"
        ftp_rows.fill(self.kit, self.environment, root, home, lax_home)
        private = {"pyftpdlib": self.peer("pyftpdlib", tls=True)} if "pyftpdlib" in peers else {}
        lax_target = Target("mailftp", lax.ports["ftp"])
        self.places = ftp_rows.Places(self.kit, self.load, root, home, lax_home, lax_target, private)

    def fill_pop(self, server: RunningServer, tests: list[str]) -> None:
        """2,000 messages of 10 KiB, the same in the peer's Maildir and in our store."""
        maker = [sys.executable, self.kit / "tools/mkmaildir.py"]
        mail = self.work / "mail"
        box = mail / "u1/Maildir"
        subprocess.run([*maker, box, "2000", "10240"], check=True)
        subprocess.run([*maker, mail / "u0/Maildir", "10", "4096"], check=True)
        if "list100k" in tests or "list100k-first" in tests:
            self.fill_crowded(server, maker)
        everybody = ["u1", *EIGHT] if "retr8" in tests else ["u1"]
        for name in everybody[1:]:
            # Linked, so that both servers have each body once.
            shutil.copytree(mail / "u1", mail / name, copy_function=os.link)
        for folder in (mail, *mail.rglob("*")):
            if folder.is_dir():
                os.chown(folder, 65534, 65534)
        mail.chmod(0o755)
        with SMTP("127.0.0.1", server.ports["smtp"]) as smtp:
            for file in sorted((box / "cur").iterdir()):
                message = file.read_bytes().replace(b"\n", b"\r\n")
                smtp.sendmail("s@sender.test", [f"{name}@bench.test" for name in everybody], message)

    def fill_crowded(self, server: RunningServer, maker: list[str | Path]) -> None:
        """100,000 messages of 1 KiB, by twenty connections."""
        box = self.work / "mail" / CROWDED / "Maildir"
        subprocess.run([*maker, box, "100000", "1024"], check=True)
        subprocess.run(
            [
                "smtp-source", "-d", "-s", "20", "-m", "100000", "-l", "1024",
                "-f", "s@sender.test", "-t", f"{CROWDED}@bench.test", f"127.0.0.1:{server.ports['smtp']}",
            ],
            check=True,
        )  # fmt: skip


def imap(bench: Bench, server: RunningServer, rounds: int, tests: list[str]) -> None:
    """`tests` are some of mailboxes, rates and memory."""
    mail = bench.work / "mail"
    program = bench.kit / "bin" / "imapload"
    if "mailboxes" in tests:
        imap_rows.maildirs(bench.kit, mail)
        start = time.monotonic()
        imap_rows.fill(server.ports["imap"], mail)
        taken = time.monotonic() - start
        print(f"{imap_rows.CROWD + imap_rows.SOME} messages appended in {taken:.0f} s", flush=True)
    for name in ("u0", "u1", *EIGHT):
        (mail / name / "Maildir" / "cur").mkdir(parents=True, exist_ok=True)
    subprocess.run(["chown", "-R", "65534:65534", mail], check=True)
    mail.chmod(0o755)
    theirs = bench.peer("dovecot", "imap")
    figures: imap_rows.Figures = {}
    for number in range(rounds):
        server.stop()
        server.start()
        assert server.process is not None
        ours = Target("mailftp", server.ports["imap"], process=server.process.pid)
        imap_rows.forget(mail)
        imap_rows.quiet(lambda root=ours.process: list(ftp_rows.tree(root)))
        for target in (ours, theirs) if number % 2 else (theirs, ours):
            if "mailboxes" in tests:
                for rows in (imap_rows.CROWDED, imap_rows.SMALLER):
                    imap_rows.commands(program, target, rows, figures)
            if "rates" in tests:
                imap_rows.rates(bench.load, program, target, figures)
            if "memory" in tests:
                imap_rows.memory(bench.kit, target, target.process, figures)
        imap_rows.report(figures, number + 1)


def report(figures: dict[tuple[str, str], list[float]], tests: list[str], targets: list[Target]) -> None:
    for test in tests:
        ours = statistics.median(figures[test, "mailftp"])
        for target in targets:
            values = figures.get((test, target.name))
            if values is None:
                continue
            middle = statistics.median(values)
            spread = f"[{min(values):.1f}-{max(values):.1f}]"
            ratio = f"{ours / middle:.2f} x{' (less is better)' if test in LESS else ''}"
            print(f"{test:19} {target.name:10} {middle:9.1f} {spread:18} mailftp is {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kit", type=Path)
    parser.add_argument("protocol", choices=sorted(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers")
    parser.add_argument("--tests", default="")
    parser.add_argument(
        "--checks", action="store_true", help="smtp: beside it one that checks every message as a stranger's"
    )
    arguments = parser.parse_args()
    with ExitStack() as stack:
        bench = Bench(arguments.kit.resolve(), stack)
        server = bench.own()
        if arguments.protocol == "imap":
            wanted = arguments.tests or "mailboxes,rates,memory"
            imap(bench, server, arguments.rounds, wanted.split(","))
            return
        peers = (arguments.peers or PEERS[arguments.protocol]).split(",")
        if arguments.protocol == "ftp":
            bench.fill_ftp(server, peers)
        if arguments.protocol == "pop":
            bench.fill_pop(server, arguments.tests.split(",") if arguments.tests else list(bench.pop()))
        service = {"pop": "pop3"}.get(arguments.protocol, arguments.protocol)
        assert server.process is not None
        targets = [Target("mailftp", server.ports[service], process=server.process.pid)]
        if arguments.checks:
            checking = bench.checking()
            assert checking.process is not None
            targets.append(Target("checking", checking.ports["smtp"], process=checking.process.pid))
        targets += [bench.peer(name) for name in peers if name]
        tests: dict[str, Measure] = getattr(bench, arguments.protocol)()
        wanted = arguments.tests.split(",") if arguments.tests else list(tests)
        figures: dict[tuple[str, str], list[float]] = {}
        for number in range(arguments.rounds):
            # Whoever goes first pays for what the one before left behind: everybody does in turn.
            first = number % len(targets)
            for test in wanted:
                for target in targets[first:] + targets[:first]:
                    if (test, target.name) in ftp_rows.MISSING:
                        continue
                    figure = tests[test](target)
                    figures.setdefault((test, target.name), []).append(figure)
                    print(f"{number + 1} {test} {target.name} {figure:.1f}", file=sys.stderr, flush=True)
        report(figures, wanted, targets)


if __name__ == "__main__":
    main()
