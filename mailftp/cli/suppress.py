"""`mailftp suppress`: list, add, remove."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import table, when


class ListOptions(Options):
    synopsis = "Usage: mailftp suppress list [--config FILE] [--json]"
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class AddOptions(Options):
    synopsis = "Usage: mailftp suppress add ADDRESS [--reason TEXT] [--config FILE] [--json]"
    longdesc = "Take no more mail for an address elsewhere, until it is removed from the list."
    optParameters = [CONFIG, ["reason", None, "", "What whoever writes to it is told."]]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, address: str) -> None:  # type: ignore[override]  # called with what is there
        self["address"] = address


class RemoveOptions(Options):
    synopsis = "Usage: mailftp suppress remove ADDRESS [--config FILE] [--json]"
    longdesc = "Take mail for it again; its failures are forgotten."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, address: str) -> None:  # type: ignore[override]  # likewise
        self["address"] = address


class SuppressOptions(Options):
    synopsis = "Usage: mailftp suppress COMMAND ..."
    subCommands = [
        ["list", None, ListOptions, "List the addresses that no mail is taken for."],
        ["add", None, AddOptions, "Put an address on the list."],
        ["remove", None, RemoveOptions, "Take an address off the list."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: list, add or remove")


def run_suppress(options: SuppressOptions) -> None:
    _RUN[str(options.subCommand)](options.subOptions)


def list_suppressed(options: ListOptions) -> None:
    listed = request(settings_of(options["config"]), {"do": "suppress list"})
    if options["json"]:
        print(json.dumps(listed, indent=2))
        return
    rows = [
        (
            each["address"],
            when(each["since"]),
            "removed" if each["until"] is None else when(each["until"]),
            str(each["failures"]),
            each["reason"],
        )
        for each in listed
    ]
    print(table(("address", "since", "until", "failures", "reason"), rows), end="")


def _change(options: Any, members: dict[str, object], said: str) -> None:
    changed = request(settings_of(options["config"]), {"address": options["address"], **members})
    print(json.dumps(changed, indent=2) if options["json"] else f"{changed['address']} {said}")


def add(options: AddOptions) -> None:
    _change(options, {"do": "suppress add", "reason": options["reason"]}, "is suppressed")


def remove(options: RemoveOptions) -> None:
    _change(options, {"do": "suppress remove"}, "is suppressed no more")


_RUN: dict[str, Callable[[Any], None]] = {"list": list_suppressed, "add": add, "remove": remove}
