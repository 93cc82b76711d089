"""/changes: RFC 8620 section 5.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changing
from mailftp.web.jmap.registry import Registry


def add_changes(registry: Registry, kind: Changing) -> None:
    async def perform(context: Context, arguments: Arguments) -> Mapping[str, Any]:
        return await changes(kind, context, arguments)

    registry.add(f"{kind.name}/changes", perform, kind.capability)


async def changes(kind: Changing, context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Raises MethodError."""
    context.check_account(arguments)
    since = arguments.string("sinceState")
    most = arguments.unsigned("maxChanges", None, nullable=True, least=1)
    arguments.done()
    changed = await kind.changes(context, since, most)
    return {
        "accountId": context.account_id,
        "oldState": since,
        "newState": changed.new_state,
        "hasMoreChanges": changed.more,
        "created": list(changed.created),
        "updated": list(changed.updated),
        "destroyed": list(changed.destroyed),
        **changed.extra,
    }
