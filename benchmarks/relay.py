"""mailftp beside Postfix as a relay, smtp-sink behind both: from the first 250 to the last arrival.

    python -m benchmarks.relay KIT [--rounds 5] [--messages 4000] [--destinations 1,1000] [--unsigned]

Both relay 4 KiB messages that twenty connections bring. Each destination is an address of its own in 127/8,
where one smtp-sink listens for all; both servers reach it by a table of routes. Ours is brought mail over
`submission` with a login, which is what it relays for; Postfix takes it from its own networks. The settings
are the defaults: twenty connections to a destination at most with Postfix, ten with ours. Ours signs what it
sends by DKIM with RSA and Ed25519, as `init` sets it up, and Postfix does not; with `--unsigned` neither.
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import os
import pty
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.ftp_rows import tree
from benchmarks.side_by_side import Bench
from tests.ports import free_ports

#: Connections that bring mail, in so many processes.
CONNECTIONS, PROCESSES = 20, 2
BODY = b"Subject: relayed\r\n\r\n" + b"x" * 76 * 53 + b"\r\n.\r\n"


class Sink:
    """smtp-sink, and how many messages it has taken."""

    def __init__(self, stack: ExitStack) -> None:
        self.port = free_ports(1, "0.0.0.0")[0]
        binary = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") or sys.exit("needs postfix")
        # On a terminal it tells each message at once, on a pipe some thousands later.
        self._told, terminal = pty.openpty()
        process = subprocess.Popen(
            [binary, "-u", "nobody", "-c", f"0.0.0.0:{self.port}", "1000"], stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        stack.callback(process.wait)
        stack.callback(process.kill)
        self.count, self.last = 0, 0.0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Its counters are lines that are written over: sessions, quits, messages."""
        told = b""
        while True:
            try:
                piece = os.read(self._told, 65536)
            except OSError:
                # It has ended.
                return
            told = (told + piece)[-4096:]
            found = re.findall(rb"mesg=([0-9]+)", told.rpartition(b"\r")[0])
            if found and int(found[-1]) > self.count:
                self.count, self.last = int(found[-1]), time.monotonic()

    def wait(self, count: int, seconds: float = 120.0) -> float:
        """The time at which it had so many."""
        end = time.monotonic() + seconds
        while self.count < count:
            if time.monotonic() > end:
                raise SystemExit(f"{self.count} of {count} messages arrived in {seconds:g} seconds")
            time.sleep(0.005)
        return self.last


def address(number: int) -> str:
    return f"127.1.{number // 250}.{number % 250 + 1}"


def bring(port: int, login: bool, numbers: list[int], go: Event, first: multiprocessing.Queue[float]) -> None:
    """One process: its connections in threads, a message of each number in turn."""
    connections = CONNECTIONS // PROCESSES

    def one(mine: list[int]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            file = client.makefile("rb")

            def say(words: bytes, replies: int) -> None:
                client.sendall(words)
                for _ in range(replies):
                    while (line := file.readline())[3:4] == b"-":
                        continue
                    if line[:1] not in (b"2", b"3"):
                        print(f"{words[:60]!r}: {line!r}", flush=True)
                        os._exit(1)

            say(b"", 1)
            say(b"EHLO load.test\r\n", 1)
            if login:
                say(b"AUTH PLAIN " + base64.b64encode(b"\0u0@bench.test\0benchpass") + b"\r\n", 1)
            go.wait()
            for place, number in enumerate(mine):
                envelope = f"MAIL FROM:<u0@bench.test>\r\nRCPT TO:<x@d{number}.test>\r\nDATA\r\n"
                say(envelope.encode(), 3)
                say(BODY, 1)
                if not place:
                    first.put(time.monotonic())
            say(b"QUIT\r\n", 1)

    threads = [
        threading.Thread(target=one, args=(numbers[place::connections],)) for place in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def relay(port: int, login: bool, sink: Sink, messages: int, destinations: int) -> float:
    """Messages a second from the first 250 to the last arrival."""
    numbers = [number % destinations for number in range(messages)]
    go = multiprocessing.Event()
    first: multiprocessing.Queue[float] = multiprocessing.Queue()
    before = sink.count
    bringers = [
        multiprocessing.Process(target=bring, args=(port, login, numbers[place::PROCESSES], go, first))
        for place in range(PROCESSES)
    ]
    for process in bringers:
        process.start()
    time.sleep(1.0)
    go.set()
    start = min(first.get(timeout=60) for _ in range(CONNECTIONS))
    for process in bringers:
        process.join()
    return messages / (sink.wait(before + messages) - start)


def memory(root: int) -> float:
    """Proportional set size of a process and its children, MiB."""
    total = 0
    for one in tree(root):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        found = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=4000)
    parser.add_argument("--destinations", default="1,1000")
    parser.add_argument("--unsigned", action="store_true")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        bench, sink = Bench(arguments.kit.resolve(), stack), Sink(stack)
        routes = "".join(f'"d{n}.test" = "{address(n)}:{sink.port}"\n' for n in range(1000))
        server = bench.own(
            more="[auth]\nplaintext = ['submission']\n"
            "[submission]\ndaily_messages = 0\ndaily_new_recipients = 0\n"
            f"[delivery.routes]\n{routes}"
        )
        if arguments.unsigned:
            # The server has read them when it makes its zone, and reads them again when it signs.
            shutil.rmtree(server.folder / "data" / "dkim")
        postfix = bench.peer("postfix")
        configure(bench.work / "postfix" / "conf", sink.port)
        assert server.process is not None
        targets = {
            "mailftp": (server.ports["submission"], True, server.process.pid),
            "postfix": (postfix.port, False, postfix.process),
        }
        for destinations in map(int, arguments.destinations.split(",")):
            figures: dict[str, list[float]] = {name: [] for name in targets}
            for number in range(arguments.rounds):
                for name in sorted(targets, reverse=bool(number % 2)):
                    port, login, _ = targets[name]
                    figures[name].append(relay(port, login, sink, arguments.messages, destinations))
            medians = {name: statistics.median(values) for name, values in figures.items()}
            for name, values in figures.items():
                spread = f"[{min(values):.0f}-{max(values):.0f}]"
                used = memory(targets[name][2])
                rate = f"{medians[name]:7.0f} messages/s {spread:14}"
                print(f"{destinations:5} destinations {name:8} {rate} {used:.0f} MiB")
            print(f"mailftp is {medians['mailftp'] / medians['postfix']:.2f} x", flush=True)


def configure(conf: Path, port: int) -> None:
    """Postfix with the same table of routes; the kit's has no SMTP client."""
    lines = "".join(f"d{n}.test smtp:[{address(n)}]:{port}\n" for n in range(1000))
    (conf / "transport").write_text(lines)
    with (conf / "main.cf").open("a") as file:
        file.write(f"transport_maps = texthash:{conf}/transport\nrelay_domains =\n")
    with (conf / "master.cf").open("a") as file:
        file.write("smtp unix - - n - - smtp\n")
    subprocess.run(["postfix", "-c", conf, "reload"], check=True, capture_output=True)
    time.sleep(1.0)


if __name__ == "__main__":
    main()
