"""App passwords: a function for each unit and each query."""

from __future__ import annotations

from dataclasses import replace

from mailftp.store.engine import AppPasswordExists, NoSuchAccount, NoSuchAppPassword
from mailftp.store.names import check_app_passwords, check_salt
from mailftp.store.queries import AccountWithVerifier, AppPasswords
from mailftp.store.records import Account, AppPassword, Change, Verifier
from mailftp.store.sqlite.accounts import ACCOUNT_COLUMNS, VERIFIER_COLUMNS, account_of, verifier_of
from mailftp.store.sqlite.reading import View
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import AddAppPassword, NoteAppPasswordUse, RemoveAppPasswords

_COLUMNS = f"id, name, selector, protocols, read_only, created, last_used, {VERIFIER_COLUMNS}"


def _app_password_of(row: Row) -> AppPassword:
    """Of _COLUMNS."""
    number, name, selector, protocols, read_only, created, last_used, *verifier = row
    return AppPassword(
        number,
        name,
        selector,
        tuple(protocols.split()),
        bool(read_only),
        created,
        verifier_of(tuple(verifier)),
        last_used,
    )


def add_app_password(tx: Transaction, unit: AddAppPassword) -> AppPassword:
    account_id = _account_id(tx, unit.address)
    (count,) = tx.one("SELECT count(*) FROM app_passwords WHERE account_id = ?", (account_id,)) or (0,)
    check_app_passwords(unit.address, count + 1)
    own = tx.one(f"SELECT {VERIFIER_COLUMNS} FROM verifiers WHERE account_id = ?", (account_id,))
    assert own is not None, "every account has a verifier"
    check_salt(unit.verifier, verifier_of(own))
    scram = unit.verifier.scram
    keys = (scram.salt, scram.iterations, scram.stored_key, scram.server_key) if scram else (None,) * 4
    row = tx.one(
        "INSERT INTO app_passwords (account_id, name, selector, protocols, read_only, created,"
        f" {VERIFIER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        f" RETURNING {_COLUMNS}",
        (
            account_id,
            unit.name,
            unit.selector,
            " ".join(sorted(unit.protocols)),
            int(unit.read_only),
            tx.now,
            unit.verifier.password,
            *keys,
        ),
    )
    if row is None:
        raise AppPasswordExists(f"{unit.address} has an app password {unit.name} already")
    tx.changes.append(Change("account", account_id))
    return _app_password_of(row)


def remove_app_passwords(tx: Transaction, unit: RemoveAppPasswords) -> tuple[AppPassword, ...]:
    account_id = _account_id(tx, unit.address)
    removed = tx.all(
        f"DELETE FROM app_passwords WHERE account_id = ?1 AND (?2 IS NULL OR name = ?2) RETURNING {_COLUMNS}",
        (account_id, unit.name),
    )
    if not removed and unit.name is not None:
        raise NoSuchAppPassword(f"{unit.address} has no app password {unit.name}")
    if removed:
        tx.changes.append(Change("account", account_id))
    return tuple(sorted(map(_app_password_of, removed), key=lambda removed: removed.name))


def note_app_password_use(tx: Transaction, unit: NoteAppPasswordUse) -> None:
    tx.run("UPDATE app_passwords SET last_used = ? WHERE id = ?", (tx.now, unit.id))


def _account_id(tx: Transaction, address: str) -> int:
    row = tx.one("SELECT id FROM accounts WHERE address = ?", (address,))
    if row is None:
        raise NoSuchAccount(f"there is no account {address}")
    return int(row[0])


# Reading.


def account_with_verifier(view: View, query: AccountWithVerifier) -> tuple[Account, Verifier] | None:
    row = view.one(
        f"SELECT {ACCOUNT_COLUMNS}, {VERIFIER_COLUMNS} FROM accounts"
        " JOIN verifiers ON account_id = id WHERE address = ?",
        (query.address,),
    )
    if row is None:
        return None
    account, verifier = account_of(row[:-5]), verifier_of(row[-5:])
    there = app_passwords(view, AppPasswords(account.id))
    return account, replace(verifier, app_passwords=tuple(replace(each, last_used=None) for each in there))


def app_passwords(view: View, query: AppPasswords) -> tuple[AppPassword, ...]:
    rows = view.all(
        f"SELECT {_COLUMNS} FROM app_passwords WHERE account_id = ? ORDER BY name", (query.account_id,)
    )
    return tuple(map(_app_password_of, rows))
