"""Who asks a page: Basic (RFC 7617), Bearer (RFC 6750), and what others add, as the pages' session.

Programs send the same name and password with each of their requests. Whom the portal has let in is known for
a short time, so that the log has a line for each client and not for each request; a password that is changed,
and an account that is disabled, ends that at once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.credentials import BearerToken, IBearerToken, Password
from mailftp.accounts.login import LoggedIn, Login, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.names import LONGEST_NAME
from mailftp.accounts.passwords import LONGEST_PASSWORD
from mailftp.web.pages import Answer, Visit, refusal
from mailftp.wire.journal import Journal

#: Seconds that a client is known, and how many are.
KNOWN_SECONDS = 60.0
KNOWN = 1_000
#: Octets of credentials.
LONGEST = 8192

_AUTHORIZATION = re.compile(r"(basic|bearer) +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class Unauthenticated(Exception):
    """`answer` says what to do."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class Proof(Protocol):
    """Another way to say who one is, as a session's cookie."""

    def __call__(self, visit: Visit) -> Deferred[IMailAccount | None] | None:
        """None: nothing of that kind was sent. A Deferred of None: what was sent is no longer good. Fails
        with Unauthenticated, where the request must not be performed (CSRF)."""


@dataclass(slots=True)
class _Known:
    logged_in: LoggedIn
    until: float


class Authentication:
    """`proofs` are asked where no Authorization was sent."""

    def __init__(self, login: Login, clock: IReactorTime) -> None:
        self._login, self.clock = login, clock
        self._secret = secrets.token_bytes(16)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self.proofs: list[Proof] = []

    async def account_of(self, visit: Visit) -> IMailAccount:
        """Raises Unauthenticated, already delayed and logged."""
        given = visit.fields.get("authorization")
        if given is None:
            return await self._proven(visit)
        service = "https" if visit.origin.secure else "http"
        if visit.origin.unknown or not self._login.offers(
            secure=visit.origin.secure, peer=visit.origin.peer, service=service
        ):
            words = "a password is taken over TLS only: use https"
            raise Unauthenticated(refusal(HTTPStatus.FORBIDDEN, words))
        if visit.fields.get("sec-fetch-site", "") in ("cross-site", "same-site"):
            # A browser that knows a password sends it with what another site's page asks for (CSRF).
            raise Unauthenticated(refusal(HTTPStatus.FORBIDDEN, "another site's page may not ask here"))
        key = hmac.digest(self._secret, f"{visit.origin.peer.address} {given}".encode(), "sha256")
        known = self._known.get(key)
        if known is None or known.until <= self.clock.seconds():
            self._forget(key)
            logged_in = await self._attempt(given, visit, service, key)
            self._remember(key, logged_in)
        else:
            logged_in = known.logged_in
        avatar = logged_in.avatar
        assert IMailAccount.providedBy(avatar)
        return avatar

    async def _proven(self, visit: Visit) -> IMailAccount:
        for proof in self.proofs:
            answered = proof(visit)
            if answered is not None:
                avatar = await answered
                if avatar is not None:
                    return avatar
        raise self._unknown(visit)

    async def _attempt(self, given: str, visit: Visit, service: str, key: bytes) -> LoggedIn:
        credentials = read_authorization(given)
        if credentials is None:
            raise self._unknown(visit)
        journal = Journal.new("http")
        try:
            return await self._login.attempt(
                credentials,
                peer=visit.origin.peer,
                service=service,
                context=journal.context,
                interfaces=(IMailAccount,),
                close=lambda: self._forget(key),
            )
        except LoginRefused:
            raise self._unknown(visit) from None
        except LoginThrottled as throttled:
            seconds = str(max(1, round(throttled.seconds)))
            raise Unauthenticated(
                refusal(HTTPStatus.TOO_MANY_REQUESTS, str(throttled), Retry_After=seconds)
            ) from None
        except LoginUnavailable as unavailable:
            answer = refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(unavailable), Retry_After="10")
            raise Unauthenticated(answer) from None

    def _unknown(self, visit: Visit) -> Unauthenticated:
        """RFC 9110 section 11.6.1: how one may say who one is."""
        challenges = ['Basic realm="mailftp", charset="UTF-8"']
        if any(IBearerToken in each for each in self._login.portal.checkers):
            challenges.append('Bearer realm="mailftp"')
        headers = {}
        # A page of ours asks for the name and the password itself: the browser's own question would stand in
        # front of it.
        if visit.fields.get("x-requested-with", "").lower() != "mailftp":
            headers["WWW-Authenticate"] = ", ".join(challenges)
        return Unauthenticated(
            Answer(
                b"401 Unauthorized: give the address and the password of an account\n",
                status=HTTPStatus.UNAUTHORIZED,
                headers=headers,
            )
        )

    def _remember(self, key: bytes, logged_in: LoggedIn) -> None:
        self._forget(key)
        now = self.clock.seconds()
        self._known[key] = _Known(logged_in, now + KNOWN_SECONDS)
        # The oldest are the first.
        for each, known in tuple(self._known.items()):
            if known.until > now and len(self._known) <= KNOWN:
                break
            self._forget(each)

    def stop(self) -> None:
        """Nobody is known from now on."""
        for key in tuple(self._known):
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            known.logged_in.logout()


def read_authorization(text: str) -> ICredentials | None:
    """None for what cannot be read."""
    match = _AUTHORIZATION.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        return None
    if match[1].lower() == "bearer":
        return BearerToken(b"", match[2].encode())
    try:
        name, colon, password = base64.b64decode(match[2], validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    if not colon or not name or not password or len(name) > LONGEST_NAME or len(password) > LONGEST_PASSWORD:
        return None
    return Password(name, password) if b"\0" not in name + password else None
