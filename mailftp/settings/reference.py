"""The reference of the settings file as reStructuredText, made of the dataclasses and the table of kinds.

`python -m mailftp.settings.reference docs/reference/settings.rst` writes it; a test says when it is old.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from mailftp import settings as shape
from mailftp.settings.file import KINDS, SECTIONS

HEAD = """\
The settings file
=================

.. Made by ``python -m mailftp.settings.reference``; the words are those of ``mailftp.settings``.

One TOML file, ``mailftp.toml``. Every key has a default, and an empty file is valid. Relative paths start
at the folder that the file is in. Sizes are octets or carry a unit (``"50MB"``, ``"1GiB"``), times are
seconds or carry one (``"5m"``, ``"4h"``, ``"5d"``). ``mailftp check`` reports every fault at once, a line
each: the key, what is wrong, and what would be right.
"""

_NESTED: Mapping[tuple[type[Any], str], type[Any]] = {
    (shape.Auth, "argon2"): shape.Argon2,
    (shape.Delivery, "concurrency"): shape.Concurrency,
    (shape.Delivery, "smarthost"): shape.Smarthost,
    (shape.Delivery, "rules"): shape.DeliveryRule,
    (shape.FTP, "rules"): shape.FTPRule,
    (shape.FTP, "accounts"): shape.FTPAccounts,
    (shape.FTP, "folders"): shape.FTPFolder,
    (shape.FTP, "limits"): shape.FTPLimit,
    (shape.FTP, "passive"): shape.FTPPassive,
    (shape.FTP, "fxp"): shape.FTPFXP,
}


def _toml(value: object) -> str:
    """A default as it would stand in the file."""
    if value is None:
        return "none"
    if isinstance(value, Path | IPv4Network | IPv6Network):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value)


#: Defaults that the file writes in another form than the dataclass keeps.
_WRITTEN = {
    "data": '"data"',
    "message_size": '"50MB"',
    "header_size": '"256KiB"',
    "mail": '"unlimited"',
    "messages": '"unlimited"',
    "files": '"unlimited"',
    "retry": '["5m", "15m", "30m", "1h", "2h", "4h", "8h", "16h"]',
    "give_up": '"5d"',
    "delay_warning": '"4h"',
    "history": '"7d"',
    "suppress_for": '"30d"',
    "quota": '"unlimited"',
    "transfer_log": '""',
    "umask": '"077"',
    "passive_ports": '"30000-30999"',
    "anonymous": '""',
    "expire_after_retrieval": '"never"',
}


def _default(each: Field[Any]) -> str:
    if each.name in _WRITTEN and (each.name != "umask" or each.default is not None):
        return _WRITTEN[each.name]
    if each.default is not MISSING:
        return _toml(each.default)
    if each.default_factory is not MISSING:
        return _toml(each.default_factory())
    return "none: it must be given"


def _section(kind: type[Any], name: str) -> bool:
    return kind is shape.Settings and name in SECTIONS


def _title(kind: type[Any]) -> str:
    return next(f"{name}." for name, section in SECTIONS.items() if section is kind)


def _plain(text: str) -> str:
    """A star is a star, and emphasizes nothing."""
    return text.replace("*", "\\*")


def _keys(kind: type[Any], prefix: str) -> Iterator[str]:
    for each in fields(kind):
        if each.name not in KINDS[kind] or (kind, each.name) in _NESTED or _section(kind, each.name):
            continue
        yield f"``{prefix}{each.name}``"
        yield f"    {_plain(each.metadata['doc'])}"
        yield ""
        yield f"    Give {_plain(KINDS[kind][each.name].wants)}. Default: ``{_default(each)}``."
        yield ""
    for each in fields(kind):
        if (kind, each.name) in _NESTED:
            several = isinstance(each.default, tuple)
            form = f"tables, each [[{_title(kind)}{each.name}]]" if several else "a table"
            yield f"``{prefix}{each.name}``, {form}"
            yield f"    {_plain(each.metadata['doc'])}"
            yield ""
            yield from (f"    {line}".rstrip() for line in _keys(_NESTED[kind, each.name], f"{each.name}."))
            yield ""


def render() -> str:
    """The whole page."""
    lines = [HEAD, "The top of the file", "-------------------", ""]
    lines += _keys(shape.Settings, "")
    for each in fields(shape.Settings):
        section = SECTIONS.get(each.name)
        if section is not None:
            title = f"``[{each.name}]``"
            lines += [title, "-" * len(title), "", each.metadata["doc"], ""]
            lines += _keys(section, "")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render())
