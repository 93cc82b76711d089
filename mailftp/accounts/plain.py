"""The mechanisms that send the password itself: PLAIN and LOGIN."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.credentials import Password
from mailftp.accounts.exchange import Challenge, Exchange, Proven, SASLFault, check_authorization, check_name
from mailftp.accounts.passwords import LONGEST_PASSWORD


def _password(name: bytes, password: bytes) -> Proven:
    if len(password) > LONGEST_PASSWORD:
        raise SASLFault("the password is too long")
    if not password or b"\0" in password:
        raise SASLFault("the password is empty or holds a NUL")
    return Proven(Password(check_name(name), password))


class Plain(Exchange):
    """RFC 4616."""

    client_first = True

    def __init__(self) -> None:
        self._over = False

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        """message = [authzid] NUL authcid NUL passwd"""
        try:
            if self._over:
                raise SASLFault("the exchange is over")
            self._over = True
            parts = response.split(b"\0", 3)
            if len(parts) != 3:
                raise SASLFault("PLAIN wants two NULs")
            authorization, name, password = parts
            check_authorization(authorization, check_name(name))
            return succeed(_password(name, password))
        except SASLFault:
            return fail()


class LoginExchange(Exchange):
    """LOGIN, which no RFC describes (draft-murchison-sasl-login): two prompts. Outlook and scanners use it;
    some send the name as initial response."""

    client_first = False

    def __init__(self) -> None:
        self._prompted = False
        self._name: bytes | None = None
        self._over = False

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        try:
            return succeed(self._next(response))
        except SASLFault:
            self._over = True
            return fail()

    def _next(self, response: bytes) -> Challenge | Proven:
        if self._over:
            raise SASLFault("the exchange is over")
        if not response and not self._prompted:
            self._prompted = True
            return Challenge(b"Username:")
        self._prompted = True
        if self._name is None:
            self._name = check_name(response)
            return Challenge(b"Password:")
        self._over = True
        return _password(self._name, response)
