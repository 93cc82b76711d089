"""`mailftp queue`: list, show, retry, hold, release, drop, bounce, route."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import amount, table, when
from mailftp.operation.control import NotRunning, ask
from mailftp.operation.log_lines import escaped
from mailftp.operation.requests import LARGEST_LIST, Refused
from mailftp.settings import Settings
from mailftp.store.records import RecipientState

STATES = tuple(state.value for state in RecipientState)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


_DURATION = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

#: Seconds between looks at how a flush goes.
LOOK = 1.0


class _ChoosingOptions(Options):
    """Options that say which messages are meant; all that are given must fit."""

    optParameters = [
        CONFIG,
        ["sender", None, "", "Of this sender only; <> is the null sender."],
        ["recipient", None, "", "To this recipient only."],
        ["domain", None, "", "To this domain only."],
        ["error", None, "", "Whose last error has this in it."],
        ["older", None, "", "Accepted at least so long ago: 90s, 30m, 4h, 2d."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["states"] = []

    def opt_state(self, state: str) -> None:
        """Recipients in this state: waiting, held, delivered, failed or dropped; may repeat."""
        if state not in STATES:
            raise usage.UsageError(f"--state: {state} is none of {', '.join(STATES)}")
        self["states"].append(state)

    def postOptions(self) -> None:
        """`chosen` is the filters given, as members of a request."""
        names = ("sender", "recipient", "domain", "error", "states")
        members: dict[str, object] = {name: self[name] for name in names if self[name]}
        if self["older"]:
            match = _DURATION.fullmatch(self["older"])
            if match is None or not int(match[1]):
                raise usage.UsageError(f"--older: {self['older']} is no time such as 90s, 30m, 4h or 2d")
            members["older"] = int(match[1]) * _UNITS[match[2]]
        self["chosen"] = members


class ListOptions(_ChoosingOptions):
    synopsis = "Usage: mailftp queue list [--config FILE] [--json] [--state STATE] [--sender S] ..."
    longdesc = "Oldest first; what waits and what is held unless --state says otherwise."
    optParameters = [["limit", None, "1000", "At most this many messages."]]
    optFlags = [["json", None, "As JSON."]]

    def postOptions(self) -> None:
        super().postOptions()
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


class _ActOptions(_ChoosingOptions):
    optFlags = [["all", None, "All messages that wait or are held."]]

    def parseArgs(self, *ids: str) -> None:
        self["ids"] = _numbers(ids)

    def postOptions(self) -> None:
        super().postOptions()
        ways = bool(self["ids"]), bool(self["all"]), bool(self["chosen"])
        if sum(ways) != 1:
            raise usage.UsageError("give either numbers of messages, or --all, or --sender and the like")


class RetryOptions(_ActOptions):
    synopsis = "Usage: mailftp queue retry (ID ... | --all | FILTER ...) [--wait] [--config FILE]"
    longdesc = "Attempt delivery now."
    optFlags = [["wait", None, "Say how it goes, until each was tried."]]


class HoldOptions(_ActOptions):
    synopsis = "Usage: mailftp queue hold (ID ... | --all | FILTER ...) [--config FILE]"
    longdesc = "Attempt nothing until it is released."


class ReleaseOptions(_ActOptions):
    synopsis = "Usage: mailftp queue release (ID ... | --all | FILTER ...) [--wait] [--config FILE]"
    longdesc = "Attempt delivery of what was held."
    optFlags = [["wait", None, "Say how it goes, until each was tried."]]


class DropOptions(_ActOptions):
    synopsis = "Usage: mailftp queue drop (ID ... | --all | FILTER ...) [--config FILE]"
    longdesc = "Give up without telling the sender."


class BounceOptions(_ActOptions):
    synopsis = "Usage: mailftp queue bounce (ID ... | --all | FILTER ...) [--config FILE]"
    longdesc = "Give up and return it to its sender."


class RouteOptions(_ActOptions):
    synopsis = "Usage: mailftp queue route (ID ... | --all | FILTER ...) --to ROUTE [--config FILE]"
    longdesc = "Send it by another way from its next attempt on."
    optParameters = [
        ["to", None, None, 'HOST:PORT, lmtp:HOST:PORT, or "default" for where it would go anyway.']
    ]

    def postOptions(self) -> None:
        super().postOptions()
        if not self["to"]:
            raise usage.UsageError("--to is missing: where it is to go, HOST:PORT, or default")


class QueueOptions(Options):
    synopsis = "Usage: mailftp queue COMMAND ..."
    subCommands = [
        ["list", None, ListOptions, "List the queue."],
        ["show", None, ShowOptions, "Show a message's recipients and attempts."],
        ["retry", None, RetryOptions, "Attempt delivery now."],
        ["hold", None, HoldOptions, "Attempt nothing until it is released."],
        ["release", None, ReleaseOptions, "Attempt delivery of what was held."],
        ["drop", None, DropOptions, "Give up without telling the sender."],
        ["bounce", None, BounceOptions, "Give up and return it to its sender."],
        ["route", None, RouteOptions, "Send it by another way."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError(f"a command is missing: {', '.join(row[0] for row in self.subCommands)}")


def run_queue(options: QueueOptions) -> None:
    command, given = str(options.subCommand), options.subOptions
    settings = settings_of(given["config"])
    if command == "list":
        _list(settings, given)
    elif command == "show":
        _show(settings, given)
    else:
        _act(settings, command, given)


def _list(settings: Settings, options: ListOptions) -> None:
    messages: list[dict[str, Any]] = request(
        settings, {"do": "queue list", **options["chosen"], "limit": int(options["limit"])}
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
    if recipient["give_up"] and recipient["state"] == "waiting":
        return "to be returned"
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
        for line in (*recipients_of(message), *attempts_of(message)):
            print(line)
        for line in message["header"].splitlines():
            print(f"  {escaped(line)}")


def recipients_of(message: dict[str, Any]) -> Iterator[str]:
    """Lines about the recipients of what "queue show" answers."""
    for recipient in message["recipients"]:
        error = f": {recipient['last_error']}" if recipient["last_error"] else ""
        by = f" by {recipient['route']}" if recipient["route"] else ""
        yield escaped(f"to {recipient['address']}{by}, {_state(recipient)}{error}")


def attempts_of(message: dict[str, Any]) -> Iterator[str]:
    """Lines about its attempts, with all that was said."""
    for attempt in message["attempts"]:
        head = f"attempt {attempt['number']} for {attempt['recipient']} at {when(attempt['started'])}"
        yield escaped(f"{head}, {attempt['remote'] or 'nobody reached'}: {attempt['outcome']}")
        for line in attempt["dialogue"].splitlines():
            yield f"    {escaped(line)}"


def _act(settings: Settings, command: str, options: _ActOptions) -> None:
    ids = options["ids"] or _chosen(settings, options)
    members: dict[str, object] = {"do": f"queue {command}", "ids": ids}
    if command == "route":
        members["route"] = "" if options["to"] == "default" else options["to"]
    count = request(settings, members)["recipients"]
    print(f"{command}: {count} recipient{'' if count == 1 else 's'}")
    if options.get("wait"):
        _wait(lambda: _progress(settings, ids))


def _progress(settings: Settings, ids: list[int]) -> dict[str, int]:
    """Of a server that runs: nobody else tries anything, and to wait for that would be for ever."""
    try:
        return dict(ask(settings.data, {"do": "queue progress", "ids": ids}))
    except NotRunning:
        raise CommandFailed("the server does not run; it tries them when it is started")
    except Refused as refused:
        raise CommandFailed(str(refused))


def _chosen(settings: Settings, options: _ActOptions) -> list[int]:
    listed = request(settings, {"do": "queue list", **options["chosen"], "limit": LARGEST_LIST})
    if not listed:
        raise CommandFailed("no message in the queue fits" if options["chosen"] else "the queue is empty")
    if len(listed) == LARGEST_LIST:
        # Nobody is to believe that it was all.
        print(f"the {LARGEST_LIST} oldest; say it again for the rest", file=sys.stderr)
    return [message["id"] for message in listed]


def _wait(ask: Callable[[], dict[str, int]], sleep: Callable[[float], None] = time.sleep) -> None:
    """A line that changes on a terminal, elsewhere a line for each change, until nothing is due."""
    terminal, before = sys.stdout.isatty(), ""
    while True:
        now = ask()
        to_go = now["due"] + now["under_way"]
        later = now["waiting"] - to_go
        line = f"{now['delivered']} delivered, {now['failed']} failed, {later} later, {to_go} to go"
        if line != before:
            print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", flush=True)
        before = line
        if not to_go:
            break
        sleep(LOOK)
    if terminal:
        print()
