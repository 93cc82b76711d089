"""What an operator does, as functions on the store: the same on a running server and on a stopped one.

A request is a JSON object whose "do" names a row of `OPERATIONS`; what an operation answers can be written
as JSON. The running server performs what comes by its control socket, the command line performs the same on
a store that it has opened itself. Passwords are hashed by the command line: neither a
request nor a log line ever holds one.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailftp.message.address import Address
from mailftp.operation import aliases, app_passwords, queue, suppressions, tls_memory, trace, uidls
from mailftp.operation.requests import (
    LARGEST_LIST,
    Answer,
    Operation,
    Refused,
    Request,
    account_address,
    any_address,
)
from mailftp.operation.verifiers import verifier_from_json, verifier_to_json
from mailftp.settings import Settings
from mailftp.store.engine import AccountExists, NoSuchAccount, Store, StoreFault
from mailftp.store.names import ACCOUNT_FIELDS, ACCOUNT_FLAGS
from mailftp.store.queries import Accounts, MailUsage
from mailftp.store.records import Account
from mailftp.store.units import (
    AddAccount,
    QueueAction,
    RemoveAccount,
    SetAccount,
    SetVerifier,
)
from mailftp.wire.journal import Journal

__all__ = [
    "LARGEST_LIST",
    "OPERATIONS",
    "Refused",
    "account_address",
    "perform",
    "verifier_to_json",
]


def _account(account: Account) -> dict[str, object]:
    return {
        "address": account.address,
        "created": account.created,
        "disabled": account.disabled,
        "mail_quota": account.mail_quota,
        "message_quota": account.message_quota,
        "files_quota": account.files_quota,
        "daily_messages": account.daily_messages,
        "daily_new_recipients": account.daily_new_recipients,
        "file_sent": account.file_sent,
    }


def _no_such(address: Address) -> Refused:
    return Refused(f"no such account: {address.key}; `mailftp account list` shows them")


async def add_account(store: Store, settings: Settings, request: Request) -> Answer:
    address = account_address(settings, request.text("address"))
    try:
        return _account(
            await store.commit(AddAccount(address.key, verifier_from_json(request.table("verifier"))))
        )
    except AccountExists:
        raise Refused(f"{address.key} is there already; `mailftp account passwd` changes its password")


async def list_accounts(store: Store, settings: Settings, request: Request) -> Answer:
    listed = []
    for account in await store.read(Accounts()):
        octets, messages = await store.read(MailUsage(account.id))
        listed.append({**_account(account), "mail_used": octets, "messages": messages})
    return listed


async def remove_account(store: Store, settings: Settings, request: Request) -> Answer:
    # Accounts of a domain that the settings no longer name can still be removed.
    address = any_address(settings, request.text("address"))
    try:
        return _account(await store.commit(RemoveAccount(address.key)))
    except NoSuchAccount:
        raise _no_such(address)


async def set_password(store: Store, settings: Settings, request: Request) -> Answer:
    address = any_address(settings, request.text("address"))
    try:
        return _account(
            await store.commit(SetVerifier(address.key, verifier_from_json(request.table("verifier"))))
        )
    except NoSuchAccount:
        raise _no_such(address)


async def set_account(store: Store, settings: Settings, request: Request) -> Answer:
    address = any_address(settings, request.text("address"))
    changes: list[tuple[str, bool | int | None]] = []
    for name, value in request.table("changes").items():
        number = value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
        fits = isinstance(value, bool) if name in ACCOUNT_FLAGS else number
        if name not in ACCOUNT_FIELDS or not fits:
            raise Refused(f"an account has no {name} {value!r}")
        assert value is None or isinstance(value, int)
        changes.append((name, value))
    try:
        return _account(await store.commit(SetAccount(address.key, tuple(changes))))
    except NoSuchAccount:
        raise _no_such(address)


#: What can be asked, by its name in a request.
OPERATIONS: Mapping[str, Operation] = {
    "account add": add_account,
    "account list": list_accounts,
    "account remove": remove_account,
    "account passwd": set_password,
    "account set": set_account,
    "account messages": uidls.identify_messages,
    "account uidl": uidls.set_uidls,
    "app-password prepare": app_passwords.prepare_app_password,
    "app-password add": app_passwords.add_app_password,
    "app-password list": app_passwords.list_app_passwords,
    "app-password remove": app_passwords.remove_app_passwords,
    "alias add": aliases.add_alias,
    "alias list": aliases.list_aliases,
    "alias remove": aliases.remove_alias,
    "alias set": aliases.set_alias,
    "alias grant": aliases.grant_address,
    "alias revoke": aliases.revoke_address,
    "queue list": queue.list_queue,
    "queue show": queue.show_queue,
    "queue progress": queue.tell_progress,
    "queue retry": queue.act(QueueAction.RETRY),
    "queue hold": queue.act(QueueAction.HOLD),
    "queue release": queue.act(QueueAction.RELEASE),
    "queue drop": queue.act(QueueAction.DROP),
    "queue bounce": queue.act(QueueAction.BOUNCE),
    "queue route": queue.set_route,
    "suppress list": suppressions.list_suppressions,
    "suppress add": suppressions.add_suppression,
    "suppress remove": suppressions.remove_suppression,
    "tls list": tls_memory.list_tls,
    "tls forget": tls_memory.forget_tls,
    "trace": trace.trace,
}

_READS = frozenset(
    {
        "account list",
        "account messages",
        "alias list",
        "app-password list",
        "app-password prepare",
        "queue list",
        "queue progress",
        "queue show",
        "suppress list",
        "tls list",
        "trace",
    }
)


async def perform(
    store: Store, settings: Settings, members: Mapping[str, object], journal: Journal
) -> Answer:
    """Do what a request asks. Raises Refused, with words for the operator, when it cannot be done."""
    request = Request(members)
    name = request.text("do")
    operation = OPERATIONS.get(name)
    if operation is None:
        raise Refused(f"this server does not know {name[:40]!r}")
    try:
        answer = await operation(store, settings, request)
    except StoreFault as fault:
        raise Refused(str(fault))
    if name not in _READS:
        said = {key: members[key] for key in ("address", "domain", "ids") if key in members}
        journal.record(name, **said)
    return answer
