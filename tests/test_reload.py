"""What many reloads leave behind: nothing, but for what somebody still uses."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailftp.accounts.passwords import make_verifier
from mailftp.app import Server, make_server
from mailftp.operation.admin import Refused
from mailftp.settings import Argon2, Auth, Settings
from mailftp.store.units import AddAccount

reactor: Any = global_reactor

LOOPBACK = "tcp:0:interface=127.0.0.1"
SERVICES = {"smtp": (LOOPBACK,), "ftp": (LOOPBACK,)}


class Client(Protocol):
    """Sends a line and waits for the reply to it."""

    def __init__(self) -> None:
        self.waiting: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        waiting, self.waiting = self.waiting, Deferred()
        waiting.callback(data)

    def ask(self, line: bytes) -> Deferred[bytes]:
        assert self.transport is not None
        self.transport.write(line + b"\r\n")
        return self.waiting


class Reloads(TestCase):
    async def setUp(self) -> None:
        data = Path(self.mktemp()).absolute()
        self.wanted = Settings(
            data,
            data,
            domains=("a.test",),
            listen=SERVICES,
            auth=Auth(argon2=Argon2(time_cost=1, memory_cost=8, parallelism=1)),
        )
        self.server = make_server(self.wanted, reactor, reread=lambda: self.wanted)
        self.server.privilegedStartService()
        self.server.startService()
        self.addCleanup(self.server.stopService)
        await self.server.started

    def store(self) -> Any:
        return self.server._base.store

    def kept(self) -> dict[str, int]:
        """What a server holds that could pile up."""
        return {
            "subscriptions": len(self.store()._feed.present()),
            "threads": threading.active_count(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "calls": len(reactor.getDelayedCalls()),
            "listening": len(reactor.getReaders()),
        }

    async def reload(self, count: int) -> None:
        for number in range(count):
            # A limit, a service that comes and goes, and what logins go by.
            limits = replace(self.wanted.limits, recipients=100 + number % 2)
            listen = SERVICES if number % 2 else {**SERVICES, "pop3": (LOOPBACK,)}
            auth = replace(self.wanted.auth, failure_delay=1.0 + number % 2)
            self.wanted = replace(self.wanted, limits=limits, listen=listen, auth=auth)
            await self.server.reload()

    async def client(self, server: Server) -> Client:
        [port] = [door.addresses[0].port for door in server.doors if door.service == "smtp"]  # type: ignore[attr-defined]  # an IPv4Address
        client: Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
        self.assertTrue((await client.waiting).startswith(b"220 "))
        return client

    async def test_nothing_piles_up(self) -> None:
        """After twenty reloads there are as many subscriptions, threads, descriptors, timers as after two."""
        await self.reload(2)
        before = self.kept()
        await self.reload(20)
        after = self.kept()
        self.assertEqual(after.pop("subscriptions"), before["subscriptions"])
        for name, number in after.items():
            # What was just closed takes a turn or two to go; a leak would be twenty.
            self.assertLess(number, before[name] + 5, name)

    async def test_refused(self) -> None:
        """A reload that cannot be taken changes nothing: no limit, no expiry of mail, no listener."""
        await self.reload(1)
        before, base = self.kept(), self.server._base
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        was = self.wanted
        self.wanted = replace(
            was,
            listen={**SERVICES, "pop3": (f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1",)},
            pop3=replace(was.pop3, expire_after_retrieval=1.0),
            limits=replace(was.limits, connections=7),
        )
        with self.assertRaises(Refused):
            await self.server.reload()
        await deferLater(reactor, 0)
        taken.close()
        self.assertEqual(self.server.settings, was)
        self.assertEqual((base.expiry.after, base.limits.total), (None, was.limits.connections))
        self.assertEqual(self.kept()["subscriptions"], before["subscriptions"])
        self.assertEqual(self.kept()["listening"], before["listening"])
        await self.server.reload()
        self.assertEqual((base.expiry.after, base.limits.total), (1.0, 7))

    async def test_disk(self) -> None:
        """What no cache has is read by threads, before a reload and after it, not by the reactor's."""
        await self.reload(1)
        for factory in self.server._rooms._factories:  # type: ignore[union-attr]  # it serves
            read: list[threading.Thread] = []
            self.patch(os, "pread", lambda *_, read=read: read.append(threading.current_thread()))
            await factory.wiring.reader.read(-1, 0, 1)
            self.assertNotEqual(read, [threading.current_thread()])

    async def test_who_is_inside(self) -> None:
        """Who was connected before a reload is still told of new accounts; once they are gone, the next
        reload lets go of what was kept for them."""
        await self.reload(2)
        alone = self.kept()["subscriptions"]
        client = await self.client(self.server)
        await self.reload(2)
        self.assertGreater(self.kept()["subscriptions"], alone)
        await client.ask(b"EHLO c.test")
        await client.ask(b"MAIL FROM:<x@c.test>")
        self.assertEqual((await client.ask(b"RCPT TO:<bob@a.test>"))[:3], b"550")
        await self.store().commit(AddAccount("bob@a.test", make_verifier("secret", self.wanted.auth.argon2)))
        self.assertEqual((await client.ask(b"RCPT TO:<bob@a.test>"))[:3], b"250")
        await client.ask(b"QUIT")
        while self.server._older[0].occupied:
            await deferLater(reactor, 0)
        await self.reload(2)
        self.assertEqual(self.kept()["subscriptions"], alone)
