"""JSON as JMAP takes it: I-JSON (RFC 7493), read strictly and with limits.

Two readers that differ about a text that names a key twice, or about half of a surrogate pair, are what an
attacker looks for: such texts are refused whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Arrays and objects within each other.
DEPTH = 64
#: RFC 7493 section 2.2: larger integers are not the same number everywhere.
LARGEST = 2**53 - 1

_BRACKETS = b"[]{}"
_OTHERS = bytes(octet for octet in range(256) if octet not in _BRACKETS)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotIJSON(ValueError):
    """The text says why."""


def read_ijson(octets: bytes) -> Any:
    """Raises NotIJSON."""
    _check_depth(octets)
    try:
        text = octets.decode("utf-8")
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer
        )
    except NotIJSON:
        raise
    except (ValueError, RecursionError):
        raise NotIJSON("it is no JSON in UTF-8") from None


def write_json(value: Any) -> bytes:
    """In one line. Text is ASCII: a mail may hold code points that some readers stumble upon."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _check_depth(octets: bytes) -> None:
    """Before anything is built. Each turn takes the innermost brackets away."""
    left = _STRING.sub(b"", octets).translate(None, _OTHERS)
    for _ in range(DEPTH):
        if not left:
            return
        less = left.replace(b"[]", b"").replace(b"{}", b"")
        if len(less) == len(left):
            break
        left = less
    if left:
        raise NotIJSON(f"brackets do not match, or there are more than {DEPTH} within each other")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise NotIJSON("an object names a key twice")
    for key, value in pairs:
        _check_text(key)
        _check(value)
    return made


def _check(value: Any) -> None:
    """Strings in arrays have no hook of their own; objects in them have been looked at."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for each in value:
            _check(each)


def _check_text(text: str) -> None:
    if not text.isascii() and _SURROGATE.search(text):
        raise NotIJSON("a string holds half of a surrogate pair")


def _constant(name: str) -> Any:
    raise NotIJSON(f"{name} is no number")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise NotIJSON("a number is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise NotIJSON("a number is too large")
    return int(text)
