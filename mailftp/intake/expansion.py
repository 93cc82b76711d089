"""To whom an alias leads: accounts here and addresses elsewhere, by as many aliases as there are between.

Whoever cannot take mail at present is left out as long as somebody else behind the alias can: one full
mailbox must not keep a message from ten others. When nobody can, the alias is refused as that one would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred

from mailftp.intake.directory import always
from mailftp.intake.refused import Refused
from mailftp.message.address import Address, AddressFault, parse_address
from mailftp.store.records import Account, Alias, Destination

#: Aliases one behind the other, and ends of one recipient.
DEPTH = 10
ENDS = 1_000


@dataclass(frozen=True, slots=True)
class Route:
    """One end of an alias: an account here, or an address elsewhere."""

    address: Address
    account_id: int | None
    #: The aliases on the way, the one that was named first.
    via: tuple[Address, ...] = ()
    #: The nearest list on the way; its owner gets the reports.
    list: Alias | None = None


@dataclass(slots=True)
class Expansion:
    """`find` is the directory's; `check` raises Refused for an account that takes no mail now, and `enter`
    for a list that is closed to the sender."""

    find: Callable[[Address], Destination | Deferred[Destination]]
    is_local: Callable[[Address], bool]
    check: Callable[[Address, Account], None]
    enter: Callable[[Alias], None]
    #: By address or account, so that nobody gets it twice.
    routes: dict[object, Route] = field(default_factory=dict)
    #: Aliases that were gone through.
    passed: set[str] = field(default_factory=set)
    #: Addresses left out, and why.
    left_out: list[tuple[Address, Refused]] = field(default_factory=list)

    async def follow(self, address: Address, found: Destination, origin: Route | None = None) -> None:
        """Collect the ends of what is at an address."""
        here = origin or Route(address, None)
        alias = found.alias
        # An address that leads to itself means the account of that name.
        keep = alias is None or alias.keep or alias.address in alias.targets
        if found.account is not None and keep:
            self._end(address, found.account, here)
        if alias is None:
            if found.account is None:
                self._leave_out(address, Refused(550, "5.1.1", f"{address} is nobody here"))
            return
        if alias.address in self.passed or len(here.via) >= DEPTH:
            self._leave_out(address, Refused(550, "5.4.6", f"{address} leads back to itself"))
            return
        self.passed.add(alias.address)
        try:
            self.enter(alias)
        except Refused as refused:
            self._leave_out(address, refused)
            return
        below = replace(here, via=(*here.via, address), list=alias if alias.owner else here.list)
        for target in alias.targets:
            if target != alias.address:
                await self._target(target, below)

    async def _target(self, target: str, below: Route) -> None:
        try:
            address = parse_address(target)
        except AddressFault as fault:
            self._leave_out(below.via[-1], Refused(550, "5.1.3", f"{target} is no address: {fault}"))
            return
        if not self.is_local(address):
            self._add(str(address), replace(below, address=address))
            return
        await self.follow(address, await always(self.find(address)), below)

    def _end(self, address: Address, account: Account, here: Route) -> None:
        try:
            self.check(address, account)
        except Refused as refused:
            self._leave_out(address, refused)
        else:
            self._add(account.id, replace(here, address=address, account_id=account.id))

    def _add(self, end: object, route: Route) -> None:
        if end not in self.routes and len(self.routes) >= ENDS:
            self._leave_out(route.address, Refused(550, "5.4.6", f"There are more than {ENDS} recipients"))
        else:
            self.routes.setdefault(end, route)

    def _leave_out(self, address: Address, refused: Refused) -> None:
        if len(self.left_out) < ENDS:
            self.left_out.append((address, refused))
