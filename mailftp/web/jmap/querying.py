"""/query and /queryChanges: RFC 8620 sections 5.5 and 5.6."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import DataType
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.registry import Registry

#: Operators within each other, conditions of a filter, and comparators of a sort.
DEPTH, CONDITIONS, COMPARATORS = 16, 200, 10

_OPERATORS = ("AND", "OR", "NOT")

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Operator:
    """A FilterOperator; its conditions are Operators and what the type read of each condition."""

    operator: str
    conditions: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Comparator:
    property: str
    ascending: bool = True
    #: What only this property has.
    extra: Any = None


@dataclass(frozen=True, slots=True)
class Sought:
    #: None: all.
    filter: Any
    sort: tuple[Comparator, ...]
    extra: Any = None


def _itself(each: Any) -> str:
    return str(each)


@dataclass(frozen=True, slots=True)
class Found:
    """All that match, sorted; a hundred thousand are an array of numbers, which `spell` makes ids of."""

    state: str
    ids: Sequence[Any]
    spell: Callable[[Any], str] = _itself
    #: The other way; what is no id of one is None.
    read: Callable[[str], Any] = _itself
    can_calculate: bool = True


@dataclass(frozen=True, slots=True)
class Touched:
    """Of what may be in results, since a state: what became other than it was, however it matters."""

    #: In the form of `Found.ids`.
    changed: Collection[Any]
    #: Those that were not there before.
    created: Collection[Any] = frozenset()


class Queryable(DataType):
    def read_query_arguments(self, arguments: Arguments) -> Any:
        """Takes what only this type has."""
        return None

    def read_condition(self, context: Context, condition: Arguments) -> Any:
        """Takes all properties of a FilterCondition that it knows."""
        raise NotImplementedError

    def read_comparator(self, name: str, comparator: Arguments) -> Any:
        """Takes what else such a comparator has. Raises MethodError with unsupportedSort."""
        raise unsupported_sort(name)

    async def query(self, context: Context, sought: Sought) -> Found:
        raise NotImplementedError

    def immutable(self, sought: Sought) -> bool:
        """Whether nothing that is filtered and sorted by ever changes of an object."""
        return False

    async def touched(self, context: Context, sought: Sought, since: str) -> Touched:
        """Raises MethodError with cannotCalculateChanges."""
        raise NotImplementedError


def unsupported_sort(name: str) -> MethodError:
    return MethodError("unsupportedSort", f"nothing is sorted by {name[:100]} here")


def add_query(registry: Registry, kind: Queryable) -> None:
    registry.add(f"{kind.name}/query", partial(query, kind), kind.capability)
    registry.add(f"{kind.name}/queryChanges", partial(query_changes, kind), kind.capability)


async def query(kind: Queryable, context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Raises MethodError."""
    context.check_account(arguments)
    position = arguments.integer("position", 0)
    anchor = arguments.id("anchor", None, nullable=True)
    offset = arguments.integer("anchorOffset", 0)
    limit = arguments.unsigned("limit", None, nullable=True)
    total = arguments.boolean("calculateTotal", False)
    sought = _sought(kind, context, arguments)
    found = await kind.query(context, sought)
    start = _start(found, position, anchor, offset)
    most = context.ground.limits.max_objects_in_get
    count = most if limit is None else min(limit, most)
    answer: dict[str, Any] = {
        "accountId": context.account_id,
        "queryState": found.state,
        "canCalculateChanges": found.can_calculate,
        "position": start,
        "ids": [found.spell(each) for each in found.ids[start : start + count]],
    }
    if total:
        answer["total"] = len(found.ids)
    if limit is None or limit > most:
        # Section 5.5: said where it is the server's.
        answer["limit"] = most
    return answer


def _start(found: Found, position: int, anchor: str | None, offset: int) -> int:
    if anchor is None:
        return position if position >= 0 else max(0, len(found.ids) + position)
    try:
        return max(0, found.ids.index(found.read(anchor)) + offset)
    except ValueError:
        raise MethodError("anchorNotFound", "the anchor is not among the results") from None


async def query_changes(kind: Queryable, context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Raises MethodError."""
    context.check_account(arguments)
    since = arguments.string("sinceQueryState")
    most = arguments.unsigned("maxChanges", None, nullable=True, least=1)
    up_to = arguments.id("upToId", None, nullable=True)
    total = arguments.boolean("calculateTotal", False)
    sought = _sought(kind, context, arguments)
    found = await kind.query(context, sought)
    touched = await kind.touched(context, sought, since)
    removed = [found.spell(each) for each in touched.changed if each not in touched.created]
    added = list(_added(found, touched.changed, up_to if kind.immutable(sought) else None))
    if most is not None and len(removed) + len(added) > most:
        raise MethodError("tooManyChanges", f"there are {len(removed) + len(added)} changes")
    answer: dict[str, Any] = {
        "accountId": context.account_id,
        "oldQueryState": since,
        "newQueryState": found.state,
        "removed": removed,
        "added": added,
    }
    if total:
        answer["total"] = len(found.ids)
    return answer


def _added(found: Found, changed: Collection[Any], up_to: str | None) -> Iterator[Mapping[str, Any]]:
    """With an `up_to` that is there, nothing behind it."""
    last = None if up_to is None else found.read(up_to)
    for at, each in enumerate(found.ids if changed else ()):
        if each in changed:
            yield {"id": found.spell(each), "index": at}
        if last is not None and each == last:
            break


def _sought(kind: Queryable, context: Context, arguments: Arguments) -> Sought:
    """Takes filter, sort and what only the type has."""
    condition = read_filter(arguments, lambda given: kind.read_condition(context, given))
    sort = arguments.objects("sort", None, nullable=True) or ()
    if len(sort) > COMPARATORS:
        raise MethodError("unsupportedSort", f"more than {COMPARATORS} comparators")
    comparators = tuple(_comparator(kind, each) for each in sort)
    extra = kind.read_query_arguments(arguments)
    arguments.done()
    return Sought(condition, comparators, extra)


def read_filter(arguments: Arguments, read_condition: Callable[[Arguments], Any]) -> Any:
    """Takes the filter: an Operator, what `read_condition` makes of a FilterCondition, or None. Raises
    MethodError."""
    given = arguments.mapping("filter", None, nullable=True)
    count = [0]

    def read(given: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise MethodError("unsupportedFilter", f"more than {DEPTH} operators within each other")
        if isinstance(given, dict) and "operator" in given:
            return _operator(given, depth)
        count[0] += 1
        if count[0] > CONDITIONS:
            raise MethodError("unsupportedFilter", f"more than {CONDITIONS} conditions")
        condition = Arguments(given, _bad_filter, "a filter")
        value = read_condition(condition)
        condition.done()
        return value

    def _operator(given: dict[str, Any], depth: int) -> Operator:
        operator, conditions = given.get("operator"), given.get("conditions")
        if operator not in _OPERATORS or not isinstance(conditions, list) or len(given) != 2:
            raise invalid_arguments("a filter operator is AND, OR or NOT with conditions")
        return Operator(operator, tuple(read(each, depth + 1) for each in conditions))

    return None if given is None else read(given, 0)


def _comparator(kind: Queryable, given: dict[str, Any]) -> Comparator:
    comparator = Arguments(given, what="a comparator")
    name = comparator.string("property")
    ascending = comparator.boolean("isAscending", True)
    collation = comparator.string("collation", None, nullable=True)
    if collation not in (None, *COLLATIONS):
        raise MethodError("unsupportedSort", f"there is no collation {collation[:100]} here")
    extra = kind.read_comparator(name, comparator)
    # jmapc sends "position" and the like in each: what is not known changes nothing.
    return Comparator(name, ascending, extra)


#: RFC 5051; what all text is sorted by.
COLLATIONS = ("i;unicode-casemap",)


def _bad_filter(words: str) -> MethodError:
    return MethodError("unsupportedFilter" if words.endswith("is not known") else "invalidArguments", words)
