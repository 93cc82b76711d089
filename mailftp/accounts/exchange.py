"""What every SASL mechanism is: steps of an exchange, what comes out of them, and the checks on names."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred

from mailftp.accounts.names import LONGEST_NAME


class SASLFault(Exception):
    """The exchange is malformed; the protocol answers 501, -ERR or BAD."""


@dataclass(frozen=True, slots=True)
class Challenge:
    data: bytes


@dataclass(frozen=True, slots=True)
class Proven:
    """The exchange is over: these credentials go to `Login.attempt`.

    `final` (SCRAM's server signature), when not None, is sent as one more challenge after a login that
    succeeded, to be answered by an empty response. `refusal` (OAUTHBEARER's error), when not None, is sent
    as one after a login that was refused; whatever the client answers, it then hears that it was.
    """

    credentials: ICredentials
    final: bytes | None = None
    refusal: bytes | None = None


class Exchange:
    """One authentication under way."""

    #: The client speaks first: an empty challenge is sent when there was no initial response.
    #: Where it is False, `step(b"")` gives the first challenge; an initial response may be stepped
    #: all the same.
    client_first: bool

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        """`response` is what the client sent, decoded. Fails with SASLFault."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Channel:
    """What a mechanism may know of the connection; `Login.channel` makes it.

    `exporter` is tls-exporter channel binding data (RFC 9266), or None; `certificate` the client's, verified
    by the handshake, or None."""

    secure: bool
    plaintext_allowed: bool
    exporter: bytes | None = None
    certificate: x509.Certificate | None = None


def check_name(name: bytes, what: str = "login name") -> bytes:
    """RFC 4616 section 2: 1*SAFE in UTF-8; bounded. Raises SASLFault."""
    if not 0 < len(name) <= LONGEST_NAME:
        raise SASLFault(f"the {what} is empty or too long")
    if b"\0" in name:
        raise SASLFault(f"the {what} holds a NUL")
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        raise SASLFault(f"the {what} is not UTF-8") from None
    return name


def check_authorization(authorization: bytes, name: bytes) -> None:
    """Nobody acts for somebody else here: an authorization identity is the login name or none.

    CVE-2023-27582: a server that checked the password of one and let in the other.
    """
    if authorization and authorization != name:
        raise SASLFault("the authorization identity is not the login name")
