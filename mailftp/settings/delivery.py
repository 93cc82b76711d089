"""Kinds of values that only `[delivery]` has."""

from __future__ import annotations

import re

from mailftp.settings.values import Kind, Place, Wrong, host_and_port, matching, shown

#: Whose mail a rule is for.
addressed = matching(
    r"<>|[^@\s<>]{1,64}@[^@\s<>]{1,255}|[^@\s<>]{1,255}", 'a domain or an address, "*" in it for anything'
)

_WORD = re.compile(r"mx|refuse|plugin:[\w.-]{1,63}", re.ASCII)
_PORT = re.compile(r".*:[0-9]+", re.ASCII)


def way() -> Kind[str]:
    """Where a rule sends mail."""
    hosts = host_and_port(schemes=("lmtp",))

    def read(value: object, place: Place) -> str:
        if isinstance(value, str) and _WORD.fullmatch(value):
            return value
        host = hosts.read(value, place)
        if not _PORT.fullmatch(host):
            raise Wrong(f"{shown(host)} has no port")
        return host

    return Kind('"mx", "HOST:PORT", "lmtp:HOST:PORT", "refuse" or "plugin:NAME"', read)
