"""Floor 6: the `mailftp` command."""

from mailftp.cli.command import main

__all__ = ["main"]
