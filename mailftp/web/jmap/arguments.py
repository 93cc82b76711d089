"""Arguments of a method, or properties of an object, taken one by one with their types; what is left at the
end is unknown and refused (RFC 8620 section 3.6.2: invalidArguments)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from mailftp.web.jmap.faults import invalid_arguments
from mailftp.web.jmap.ids import ID
from mailftp.web.jmap.ijson import LARGEST

T = TypeVar("T")

_MISSING: Any = object()


class Arguments:
    """Every taker raises `fault(text)`: MethodError with invalidArguments unless said otherwise."""

    def __init__(
        self,
        given: Any,
        fault: Callable[[str], Exception] = invalid_arguments,
        what: str = "the arguments",
    ) -> None:
        self.fault = fault
        if not isinstance(given, dict):
            raise fault(f"{what} are no object")
        self._left: dict[str, Any] = dict(given)

    def __contains__(self, name: str) -> bool:
        """Whether it is there and was not taken yet."""
        return name in self._left

    def take(self, name: str, default: Any = _MISSING) -> Any:
        """Of whatever type."""
        value = self._left.pop(name, default)
        if value is _MISSING:
            raise self.fault(f"{name} is missing")
        return value

    def _typed(
        self, name: str, kind: type[T] | tuple[type[T], ...], default: Any, nullable: bool, words: str
    ) -> Any:
        value = self.take(name, default)
        if value is default and default is not _MISSING or value is None and nullable:
            return value
        # True is an int to Python.
        if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
            raise self.fault(f"{name} is no {words}")
        return value

    def boolean(self, name: str, default: Any = _MISSING) -> bool:
        return bool(self._typed(name, bool, default, False, "Boolean"))

    def string(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        return self._typed(name, str, default, nullable, "String")

    def integer(self, name: str, default: Any = _MISSING, *, least: int = -LARGEST) -> int:
        value = self._typed(name, int, default, False, "Int")
        if value < least:
            raise self.fault(f"{name} is less than {least}")
        return int(value)

    def unsigned(
        self, name: str, default: Any = _MISSING, *, nullable: bool = False, least: int = 0
    ) -> int | None:
        value = self._typed(name, int, default, nullable, "UnsignedInt")
        if value is not None and value < least:
            raise self.fault(f"{name} is less than {least}")
        return None if value is None else int(value)

    def id(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        value = self._typed(name, str, default, nullable, "Id")
        if isinstance(value, str) and ID.fullmatch(value) is None:
            raise self.fault(f"{name} is no Id")
        return value

    def strings(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        """A tuple, each once; or None."""
        value = self._typed(name, list, default, nullable, "String[]")
        if not isinstance(value, list):
            return value
        if not all(isinstance(each, str) for each in value):
            raise self.fault(f"{name} is no String[]")
        return tuple(dict.fromkeys(value))

    def ids(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        """As `strings`. A creation id, "#name", is one where the caller resolves it."""
        value = self.strings(name, default, nullable=nullable)
        for each in value or ():
            if ID.fullmatch(each.removeprefix("#")) is None:
                raise self.fault(f"{name} is no Id[]")
        return value

    def mapping(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        return self._typed(name, dict, default, nullable, "object")

    def objects(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        value = self._typed(name, list, default, nullable, "list of objects")
        if isinstance(value, list) and not all(isinstance(each, dict) for each in value):
            raise self.fault(f"{name} is no list of objects")
        return value

    def utc_date(self, name: str, default: Any = _MISSING, *, nullable: bool = False) -> Any:
        """Seconds since the epoch (RFC 8620 section 1.4)."""
        value = self._typed(name, str, default, nullable, "UTCDate")
        if not isinstance(value, str):
            return value
        seconds = parse_utc_date(value)
        if seconds is None:
            raise self.fault(f"{name} is no UTCDate")
        return seconds

    def rest(self) -> dict[str, Any]:
        """All that nobody took."""
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        """Raises for what nobody took."""
        if self._left:
            raise self.fault(f"{sorted(self._left)[0]} is not known")


def parse_utc_date(text: str) -> float | None:
    """RFC 8620 section 1.4: RFC 3339 in capitals, in UTC; a fraction only where it is not zero."""
    if not text.endswith("Z") or len(text) > 40 or not text.isascii() or text[10:11] != "T":
        return None
    whole, dot, fraction = text[:-1].partition(".")
    if dot and not fraction.isdigit():
        return None
    try:
        moment = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() + (float(f"0.{fraction}") if dot else 0.0)


def utc_date(seconds: float) -> str:
    """A UTCDate, in whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
