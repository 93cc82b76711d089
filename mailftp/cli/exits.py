"""How a command ends: 0 done, 1 it could not be done, 2 it was not understood."""

from __future__ import annotations

DONE, FAILED, MISUSED = 0, 1, 2


class CommandFailed(Exception):
    """It could not be done: exit status 1, its text on standard error."""
