"""Reading mailftp.toml: every fault is found at once, and each is a line that names its key.

`read_settings` is the door. What the values may be is one table, `KINDS`, with a row for each key; the
defaults and the words are those of `mailftp.settings`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mailftp import settings as shape
from mailftp.settings import SERVICES, TLS, Settings
from mailftp.settings.delivery import addressed, way
from mailftp.settings.endpoints import endpoint
from mailftp.settings.values import (
    Fault,
    Kind,
    Place,
    Wrong,
    address,
    did_you_mean,
    domain,
    host_and_port,
    ipv4_or_host,
    list_of,
    mail_address,
    matching,
    mode,
    named_numbers,
    network,
    number_or_unlimited,
    one_of,
    one_or_list,
    path,
    path_or_none,
    port_range,
    ratio,
    seconds,
    seconds_or_never,
    shown,
    size,
    size_or_unlimited,
    table_of,
    text,
    truth,
    whole,
)

T = TypeVar("T")

#: The largest settings file; a real one is a few kilobytes.
LARGEST_FILE = 1 << 20

#: What `ftp.rules` may allow.
PERMISSIONS = (
    "list", "read", "write", "overwrite", "append", "delete", "rename", "make", "change", "link",
)  # fmt: skip
LEVELS = ("debug", "info", "warn", "error", "critical")
PROTOCOLS = ("ftp", "smtp", "submission", "pop3", "imap", "http")

#: The tables of the file.
SECTIONS: Mapping[str, type[Any]] = {
    "tls": shape.TLS, "proxy": shape.Proxy, "auth": shape.Auth, "limits": shape.Limits,
    "store": shape.StoreSettings, "quota": shape.Quota, "delivery": shape.Delivery, "dns": shape.DNS,
    "http": shape.HTTP, "ftp": shape.FTP, "pop3": shape.POP3, "addresses": shape.Addresses,
    "submission": shape.Submission,
    "origin": shape.OriginSettings, "strangers": shape.StrangerSettings, "log": shape.Log,
}  # fmt: skip

_defaults = shape.Limits()
_domain_or_empty = Kind(
    'a domain name such as "mx.example.org", or ""',
    lambda value, place: "" if value == "" else domain().read(value, place),
)
_resolver = host_and_port(addresses_only=True)
_group = matching(r"[a-z0-9_-]{1,63}", "a name of small letters, digits, - and _")
_whose = matching(
    r"[^@\s]{1,64}@[^@\s]{1,255}|\*|[a-z0-9_-]{1,63}",
    'an address, "*@example.test", "*", "anonymous" or the name of a group',
)
#: More wildcards than this match slowly.
_pattern = matching(
    r"(?=.{1,100}$)(?:[^*?\[/\x00-\x1f]*[*?\[]?){1,5}[^*?\[/\x00-\x1f]*",
    "a pattern with up to five wildcards",
)


class SettingsFault(Exception):
    """The file cannot be used; its text has a line for each fault."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


def _table(shape: type[T]) -> Kind[T]:
    def read(value: object, place: Place) -> T:
        if not isinstance(value, dict):
            raise Wrong(f"{shown(value)} is not a table")
        return _fill(shape, value, place)

    return Kind("a table", read)


def _listen() -> Kind[Mapping[str, tuple[str, ...]]]:
    def read(value: object, place: Place) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(value, dict):
            raise Wrong(f"{shown(value)} is not a table")
        listen: dict[str, tuple[str, ...]] = {}
        for service, given in value.items():
            below = place.at(service)
            if service not in SERVICES:
                hint = did_you_mean(service, list(SERVICES))
                below.wrong("there is no such service", hint or f"the services are {', '.join(SERVICES)}")
                continue
            kind = list_of(endpoint(service), plural='a list of endpoints such as ["tcp:2525"]')
            listen[service] = kind.take(given, below, ())
        return listen

    return Kind('a table of services, each a list of endpoints such as ["tcp:2525"]', read)


#: Every key and what may stand there.
KINDS: Mapping[type[Any], Mapping[str, Kind[Any]]] = {
    shape.TLS: {
        "certificate": path(),
        "key": path(),
        "certificates": path_or_none(),
        "client_ca": path_or_none(),
    },
    shape.Proxy: {"trusted": list_of(network())},
    shape.Argon2: {
        # Eight KiB is argon2's own least for a lane (RFC 9106 section 3.1).
        "time_cost": whole(1, 100),
        "memory_cost": whole(8, 4 * 1024 * 1024),
        "parallelism": whole(1, 64),
    },
    shape.Auth: {
        "plaintext": list_of(one_of(*PROTOCOLS)),
        "failure_delay": seconds(0, 60),
        "failures_closed": whole(1, 100),
        "argon2": _table(shape.Argon2),
    },
    shape.Limits: {
        "message_size": size(),
        # RFC 5321 section 4.5.3.1.8 asks for a hundred at the least; fewer are of use in tests.
        "recipients": whole(1, 100_000),
        "connections": whole(1, 1_000_000),
        "connections_per_ip": whole(1, 1_000_000),
        "idle_timeout": named_numbers(tuple(_defaults.idle_timeout), seconds(0.1), _defaults.idle_timeout),
        "login_timeout": seconds(0.1),
        # RFC 5322 sets none; a header with a few signatures and hops has 10 KB.
        "header_size": size(1000),
        # What is beyond these is not looked at for any purpose (mailftp.message.mime).
        "mime_parts": whole(1, 10_000),
        "mime_depth": whole(1, 100),
    },
    shape.StoreSettings: {
        "url": matching(
            r"sqlite:[^?#]+|memory:",
            '"sqlite:FILE", a file below `data` or an absolute path, or "memory:", which keeps nothing '
            "(this release has no other database)",
        ),
        "blobs": matching(r"file:.+", '"file:FOLDER", a folder below `data` or an absolute path'),
        "text_index": truth(),
    },
    shape.Quota: {
        "mail": size_or_unlimited(),
        "messages": number_or_unlimited(),
        "files": size_or_unlimited(),
    },
    shape.Smarthost: {
        "host": host_and_port(),
        "username": text("the login name, text"),
        "password_file": path(),
    },
    shape.Concurrency: {"total": whole(1, 10_000), "per_destination": whole(1, 10_000)},
    shape.Delivery: {
        "smarthost": _table(shape.Smarthost),
        "port": whole(1, 65535),
        "helo": _domain_or_empty,
        "retry": list_of(seconds(0.1), least=1, plural='a list of times such as ["5m", "1h"]'),
        "give_up": seconds(0.1),
        "delay_warning": seconds(0.1),
        "concurrency": _table(shape.Concurrency),
        "history": seconds(0.0),
        "tls_memory": seconds(0.0),
        "suppress_after": whole(0, 1000),
        "suppress_for": seconds(1.0),
        "capture": mail_address(),
        "routes": table_of(
            domain(),
            host_and_port(schemes=("lmtp",)),
            'a table such as { "example.org" = "mail.example.org:25" }',
        ),
        "dane": truth(),
        "mta_sts": truth(),
        "rules": list_of(_table(shape.DeliveryRule), plural="tables, each [[delivery.rules]]"),
    },
    shape.DeliveryRule: {
        "recipients": list_of(addressed),
        "senders": list_of(addressed),
        "from_attempt": whole(1, 1000),
        "to": way(),
        "refusal": matching(r"5[0-9][0-9] 5\.[0-9]{1,3}\.[0-9]{1,3} [ -~]{1,200}", '"550 5.7.1 TEXT"'),
        "tls": one_of("opportunistic", "required", "none"),
        "source": list_of(address()),
        "socks": host_and_port(),
        "socks_login_file": path(),
        "username": text("the login name, text"),
        "password_file": path(),
    },
    shape.DNS: {
        "servers": list_of(_resolver),
        "trust_ad": truth(),
        "forward": table_of(
            domain(),
            one_or_list(_resolver),
            'a table such as { "b.test" = "127.0.0.2:53" }',
        ),
        "zones": list_of(domain()),
        "zone_files": table_of(domain(), path(), 'a table such as { "example.org" = "example.org.zone" }'),
        "nameservers": list_of(domain()),
        "addresses": list_of(address()),
        "secondaries": list_of(_resolver),
        "certificate_authorities": list_of(domain()),
        "rate_limit": whole(0, 65535),
    },
    shape.HTTP: {
        "prefix": matching(r"/(?:[A-Za-z0-9._~-]+/)*", 'a path that begins and ends with "/"'),
        "hosts": list_of(domain()),
        "forwarded": one_of("x-forwarded", "forwarded"),
        "session_idle": seconds(60),
        "session_lifetime": seconds(60),
        "monitoring": list_of(network()),
    },
    shape.FTP: {
        "passive_ports": port_range(),
        "passive_address": ipv4_or_host(),
        "root": matching(r"[^/].*", "a folder below `data`, a relative path"),
        "durable": truth(),
        "tls": one_of("optional", "required"),
        "anonymous": path_or_none(),
        "visible_partials": truth(),
        "umask": mode(),
        "groups": table_of(_group, list_of(_whose), 'a table such as { staff = ["bob@example.test"] }'),
        "rules": list_of(_table(shape.FTPRule), plural="tables, each [[ftp.rules]]"),
        "accounts": list_of(_table(shape.FTPAccounts), plural="tables, each [[ftp.accounts]]"),
        "folders": list_of(_table(shape.FTPFolder), plural="tables, each [[ftp.folders]]"),
        "limits": list_of(_table(shape.FTPLimit), plural="tables, each [[ftp.limits]]"),
        "passive": list_of(_table(shape.FTPPassive), plural="tables, each [[ftp.passive]]"),
        "fxp": list_of(_table(shape.FTPFXP), plural="tables, each [[ftp.fxp]]"),
        "tls_reuse": one_of("optional", "required"),
        "proxy_data": list_of(network()),
        "compression": truth(),
        "clear_command_channel": truth(),
        "always_150": truth(),
        "transfer_log": path_or_none(),
        "transfer_log_format": one_of("xferlog", "json"),
    },
    shape.FTPPassive: {"networks": list_of(network(), least=1), "address": ipv4_or_host()},
    shape.FTPFXP: {"networks": list_of(network(), least=1), "accounts": list_of(_whose)},
    shape.FTPRule: {
        "accounts": list_of(_whose),
        "folder": matching(r"/(?:[^/\x00-\x1f]+(?:/[^/\x00-\x1f]+)*)?", 'a path such as "/incoming"'),
        "allow": list_of(one_of(*PERMISSIONS)),
        "deny": list_of(one_of(*PERMISSIONS)),
        "hidden": list_of(_pattern),
        "forbidden": list_of(_pattern),
    },
    shape.FTPAccounts: {
        "accounts": list_of(_whose),
        "tls": one_of("optional", "required"),
        "umask": mode(),
        "names": whole(1, 10**9),
        "daily_upload": size(1),
        "daily_download": size(1),
        "ratio": ratio(100_000),
        "credit": size(0),
    },
    shape.FTPFolder: {
        "name": matching(r"(?!\.{1,2}$)[^/\x00-\x1f]{1,255}", "one name, without a slash"),
        "folder": path(),
        "accounts": list_of(_whose),
        "quota": size_or_unlimited(),
        "names": whole(1, 10**9),
    },
    shape.FTPLimit: {
        "accounts": list_of(_whose),
        "networks": list_of(network()),
        "per": one_of("account", "network", "connection", "limit"),
        "download": size(1000),
        "upload": size(1000),
        "connections": whole(1, 1_000_000),
        "transfers": whole(1, 1_000_000),
    },
    shape.Submission: {
        "daily_messages": whole(0, 1_000_000),
        "daily_new_recipients": whole(0, 1_000_000),
        "expand": truth(),
        "authors": one_of("off", "mark", "enforce"),
    },
    shape.Addresses: {
        "separator": matching(r"[+=_.~#!$%&*/^|-]?", 'one of the characters +=_.~#!$%&*/^|- or ""')
    },
    shape.POP3: {"expire_after_retrieval": seconds_or_never(86400.0), "login_delay": seconds(0, 3600)},
    shape.OriginSettings: {
        **{check: one_of("off", "mark", "enforce") for check in ("spf", "dkim", "dmarc", "iprev")},
        "trusted": list_of(network()),
        "seconds": seconds(1, 120),
        "lookups": whole(1, 10_000),
    },
    shape.StrangerSettings: {
        "connections_per_minute": whole(0, 1_000_000),
        "commands_per_minute": whole(0, 10_000_000),
        # A client waits five minutes (RFC 5321 section 4.5.3.2.1), and impatient ones thirty seconds.
        "greeting_delay": seconds(0, 30),
        "unknown_recipient_delay": seconds(0, 10),
        "data_rate": whole(0, 1_000_000),
        "dnsbl": list_of(domain()),
        "greylist": seconds(0, 86400),
    },
    shape.Log: {"level": one_of(*LEVELS), "format": one_of("text", "json")},
    shape.Settings: {
        "data": path(),
        "hostname": domain(),
        "domains": list_of(domain(), least=1, plural='a list of domain names such as ["example.org"]'),
        "workers": whole(0, 1024),
        "listen": _listen(),
        **{name: _table(kind) for name, kind in SECTIONS.items()},
    },
}


def _fill(kind: type[T], given: Mapping[str, object], place: Place, **known: object) -> T:
    """The dataclass of one table; `known` are fields that are no keys of the file."""
    kinds = KINDS[kind]
    for name in given:
        if name not in kinds:
            place.at(name).wrong("there is no such key", _where_it_belongs(name, list(kinds)))
    values: dict[str, Any] = dict(known)
    for each in fields(kind):  # type: ignore[arg-type]  # every row of KINDS is a dataclass
        if each.name in values:
            continue
        default = each.default
        if default is MISSING and each.default_factory is not MISSING:
            default = each.default_factory()
        if each.name in given:
            # A key that must be given has no default; "" stands in until the fault is raised.
            otherwise = "" if default is MISSING else default
            values[each.name] = kinds[each.name].take(given[each.name], place.at(each.name), otherwise)
        elif default is MISSING:
            place.at(each.name).wrong("it is missing", f"give {kinds[each.name].wants}")
            values[each.name] = ""
        else:
            values[each.name] = default
    return kind(**values)


def _where_it_belongs(name: str, here: list[str]) -> str:
    hint = did_you_mean(name, here)
    if hint:
        return hint
    elsewhere = [f"[{key}]" for key, kind in SECTIONS.items() if name in KINDS[kind]]
    if name in KINDS[shape.Settings]:
        elsewhere.append("the top of the file, before the first [table]")
    if elsewhere:
        return f"it belongs in {' or '.join(elsewhere)}"
    return f"the keys here are {', '.join(here)}"


def read_settings(file: Path, *, certificates: bool = True) -> Settings:
    """Read and check a settings file.

    With `certificates` the files that `[tls]` names must be there: the server needs them, a command about
    accounts does not. Raises SettingsFault with every fault.
    """
    file = file.absolute()
    try:
        with file.open("rb") as stream:
            octets = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise SettingsFault((Fault("", f"{file} is not there", "`mailftp init DIR` makes one"),))
    except OSError as fault:
        raise SettingsFault((Fault("", f"{file} cannot be read", fault.strerror or str(fault)),))
    if len(octets) > LARGEST_FILE:
        raise SettingsFault((Fault("", f"{file} is too large", f"give at most {LARGEST_FILE} octets"),))
    return parse_settings(octets, file, certificates=certificates)


def parse_settings(octets: bytes, file: Path, *, certificates: bool = True) -> Settings:
    """`octets` are the file's; `file` says where relative paths start. Raises SettingsFault."""
    try:
        given = tomllib.loads(octets.decode())
    except UnicodeDecodeError as fault:
        line = octets.count(b"\n", 0, fault.start) + 1
        raise SettingsFault((Fault("", f"{file.name} is not UTF-8 on line {line}", "save it as UTF-8"),))
    except tomllib.TOMLDecodeError as fault:
        raise SettingsFault((Fault("", f"{file.name} is not TOML: {_first_line(fault)}", "mend that place"),))
    except RecursionError:
        raise SettingsFault((Fault("", f"{file.name} is nested too deeply", "the tables here are flat"),))
    place = Place("", file.parent)
    # `data` has a default that depends on the folder, so it is the one key that is filled in here.
    given.setdefault("data", "data")
    settings = _fill(Settings, given, place, folder=file.parent)
    if not place.faults or all(fault.key != "data" for fault in place.faults):
        settings = _settle_paths(settings, given)
    _check_together(settings, given, place, certificates)
    if place.faults:
        raise SettingsFault(tuple(place.faults))
    return settings


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [""])[0][:200]


def _settle_paths(settings: Settings, given: Mapping[str, object]) -> Settings:
    """Paths that start at another one, and the certificate that is there without being named."""
    tls = settings.tls
    if tls is None:
        usual = TLS(settings.folder / TLS().certificate, settings.folder / TLS().key)
        tls = usual if usual.certificate.exists() and usual.key.exists() else None
    else:
        # A default of one of the two beside a given other.
        tls = replace(tls, certificate=settings.folder / tls.certificate, key=settings.folder / tls.key)
    return replace(settings, tls=tls, ftp=replace(settings.ftp, root=settings.data / settings.ftp.root))


def _check_together(
    settings: Settings, given: Mapping[str, object], place: Place, certificates: bool
) -> None:
    """What no key can say alone."""
    if certificates:
        _check_certificates(settings, place)
    delivery = place.at("delivery")
    smarthost = settings.delivery.smarthost
    if smarthost and bool(smarthost.username) != bool(smarthost.password_file):
        delivery.at("smarthost").wrong("username and password_file come together", "give both or neither")
    if smarthost and smarthost.password_file and certificates and not smarthost.password_file.is_file():
        delivery.at("smarthost").at("password_file").wrong(
            f"{smarthost.password_file} is not there", "make it: its first line is the password"
        )
    capture = settings.delivery.capture
    if capture and capture.rpartition("@")[2] not in settings.domains:
        delivery.at("capture").wrong(
            f"{shown(capture)} is in none of our domains",
            "give an account's address, its domain in `domains`",
        )
    if len(set(settings.domains)) < len(settings.domains):
        place.at("domains").wrong("a domain is there twice", "give each once")
    if ".." in settings.ftp.root.parts:
        place.at("ftp").at("root").wrong('".." leads out of `data`', "give a folder below `data`")
    if settings.ftp.anonymous and certificates and not settings.ftp.anonymous.is_dir():
        place.at("ftp").at("anonymous").wrong(
            f"{settings.ftp.anonymous} is no folder", 'make it, or give "" for no anonymous login'
        )
    _check_ftp(settings, place.at("ftp"))
    if settings.auth.argon2.memory_cost < 8 * settings.auth.argon2.parallelism:
        place.at("auth").at("argon2").at("memory_cost").wrong(
            "it is too little for the lanes", "give at least 8 for each of parallelism (RFC 9106 section 3.1)"
        )
    _check_zones(settings, place.at("dns"), certificates)
    _check_listen(settings, place.at("listen"))


def _check_zones(settings: Settings, place: Place, files: bool) -> None:
    """What the zones say of each other; with `files` the zone files must be there."""
    if len(set(settings.dns.zones)) < len(settings.dns.zones):
        place.at("zones").wrong("a zone is there twice", "give each once")
    for zone, file in settings.dns.zone_files.items():
        below = place.at("zone_files").at(zone)
        if zone not in settings.dns.zones:
            below.wrong("it is none of dns.zones", "name it there too")
        elif files and not file.is_file():
            below.wrong(f"{file} is not there", "give a zone file (RFC 1035 section 5)")


def _check_ftp(settings: Settings, place: Place) -> None:
    """Whom the tables of `[ftp]` are for, and that no two folders have one name."""
    ftp = settings.ftp
    known = {*ftp.groups, "*", "anonymous"}
    if ftp.clear_command_channel and "required" in (ftp.tls, ftp.tls_reuse):
        place.at("clear_command_channel").wrong(
            "it cannot be with tls or tls_reuse required", "leave one of them out"
        )
    named: list[tuple[Place, tuple[str, ...]]] = [
        (place.at("groups").at(group), members) for group, members in ftp.groups.items()
    ]
    for name in ("rules", "accounts", "folders", "limits", "fxp"):
        for number, each in enumerate(getattr(ftp, name)):
            named.append((place.at(name).item(number).at("accounts"), each.accounts))
    for where, accounts in named:
        for number, account in enumerate(accounts):
            if "@" not in account and account not in known:
                hint = did_you_mean(account, sorted(known))
                where.item(number).wrong(
                    f"there is no group {shown(account)}", hint or "name it in [ftp.groups]"
                )
            elif account in ftp.groups and where.key.startswith("ftp.groups."):
                where.item(number).wrong("a group cannot be in a group", "name its accounts")
    names = [folder.name for folder in ftp.folders]
    for number, name in enumerate(names):
        if name in names[:number]:
            place.at("folders").item(number).at("name").wrong(
                f"{shown(name)} is there already", "give each folder a name of its own"
            )


def _check_listen(settings: Settings, place: Place) -> None:
    """No two services on one socket."""
    seen: dict[str, str] = {}
    for service, endpoints in settings.listen.items():
        for number, each in enumerate(endpoints):
            free = each.split(":")[1:2] in (["0"], ["port=0"])
            if each in seen and not free:
                place.at(service).item(number).wrong(
                    f"{shown(each)} is taken by {seen[each]}", "give every service an endpoint of its own"
                )
            seen.setdefault(each, service)


def _check_certificates(settings: Settings, place: Place) -> None:
    below = place.at("tls")
    tls = settings.tls
    needing = sorted(service for service in settings.listen if service in shape.IMPLICIT_TLS)
    makes = "`mailftp init DIR --hostname H --domain D` makes a folder with one"
    if tls is None:
        for service in needing:
            place.at("listen").at(service).wrong("it needs a certificate, and there is none in [tls]", makes)
        return
    if tls.certificates is not None:
        if not tls.certificates.is_dir():
            below.at("certificates").wrong(f"{tls.certificates} is no folder", "give a folder of PEM files")
    else:
        for name, file in (("certificate", tls.certificate), ("key", tls.key)):
            if not file.is_file():
                below.at(name).wrong(f"{file} is not there", makes)
    if tls.client_ca is not None and not tls.client_ca.is_file():
        below.at("client_ca").wrong(f"{tls.client_ca} is not there", "give a PEM file of certificates")


def notices(settings: Settings) -> tuple[str, ...]:
    """What is valid and without effect in this release, a line each."""
    said = []
    if settings.workers != 1:
        said.append(f"workers: this release runs one process, not {settings.workers or 'one per core'}")
    if settings.delivery.delay_warning >= settings.delivery.give_up:
        said.append("delivery.delay_warning: it comes no sooner than give_up, so nobody is warned")
    if settings.dns.zones and not settings.listen.get("dns"):
        said.append("dns.zones: nobody can ask, listen.dns has no endpoint")
    if settings.listen.get("dns") and not settings.dns.zones:
        said.append("listen.dns: every question is refused, dns.zones names no zone")
    return tuple(said)
