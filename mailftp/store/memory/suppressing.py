"""Addresses elsewhere that failed for good, of the plain engine."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import LimitReached, NoSuchSuppression
from mailftp.store.memory.state import State
from mailftp.store.names import SUPPRESSIONS_LIMIT
from mailftp.store.queries import Suppressions
from mailftp.store.records import Change, Suppression
from mailftp.store.units import NoteRefusedAddress, Suppress, Unsuppress


def note_refused_address(state: State, unit: NoteRefusedAddress) -> bool:
    now = state.now()
    for all_of_them in (state.suppressions, state.refused):
        for old in [s for s in all_of_them.values() if 0 < s.until <= now]:
            del all_of_them[old.address]
    new = unit.address not in state.refused
    full = len(state.suppressions) + len(state.refused) >= SUPPRESSIONS_LIMIT
    if unit.address in state.suppressions or (new and full):
        return False
    before = state.refused.pop(unit.address, Suppression(unit.address, now, 0.0, "", 0))
    noted = replace(
        before, since=now, until=now + unit.seconds, reason=unit.reason, failures=before.failures + 1
    )
    if noted.failures < unit.after:
        state.refused[unit.address] = noted
        return False
    state.suppressions[unit.address] = noted
    state.changes.append(Change("suppression"))
    return True


def suppress(state: State, unit: Suppress) -> Suppression:
    if len(state.suppressions) + len(state.refused) >= SUPPRESSIONS_LIMIT:
        raise LimitReached(f"{SUPPRESSIONS_LIMIT} addresses are suppressed, the most: remove some first")
    until = state.now() + unit.seconds if unit.seconds else 0.0
    state.refused.pop(unit.address, None)
    made = state.suppressions[unit.address] = Suppression(unit.address, state.now(), until, unit.reason, 0)
    state.changes.append(Change("suppression"))
    return made


def unsuppress(state: State, unit: Unsuppress) -> Suppression:
    removed = state.suppressions.pop(unit.address, None)
    if removed is None:
        raise NoSuchSuppression(f"{unit.address} is not suppressed")
    state.changes.append(Change("suppression"))
    return removed


def suppressions(state: State, query: Suppressions) -> tuple[Suppression, ...]:
    now = state.now()
    active = (s for s in state.suppressions.values() if not s.until or s.until > now)
    return tuple(sorted(active, key=lambda each: each.address))
