"""The table of commands: what may be said, by name. A command that is not here is answered 500."""

from __future__ import annotations

from types import MappingProxyType

from mailftp.ftp import (
    access,
    checksums,
    facts,
    features,
    listing,
    navigation,
    parameters,
    site,
    transfer,
    trees,
)

_ROOMS = (
    access,
    navigation,
    parameters,
    transfer,
    listing,
    facts,
    trees,
    checksums,
    site,
    features,
)

COMMANDS = MappingProxyType({command.name: command for room in _ROOMS for command in room.COMMANDS})
