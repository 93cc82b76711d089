"""A deployment's checker of bearer tokens, as one would write it."""

from __future__ import annotations

from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.credentials import IBearerToken

TOKENS = {b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==": b"bob@example.test", b"for-alice": b"alice"}
BOBS = b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="


class TokenChecker:
    """Looks at the token and at nothing else."""

    credentialInterfaces = (IBearerToken,)
    scope = "mail"
    openid_configuration = "https://id.example.test/.well-known/openid-configuration"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes]:
        self.asked.append(credentials)
        name = TOKENS.get(credentials.token)
        return succeed(name) if name is not None else fail(UnauthorizedLogin())


def message(token: bytes, name: bytes = b"", more: bytes = b"") -> bytes:
    """The client's message of RFC 7628 section 3.1."""
    header = b"n,a=" + name + b"," if name else b"n,,"
    return header + b"\x01" + more + b"auth=Bearer " + token + b"\x01\x01"
