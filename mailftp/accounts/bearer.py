"""OAUTHBEARER (RFC 7628): an OAuth 2.0 bearer token instead of a password.

Whose it is, and whether it is good, is for the portal's checker to say; there is none of ours, as tokens come
from somewhere else. One that is refused is answered as section 3.2.2 there says: an error in JSON, which the
client acknowledges before it hears that the login failed.
"""

from __future__ import annotations

import json
import re

from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.credentials import BearerToken
from mailftp.accounts.exchange import Challenge, Exchange, Proven, SASLFault, check_name
from mailftp.accounts.names import unescape_saslname

#: Octets of the client's message; tokens of the large providers have some 2,500.
LONGEST_MESSAGE = 8192

# RFC 7628 section 3.1. A value ends at the separator and holds none; each octet is looked at once.
_MESSAGE = re.compile(
    rb"[ny],(?:a=(?P<authorization>(?:[^\x00,=]|=2C|=3D){1,960}))?,\x01"
    rb"(?P<pairs>(?:[A-Za-z]{1,32}=[\t\r\n -~]*+\x01)++)\x01\Z"
)
#: RFC 6750 section 2.1: b64token. The scheme's name in any case.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]++=*+)\Z")
_PORT = re.compile(rb"[0-9]{1,5}\Z")


class Bearer(Exchange):
    """One message, which gives Proven. Without a token it is a question where to have one: a challenge says
    it, and the exchange fails."""

    client_first = True

    def __init__(self, refusal: bytes) -> None:
        """`refusal` is what `refusal` makes."""
        self._refusal = refusal
        self._over = False

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        try:
            if self._over:
                raise SASLFault("no token was given")
            self._over = True
            return succeed(self._read(response))
        except SASLFault:
            return fail()

    def _read(self, response: bytes) -> Challenge | Proven:
        """client-resp = gs2-header kvsep *kvpair kvsep, RFC 7628 section 3.1."""
        if len(response) > LONGEST_MESSAGE:
            raise SASLFault("the message is too long")
        if response.startswith(b"p="):
            raise SASLFault("OAUTHBEARER has no channel binding")
        message = _MESSAGE.match(response)
        if message is None:
            raise SASLFault("malformed client response")
        name = message["authorization"]
        username = b"" if name is None else check_name(unescape_saslname(name), "authorization identity")
        values: dict[bytes, bytes] = {}
        for pair in message["pairs"].split(b"\1")[:-1]:
            key, _, value = pair.partition(b"=")
            # Which of two would count is what an attacker would have different parties disagree on.
            if values.setdefault(key, value) is not value:
                raise SASLFault("a key is given twice")
        authorization = values.get(b"auth")
        if authorization is None:
            raise SASLFault("there is no auth")
        if not authorization:
            return Challenge(self._refusal)
        token = _BEARER.match(authorization)
        if token is None:
            raise SASLFault("auth wants Bearer and a token")
        return Proven(BearerToken(username, token[1], *_whereto(values)), refusal=self._refusal)


def _whereto(values: dict[bytes, bytes]) -> tuple[bytes, int | None]:
    """The host and port that the client says it means."""
    port = values.get(b"port")
    if port is None:
        return values.get(b"host", b""), None
    if _PORT.match(port) is None or not 0 < int(port) < 65536:
        raise SASLFault("malformed port")
    return values.get(b"host", b""), int(port)


def refusal(checker: object) -> bytes:
    """The error of RFC 7628 section 3.2.2, with what the checker tells of where to have a token."""
    error = {"status": "invalid_token"}
    for key, attribute in (("scope", "scope"), ("openid-configuration", "openid_configuration")):
        value = getattr(checker, attribute, "")
        if value:
            error[key] = str(value)
    return json.dumps(error, separators=(",", ":")).encode("ascii")
