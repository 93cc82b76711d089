"""The realm: what an account of the store is to each protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.cred.checkers import ANONYMOUS
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import Interface, implementer

from mailftp.accounts.avatars import IMailAccount, IMaildrop, ISubmitter
from mailftp.accounts.checkers import AvatarId
from mailftp.accounts.listings import Listings
from mailftp.accounts.maildrop import MaildropLocks, StoreMaildrop
from mailftp.accounts.names import full_name
from mailftp.accounts.sessions import Sessions
from mailftp.files.home import IHome
from mailftp.message.address import Address
from mailftp.store.engine import Store
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import Account, AppPassword
from mailftp.wire.eager import eager
from mailftp.wire.peer import Peer

Avatar = tuple[type[Interface], object, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Client:
    """The "mind" that Login gives the portal: who logs in, and how to end the session from outside."""

    peer: Peer
    service: str
    close: Callable[[], None] | None = None


@implementer(ISubmitter)
@dataclass(frozen=True, slots=True)
class Submitter:
    address: str
    account_id: int | None

    def may_send_as(self, address: Address) -> bool:
        """Its own address, in any case, and no other."""
        return address.key == self.address


@implementer(IMailAccount)
@dataclass(frozen=True, slots=True)
class MailAccount:
    account: Account
    store: Store
    #: It was opened with an app password that may change no files.
    read_only: bool = False

    @property
    def address(self) -> str:
        """Login names the session by it."""
        return self.account.address


@implementer(IRealm)
class MailRealm:
    """Hands out ISubmitter, IMailAccount, IMaildrop and IHome; the first that is asked for and can be had.

    An avatar id that comes from another checker than ours (`file:` and the like) names an account of
    the store too: the checker says who it is, the store what is theirs.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        home_for: Callable[[Account, bool], IHome | Deferred[IHome]],
        *,
        domains: tuple[str, ...],
        anonymous_home: Callable[[], IHome | Deferred[IHome]] | None = None,
        locks: MaildropLocks | None = None,
        expiring: bool = False,
    ) -> None:
        """`home_for` makes the home of an account, with True one in which this login changes nothing;
        `anonymous_home` a read-only one, None where anonymous has no login. Realms over one store share
        `locks`. With `expiring` it is noted what POP3 clients fetch and leave."""
        self._store = store
        self._sessions = sessions
        #: Of an account, and whether nothing in it may be changed.
        self.home_for = home_for
        self._anonymous_home = anonymous_home
        self._domains = domains
        self._locks = locks or MaildropLocks()
        self._listings = Listings()
        self._expiring = expiring

    # Its name and shape are IRealm's.
    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> Deferred[Avatar]:
        return eager(self._avatar(avatarId, mind, interfaces))

    async def _avatar(
        self, avatar_id: bytes | str | tuple[()], mind: object, interfaces: tuple[type[Interface], ...]
    ) -> Avatar:
        if avatar_id == ANONYMOUS:
            return await self._anonymous(interfaces)
        assert not isinstance(avatar_id, tuple)
        account, mark, app_password = await self._account(avatar_id)
        for interface in interfaces:
            avatar: object
            if interface is ISubmitter:
                avatar = Submitter(account.address, account.id)
            elif interface is IMaildrop:
                avatar = StoreMaildrop(
                    self._store, account, self._locks, self._listings, expiring=self._expiring
                )
            elif interface is IMailAccount:
                avatar = MailAccount(account, self._store, _read_only(app_password))
            elif interface is IHome:
                avatar = await maybeDeferred(self.home_for, account, _read_only(app_password))
            else:
                continue
            close = mind.close if isinstance(mind, Client) else None
            if close is None:
                return interface, avatar, _nothing
            opened_by = None if app_password is None else app_password.id
            return interface, avatar, self._sessions.register(account, close, mark, opened_by)
        raise NotImplementedError(f"none of {interfaces} is known to this realm")

    async def _anonymous(self, interfaces: tuple[type[Interface], ...]) -> Avatar:
        if self._anonymous_home is None or IHome not in interfaces:
            raise UnauthorizedLogin
        return IHome, await maybeDeferred(self._anonymous_home), _nothing

    async def _account(self, avatar_id: bytes | str) -> tuple[Account, int, AppPassword | None]:
        if isinstance(avatar_id, AvatarId):
            return avatar_id.account, avatar_id.mark, avatar_id.app_password
        mark = self._sessions.mark
        # strcred's unix: answers text.
        username = avatar_id.encode("utf-8") if isinstance(avatar_id, str) else avatar_id
        name = full_name(username, self._domains)
        found = await self._store.read(AccountWithVerifier(name)) if name is not None else None
        if found is None or found[0].disabled:
            raise UnauthorizedLogin
        return found[0], mark, None


def _read_only(app_password: AppPassword | None) -> bool:
    return app_password is not None and app_password.read_only


def _nothing() -> None:
    """Nobody needs to know that this session ended."""
