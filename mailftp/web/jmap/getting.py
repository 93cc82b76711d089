"""/get: RFC 8620 section 5.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Gettable, Wanted
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.registry import Registry


def add_get(registry: Registry, kind: Gettable) -> None:
    async def perform(context: Context, arguments: Arguments) -> Mapping[str, Any]:
        return await get(kind, context, arguments)

    registry.add(f"{kind.name}/get", perform, kind.capability)


async def get(kind: Gettable, context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Raises MethodError."""
    context.check_account(arguments)
    most = context.ground.limits.max_objects_in_get
    given = arguments.ids("ids", None, nullable=True)
    if given is not None and len(given) > most:
        raise MethodError("requestTooLarge", f"at most {most} ids at a time")
    named = arguments.strings("properties", None, nullable=True)
    properties = _properties(kind, named)
    extra = kind.read_get_arguments(arguments)
    arguments.done()
    ids, missing = None, []
    if given is not None:
        # What was created in this request may be asked for by its creation id (section 5.3).
        resolved = [(each, context.resolved(each)) for each in given]
        ids = tuple(dict.fromkeys(name for _, name in resolved if name is not None))
        missing = [each for each, name in resolved if name is None]
    # Before the objects: what changes between the two is told by the next /changes, and not lost.
    state = await kind.state(context)
    found = await kind.get(context, Wanted(ids, properties, most, extra))
    return {
        "accountId": context.account_id,
        "state": state,
        "list": [{name: each[name] for name in properties} for each in found.values()],
        "notFound": missing + [each for each in ids or () if each not in found],
    }


def _properties(kind: Gettable, named: tuple[str, ...] | None) -> tuple[str, ...]:
    if named is None:
        return tuple(kind.properties if kind.usual is None else kind.usual)
    for name in named:
        if not kind.has(name):
            raise invalid_arguments(f"{kind.name} has no property {name[:100]}")
    return ("id", *(name for name in named if name != "id"))
