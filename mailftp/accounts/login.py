"""Logging in, the same for every protocol: the guard, the portal, the log line, the equal answer.

Every protocol's server.py has one `Login` and calls `attempt`; none of them touches the portal itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IAnonymous, ICredentials
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import Interface
from zope.interface.interface import InterfaceClass

from mailftp.accounts.adapters import adapt
from mailftp.accounts.app_passwords import protocol_of
from mailftp.accounts.credentials import (
    Anonymous,
    BearerToken,
    ClientCertificate,
    Password,
    ScramProof,
    WrongProtocol,
)
from mailftp.accounts.exchange import Channel
from mailftp.accounts.guard import Guard
from mailftp.accounts.names import full_name, shown_name
from mailftp.accounts.passwords import Busy
from mailftp.accounts.realm import Client
from mailftp.settings import Auth
from mailftp.wire.connection import Connection
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer


class LoginRefused(Exception):
    """Wrong, unknown, disabled: one answer and one time for all of them."""


class LoginThrottled(Exception):
    """Too many failures from this network; `seconds` until it is worth trying again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many failed logins, try again in {seconds:.0f} seconds")
        self.seconds = seconds


class LoginUnavailable(Exception):
    """The accounts cannot be read just now: a temporary error, and no failure is counted."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    #: The login name in its full form.
    name: str
    interface: InterfaceClass
    avatar: object
    #: Call once, when the connection ends or REIN is said.
    logout: Callable[[], None]


class Login:
    def __init__(self, portal: Portal, settings: Auth, domains: tuple[str, ...], clock: IReactorTime) -> None:
        self.portal = portal
        self._domains = domains
        self._clock = clock
        self._plaintext = frozenset(settings.plaintext)
        self._guard = Guard(settings, clock)
        for checker in portal.checkers.values():
            if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
                _know_by_octets(checker)

    def offers(self, *, secure: bool, peer: Peer, service: str) -> bool:
        """Whether a password may be sent on this connection: TLS, loopback, or `auth.plaintext`
        names the protocol (the service itself, or "smtp" for "submission")."""
        if secure or peer.local or service in self._plaintext:
            return True
        return protocol_of(service) in self._plaintext

    def channel(self, connection: Connection) -> Channel:
        """What SASL mechanisms may know of a connection as it is now."""
        allowed = self.offers(
            secure=connection.secure, peer=connection.peer, service=connection.factory.wiring.service
        )
        return Channel(connection.secure, allowed, connection.tls_exporter(), connection.client_certificate)

    def attempt(
        self,
        credentials: ICredentials,
        *,
        peer: Peer,
        service: str,
        context: str,
        interfaces: tuple[type[Interface], ...],
        close: Callable[[], None] | None = None,
    ) -> Deferred[LoggedIn]:
        """Fails with LoginRefused, LoginThrottled or LoginUnavailable, already delayed and logged.

        `interfaces` in order of preference; the avatar is never of a Twisted interface that
        `mailftp.accounts.adapters` makes ours.

        `close` ends the session at once: it is called when the account's password changes or the account is
        disabled or removed. Cancel the Deferred when the connection is lost; no avatar is left over then.
        """
        attempt = _Attempt(credentials, peer, service, context, close)
        return eager(self._attempt(attempt, interfaces))

    async def _attempt(self, attempt: _Attempt, interfaces: tuple[type[Interface], ...]) -> LoggedIn:
        peer, journal = attempt.peer, attempt.journal
        name = attempt.shown_name(self._domains)
        seconds = self._guard.refuses(peer)
        if seconds:
            journal.record("login refused", name=name, peer=peer, service=attempt.service, reason="throttled")
            raise LoginThrottled(seconds)
        self._guard.begins(peer)
        began = self._clock.seconds()
        try:
            found = await self.portal.login(attempt.credentials, attempt.client, *interfaces)
            interface, avatar = adapt(found[0], found[1])
            logout = found[2]
            self._check_asked_for(attempt, avatar, logout)
        except (LoginFailed, CancelledError) as error:
            # Whoever hangs up before the answer has guessed all the same.
            delay = self._guard.failed(peer, name, attempt.password)
            # Counted from the beginning, so that how long the password took to check is not in the answer.
            await self._refuse(attempt, name, began + delay - self._clock.seconds(), error)
        except Busy as error:
            journal.warn(
                "login unavailable", name=name, peer=peer, service=attempt.service, reason=str(error)
            )
            raise LoginUnavailable(str(error)) from None
        except Exception:
            journal.fault("login unavailable", name=name, peer=peer, service=attempt.service)
            raise LoginUnavailable("the accounts cannot be read just now") from None
        finally:
            self._guard.ends(peer)
        name = str(getattr(avatar, "address", name))
        journal.record("login", name=name, peer=peer, service=attempt.service, **attempt.app_password)
        return LoggedIn(name, interface, avatar, logout)

    def _check_asked_for(self, attempt: _Attempt, avatar: object, logout: Callable[[], None]) -> None:
        """RFC 7628 section 3.2: a token whose checker has not looked at whom the client asked to be opens no
        other account than the one that was asked for."""
        asked = attempt.username
        if isinstance(attempt.credentials, BearerToken) and asked and hasattr(avatar, "address"):
            if full_name(asked, self._domains) != avatar.address:
                logout()
                raise UnauthorizedLogin

    async def _refuse(self, attempt: _Attempt, name: str, delay: float, error: BaseException) -> NoReturn:
        hung_up = isinstance(error, CancelledError)
        attempt.journal.record(
            "login refused",
            name=name,
            peer=attempt.peer,
            service=attempt.service,
            reason=_reason(error),
            **attempt.app_password,
        )
        if hung_up:
            raise error
        if delay > 0:
            await deferLater(self._clock, delay)
        raise LoginRefused("wrong name or password") from None


class _Attempt:
    """What one attempt goes by; credentials of ours learn where they come from."""

    __slots__ = ("client", "credentials", "journal", "password", "peer", "service", "username")

    def __init__(
        self,
        credentials: ICredentials,
        peer: Peer,
        service: str,
        context: str,
        close: Callable[[], None] | None,
    ) -> None:
        self.credentials, self.peer, self.service = credentials, peer, service
        self.journal = Journal(context)
        self.client = Client(peer, service, close)
        self.username, self.password = _known_of(credentials)
        if isinstance(credentials, Password | ScramProof | ClientCertificate | BearerToken | Anonymous):
            credentials.peer, credentials.service = peer, service

    @property
    def app_password(self) -> dict[str, str]:
        """For a log line: which it was, once the checker knows."""
        name = getattr(self.credentials, "app_password", "")
        return {"app_password": name} if name else {}

    def shown_name(self, domains: tuple[str, ...]) -> str:
        if IAnonymous.providedBy(self.credentials):
            return "anonymous"
        return shown_name(self.username, domains)


def _reason(error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return "connection lost"
    return (
        "app password of another protocol" if isinstance(error, WrongProtocol) else "wrong name or password"
    )


def _know_by_octets(checker: InMemoryUsernamePasswordDatabaseDontUse) -> None:
    """strcred's `memory:` keeps its users as text, and looks them up by the octets that its interface asks
    for: nobody could log in (#10209)."""
    users: Mapping[Any, object] = checker.users
    for name, password in tuple(users.items()):
        if isinstance(name, str) and isinstance(password, str):
            checker.users[name.encode("utf-8")] = password.encode("utf-8")


def _known_of(credentials: ICredentials) -> tuple[bytes, bytes | None]:
    """Name and password, of ours and of anybody's; b"" and None where there is none (anonymous). A token is
    as a password: a phone that keeps trying an old one must not lock out the office around it."""
    username = getattr(credentials, "username", b"")
    password = getattr(credentials, "password", None)
    if isinstance(credentials, BearerToken):
        password = credentials.token
    if isinstance(username, str):
        username = username.encode("utf-8", "surrogateescape")
    if isinstance(password, str):
        password = password.encode("utf-8", "surrogateescape")
    return username, password
