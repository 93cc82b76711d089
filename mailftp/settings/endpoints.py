"""What may stand in `[listen]`: Twisted server endpoint strings, checked before anything listens.

The notation is that of `twisted.internet.endpoints.serverFromString`: parts between colons, a backslash
before a colon or a backslash that is meant. Twisted's own errors for it name no key and are often a
TypeError, so the well-known kinds are checked here; a kind that a Twisted plugin adds ("onion:") is let
through as it is.
"""

from __future__ import annotations

import re

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from mailftp.settings import IMPLICIT_TLS, Settings
from mailftp.settings.values import Kind, Place, Wrong, a_port, did_you_mean, ip_literal, shown

#: Options that an endpoint string of each kind may carry, in the order in which they stand nameless.
_OPTIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
    "udp": ("port", "interface"),
    "udp6": ("port", "interface"),
}
#: Where a service is that systemd or a plugin binds, whose port the settings do not tell.
USUAL_PORTS = {
    "ftp": 21, "ftps": 990, "smtp": 25, "submission": 587, "submissions": 465, "pop3": 110, "pop3s": 995,
    "imap": 143, "imaps": 993, "http": 80, "https": 443, "dns": 53,
}  # fmt: skip
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
_SMALL = re.compile(r"[0-9]{1,6}", re.ASCII)


def split_endpoint(text: str) -> tuple[str, list[str], dict[str, str]]:
    """(kind, positional parts, named parts) of an endpoint string, unquoted; raises Wrong."""
    parts: list[str] = [""]
    names: list[str] = [""]
    escaped = False
    for character in text:
        if escaped:
            parts[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ":":
            parts.append("")
            names.append("")
        elif character == "=" and not names[-1]:
            names[-1], parts[-1] = parts[-1], ""
        else:
            parts[-1] += character
    if escaped:
        raise Wrong(f"{shown(text)} ends in a backslash")
    named = {name: part for name, part in zip(names[1:], parts[1:], strict=True) if name}
    positional = [part for name, part in zip(names[1:], parts[1:], strict=True) if not name]
    return parts[0], positional, named


def listening_address(text: str) -> str | None:
    """The address that an endpoint string binds: "" is every IPv4 address, "::" every one of both families;
    None for a socket that has none, or whose we cannot know."""
    kind, positional, named = split_endpoint(text)
    if kind not in ("tcp", "tcp6", "udp", "udp6"):
        return None
    given = dict(zip(_OPTIONS[kind], positional, strict=False)) | named
    return given.get("interface") or ("::" if kind in ("tcp6", "udp6") else "")


def called_ports(settings: Settings) -> dict[str, int]:
    """Service -> the port that clients call, that of its first endpoint by TCP."""
    found: dict[str, int] = {}
    for service, endpoints in settings.listen.items():
        for endpoint in endpoints:
            kind, positional, named = split_endpoint(endpoint)
            if kind in ("unix", "udp", "udp6"):
                continue
            given = named.get("port") or (positional[0] if kind in ("tcp", "tcp6") and positional else "")
            found.setdefault(service, int(given) if given else USUAL_PORTS.get(service, 0))
    return {service: port for service, port in found.items() if port}


def quoted(text: str) -> str:
    """A part of an endpoint string that means just this text."""
    return re.sub(r"([\\:=])", r"\\\1", text)


def endpoint(service: str) -> Kind[str]:
    """One endpoint string of a service. Relative socket paths are made absolute."""

    def read(value: object, place: Place) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise Wrong(f"{shown(value)} is not an endpoint string")
        kind, positional, named = split_endpoint(value)
        _check_kind(service, kind, value)
        if kind not in _OPTIONS:
            return value
        given = _name_parts(kind, positional, named, value)
        _check_parts(kind, given, value)
        if kind == "unix":
            address = str(place.folder / given.pop("address"))
            rest = "".join(f":{name}={quoted(part)}" for name, part in given.items())
            return f"unix:{quoted(address)}{rest}"
        return value

    wants = (
        'an endpoint such as "tcp:25", "tcp:2525:interface=127.0.0.1", "unix:name.sock" '
        'or "systemd:domain=INET:index=0"'
    )
    if service == "dns":
        wants += ', or "udp:53:interface=127.0.0.1"'
    return Kind(wants, read)


def _check_kind(service: str, kind: str, value: str) -> None:
    if kind in ("ssl", "tls"):
        plain = service if service in IMPLICIT_TLS else f"{service}s"
        if plain in IMPLICIT_TLS:
            raise Wrong(f'"{kind}:" is not needed: "{plain}" is TLS from the first byte, by [tls]')
        named = ", ".join(sorted(IMPLICIT_TLS))
        raise Wrong(f'"{kind}:" is not known here: the services with TLS from the first byte are {named}')
    if kind == "haproxy":
        raise Wrong('"haproxy:" is not known here: name the proxy\'s network in proxy.trusted')
    if kind in ("udp", "udp6") and service != "dns":
        raise Wrong(f'"{kind}:" is for dns alone')
    if kind in _OPTIONS:
        return
    plugins = {parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)} - {"stdio"}
    if kind not in plugins:
        hint = did_you_mean(kind, sorted({*_OPTIONS, *plugins}))
        raise Wrong(f"{shown(value)} begins with no kind of endpoint{', ' + hint if hint else ''}")


def _name_parts(kind: str, positional: list[str], named: dict[str, str], value: str) -> dict[str, str]:
    """Every part by its name."""
    known = _OPTIONS[kind]
    for name in named:
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise Wrong(f'{shown(value)}: "{kind}:" has no option "{name}"{", " + hint if hint else ""}')
    given = dict(zip(known, positional, strict=False))
    if len(positional) > len(known) or given.keys() & named.keys():
        raise Wrong(f"{shown(value)} has a part too many")
    return {**given, **named}


def _check_parts(kind: str, given: dict[str, str], value: str) -> None:
    if kind == "systemd":
        _check_systemd(given, value)
        return
    if not given.get(_OPTIONS[kind][0]):
        raise Wrong(f"{shown(value)} names no {_OPTIONS[kind][0]}")
    if kind != "unix":
        a_port(given["port"], least=0)
        interface = given.get("interface", "")
        if interface and not ip_literal(interface.partition("%")[0]):
            raise Wrong(f"{shown(value)}: {shown(interface)} is no address of an interface")
    if "mode" in given and not _MODE.fullmatch(given["mode"]):
        raise Wrong(f"{shown(value)}: {shown(given['mode'])} is no mode such as 660")
    if "backlog" in given and not _SMALL.fullmatch(given["backlog"]):
        raise Wrong(f"{shown(value)}: {shown(given['backlog'])} is no number")


def _check_systemd(given: dict[str, str], value: str) -> None:
    if given.get("domain") not in ("INET", "INET6", "UNIX"):
        raise Wrong(f"{shown(value)} lacks domain=INET, INET6 or UNIX")
    if ("index" in given) == ("name" in given):
        raise Wrong(f"{shown(value)} needs either index=NUMBER or name=NAME")
    if "index" in given and not _SMALL.fullmatch(given["index"]):
        raise Wrong(f"{shown(value)}: {shown(given['index'])} is no number")
