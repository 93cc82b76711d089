"""The checks of a server: who is checked, by which settings, and with whose answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mailftp.dns.answers import domain_name, name_text
from mailftp.message.address import Address as MailAddress
from mailftp.origin.dmarc import Organisations
from mailftp.origin.inspection import Inspection
from mailftp.origin.iprev import iprev
from mailftp.origin.lookups import Enquiry, Known, Lookup
from mailftp.origin.spf import check_host
from mailftp.settings import Network, OriginSettings
from mailftp.wire.peer import Address, Peer

T = TypeVar("T")


class Answering(Lookup, Protocol):
    """A resolver that can be stopped."""

    def stop(self) -> Deferred[None]: ...


class Checks:
    """One for the settings of a server; `stop` it when no message is under way any more."""

    def __init__(
        self,
        settings: OriginSettings,
        hostname: str,
        resolver: Answering,
        clock: IReactorTime,
        run: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        """`run` does on a thread what reads a file."""
        self.settings = settings
        self._hostname, self._resolver, self._clock = hostname, resolver, clock
        self.run = run
        self._known = Known()
        self._trusted: dict[Address | None, bool] = {}
        self._loaded: Organisations | None = None
        self._loading: list[Deferred[Organisations]] = []

    def stop(self) -> Deferred[None]:
        return self._resolver.stop()

    def trusts(self, peer: Peer) -> bool:
        """Whether mail of this client is ours to believe."""
        trusted = self._trusted.get(peer.address)
        if trusted is None:
            # Looked at three times for each message; the same few clients bring the most.
            trusted = self._trusted[peer.address] = is_trusted(peer, self.settings.trusted)
            if len(self._trusted) > 1000:
                self._trusted.clear()
        return trusted

    def begin(self, peer: Peer, helo: str, sender: MailAddress | None, now: float) -> Inspection | None:
        """The inspection of a message that is about to come; None where nothing is checked."""
        settings = self.settings
        if settings.spf == settings.dkim == settings.dmarc == settings.iprev == "off":
            return None
        enquiry = Enquiry(self._resolver, self._clock, settings.seconds, settings.lookups, self._known)
        inspection = Inspection(enquiry, now, self._organisations)
        if peer.address is not None and not self.trusts(peer):
            self._ask(inspection, peer.address, helo, sender, now)
        return inspection

    def _ask(
        self, inspection: Inspection, address: Address, helo: str, sender: MailAddress | None, now: float
    ) -> None:
        if self.settings.iprev != "off":
            inspection.ask_client(iprev(address))
        if self.settings.spf != "off" or self.settings.dmarc != "off":
            # RFC 7208 section 2.4: the null reverse-path is the host's own.
            mailbox = "" if sender is None else f"{sender.local}@{_ascii(sender.domain)}"
            check = check_host(address, mailbox, helo, self._hostname, int(now))
            identity = "helo" if sender is None else "mailfrom"
            inspection.ask_spf(check, mailbox.rpartition("@")[2] or _ascii(helo), identity)

    def read_header(self, inspection: Inspection, header: bytes, peer: Peer) -> None:
        """`header` as it came, without the empty line."""
        stranger = self.settings.dmarc != "off" and not self.trusts(peer)
        inspection.ask_of_header(header, self.settings.dkim != "off" or stranger, stranger)

    async def _organisations(self) -> Organisations:
        """Loaded at the first message that needs it; those that come meanwhile wait for the same."""
        if self._loaded is None:
            waiting: Deferred[Organisations] = Deferred()
            self._loading.append(waiting)
            if len(self._loading) == 1:
                self.run(Organisations).addCallbacks(self._have, self._have_not)
            return await waiting
        return self._loaded

    def _have(self, loaded: Organisations) -> None:
        self._loaded = loaded
        self._tell(lambda waiting: waiting.callback(loaded))

    def _have_not(self, failure: object) -> None:
        self._tell(lambda waiting: waiting.errback(failure))  # type: ignore[arg-type]  # a Failure

    def _tell(self, tell: Callable[[Deferred[Organisations]], None]) -> None:
        loading, self._loading = self._loading, []
        for waiting in loading:
            if not waiting.called:
                tell(waiting)


def is_trusted(peer: Peer, networks: Iterable[Network]) -> bool:
    """Whether a client came through a socket of this machine, or from one of the networks."""
    address = peer.address
    return address is None or any(
        address.version == network.version and address in network for network in networks
    )


def at_once(work: Callable[[], T]) -> Deferred[T]:
    """A `run` for where nobody waits."""
    return succeed(work())


def _ascii(domain: str) -> str:
    """Lower case and A-labels where there are any to be had."""
    try:
        return name_text(domain_name(domain))
    except ValueError:
        return domain.lower()
