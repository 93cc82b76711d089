"""`mailftp dns`: the zone that a domain needs, and whether the world sees it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from twisted.python import usage

from mailftp.cli.dns_check import check_domain, check_port
from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.cli.reach import become_owner, settings_of
from mailftp.dns.comparison import Finding, Status
from mailftp.dns.resolver import Resolver
from mailftp.dns.servers import parse_server
from mailftp.dns.zone import Zones
from mailftp.operation.log_lines import escaped
from mailftp.settings import DNS, Settings
from mailftp.settings.values import Wrong, a_domain
from mailftp.setup.run_now import private_reactor, run_now
from mailftp.zones import load_zones, wanted_records, zone_text


class _Domains(Options):
    def parseArgs(self, *domains: str) -> None:
        try:
            self["domains"] = tuple(map(a_domain, domains))
        except Wrong as wrong:
            raise usage.UsageError(str(wrong))


class ZoneOptions(_Domains):
    synopsis = "Usage: mailftp dns zone [DOMAIN ...] [--config FILE]"
    longdesc = "Print what a domain's zone needs, as a zone file; without DOMAIN, of every domain and zone."
    optParameters = [CONFIG]


class CheckDNSOptions(_Domains):
    synopsis = "Usage: mailftp dns check [DOMAIN ...] [--server ADDRESS[:PORT]] [--config FILE] [--json]"
    longdesc = (
        "Ask for each record that a domain needs and say whether it is right, missing or wrong, with the "
        "line to add. Exit status 0 when mail works, 1 when something is missing or wrong."
    )
    optParameters = [CONFIG, ["server", None, "", "The DNS server to ask, else those of the settings."]]
    optFlags = [
        ["json", None, "As JSON."],
        ["no-connect", None, "Do not call the mail host to see whether it answers."],
    ]

    def postOptions(self) -> None:
        if self["server"]:
            try:
                parse_server(self["server"])
            except ValueError as fault:
                raise usage.UsageError(f"--server: {fault}")


class DNSOptions(Options):
    synopsis = "Usage: mailftp dns COMMAND ..."
    subCommands = [
        ["check", None, CheckDNSOptions, "Compare what the world sees with what mail needs."],
        ["zone", None, ZoneOptions, "Print the zone that a domain needs."],
    ]

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing: check or zone")


def run_dns(options: DNSOptions) -> None:
    command, given = str(options.subCommand), options.subOptions
    settings = settings_of(given["config"])
    for domain in given["domains"]:
        if domain not in (*settings.domains, *settings.dns.zones):
            known = ", ".join(dict.fromkeys((*settings.domains, *settings.dns.zones)))
            raise CommandFailed(f"{domain} is none of this server's domains and zones: {known}")
    (_check if command == "check" else _zone)(settings, given)


def _zone(settings: Settings, options: Options) -> None:
    become_owner(settings.data)
    everything = dict.fromkeys((*settings.dns.zones, *settings.domains))
    try:
        for domain in options["domains"] or everything:
            if domain in settings.dns.zones:
                print(zone_text(settings, domain), end="")
            else:
                # Who hosts it has an SOA and name servers of his own.
                for record in wanted_records(settings, domain):
                    print(record.line)
    except ValueError as fault:
        raise CommandFailed(str(fault))


def _check(settings: Settings, options: Options) -> None:
    # Before becoming somebody who may not be able to read where Python is installed.
    reactor = private_reactor()
    become_owner(settings.data)
    asked = DNS(servers=(options["server"],)) if options["server"] else settings.dns
    domains = options["domains"] or settings.domains
    for domain in domains:
        if domain not in settings.domains:
            raise CommandFailed(f"{domain} is a zone, and no domain that takes mail")
    try:
        zones = load_zones(settings, keep=False) if settings.dns.zones else Zones(())
        found = run_now(lambda: _ask(settings, domains, zones, asked, reactor), reactor)
    except ValueError as fault:
        raise CommandFailed(str(fault))
    if not options["no-connect"]:
        found = {domain: [*said, *_ports(settings, said)] for domain, said in found.items()}
    if options["json"]:
        shown = {domain: [_plain(finding) for finding in said] for domain, said in found.items()}
        print(json.dumps(shown, indent=2))
    else:
        for domain, said in found.items():
            print("\n".join([f"{domain}:", *_lines(said)]))
    bad = [finding for said in found.values() for finding in said if finding.bad]
    if bad:
        things = "thing is" if len(bad) == 1 else "things are"
        raise CommandFailed(f"{len(bad)} {things} not as mail needs it")


async def _ask(
    settings: Settings, domains: Iterable[str], zones: Zones, asked: DNS, reactor: Any
) -> dict[str, list[Finding]]:
    # The world does not read this machine's hosts file.
    resolver = Resolver(asked, reactor, hosts=None)
    try:
        return {domain: await check_domain(settings, domain, zones, resolver, reactor) for domain in domains}
    finally:
        await resolver.stop()


def _ports(settings: Settings, said: Iterable[Finding]) -> Iterable[Finding]:
    """The mail host at each address that it was found to have."""
    for finding in said:
        if finding.name == settings.hostname and finding.kind in ("A", "AAAA"):
            for address in finding.found:
                yield check_port(settings, settings.hostname, address)


def _plain(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"status": finding.status.value}


def _lines(said: Iterable[Finding]) -> Iterable[str]:
    for finding in said:
        what = f"  {finding.status.value:<8} {finding.name} {finding.kind}: {finding.why}"
        if finding.status is not Status.RIGHT and finding.optional:
            what += " (mail works without)"
        yield escaped(what)
        if finding.note:
            yield escaped(f"           {finding.note}")
        if finding.status is Status.WRONG:
            yield from (escaped(f"           there: {text}") for text in finding.found)
        if finding.add:
            yield f"           {'in its place' if finding.found else 'add'}:"
            yield from (f"           {line}" for line in finding.add)
