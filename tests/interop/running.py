"""Servers as a user starts them: `twistd -n mailftp --config FILE` in a process of its own, on the loopback.

A test waits for what a server says (sd_notify's READY, lines of its log), never for a time to pass.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
TWISTD = Path(sys.executable).with_name("twistd")
#: How long anything may take before a test calls it broken; generous, because CI machines are slow.
PATIENCE = float(os.environ.get("MAILFTP_TEST_PATIENCE", "60"))


def program(name: str, package: str) -> str:
    """The path of a peer program, or the test is skipped with the package that has it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/lib/postfix/sbin")
    if path is None:
        raise SkipTest(f"needs {name}: apt-get install {package}")
    return path


def environment() -> dict[str, str]:
    """This checkout before any installed copy, and no settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TMPDIR", "LC_ALL")}
    return kept | {"PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str | Path, timeout: float = PATIENCE, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """A program to its end, its output kept."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        timeout=timeout,
        env=more.pop("env", None) or environment(),
        check=False,
        **more,
    )


class RunningServer:
    """One mailftp on an address of its own. `case` cleans up after itself whatever happens."""

    services = ("ftp", "ftps", "smtp", "submission", "submissions", "pop3", "pop3s", "imap", "imaps")

    def __init__(
        self, case: Any, domain: str, address: str = "127.0.0.1", settings: str = "", tls: str = ""
    ) -> None:
        """`settings` are further tables, `tls` further keys of [tls]."""
        self.domain, self.address = domain, address
        self.hostname = f"mx.{domain}"
        self.folder = Path(tempfile.mkdtemp(prefix="mailftp-", dir="/tmp")) / "server"
        case.addCleanup(shutil.rmtree, self.folder.parent, ignore_errors=True)
        done = run(*self._cli("init", self.folder, "--hostname", self.hostname, "--domain", domain), cwd=ROOT)
        assert done.returncode == 0, done.stderr.decode()
        self.file = self.folder / "mailftp.toml"
        self.ca = self.folder / "tls" / "ca.pem"
        self.ports = dict(zip(self.services, free_ports(len(self.services), address), strict=True))
        self._tls = tls
        self.configure(settings)
        self.process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.output: list[str] = []
        case.addCleanup(self.kill)

    @staticmethod
    def _cli(*words: str | Path) -> list[str]:
        start = "import sys; from mailftp.cli import main; sys.exit(main())"
        return [sys.executable, "-c", start, *(str(word) for word in words)]

    def configure(self, settings: str = "") -> None:
        """Write the settings file: this server's listeners and whatever a test adds."""
        listen = "\n".join(
            f'{name} = ["tcp:{port}:interface={self.address}"'
            + (f', "udp:{port}:interface={self.address}"]' if name == "dns" else "]")
            for name, port in self.ports.items()
        )
        self.file.write_text(
            f'data = "data"\nhostname = "{self.hostname}"\ndomains = ["{self.domain}"]\n'
            f"[listen]\n{listen}\n"
            f'[tls]\ncertificate = "tls/cert.pem"\nkey = "tls/key.pem"\n{self._tls}\n'
            f'[log]\nformat = "json"\n{settings}'
        )

    def cli(self, *words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The `mailftp` command on this server's settings."""
        return run(*self._cli(*words, "--config", self.file), input=stdin, cwd=ROOT)

    def add_account(self, name: str, password: str) -> str:
        address = f"{name}@{self.domain}"
        done = self.cli("account", "add", address, "--password-file", "-", stdin=password.encode() + b"\n")
        assert done.returncode == 0, done.stderr.decode()
        return address

    def queue(self) -> list[dict[str, Any]]:
        done = self.cli("queue", "list", "--json")
        assert done.returncode == 0, done.stderr.decode()
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return listed

    def start(self, *options: str) -> None:
        """Start it and wait until it says that it is ready."""
        notify = self.folder.parent / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            # Short, so that a server that has ended is not waited for.
            ready.settimeout(0.5)
            self.process = subprocess.Popen(
                [TWISTD, "-n", "--pidfile=", *options, "mailftp", "--config", self.file],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment() | {"NOTIFY_SOCKET": str(notify)},
                cwd=self.folder,
            )
            threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
            self._until_ready(ready, self.process)

    def _until_ready(self, ready: socket.socket, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            try:
                if b"READY=1" in ready.recv(4096):
                    return
            except TimeoutError:
                continue
        said = "\n".join(self.output[-30:])
        raise AssertionError(f"{self.hostname} did not start (status {process.poll()}):\n{said}")

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            self.output.append(text)
            try:
                self._lines.put(json.loads(text))
            except ValueError:
                continue

    def wait_for(self, event: str, **fields: object) -> dict[str, Any]:
        """The next log line of this event with these fields; lines before it are passed over."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                recent = "\n".join(self.output[-30:])
                raise AssertionError(f"{self.hostname} never logged {event} {fields}:\n{recent}") from None
            if line.get("event") == event and all(line.get(key) == value for key, value in fields.items()):
                return line

    def kill(self) -> None:
        """kill -9, as a crash would."""
        if self.process is not None:
            self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as an operator would; the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        status = process.wait(PATIENCE)
        assert process.stdout is not None
        return status

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


class RunningDNS:
    """dnsmasq with the zones that a test needs, on a free port."""

    def __init__(self, case: Any, mail_hosts: dict[str, str], address: str = "127.0.0.1") -> None:
        """`mail_hosts`: domain -> address of its MX, whose name is mx.<domain>."""
        self.port = free_ports(1, address)[0]
        self.server = f"{address}:{self.port}"
        zone: list[str] = []
        for domain, host in mail_hosts.items():
            zone += [f"--mx-host={domain},mx.{domain},10", f"--host-record=mx.{domain},{host}"]
            zone += [f"--local=/{domain}/"]
        self.process = subprocess.Popen(
            [
                program("dnsmasq", "dnsmasq-base"),
                "--keep-in-foreground", "--conf-file=/dev/null", f"--port={self.port}", "--user=",
                f"--listen-address={address}", "--bind-interfaces", "--no-resolv", "--no-hosts",
                "--pid-file=", "--log-facility=-", *zone,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        case.addCleanup(self.stop)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if b"started" in line:
                break
        # Nobody reads what it says from now on.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


def real_messages() -> Iterator[tuple[str, bytes]]:
    """The messages of CPython's own test suite, with CRLF line ends, by name."""
    folders: list[Path] = sorted(Path("/usr/lib").glob("python3*/test/test_email/data"))
    try:
        import test.test_email as cpython
    except ImportError:
        pass
    else:
        folders.insert(0, Path(cpython.__path__[0]) / "data")
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        raise SkipTest("needs CPython's test messages: apt-get install libpython3.11-testsuite")
    for file in sorted(folders[0].glob("msg_*.txt")):
        data = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # SMTP has no message that ends within a line.
        yield file.stem, data.removesuffix(b"\n").replace(b"\n", b"\r\n") + b"\r\n"
