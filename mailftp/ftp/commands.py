"""The table of commands: what may be said, by name. A command that is not here is answered 500."""

from __future__ import annotations

from types import MappingProxyType

from mailftp.ftp import access, features, listing, navigation, parameters, transfer

COMMANDS = MappingProxyType(
    {
        command.name: command
        for room in (access, navigation, parameters, transfer, listing, features)
        for command in room.COMMANDS
    }
)
