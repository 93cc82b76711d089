"""Ports for servers that cannot be told to choose one themselves."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

#: Below Linux's ephemeral ports, so that no outgoing connection takes one between the look and the
#: server's bind, and below the passive ports that settings name by default.
RANGE = range(10240, 29000)


def free_ports(count: int, address: str = "127.0.0.1", kind: int = socket.SOCK_STREAM) -> list[int]:
    """So many different ports that were free a moment ago."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(RANGE, 1000):
            if len(found) == count:
                return found
            one = stack.enter_context(socket.socket(socket.AF_INET, kind))
            try:
                one.bind((address, port))
            except OSError:
                continue
            found.append(port)
    raise AssertionError(f"no {count} free ports at {address}")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """One port of 127.0.0.1 that was free a moment ago."""
    return free_ports(1, kind=kind)[0]
