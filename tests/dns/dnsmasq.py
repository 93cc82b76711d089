"""dnsmasq as a real DNS server on a free port of the loopback."""

from __future__ import annotations

import shutil

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import SkipTest

from tests.ports import free_port

DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/sbin")


class _Watch(ProcessProtocol):
    def __init__(self) -> None:
        self.ready: Deferred[bool] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.said = b""

    def errReceived(self, data: bytes) -> None:
        self.said += data
        if b"started, version" in self.said and not self.ready.called:
            self.ready.callback(True)

    def processEnded(self, reason) -> None:
        if not reason.check(ProcessDone, ProcessTerminated):
            self.gone.errback(reason)
            return
        if not self.ready.called:
            self.ready.callback(False)
        self.gone.callback(None)


class Dnsmasq:
    """Run with `await Dnsmasq.start("--mx-host=...")`; ask `address`; end with `await stop()`."""

    def __init__(self, port: int, watch: _Watch, process) -> None:
        self.port, self._watch, self._process = port, watch, process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @classmethod
    async def start(cls, *options: str) -> Dnsmasq:
        """Raises SkipTest where it is not installed."""
        if DNSMASQ is None:
            raise SkipTest("needs dnsmasq (package dnsmasq-base)")
        for _ in range(5):
            port, watch = free_port(), _Watch()
            arguments = [
                DNSMASQ, "--no-daemon", "--conf-file=/dev/null", f"--port={port}", "--bind-interfaces",
                "--listen-address=127.0.0.1", "--no-resolv", "--no-hosts", "--user=", "--group=",
                "--pid-file=", *options,
            ]  # fmt: skip
            process = reactor.spawnProcess(watch, DNSMASQ, arguments, env={})
            if await watch.ready:
                return cls(port, watch, process)
            # Somebody took the port in between; or an option is wrong, and then five times.
            await watch.gone
        raise AssertionError(watch.said.decode())

    async def stop(self) -> None:
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        await self._watch.gone
