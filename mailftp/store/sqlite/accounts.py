"""Accounts: a function for each unit, and how their rows are read."""

from __future__ import annotations

from mailftp.store.engine import AccountExists, NoSuchAccount, StoreFault
from mailftp.store.names import ACCOUNT_FIELDS, ACCOUNT_FLAGS
from mailftp.store.records import NEW_ACCOUNT_MAILBOXES, Account, Change, ScramKeys, Verifier
from mailftp.store.sqlite.mailboxes import make_mailbox
from mailftp.store.sqlite.transaction import Row, Transaction
from mailftp.store.units import AddAccount, RemoveAccount, SetAccount, SetVerifier

ACCOUNT_COLUMNS = (
    "id, address, created, disabled, mail_quota, message_quota, files_quota, daily_messages,"
    " daily_new_recipients, file_sent, verifier_version"
)
VERIFIER_COLUMNS = "password, scram_salt, scram_iterations, scram_stored_key, scram_server_key"


def account_of(row: Row) -> Account:
    """Of ACCOUNT_COLUMNS."""
    number, address, created, disabled, mail, messages, files, *daily, file_sent, version = row
    quotas = mail, messages, files
    return Account(
        number, address, created, bool(disabled), *quotas, daily[0], daily[1], bool(file_sent), version
    )


def verifier_of(row: Row) -> Verifier:
    """Of VERIFIER_COLUMNS."""
    password, salt, iterations, stored_key, server_key = row
    scram = None if salt is None else ScramKeys(salt, iterations, stored_key, server_key)
    return Verifier(password, scram)


def add_account(tx: Transaction, unit: AddAccount) -> Account:
    row = tx.one(
        f"INSERT INTO accounts (address, created) VALUES (?, ?)"
        f" ON CONFLICT (address) DO NOTHING RETURNING {ACCOUNT_COLUMNS}",
        (unit.address, tx.now),
    )
    if row is None:
        raise AccountExists(f"there is an account {unit.address} already")
    account = account_of(row)
    _put_verifier(tx, account.id, unit.verifier)
    for name, special_use in NEW_ACCOUNT_MAILBOXES.items():
        make_mailbox(tx, account.id, name, special_use)
    tx.changes.append(Change("account", account.id))
    return account


def _put_verifier(tx: Transaction, account_id: int, verifier: Verifier) -> None:
    scram = verifier.scram
    keys = (scram.salt, scram.iterations, scram.stored_key, scram.server_key) if scram else (None,) * 4
    tx.run(
        f"INSERT OR REPLACE INTO verifiers (account_id, {VERIFIER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
        (account_id, verifier.password, *keys),
    )


def remove_account(tx: Transaction, unit: RemoveAccount) -> Account:
    """Its messages go later, a few at a time: a hundred thousand of them must not hold up the writer."""
    account = _account(tx, unit.address)
    tx.run("INSERT INTO removed_mailboxes (id) SELECT id FROM mailboxes WHERE account_id = ?", (account.id,))
    tx.run("DELETE FROM mailboxes WHERE account_id = ?", (account.id,))
    tx.run("DELETE FROM accounts WHERE id = ?", (account.id,))
    _forget_address(tx, unit.address)
    tx.changes.append(Change("account", account.id))
    return account


def _forget_address(tx: Transaction, address: str) -> None:
    """What led from it and to it goes with it: a later account of that name inherits nothing."""
    gone = tx.run("DELETE FROM aliases WHERE address = ?", (address,))
    leading = tx.all("DELETE FROM alias_targets WHERE target = ? RETURNING address", (address,))
    tx.each(
        "DELETE FROM aliases WHERE address = ?1"
        " AND NOT EXISTS (SELECT 1 FROM alias_targets AS t WHERE t.address = ?1)",
        leading,
    )
    if gone or leading:
        tx.changes.append(Change("alias"))


def set_verifier(tx: Transaction, unit: SetVerifier) -> Account:
    row = tx.one(
        "UPDATE accounts SET verifier_version = verifier_version + 1 WHERE address = ?"
        f" RETURNING {ACCOUNT_COLUMNS}",
        (unit.address,),
    )
    if row is None:
        raise NoSuchAccount(f"there is no account {unit.address}")
    account = account_of(row)
    _put_verifier(tx, account.id, unit.verifier)
    tx.changes.append(Change("account", account.id))
    return account


def set_account(tx: Transaction, unit: SetAccount) -> Account:
    unknown = {name for name, _ in unit.changes} - ACCOUNT_FIELDS
    if unknown:
        raise StoreFault(f"an account has no {', '.join(sorted(unknown))}")
    for name, value in unit.changes:
        # The name is one of a few, so it may stand in the statement.
        tx.run(
            f"UPDATE accounts SET {name} = ? WHERE address = ?",
            (int(bool(value)) if name in ACCOUNT_FLAGS else value, unit.address),
        )
    account = _account(tx, unit.address)
    tx.changes.append(Change("account", account.id))
    return account


def _account(tx: Transaction, address: str) -> Account:
    row = tx.one(f"SELECT {ACCOUNT_COLUMNS} FROM accounts WHERE address = ?", (address,))
    if row is None:
        raise NoSuchAccount(f"there is no account {address}")
    return account_of(row)
