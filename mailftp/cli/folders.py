"""`mailftp init` and `mailftp check`: the folder and its settings file."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.python import usage

from mailftp.cli.exits import CommandFailed
from mailftp.cli.options import CONFIG, Options
from mailftp.origin.dkim_folder import read_keys
from mailftp.settings.file import SettingsFault, notices, read_settings
from mailftp.settings.values import Wrong, a_domain
from mailftp.setup.folder import FolderExists, make_folder
from mailftp.wire.tls import Certificates
from mailftp.zones import load_zones


class InitOptions(Options):
    synopsis = "Usage: mailftp init DIR --hostname H --domain D [--domain D ...]"
    longdesc = "Make DIR/mailftp.toml, a certificate authority and certificate, and DKIM keys."
    optParameters = [["hostname", None, None, "The name that the server greets with."]]

    def __init__(self) -> None:
        super().__init__()
        self["domains"] = []

    def opt_domain(self, name: str) -> None:
        """A domain that mail is accepted for; may repeat."""
        self["domains"].append(_domain("--domain", name))

    def parseArgs(self, folder: str) -> None:  # type: ignore[override]  # usage calls it with what is there
        self["folder"] = Path(folder)

    def postOptions(self) -> None:
        if not self["hostname"]:
            raise usage.UsageError("--hostname is missing, the name that the server greets with")
        if not self["domains"]:
            raise usage.UsageError("--domain is missing, the domain that mail is accepted for")
        self["hostname"] = _domain("--hostname", self["hostname"])
        self["domains"] = tuple(dict.fromkeys(self["domains"]))


def _domain(option: str, name: str) -> str:
    try:
        return a_domain(name)
    except Wrong as wrong:
        raise usage.UsageError(f"{option}: {wrong}")


def init(options: InitOptions) -> None:
    try:
        settings = make_folder(options["folder"], options["hostname"], options["domains"])
    except FolderExists as fault:
        raise CommandFailed(str(fault))
    except OSError as fault:
        raise CommandFailed(f"{fault.filename or options['folder']}: {fault.strerror}")
    print(f"made {settings}")
    print(f"clients trust this server by {options['folder'] / 'tls' / 'ca.pem'}")
    print(f"next: mailftp account add somebody@{options['domains'][0]} --config {settings}")
    print(f"then: twistd -n mailftp --config {settings}")


class CheckOptions(Options):
    synopsis = "Usage: mailftp check [--config FILE]"
    longdesc = (
        "Read the settings, certificates, zones and signing keys and say what is wrong, a line for each"
        " fault. Exit status 0 or 1."
    )
    optParameters = [CONFIG]


def _check_keys(folder: Path) -> None:
    """Raises ValueError."""
    try:
        read_keys(folder)
    except PermissionError:
        # Whoever may not read the keys may still check the settings.
        return
    except OSError as fault:
        raise ValueError(f"{fault.filename}: {fault.strerror}") from None


def check(options: CheckOptions) -> None:
    try:
        settings = read_settings(Path(options["config"]))
        if settings.tls is not None:
            Certificates(settings.tls)
        if settings.listen.get("dns"):
            load_zones(settings, keep=False)
        for domain in settings.domains:
            _check_keys(settings.data / "dkim" / domain)
    except (SettingsFault, ValueError) as fault:
        raise CommandFailed(str(fault))
    for notice in notices(settings):
        print(f"notice: {notice}", file=sys.stderr)
    print(f"{options['config']} is fine")
