"""Patch objects: RFC 8620 section 5.3. A key is a JSON pointer without its first slash; null takes the value
away, or sets the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from mailftp.web.jmap.faults import SetError

_ESCAPES = re.compile(r"~(?![01])")
#: Steps of one pointer.
_STEPS = 16


def steps_of(path: str) -> tuple[str, ...]:
    """Raises SetError."""
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/"))
    if _ESCAPES.search(path) or len(steps) > _STEPS:
        raise SetError("invalidPatch", "a key is no JSON pointer")
    return steps


def patched(known: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The object as it is after the patch; `known` stays as it is. Raises SetError with invalidPatch."""
    paths = {steps_of(path): value for path, value in patch.items()}
    if len(paths) != len(patch):
        raise SetError("invalidPatch", "two keys name the same value")
    for path in paths:
        if any(path[:length] in paths for length in range(1, len(path))):
            raise SetError("invalidPatch", "one key is the beginning of another")
    made = deepcopy(dict(known))
    for path, value in paths.items():
        _apply(made, path, value)
    return made


def _apply(made: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    within: Any = made
    for step in path[:-1]:
        # All parents have to be there, and an array is replaced whole.
        if not isinstance(within, dict) or not isinstance(within.get(step), dict):
            raise SetError("invalidPatch", "a key leads into what is no object")
        within = within[step]
    if value is None:
        within.pop(path[-1], None)
        # A property that is null is there, an entry of a map is not.
        if len(path) == 1:
            within[path[-1]] = None
    else:
        within[path[-1]] = value
