"""`mailftp account app-password`: add, list, remove."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.python import usage

from mailftp.accounts.app_passwords import generate_app_password
from mailftp.accounts.passwords import make_verifier
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import table, when
from mailftp.operation.verifiers import verifier_to_json
from mailftp.store.records import ScramKeys, Verifier


class AddOptions(Options):
    synopsis = (
        "Usage: mailftp account app-password add ADDRESS [--name NAME] [--protocols ftp,imap] [--read-only]"
        " [--config FILE] [--json]"
    )
    longdesc = "Make a password for one program; it is printed once."
    optParameters = [
        CONFIG,
        ["name", None, "", "What it is for, for people: phone, scanner."],
        ["protocols", None, "", "What it opens: some of ftp, http, imap, pop3, smtp; without it, all."],
    ]
    optFlags = [
        ["read-only", None, "With it FTP changes nothing."],
        ["json", None, "As JSON."],
    ]

    def parseArgs(self, address: str) -> None:  # type: ignore[override]  # called with what is there
        self["address"] = address


class ListOptions(Options):
    synopsis = "Usage: mailftp account app-password list [ADDRESS] [--config FILE] [--json]"
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, address: str = "") -> None:
        self["address"] = address


class RemoveOptions(Options):
    synopsis = "Usage: mailftp account app-password remove ADDRESS (NAME | --all) [--config FILE] [--json]"
    longdesc = "Remove app passwords; sessions that they opened are closed."
    optParameters = [CONFIG]
    optFlags = [["all", None, "All of the account's."], ["json", None, "As JSON."]]

    def parseArgs(self, address: str, name: str = "") -> None:  # type: ignore[override]  # what is there
        self["address"], self["name"] = address, name

    def postOptions(self) -> None:
        if bool(self["name"]) == bool(self["all"]):
            raise usage.UsageError("say which: NAME, or --all")


class AppPasswordOptions(Options):
    synopsis = "Usage: mailftp account app-password COMMAND ..."
    subCommands = [
        ["add", None, AddOptions, "Make a password for one program."],
        ["list", None, ListOptions, "List them, and when each was last used."],
        ["remove", None, RemoveOptions, "Remove them and close their sessions."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: add, list or remove")


def run_app_password(options: AppPasswordOptions) -> None:
    _RUN[str(options.subCommand)](options.subOptions)


def salt_of(prepared: dict[str, Any]) -> ScramKeys | None:
    """What SCRAM keys of the account have to go by, of the answer to "app-password prepare"."""
    if prepared["salt"] is None:
        return None
    return ScramKeys(bytes.fromhex(prepared["salt"]), int(prepared["iterations"]), b"", b"")


def add(options: AddOptions) -> None:
    settings = settings_of(options["config"])
    prepared = request(settings, {"do": "app-password prepare", "address": options["address"]})
    selector, password = generate_app_password(prepared["selectors"])
    like = salt_of(prepared)
    verifier = make_verifier(password, settings.auth.argon2, like)
    if like is None:
        verifier = Verifier(verifier.password)
    members = {
        "do": "app-password add",
        "address": options["address"],
        "name": options["name"],
        "protocols": [text.strip() for text in options["protocols"].split(",") if text.strip()],
        "read_only": bool(options["read-only"]),
        "selector": selector,
        "verifier": verifier_to_json(verifier),
    }
    made = request(settings, members)
    if options["json"]:
        print(json.dumps({**made, "password": password}, indent=2))
        return
    print(f"added {made['name']} of {made['address']}, for {_meant_for(made)}")
    print(f"password: {password}")


def _meant_for(app_password: dict[str, Any]) -> str:
    words = ", ".join(app_password["protocols"]) or "everything"
    return f"{words} (read-only)" if app_password["read_only"] else words


def list_app_passwords(options: ListOptions) -> None:
    members = {"do": "app-password list", "address": options["address"]}
    listed = request(settings_of(options["config"]), members)
    if options["json"]:
        print(json.dumps(listed, indent=2))
        return
    rows = [
        (
            each["address"],
            each["name"],
            _meant_for(each),
            "never" if each["last_used"] is None else when(each["last_used"]),
            when(each["created"]),
        )
        for each in listed
    ]
    print(table(("address", "name", "for", "last used", "made"), rows), end="")


def remove(options: RemoveOptions) -> None:
    members = {
        "do": "app-password remove",
        "address": options["address"],
        "name": options["name"],
        "all": bool(options["all"]),
    }
    removed = request(settings_of(options["config"]), members)
    if options["json"]:
        print(json.dumps(removed, indent=2))
        return
    for each in removed:
        print(f"removed {each['name']} of {each['address']}")


_RUN: dict[str, Callable[[Any], None]] = {"add": add, "list": list_app_passwords, "remove": remove}
