"""`mailftp ftp`: who, kick, metrics; of a running server."""

from __future__ import annotations

import json
from typing import Any

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import become_owner, settings_of
from mailftp.cli.table import amount, table
from mailftp.operation.control import NotRunning, ask
from mailftp.operation.requests import Refused


class WhoOptions(Options):
    synopsis = "Usage: mailftp ftp who [--config FILE] [--json]"
    longdesc = "A line for each FTP session: who it is, from where, and what it does just now."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class KickOptions(Options):
    synopsis = "Usage: mailftp ftp kick (SESSION | ACCOUNT) [--config FILE]"
    longdesc = "End a session, or all sessions of an account. What was uploaded half can be continued."
    optParameters = [CONFIG]

    def parseArgs(self, who: str = "") -> None:
        if not who:
            raise usage.UsageError("who is to go is missing: a session, or an account")
        self["who"] = who


class MetricsOptions(Options):
    synopsis = "Usage: mailftp ftp metrics [--config FILE] [--json]"
    longdesc = "How much of everything there was since the server started."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class FTPOptions(Options):
    synopsis = "Usage: mailftp ftp COMMAND ..."
    subCommands = [
        ["who", None, WhoOptions, "Who is connected, and what they do."],
        ["kick", None, KickOptions, "End a session, or those of an account."],
        ["metrics", None, MetricsOptions, "Counters of logins, transfers and changes."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: who, kick or metrics")


def run_ftp(options: FTPOptions) -> None:
    chosen = options.subOptions
    request: dict[str, Any] = {"do": f"ftp {options.subCommand}"}
    if options.subCommand == "kick":
        request["who"] = chosen["who"]
    answer = _ask(chosen["config"], request)
    if options.subCommand == "kick":
        print(f"{len(answer)} ended")
    elif chosen["json"]:
        print(json.dumps(answer, indent=2))
    elif options.subCommand == "metrics":
        print(table(("what", "number"), [(name, str(number)) for name, number in answer.items()]), end="")
    else:
        head = ("session", "account", "peer", "since", "silent", "command", "path", "moved", "rate", "done")
        print(table(head, [_row(one) for one in answer]), end="")


def _ask(config: str, request: dict[str, Any]) -> Any:
    settings = settings_of(config)
    become_owner(settings.data)
    try:
        return ask(settings.data, request)
    except NotRunning:
        raise CommandFailed(f"no server runs on {settings.data}")
    except Refused as refused:
        raise CommandFailed(str(refused))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    moving = "direction" in one
    percent = one.get("percent")
    return (
        one["session"],
        one["account"] or "-",
        one["peer"],
        f"{one['since']:.0f} s",
        f"{one['silent']:.0f} s",
        one["command"] or "-",
        one["path"] if moving else "-",
        amount(one["octets"]) if moving else "-",
        f"{amount(one['rate'])}/s" if moving else "-",
        f"{percent:.0f} %" if percent is not None else "-",
    )
