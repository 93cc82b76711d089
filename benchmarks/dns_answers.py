"""Answers a second beside bind9 and knot, one thread each, the same zone: python -m benchmarks.dns_answers.

dnsperf asks over the loopback, from the same machine: with two cores it takes one of them. Three kinds of
questions: names that are there, names that nobody asked for before and that are not there, and a mixture of
types, delegations and aliases. Rounds alternate; medians of answers a second, and the server's processor time
for one answer, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.dns.authorities import Authority
from tests.dns.test_authorities import ZONE
from tests.dns.test_transfer import NameServer
from tests.interop.running import program

ORIGIN = "example.test"
HOSTS = 2000
QUESTIONS = 200_000


class Cleanup(ExitStack):
    """What the tests' servers want of a test case."""

    def addCleanup(self, function: Any, *arguments: Any, **more: Any) -> None:
        self.callback(function, *arguments, **more)


def zone() -> str:
    return ZONE + "".join(f"h{number} A 192.0.2.{number % 250}\n" for number in range(HOSTS))


def write_questions(folder: Path) -> dict[str, Path]:
    chance = random.Random(8)
    types = ("A", "AAAA", "MX", "TXT", "NS", "SOA", "SRV", "CAA")
    names = ("", "mx.", "www.", "out.", "chain1.", "a.wild.", "x.child.", "_imaps._tcp.", "b.hollow.", "no.")
    kinds = {
        "names that are there": (f"h{chance.randrange(HOSTS)}.{ORIGIN} A" for _ in range(QUESTIONS)),
        "random names": (f"{chance.getrandbits(60):x}.{ORIGIN} A" for _ in range(5 * QUESTIONS)),
        "a mixture": (f"{chance.choice(names)}{ORIGIN} {chance.choice(types)}" for _ in range(QUESTIONS)),
    }
    files = {}
    for kind, lines in kinds.items():
        files[kind] = folder / kind.replace(" ", "-")
        files[kind].write_text("\n".join(lines) + "\n")
    return files


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(port: int, process: int, file: Path, seconds: int) -> tuple[float, float, float]:
    """(answers a second, microseconds of the server's processor for each, percent lost)."""
    before = processor_seconds(process)
    done = subprocess.run(
        [program("dnsperf", "dnsperf"), "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-e",
         "-l", str(seconds), "-c", "20", "-q", "200", "-t", "2"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    took = processor_seconds(process) - before

    def said(pattern: str) -> float:
        found = re.search(pattern, done.stdout)
        assert found is not None, done.stdout
        return float(found[1])

    completed = said(r"Queries completed:\s+(\d+)")
    return said(r"per second:\s+([0-9.]+)"), took / completed * 1e6, said(r"lost:\s+\d+ \(([0-9.]+)%")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=5)
    given = options.parse_args()
    with Cleanup() as cleanup, tempfile.TemporaryDirectory() as folder:
        server = NameServer(cleanup, ORIGIN)
        server.configure(
            f'[dns]\nzones = ["{ORIGIN}"]\nzone_files = {{ "{ORIGIN}" = "own.zone" }}\nrate_limit = 0\n'
        )
        server.write_zone(zone())
        server.start()
        assert server.process is not None
        targets = {"mailftp": (server.ports["dns"], server.process.pid)}
        for kind in ("bind9", "knot"):
            peer = Authority(cleanup, kind, f"{ORIGIN}.", zone())
            targets[kind] = (peer.port, peer.process.pid)
        files = write_questions(Path(folder))
        for kind, file in files.items():
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in targets}
            for _ in range(given.rounds):
                for name, (port, process) in targets.items():
                    found[name].append(measure(port, process, file, given.seconds))
            for name, rounds in found.items():
                rate, cost, lost = (statistics.median(column) for column in zip(*rounds, strict=True))
                print(f"{kind:<22}{name:<9}{rate:>9.0f}/s {cost:>7.1f} us each  lost {lost:.2f}%", flush=True)


if __name__ == "__main__":
    main()
