"""Whole trees: how much is in one, and removing one, a few hundred names for each trip to a thread.

Every name is reached by the descriptor of the folder that it is in, so neither a link nor a folder that is
swapped for one while we walk leads out of the home. What may not be removed is asked of the policy name by
name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice

from mailftp.files import arrivals, walk
from mailftp.files.faults import translated
from mailftp.files.home import Denied, Path
from mailftp.files.policy import DEPTH_LIMIT, Operation, Policy, hidden
from mailftp.files.threads import Runner
from mailftp.files.usage import Usage

#: Names that one trip to a thread looks at.
_TURN = 512


class Walking:
    """Runs the steps of a walk on file threads, so many in each trip."""

    def __init__(self, steps: Iterator[int], threads: Runner) -> None:
        self._steps = steps
        self._threads = threads

    async def run(self) -> int:
        """The sum of the steps. Raises FileFault."""
        total, over = 0, False
        while not over:
            found, over = await self._threads.run(self._turn)
            total += found
        return total

    def _turn(self) -> tuple[int, bool]:
        with translated():
            taken = list(islice(self._steps, _TURN))
        return sum(taken), len(taken) < _TURN


def sizes(folder: int, path: Path, shows: Callable[[Path, str], bool]) -> Iterator[int]:
    """The octets of each file below a folder, whose descriptor it takes over. What no listing shows does
    not count."""
    try:
        for name, found in _inside(folder):
            text = name.decode("utf-8", "surrogateescape")
            if hidden(name) or not shows(path, text):
                continue
            yield found.st_size if stat.S_ISREG(found.st_mode) else 0
            if stat.S_ISDIR(found.st_mode) and len(path) < DEPTH_LIMIT:
                below = _enter(folder, name)
                if below is not None:
                    yield from sizes(below, (*path, text), shows)
    finally:
        os.close(folder)


def removals(parent: int, path: Path, policy: Policy, usage: Usage) -> Iterator[int]:
    """Removes a folder with all that is in it; gives 1 for each name. Takes over the descriptor of the folder
    that it is in. Raises OSError, and FileFault where the policy keeps something."""
    try:
        yield from _empty(parent, path, policy, usage)
        os.rmdir(os.fsencode(path[-1]), dir_fd=parent)
        usage.release_names(1)
        yield 1
    finally:
        os.close(parent)


def _empty(parent: int, path: Path, policy: Policy, usage: Usage) -> Iterator[int]:
    folder = os.open(os.fsencode(path[-1]), walk.FOLDER, dir_fd=parent)
    try:
        for name, found in _inside(folder):
            if hidden(name):
                if not arrivals.drop(folder, name, usage):
                    raise Denied("Somebody is uploading to that folder")
                continue
            below = (*path, os.fsdecode(name))
            if stat.S_ISDIR(found.st_mode):
                policy.check(Operation.REMOVE_TREE, below)
                yield from _empty(folder, below, policy, usage)
                os.rmdir(name, dir_fd=folder)
                usage.release_names(1)
            else:
                policy.check(Operation.REMOVE, below)
                arrivals.unlink(folder, name, usage)
            yield 1
    finally:
        os.close(folder)


def _inside(folder: int) -> Iterator[tuple[bytes, os.stat_result]]:
    for text in os.listdir(folder):
        name = os.fsencode(text)
        found = walk.status(folder, name)
        if found is not None:
            yield name, found


def _enter(folder: int, name: bytes) -> int | None:
    """None: it has gone since, or nobody may read it."""
    try:
        return os.open(name, walk.FOLDER, dir_fd=folder)
    except OSError:
        return None
