"""Domains that took mail over STARTTLS, of the plain engine."""

from __future__ import annotations

from mailftp.store.engine import NoSuchTLSMemory
from mailftp.store.memory.state import State
from mailftp.store.names import TLS_MEMORIES_LIMIT
from mailftp.store.queries import FindTLSMemory, TLSMemories
from mailftp.store.records import TLSMemory
from mailftp.store.units import ForgetTLS, RememberTLS


def remember_tls(state: State, unit: RememberTLS) -> None:
    now, known = state.now(), state.tls_memories
    for old in [m for m in known.values() if m.since <= now - unit.seconds]:
        del known[old.domain]
    known[unit.domain] = TLSMemory(unit.domain, unit.host, now)
    oldest = sorted(known.values(), key=lambda each: (each.since, each.domain))
    for old in oldest[: max(len(known) - TLS_MEMORIES_LIMIT, 0)]:
        del known[old.domain]


def forget_tls(state: State, unit: ForgetTLS) -> TLSMemory:
    removed = state.tls_memories.pop(unit.domain, None)
    if removed is None:
        raise NoSuchTLSMemory(f"of {unit.domain} no STARTTLS is remembered")
    return removed


def find_tls_memory(state: State, query: FindTLSMemory) -> TLSMemory | None:
    return state.tls_memories.get(query.domain)


def tls_memories(state: State, query: TLSMemories) -> tuple[TLSMemory, ...]:
    return tuple(sorted(state.tls_memories.values(), key=lambda each: each.domain))
