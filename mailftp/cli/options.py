"""The base of every command's options: Twisted's, typed."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.python import usage

#: The option that every command about a server takes.
CONFIG: list[Any] = ["config", "c", "mailftp.toml", "The settings file."]


class Options(usage.Options):
    synopsis: str
    optParameters: ClassVar[list[list[Any]]] = []
    optFlags: ClassVar[list[list[Any]]] = []
    subCommands: ClassVar[list[list[Any]]] = []

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped upstream

    def getSynopsis(self) -> str:
        return self.synopsis

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand behind arguments too, as everywhere today; Twisted's parser stops at the first
        argument. Where a command follows, what is behind it is the command's."""
        arguments = list(options or ())
        if not getattr(self, "subCommands", None):
            try:
                found, rest = getopt.gnu_getopt(arguments, self.shortOpt, self.longOpt)
            except getopt.GetoptError as fault:
                raise usage.UsageError(str(fault))
            arguments = []
            for name, value in found:
                long = name.startswith("--")
                takes = f"{name[2:]}=" in self.longOpt if long else f"{name[1]}:" in self.shortOpt
                arguments += [name, value] if takes else [name]
            arguments += ["--", *rest]
        super().parseOptions(arguments)  # type: ignore[no-untyped-call]  # untyped upstream
