"""A queue of 100,000 messages to 1,000 destinations, of which some are dead: memory, and the others' rate.

    python -m benchmarks.backlog [--messages 100000] [--destinations 1000] [--dead 20] [--without]

The queue is filled while the server is stopped; then it is started, and smtp-sink counts what arrives. Of the
dead destinations a third refuse connections, a third take them and say nothing, and a third do not exist.
With `--without` the messages to the dead are not queued: what the rate is beside. The figures are of the time
from the start until the living have 95 of 100 of their messages.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import react

from benchmarks.origin_price import Case, name_server
from benchmarks.relay import Sink, address, memory
from mailftp.settings.file import read_settings
from mailftp.store.open import open_store
from mailftp.store.records import ForwardPath, Transfer
from mailftp.store.units import Accept
from tests.interop.running import RunningServer
from tests.ports import free_port

#: Connections that a destination which says nothing lets wait.
PATIENT = 200
SECONDS = 1200.0


def is_dead(number: int, percent: int) -> bool:
    """Spread evenly: one in five with 20."""
    return number % 100 * percent // 100 != (number % 100 - 1) * percent // 100 if percent else False


def numbers(options: argparse.Namespace) -> Iterator[int]:
    """The destination of each message, in the order in which they are queued."""
    for count in range(options.messages):
        number = count % options.destinations
        if not (options.without and is_dead(number, options.dead)):
            yield number


async def fill(_: object, options: argparse.Namespace) -> None:
    store = open_store(read_settings(options.fill), reactor)
    await store.start()
    waiting = []
    for count, number in enumerate(numbers(options)):
        sink = store.stage()
        sink.write(
            b"From: u0@bench.test\r\nMessage-ID: <%d@bench.test>\r\nSubject: queued\r\n\r\n" % count
            + (b"x" * 76 + b"\r\n") * 50
        )
        to = (ForwardPath(f"x@d{number}.test"),)
        transfer = Transfer("u0@bench.test", to, b"Received: by mx.bench.test\r\n")
        waiting.append(store.commit(Accept(await sink.finish(), time.time(), transfer=transfer)))
        if len(waiting) == 400:
            await gatherResults(waiting)
            waiting.clear()
    await gatherResults(waiting)
    await store.stop()


def silent(stack: ExitStack) -> int:
    """A port where connections come about and nothing is said."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("0.0.0.0", 0))
    listener.listen(PATIENT)
    return int(listener.getsockname()[1])


def routes(options: argparse.Namespace, sink: Sink, stack: ExitStack) -> str:
    refusing, patient = free_port(), silent(stack)
    lines = []
    for number in range(options.destinations):
        port = sink.port
        if is_dead(number, options.dead):
            kind = number // 5 % 3
            if kind == 2:
                # It has no route, and the DNS does not know it.
                continue
            port = (refusing, patient)[kind]
        lines.append(f'"d{number}.test" = "{address(number)}:{port}"\n')
    return "[delivery.routes]\n" + "".join(lines)


def measure(options: argparse.Namespace, server: RunningServer, sink: Sink) -> None:
    wanted = sum(not is_dead(number, options.dead) for number in numbers(options))
    server.start()
    assert server.process is not None
    process, start, most, told = server.process.pid, time.monotonic(), 0.0, 0.0
    while sink.count < wanted * 0.95:
        passed = time.monotonic() - start
        if passed > SECONDS:
            raise SystemExit(f"{sink.count} of {wanted} arrived in {SECONDS:g} seconds")
        most = max(most, memory(process))
        if passed >= told + 15:
            told = passed
            print(f"{passed:5.0f} s: {sink.count} arrived, {memory(process):.0f} MiB", flush=True)
        time.sleep(0.5)
    took = time.monotonic() - start
    cpu = sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100
    print(
        f"{'without' if options.without else 'with'} dead ones: {sink.count / took:.0f} messages/s to the"
        f" living, {cpu / sink.count * 1e6:.0f} us of CPU each, at most {most:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--dead", type=int, default=20, help="of a hundred destinations")
    parser.add_argument("--without", action="store_true")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill is not None:
        react(fill, (options,))
    with ExitStack() as stack:
        sink = Sink(stack)
        server = RunningServer(Case(stack), "bench.test")
        dns = name_server(stack, "")
        server.configure(f'[dns]\nservers = ["127.0.0.1:{dns}"]\n{routes(options, sink, stack)}')
        server.file.write_text(server.file.read_text().replace('"json"', '"text"\nlevel = "warn"'))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.backlog", "--fill", server.file, *sys.argv[1:]], check=True
        )
        measure(options, server, sink)


if __name__ == "__main__":
    main()
