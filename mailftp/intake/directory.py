"""Who lives here: addresses to accounts, answered from memory.

The cache is kept true by the store's feed: a change of accounts drops what it may concern, and an answer
that was read before the change and arrives after it is not kept. A feed may lose a notice, so nothing is
believed for long. Only a miss goes to a thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from mailftp.message.address import Address
from mailftp.store.engine import Store
from mailftp.store.queries import Accounts, AccountWithVerifier
from mailftp.store.records import Account, Change

#: Accounts remembered; and names remembered to be nobody's, which strangers choose, so fewer and apart.
KNOWN = 10_000
NOBODY = 2_000
#: Seconds that an answer is believed without asking again.
BELIEVED = 60.0


class Directory:
    def __init__(
        self, store: Store, domains: tuple[str, ...], now: Callable[[], float], separator: str = ""
    ) -> None:
        """What follows `separator`, one character or none, in a local part is a detail."""
        self._store = store
        self._now = now
        self._separator = separator
        self._domains = tuple(domain.lower() for domain in domains)
        self._local = frozenset(self._domains)
        #: Name -> account and until when that is believed.
        self._known: OrderedDict[str, tuple[Account, float]] = OrderedDict()
        self._nobody: OrderedDict[str, float] = OrderedDict()
        self._oldest: tuple[Account | None, float] = (None, 0.0)
        self._generation = 0
        self._subscription = store.subscribe(self._hear)

    def stop(self) -> None:
        self._subscription.cancel()

    def is_local(self, address: Address) -> bool:
        """Whether its domain is one of ours; "postmaster" without a domain is ours too."""
        return not address.domain or address.domain in self._local

    def find(self, address: Address) -> Account | None | Deferred[Account | None]:
        """The account of a local address, disabled or not; None when there is none.

        "postmaster" of a local domain, or alone, is that account if there is one, else the first
        domain's, else the oldest account that is not disabled: RFC 5321 section 4.5.1 wants it always
        accepted, and whoever set the server up made an account for themselves first. "bob+shop" is bob,
        unless there is an account of the whole name.
        """
        found = self._find_whole(address)
        without = self._without_detail(address)
        if without is None:
            return found
        if isinstance(found, Deferred):
            return found.addCallback(lambda account: account or self._find_whole(without))
        return found or self._find_whole(without)

    def _without_detail(self, address: Address) -> Address | None:
        """None where there is no detail. A name does not begin with the separator."""
        at = address.local.find(self._separator, 1) if self._separator else -1
        return Address(address.local[:at], address.domain) if at > 0 and address.domain else None

    def _find_whole(self, address: Address) -> Account | None | Deferred[Account | None]:
        if address.local.lower() == "postmaster":
            return Deferred.fromCoroutine(self._find_postmaster(address))
        return self._find(address.key)

    def _find(self, key: str) -> Account | None | Deferred[Account | None]:
        account, until = self._known.get(key) or (None, self._nobody.get(key, 0.0))
        if self._now() < until:
            (self._nobody if account is None else self._known).move_to_end(key)
            return account
        generation = self._generation
        return self._store.read(AccountWithVerifier(key)).addCallback(
            lambda found: self._learn(key, found[0] if found else None, generation)
        )

    def _learn(self, key: str, account: Account | None, generation: int) -> Account | None:
        if generation != self._generation:
            return account
        until = self._now() + BELIEVED
        if account is not None:
            self._known[key] = account, until
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)
        else:
            self._nobody[key] = until
            if len(self._nobody) > NOBODY:
                self._nobody.popitem(last=False)
        return account

    async def _find_postmaster(self, address: Address) -> Account | None:
        for domain in dict.fromkeys((address.domain, *self._domains[:1])):
            if domain:
                found = self._find(f"postmaster@{domain}")
                account = await found if isinstance(found, Deferred) else found
                if account is not None and not account.disabled:
                    return account
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
        if not changed:
            return
        self._generation += 1
        self._oldest = None, 0.0
        # The feed gives ids and no names: a new account may have any of the names that were nobody's.
        self._nobody.clear()
        for key in [key for key, (account, _) in self._known.items() if account.id in changed]:
            del self._known[key]


def always(value: Account | None | Deferred[Account | None]) -> Deferred[Account | None]:
    """A found account as a Deferred, for callers that have to wait anyway."""
    return value if isinstance(value, Deferred) else succeed(value)
