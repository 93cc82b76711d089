"""Methods by name, and which capability a client has to name for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.request import CORE

MAIL = "urn:ietf:params:jmap:mail"
SUBMISSION = "urn:ietf:params:jmap:submission"
VACATION = "urn:ietf:params:jmap:vacationresponse"
QUOTA = "urn:ietf:params:jmap:quota"
BLOB = "urn:ietf:params:jmap:blob"

#: Answers its response's arguments. Raises MethodError; each argument is to be taken, `done()` said.
Perform = Callable[[Context, Arguments], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    capability: str
    perform: Perform


class Registry:
    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}
        #: Capability -> what the session says of it, for all and for an account (RFC 8620 section 2).
        self.capabilities: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def offer(
        self,
        capability: str,
        told: Mapping[str, Any] | None = None,
        of_account: Mapping[str, Any] | None = None,
    ) -> None:
        """A capability, with its objects in the session and in each account."""
        self.capabilities[capability] = (told or {}, of_account or {})

    def add(self, name: str, perform: Perform, capability: str = CORE) -> None:
        """`name` is "Email/get"."""
        assert name not in self._methods, f"{name} is there already"
        self._methods[name] = Method(name, capability, perform)

    def find(self, name: str, using: frozenset[str]) -> Method | None:
        """None for one that is not there, and for one whose capability was not named."""
        method = self._methods.get(name)
        return method if method is not None and method.capability in using else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._methods)
