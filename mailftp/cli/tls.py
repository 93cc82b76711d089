"""`mailftp tls`: list, forget."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import table, when


class ListOptions(Options):
    synopsis = "Usage: mailftp tls list [--config FILE] [--json]"
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class ForgetOptions(Options):
    synopsis = "Usage: mailftp tls forget DOMAIN [--config FILE] [--json]"
    longdesc = "Let mail for a domain leave in the clear again where its hosts offer no STARTTLS."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, domain: str) -> None:  # type: ignore[override]  # called with what is there
        self["domain"] = domain


class TLSOptions(Options):
    synopsis = "Usage: mailftp tls COMMAND ..."
    subCommands = [
        ["list", None, ListOptions, "List the domains that took mail over STARTTLS."],
        ["forget", None, ForgetOptions, "Insist on STARTTLS for a domain no more."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: list or forget")


def run_tls(options: TLSOptions) -> None:
    _RUN[str(options.subCommand)](options.subOptions)


def list_tls(options: ListOptions) -> None:
    listed = request(settings_of(options["config"]), {"do": "tls list"})
    if options["json"]:
        print(json.dumps(listed, indent=2))
        return
    rows = [
        (
            each["domain"],
            when(each["since"]),
            "off" if each["until"] is None else when(each["until"]),
            each["host"],
        )
        for each in listed
    ]
    print(table(("domain", "since", "until", "host"), rows), end="")


def forget(options: ForgetOptions) -> None:
    members = {"do": "tls forget", "domain": options["domain"]}
    forgotten = request(settings_of(options["config"]), members)
    said = f"mail for {forgotten['domain']} may leave without STARTTLS"
    print(json.dumps(forgotten, indent=2) if options["json"] else said)


_RUN: dict[str, Callable[[Any], None]] = {"list": list_tls, "forget": forget}
