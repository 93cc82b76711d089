"""Which folder is whose."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakValueDictionary

from mailftp.files.commits import Commits
from mailftp.files.folder import HomeFolder
from mailftp.files.home import IHome
from mailftp.files.policy import Policy
from mailftp.files.threads import Runner
from mailftp.files.usage import Usage
from mailftp.settings import Settings

#: Kept as they are in the name of a home; everything else is written %XX. No "." at the start.
_PLAIN = frozenset("._-+=~!@")


def folder_name(part: str) -> str:
    """A domain or the local part of an address as one name: no slash, no dot first, unambiguous.

    A local part may hold anything ("a/../b"@example.test is valid, RFC 5321 section 4.1.2); letters and
    digits of every script stay readable.
    """
    quoted = "".join(
        c if c.isalnum() or c in _PLAIN else "".join(f"%{octet:02X}" for octet in _utf8(c)) for c in part
    )
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _utf8(character: str) -> bytes:
    return character.encode("utf-8", "surrogatepass")


class Homes:
    """Makes homes. Sessions of one account share its count of the quota; none of this touches the disk."""

    def __init__(self, settings: Settings, threads: Runner) -> None:
        self._settings = settings
        self._threads = threads
        self._commits = Commits(threads, settings.ftp.durable)
        self._usages: WeakValueDictionary[Path, Usage] = WeakValueDictionary()

    def home_for(self, address: str, quota: int | None) -> IHome:
        """The home of an account, by its full address; the folder is made when it is first used.

        `quota` in octets, None for no limit. Raises ValueError when the address is none.
        """
        local, at, domain = address.rpartition("@")
        if not (local and at and domain):
            raise ValueError(f"not an address: {address!r}")
        ftp = self._settings.ftp
        root = ftp.root / folder_name(domain) / folder_name(local)
        return HomeFolder(
            root,
            self._threads,
            self._commits,
            self._usage(root, quota),
            policy=Policy(),
            durable=ftp.durable,
            visible_partials=ftp.visible_partials,
        )

    def _usage(self, root: Path, quota: int | None) -> Usage:
        usage = self._usages.get(root)
        if usage is None or (usage.quota is None) != (quota is None):
            usage = self._usages[root] = Usage(root, quota)
        usage.quota = quota
        return usage

    def anonymous(self) -> IHome | None:
        """The folder that everybody may read; None when the settings name none."""
        folder = self._settings.ftp.anonymous
        if folder is None:
            return None
        return HomeFolder(
            folder,
            self._threads,
            self._commits,
            Usage(folder, None),
            policy=Policy(read_only=True),
            durable=False,
            create=False,
        )
