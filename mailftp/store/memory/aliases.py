"""Aliases and grants of the plain engine: a function for each unit and each query."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import NoSuchAlias
from mailftp.store.memory.state import State
from mailftp.store.names import check_targets
from mailftp.store.queries import Aliases, Grants, Named, ReturnTo
from mailftp.store.records import Alias, Change, Destination, Grant
from mailftp.store.units import AddAlias, GrantAddress, RemoveAlias, RevokeAddress


def add_alias(state: State, unit: AddAlias) -> Alias:
    alias = state.aliases.get(unit.address, Alias(unit.address, ()))
    targets = tuple(sorted({*alias.targets, *unit.targets}))
    check_targets(unit.address, len(targets))
    alias = replace(alias, targets=targets)
    if unit.keep is not None:
        alias = replace(alias, keep=unit.keep)
    if unit.owner is not None:
        alias = replace(alias, owner=unit.owner)
    if unit.members_only is not None:
        alias = replace(alias, members_only=unit.members_only)
    state.aliases[unit.address] = alias
    state.changes.append(Change("alias"))
    return alias


def remove_alias(state: State, unit: RemoveAlias) -> Alias:
    alias = state.aliases.get(unit.address)
    if alias is None:
        raise NoSuchAlias(f"there is no alias {unit.address}")
    for target in unit.targets:
        if target not in alias.targets:
            raise NoSuchAlias(f"{unit.address} does not lead to {target}")
    left = tuple(target for target in alias.targets if target not in unit.targets)
    if left and unit.targets:
        state.aliases[unit.address] = replace(alias, targets=left)
    else:
        del state.aliases[unit.address]
    state.changes.append(Change("alias"))
    return alias


def forget_address(state: State, address: str) -> None:
    """An account is gone: what led from its address and to it goes with it."""
    changed = state.aliases.pop(address, None) is not None
    for alias in [alias for alias in state.aliases.values() if address in alias.targets]:
        remove_alias(state, RemoveAlias(alias.address, (address,)))
    if changed:
        state.changes.append(Change("alias"))


def grant_address(state: State, unit: GrantAddress) -> Grant:
    state.holder_of(unit.account).granted.add(unit.address)
    state.changes.append(Change("alias"))
    return Grant(unit.address, unit.account)


def revoke_address(state: State, unit: RevokeAddress) -> Grant:
    granted = state.holder_of(unit.account).granted
    if unit.address not in granted:
        raise NoSuchAlias(f"{unit.account} was not granted {unit.address}")
    granted.remove(unit.address)
    state.changes.append(Change("alias"))
    return Grant(unit.address, unit.account)


# Reading.


def named(state: State, query: Named) -> Destination:
    account_id = state.by_address.get(query.address)
    account = None if account_id is None else state.holders[account_id].account
    return Destination(account, state.aliases.get(query.address))


def aliases(state: State, query: Aliases) -> tuple[Alias, ...]:
    return tuple(state.aliases[address] for address in sorted(state.aliases))


def grants(state: State, query: Grants) -> tuple[Grant, ...]:
    found = [
        (address, holder.account.address)
        for holder in state.holders.values()
        if query.account_id in (None, holder.account.id)
        for address in holder.granted
    ]
    return tuple(Grant(address, account) for address, account in sorted(found))


def return_to(state: State, query: ReturnTo) -> str | None:
    for message in state.queue.values():
        transfer = message.transfer
        if transfer.return_to and transfer.reverse_path == query.reverse_path:
            return transfer.return_to
    return None
