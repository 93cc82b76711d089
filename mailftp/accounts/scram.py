"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side: RFC 5802, 7677, 9266.

The exchange reads the account's keys and composes; whether the proof is right is for the portal's checker to
say, which reads the keys again: a password that was changed in between no longer opens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.accounts.credentials import IScramKeys, ScramProof
from mailftp.accounts.exchange import (
    Challenge,
    Channel,
    Exchange,
    Proven,
    SASLFault,
    check_authorization,
    check_name,
)
from mailftp.accounts.names import unescape_saslname
from mailftp.store.records import ScramKeys
from mailftp.wire.eager import eager

#: Octets of a message: two names, a nonce and the channel binding, with room for extensions.
LONGEST_MESSAGE = 2048

# RFC 5802 section 7. value-safe-char leaves out NUL, "=" and ","; a name may hold =2C and =3D.
_NAME = rb"(?:[^\x00,=]|=2C|=3D){1,960}"
_EXTENSIONS = rb"(?:,[A-Za-z]=[^\x00,]+)*"
_CLIENT_FIRST = re.compile(
    rb"(?P<header>(?:(?P<flag>[ny])|p=(?P<binding>[A-Za-z0-9.-]{1,64})),(?:a=(?P<authorization>"
    + _NAME
    + rb"))?,)"
    rb"(?P<bare>n=(?P<name>" + _NAME + rb"),r=(?P<nonce>[!-+\--~]{1,256})" + _EXTENSIONS + rb")\Z"
)
_CLIENT_FINAL = re.compile(
    rb"(?P<without_proof>c=(?P<binding>[A-Za-z0-9+/]{1,1400}={0,2}),r=(?P<nonce>[!-+\--~]{1,320})"
    + _EXTENSIONS
    + rb"),p=(?P<proof>[A-Za-z0-9+/]{43}=)\Z"
)


class Scram(Exchange):
    """Two steps: client-first gives the challenge server-first, client-final gives Proven."""

    client_first = True

    def __init__(self, keys: IScramKeys, channel: Channel, *, plus: bool, nonce: str | None = None) -> None:
        """`nonce` is the server's part; only a test that replays RFC 7677's example gives it."""
        self._source = keys
        self._channel = channel
        self._plus = plus
        self._own_nonce = (secrets.token_urlsafe(24) if nonce is None else nonce).encode("ascii")
        self._started = self._over = False
        self._keys: ScramKeys | None = None
        self._username = self._header = self._nonce = self._messages = b""

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        work: Coroutine[Deferred[Any], Any, Challenge | Proven]
        work = self._final(response) if self._started else self._first(response)
        self._started = True
        return eager(work)

    async def _first(self, response: bytes) -> Challenge:
        """client-first-message, RFC 5802 section 7."""
        if len(response) > LONGEST_MESSAGE:
            raise SASLFault("the message is too long")
        message = _CLIENT_FIRST.match(response)
        if message is None:
            raise SASLFault("malformed client-first-message")
        self._check_binding(message["flag"], message["binding"])
        self._username = check_name(unescape_saslname(message["name"]))
        check_authorization(unescape_saslname(message["authorization"] or b""), self._username)
        self._header = message["header"]
        self._nonce = message["nonce"] + self._own_nonce
        self._keys = await self._source.scram_keys(self._username)
        first = b"r=%b,s=%b,i=%d" % (
            self._nonce,
            base64.b64encode(self._keys.salt),
            self._keys.iterations,
        )
        self._messages = message["bare"] + b"," + first
        return Challenge(first)

    def _check_binding(self, flag: bytes | None, binding: bytes | None) -> None:
        """RFC 5802 section 6. "y" says that the client could bind and saw no -PLUS offered; where we do
        offer it, somebody in between has taken it out of the list."""
        if self._plus:
            if binding is None:
                raise SASLFault("-PLUS without channel binding")
            if binding != b"tls-exporter":
                raise SASLFault("only tls-exporter channel binding is known")
        elif binding is not None:
            raise SASLFault("channel binding needs SCRAM-SHA-256-PLUS")
        elif flag == b"y" and self._channel.exporter is not None:
            raise SASLFault("channel binding was offered: the list of mechanisms was tampered with")

    async def _final(self, response: bytes) -> Proven:
        """client-final-message, RFC 5802 section 7."""
        keys = self._keys
        if self._over or keys is None:
            raise SASLFault("the exchange is over")
        self._over = True
        if len(response) > LONGEST_MESSAGE:
            raise SASLFault("the message is too long")
        message = _CLIENT_FINAL.match(response)
        if message is None:
            raise SASLFault("malformed client-final-message")
        bound = self._header + ((self._channel.exporter or b"") if self._plus else b"")
        if not hmac.compare_digest(_decode(message["binding"]), bound):
            raise SASLFault("the channel binding does not match")
        if not hmac.compare_digest(message["nonce"], self._nonce):
            raise SASLFault("the nonce does not match")
        signed = self._messages + b"," + message["without_proof"]
        proof = ScramProof(self._username, signed, _decode(message["proof"]))
        # Made in any case, and sent only after a login that succeeded.
        known = fitting(keys, proof.proof, signed) or keys
        signature = hmac.digest(known.server_key, signed, "sha256")
        return Proven(proof, b"v=" + base64.b64encode(signature))


def fitting(keys: ScramKeys, proof: bytes, auth_message: bytes) -> ScramKeys | None:
    """Whose proof it is, of `keys` and their others; None for nobody's. All of them are tried each time.

    RFC 5802 section 3: ClientKey := ClientProof XOR ClientSignature; H(ClientKey) = StoredKey.
    """
    found = None
    for each in (*keys.others, keys):
        signature = hmac.digest(each.stored_key, auth_message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        if hmac.compare_digest(hashlib.sha256(client_key).digest(), each.stored_key):
            found = each
    return found


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise SASLFault("malformed base64") from None
