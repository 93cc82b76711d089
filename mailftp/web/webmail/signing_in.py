"""Signing in and out by a browser, its sessions, and the password of one's own.

All of it is JSON and stands below "/session". An error is `{"detail": words for people}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.credentials import Password
from mailftp.accounts.login import LoggedIn, Login, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.passwords import LONGEST_PASSWORD, Busy, PasswordFault
from mailftp.store.engine import Store
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import Account, ScramKeys, Verifier, WebSession
from mailftp.store.units import SetVerifier
from mailftp.web.pages import Answer, Page, Visit
from mailftp.web.webmail.browsers import Browsers
from mailftp.web.webmail.cookies import removing, setting
from mailftp.web.webmail.crossing import from_our_pages
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal

#: What a login by the pages is called in the log.
SERVICE = "webmail"
#: Characters of a password that somebody chooses (NIST SP 800-63B section 3.1.1.2).
SHORTEST_PASSWORD = 8

Named = tuple[WebSession, Account]
#: Of a password, with the salt of other keys where they are given.
MakeVerifier = Callable[[str, ScramKeys | None], Coroutine[Deferred[Any], Any, Verifier]]


class Unfit(Exception):
    """The request cannot be done; answered with these words."""

    def __init__(self, status: int, words: str, **headers: str) -> None:
        super().__init__(words)
        self.answer = told({"detail": words}, status, {n.replace("_", "-"): v for n, v in headers.items()})


def told(value: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(json.dumps(value).encode(), "application/json", status, headers or {})


def given(visit: Visit, **kinds: type) -> dict[str, Any]:
    """The members of the JSON object in the body, each of its kind. Raises Unfit."""
    try:
        value = json.loads(visit.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or any(type(value.get(name)) is not kind for name, kind in kinds.items()):
        wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items())
        raise Unfit(HTTPStatus.BAD_REQUEST, f"send a JSON object with {wanted}")
    return value


class JSONPage(Page):
    """Does its work in a coroutine; Unfit is an answer."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)
    #: A name and two passwords of the longest.
    body_limit = 8 * 1024

    def answer(self, visit: Visit) -> Deferred[Answer]:
        return eager(self._answer(visit))

    async def _answer(self, visit: Visit) -> Answer:
        try:
            return await self.work(visit)
        except Unfit as unfit:
            return unfit.answer

    def work(self, visit: Visit) -> Coroutine[Deferred[Any], Any, Answer]:
        raise NotImplementedError


class Door:
    """The one place where the pages take a password."""

    def __init__(self, login: Login, browsers: Browsers) -> None:
        self._login, self.browsers = login, browsers

    async def enter(self, visit: Visit, name: str, password: str) -> Account:
        """The account of a name and a password. Raises Unfit; slowly and in the same words for whatever is
        wrong with them."""
        origin = visit.origin
        if origin.unknown or not self._login.offers(secure=origin.secure, peer=origin.peer, service="http"):
            raise Unfit(HTTPStatus.FORBIDDEN, "a password is taken over HTTPS alone: open this page by https")
        try:
            secret = password.encode()
            credentials = Password(name.strip().encode(), secret)
        except UnicodeEncodeError:
            raise Unfit(HTTPStatus.BAD_REQUEST, "that is no text")
        if not secret or b"\0" in secret or len(secret) > LONGEST_PASSWORD:
            raise Unfit(HTTPStatus.BAD_REQUEST, "give a password")
        logged_in = await self._attempt(credentials, visit)
        avatar = logged_in.avatar
        # The session's row stands for it from now on; each request reads that.
        logged_in.logout()
        if credentials.app_password:
            # It would live on when it is revoked, and it could change the password.
            words = "This is an app password, for programs. Sign in with the account's own."
            raise Unfit(HTTPStatus.FORBIDDEN, words)
        return IMailAccount(avatar).account

    async def _attempt(self, credentials: Password, visit: Visit) -> LoggedIn:
        try:
            return await self._login.attempt(
                credentials,
                peer=visit.origin.peer,
                service=SERVICE,
                context=Journal.new(SERVICE).context,
                interfaces=(IMailAccount,),
            )
        except LoginRefused:
            raise Unfit(HTTPStatus.UNAUTHORIZED, "The name or the password is wrong.")
        except LoginThrottled as throttled:
            minutes = math.ceil(throttled.seconds / 60)
            raise Unfit(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Too many attempts failed. Try again in {minutes} minute{'s' if minutes > 1 else ''}.",
                Retry_After=str(math.ceil(throttled.seconds)),
            )
        except LoginUnavailable:
            raise Unfit(
                HTTPStatus.SERVICE_UNAVAILABLE, "Signing in is not possible just now. Try again soon."
            )

    async def whose(self, visit: Visit) -> Named:
        found = await self.browsers.find(visit)
        if found is None:
            raise Unfit(HTTPStatus.UNAUTHORIZED, "You are signed out.")
        return found


class SignIn(JSONPage):
    def __init__(self, door: Door) -> None:
        self._door = door

    async def work(self, visit: Visit) -> Answer:
        if not from_our_pages(visit):
            # Another site that signs somebody in under a name of its own would read what they write there.
            raise Unfit(HTTPStatus.FORBIDDEN, "sign in on this server's own page")
        members = given(visit, name=str, password=str, stay=bool)
        account = await self._door.enter(visit, members["name"], members["password"])
        token = await self._door.browsers.open(visit, account)
        kept = self._door.browsers.lifetime if members["stay"] else None
        return told({"address": account.address}, headers={"Set-Cookie": setting(visit, token, kept)})


class SignOut(JSONPage):
    def __init__(self, door: Door) -> None:
        self._door = door

    async def work(self, visit: Visit) -> Answer:
        session, account = await self._door.whose(visit)
        await self._door.browsers.close(account, (session.id,))
        # RFC-less but everywhere: nothing of the mail stays in the browser's caches.
        headers = {"Set-Cookie": removing(visit), "Clear-Site-Data": '"cache", "storage"'}
        return told({}, headers=headers)


class WhoAmI(JSONPage):
    methods = ("GET",)

    def __init__(self, door: Door, changes_password: bool) -> None:
        self._door, self._changes_password = door, changes_password

    async def work(self, visit: Visit) -> Answer:
        found = await self._door.browsers.find(visit)
        if found is None:
            # Not 401: every browser writes that to its console as an error, and nothing is wrong.
            return told({"address": None})
        session, account = found
        return told(
            {"address": account.address, "session": session.id, "changesPassword": self._changes_password}
        )


class SessionList(JSONPage):
    """GET lists them; POST of ids, or of all but this one, closes them."""

    methods = ("GET", "POST")

    def __init__(self, door: Door) -> None:
        self._door = door

    async def work(self, visit: Visit) -> Answer:
        session, account = await self._door.whose(visit)
        browsers = self._door.browsers
        if visit.method == "POST":
            ids = given(visit, close=list)["close"]
            if len(ids) > 100 or not all(type(number) is int and 0 < number < 2**63 for number in ids):
                raise Unfit(HTTPStatus.BAD_REQUEST, "close is a list of at most 100 ids")
            await browsers.close(account, tuple(ids))
        listed = [
            {
                "id": other.id,
                "opened": other.opened,
                "used": other.used,
                "address": other.address,
                "agent": other.agent,
                "this": other.id == session.id,
            }
            for other in await browsers.listed(account)
        ]
        return told({"sessions": listed})


class OwnPassword(JSONPage):
    """Changes it; every other session of the account ends, by whatever protocol, and this one goes on."""

    def __init__(
        self,
        door: Door,
        store: Store,
        make_verifier: MakeVerifier,
    ) -> None:
        self._door, self._store, self._make_verifier = door, store, make_verifier

    async def work(self, visit: Visit) -> Answer:
        _, account = await self._door.whose(visit)
        members = given(visit, old=str, new=str)
        await self._door.enter(visit, account.address, members["old"])
        if len(members["new"]) < SHORTEST_PASSWORD:
            raise Unfit(HTTPStatus.BAD_REQUEST, f"A password has at least {SHORTEST_PASSWORD} characters.")
        try:
            # By the same salt, or SCRAM would let the account's app passwords in no more.
            found = await self._store.read(AccountWithVerifier(account.address))
            verifier = await self._make_verifier(members["new"], found[1].scram if found else None)
        except (PasswordFault, UnicodeEncodeError) as fault:
            raise Unfit(HTTPStatus.BAD_REQUEST, str(fault))
        except Busy as busy:
            raise Unfit(HTTPStatus.SERVICE_UNAVAILABLE, str(busy))
        changed = await self._store.commit(SetVerifier(account.address, verifier))
        token = await self._door.browsers.open(visit, changed)
        journal = Journal.new(SERVICE)
        journal.record("password changed", name=account.address, peer=visit.origin.peer)
        return told({}, headers={"Set-Cookie": setting(visit, token, self._door.browsers.lifetime)})
