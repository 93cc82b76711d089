"""`mailftp dkim`: list, show, rotate. The keys are files; a running server is told to read them again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import become_owner, settings_of
from mailftp.cli.table import table
from mailftp.dns.mail_zone import quoted
from mailftp.operation.admin import Refused
from mailftp.operation.control import NotRunning, ask
from mailftp.origin.dkim_folder import ALGORITHMS, Key, read_keys, rotate
from mailftp.origin.dkim_keys import KeyFault
from mailftp.settings import Settings
from mailftp.settings.values import Place, Wrong, a_domain, seconds


class ListOptions(Options):
    synopsis = "Usage: mailftp dkim list [DOMAIN] [--json]"
    longdesc = "The keys of a domain, or of all, and which of them sign."
    optParameters = [CONFIG]
    optFlags = [["json", None, "As JSON."]]

    def parseArgs(self, domain: str = "") -> None:
        self["domain"] = _domain(domain) if domain else ""


class ShowOptions(Options):
    synopsis = "Usage: mailftp dkim show DOMAIN"
    longdesc = "The key records of a domain as lines of a zone file, for its DNS where that is elsewhere."
    optParameters = [CONFIG]

    def parseArgs(self, domain: str) -> None:  # type: ignore[override]  # called with what is there
        self["domain"] = _domain(domain)


class RotateOptions(Options):
    synopsis = "Usage: mailftp dkim rotate DOMAIN [--wait TIME] [--algorithm rsa|ed25519]"
    longdesc = (
        "Make new keys. They sign when the wait is over, and the old ones until then; those stay in the zone"
        " for a week, and the first rotation after that removes them."
    )
    optParameters = [
        CONFIG,
        # The longest that a resolver remembers, as a rule, that there is no such name (RFC 2308 section 5).
        ["wait", None, "1d", "Time for the DNS to have the new keys: seconds, or 12h, 2d."],
        ["algorithm", None, "", "rsa or ed25519; without it those that the domain has."],
    ]

    def parseArgs(self, domain: str) -> None:  # type: ignore[override]  # called with what is there
        self["domain"] = _domain(domain)

    def postOptions(self) -> None:
        given = self["wait"]
        try:
            place = Place("--wait", Path())
            self["wait"] = seconds(0).read(float(given) if given.isdecimal() else given, place)
        except Wrong as wrong:
            raise usage.UsageError(f"--wait: {wrong}")
        if self["algorithm"] and self["algorithm"] not in ALGORITHMS:
            raise usage.UsageError(f"--algorithm is one of {', '.join(ALGORITHMS)}")


class DKIMOptions(Options):
    synopsis = "Usage: mailftp dkim list | show | rotate ..."
    subCommands = [
        ["list", None, ListOptions, "List the keys, and which of them sign."],
        ["show", None, ShowOptions, "Print the records for the DNS."],
        ["rotate", None, RotateOptions, "Make new keys in place of the old ones."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("say what to do: list, show or rotate")


def run_dkim(options: DKIMOptions) -> None:
    inner: Any = options.subOptions
    settings = settings_of(inner["config"])
    wanted = inner["domain"]
    if wanted and wanted not in settings.domains:
        raise CommandFailed(f"{wanted} is no domain of this server; they are {', '.join(settings.domains)}")
    become_owner(settings.data)
    try:
        _RUN[str(options.subCommand)](inner, settings)
    except KeyFault as fault:
        raise CommandFailed(str(fault))
    except OSError as fault:
        raise CommandFailed(f"{fault.filename}: {fault.strerror}")


def _list(options: ListOptions, settings: Settings) -> None:
    now = time.time()
    domains = (options["domain"],) if options["domain"] else settings.domains
    found = [(domain, key) for domain in domains for key in read_keys(_folder(settings, domain))]
    if options["json"]:
        print(json.dumps([_as_json(domain, key, now) for domain, key in found], indent=2))
        return
    rows = [(domain, key.selector, key.algorithm, _state(key, now)) for domain, key in found]
    print(table(("domain", "selector", "algorithm", "state"), rows), end="")


def _as_json(domain: str, key: Key, now: float) -> dict[str, object]:
    return {
        "domain": domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state(now),
        "since": key.since,
        "until": key.until,
        "name": f"{key.selector}._domainkey.{domain}",
        "record": key.record,
    }


def _state(key: Key, now: float) -> str:
    state = key.state(now)
    if state == "waiting":
        return f"signs from {_day(key.since)}"
    if state == "retired":
        return f"retired {_day(key.until)}"
    return "signs" if key.until is None else f"signs until {_day(key.until)}"


def _day(when: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when or 0.0))


def _show(options: ShowOptions, settings: Settings) -> None:
    keys = read_keys(_folder(settings, options["domain"]))
    if not keys:
        raise CommandFailed(f"{options['domain']} has no keys; `mailftp dkim rotate` makes some")
    _print_records(options["domain"], keys)


def _print_records(domain: str, keys: Iterable[Key]) -> None:
    for key in keys:
        print(f"{key.selector}._domainkey.{domain}. IN TXT {quoted(key.record)}")


def _rotate(options: RotateOptions, settings: Settings) -> None:
    domain, now = options["domain"], time.time()
    algorithms = (options["algorithm"],) if options["algorithm"] else ()
    made = rotate(_folder(settings, domain), now, options["wait"], algorithms)
    _print_records(domain, made)
    signs = made[0].since or now
    print(f"they sign from {_day(signs)}; until then these records have to be in the DNS", file=sys.stderr)
    try:
        # The zones that the server answers for have the new keys then.
        notes: list[str] = ask(settings.data, {"do": "reload"})
    except NotRunning:
        notes = []
    except Refused as refused:
        raise CommandFailed(f"the keys are made, but the server did not read its zones again: {refused}")
    for note in notes:
        print(f"notice: {note}", file=sys.stderr)


def _folder(settings: Settings, domain: str) -> Path:
    return settings.data / "dkim" / domain


def _domain(name: str) -> str:
    try:
        return a_domain(name)
    except Wrong as wrong:
        raise usage.UsageError(str(wrong))


_RUN: dict[str, Callable[[Any, Settings], None]] = {"list": _list, "show": _show, "rotate": _rotate}
