"""Browsers that are logged in.

A session holds while the password that opened it is its account's: who reads compares the versions, so that a
new password needs to write no row of this table.
"""

from __future__ import annotations

from mailftp.store.engine import NoSuchAccount
from mailftp.store.names import WEB_SESSIONS
from mailftp.store.queries import FindWebSession, WebSessions
from mailftp.store.records import Account, WebSession
from mailftp.store.sqlite.accounts import ACCOUNT_COLUMNS, account_of
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import CloseWebSessions, OpenWebSession, UseWebSession

_COLUMNS = "id, account_id, verifier_version, opened, used, address, agent"
_OF_ACCOUNT = ", ".join(f"a.{name}" for name in ACCOUNT_COLUMNS.split(", "))
_OF_SESSION = ", ".join(f"s.{name}" for name in _COLUMNS.split(", "))
_LIVE = "s.verifier_version = a.verifier_version AND NOT a.disabled"


def open_session(tx: Transaction, unit: OpenWebSession) -> WebSession:
    if not tx.one("SELECT 1 FROM accounts WHERE id = ?", (unit.account_id,)):
        raise NoSuchAccount(f"there is no account {unit.account_id}")
    tx.run("DELETE FROM web_sessions WHERE account_id = ? AND used < ?", (unit.account_id, unit.stale))
    tx.run(
        "DELETE FROM web_sessions WHERE id IN (SELECT id FROM web_sessions WHERE account_id = ?"
        " ORDER BY used DESC, id DESC LIMIT -1 OFFSET ?)",
        (unit.account_id, WEB_SESSIONS - 1),
    )
    row = tx.one(
        "INSERT INTO web_sessions (token_hash, account_id, verifier_version, opened, used, address, agent)"
        f" VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6) RETURNING {_COLUMNS}",
        (unit.token_hash, unit.account_id, unit.verifier_version, tx.now, unit.address, unit.agent),
    )
    assert row is not None
    return WebSession(*row)


def use_session(tx: Transaction, unit: UseWebSession) -> None:
    tx.run("UPDATE web_sessions SET used = ? WHERE id = ?", (tx.now, unit.id))


def close_sessions(tx: Transaction, unit: CloseWebSessions) -> int:
    if unit.ids is None:
        return tx.run("DELETE FROM web_sessions WHERE account_id = ?", (unit.account_id,))
    closed = 0
    for number in unit.ids:
        # With the account: an id of another's closes nothing.
        closed += tx.run(
            "DELETE FROM web_sessions WHERE account_id = ? AND id = ?", (unit.account_id, number)
        )
    return closed


def find_session(view: View, query: FindWebSession) -> tuple[WebSession, Account] | None:
    row: Row | None = view.one(
        f"SELECT {_OF_SESSION}, {_OF_ACCOUNT} FROM web_sessions AS s"
        f" JOIN accounts AS a ON a.id = s.account_id WHERE s.token_hash = ? AND {_LIVE}",
        (query.token_hash,),
    )
    return None if row is None else (WebSession(*row[:7]), account_of(row[7:]))


def list_sessions(view: View, query: WebSessions) -> tuple[WebSession, ...]:
    return tuple(
        WebSession(*row)
        for row in view.all(
            f"SELECT {_OF_SESSION} FROM web_sessions AS s JOIN accounts AS a ON a.id = s.account_id"
            f" WHERE s.account_id = ? AND {_LIVE} ORDER BY s.used DESC, s.id DESC",
            (query.account_id,),
        )
    )
