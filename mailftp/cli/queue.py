"""`mailftp queue`: list, show, retry, hold, release, drop."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import amount, table, when
from mailftp.operation.admin import LARGEST_LIST
from mailftp.operation.log_lines import escaped
from mailftp.settings import Settings
from mailftp.store.records import RecipientState

STATES = tuple(state.value for state in RecipientState)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class ListOptions(Options):
    synopsis = "Usage: mailftp queue list [--config FILE] [--json] [--state STATE] [--sender S] ..."
    longdesc = "Oldest first; what waits and what is held unless --state says otherwise."
    optParameters = [
        CONFIG,
        ["sender", None, "", "Of this sender only."],
        ["recipient", None, "", "To this recipient only."],
        ["domain", None, "", "To this domain only."],
        ["limit", None, "1000", "At most this many messages."],
    ]
    optFlags = [["json", None, "As JSON."]]

    def __init__(self) -> None:
        super().__init__()
        self["states"] = []

    def opt_state(self, state: str) -> None:
        """Recipients in this state: waiting, held, delivered, failed or dropped; may repeat."""
        if state not in STATES:
            raise usage.UsageError(f"--state: {state} is none of {', '.join(STATES)}")
        self["states"].append(state)

    def postOptions(self) -> None:
        limit = self["limit"]
        if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= LARGEST_LIST:
            raise usage.UsageError(f"--limit: {limit} is no number from 1 to {LARGEST_LIST}")


def _numbers(given: tuple[str, ...]) -> list[int]:
    for number in given:
        if not _NUMBER.fullmatch(number):
            raise usage.UsageError(f"{number} is no number of a message; `mailftp queue list` shows them")
    return [int(number) for number in given]


class ShowOptions(Options):
    synopsis = "Usage: mailftp queue show ID ... [--config FILE] [--json]"
    longdesc = "A message's recipients and every attempt, with what was said."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, *ids: str) -> None:
        if not ids:
            raise usage.UsageError("the number of a message is missing; `mailftp queue list` shows them")
        self["ids"] = _numbers(ids)


class _ActOptions(Options):
    optParameters = [CONFIG]
    optFlags = [["all", None, "All messages that wait or are held."]]

    def parseArgs(self, *ids: str) -> None:
        self["ids"] = _numbers(ids)

    def postOptions(self) -> None:
        if bool(self["ids"]) == bool(self["all"]):
            raise usage.UsageError("give either numbers of messages or --all")


class RetryOptions(_ActOptions):
    synopsis = "Usage: mailftp queue retry (ID ... | --all) [--config FILE]"
    longdesc = "Attempt delivery now."


class HoldOptions(_ActOptions):
    synopsis = "Usage: mailftp queue hold (ID ... | --all) [--config FILE]"
    longdesc = "Attempt nothing until it is released."


class ReleaseOptions(_ActOptions):
    synopsis = "Usage: mailftp queue release (ID ... | --all) [--config FILE]"
    longdesc = "Attempt delivery of what was held."


class DropOptions(_ActOptions):
    synopsis = "Usage: mailftp queue drop (ID ... | --all) [--config FILE]"
    longdesc = "Give up without telling the sender."


class QueueOptions(Options):
    synopsis = "Usage: mailftp queue COMMAND ..."
    subCommands = [
        ["list", None, ListOptions, "List the queue."],
        ["show", None, ShowOptions, "Show a message's recipients and attempts."],
        ["retry", None, RetryOptions, "Attempt delivery now."],
        ["hold", None, HoldOptions, "Attempt nothing until it is released."],
        ["release", None, ReleaseOptions, "Attempt delivery of what was held."],
        ["drop", None, DropOptions, "Give up without telling the sender."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: list, show, retry, hold, release or drop")


def run_queue(options: QueueOptions) -> None:
    command, given = str(options.subCommand), options.subOptions
    settings = settings_of(given["config"])
    if command == "list":
        _list(settings, given)
    elif command == "show":
        _show(settings, given)
    else:
        _act(settings, command, given)


def _list(settings: Settings, options: Options) -> None:
    asked = {name: options[name] for name in ("sender", "recipient", "domain", "states")}
    messages: list[dict[str, Any]] = request(
        settings, {"do": "queue list", **asked, "limit": int(options["limit"])}
    )
    if options["json"]:
        print(json.dumps(messages, indent=2))
        return
    rows = [
        (
            str(message["id"]),
            when(message["accepted"]),
            amount(message["size"]),
            message["sender"] or "<>",
            recipient["address"],
            _state(recipient),
            recipient["last_error"],
        )
        for message in messages
        for recipient in message["recipients"]
    ]
    print(table(("id", "accepted", "size", "from", "to", "state", "last error"), rows), end="")


def _state(recipient: dict[str, Any]) -> str:
    if recipient["in_progress"]:
        return "in progress"
    if recipient["state"] == "waiting":
        seconds = max(0, round(recipient["next_attempt"] - time.time()))
        return f"attempt {recipient['attempt']} in {seconds} s"
    return str(recipient["state"])


def _show(settings: Settings, options: Options) -> None:
    messages: list[dict[str, Any]] = request(settings, {"do": "queue show", "ids": options["ids"]})
    if options["json"]:
        print(json.dumps(messages, indent=2))
        return
    for message in messages:
        print(f"message {message['id']}, {amount(message['size'])}, accepted {when(message['accepted'])}")
        print(escaped(f"from {message['sender'] or '<>'}, by {message['context'] or 'this server'}"))
        for recipient in message["recipients"]:
            error = f": {recipient['last_error']}" if recipient["last_error"] else ""
            print(escaped(f"to {recipient['address']}, {_state(recipient)}{error}"))
        for attempt in message["attempts"]:
            head = f"attempt {attempt['number']} for {attempt['recipient']} at {when(attempt['started'])}"
            print(escaped(f"{head}, {attempt['remote'] or 'nobody reached'}: {attempt['outcome']}"))
            for line in attempt["dialogue"].splitlines():
                print(f"    {escaped(line)}")


def _act(settings: Settings, command: str, options: Options) -> None:
    ids = options["ids"]
    if options["all"]:
        listed = request(settings, {"do": "queue list", "limit": LARGEST_LIST})
        ids = [message["id"] for message in listed]
        if not ids:
            raise CommandFailed("the queue is empty")
    answer = request(settings, {"do": f"queue {command}", "ids": ids})
    count = answer["recipients"]
    print(f"{command}: {count} recipient{'' if count == 1 else 's'}")
