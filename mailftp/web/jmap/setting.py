"""/set: RFC 8620 section 5.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import DataType
from mailftp.web.jmap.faults import MethodError, SetError, invalid_arguments
from mailftp.web.jmap.ids import ID
from mailftp.web.jmap.registry import Registry


@dataclass(frozen=True, slots=True)
class Sets:
    """What a /set asks for. Ids to update and destroy are real ones: creation ids have been resolved."""

    #: By creation id.
    create: Mapping[str, Mapping[str, Any]]
    #: Patch objects by id.
    update: Mapping[str, Mapping[str, Any]]
    destroy: tuple[str, ...]
    if_in_state: str | None = None
    extra: Any = None


@dataclass(slots=True)
class Outcome:
    """What came of it. `created` are the properties that the client does not know, "id" among them; `updated`
    those that changed otherwise than it asked for, or None."""

    created: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    updated: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    destroyed: list[str] = field(default_factory=list)
    not_created: dict[str, SetError] = field(default_factory=dict)
    not_updated: dict[str, SetError] = field(default_factory=dict)
    not_destroyed: dict[str, SetError] = field(default_factory=dict)
    #: Where the type knows it exactly; else it is asked for.
    new_state: str | None = None


class Settable(DataType):
    def read_set_arguments(self, arguments: Arguments) -> Any:
        """Takes what only this type has."""
        return None

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        """Fills in the outcome. `ifInState` was compared before; whoever writes in one transaction compares
        it there again."""
        raise NotImplementedError


def add_set(registry: Registry, kind: Settable) -> None:
    async def perform(context: Context, arguments: Arguments) -> Mapping[str, Any]:
        return await set_objects(kind, context, arguments)

    registry.add(f"{kind.name}/set", perform, kind.capability)


async def set_objects(kind: Settable, context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Raises MethodError."""
    context.check_account(arguments)
    if_in_state = arguments.string("ifInState", None, nullable=True)
    create = _objects(arguments, "create")
    update = _objects(arguments, "update")
    destroy = arguments.ids("destroy", None, nullable=True) or ()
    extra = kind.read_set_arguments(arguments)
    arguments.done()
    most = context.ground.limits.max_objects_in_set
    if len(create) + len(update) + len(destroy) > most:
        raise MethodError("requestTooLarge", f"at most {most} objects at a time")
    old_state = await kind.state(context)
    if if_in_state is not None and if_in_state != old_state:
        raise MethodError("stateMismatch", f"the state is {old_state}")
    outcome = Outcome()
    sets = _resolved(context, create, update, destroy, if_in_state, extra, outcome)
    await kind.set(context, sets, outcome)
    for name, made in outcome.created.items():
        context.created_ids[name] = made["id"]
    new_state = outcome.new_state
    if new_state is None:
        new_state = await kind.state(context)
    return {
        "accountId": context.account_id,
        "oldState": old_state,
        "newState": new_state,
        "created": outcome.created or None,
        "updated": outcome.updated or None,
        "destroyed": outcome.destroyed or None,
        "notCreated": _told(outcome.not_created),
        "notUpdated": _told(outcome.not_updated),
        "notDestroyed": _told(outcome.not_destroyed),
    }


def _objects(arguments: Arguments, name: str) -> Mapping[str, Mapping[str, Any]]:
    given = arguments.mapping(name, None, nullable=True) or {}
    for key, value in given.items():
        if ID.fullmatch(key.removeprefix("#") if name == "update" else key) is None:
            raise invalid_arguments(f"a key of {name} is no Id")
        if not isinstance(value, dict):
            raise invalid_arguments(f"a value of {name} is no object")
    return dict(given)


def _resolved(
    context: Context,
    create: Mapping[str, Mapping[str, Any]],
    update: Mapping[str, Mapping[str, Any]],
    destroy: tuple[str, ...],
    if_in_state: str | None,
    extra: Any,
    outcome: Outcome,
) -> Sets:
    """Without what names a creation that is not there, or is destroyed by the same call (willDestroy)."""
    gone, patched = [], {}
    for given in destroy:
        name = context.resolved(given)
        if name is None:
            outcome.not_destroyed[given] = SetError("notFound")
        else:
            gone.append(name)
    for given, patch in update.items():
        name = context.resolved(given)
        if name is None:
            outcome.not_updated[given] = SetError("notFound")
        elif name in gone:
            outcome.not_updated[given] = SetError("willDestroy")
        else:
            patched[name] = patch
    return Sets(create, patched, tuple(dict.fromkeys(gone)), if_in_state, extra)


def _told(errors: Mapping[str, SetError]) -> Mapping[str, Any] | None:
    return {name: error.arguments for name, error in errors.items()} or None
