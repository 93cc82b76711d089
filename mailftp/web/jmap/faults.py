"""What goes wrong, at each of the three levels of RFC 8620 section 3.6."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class RequestError(Exception):
    """The whole request is refused (section 3.6.1): a problem of RFC 7807, in HTTP."""

    def __init__(self, kind: str, detail: str, status: int = HTTPStatus.BAD_REQUEST, **more: object) -> None:
        """`kind` is "notJSON" and the like."""
        super().__init__(f"{kind}: {detail}")
        self.status = status
        self.problem = {
            "type": f"urn:ietf:params:jmap:error:{kind}",
            "status": int(status),
            "detail": detail,
            **more,
        }


class MethodError(Exception):
    """One method call is refused (section 3.6.2): an "error" response in its place."""

    def __init__(self, kind: str, description: str = "", **more: Any) -> None:
        super().__init__(f"{kind}: {description}")
        self.kind = kind
        self.arguments: Mapping[str, Any] = _named(kind, description, more)


class SetError(Exception):
    """One object of a /set is refused (section 5.3)."""

    def __init__(self, kind: str, description: str = "", **more: Any) -> None:
        """`properties` where it is about some of them."""
        super().__init__(f"{kind}: {description}")
        self.kind = kind
        self.arguments: Mapping[str, Any] = _named(kind, description, more)


def _named(kind: str, description: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
    told: dict[str, Any] = {"type": kind}
    if description:
        told["description"] = description
    told.update(more)
    return told


def invalid_arguments(description: str) -> MethodError:
    return MethodError("invalidArguments", description)
