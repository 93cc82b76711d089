"""A request: RFC 8620 section 3.3, with the limits of section 2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mailftp.web.jmap.faults import RequestError
from mailftp.web.jmap.ids import ID
from mailftp.web.jmap.ijson import NotIJSON, read_ijson

CORE = "urn:ietf:params:jmap:core"

#: Octets of a method's name and of a call's id; of capabilities named; of created ids given.
_NAME, _CALL_ID, _USING, _CREATED = 255, 255, 100, 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The core capability's (section 2): the suggested minima or more."""

    max_size_upload: int = 50_000_000
    max_concurrent_upload: int = 4
    max_size_request: int = 10_000_000
    max_concurrent_requests: int = 8
    max_calls_in_request: int = 32
    max_objects_in_get: int = 1_000
    max_objects_in_set: int = 1_000


class Call(NamedTuple):
    """An Invocation (section 3.2)."""

    name: str
    arguments: Mapping[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class JMAPRequest:
    using: frozenset[str]
    calls: tuple[Call, ...]
    #: Creation id -> id; None where the client gave none and wants none back.
    created_ids: Mapping[str, str] | None


def parse_request(octets: bytes, capabilities: Collection[str], limits: Limits) -> JMAPRequest:
    """Raises RequestError."""
    if len(octets) > limits.max_size_request:
        raise too_large(limits)
    try:
        given = read_ijson(octets)
    except NotIJSON as fault:
        raise RequestError("notJSON", str(fault)) from None
    if not isinstance(given, dict):
        raise _not_request("it is no object")
    using = given.get("using")
    if not isinstance(using, list) or len(using) > _USING or not all(isinstance(n, str) for n in using):
        raise _not_request("using is no list of capabilities")
    calls = given.get("methodCalls")
    if not isinstance(calls, list):
        raise _not_request("methodCalls is no list")
    if len(calls) > limits.max_calls_in_request:
        words = f"a request has at most {limits.max_calls_in_request} calls"
        raise RequestError("limit", words, limit="maxCallsInRequest")
    for name in using:
        if name not in capabilities:
            raise RequestError("unknownCapability", f"there is no {name[:200]} here")
    return JMAPRequest(frozenset(using), tuple(map(_call, calls)), _created(given.get("createdIds")))


def _call(given: Any) -> Call:
    if not isinstance(given, list) or len(given) != 3:
        raise _not_request("a method call is a name, arguments and an id")
    name, arguments, call_id = given
    if not isinstance(name, str) or not 0 < len(name) <= _NAME:
        raise _not_request("a method's name is a String")
    if not isinstance(arguments, dict):
        raise _not_request("a method's arguments are an object")
    if not isinstance(call_id, str) or len(call_id) > _CALL_ID:
        raise _not_request(f"a method call's id is a String of at most {_CALL_ID} characters")
    return Call(name, arguments, call_id)


def _created(given: Any) -> Mapping[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > _CREATED:
        raise _not_request("createdIds is no object of ids")
    for key, value in given.items():
        if ID.fullmatch(key) is None or not isinstance(value, str) or ID.fullmatch(value) is None:
            raise _not_request("createdIds is no object of ids")
    return given


def too_large(limits: Limits) -> RequestError:
    words = f"a request has at most {limits.max_size_request} octets"
    return RequestError("limit", words, limit="maxSizeRequest")


def _not_request(words: str) -> RequestError:
    return RequestError("notRequest", words)
