"""What bombs cost the server: messages and dialogues made to be expensive; whether the next client is served.

    python -m benchmarks.bombs [--only WORDS] [--chunks 1000000] [--no-trace]

A server is started as a user starts it. Each bomb is sent by SMTP over one connection; it says what the
server answered, how long that took, the processor time of all of the server's threads, and the most memory
that it held above what it held before (the kernel's VmHWM; the message itself is part of it). While each
bomb is on its way, another client asks NOOP again and again: the longest that it waited is said. After each
a new client connects and delivers a message.

`python` is what tracemalloc counts: the most that Python's objects held while the same octets went through
the dialogue, the scanner and the index of a message in this process. It slows what it watches by some times,
so it is a run of its own, and a million chunks are a hundred thousand there.

Exit status 1 when a next client is not served, or a bomb takes more than four times its size and 64 MiB.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.large_maildrop import Case
from mailftp.message.index import index_message
from tests.hostile.memory import MIB, Meter
from tests.hostile.raw import QUICK, Raw
from tests.hostile.test_bombs import BOMBS
from tests.interop.running import RunningServer
from tests.smtp.driver import Dialogue, terms

#: Octets of the command that is no command, and of the line of a message.
LINE = 10_000_000
#: Chunks that are said before their answers are read.
WINDOW = 2000
CHUNK = b"BDAT 1\r\nx"
ANSWER = b"250 2.0.0 1 octets received\r\n"
FIRST = b"Subject: x\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Figures:
    answer: str
    seconds: float
    processor: float
    #: Octets above what the server held before.
    peak: int
    #: Seconds that another client waited at most for the answer to a NOOP.
    waited: float
    served: bool


def begin(port: int) -> Raw:
    client = Raw(port)
    client.reply()
    client.ask("EHLO client.test", "250")
    return client


class Neighbour:
    """A client that asks NOOP until it is told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._waited = 0.0
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with begin(self._port) as client:
                    self._ask(client)
        except (OSError, AssertionError) as fault:
            self._fault = fault

    def _ask(self, client: Raw) -> None:
        # A server does not hear many commands from a client that brings no message.
        for _ in range(20):
            began = time.monotonic()
            client.ask("NOOP", "250")
            self._waited = max(self._waited, time.monotonic() - began)
            if self._stop.wait(0.02):
                return

    def finish(self) -> float:
        """Seconds that it waited at most. Raises OSError or AssertionError where it was not served."""
        self._stop.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault
        return self._waited


def name_recipient(client: Raw) -> None:
    client.ask("MAIL FROM:<x@far.test>", "250")
    client.ask("RCPT TO:<alice@bomb.test>", "250")


def deliver(client: Raw, message: bytes) -> bytes:
    """The answer to a message that has no line that begins with a dot."""
    name_recipient(client)
    client.ask("DATA", "354")
    client.send(message)
    return client.ask(b".")


def chunked(client: Raw, chunks: int) -> bytes:
    """The answer to a message that comes an octet at a time."""
    name_recipient(client)
    client.send(b"BDAT %d\r\n%b" % (len(FIRST), FIRST))
    assert client.reply().startswith(b"250")
    for start in range(0, chunks, WINDOW):
        window = min(WINDOW, chunks - start)
        client.send(CHUNK * window)
        answered = bytearray()
        while len(answered) < window * len(ANSWER):
            more = client.socket.recv(65536)
            if not more:
                raise ConnectionError(f"closed after {start} chunks")
            answered += more
        assert answered == ANSWER * window, bytes(answered[-200:])
    return client.ask("BDAT 0 LAST")


def long_command(client: Raw) -> bytes:
    client.send(b"NOOP " + b"x" * LINE + b"\r\n")
    return client.reply()


def served(port: int) -> bool:
    with begin(port) as client:
        return deliver(client, b"Subject: next\r\n\r\nx\r\n").startswith(b"250")


def measure(server: RunningServer, bomb: Callable[[Raw], bytes]) -> Figures:
    port = server.ports["smtp"]
    neighbour = Neighbour(port)
    try:
        with begin(port) as client:
            meter, began = Meter(server), time.monotonic()
            answer = bomb(client)
            seconds = time.monotonic() - began
    finally:
        waited = neighbour.finish()
    # The next client first: what is still done for the bomb after its answer belongs to it.
    is_served = served(port)
    return Figures(answer[:9].decode(), seconds, meter.seconds, meter.peak, waited, is_served)


def through_dialogue(said: bytes, times: int, last: bytes, message_size: int) -> int:
    """Octets that Python's objects took at most while the dialogue and the index had it."""
    dialogue = Dialogue(terms(size=message_size))
    dialogue.exchange(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
    tracemalloc.start()
    try:
        for _ in range(times):
            dialogue.exchange(said)
        dialogue.exchange(last)
        if dialogue.messages:
            index_message(dialogue.messages[-1])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def traced(message: bytes) -> int:
    return through_dialogue(b"DATA\r\n" + message, 1, b".\r\n", 50_000_000)


def bombs(chunks: int) -> dict[str, tuple[int, Callable[[Raw], bytes], Callable[[], int]]]:
    """name -> (octets, how a client sends it, what Python's objects take for it)."""
    line = b"\r\n" + b"y" * LINE + b"\r\n"
    fewer = min(chunks, 100_000)
    messages = {**BOMBS, "a line of 10 MB in a message": line}
    found: dict[str, tuple[int, Callable[[Raw], bytes], Callable[[], int]]] = {
        name: (len(message), lambda client, m=message: deliver(client, m), lambda m=message: traced(m))
        for name, message in messages.items()
    }
    found["a line of 10 MB as a command"] = (
        LINE,
        long_command,
        lambda: through_dialogue(b"NOOP " + b"x" * LINE + b"\r\n", 1, b"", 1),
    )
    found[f"{chunks:,} chunks of an octet"] = (
        chunks,
        lambda client: chunked(client, chunks),
        lambda: through_dialogue(CHUNK * WINDOW, fewer // WINDOW, b"BDAT 0 LAST\r\n", 50_000_000),
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="the bombs whose names have these words")
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--no-trace", action="store_true", help="without the column of tracemalloc")
    given = parser.parse_args()
    holds = True
    print(f"{'':<32}{'MB':>6}{'answer':>11}{'s':>7}{'CPU s':>7}{'MiB':>7}{'python':>8}{'NOOP ms':>9}  next")
    with ExitStack() as stack:
        server = RunningServer(Case(stack), "bomb.test", settings=QUICK)
        server.add_account("alice", "hungry")
        server.start()
        holds &= served(server.ports["smtp"])
        for name, (octets, bomb, trace) in bombs(given.chunks).items():
            if given.only not in name:
                continue
            found = measure(server, bomb)
            python = "" if given.no_trace else f"{trace() / MIB:.1f}"
            holds &= found.served and found.peak < max(64 * MIB, 4 * octets)
            print(
                f"{name:<32}{octets / 1e6:>6.1f}{found.answer:>11}{found.seconds:>7.2f}"
                f"{found.processor:>7.2f}{found.peak / MIB:>7.1f}{python:>8}{found.waited * 1e3:>9.0f}"
                f"  {'served' if found.served else 'NOT SERVED'}",
                flush=True,
            )
    print("every next client was served" if holds else "A CLIENT WAS NOT SERVED, OR MEMORY NOT BOUNDED")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
