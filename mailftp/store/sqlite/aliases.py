"""Aliases and grants: a function for each unit and each query."""

from __future__ import annotations

from mailftp.store.engine import NoSuchAccount, NoSuchAlias
from mailftp.store.names import check_targets
from mailftp.store.queries import Aliases, Grants, Named, ReturnTo
from mailftp.store.records import Alias, Change, Destination, Grant
from mailftp.store.sqlite.accounts import ACCOUNT_COLUMNS, account_of
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import AddAlias, GrantAddress, RemoveAlias, RevokeAddress

_COLUMNS = "address, keep, owner, members_only"


def _alias_of(row: Row, targets: list[Row]) -> Alias:
    """Of _COLUMNS, and rows of a target each."""
    address, keep, owner, members_only = row
    return Alias(address, tuple(target for (target,) in targets), bool(keep), owner, bool(members_only))


def _find(reading: Transaction | View, address: str) -> Alias | None:
    row = reading.one(f"SELECT {_COLUMNS} FROM aliases WHERE address = ?", (address,))
    if row is None:
        return None
    targets = reading.all("SELECT target FROM alias_targets WHERE address = ? ORDER BY target", (address,))
    return _alias_of(row, targets)


def add_alias(tx: Transaction, unit: AddAlias) -> Alias:
    tx.run(
        "INSERT INTO aliases (address, created) VALUES (?, ?) ON CONFLICT (address) DO NOTHING",
        (unit.address, tx.now),
    )
    tx.each(
        "INSERT INTO alias_targets (address, target) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(unit.address, target) for target in unit.targets],
    )
    tx.run(
        "UPDATE aliases SET keep = coalesce(?, keep), owner = coalesce(?, owner),"
        " members_only = coalesce(?, members_only) WHERE address = ?",
        (unit.keep, unit.owner, unit.members_only, unit.address),
    )
    alias = _find(tx, unit.address)
    assert alias is not None
    check_targets(unit.address, len(alias.targets))
    tx.changes.append(Change("alias"))
    return alias


def remove_alias(tx: Transaction, unit: RemoveAlias) -> Alias:
    alias = _find(tx, unit.address)
    if alias is None:
        raise NoSuchAlias(f"there is no alias {unit.address}")
    for target in unit.targets:
        if target not in alias.targets:
            raise NoSuchAlias(f"{unit.address} does not lead to {target}")
    tx.each(
        "DELETE FROM alias_targets WHERE address = ? AND target = ?",
        [(unit.address, target) for target in unit.targets],
    )
    if not set(alias.targets) - set(unit.targets) or not unit.targets:
        tx.run("DELETE FROM aliases WHERE address = ?", (unit.address,))
    tx.changes.append(Change("alias"))
    return alias


def _account_id(tx: Transaction, address: str) -> int:
    row = tx.one("SELECT id FROM accounts WHERE address = ?", (address,))
    if row is None:
        raise NoSuchAccount(f"there is no account {address}")
    return int(row[0])


def grant_address(tx: Transaction, unit: GrantAddress) -> Grant:
    tx.run(
        "INSERT INTO grants (account_id, address) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (_account_id(tx, unit.account), unit.address),
    )
    tx.changes.append(Change("alias"))
    return Grant(unit.address, unit.account)


def revoke_address(tx: Transaction, unit: RevokeAddress) -> Grant:
    account_id = _account_id(tx, unit.account)
    if not tx.run("DELETE FROM grants WHERE account_id = ? AND address = ?", (account_id, unit.address)):
        raise NoSuchAlias(f"{unit.account} was not granted {unit.address}")
    tx.changes.append(Change("alias"))
    return Grant(unit.address, unit.account)


# Reading.


def named(view: View, query: Named) -> Destination:
    row = view.one(f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE address = ?", (query.address,))
    return Destination(account_of(row) if row else None, _find(view, query.address))


def aliases(view: View, query: Aliases) -> tuple[Alias, ...]:
    targets: dict[str, list[Row]] = {}
    for address, target in view.all("SELECT address, target FROM alias_targets ORDER BY address, target"):
        targets.setdefault(address, []).append((target,))
    rows = view.all(f"SELECT {_COLUMNS} FROM aliases ORDER BY address")
    return tuple(_alias_of(row, targets.get(row[0], [])) for row in rows)


def grants(view: View, query: Grants) -> tuple[Grant, ...]:
    rows = view.all(
        "SELECT g.address, a.address FROM grants AS g JOIN accounts AS a ON a.id = g.account_id"
        " WHERE ?1 IS NULL OR g.account_id = ?1 ORDER BY g.address, a.address",
        (query.account_id,),
    )
    return tuple(Grant(address, account) for address, account in rows)


def return_to(view: View, query: ReturnTo) -> str | None:
    row = view.one(
        "SELECT return_to FROM queue_messages WHERE reverse_path = ? AND return_to <> ''",
        (query.reverse_path,),
    )
    return row[0] if row else None
