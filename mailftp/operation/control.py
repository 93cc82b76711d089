"""`<data>/control`: how the command line talks to a running server.

A Unix socket that only its owner can open, and whose clients are asked of the kernel all the same
(SO_PEERCRED): the server's own user and root, nobody else. A request is a line of JSON, and so is its
answer: {"ok": ...} or {"error": "in words"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from mailftp.operation.admin import Refused
from mailftp.wire.journal import Journal

NAME = "control"

#: Octets of a request; ten thousand message numbers fit.
LARGEST_REQUEST = 256 * 1024
#: Octets of an answer that the command line reads.
LARGEST_ANSWER = 256 * 1024 * 1024
#: Connections at one time; a command has one, for less than a second.
MOST_CLIENTS = 16
#: Seconds for a request to arrive.
PATIENCE = 30

Perform = Callable[[Mapping[str, Any]], Awaitable[Any]]


@contextlib.contextmanager
def socket_address(data: Path) -> Iterator[str]:
    """The address of the socket, whatever the folder's path is: an address has 107 octets at most, so the
    folder is named by a descriptor (proc(5))."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


class ControlConnection(Protocol):
    """One command's connection: any number of requests, one after the other."""

    factory: ControlFactory

    def connectionMade(self) -> None:
        self._received = b""
        self._busy = False
        self._waiting = self.factory.clock.callLater(PATIENCE, self._give_up)
        if not self.factory.admits(self):
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]  # of every socket of the reactor

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._waiting.active():
            self._waiting.cancel()
        self.factory.clients.discard(self)

    def _give_up(self) -> None:
        if self._busy:
            self._waiting = self.factory.clock.callLater(PATIENCE, self._give_up)
        elif self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > LARGEST_REQUEST:
            self._answer({"error": f"a request has at most {LARGEST_REQUEST} octets"})
            assert self.transport is not None
            self.transport.loseConnection()
            return
        self._next()

    def _next(self) -> None:
        line, end, rest = self._received.partition(b"\n")
        if self._busy or not end:
            return
        self._received = rest
        self._busy = True
        Deferred.fromCoroutine(self._perform(line)).addCallback(self._done)

    async def _perform(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError
        except (ValueError, RecursionError):
            self._answer({"error": "a request is one line, a JSON object"})
            return
        try:
            self._answer({"ok": await self.factory.perform(request)})
        except Refused as refused:
            self._answer({"error": str(refused)})
        except Exception:
            self.factory.journal.fault("request failed")
            self._answer({"error": "the server failed to do it; its log says why"})

    def _done(self, _: None) -> None:
        self._busy = False
        if self._waiting.active():
            self._waiting.reset(PATIENCE)
        self._next()

    def _answer(self, answer: Mapping[str, Any]) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(answer).encode() + b"\n")


class ControlFactory(Factory):
    noisy = False

    def __init__(self, perform: Perform, clock: IReactorTime, journal: Journal) -> None:
        self.perform, self.clock, self.journal = perform, clock, journal
        self.clients: set[ControlConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        connection = ControlConnection()
        connection.factory = self
        return connection

    def admits(self, connection: ControlConnection) -> bool:
        """Root or our own user, by the kernel's word (unix(7)), and not too many."""
        handle: socket.socket = connection.transport.getHandle()  # type: ignore[union-attr]  # a socket's
        _, uid, _ = struct.unpack("3i", handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            self.journal.warn("control refused", uid=uid)
            return False
        if len(self.clients) >= MOST_CLIENTS:
            return False
        self.clients.add(connection)
        return True


class ControlService(Service):
    """Listens while the server runs. Whoever starts it has `<data>/lock`, so a socket that is there is a
    dead server's."""

    def __init__(self, data: Path, perform: Perform, reactor: Any) -> None:
        """`reactor` provides IReactorSocket and IReactorTime."""
        self._data = data
        self._reactor = reactor
        self._factory = ControlFactory(perform, reactor, Journal("control"))
        self._port: IListeningPort | None = None
        self._address = contextlib.ExitStack()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # untyped upstream
        with contextlib.ExitStack() as opened:
            address = opened.enter_context(socket_address(self._data))
            listening = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            listening.bind(address)
            listening.setblocking(False)
            listening.listen(MOST_CLIENTS)
            self._port = self._reactor.adoptStreamPort(listening.fileno(), socket.AF_UNIX, self._factory)
            # After Twisted, which gives every Unix socket 0666; until then the folder keeps others out.
            os.chmod(address, 0o600)
            # Twisted unlinks the address when the port is closed, so it has to stay what it is until then.
            listening.close()
            self._address = opened.pop_all()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # untyped upstream
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        for client in tuple(self._factory.clients):
            if client.transport is not None:
                client.transport.loseConnection()
        return maybeDeferred(port.stopListening).addCallback(lambda _: self._address.close())


class NotRunning(Exception):
    """No server answers at the folder's socket."""


def ask(data: Path, request: Mapping[str, object], patience: float = 60.0) -> Any:
    """Have the running server do something; what it answers. Blocks: for the command line.

    Raises NotRunning, or Refused with the server's words.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(patience)
        try:
            with socket_address(data) as address:
                channel.connect(address)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NotRunning
        except OSError as fault:
            raise Refused(f"{data / NAME}: {fault.strerror or 'no answer'}")
        try:
            channel.sendall(json.dumps(request).encode() + b"\n")
            answer = _read_line(channel)
        except (TimeoutError, ConnectionError):
            raise Refused("the server did not answer; `mailftp` must run as its user or as root")
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return answer.get("ok")


def _read_line(channel: socket.socket) -> dict[str, Any]:
    pieces: list[bytes] = []
    size = 0
    while not pieces or not pieces[-1].endswith(b"\n"):
        piece = channel.recv(1 << 20)
        size += len(piece)
        if not piece or size > LARGEST_ANSWER:
            raise ConnectionResetError
        pieces.append(piece)
    answer = json.loads(b"".join(pieces))
    if not isinstance(answer, dict):
        raise ConnectionResetError
    return answer
