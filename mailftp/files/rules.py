"""What the tables of `[ftp]` say for one account: rules, folders, terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import or_

from mailftp.files.home import Path
from mailftp.files.policy import READING, Asked, Patterns, Permission, Policy, Rule
from mailftp.settings import FTP, FTPFolder, FTPLimit, FTPRule, Network

#: The name under which tables speak of who has no account.
ANONYMOUS = "anonymous"
#: Accounts whose policy and place are remembered, the latest ones.
REMEMBERED = 1024


#: What a table says of an account, or leaves as it was said before.
_SAID = ("umask", "names", "daily_upload", "daily_download", "ratio")


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one account, whatever the folder."""

    tls_required: bool
    umask: int
    #: Files, folders and links that it may have; None for no limit.
    names: int | None
    #: Octets of a day, and those downloaded for each that was uploaded, beyond `credit`; None for no limit.
    daily_upload: int | None = None
    daily_download: int | None = None
    ratio: float | None = None
    credit: int = 0

    @property
    def counted(self) -> bool:
        """Whether what it moves has to be known."""
        return not self.daily_upload is self.daily_download is self.ratio is None


class Rulebook:
    """The tables of one settings file."""

    def __init__(self, ftp: FTP, policies: Iterable[object] = ()) -> None:
        """`policies` are `mailftp.files.policy.IFilePolicy`."""
        self._ftp = ftp
        self._asked = tuple(policies)
        self._rules = tuple((rule.accounts, _rule(rule)) for rule in ftp.rules)
        #: Accounts of one policy share it, and with it the listings that are remembered.
        self._policies: dict[Policy, Policy] = {}
        #: Account -> its policy, of accounts that logged in: making one takes a tenth of a login.
        self._known = lru_cache(maxsize=REMEMBERED)(self._make_policy)

    def policy(self, account: str, read_only: bool = False) -> Policy:
        """`account` is an address in its full form, or ANONYMOUS, who may read where no rule says more. With
        `read_only` no rule allows a change."""
        return self._known(account, read_only)

    def _make_policy(self, account: str, read_only: bool) -> Policy:
        rules = tuple(rule for accounts, rule in self._rules if self.fits(accounts, account))
        made = Policy(
            read_only=account == ANONYMOUS,
            rules=(*rules, Rule(deny=~READING)) if read_only else rules,
            mounts=tuple((folder.name,) for folder in self.folders(account)),
            asked=tuple(Asked(policy, account) for policy in self._asked),
        )
        return self._policies.setdefault(made, made)

    def terms(self, account: str) -> Terms:
        found = Terms(self._ftp.tls == "required", self._ftp.umask, None)
        for each in self._ftp.accounts:
            if self.fits(each.accounts, account):
                said = {name: value for name in _SAID if (value := getattr(each, name)) is not None}
                if each.ratio is not None:
                    said["credit"] = each.credit
                required = "required" in (each.tls, self._ftp.tls)
                found = replace(found, tls_required=required, **said)
        return found

    def folders(self, account: str) -> tuple[FTPFolder, ...]:
        return tuple(folder for folder in self._ftp.folders if self.fits(folder.accounts, account))

    def limits(self, account: str) -> tuple[FTPLimit, ...]:
        """Wherever the client comes from."""
        return tuple(limit for limit in self._ftp.limits if self.fits(limit.accounts, account))

    def fxp(self, account: str) -> tuple[Network, ...]:
        """The servers that its data may go to and come from, beside the client itself."""
        return tuple(
            network
            for each in self._ftp.fxp
            if self.fits(each.accounts, account)
            for network in each.networks
        )

    def fits(self, accounts: Iterable[str], account: str) -> bool:
        """Whether a list of accounts is about this one; an empty list is about every account."""
        listed = tuple(accounts) or ("*",)
        return any(self._fits(each, account) for each in listed)

    def _fits(self, each: str, account: str) -> bool:
        if account == ANONYMOUS or each == ANONYMOUS:
            return account == each
        if each == "*":
            return True
        if each.startswith("*@"):
            return account.rpartition("@")[2] == each[2:].lower()
        if "@" in each:
            return account == each.lower()
        return any(self._fits(member, account) for member in self._ftp.groups.get(each, ()))


def _rule(rule: FTPRule) -> Rule:
    return Rule(
        folder=_path(rule.folder),
        allow=None if rule.allow is None else _permissions(rule.allow),
        deny=_permissions(rule.deny),
        hidden=Patterns(rule.hidden),
        forbidden=Patterns(rule.forbidden),
    )


def _path(folder: str) -> Path:
    return tuple(name for name in folder.split("/") if name)


def _permissions(words: Iterable[str]) -> Permission:
    return reduce(or_, (Permission[word.upper()] for word in words), Permission.NONE)
