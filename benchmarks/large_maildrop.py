"""How long a maildrop of 100,000 messages and 2 GB takes to open, and what memory that takes.

    python -m benchmarks.large_maildrop [--count 100000] [--rounds 5]

A server is started as a user starts it, on a store that was filled before; the first login is the first thing
that it does. Seconds from connecting, as the client sees them.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mailftp.store.queries import AccountWithVerifier
from mailftp.store.sqlite import SQLiteStore
from tests.interop.running import RunningServer
from tests.pop3.large import fill, message

PASSWORD = "benchpass"


class Case:
    """What RunningServer asks of a test case."""

    def __init__(self, stack: ExitStack) -> None:
        self.addCleanup: Callable[..., Any] = stack.callback


def resident(pid: int) -> float:
    """MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def session(port: int) -> tuple[float, float, float]:
    """Seconds until PASS, LIST and UIDL were answered whole."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        stream = client.makefile("rb", 1 << 20)
        began = time.monotonic()
        for command, lines in (
            (b"", 0),
            (b"USER bob", 0),
            (b"PASS benchpass", 0),
            (b"LIST", 1),
            (b"UIDL", 1),
        ):
            if command:
                client.sendall(command + b"\r\n")
            assert stream.readline().startswith(b"+OK"), command
            while lines and stream.readline() != b".\r\n":
                pass
            times.append(time.monotonic() - began)
        client.sendall(b"QUIT\r\n")
        stream.readline()
    return times[2], times[3], times[4]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        server = RunningServer(Case(stack), "example.test", settings='[pop3]\nlogin_delay = "0s"\n')
        server.add_account("bob", PASSWORD)

        def filled(reactor: Any) -> Deferred[None]:
            return Deferred.fromCoroutine(fill_store(reactor, server.folder / "data", given.count))

        try:
            react(filled)
        except SystemExit as done:
            if done.code:
                raise
        octets = sum(len(message(number)) for number in range(given.count))
        print(f"{given.count} messages, {octets / 1e9:.2f} GB")
        server.start()
        assert server.process is not None
        before = resident(server.process.pid)
        for round_number in range(given.rounds):
            opened, listed, identified = session(server.ports["pop3"])
            name = "first" if not round_number else "again"
            print(f"{name}: PASS {opened:.3f} s, LIST {listed:.3f} s, UIDL {identified:.3f} s")
        print(f"resident: {before:.0f} MB before, {resident(server.process.pid):.0f} MB after")


async def fill_store(reactor: Any, data: Path, count: int) -> None:
    store = SQLiteStore(data / "mail.sqlite", data / "blobs", reactor, reactor)
    await store.start()
    found = await store.read(AccountWithVerifier("bob@example.test"))
    assert found is not None
    await fill(store, found[0].id, count)
    await store.stop()


if __name__ == "__main__":
    main()
