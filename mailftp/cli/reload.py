"""`mailftp reload`: the running server takes its settings and certificates anew."""

from __future__ import annotations

import sys

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import become_owner, settings_of
from mailftp.operation.admin import Refused
from mailftp.operation.control import NotRunning, ask


class ReloadOptions(Options):
    synopsis = "Usage: mailftp reload [--config FILE]"
    longdesc = "No connection is dropped. With a fault in the file the server keeps what it has."
    optParameters = [CONFIG]


def reload(options: ReloadOptions) -> None:
    settings = settings_of(options["config"])
    become_owner(settings.data)
    try:
        notes: list[str] = ask(settings.data, {"do": "reload"})
    except NotRunning:
        raise CommandFailed(f"no server runs on {settings.data}")
    except Refused as refused:
        raise CommandFailed(str(refused))
    for note in notes:
        print(f"notice: {note}", file=sys.stderr)
    print("reloaded")
