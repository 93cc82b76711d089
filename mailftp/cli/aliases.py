"""`mailftp alias`: add, list, remove, set, grant, revoke."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import table

_OWNER = ["owner", None, None, "Make it a list: reports about its mail go to this address."]


class AddOptions(Options):
    synopsis = "Usage: mailftp alias add ADDRESS TARGET ... [--keep] [--owner ADDRESS] [--members-only]"
    longdesc = (
        "Lead an address to others, here or elsewhere; more targets are added to those that it has. ADDRESS"
        " is an account's for forwarding, @domain for all names of a domain that nothing else has; the target"
        " @domain is the same name at another domain."
    )
    optParameters = [CONFIG, _OWNER]
    optFlags = [
        ["keep", None, "The account of that address gets a copy."],
        ["members-only", None, "Only its members and its owner may send to the list."],
    ]

    def parseArgs(self, address: str, *targets: str) -> None:  # type: ignore[override]  # what is there
        if not targets:
            raise usage.UsageError("say where the address leads to")
        self["address"], self["targets"] = address, list(targets)


class SetOptions(Options):
    synopsis = (
        "Usage: mailftp alias set ADDRESS [--keep | --no-keep] [--owner ADDRESS | --no-owner]"
        " [--members-only | --anyone]"
    )
    optParameters = [CONFIG, _OWNER]
    optFlags = [
        ["keep", None, "The account of that address gets a copy."],
        ["no-keep", None, "It gets none."],
        ["no-owner", None, "It is no list."],
        ["members-only", None, "Only its members and its owner may send to the list."],
        ["anyone", None, "Anybody may."],
    ]

    def parseArgs(self, address: str) -> None:  # type: ignore[override]  # called with what is there
        self["address"] = address

    def postOptions(self) -> None:
        pairs = (("keep", "no-keep"), ("owner", "no-owner"), ("members-only", "anyone"))
        for one, other in pairs:
            if self[one] and self[other]:
                raise usage.UsageError(f"--{one} and --{other} exclude each other")
        if not any(self[option] for pair in pairs for option in pair):
            raise usage.UsageError("nothing to set")


class RemoveOptions(Options):
    synopsis = "Usage: mailftp alias remove ADDRESS [TARGET ...] [--config FILE]"
    longdesc = "Remove an alias, or some of its targets; with the last of them it goes too."
    optParameters = [CONFIG]

    def parseArgs(self, address: str, *targets: str) -> None:  # type: ignore[override]  # what is there
        self["address"], self["targets"] = address, list(targets)


class ListOptions(Options):
    synopsis = "Usage: mailftp alias list [--config FILE] [--json]"
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class _GrantedOptions(Options):
    optParameters = [CONFIG]

    def parseArgs(self, address: str, account: str) -> None:  # type: ignore[override]  # what is there
        self["address"], self["account"] = address, account


class GrantOptions(_GrantedOptions):
    synopsis = "Usage: mailftp alias grant ADDRESS ACCOUNT [--config FILE]"
    longdesc = "Let an account send as an address beside its own, or as any name of @domain."


class RevokeOptions(_GrantedOptions):
    synopsis = "Usage: mailftp alias revoke ADDRESS ACCOUNT [--config FILE]"
    longdesc = "Take back what was granted."


class AliasOptions(Options):
    synopsis = "Usage: mailftp alias COMMAND ..."
    subCommands = [
        ["add", None, AddOptions, "Lead an address to others."],
        ["list", None, ListOptions, "List the aliases and what was granted."],
        ["remove", None, RemoveOptions, "Remove an alias, or some of its targets."],
        ["set", None, SetOptions, "Change what an alias does."],
        ["grant", None, GrantOptions, "Let an account send as an address."],
        ["revoke", None, RevokeOptions, "Take that back."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: add, list, remove, set, grant or revoke")


def run_alias(options: AliasOptions) -> None:
    _RUN[str(options.subCommand)](options.subOptions)


def _ask(command: str, options: Options, **members: object) -> Any:
    given = {name: options[name] for name in ("address", "targets", "account") if name in options}
    return request(settings_of(options["config"]), {"do": f"alias {command}", **given, **members})


def _choices(options: Options) -> dict[str, object]:
    """What is said of the alias; what is not said stays as it is."""
    said: dict[str, object] = {}
    for name, yes, no in (("keep", "keep", "no-keep"), ("members_only", "members-only", "anyone")):
        if options[yes] or options.get(no):
            said[name] = bool(options[yes])
    if options["owner"] is not None or options.get("no-owner"):
        said["owner"] = options["owner"] or ""
    return said


def add(options: AddOptions) -> None:
    _tell(_ask("add", options, **_choices(options)))


def set_alias(options: SetOptions) -> None:
    _tell(_ask("set", options, **_choices(options)))


def _tell(alias: dict[str, Any]) -> None:
    print(f"{alias['address']} leads to {_leads_to(alias)}")


def _leads_to(alias: dict[str, Any]) -> str:
    kept = ["itself"] if alias["keep"] else []
    return ", ".join([*kept, *alias["targets"]])


def remove(options: RemoveOptions) -> None:
    was = _ask("remove", options)
    gone = ", ".join(options["targets"]) if options["targets"] else _leads_to(was)
    print(f"{was['address']} no longer leads to {gone}")


def list_aliases(options: ListOptions) -> None:
    listed = _ask("list", options)
    if options["json"]:
        print(json.dumps(listed, indent=2))
        return
    rows = [(a["address"], a["kind"], _leads_to(a), _terms(a)) for a in listed["aliases"]]
    print(table(("address", "kind", "leads to", ""), rows), end="")
    if listed["grants"]:
        grants = [(grant["account"], grant["address"]) for grant in listed["grants"]]
        print()
        print(table(("account", "may send as"), grants), end="")


def _terms(alias: dict[str, Any]) -> str:
    terms = [f"owner {alias['owner']}"] if alias["owner"] else []
    return ", ".join([*terms, *(["members only"] if alias["members_only"] else [])])


def grant(options: GrantOptions) -> None:
    made = _ask("grant", options)
    print(f"{made['account']} may send as {made['address']}")


def revoke(options: RevokeOptions) -> None:
    taken = _ask("revoke", options)
    print(f"{taken['account']} may no longer send as {taken['address']}")


_RUN: dict[str, Callable[[Any], None]] = {
    "add": add,
    "list": list_aliases,
    "remove": remove,
    "set": set_alias,
    "grant": grant,
    "revoke": revoke,
}
