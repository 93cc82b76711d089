"""Credentials: what a client gave to prove who it is, as twisted.cred wants it.

`Password` provides Twisted's IUsernamePassword, so a checker written for Twisted (`file:`, `memory:`,
`unix:` of strcred, or a deployment's own) takes it unchanged. Its fields are octets as that
interface says: Twisted's own FTP gives text, and every stock checker then refuses it (#10209).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography import x509
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IAnonymous, ICredentials, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import Attribute, implementer

from mailftp.store.records import ScramKeys
from mailftp.wire.peer import Peer


class WrongProtocol(UnauthorizedLogin):
    """A right app password that is not for the protocol in which it was sent; the client is told no more than
    that the login failed."""


class IPassword(IUsernamePassword):
    """A password, with what a checker may want to know of where it comes from."""

    peer: Peer | None = Attribute("Who sent it.")
    service: str = Attribute('The service that it was sent to, "pop3s".')


class IScramProof(ICredentials):
    """A SCRAM-SHA-256 client proof over a finished exchange (RFC 5802 section 3)."""

    username: bytes = Attribute("The login name as sent, decoded from its escapes.")
    auth_message: bytes = Attribute("AuthMessage.")
    proof: bytes = Attribute("ClientProof, 32 octets.")


class IClientCertificate(ICredentials):
    """A TLS client certificate that the handshake has verified (SASL EXTERNAL, RFC 4422 appendix A)."""

    username: bytes = Attribute(
        "Whom the client wants to be; where it did not say, the one account that the certificate names, or "
        'b"" when it names none or several.'
    )
    certificate: x509.Certificate = Attribute("What it presented.")


class IBearerToken(ICredentials):
    """An OAuth 2.0 bearer token (SASL OAUTHBEARER, RFC 7628), for a deployment's checker: it answers the name
    of the account that the token is for. A login that asked to be another account is refused by ours.

    A checker that has the attributes `scope` and `openid_configuration` (an address), both text, has clients
    told them when it refuses a token.
    """

    username: bytes = Attribute('Whom the client wants to be; b"" where it did not say.')
    token: bytes = Attribute("The token, not empty, in the alphabet of RFC 6750 section 2.1.")
    host: bytes = Attribute(
        'The host that the client says it means to speak to, or b"". Anything may be in it.'
    )
    port: int | None = Attribute("The port, likewise.")


class IScramKeys(ICredentialsChecker):
    """A checker that can tell what SCRAM's first answer says, and then check the proof."""

    def scram_keys(username: bytes) -> Deferred[ScramKeys]:
        """Never fails for an unknown name: it has keys too, the same each time, that no proof fits. Where
        several passwords open an account, those of the others are in `others`."""


@implementer(IPassword)
@dataclass(slots=True)
class Password:
    username: bytes
    password: bytes = field(repr=False)
    #: Login.attempt fills these in.
    peer: Peer | None = None
    service: str = ""
    #: The checker says the name of the app password that it was, if it was one.
    app_password: str = ""

    # Twisted's name for it.
    def checkPassword(self, password: bytes | str) -> bool:
        """In constant time; some checkers keep text."""
        known = password.encode("utf-8") if isinstance(password, str) else password
        return hmac.compare_digest(known, self.password)


@implementer(IScramProof)
@dataclass(slots=True)
class ScramProof:
    username: bytes
    auth_message: bytes = field(repr=False)
    proof: bytes = field(repr=False)
    peer: Peer | None = None
    service: str = ""
    app_password: str = ""


@implementer(IClientCertificate)
@dataclass(slots=True)
class ClientCertificate:
    username: bytes
    certificate: x509.Certificate = field(repr=False)
    peer: Peer | None = None
    service: str = ""


@implementer(IBearerToken)
@dataclass(slots=True)
class BearerToken:
    username: bytes
    token: bytes = field(repr=False)
    host: bytes = b""
    port: int | None = None
    peer: Peer | None = None
    service: str = ""


@implementer(IAnonymous)
@dataclass(slots=True)
class Anonymous:
    """FTP's anonymous login (RFC 1635)."""

    peer: Peer | None = None
    service: str = ""
