"""How many 4 KiB messages a second the SQLite store accepts, durably.

    python -m benchmarks.store_accept [--flights 1 20 100] [--seconds 3] [--folder DIR] [--index real|none]

Each message is another text: sha256, body row, index, email, thread, mailbox row, one of 50 accounts.
In flight are so many units at a time, the next being made when one is answered, as connections do.
The folder must be on the disk that is meant: a tmpfs syncs for nothing.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from mailftp.message.index import MessageIndex, Part, index_message
from mailftp.store.records import Filing, Verifier
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount

SIZE = 4096
ACCOUNTS = 50


def text(number: int) -> bytes:
    head = (
        f"From: a@one.test\r\nTo: u@bench.test\r\nSubject: message {number}\r\n"
        f"Message-ID: <{number}.{os.getpid()}@one.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
    ).encode()
    line = b"x" * 70 + b"\r\n"
    return (head + line * (SIZE // len(line)))[: SIZE - 2] + b"\r\n"


_PLAIN = MessageIndex(
    (), Part(0, 0, 0, "text/plain", "7bit", 0), b"", b"", b"", "", (), "", None, True, False, 0, 0
)


def no_index(data: bytes | memoryview) -> MessageIndex:
    return _PLAIN


def without_index() -> None:
    """Leave the parser's cost out: store an index of 600 octets, made once."""
    stored = pickle.dumps(_PLAIN).ljust(600, b".")
    MessageIndex.encode = lambda self: stored  # type: ignore[method-assign]
    MessageIndex.decode = staticmethod(pickle.loads)  # type: ignore[assignment,method-assign]


async def accept_for(store: SQLiteStore, accounts: list[int], flight: int, seconds: float) -> str:
    done = 0
    commits = store.commits
    cpu = time.process_time()
    begun = time.perf_counter()
    end = begun + seconds
    latencies: list[float] = []
    finished: list[Deferred[None]] = []

    async def one_connection(number: int) -> None:
        nonlocal done
        while (start := time.perf_counter()) < end:
            sink = store.stage()
            sink.write(text(time.monotonic_ns() * 1000 + number))
            body = await sink.finish()
            filing = Filing(accounts[done % ACCOUNTS], prefix=b"Return-Path: <a@one.test>\r\n")
            await store.commit(Accept(body, 1.7e9, (filing,)))
            latencies.append(time.perf_counter() - start)
            done += 1

    finished = [Deferred.fromCoroutine(one_connection(n)) for n in range(flight)]
    await gatherResults(finished)
    took = time.perf_counter() - begun
    cpu = time.process_time() - cpu
    latencies.sort()
    commits = store.commits - commits
    return (
        f"{flight:4} in flight: {done / took:8.0f} messages/s, {done / commits:5.1f} a commit, "
        f"median {latencies[done // 2] * 1e3:.2f} ms, 99 % {latencies[done * 99 // 100] * 1e3:.2f} ms, "
        f"{cpu / done * 1e6:.0f} us CPU each"
    )


async def main(reactor_: object, flights: list[int], seconds: float, folder: str | None, index: str) -> None:
    if index == "none":
        without_index()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = Path(name)
        store = SQLiteStore(
            data / "mail.sqlite",
            data / "blobs",
            reactor,
            reactor,
            index=index_message if index == "real" else no_index,
        )
        await store.start()
        accounts = [
            (await store.commit(AddAccount(f"u{n}@bench.test", Verifier("x")))).id for n in range(ACCOUNTS)
        ]
        for flight in flights:
            print(await accept_for(store, accounts, flight, seconds), flush=True)
        print(
            f"database {os.path.getsize(data / 'mail.sqlite') >> 20} MiB, "
            f"WAL {os.path.getsize(data / 'mail.sqlite-wal') >> 20} MiB"
        )
        await store.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flights", type=int, nargs="+", default=[1, 20, 100])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder")
    parser.add_argument("--index", choices=("real", "none"), default="real")
    options = parser.parse_args()
    react(main, (options.flights, options.seconds, options.folder, options.index))
