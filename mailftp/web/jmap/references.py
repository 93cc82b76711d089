"""Result references: RFC 8620 section 3.7, JSON pointers (RFC 6901) with "*" for each of an array."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mailftp.web.jmap.faults import MethodError, invalid_arguments

#: Characters of a pointer, its steps, and values that it may lead to: a short one must not make a large
#: answer larger and larger.
_LONGEST, _STEPS, _MOST = 1_000, 32, 100_000
#: Values and characters of all that one call refers to. An echo of two references to the echo before it is
#: twice as large as that one: thirty of them would be a billion times the first.
_ALL = 1_000_000
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_ESCAPES = re.compile(r"~(?![01])")


class Response(NamedTuple):
    name: str
    arguments: Mapping[str, Any]
    id: str


def resolve(arguments: Mapping[str, Any], responses: Sequence[Response]) -> Mapping[str, Any]:
    """The arguments with what their references lead to. Raises MethodError."""
    if not any(name.startswith("#") for name in arguments):
        return arguments
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        plain = name.removeprefix("#")
        if plain in found:
            raise invalid_arguments(f"{plain} is given twice, once by reference")
        found[plain] = _followed(value, responses) if name != plain else value
    _measure([found[name.removeprefix("#")] for name in arguments if name.startswith("#")])
    return found


def _measure(values: list[Any]) -> None:
    """Raises MethodError."""
    waiting, left = values, _ALL
    while waiting:
        value = waiting.pop()
        left -= 1
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, Mapping):
            left -= sum(map(len, value))
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        if left < len(waiting):
            raise _unresolved(f"the references lead to more than {_ALL} values and characters")


def _followed(given: Any, responses: Sequence[Response]) -> Any:
    if not isinstance(given, dict) or set(given) != {"resultOf", "name", "path"}:
        raise _unresolved("a reference has resultOf, name and path")
    call_id, name, path = given["resultOf"], given["name"], given["path"]
    if not all(isinstance(each, str) for each in (call_id, name, path)) or len(path) > _LONGEST:
        raise _unresolved("a reference has resultOf, name and path")
    # The first response with that id; one call may have several.
    response = next((each for each in responses if each.id == call_id), None)
    if response is None or response.name != name:
        raise _unresolved(f"no {name[:100]} was answered under the id {call_id[:100]}")
    return point(response.arguments, path)


def point(value: Any, path: str) -> Any:
    """What a pointer leads to. Raises MethodError."""
    if path and not path.startswith("/") or _ESCAPES.search(path):
        raise _unresolved("the path is no JSON pointer")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    if len(steps) > _STEPS:
        raise _unresolved(f"the path has more than {_STEPS} steps")
    return _walk(value, steps)


def _walk(value: Any, steps: list[str]) -> Any:
    for at, step in enumerate(steps):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list | tuple) and step == "*":
            return _each(value, steps[at + 1 :])
        elif isinstance(value, list | tuple) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            raise _unresolved(f"there is no {step[:100]!r} where the path leads")
    return value


def _each(values: Sequence[Any], steps: list[str]) -> list[Any]:
    """Arrays that it leads to are put together to one."""
    found: list[Any] = []
    for each in values:
        result = _walk(each, steps)
        if isinstance(result, list | tuple):
            found.extend(result)
        else:
            found.append(result)
        if len(found) > _MOST:
            raise _unresolved(f"it leads to more than {_MOST} values")
    return found


def _unresolved(words: str) -> MethodError:
    return MethodError("invalidResultReference", words)
