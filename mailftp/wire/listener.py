"""One endpoint string as a service that binds, accepts, stops and drains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.python.failure import Failure

from mailftp.settings import Network
from mailftp.wire.connection import ConnectionFactory
from mailftp.wire.proxy import ProxyFactory
from mailftp.wire.tls import ServiceTLS
from mailftp.wire.transport import BACKLOG, install

#: Seconds that connections have to finish when the server stops.
DRAIN = 5.0


class CannotListen(Exception):
    """An endpoint could not be bound; the text names the key, the endpoint and the reason."""


class ListenerService(Service):
    """Listens on `endpoint` for `factory`.

    `key` is what an error calls it, "listen.smtp". With `tls`, every connection is TLS from its first
    octet; with `trusted` networks, connections from there bring a PROXY header (or may, without
    `proxy_required`). A factory that writes
    piecemeal (twisted.web's) asks for `gather_writes`, so that each write is not a TLS record of its own.

    Binding happens in `privilegedStartService`, before twistd gives up root, and a failure there fails the
    start: CannotListen. The Deferred of `stopService` fires when nothing listens and, where the factory is a
    ConnectionFactory, its last connection has gone; who takes more than `drain_seconds` is aborted.
    """

    def __init__(
        self,
        endpoint: str,
        factory: IProtocolFactory,
        reactor: Any,
        *,
        key: str = "listen",
        tls: ServiceTLS | None = None,
        trusted: Iterable[Network] = (),
        proxy_required: bool = True,
        gather_writes: bool = False,
        drain_seconds: float = DRAIN,
    ) -> None:
        """Raises ValueError for a string that is no endpoint, that brings TLS of its own, or that means a
        socket which systemd has not passed on."""
        if endpoint.partition(":")[0] in ("ssl", "tls"):
            raise ValueError(
                f"{key}: {endpoint}: TLS is by the name of the service and [tls], not by the endpoint"
            )
        self.endpoint, self.key = endpoint, key
        self.factory = factory
        self.drain_seconds = drain_seconds
        try:
            self._endpoint = serverFromString(reactor, endpoint)  # type: ignore[no-untyped-call]  # upstream
        except (IndexError, KeyError):
            # systemd: strings are looked up at once, among the sockets that were passed to us.
            raise ValueError(f"{key}: {endpoint}: no such socket was passed to this process")
        except TypeError:
            raise ValueError(f"{key}: {endpoint}: an endpoint does not take these parts")
        self._outer = factory
        if tls is not None:
            self._outer = tls.wrap(factory, clock=reactor if gather_writes else None)
        networks = tuple(trusted)
        if networks:
            self._outer = ProxyFactory(self._outer, networks, reactor, proxy_required)
        self._port: IListeningPort | None = None

    @property
    def addresses(self) -> list[IAddress]:
        """Where it listens: [] before it does, else one address, with the port that "0" became."""
        return [] if self._port is None else [self._port.getHost()]

    def privilegedStartService(self) -> None:
        super().privilegedStartService()  # type: ignore[no-untyped-call]  # upstream
        self._bind()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # upstream
        self._bind()

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # upstream
        port, self._port = self._port, None
        stopped: Deferred[Any] = succeed(None) if port is None else maybeDeferred(port.stopListening)
        drained: Deferred[Any] = succeed(None)
        if isinstance(self.factory, ConnectionFactory):
            drained = self.factory.drain(self.drain_seconds)
        return gatherResults([stopped, drained], consumeErrors=True).addCallback(lambda _: None)

    def _bind(self) -> None:
        if self._port is not None:
            return
        bound: list[IListeningPort] = []
        failed: list[Failure] = []
        # TCP, Unix and inherited sockets all bind before this returns.
        self._endpoint.listen(self._outer).addCallbacks(bound.append, failed.append)
        if failed:
            raise CannotListen(f"{self.key}: cannot listen on {self.endpoint}: {_reason(failed[0].value)}")
        if not bound:
            raise CannotListen(f"{self.key}: {self.endpoint} does not listen at once")
        self._port = bound[0]
        # A backlog that the string sets is the operator's, and one that we inherit is systemd's.
        ours = self.endpoint.startswith("tcp") and "backlog" not in self.endpoint
        install(self._port, BACKLOG if ours else None)


def _reason(error: BaseException | None) -> str:
    # CannotListenError wraps the socket's own error, and its text repeats the address.
    cause = getattr(error, "socketError", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
