"""A maildrop of 100,000 messages and 2 GB: MAILFTP_LARGE_MAILDROP=100000 in the environment; else of 2,000.

What it takes in time is for benchmarks/large_maildrop.py to say.
"""

from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailftp.accounts.passwords import make_verifier
from mailftp.store.queries import AccountWithVerifier, Copies, ListMaildrop
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import AddAccount
from tests.pop3.large import fill, message
from tests.pop3.maildrops import CHEAP
from tests.pop3.test_clients import ClientTestCase

COUNT = int(os.environ.get("MAILFTP_LARGE_MAILDROP", "2000"))


class Noting(SQLiteStore):
    """Notes the kinds of what is read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read_kinds: list[type] = []

    def read(self, query: Any) -> Any:
        self.read_kinds.append(type(query))
        return super().read(query)


class LargeTests(ClientTestCase):
    timeout = 900

    async def open(self) -> int:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.store = Noting(folder / "mail.sqlite", folder / "blobs", reactor, reactor)
        self.addCleanup(self.store.stop)
        await self.store.start()
        bob = await self.store.commit(AddAccount("bob@example.test", make_verifier("hungry", CHEAP)))
        await fill(self.store, bob.id, COUNT)
        self.furnish()
        return self.listen()

    async def test_opens(self) -> None:
        """No message is read for a login, LIST and UIDL; sizes are exact; what RETR sends is what came; and
        memory does not grow by what the messages hold."""
        port = await self.open()
        self.store.read_kinds.clear()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            stream = client.makefile("rb")

            def ask(command: bytes, whole: bool = False) -> list[bytes]:
                client.sendall(command + b"\r\n")
                lines = [stream.readline()]
                self.assertTrue(lines[0].startswith(b"+OK"), lines)
                while whole and (line := stream.readline()) != b".\r\n":
                    lines.append(line[1:] if line.startswith(b"..") else line)
                return lines

            def enter() -> tuple[bytes, bytes]:
                stream.readline()
                ask(b"USER bob")
                return ask(b"PASS hungry")[0], ask(b"STAT")[0]

            sizes = [len(message(number)) for number in range(COUNT)]
            opened, stat = await deferToThread(enter)
            self.assertIn(b"has %d messages (%d octets)" % (COUNT, sum(sizes)), opened)
            self.assertEqual(stat, b"+OK %d %d\r\n" % (COUNT, sum(sizes)))
            listed = await deferToThread(ask, b"LIST", True)
            self.assertEqual(listed[1:], [b"%d %d\r\n" % pair for pair in enumerate(sizes, 1)])
            identified = await deferToThread(ask, b"UIDL", True)
            numbers, uidls = zip(*(line.split() for line in identified[1:]), strict=True)
            self.assertEqual(numbers, tuple(b"%d" % number for number in range(1, COUNT + 1)))
            self.assertEqual(len(set(uidls)), COUNT)
            kinds = set(self.store.read_kinds)
            self.assertEqual(kinds, {AccountWithVerifier, ListMaildrop})
            # Both ends of this conversation, with the client's lists: still a fraction of the messages.
            _, peak = tracemalloc.get_traced_memory()
            self.assertLess(peak, 8 * 1024 * 1024 + COUNT * 1000)
            for number in (0, COUNT // 2, COUNT - 1):
                got = await deferToThread(ask, b"RETR %d" % (number + 1), True)
                self.assertEqual(b"".join(got[1:]), message(number))
            self.assertIn(Copies, self.store.read_kinds)
            await deferToThread(ask, b"QUIT")
