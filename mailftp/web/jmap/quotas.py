"""Quota: RFC 9425. An account's mail has at most two: octets, and messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailftp.message.casemap import casemap
from mailftp.store.queries import AccountWithVerifier, MailUsage
from mailftp.store.quota import UNLIMITED
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed, Changing, Gettable, Wanted, cannot_calculate
from mailftp.web.jmap.querying import Found, Operator, Queryable, Sought, Touched, unsupported_sort
from mailftp.web.jmap.registry import QUOTA

#: What a state says: limits and what is used of them, each "-" where there is no limit.
_STATE = re.compile(r"(-|[0-9]{1,19})/(-|[0-9]{1,19}):(-|[0-9]{1,19})/(-|[0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class _Quota:
    id: str
    resource: str
    name: str
    used: int
    limit: int


class QuotaType(Gettable, Changing, Queryable):
    name = "Quota"
    capability = QUOTA
    properties = (
        "id",
        "resourceType",
        "used",
        "hardLimit",
        "scope",
        "name",
        "types",
        "warnLimit",
        "softLimit",
        "description",
    )

    async def state(self, context: Context) -> str:
        return _state(await _quotas(context))

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        """Quota/get, section 4.2."""
        found = {each.id: _object(each) for each in await _quotas(context)}
        return found if wanted.ids is None else {each: found[each] for each in wanted.ids if each in found}

    async def changes(self, context: Context, since: str, most: int | None) -> Changed:
        """Quota/changes, section 4.3."""
        quotas = await _quotas(context)
        now, before = _STATE.fullmatch(_state(quotas)), _STATE.fullmatch(since)
        if now is None or before is None:
            raise cannot_calculate()
        created: list[str] = []
        updated: list[str] = []
        destroyed: list[str] = []
        only_used = True
        for each, used, limit in (("octets", 1, 2), ("messages", 3, 4)):
            if (before[limit] == "-") != (now[limit] == "-"):
                (created if before[limit] == "-" else destroyed).append(each)
            elif (before[used], before[limit]) != (now[used], now[limit]):
                updated.append(each)
                only_used = only_used and before[limit] == now[limit]
        if most is not None and len(created) + len(updated) + len(destroyed) > most:
            raise cannot_calculate("there are more changes than maxChanges: read all anew")
        properties = ["used"] if updated and only_used else None
        return Changed(_state(quotas), created, updated, destroyed, extra={"updatedProperties": properties})

    # Quota/query, sections 4.4 and 4.5.

    def read_condition(self, context: Context, condition: Arguments) -> Any:
        tests: list[tuple[str, Any]] = []
        for name in ("name", "scope", "resourceType", "type"):
            if name in condition:
                tests.append((name, condition.string(name)))
        return tuple(tests)

    def read_comparator(self, name: str, comparator: Arguments) -> None:
        if name not in ("name", "used"):
            raise unsupported_sort(name)

    async def query(self, context: Context, sought: Sought) -> Found:
        quotas = list(await _quotas(context))
        state = _state(quotas)
        for comparator in reversed(sought.sort):
            by_name = comparator.property == "name"
            quotas.sort(
                key=lambda each: casemap(each.name) if by_name else each.used,
                reverse=not comparator.ascending,
            )
        ids = [each.id for each in quotas if _passes(sought.filter, each)]
        return Found(state, ids, can_calculate=False)

    async def touched(self, context: Context, sought: Sought, since: str) -> Touched:
        changed = await self.changes(context, since, None)
        return Touched({*changed.created, *changed.updated, *changed.destroyed}, set(changed.created))


async def _quotas(context: Context) -> tuple[_Quota, ...]:
    account, general = context.account, context.ground.settings.quota
    # As it is now, not as it was at login.
    found = await context.store.read(AccountWithVerifier(account.address))
    if found is not None:
        account = found[0]
    octets, messages = await context.store.read(MailUsage(account.id))
    limits = (
        ("octets", "octets", "Mail", octets, account.mail_quota, general.mail),
        ("messages", "count", "Messages", messages, account.message_quota, general.messages),
    )
    made = []
    for name, resource, words, used, own, common in limits:
        limit = common if own is None else own
        if limit is not None and limit != UNLIMITED:
            made.append(_Quota(name, resource, words, used, limit))
    return tuple(made)


def _state(quotas: Any) -> str:
    by_id = {each.id: f"{each.used}/{each.limit}" for each in quotas}
    return ":".join(by_id.get(name, "-/-") for name in ("octets", "messages"))


def _object(each: _Quota) -> Mapping[str, Any]:
    return {
        "id": each.id,
        "resourceType": each.resource,
        "used": each.used,
        "hardLimit": each.limit,
        "scope": "account",
        "name": each.name,
        "types": ["Mail"],
        "warnLimit": None,
        "softLimit": None,
        "description": None,
    }


def _passes(condition: Any, each: _Quota) -> bool:
    if condition is None:
        return True
    if isinstance(condition, Operator):
        if condition.operator == "AND":
            return all(_passes(one, each) for one in condition.conditions)
        some = any(_passes(one, each) for one in condition.conditions)
        return some if condition.operator == "OR" else not some
    known = {"scope": "account", "resourceType": each.resource, "type": "Mail"}
    return all(
        casemap(value) in casemap(each.name) if name == "name" else known[name] == value
        for name, value in condition
    )
