"""Whether accounts can be told apart by what a failed login answers, or by how long that takes.

    python -m benchmarks.login_timing [--samples 1000] [--services pop3,submission,imap]

An account with a wrong password, one that has app passwords, a name that nobody has, an account that is
disabled, and one at a domain that is not ours are tried in random order, each time with another password and
on a new connection, without the delay that a failed login has otherwise (`auth.failure_delay` hides what is
measured here). It says for each kind the median, and the chance that an attempt of it took longer than one at
the account: 50 % where nothing can be told.

Half of the passwords have the form of an app password, and begin as one of the account's does that has some.

The statement that is checked, with exit status 1 when it does not hold: the answers are the same octets, and
nobody who sees one attempt says with more than 55 % of success which kind it was. With 1,000 samples chance
alone stays within 4 % of 50 % (three standard deviations). SCRAM's first answer, which has no password to
check, is measured in the same way, with ten times the samples.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import socket
import statistics
import sys
import time
from base64 import b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.large_maildrop import Case
from mailftp.accounts.app_passwords import generate_app_password
from tests.interop.running import RunningServer

#: The first is what the others are compared with. The names have one length.
KINDS = {
    "wrong password": b"there1@example.test",
    "app passwords": b"phones@example.test",
    "unknown": b"nobody@example.test",
    "disabled": b"closed@example.test",
    "other domain": b"nobody@foreign.test",
}
#: The chance of telling two kinds apart that is still no telling.
THRESHOLD = 0.05

#: service -> how AUTH begins, and what comes before it.
SERVICES: dict[str, tuple[bytes, bytes]] = {
    "pop3": (b"AUTH PLAIN ", b""),
    "submission": (b"AUTH PLAIN ", b"EHLO client.test\r\n"),
    "imap": (b"a AUTHENTICATE PLAIN ", b""),
}


#: What app passwords of the account that has some begin with.
SELECTORS: list[str] = []


def plain(name: bytes) -> bytes:
    password = secrets.token_hex(8)
    if secrets.randbelow(2):
        password = random.choice(SELECTORS) + generate_app_password()[1][4:]
    return b64encode(b"\0" + name + b"\0" + password.encode())


def scram(name: bytes) -> bytes:
    return b64encode(b"n,,n=" + name + b",r=" + secrets.token_hex(8).encode())


def attempt(port: int, service: str, mechanism: str, name: bytes) -> tuple[bytes, float]:
    """(the answer, seconds)."""
    said, before = SERVICES[service]
    response = plain(name) if mechanism == "PLAIN" else scram(name)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(4096)
        if before:
            client.sendall(before)
            while b"\r\n250 " not in b"\r\n" + client.recv(4096):
                pass
        command = said.replace(b"PLAIN", mechanism.encode()) + response + b"\r\n"
        began = time.perf_counter()
        client.sendall(command)
        answer = client.recv(4096)
        taken = time.perf_counter() - began
    if mechanism != "PLAIN":
        # Nonce and salt differ by their nature.
        answer = answer[:4] + b"." * (len(answer) - 4)
    return answer, taken


def chance(longer: Sequence[float], than: Sequence[float]) -> float:
    """That one of the first took longer than one of the second; ties count half (Mann and Whitney's U)."""
    ordered = sorted(than)
    below = sum(bisect_left(ordered, one) + bisect_right(ordered, one) for one in longer) / 2
    return below / (len(longer) * len(ordered))


def measure(try_one: Callable[[bytes], tuple[bytes, float]], samples: int) -> bool:
    """Print a table; whether the statement holds."""
    order = [kind for kind in KINDS for _ in range(samples)]
    random.shuffle(order)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answers: dict[str, set[bytes]] = {kind: set() for kind in KINDS}
    for kind in order:
        answer, taken = try_one(KINDS[kind])
        times[kind].append(taken)
        answers[kind].add(answer)
    first, *others = KINDS
    holds = all(answers[kind] == answers[first] and len(answers[kind]) == 1 for kind in KINDS)
    print(f"  answer: {sorted(answers[first])[0][:70]!r}, {'the same' if holds else answers} for all")
    print(f"  {first:<15} median {statistics.median(times[first]) * 1e3:8.3f} ms")
    for kind in others:
        longer = chance(times[kind], times[first])
        told = abs(longer - 0.5) > THRESHOLD
        holds &= not told
        print(
            f"  {kind:<15} median {statistics.median(times[kind]) * 1e3:8.3f} ms, longer in {longer:6.1%}"
            + ("  CAN BE TOLD" if told else "")
        )
    return holds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--mechanisms", default="PLAIN,SCRAM-SHA-256")
    parser.add_argument("--services", default=",".join(SERVICES))
    given = parser.parse_args()
    holds = True
    with ExitStack() as stack:
        settings = '[auth]\nfailure_delay = "0s"\n[limits]\nconnections_per_ip = 1000\n'
        server = RunningServer(Case(stack), "example.test", settings=settings)
        for name in ("there1", "phones", "closed"):
            server.add_account(name, "correct horse battery")
        done = server.cli("account", "set", "closed", "--disable")
        assert done.returncode == 0, done.stderr
        for _ in range(5):
            made = server.cli("account", "app-password", "add", "phones", "--json")
            SELECTORS.append(json.loads(made.stdout)["password"][:4])
        server.start()
        for service in given.services.split(","):
            for mechanism in given.mechanisms.split(","):

                def try_one(
                    name: bytes, service: str = service, mechanism: str = mechanism
                ) -> tuple[bytes, float]:
                    return attempt(server.ports[service], service, mechanism, name)

                for name in KINDS.values():
                    # What is made at the first login of all, and read for the first time.
                    try_one(name)
                print(f"{service} AUTH {mechanism}")
                holds &= measure(try_one, given.samples * (1 if mechanism == "PLAIN" else 10))
    print("accounts cannot be told apart" if holds else "ACCOUNTS CAN BE TOLD APART")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
