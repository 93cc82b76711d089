"""The `mailftp` command: what it is called with, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.python import usage

from mailftp import __version__
from mailftp.cli.accounts import AccountOptions, run_account
from mailftp.cli.aliases import AliasOptions, run_alias
from mailftp.cli.dkim import DKIMOptions, run_dkim
from mailftp.cli.dns import DNSOptions, run_dns
from mailftp.cli.exits import DONE, FAILED, MISUSED, CommandFailed
from mailftp.cli.folders import CheckOptions, InitOptions, check, init
from mailftp.cli.ftp import FTPOptions, run_ftp
from mailftp.cli.options import Options
from mailftp.cli.queue import QueueOptions, run_queue
from mailftp.cli.reload import ReloadOptions, reload
from mailftp.cli.suppress import SuppressOptions, run_suppress
from mailftp.cli.tls import TLSOptions, run_tls
from mailftp.cli.trace import TraceOptions, trace


class Command(Options):
    synopsis = "Usage: mailftp COMMAND ..."
    longdesc = "Exit status: 0 done, 1 it could not be done, 2 it was not understood."
    subCommands = [
        ["init", None, InitOptions, "Make a folder with settings, certificates and keys."],
        ["check", None, CheckOptions, "Say what is wrong with the settings."],
        ["account", None, AccountOptions, "Add, list, remove and change accounts."],
        ["alias", None, AliasOptions, "Lead addresses to others; let accounts send as them."],
        ["dkim", None, DKIMOptions, "List and rotate the keys that outgoing mail is signed with."],
        ["queue", None, QueueOptions, "List and steer outgoing mail."],
        ["suppress", None, SuppressOptions, "List and steer the addresses that no mail is taken for."],
        ["tls", None, TLSOptions, "List and forget who took mail over STARTTLS."],
        ["ftp", None, FTPOptions, "Show and end FTP sessions."],
        ["dns", None, DNSOptions, "Print the zones that mail needs, and check what the world sees."],
        ["trace", None, TraceOptions, "Say what became of a message, or of an address's mail."],
        ["reload", None, ReloadOptions, "Have the server take new settings and certificates."],
    ]

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"mailftp {__version__}")
        raise SystemExit(DONE)

    def postOptions(self) -> None:
        if not self.subCommand:
            raise usage.UsageError("a command is missing; `mailftp --help` lists them")


RUN: dict[str, Callable[[Any], None]] = {
    "init": init,
    "check": check,
    "account": run_account,
    "alias": run_alias,
    "dkim": run_dkim,
    "queue": run_queue,
    "suppress": run_suppress,
    "tls": run_tls,
    "ftp": run_ftp,
    "dns": run_dns,
    "trace": trace,
    "reload": reload,
}


def _innermost(options: usage.Options) -> usage.Options:
    """The options of the command that was being read when it went wrong."""
    while getattr(options, "subOptions", None) is not None:
        options = options.subOptions
    return options


def run(arguments: Sequence[str]) -> int:
    """Run one command and answer its exit status; what it has to say goes to the standard streams."""
    options = Command()
    try:
        options.parseOptions(list(arguments))
        RUN[str(options.subCommand)](options.subOptions)
    except usage.UsageError as fault:
        print(f"mailftp: {fault}\n{_innermost(options).getSynopsis()}", file=sys.stderr)
        return MISUSED
    except CommandFailed as fault:
        print(fault, file=sys.stderr)
        return FAILED
    return DONE


def main() -> None:
    """The console script."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # `mailftp queue list | head`: not an error of ours, and no traceback.
        sys.stderr.close()
        status = FAILED
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
