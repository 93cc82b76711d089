"""The name service of a whole server: by UDP and TCP, through reloads."""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
from twisted.internet import reactor as global_reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailftp.app import StartFault, make_server
from mailftp.operation.admin import Refused
from mailftp.settings import DNS, Settings
from tests.interop.running import PATIENCE
from tests.ports import free_ports

reactor: Any = global_reactor


class NameServiceTests(TestCase):
    timeout = 2 * PATIENCE

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.file = folder / "own.zone"
        self.file.write_text("www A 192.0.2.1\n")
        # TCP chooses from the same range, so one port is asked for both ways.
        [self.port] = free_ports(1, kind=socket.SOCK_DGRAM)
        endpoints = tuple(f"{kind}:{self.port}:interface=127.0.0.1" for kind in ("tcp", "udp"))
        self.settings = Settings(
            folder,
            folder / "data",
            hostname="mx.a.test",
            domains=("a.test",),
            listen={"dns": endpoints},
            dns=DNS(zones=("a.test",), zone_files={"a.test": self.file}),
        )

    async def start(self) -> None:
        self.server = make_server(self.settings, reactor, reread=lambda: self.settings)
        self.addCleanup(self.server.stopService)
        self.server.privilegedStartService()
        self.server.startService()
        await self.server.started

    async def ask(
        self, name: str, kind: str, how: Any = dns.query.udp_with_fallback, where: str = "127.0.0.1"
    ) -> list[str]:
        query = dns.message.make_query(name, kind)
        reply = await deferToThread(partial(how, query, where, port=self.port, timeout=PATIENCE))
        self.reply = reply[0] if isinstance(reply, tuple) else reply
        return [record.to_text() for rrset in self.reply.answer for record in rrset]

    async def test_reload(self) -> None:
        """The zone file is read anew though the settings are the same; the serial grows; nobody is left
        without answers."""
        await self.start()
        for how in (dns.query.udp_with_fallback, dns.query.tcp):
            self.assertEqual(await self.ask("www.a.test", "A", how), ["192.0.2.1"])
        serial = int((await self.ask("a.test", "SOA"))[0].split()[2])
        self.file.write_text("www A 192.0.2.2\n")
        await self.server.reload()
        self.assertEqual(await self.ask("www.a.test", "A"), ["192.0.2.2"])
        self.assertEqual(await self.ask("www.a.test", "A", dns.query.tcp), ["192.0.2.2"])
        self.assertEqual(int((await self.ask("a.test", "SOA"))[0].split()[2]), serial + 1)

    async def test_a_broken_zone_is_refused(self) -> None:
        """By a reload, with what is wrong; the old one is served on."""
        await self.start()
        self.file.write_text("www A 192.0.2.300\n")
        with self.assertRaises(Refused) as caught:
            await self.server.reload()
        self.assertIn("at www.a.test, line ", str(caught.exception))
        self.assertEqual(await self.ask("www.a.test", "A"), ["192.0.2.1"])

    async def test_a_broken_zone_at_the_start(self) -> None:
        """Is a line, and no server."""
        self.file.write_text("@ NS\n")
        with self.assertRaises(StartFault) as caught:
            await self.start()
        self.assertIn("own.zone: zone a.test: ", str(caught.exception))
        self.flushLoggedErrors()

    async def test_zones_and_listeners_come_and_go(self) -> None:
        """By a reload."""
        await self.start()
        self.settings = replace(self.settings, dns=replace(self.settings.dns, zones=(), zone_files={}))
        notes = await self.server.reload()
        self.assertEqual(notes, ["listen.dns: every question is refused, dns.zones names no zone"])
        await self.ask("www.a.test", "A")
        self.assertEqual(self.reply.rcode(), dns.rcode.REFUSED)
        before = self.port
        [self.port] = free_ports(1, kind=socket.SOCK_DGRAM)
        self.settings = replace(
            self.settings,
            listen={"dns": (f"udp:{self.port}:interface=127.0.0.1",)},
            dns=DNS(zones=("b.test",)),
        )
        await self.server.reload()
        self.assertEqual(await self.ask("b.test", "NS"), ["mx.a.test."])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", before))

    async def test_both_families(self) -> None:
        """`tcp6:` and `udp6:` answer at IPv6 and IPv4 addresses alike."""
        endpoints = tuple(f"{kind}:{self.port}" for kind in ("tcp6", "udp6"))
        self.settings = replace(self.settings, listen={"dns": endpoints})
        await self.start()
        for where in ("::1", "127.0.0.1", "127.0.0.5"):
            for how in (dns.query.udp, dns.query.tcp):
                self.assertEqual(await self.ask("www.a.test", "A", how, where), ["192.0.2.1"])
        self.assertEqual(
            [door.whereabouts for door in self.server.doors], [f"[::]:{self.port}", f"[::]:{self.port}/udp"]
        )

    async def test_taken(self) -> None:
        """A port that somebody has is a line that names the key."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", self.port))
            with self.assertRaises(StartFault) as caught:
                await self.start()
        words = f"listen.dns: cannot listen on udp:{self.port}:interface=127.0.0.1: Address already in use"
        self.assertEqual(str(caught.exception), words)
