"""Notices that certificate files were replaced, as certbot does, and takes them into use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from mailftp.wire.journal import Journal
from mailftp.wire.tls import Certificates

Swap: TypeAlias = Callable[[], None]
InThread: TypeAlias = Callable[[Callable[[], Swap | None]], Deferred[Swap | None]]

#: Seconds between two looks.
INTERVAL = 60.0


class CertificateWatch(Service):
    """Looks at the files once a minute and reloads when one differs. A file that cannot be used is
    complained of once, and the certificate in use stays."""

    def __init__(self, certificates: Certificates, reactor: Any, in_thread: InThread | None = None) -> None:
        """`reactor` provides IReactorTime, and IReactorThreads unless `in_thread` is given.

        The reactor's own threads do: it is a few stat calls a minute.
        """
        self._certificates = certificates
        self._reactor = reactor
        self._in_thread = in_thread or self._in_reactors_pool
        self._journal = Journal("tls")
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # upstream
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # upstream
        if self._loop.running:
            self._loop.stop()

    def reload(self) -> Deferred[bool]:
        """Read the files now, changed or not; whether they are in use. For SIGHUP and `mailftp reload`."""
        return self._apply(self._certificates.prepare)

    def _look(self) -> Deferred[bool]:
        return self._apply(lambda: self._certificates.prepare() if self._certificates.changed() else None)

    def _apply(self, prepare: Callable[[], Swap | None]) -> Deferred[bool]:
        def swap(made: Swap | None) -> bool:
            if made is None:
                return False
            made()
            self._journal.record("certificates-reloaded")
            return True

        def kept(failure: Any) -> bool:
            failure.trap(ValueError)
            self._journal.warn("certificates-kept", reason=failure.getErrorMessage())
            return False

        def fault(failure: Any) -> bool:
            # The loop must outlive it.
            self._journal.fault("certificates-kept", failure)
            return False

        return self._in_thread(prepare).addCallback(swap).addErrback(kept).addErrback(fault)

    def _in_reactors_pool(self, prepare: Callable[[], Swap | None]) -> Deferred[Swap | None]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), prepare)
