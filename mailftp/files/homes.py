"""Which folder is whose."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

from mailftp.files.commits import Commits
from mailftp.files.digests import Digests
from mailftp.files.folder import HomeFolder
from mailftp.files.ground import Ground
from mailftp.files.home import IHome
from mailftp.files.remembered import Remembered
from mailftp.files.rules import ANONYMOUS, REMEMBERED, Rulebook
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

    def __init__(self, settings: Settings, threads: Runner, policies: Sequence[object] = ()) -> None:
        """`policies` are `mailftp.files.policy.IFilePolicy`."""
        self._settings = settings
        self._threads = threads
        self._commits = Commits(threads, settings.ftp.durable)
        self._digests = Digests()
        self._remembered = Remembered()
        self._rulebook = Rulebook(settings.ftp, policies)
        #: Joining paths takes as long as checking a password that is known.
        self._root = lru_cache(maxsize=REMEMBERED)(self._make_root)
        self._usages: WeakValueDictionary[Path, Usage] = WeakValueDictionary()

    def home_for(self, address: str, quota: int | None, read_only: bool = False) -> IHome:
        """The home of an account, by its full address; the folder is made when it is first used. With
        `read_only` nothing in it can be changed, whatever the rules say.

        `quota` in octets, None for no limit. Raises ValueError when the address is none.
        """
        local, at, domain = address.rpartition("@")
        if not (local and at and domain):
            raise ValueError(f"not an address: {address!r}")
        root = self._root(domain, local)
        account = address.lower()
        usage = self._usage(root, quota, self._rulebook.terms(account).names)
        return self._home(root, account, usage, read_only=read_only)

    def _make_root(self, domain: str, local: str) -> Path:
        return self._settings.ftp.root / folder_name(domain) / folder_name(local)

    def _home(
        self, root: Path, account: str, usage: Usage, create: bool = True, read_only: bool = False
    ) -> HomeFolder:
        ftp = self._settings.ftp
        mounts = {
            folder.name.encode(): Ground(
                folder.folder, self._usage(folder.folder, folder.quota, folder.names)
            )
            for folder in self._rulebook.folders(account)
        }
        return HomeFolder(
            root,
            self._threads,
            self._commits,
            usage,
            policy=self._rulebook.policy(account, read_only),
            digests=self._digests,
            remembered=self._remembered,
            mounts=mounts,
            durable=ftp.durable,
            visible_partials=ftp.visible_partials,
            create=create,
            umask=self._rulebook.terms(account).umask,
        )

    def _usage(self, root: Path, quota: int | None, names: int | None) -> Usage:
        usage = self._usages.get(root)
        kinds = (quota is None, names is None)
        if usage is None or (usage.quota is None, usage.names is None) != kinds:
            usage = self._usages[root] = Usage(root, quota, names)
        usage.quota, usage.names = quota, names
        return usage

    def anonymous(self) -> IHome | None:
        """The folder that everybody may read, and write to where a rule says so; None when the settings name
        none. What strangers store there may take no more than an account's files."""
        folder = self._settings.ftp.anonymous
        if folder is None:
            return None
        usage = self._usage(folder, self._settings.quota.files, self._rulebook.terms(ANONYMOUS).names)
        return self._home(folder, ANONYMOUS, usage, create=False)
