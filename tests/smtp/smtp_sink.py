"""Postfix's smtp-sink as a real server on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest

from tests.ports import free_port

SMTP_SINK = shutil.which("smtp-sink") or shutil.which("smtp-sink", path="/usr/sbin:/usr/lib/postfix/sbin")


class _Watch(ProcessProtocol):
    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self.said = b""

    def errReceived(self, data: bytes) -> None:
        self.said += data

    def processEnded(self, reason) -> None:
        self.gone.callback(None)


class SMTPSink:
    """`sink = await SMTPSink.start("-8")`; afterwards `await sink.stop()`."""

    def __init__(self, port: int, watch: _Watch, process) -> None:
        self.port, self._watch, self._process = port, watch, process

    @classmethod
    async def start(cls, *options: str, folder: str | None = None) -> SMTPSink:
        """`folder` gets one file a message. Raises SkipTest where it is not installed."""
        if SMTP_SINK is None:
            raise SkipTest("needs smtp-sink (package postfix)")
        port = free_port()
        who = ["-u", pwd.getpwuid(os.getuid()).pw_name] if os.getuid() == 0 else []
        files = ["-d", os.path.join(os.path.abspath(folder), "m.")] if folder else []
        watch = _Watch()
        arguments = [SMTP_SINK, *who, *files, *options, f"127.0.0.1:{port}", "100"]
        process = reactor.spawnProcess(watch, SMTP_SINK, arguments, env={"PATH": os.defpath})
        for _ in range(200):
            try:
                probe_protocol = await connectProtocol(
                    TCP4ClientEndpoint(reactor, "127.0.0.1", port), Protocol()
                )
            except ConnectError:
                await deferLater(reactor, 0.02)
                continue
            probe_protocol.transport.abortConnection()
            return cls(port, watch, process)
        raise AssertionError(watch.said.decode())

    async def stop(self) -> None:
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        await self._watch.gone
