"""A domain's MTA-STS policy file over HTTPS (RFC 8461 section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from mailftp.dns.mail import host_addresses
from mailftp.dns.resolver import Resolver
from mailftp.smtp.client_tls import verified

#: Section 3.3: a minute and 64 KB are enough.
SECONDS, OCTETS = 60.0, 64 * 1024
#: Addresses that are tried.
ADDRESSES = 4


class FetchFault(Exception):
    """The file could not be had; the text says why."""


class PolicyFetcher:
    """`reachable` says whether an address may be called at all. `creator` makes the TLS connection to a host
    in place of one that trusts the machine's authorities."""

    def __init__(
        self,
        resolver: Resolver,
        reactor: Any,
        reachable: Callable[[str], bool],
        port: int = 443,
        creator: Callable[[str], IOpenSSLClientConnectionCreator] = verified,
    ) -> None:
        self._resolver, self._reactor, self._reachable = resolver, reactor, reachable
        self._port, self._creator = port, creator

    def fetch(self, domain: str) -> Deferred[str]:
        """Fails with FetchFault, ResolutionFault, or as Twisted's Agent does. Redirects are not followed, as
        section 3.3 has it."""
        clock: IReactorTime = self._reactor
        return Deferred.fromCoroutine(self._fetch(domain)).addTimeout(SECONDS, clock)

    async def _fetch(self, domain: str) -> str:
        host = f"mta-sts.{domain}"
        addresses = [a for a in await host_addresses(self._resolver, host) if self._reachable(a)]
        if not addresses:
            raise FetchFault(f"{host} has no address that may be called")
        for left, address in reversed(list(enumerate(reversed(addresses[:ADDRESSES])))):
            try:
                return await self._from(host, address)
            except (FetchFault, TimeoutError):
                raise
            except Exception:
                if not left:
                    raise
        raise AssertionError("one of them was the last")

    async def _from(self, host: str, address: str) -> str:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint = wrapClientTLS(
            self._creator(host), kind(self._reactor, address, self._port, SECONDS / ADDRESSES)
        )
        agent = Agent.usingEndpointFactory(self._reactor, _Always(endpoint))  # type: ignore[no-untyped-call]
        response: IResponse = await agent.request(
            b"GET",
            f"https://{host}/.well-known/mta-sts.txt".encode("ascii"),
            Headers({"User-Agent": ["mailftp"], "Connection": ["close"]}),
        )
        kinds = response.headers.getRawHeaders("content-type", [""])
        body = _Body()
        response.deliverBody(body)  # type: ignore[no-untyped-call]  # so is Twisted's
        octets = await body.whole
        if response.code != 200:
            raise FetchFault(f"{host} answers {response.code}")
        if kinds[0].partition(";")[0].strip().lower() != "text/plain":
            raise FetchFault(f"{host} sends {kinds[0][:40]!r} and not text/plain")
        return octets.decode("utf-8", "replace")


@implementer(IAgentEndpointFactory)
class _Always:
    """The endpoint that was chosen: the name was looked up by our own resolver."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


class _Body(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._octets = b""

    def dataReceived(self, data: bytes) -> None:
        self._octets += data
        if len(self._octets) > OCTETS and not self.whole.called:
            self.whole.errback(FetchFault(f"it has more than {OCTETS} octets"))
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        if isinstance(reason.value, ResponseDone):
            self.whole.callback(self._octets)
        else:
            self.whole.errback(FetchFault(f"the answer was cut: {reason.getErrorMessage()}"))
