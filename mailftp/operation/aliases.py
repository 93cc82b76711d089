"""Aliases and grants, as an operator asks for them."""

from __future__ import annotations

import time

from mailftp.intake.directory import Directory, always
from mailftp.intake.expansion import DEPTH
from mailftp.message.address import Address, AddressFault, parse_address, parse_domain, parse_mailbox
from mailftp.operation.requests import Answer, Refused, Request, account_address
from mailftp.settings import Settings
from mailftp.store.engine import NoSuchAccount, NoSuchAlias, Store
from mailftp.store.names import TARGETS_LIMIT
from mailftp.store.queries import Aliases, Grants, Named
from mailftp.store.records import Alias, Grant
from mailftp.store.units import AddAlias, GrantAddress, RemoveAlias, RevokeAddress


def _shown(alias: Alias, accounts: frozenset[str] = frozenset()) -> dict[str, object]:
    kind = "list" if alias.owner else "alias"
    if alias.address.startswith("@"):
        domain = alias.targets and alias.targets[0].startswith("@")
        kind = "domain" if domain else "catch-all"
    elif alias.address in accounts:
        kind = "forward"
    return {
        "address": alias.address,
        "kind": kind,
        "targets": list(alias.targets),
        "keep": alias.keep,
        "owner": alias.owner,
        "members_only": alias.members_only,
    }


def _granted(grant: Grant) -> dict[str, object]:
    return {"address": grant.address, "account": grant.account}


def _alias_address(settings: Settings, text: str) -> str:
    """An address of ours as it is kept, or "@domain" for a whole domain of ours."""
    if not text.startswith("@"):
        return account_address(settings, text).key
    domain = _domain(text)
    if domain not in settings.domains:
        raise Refused(
            f"{domain} is none of this server's domains: name it in `domains` of the settings,"
            " then `mailftp reload`"
        )
    return f"@{domain}"


def _domain(text: str) -> str:
    try:
        return parse_domain(text[1:])
    except AddressFault as fault:
        raise Refused(f"{text} is no domain: {fault}")


def _any_alias_address(settings: Settings, text: str) -> str:
    """Of one that may be of a domain that the settings no longer name."""
    if text.startswith("@"):
        return f"@{_domain(text)}"
    return account_address(settings, text).key if "@" not in text else _parsed(text).key


def _parsed(text: str) -> Address:
    try:
        return parse_mailbox(text)
    except AddressFault as fault:
        raise Refused(f"{text} is no mail address: {fault}")


def _target(settings: Settings, text: str) -> str:
    """As it is kept: what is ours has no case, and what is not may have one."""
    if text.startswith("@"):
        return f"@{_domain(text)}"
    address = account_address(settings, text) if "@" not in text else _parsed(text)
    return address.key if address.domain in settings.domains else str(address)


async def add_alias(store: Store, settings: Settings, request: Request) -> Answer:
    address = _alias_address(settings, request.text("address"))
    given = request.texts("targets")
    if len(given) > TARGETS_LIMIT:
        raise Refused(f"an alias leads to {TARGETS_LIMIT} addresses at most")
    targets = tuple(dict.fromkeys(_target(settings, text) for text in given))
    if not targets:
        raise Refused("the request names nobody that the alias leads to")
    there = {alias.address: alias for alias in await store.read(Aliases())}
    known = there.get(address)
    _check_domains(settings, address, (*targets, *(known.targets if known else ())))
    await _check_targets(store, settings, address, targets)
    _check_loop(address, targets, there)
    owner = await _owner(store, settings, request)
    keep = await _keep(store, address, request)
    unit = AddAlias(address, targets, keep, owner, request.flag("members_only"))
    return await _show(store, await store.commit(unit))


async def _show(store: Store, alias: Alias) -> dict[str, object]:
    account = (await store.read(Named(alias.address))).account
    return _shown(alias, frozenset({alias.address} if account else ()))


async def _keep(store: Store, address: str, request: Request) -> bool | None:
    keep = request.flag("keep")
    if keep and (await store.read(Named(address))).account is None:
        raise Refused(f"there is no account {address} that could keep a copy")
    return keep


async def _owner(store: Store, settings: Settings, request: Request) -> str | None:
    """None where it is not said, "" where there shall be none."""
    text = request.text("owner", "-")
    if text in ("", "-"):
        return None if text == "-" else ""
    owner = _target(settings, text)
    await _check_targets(store, settings, "", (owner,))
    return owner


def _check_domains(settings: Settings, address: str, targets: tuple[str, ...]) -> None:
    """A whole domain leads to another of ours, alone, or to addresses."""
    for target in targets:
        if target.startswith("@") and not (address.startswith("@") and len(set(targets)) == 1):
            raise Refused(f"{target} can be led to by a whole domain alone, and by nothing beside it")
        if target.startswith("@") and target[1:] not in settings.domains:
            raise Refused(f"{target[1:]} is none of this server's domains: name addresses there")


async def _check_targets(store: Store, settings: Settings, address: str, targets: tuple[str, ...]) -> None:
    """What is of our domains must be there: mail for it would be refused."""
    directory = Directory(store, settings.domains, time.time, settings.addresses.separator)
    try:
        for target in targets:
            if target.startswith("@"):
                continue
            parsed = parse_address(target)
            if not directory.is_local(parsed):
                continue
            found = await always(directory.find(parsed))
            if found.account is None and found.alias is None:
                raise Refused(f"{target} is nobody here: add the account or the alias first")
            if target == address and found.account is None:
                raise Refused(f"{target} would lead to itself")
    finally:
        directory.stop()


def _check_loop(address: str, targets: tuple[str, ...], there: dict[str, Alias]) -> None:
    """Raises Refused where an alias would come back to itself, or is too many aliases away from an end."""
    ways: list[tuple[str, ...]] = [(target,) for target in targets]
    while ways:
        way = ways.pop()
        if way[-1] == address and way != (address,):
            raise Refused(f"mail would go round: {' -> '.join((address, *way))}")
        if len(way) > DEPTH:
            raise Refused(f"that is more than {DEPTH} aliases in a row: {' -> '.join((address, *way))}")
        following = there.get(way[-1])
        if following is not None and way[-1] != address:
            ways += [(*way, target) for target in following.targets if target not in way]


async def set_alias(store: Store, settings: Settings, request: Request) -> Answer:
    address = _any_alias_address(settings, request.text("address"))
    if (await store.read(Named(address))).alias is None:
        raise _no_such(address)
    owner = await _owner(store, settings, request)
    keep = await _keep(store, address, request)
    unit = AddAlias(address, (), keep, owner, request.flag("members_only"))
    return await _show(store, await store.commit(unit))


def _no_such(address: str) -> Refused:
    return Refused(f"no such alias: {address}; `mailftp alias list` shows them")


async def remove_alias(store: Store, settings: Settings, request: Request) -> Answer:
    address = _any_alias_address(settings, request.text("address"))
    targets = tuple(_target(settings, text) for text in request.texts("targets"))
    found = (await store.read(Named(address))).alias
    if found is None:
        raise _no_such(address)
    try:
        return _shown(await store.commit(RemoveAlias(address, targets)))
    except NoSuchAlias as fault:
        raise Refused(f"{fault}; `mailftp alias list` shows where it does")


async def list_aliases(store: Store, settings: Settings, request: Request) -> Answer:
    aliases = await store.read(Aliases())
    grants = await store.read(Grants())
    there = [await store.read(Named(alias.address)) for alias in aliases]
    accounts = frozenset(found.account.address for found in there if found.account is not None)
    return {
        "aliases": [_shown(alias, accounts) for alias in aliases],
        "grants": [_granted(grant) for grant in grants],
    }


def _grant(settings: Settings, request: Request) -> tuple[str, str]:
    """(address, account); the address may be of anybody's domain."""
    text = request.text("address")
    address = f"@{_domain(text)}" if text.startswith("@") else _any_alias_address(settings, text)
    return address, _any_alias_address(settings, request.text("account"))


async def grant_address(store: Store, settings: Settings, request: Request) -> Answer:
    address, account = _grant(settings, request)
    try:
        return _granted(await store.commit(GrantAddress(address, account)))
    except NoSuchAccount:
        raise Refused(f"no such account: {account}; `mailftp account list` shows them")


async def revoke_address(store: Store, settings: Settings, request: Request) -> Answer:
    address, account = _grant(settings, request)
    try:
        return _granted(await store.commit(RevokeAddress(address, account)))
    except NoSuchAccount:
        raise Refused(f"no such account: {account}; `mailftp account list` shows them")
    except NoSuchAlias as fault:
        raise Refused(f"{fault}; `mailftp alias list` shows what was")
