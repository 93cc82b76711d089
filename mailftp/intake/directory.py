"""Who lives here: addresses to accounts and aliases, answered from memory.

The cache is kept true by the store's feed: a change of accounts or aliases drops what it may concern, and an
answer that was read before the change and arrives after it is not kept. A feed may lose a notice, so nothing
is believed for long. Only a miss goes to a thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from mailftp.message.address import Address
from mailftp.store.engine import Store
from mailftp.store.queries import Accounts, Named
from mailftp.store.records import Account, Change, Destination

#: Names remembered; and names remembered to be nobody's, which strangers choose, so fewer and apart.
KNOWN = 10_000
NOBODY = 2_000
#: Seconds that an answer is believed without asking again.
BELIEVED = 60.0
#: Domains that lead to one another, followed at most.
_DOMAINS = 4

_NOBODY = Destination()


class Directory:
    def __init__(
        self,
        store: Store,
        domains: tuple[str, ...],
        now: Callable[[], float],
        separator: str = "",
        hostname: str = "",
    ) -> None:
        """What follows `separator`, one character or none, in a local part is a detail. Names at `hostname`
        are those at the first domain."""
        self._store = store
        self._now = now
        self._separator = separator
        self._hostname = hostname.lower()
        self._domains = tuple(domain.lower() for domain in domains)
        self._local = frozenset(self._domains)
        #: Name -> what is there and until when that is believed.
        self._known: OrderedDict[str, tuple[Destination, float]] = OrderedDict()
        self._nobody: OrderedDict[str, float] = OrderedDict()
        self._oldest: tuple[Account | None, float] = (None, 0.0)
        self._generation = 0
        self._subscription = store.subscribe(self._hear)

    def stop(self) -> None:
        self._subscription.cancel()

    def is_local(self, address: Address) -> bool:
        """Whether its domain is one of ours; "postmaster" without a domain is ours too."""
        return not address.domain or address.domain in self._local

    def at_home(self, address: Address, literal: str) -> Address:
        """An address at this host's name, or at the address literal that the client called, as it is at the
        first domain (RFC 5321 sections 4.1.3 and 4.5.1); any other as it is."""
        domain = address.domain
        if domain in self._local or not self._domains or not domain:
            return address
        if domain == self._hostname or domain == literal:
            return Address(address.local, self._domains[0])
        return address

    def find(self, address: Address) -> Destination | Deferred[Destination]:
        """What is behind a local address, a disabled account too; an empty Destination where nothing is.

        In this order: what has the whole name; what has the name without its detail; what the domain leads
        to. "postmaster" of a local domain, or alone, comes before the last of these: it is that name if it is
        there, else the first domain's, else the oldest account that is not disabled. RFC 5321 section
        4.5.1 wants it always accepted, and whoever set the server up made an account for themselves first.
        """
        if _is_postmaster(address):
            return Deferred.fromCoroutine(self._find_postmaster(address))
        found = self._look_up(address.key)
        # Nearly every recipient there is.
        if isinstance(found, Destination) and found is not _NOBODY:
            return found
        return Deferred.fromCoroutine(self._find_rest(address, found, _DOMAINS))

    async def _find_rest(
        self, address: Address, whole: Destination | Deferred[Destination], left: int
    ) -> Destination:
        """`whole` is what has the whole name."""
        found = await always(whole)
        without = self.without_detail(address)
        if found is _NOBODY and without is not None:
            if _is_postmaster(without):
                return await self._find_postmaster(without)
            found = await self._ask(without.key)
        if found is not _NOBODY:
            return found
        domain = await self._ask(f"@{address.domain}")
        if domain.alias is None or not left:
            return _NOBODY
        target = domain.alias.targets[0] if len(domain.alias.targets) == 1 else ""
        if target.startswith("@"):
            there = Address(address.local, target[1:])
            return await self._find_rest(there, self._look_up(there.key), left - 1)
        return domain

    def without_detail(self, address: Address) -> Address | None:
        """None where there is no detail. A name does not begin with the separator."""
        at = address.local.find(self._separator, 1) if self._separator else -1
        return Address(address.local[:at], address.domain) if at > 0 and address.domain else None

    async def _ask(self, key: str) -> Destination:
        return await always(self._look_up(key))

    def _look_up(self, key: str) -> Destination | Deferred[Destination]:
        found, until = self._known.get(key) or (_NOBODY, self._nobody.get(key, 0.0))
        if self._now() < until:
            (self._known if key in self._known else self._nobody).move_to_end(key)
            return found
        generation = self._generation
        return self._store.read(Named(key)).addCallback(lambda found: self._learn(key, found, generation))

    def _learn(self, key: str, found: Destination, generation: int) -> Destination:
        if found == _NOBODY:
            found = _NOBODY
        if generation != self._generation:
            return found
        until = self._now() + BELIEVED
        # What a domain leads to is asked for with every unknown name: strangers must not push it out.
        if found is not _NOBODY or key.startswith("@"):
            self._known[key] = found, until
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        else:
            self._nobody[key] = until
            if len(self._nobody) > NOBODY:
                self._nobody.popitem(last=False)
        return found

    async def _find_postmaster(self, address: Address) -> Destination:
        for domain in dict.fromkeys((address.domain, *self._domains[:1])):
            if domain:
                found = await self._ask(f"postmaster@{domain}")
                if found.alias is not None or (found.account is not None and not found.account.disabled):
                    return found
        return Destination(await self._find_oldest())

    async def _find_oldest(self) -> Account | None:
        if self._now() < self._oldest[1]:
            return self._oldest[0]
        generation = self._generation
        accounts = await self._store.read(Accounts())
        oldest = min((a for a in accounts if not a.disabled), key=lambda a: a.id, default=None)
        if generation == self._generation:
            self._oldest = oldest, self._now() + BELIEVED
        return oldest

    def _hear(self, changes: tuple[Change, ...]) -> None:
        changed = {change.account_id for change in changes if change.kind == "account"}
        aliases = any(change.kind == "alias" for change in changes)
        if not changed and not aliases:
            return
        self._generation += 1
        self._oldest = None, 0.0
        # The feed gives ids and no names: a new account may have any of the names that were nobody's.
        self._nobody.clear()
        if aliases:
            self._known.clear()
            return
        for key, (found, _) in list(self._known.items()):
            if found.account is not None and found.account.id in changed:
                del self._known[key]


def _is_postmaster(address: Address) -> bool:
    return address.local.lower() == "postmaster"


def always(value: Destination | Deferred[Destination]) -> Deferred[Destination]:
    """What was found as a Deferred, for callers that have to wait anyway."""
    return value if isinstance(value, Deferred) else succeed(value)
