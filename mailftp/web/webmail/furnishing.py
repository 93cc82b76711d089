"""The webmail's places on the root, and its cookie among what says who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from twisted.internet.defer import Deferred, maybeDeferred

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.login import Login
from mailftp.accounts.realm import MailAccount
from mailftp.settings import Settings
from mailftp.store.engine import Store
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.pages import Visit, refusal
from mailftp.web.root import Root
from mailftp.web.webmail.app_passwords import AppPasswordList
from mailftp.web.webmail.assets import assets, shell
from mailftp.web.webmail.browsers import Browsers
from mailftp.web.webmail.cookies import token_of
from mailftp.web.webmail.crossing import from_our_pages
from mailftp.web.webmail.messages import MessageDocument, Run
from mailftp.web.webmail.signing_in import (
    Door,
    MakeVerifier,
    OwnPassword,
    SessionList,
    SignIn,
    SignOut,
    WhoAmI,
)
from mailftp.wire.eager import eager


@dataclass(frozen=True, slots=True)
class Mail:
    """What the pages need of the accounts."""

    store: Store
    login: Login
    #: Seconds since the epoch.
    now: Callable[[], float]
    #: Of a new password; None where it is not the store that knows the passwords.
    make_verifier: MakeVerifier | None = None
    #: Does work in a thread.
    run: Run = maybeDeferred


def add_webmail(root: Root, settings: Settings, mail: Mail, authentication: Authentication) -> None:
    browsers = Browsers(mail.store, mail.now, settings.http.session_idle, settings.http.session_lifetime)
    door = Door(mail.login, browsers)
    root.at("/", shell())
    root.at("/browse", shell("browse.html"))
    for path, asset in assets().items():
        root.at(path, asset)
    root.at("/session", WhoAmI(door, mail.make_verifier is not None))
    root.at("/session/open", SignIn(door))
    root.at("/session/close", SignOut(door))
    root.at("/session/list", SessionList(door))
    if mail.make_verifier is not None:
        root.at("/session/password", OwnPassword(door, mail.store, mail.make_verifier))
        root.at("/session/app-passwords", AppPasswordList(door, mail.store, mail.make_verifier))
    root.beneath("/message", MessageDocument(authentication, mail.store, mail.run))
    authentication.proofs.append(CookieProof(browsers, mail.store))


class CookieProof:
    """The session's cookie, for JMAP and what else stands on this root."""

    def __init__(self, browsers: Browsers, store: Store) -> None:
        self._browsers, self._store = browsers, store

    def __call__(self, visit: Visit) -> Deferred[IMailAccount | None] | None:
        if token_of(visit) is None:
            return None
        if not from_our_pages(visit):
            raise Unauthenticated(refusal(HTTPStatus.FORBIDDEN, "another site's page may not ask here"))
        return eager(self._account(visit))

    async def _account(self, visit: Visit) -> IMailAccount | None:
        found = await self._browsers.find(visit)
        return None if found is None else MailAccount(found[1], self._store)
