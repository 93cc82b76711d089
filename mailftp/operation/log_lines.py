"""Log events as lines: text for people, JSON for machines. What a client sent can neither end nor forge one.

Every character that is not printable is written as an escape, in every field of every event, Twisted's
own included: line ends, U+2028, terminal sequences, bidirectional controls, surrogates. In text, a value
that holds more than plain characters stands in quotes with its quotes and backslashes escaped, so a
value never looks like another field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

#: Characters of one value that are kept: no client makes a line of a megabyte.
LONGEST_VALUE = 1000
#: A traceback has this many lines at most, the last ones.
LONGEST_TRACEBACK = 100

_PLAIN = re.compile(r"[A-Za-z0-9_.:@/\[\]<>+%*,;!?$&(){}~^|'-]+", re.ASCII)

LEVELS: Mapping[str, int] = {"debug": 0, "info": 1, "warn": 2, "error": 3, "critical": 4}


def escaped(text: str) -> str:
    """Text with nothing in it that is not printable."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def as_text(value: object) -> str:
    """A field's value, cut to its longest."""
    if isinstance(value, str | int | None):
        text = str(value)
    elif isinstance(value, bytes | bytearray | memoryview):
        text = bytes(value[:LONGEST_VALUE]).decode("utf-8", "backslashreplace")
    elif isinstance(value, tuple | list | set | frozenset):
        items = sorted(map(str, value)) if isinstance(value, set | frozenset) else map(str, value)
        text = ",".join(items)
    else:
        text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def quoted(value: object) -> str:
    """A value as it stands behind `name=`."""
    text = as_text(value)
    if _PLAIN.fullmatch(text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped(inner)}"'


def _stamp(event: LogEvent) -> str:
    second, part = divmod(float(event.get("log_time", 0.0)), 1.0)
    return f"{_second(int(second))}.{int(part * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """A busy server writes thousands of lines in it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _level(event: LogEvent) -> str:
    name = str(getattr(event.get("log_level"), "name", "info"))
    if name == "info" and event.get("log_namespace") == "log_legacy":
        # Twisted's every port that opens and closes, the resolver's sockets among them: our own events say
        # what an operator wants to know of it.
        return "debug"
    return name


def _fields(event: LogEvent) -> Mapping[str, object]:
    fields = event.get("mailftp_fields")
    return fields if isinstance(fields, Mapping) else {}


def _traceback(event: LogEvent) -> list[str]:
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return []
    # Split at line feeds alone: whatever else a message of an exception holds is escaped.
    lines = failure.getTraceback().rstrip("\n").split("\n")[-LONGEST_TRACEBACK:]
    return [escaped(line[:LONGEST_VALUE]) for line in lines]


def text_line(event: LogEvent) -> str:
    """`TIME LEVEL CONTEXT EVENT name=value ...`; a traceback's lines are indented by a bar."""
    head = f"{_stamp(event)} {_level(event):<8} "
    if "mailftp_event" in event:
        words = [quoted(event.get("mailftp_context", "-")), escaped(str(event["mailftp_event"]))]
        words += [f"{escaped(name)}={quoted(value)}" for name, value in _fields(event).items()]
        line = head + " ".join(words)
    else:
        namespace = quoted(event.get("log_namespace", "-"))
        line = f"{head}{namespace} {escaped(_plain_text(event))}"
    return "\n".join([line, *(f"    | {line}" for line in _traceback(event))]) + "\n"


def _plain_text(event: LogEvent) -> str:
    """The words of an event that is not of the journal: Twisted's, a library's, a plain message."""
    return formatEvent(event)[: 4 * LONGEST_VALUE].strip()


def json_line(event: LogEvent) -> str:
    """One JSON object: time, level, context, event, and a member for each field."""
    entry: dict[str, Any] = {"time": _stamp(event), "level": _level(event)}
    if "mailftp_event" in event:
        entry["context"] = as_text(event.get("mailftp_context", "-"))
        entry["event"] = as_text(event["mailftp_event"])
        for name, value in _fields(event).items():
            # A field cannot take the place of the event's own members.
            entry[f"{name}_" if name in _RESERVED else name] = _native(value)
    else:
        entry["context"] = as_text(event.get("log_namespace", "-"))
        entry["event"] = "message"
        entry["text"] = _plain_text(event)
    traceback = _traceback(event)
    if traceback:
        entry["traceback"] = traceback
    # ASCII only: no reader can take U+2028 or U+0085 for the end of a line.
    return json.dumps(entry, ensure_ascii=True, allow_nan=False) + "\n"


_RESERVED = frozenset({"time", "level", "context", "event", "text", "traceback"})


def _native(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and abs(value) < 1e300:
        return value
    return as_text(value)


@implementer(ILogObserver)
class LineObserver:
    """Writes events of at least a level, in one of the two forms; both can change while it runs.

    `write` takes text that ends a line.
    """

    def __init__(self, write: Callable[[str], object], level: str = "info", form: str = "text") -> None:
        self._write = write
        self.set(level, form)

    def set(self, level: str, form: str) -> None:
        """`[log] level` and `format`."""
        self._least = LEVELS[level]
        self._render = json_line if form == "json" else text_line

    def __call__(self, event: LogEvent) -> None:
        if LEVELS.get(_level(event), 1) < self._least:
            return
        try:
            line = self._render(event)
        except Exception as fault:
            # A field whose str() raises must not cost the line; its type says where to look.
            broken = {
                "log_time": event.get("log_time", 0.0),
                "log_level": LogLevel.error,
                "mailftp_context": as_text(event.get("mailftp_context", "-")),
                "mailftp_event": "event could not be written",
                "mailftp_fields": {"name": event.get("mailftp_event", ""), "fault": type(fault).__name__},
            }
            line = self._render(broken)
        self._write(line)
