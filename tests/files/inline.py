"""A runner without threads, so that what a home does has happened when the call returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute

from mailftp.files.commits import Commits
from mailftp.files.folder import HomeFolder
from mailftp.files.policy import Policy
from mailftp.files.usage import Usage


class Inline:
    """Runs at once; with `held` it keeps the work until `release`."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, work: Callable[[], Any]) -> Deferred[Any]:
        if not self.held:
            return execute(work)
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, work))
        return done

    def release(self) -> None:
        """Do what waits now; what that asks for in turn waits again while `held`."""
        waiting, self.waiting = self.waiting, []
        for done, work in waiting:
            execute(work).chainDeferred(done)


def home_in(
    root: Path, runner: Any = None, *, quota: int | None = None, usage: Usage | None = None, **options: Any
) -> HomeFolder:
    """A home in `root` that answers at once."""
    runner = runner or Inline()
    durable = options.setdefault("durable", False)
    options.setdefault("policy", Policy())
    return HomeFolder(root, runner, Commits(runner, durable), usage or Usage(root, quota), **options)


def partials(folder: Path) -> list[str]:
    """The hidden files anywhere below a folder."""
    return sorted(
        name for _, _, names in os.walk(folder) for name in names if name.startswith(".mailftp-upload-")
    )
