"""`mailftp trace`: what became of a message, or of an address's mail."""

from __future__ import annotations

import json
from typing import Any

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.queue import attempts_of, recipients_of
from mailftp.cli.reach import request, settings_of
from mailftp.cli.table import table, when
from mailftp.operation.log_lines import escaped

#: Messages of an address that are listed.
LISTED = 50


class TraceOptions(Options):
    synopsis = "Usage: mailftp trace (MESSAGE-ID | ADDRESS) [--config FILE] [--json]"
    longdesc = "A message's whole life on a page, or a line for each message that an address got or sent."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, what: str = "") -> None:
        if not what.strip("<> "):
            raise usage.UsageError("what is to be traced is missing: a Message-ID or an address")
        self["what"] = what


def trace(options: TraceOptions) -> None:
    settings, what = settings_of(options["config"]), options["what"]
    found: dict[str, Any] = request(settings, {"do": "trace", "message_id": what})
    of_address = not found["queued"] and not found["copies"]
    if of_address:
        # A Message-ID may look like an address, and no address looks like one that is known.
        found = request(settings, {"do": "trace", "address": what.strip("<> "), "limit": LISTED})
    if not found["queued"] and not found["copies"]:
        raise CommandFailed(
            f"nothing is known of {escaped(what)}: it never came, or it is in no mailbox and no longer in the"
            " queue's history; the log may have it"
        )
    if options["json"]:
        print(json.dumps(found, indent=2))
    elif of_address:
        print(table(("when", "message-id", "subject", "where", "state"), _lines(found)), end="")
    else:
        _print_page(found)


def _lines(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each copy and each recipient, newest first."""
    rows = [
        (copy["received"], copy["message_id"], copy["subject"], _place(copy), _reading(copy))
        for copy in found["copies"]
    ]
    for message in found["queued"]:
        for recipient in message["recipients"]:
            route = f"{message['sender'] or '<>'} to {recipient['address']}"
            state = recipient["state"] + (f": {recipient['last_error']}" if recipient["last_error"] else "")
            rows.append(
                (message["accepted"], message["message_id"], "", f"queue {message['id']}, {route}", state)
            )
    rows.sort(key=lambda row: row[0], reverse=True)
    return [(when(moment), *rest) for moment, *rest in rows]


def _place(copy: dict[str, Any]) -> str:
    return f"{copy['account']} {copy['mailbox']} UID {copy['uid']}"


def _reading(copy: dict[str, Any]) -> str:
    marks = [flag for flag in copy["flags"] if flag != "\\Seen"]
    fetched = [f"fetched {when(copy['retrieved'])}"] if copy["retrieved"] else []
    return ", ".join(["read" if copy["read"] else "unread", *marks, *fetched])


def _print_page(found: dict[str, Any]) -> None:
    known = [*found["copies"], *found["queued"]]
    subject = next((copy["subject"] for copy in found["copies"]), "")
    print(escaped(f"<{known[0]['message_id']}>" + (f", subject: {subject}" if subject else "")))
    for message in found["queued"]:
        sender = message["sender"] or "<>"
        head = f"queue {message['id']}, from {sender}, accepted {when(message['accepted'])}"
        print("\n" + escaped(f"{head} as {message['context'] or 'this server'}"))
        for line in (*recipients_of(message), *attempts_of(message)):
            print(line)
        _print_fields(message["header"])
    for copy in found["copies"]:
        print("\n" + escaped(f"{_place(copy)}, {_reading(copy)}"))
        moved = f", here since {when(copy['saved'])}" if copy["saved"] - copy["received"] > 1 else ""
        print(f"accepted {when(copy['received'])}{moved}")
        _print_fields(copy["trace"])


def _print_fields(text: str) -> None:
    for line in text.splitlines():
        print(f"  {escaped(line)}")
