"""What a type of JMAP says of itself: each frame (getting, changing, querying, setting) does for all types
what RFC 8620 section 5 says of all, and asks the type for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.registry import MAIL


class DataType:
    #: "Mailbox".
    name: ClassVar[str]
    capability: ClassVar[str] = MAIL
    #: Of its objects, "id" among them.
    properties: ClassVar[Sequence[str]]
    #: What a /get without `properties` gives; all when None.
    usual: ClassVar[Sequence[str] | None] = None

    async def state(self, context: Context) -> str:
        """Of all its objects, now."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Whether that is a property."""
        return name in self.properties


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a /get asks for."""

    #: Each once; None: all that there are, but no more than `most`.
    ids: tuple[str, ...] | None
    properties: tuple[str, ...]
    most: int
    #: What the type took of the arguments itself.
    extra: Any = None


class Gettable(DataType):
    def read_get_arguments(self, arguments: Arguments) -> Any:
        """Takes what only this type has."""
        return None

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        """By id, in the order that they are answered; what is not there is left out. Each with `wanted`'s
        properties, or more, of which only those are answered."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Changed:
    """Since a state; ids, each once in one of them."""

    new_state: str
    created: Sequence[str] = ()
    updated: Sequence[str] = ()
    destroyed: Sequence[str] = ()
    more: bool = False
    #: Arguments of the response that only this type has.
    extra: Mapping[str, Any] = field(default_factory=dict)


class Changing(DataType):
    async def changes(self, context: Context, since: str, most: int | None) -> Changed:
        """`most` ids in all. Raises `cannot_calculate()`."""
        raise NotImplementedError


def cannot_calculate(words: str = "that state is too old, or none of ours") -> MethodError:
    return MethodError("cannotCalculateChanges", words)
