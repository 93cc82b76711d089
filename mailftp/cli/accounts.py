"""`mailftp account`: add, list, remove, passwd, set, app-password, uidl."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.python import usage

from mailftp.accounts.passwords import PasswordFault, generate_password, make_verifier
from mailftp.cli.app_passwords import AppPasswordOptions, run_app_password, salt_of
from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import amount, table, when
from mailftp.cli.uidls import UidlOptions, set_uidls
from mailftp.files.homes import folder_name
from mailftp.operation.admin import Refused, account_address, verifier_to_json
from mailftp.settings import Settings
from mailftp.settings.values import Kind, Place, Wrong, number_or_unlimited, size_or_unlimited
from mailftp.store.quota import UNLIMITED
from mailftp.store.records import ScramKeys

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)

#: Octets of a password file that are read; a password is shorter.
LARGEST_PASSWORD = 4096


class _OneAccount(Options):
    optParameters = [CONFIG]

    def parseArgs(self, address: str) -> None:  # type: ignore[override]  # called with what is there
        self["address"] = address


class _WithPassword(_OneAccount):
    optParameters = [
        CONFIG,
        ["password-file", None, None, "A file whose first line is the password; - is standard input."],
    ]


class AddOptions(_WithPassword):
    synopsis = "Usage: mailftp account add ADDRESS [--config FILE] [--password-file FILE]"
    longdesc = "Without --password-file a password is made and printed once."


class PasswordOptions(_WithPassword):
    synopsis = "Usage: mailftp account passwd ADDRESS [--config FILE] [--password-file FILE]"
    longdesc = (
        "Change a password; its sessions are closed, app passwords stay. Without --password-file one is made"
        " and printed."
    )


class RemoveOptions(_OneAccount):
    synopsis = "Usage: mailftp account remove ADDRESS [--config FILE]"
    longdesc = "Remove an account and its mail; its files are set aside and their place is printed."


class SetOptions(_OneAccount):
    synopsis = (
        "Usage: mailftp account set ADDRESS [--mail-quota SIZE] [--message-quota NUMBER]"
        " [--files-quota SIZE]"
        " [--daily-messages NUMBER] [--daily-new-recipients NUMBER] [--file-sent | --no-file-sent]"
        " [--disable | --enable]"
    )
    longdesc = (
        'A quota is a size such as "2GB", "unlimited", or "default" for what [quota] says; a number can be'
        ' "unlimited", or "default" for what [submission] says.'
    )
    optParameters = [
        CONFIG,
        ["mail-quota", None, None, "What the account's mail may take."],
        ["message-quota", None, None, "How many messages the account may have."],
        ["files-quota", None, None, "What the account's files may take."],
        ["daily-messages", None, None, "Messages to other domains in a day."],
        [
            "daily-new-recipients",
            None,
            None,
            "New addresses elsewhere in a day.",
        ],
    ]
    optFlags = [
        ["file-sent", None, "File a copy of what it submits in Sent."],
        ["no-file-sent", None, "Leave that to its mail program."],
        ["disable", None, "Refuse its logins and its mail, and close its sessions."],
        ["enable", None, "Allow its logins again."],
    ]

    def postOptions(self) -> None:
        for one, other in (("disable", "enable"), ("file-sent", "no-file-sent")):
            if self[one] and self[other]:
                raise usage.UsageError(f"--{one} and --{other} exclude each other")
        names = [name for name, *_ in (*self.optFlags, *self.optParameters) if name != "config"]
        if not any(self[name] for name in names):
            raise usage.UsageError(f"nothing to set: give one of {', '.join(f'--{name}' for name in names)}")


class ListOptions(Options):
    synopsis = "Usage: mailftp account list [--config FILE] [--json]"
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]


class AccountOptions(Options):
    synopsis = "Usage: mailftp account COMMAND ..."
    subCommands = [
        ["add", None, AddOptions, "Add an account."],
        ["list", None, ListOptions, "List the accounts."],
        ["remove", None, RemoveOptions, "Remove an account and its mail."],
        ["passwd", None, PasswordOptions, "Change a password."],
        ["set", None, SetOptions, "Set quotas; disable or enable."],
        ["app-password", None, AppPasswordOptions, "Passwords for one program each."],
        ["uidl", None, UidlOptions, "Keep the POP3 identifiers of another server."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError(
                "a command is missing: add, list, remove, passwd, set, app-password or uidl"
            )


def run_account(options: AccountOptions) -> None:
    _RUN[str(options.subCommand)](options.subOptions)


def _password(options: Options) -> tuple[str, bool]:
    """(password, whether it was made here)."""
    file = options["password-file"]
    if file is None:
        return generate_password(), True
    try:
        if file == "-":
            octets = sys.stdin.buffer.readline(LARGEST_PASSWORD)
        else:
            with Path(file).open("rb") as stream:
                octets = stream.readline(LARGEST_PASSWORD)
    except OSError as fault:
        raise CommandFailed(f"{file}: {fault.strerror}")
    octets = octets.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return octets.decode(), False
    except UnicodeDecodeError:
        raise CommandFailed("the password is not UTF-8")


def _checked(settings: Settings, text: str) -> str:
    """The address, before a password is asked for or made. Raises CommandFailed."""
    try:
        return account_address(settings, text).key
    except Refused as refused:
        raise CommandFailed(str(refused))


def _with_password(do: str, options: Options, done: str) -> None:
    settings = settings_of(options["config"])
    address = _checked(settings, options["address"])
    password, made = _password(options)
    like = _salt(settings, address) if do == "account passwd" else None
    try:
        verifier = make_verifier(password, settings.auth.argon2, like)
    except PasswordFault as fault:
        raise CommandFailed(f"this cannot be a password: {fault}")
    request(settings, {"do": do, "address": address, "verifier": verifier_to_json(verifier)})
    print(f"{done} {address}")
    if made:
        print(f"password: {password}")


def _salt(settings: Settings, address: str) -> ScramKeys | None:
    """Where there are app passwords the new one keeps the salt: SCRAM shows one for all of them."""
    prepared = request(settings, {"do": "app-password prepare", "address": address})
    return salt_of(prepared) if prepared["selectors"] else None


def add(options: AddOptions) -> None:
    _with_password("account add", options, "added")


def passwd(options: PasswordOptions) -> None:
    _with_password("account passwd", options, "changed the password of")


def remove(options: RemoveOptions) -> None:
    settings = settings_of(options["config"])
    account = request(settings, {"do": "account remove", "address": options["address"]})
    print(f"removed {account['address']}")
    aside = _set_aside(settings, account["address"])
    if aside is not None:
        print(f"its files are in {aside}")


def _set_aside(settings: Settings, address: str) -> Path | None:
    """Move the home folder away, so that a later account of that name does not inherit it."""
    local, _, domain = address.rpartition("@")
    home = settings.ftp.root / folder_name(domain) / folder_name(local)
    if not home.is_dir():
        return None
    aside = settings.data / "removed" / folder_name(domain) / f"{folder_name(local)}.{time.time_ns()}"
    try:
        aside.parent.mkdir(0o700, parents=True, exist_ok=True)
        os.rename(home, aside)
    except OSError as fault:
        raise CommandFailed(
            f"its files are still in {home}, and a new account of that name would have them: {fault.strerror}"
        )
    return aside


def set_account(options: SetOptions) -> None:
    changes: dict[str, object] = {}
    for option, name in (("mail-quota", "mail_quota"), ("files-quota", "files_quota")):
        given = options[option]
        if given is not None:
            changes[name] = _quota(option, given, size_or_unlimited())
    if options["message-quota"] is not None:
        changes["message_quota"] = _quota("message-quota", options["message-quota"], number_or_unlimited())
    for option, name in (
        ("daily-messages", "daily_messages"),
        ("daily-new-recipients", "daily_new_recipients"),
    ):
        if options[option] is not None:
            changes[name] = _number(option, options[option])
    if options["disable"] or options["enable"]:
        changes["disabled"] = bool(options["disable"])
    if options["file-sent"] or options["no-file-sent"]:
        changes["file_sent"] = bool(options["file-sent"])
    settings = settings_of(options["config"])
    account = request(settings, {"do": "account set", "address": options["address"], "changes": changes})
    print(f"set {account['address']}")


def _quota(option: str, text: str, kind: Kind[int | None]) -> int | None:
    """None is the default of [quota]; no limit of its own is the largest number that can be kept."""
    if text == "default":
        return None
    try:
        limit = kind.read(int(text) if text.isascii() and text.isdigit() else text, Place("", Path()))
    except Wrong as wrong:
        raise usage.UsageError(f'--{option}: {wrong}; give "default", {kind.wants}')
    return UNLIMITED if limit is None else limit


def _number(option: str, text: str) -> int | None:
    """None is the default of [submission], 0 is no limit."""
    if text in ("default", "unlimited"):
        return None if text == "default" else 0
    if not _NUMBER.fullmatch(text):
        wanted = 'a number from 1 on, "unlimited" or "default"'
        raise usage.UsageError(f"--{option}: {text} has another form; give {wanted}")
    return int(text)


def list_accounts(options: ListOptions) -> None:
    listed: list[dict[str, Any]] = request(settings_of(options["config"]), {"do": "account list"})
    if options["json"]:
        print(json.dumps(listed, indent=2))
        return
    rows = [
        (
            account["address"],
            "disabled" if account["disabled"] else "",
            str(account["messages"]),
            amount(account["mail_used"]),
            _limit(account["mail_quota"], amount),
            _limit(account["message_quota"], str),
            _limit(account["files_quota"], amount),
            when(account["created"]),
        )
        for account in listed
    ]
    heads = ("address", "", "messages", "mail", "mail quota", "message quota", "files quota", "made")
    print(table(heads, rows), end="")


def _limit(quota: int | None, shown: Callable[[int], str]) -> str:
    if quota is None:
        return "default"
    return "unlimited" if quota == UNLIMITED else shown(quota)


_RUN: dict[str, Any] = {
    "add": add,
    "list": list_accounts,
    "remove": remove,
    "passwd": passwd,
    "set": set_account,
    "app-password": run_app_password,
    "uidl": set_uidls,
}
