"""Domains that took mail over STARTTLS: a function for each unit and each query."""

from __future__ import annotations

from mailftp.store.engine import NoSuchTLSMemory
from mailftp.store.names import TLS_MEMORIES_LIMIT
from mailftp.store.queries import FindTLSMemory, TLSMemories
from mailftp.store.records import TLSMemory
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.units import ForgetTLS, RememberTLS

_COLUMNS = "domain, host, since"


def remember_tls(tx: Transaction, unit: RememberTLS) -> None:
    tx.run("DELETE FROM tls_memories WHERE since <= ?", (tx.now - unit.seconds,))
    tx.run("INSERT OR REPLACE INTO tls_memories VALUES (?, ?, ?)", (unit.domain, unit.host, tx.now))
    (count,) = tx.one("SELECT count(*) FROM tls_memories") or (0,)
    if count > TLS_MEMORIES_LIMIT:
        oldest = "SELECT domain FROM tls_memories ORDER BY since, domain LIMIT ?"
        tx.run(f"DELETE FROM tls_memories WHERE domain IN ({oldest})", (count - TLS_MEMORIES_LIMIT,))


def forget_tls(tx: Transaction, unit: ForgetTLS) -> TLSMemory:
    row = tx.one(f"DELETE FROM tls_memories WHERE domain = ? RETURNING {_COLUMNS}", (unit.domain,))
    if row is None:
        raise NoSuchTLSMemory(f"of {unit.domain} no STARTTLS is remembered")
    return TLSMemory(*row)


def find_tls_memory(view: View, query: FindTLSMemory) -> TLSMemory | None:
    rows = view.all(f"SELECT {_COLUMNS} FROM tls_memories WHERE domain = ?", (query.domain,))
    return TLSMemory(*rows[0]) if rows else None


def tls_memories(view: View, query: TLSMemories) -> tuple[TLSMemory, ...]:
    rows = view.all(f"SELECT {_COLUMNS} FROM tls_memories ORDER BY domain", ())
    return tuple(TLSMemory(*row) for row in rows)
