"""App passwords of the plain engine: a function for each unit and each query."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import AppPasswordExists, NoSuchAppPassword
from mailftp.store.memory.state import State
from mailftp.store.names import check_app_passwords, check_salt
from mailftp.store.queries import AccountWithVerifier, AppPasswords
from mailftp.store.records import Account, AppPassword, Change, Verifier
from mailftp.store.units import AddAppPassword, NoteAppPasswordUse, RemoveAppPasswords


def add_app_password(state: State, unit: AddAppPassword) -> AppPassword:
    holder = state.holder_of(unit.address)
    there = holder.app_passwords.values()
    check_app_passwords(unit.address, len(there) + 1)
    check_salt(unit.verifier, holder.verifier)
    if any(unit.name == other.name or unit.selector == other.selector for other in there):
        raise AppPasswordExists(f"{unit.address} has an app password {unit.name} already")
    made = AppPassword(
        state.next_id("app password"),
        unit.name,
        unit.selector,
        tuple(sorted(unit.protocols)),
        unit.read_only,
        state.now(),
        unit.verifier,
    )
    holder.app_passwords[made.id] = made
    state.changes.append(Change("account", holder.account.id))
    return made


def remove_app_passwords(state: State, unit: RemoveAppPasswords) -> tuple[AppPassword, ...]:
    holder = state.holder_of(unit.address)
    removed = [
        other for other in holder.app_passwords.values() if unit.name is None or other.name == unit.name
    ]
    if not removed and unit.name is not None:
        raise NoSuchAppPassword(f"{unit.address} has no app password {unit.name}")
    for other in removed:
        del holder.app_passwords[other.id]
    if removed:
        state.changes.append(Change("account", holder.account.id))
    return tuple(sorted(removed, key=lambda removed: removed.name))


def note_app_password_use(state: State, unit: NoteAppPasswordUse) -> None:
    for holder in state.holders.values():
        if unit.id in holder.app_passwords:
            used = replace(holder.app_passwords[unit.id], last_used=state.now())
            holder.app_passwords[unit.id] = used


# Reading.


def account_with_verifier(state: State, query: AccountWithVerifier) -> tuple[Account, Verifier] | None:
    account_id = state.by_address.get(query.address)
    if account_id is None:
        return None
    holder = state.holders[account_id]
    there = app_passwords(state, AppPasswords(account_id))
    unused = tuple(replace(each, last_used=None) for each in there)
    return holder.account, replace(holder.verifier, app_passwords=unused)


def app_passwords(state: State, query: AppPasswords) -> tuple[AppPassword, ...]:
    holder = state.holders.get(query.account_id)
    return tuple(sorted(holder.app_passwords.values(), key=lambda each: each.name)) if holder else ()
