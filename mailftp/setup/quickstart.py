"""The server that `twistd -n mailftp` makes where there is none: two accounts, on loopback, ready to try."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mailftp.accounts.passwords import generate_password, make_verifier
from mailftp.settings import Settings
from mailftp.settings.file import read_settings
from mailftp.setup.folder import PORTS, make_folder
from mailftp.setup.run_now import private_reactor, run_now
from mailftp.store.lock import acquire
from mailftp.store.open import open_store
from mailftp.store.units import AddAccount

FOLDER = "mailftp-data"
HOSTNAME = "mx.example.test"
DOMAIN = "example.test"
ACCOUNTS = (f"alice@{DOMAIN}", f"bob@{DOMAIN}")

_WHAT = {
    "smtp": "mail from other servers",
    "submission": "sending mail, STARTTLS",
    "submissions": "sending mail, TLS",
    "pop3": "reading mail, STARTTLS",
    "pop3s": "reading mail, TLS",
    "imap": "reading mail, STARTTLS",
    "imaps": "reading mail, TLS",
    "ftp": "files, AUTH TLS",
    "ftps": "files, TLS",
    "dns": "the zone of the domain",
}


def quickstart(where: Path) -> tuple[Path, dict[str, str]]:
    """The settings file of `where`/mailftp-data, made if it is not there, and the passwords by address; no
    passwords when it was there already.

    It is made beside its place and put there whole: a start that is broken off leaves nothing. Raises
    FolderExists or OSError.
    """
    folder = where / FOLDER
    if (folder / "mailftp.toml").exists():
        return folder / "mailftp.toml", {}
    fresh = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=where))
    try:
        file = make_folder(fresh, HOSTNAME, (DOMAIN,), zones=(DOMAIN,))
        passwords = {address: generate_password() for address in ACCOUNTS}
        _add_accounts(read_settings(file), passwords)
        fresh.chmod(0o755)
        os.rename(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder / "mailftp.toml", passwords


def _add_accounts(settings: Settings, passwords: dict[str, str]) -> None:
    reactor = private_reactor()
    store = open_store(settings, reactor)

    async def add() -> None:
        await store.start()
        try:
            for address, password in passwords.items():
                await store.commit(AddAccount(address, make_verifier(password, settings.auth.argon2)))
        finally:
            await store.stop()

    with acquire(settings.data):
        run_now(add, reactor)


def welcome(file: Path, settings: Settings, passwords: dict[str, str]) -> str:
    """The table of services, addresses, logins and passwords, and what to try; ends in a line end."""
    lines = [f"mailftp, with the settings of {file}", ""]
    width = max(map(len, PORTS)) + 2
    for service, endpoints in settings.listen.items():
        for endpoint in endpoints:
            lines.append(f"  {service:<{width}}{_address(endpoint):<20}  {_WHAT.get(service, '')}".rstrip())
    lines += ["", f"  {'login':<24}password"]
    for address in ACCOUNTS:
        lines.append(f"  {address:<24}{passwords.get(address, 'as printed at the first start')}")
    lines += ["", "Try it, in another terminal:", ""]
    lines += [f"  {line}" for line in commands(file.parent, settings, passwords)]
    return "\n".join(lines) + "\n"


def _address(endpoint: str) -> str:
    """ "tcp:2525:interface=127.0.0.1" as host and port, "udp:" with "/udp" behind; any other notation as it
    is."""
    kind, _, rest = endpoint.partition(":")
    port, _, more = rest.partition(":")
    if kind not in ("tcp", "udp") or not port.isdecimal():
        return endpoint
    interface = more.removeprefix("interface=").replace("\\:", ":") if more.startswith("interface=") else "*"
    suffix = "/udp" if kind == "udp" else ""
    return (f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}") + suffix


def commands(folder: Path, settings: Settings, passwords: dict[str, str]) -> list[str]:
    """Commands that work when they are pasted: a message sent and read, a file put and got."""
    alice, bob = ACCOUNTS
    ca = folder / "tls" / "ca.pem"
    try:
        where = os.path.relpath(ca)
    except ValueError:
        where = str(ca)
    curl = f"curl --ssl-reqd --cacert {where}"

    def user(address: str) -> str:
        # Without a password curl asks for it.
        return f"--user '{address}:{passwords[address]}'" if address in passwords else f"--user {address}"

    def url(scheme: str, service: str, path: str = "") -> str | None:
        endpoint = (settings.listen.get(service) or ("",))[0]
        address = _address(endpoint)
        at = f"{scheme}://{address}{path}"
        # A shell would take what follows a semicolon for another command.
        at = f"'{at}'" if ";" in path else at
        return at if address != endpoint and "*" not in address else None

    wanted = (
        (url("smtp", "submission"), "printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' |", alice,
         f"--mail-from {alice} --mail-rcpt {bob} --upload-file -"),
        (url("pop3", "pop3", "/1"), "", bob, ""),
        (url("imap", "imap", "/INBOX;MAILINDEX=1"), "", bob, ""),
        (url("ftp", "ftp", "/hello.txt"), "printf 'It works.\\n' |", bob, "--upload-file -"),
        (url("ftp", "ftp", "/hello.txt"), "", bob, ""),
    )  # fmt: skip
    said = [
        " ".join(part for part in (before, curl, user(who), more, at) if part)
        for at, before, who, more in wanted
        if at is not None
    ]
    host, _, port = (url("", "dns") or "").removeprefix("://").rpartition(":")
    return [*said, f"dig @{host} -p {port} {DOMAIN} MX"] if host else said
