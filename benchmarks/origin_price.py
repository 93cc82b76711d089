"""What each check of a stranger's message costs a running server: python -m benchmarks.origin_price.

20 connections bring messages of 4 KiB, signed by RSA 2048, each durable before its 250; dnsmasq answers. Each
variant is a server of its own, measured in turn; the medians of messages a second and of the server's CPU
microseconds a message are printed. Go by the CPU time: the senders are Python and share the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.origin_checks import record_of
from mailftp.message.fields import header_bounds
from mailftp.origin.dkim import sign
from mailftp.origin.dkim_canonical import BodyHash
from tests.interop.running import RunningServer
from tests.ports import free_port

CONNECTIONS, SIZE = 20, 4096
OFF = 'spf = "off"\ndkim = "off"\ndmarc = "off"\niprev = "off"\n'
#: Name -> what stands in [origin] and [strangers]; the senders are strangers but in the first two.
VARIANTS = {
    "off, trusted": (OFF, ""),
    "as init makes it, trusted": ("", ""),
    "off": ("trusted = []\n" + OFF, "commands_per_minute = 0\nconnections_per_minute = 0\ndata_rate = 0\n"),
    "rates and pace": ("trusted = []\n" + OFF, "commands_per_minute = 10000000\n"),
    "iprev": ("trusted = []\n" + OFF.replace('iprev = "off"', 'iprev = "mark"'), ""),
    "spf": ("trusted = []\n" + OFF.replace('spf = "off"', 'spf = "mark"'), ""),
    "dkim": ("trusted = []\n" + OFF.replace('dkim = "off"', 'dkim = "mark"'), ""),
    "spf, dkim, dmarc": ("trusted = []\niprev = 'off'\n", ""),
    "all": ("trusted = []\n", ""),
}


def signed_message() -> tuple[bytes, str]:
    """A message, and its key's record."""
    key = generate_private_key(65537, 2048)
    header = (
        b"From: Ann <a@e.test>\r\nTo: u0@bench.test\r\nSubject: a price\r\nMIME-Version: 1.0\r\n"
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@e.test>\r\nContent-Type: text/plain\r\n\r\n"
    )
    message = header + (b"A line of text that is neither short nor very long, sixty octets\r\n" * 100)[:SIZE]
    end, start = header_bounds(message)
    body = BodyHash(relaxed=True)
    body.feed(message[start:] + b"\r\n")
    field = sign(message[:end], body.finish()[0], "e.test", "sel", key, 0)
    return field + message + b"\r\n", record_of(key)


class Sender(threading.Thread):
    def __init__(self, port: int, message: bytes, count: int) -> None:
        super().__init__(daemon=True)
        self.port, self.message, self.count = port, message, count
        self.taken = 0

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 60) as client:
            replies = client.makefile("rb")

            def say(line: bytes, code: bytes) -> None:
                if line:
                    client.sendall(line)
                while (reply := replies.readline())[3:4] == b"-":
                    pass
                if not reply.startswith(code):
                    raise SystemExit(f"{line[:40]!r}: {reply!r}")

            say(b"", b"220")
            say(b"EHLO mx.e.test\r\n", b"250")
            for _ in range(self.count):
                say(b"MAIL FROM:<a@e.test>\r\n", b"250")
                say(b"RCPT TO:<u0@bench.test>\r\n", b"250")
                say(b"DATA\r\n", b"354")
                say(self.message + b".\r\n", b"250")
                self.taken += 1
            say(b"QUIT\r\n", b"221")


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure(server: RunningServer, message: bytes, count: int) -> tuple[float, float]:
    """(messages a second, CPU microseconds a message)."""
    assert server.process is not None
    before, start = cpu_seconds(server.process.pid), time.monotonic()
    senders = [Sender(server.ports["smtp"], message, count // CONNECTIONS) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    taken = sum(sender.taken for sender in senders)
    if taken != count // CONNECTIONS * CONNECTIONS:
        raise SystemExit(f"{taken} of {count} messages were taken")
    seconds = time.monotonic() - start
    return taken / seconds, (cpu_seconds(server.process.pid) - before) / taken * 1e6


def name_server(stack: ExitStack, record: str, domain: str = "e.test") -> int:
    """The port of a DNS server that knows a domain with mail from this machine; `record` is its key's."""
    port = free_port()
    program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin") or sys.exit(
        "needs dnsmasq (package dnsmasq-base)"
    )
    process = subprocess.Popen(
        [
            program, "--no-daemon", "--conf-file=/dev/null", f"--port={port}", "--bind-interfaces",
            "--listen-address=127.0.0.1", "--no-resolv", "--no-hosts", "--user=", "--group=", "--pid-file=",
            "--local-ttl=300",
            f"--txt-record={domain},v=spf1 include:i.test ip4:127.0.0.1 -all",
            "--txt-record=i.test,v=spf1 ip4:198.51.100.0/24 ~all",
            f"--txt-record=_dmarc.{domain},v=DMARC1; p=reject",
            f"--txt-record=sel._domainkey.{domain},{record[:200]},{record[200:]}",
            "--ptr-record=1.0.0.127.in-addr.arpa,mx.e.test", "--host-record=mx.e.test,127.0.0.1",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return port


class Case:
    def __init__(self, stack: ExitStack) -> None:
        self.addCleanup = stack.callback


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=2000)
    options = parser.parse_args()
    message, record = signed_message()
    with ExitStack() as stack:
        stack.enter_context(tempfile.TemporaryDirectory())
        port = name_server(stack, record)
        servers = {}
        for name, (origin, strangers) in VARIANTS.items():
            server = RunningServer(Case(stack), "bench.test")
            server.configure(
                f'[dns]\nservers = ["127.0.0.1:{port}"]\n[origin]\n{origin}'
                f"[strangers]\ngreeting_delay = 0\n{strangers or 'commands_per_minute = 0'}\n"
            )
            server.file.write_text(server.file.read_text().replace('"json"', '"text"\nlevel = "warn"'))
            server.add_account("u0", "benchpass")
            server.start()
            servers[name] = server
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for name in servers:
            measure(servers[name], message, 200)
        for _ in range(options.rounds):
            for name, server in servers.items():
                found[name].append(measure(server, message, options.messages))
    base = statistics.median(cpu for _, cpu in found["off, trusted"])
    for name, figures in found.items():
        rate = statistics.median(rate for rate, _ in figures)
        cpu = statistics.median(cpu for _, cpu in figures)
        print(f"{name:<28}{rate:7.0f} messages/s {cpu:6.0f} us of CPU a message, {cpu - base:+5.0f}")


if __name__ == "__main__":
    main()
