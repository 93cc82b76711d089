"""All commands by their names: each group of them is a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.imap import (
    append,
    authentication,
    compressing,
    fetch,
    idling,
    listing,
    mailboxes,
    metadata,
    notifying,
    quota,
    search,
    selecting,
    sort,
    storing,
    thread,
)
from mailftp.imap.commands import Command, MessageCommand

_GROUPS: tuple[tuple[Command[Any] | MessageCommand, ...], ...] = (
    authentication.COMMANDS,
    selecting.COMMANDS,
    fetch.COMMANDS,
    append.COMMANDS,
    compressing.COMMANDS,
    listing.COMMANDS,
    mailboxes.COMMANDS,
    storing.COMMANDS,
    metadata.COMMANDS,
    quota.COMMANDS,
    notifying.COMMANDS,
    search.COMMANDS,
    sort.COMMANDS,
    thread.COMMANDS,
    idling.COMMANDS,
)

#: Name in capitals, "UID " before it where it has that form -> command.
COMMANDS: Mapping[bytes, Command[Any] | MessageCommand] = {
    command.name: command for group in _GROUPS for command in group
}
