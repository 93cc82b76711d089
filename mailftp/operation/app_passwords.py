"""App passwords, as an operator asks for them. Whoever asks makes and hashes them: no request holds one."""

from __future__ import annotations

import re

from mailftp.accounts.app_passwords import PROTOCOLS, protocol_of
from mailftp.message.address import Address
from mailftp.operation.requests import Answer, Refused, Request, any_address
from mailftp.operation.verifiers import verifier_from_json
from mailftp.settings import Settings
from mailftp.store.engine import AppPasswordExists, NoSuchAccount, NoSuchAppPassword, Store
from mailftp.store.queries import Accounts, AccountWithVerifier, AppPasswords
from mailftp.store.records import Account, AppPassword, Verifier
from mailftp.store.units import AddAppPassword, RemoveAppPasswords

#: Characters of a name.
LONGEST_NAME = 64
_SELECTOR = re.compile(r"[a-z2-9]{4}", re.ASCII)


def _shown(address: str, app_password: AppPassword) -> dict[str, object]:
    return {
        "address": address,
        "name": app_password.name,
        "protocols": list(app_password.protocols),
        "read_only": app_password.read_only,
        "created": app_password.created,
        "last_used": app_password.last_used,
    }


async def _found(store: Store, settings: Settings, request: Request) -> tuple[Account, Verifier]:
    address = any_address(settings, request.text("address"))
    found = await store.read(AccountWithVerifier(address.key))
    if found is None:
        raise _no_such(address)
    return found


def _no_such(address: Address) -> Refused:
    return Refused(f"no such account: {address.key}; `mailftp account list` shows them")


async def prepare_app_password(store: Store, settings: Settings, request: Request) -> Answer:
    """What a new password of the account has to go by: the salt that SCRAM shows to everybody anyway, and the
    selectors that it may not have."""
    account, verifier = await _found(store, settings, request)
    scram = verifier.scram
    return {
        "address": account.address,
        "salt": scram and scram.salt.hex(),
        "iterations": scram and scram.iterations,
        "selectors": [each.selector for each in verifier.app_passwords],
    }


async def add_app_password(store: Store, settings: Settings, request: Request) -> Answer:
    account, verifier = await _found(store, settings, request)
    name = _name(request.text("name", ""), {each.name for each in verifier.app_passwords})
    protocols = tuple(sorted({_protocol(text) for text in request.texts("protocols")}))
    read_only = bool(request.flag("read_only"))
    if read_only and protocols and "ftp" not in protocols:
        raise Refused("read-only is about FTP, and this app password is not for ftp")
    selector = request.text("selector")
    if not _SELECTOR.fullmatch(selector):
        raise Refused("the request holds no selector")
    unit = AddAppPassword(
        account.address, name, selector, verifier_from_json(request.table("verifier")), protocols, read_only
    )
    try:
        return _shown(account.address, await store.commit(unit))
    except AppPasswordExists as fault:
        raise Refused(f"{fault}: give another name, or remove that one first")


def _name(text: str, taken: set[str]) -> str:
    """The name as it was given, or the first that is free. Raises Refused."""
    if not text:
        return next(name for n in range(1, len(taken) + 2) if (name := f"app {n}") not in taken)
    if len(text) > LONGEST_NAME or not text.isprintable() or text != text.strip():
        raise Refused(f"a name has at most {LONGEST_NAME} characters, and all of them can be seen")
    return text


def _protocol(text: str) -> str:
    protocol = protocol_of(text)
    if protocol not in PROTOCOLS:
        raise Refused(f"{text[:40]} is nothing to log in to: give some of {', '.join(PROTOCOLS)}")
    return protocol


async def list_app_passwords(store: Store, settings: Settings, request: Request) -> Answer:
    """Of one account, or of all."""
    if request.text("address", ""):
        accounts: tuple[Account, ...] = ((await _found(store, settings, request))[0],)
    else:
        accounts = await store.read(Accounts())
    return [
        _shown(account.address, each)
        for account in accounts
        for each in await store.read(AppPasswords(account.id))
    ]


async def remove_app_passwords(store: Store, settings: Settings, request: Request) -> Answer:
    """One by its name, or all of an account."""
    address = any_address(settings, request.text("address"))
    name = None if request.flag("all") else request.text("name")
    try:
        removed = await store.commit(RemoveAppPasswords(address.key, name))
    except NoSuchAccount:
        raise _no_such(address)
    except NoSuchAppPassword as fault:
        raise Refused(f"{fault}; `mailftp account app-password list` shows them")
    return [_shown(address.key, each) for each in removed]
