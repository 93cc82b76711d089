"""The control socket: who may use it, and what it answers."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailftp.operation import control
from mailftp.operation.admin import Refused
from mailftp.operation.control import LARGEST_REQUEST, ControlService, NotRunning, ask, socket_address


async def perform(request: Mapping[str, Any]) -> Any:
    if request["do"] == "refuse":
        raise Refused("no, because")
    if request["do"] == "break":
        raise ZeroDivisionError
    if request["do"] == "wait":
        await deferLater(reactor, 0.01)
    return request


class Control(TestCase):
    def setUp(self) -> None:
        # Longer than the address of a Unix socket may be: it has to work all the same.
        self.data = Path(self.mktemp()).absolute() / ("d" * 120)
        self.data.mkdir(parents=True)
        self.service = ControlService(self.data, perform, reactor)
        self.service.startService()
        self.addCleanup(lambda: self.service.stopService() if self.service.running else None)

    def ask(self, **request: object) -> Deferred[Any]:
        return deferToThread(ask, self.data, request)

    async def test_answer(self) -> None:
        """What the server answers arrives."""
        self.assertEqual(await self.ask(do="wait", ids=[1]), {"do": "wait", "ids": [1]})

    async def test_refusal(self) -> None:
        """What cannot be done is an error in the server's words."""
        with self.assertRaises(Refused) as caught:
            await self.ask(do="refuse")
        self.assertEqual(str(caught.exception), "no, because")

    async def test_fault(self) -> None:
        """A fault of ours is logged, and the client is told where to look."""
        with self.assertRaises(Refused):
            await self.ask(do="break")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def talk(self, octets: bytes, lines: int) -> Deferred[list[bytes]]:
        def work() -> list[bytes]:
            with socket.socket(socket.AF_UNIX) as channel, socket_address(self.data) as address:
                channel.settimeout(10)
                channel.connect(address)
                channel.sendall(octets)
                got = b""
                while got.count(b"\n") < lines:
                    piece = channel.recv(65536)
                    if not piece:
                        break
                    got += piece
                return got.splitlines()

        return deferToThread(work)

    async def test_several(self) -> None:
        """Requests of one connection are done one after the other and answered in their order."""
        requests = [{"do": "wait", "n": number} for number in range(3)]
        got = await self.talk(b"".join(json.dumps(each).encode() + b"\n" for each in requests), 3)
        self.assertEqual([json.loads(line)["ok"] for line in got], requests)

    async def test_malformed(self) -> None:
        """What is no request is answered, and the connection goes on."""
        got = await self.talk(b'[]\n{\n\xff\n{"do": "wait"}\n', 4)
        self.assertEqual(["error" in json.loads(line) for line in got], [True, True, True, False])

    async def test_endless(self) -> None:
        """A request without end is cut."""
        got = await self.talk(b"x" * (LARGEST_REQUEST + 1), 2)
        self.assertEqual(len(got), 1)
        self.assertIn("octets", json.loads(got[0])["error"])

    def test_mode(self) -> None:
        """Nobody else can open the socket."""
        mode = (self.data / "control").stat().st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    async def test_another_user(self) -> None:
        """The kernel is asked who is at the other end: another user is turned away."""
        if os.geteuid() == 0:
            # Root may always; so a server that runs as somebody else is asked by somebody else again.
            self.patch(control.os, "geteuid", lambda: 12345)
            self.patch(control.struct, "unpack", lambda form, octets: (1, 54321, 1))
        else:
            self.patch(control.os, "geteuid", lambda: os.getuid() + 1)
        with self.assertRaises(Refused):
            await self.ask(do="wait")

    async def test_stopped(self) -> None:
        """A server that has stopped leaves no socket, and asking it says so."""
        await self.service.stopService()
        self.assertFalse((self.data / "control").exists())
        with self.assertRaises(NotRunning):
            await self.ask(do="wait")

    async def test_dead_server(self) -> None:
        """The socket of a server that was killed is nobody's; the next server takes its place."""
        await self.service.stopService()
        with socket.socket(socket.AF_UNIX) as dead, socket_address(self.data) as address:
            dead.bind(address)
        with self.assertRaises(NotRunning):
            await self.ask(do="wait")
        self.service.startService()
        self.assertEqual(await self.ask(do="wait"), {"do": "wait"})
