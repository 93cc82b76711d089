"""SASL mechanisms, in one place for every protocol: EXTERNAL, SCRAM-SHA-256 and -PLUS, OAUTHBEARER, PLAIN,
LOGIN.

RFC 4422, 4616, 5802, 7628, 7677, 9266 (tls-exporter). A protocol decodes its base64, keeps its own limits on
line lengths and "*", and knows nothing else. A fault or a cancelled exchange is no failed login: no
password was looked at.
"""

from __future__ import annotations

from twisted.cred.credentials import IUsernamePassword
from twisted.cred.portal import Portal
from zope.interface import Interface

from mailftp.accounts.bearer import Bearer, refusal
from mailftp.accounts.credentials import IBearerToken, IClientCertificate, IPassword, IScramKeys, IScramProof
from mailftp.accounts.exchange import Challenge, Channel, Exchange, Proven, SASLFault
from mailftp.accounts.external import External
from mailftp.accounts.plain import LoginExchange, Plain
from mailftp.accounts.scram import Scram

__all__ = ["Challenge", "Channel", "Exchange", "Mechanisms", "Proven", "SASLFault"]


class Mechanisms:
    """The mechanisms that a portal's checkers can serve."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def offered(self, channel: Channel) -> tuple[str, ...]:
        """Names, strongest first; those that send a secret as it is only where `plaintext_allowed`."""
        names: tuple[str, ...] = ()
        if self._scram() is not None:
            names = ("SCRAM-SHA-256",)
            if channel.exporter is not None:
                names = ("SCRAM-SHA-256-PLUS", *names)
        if channel.plaintext_allowed and self._takes(IBearerToken):
            names = (*names, "OAUTHBEARER")
        if channel.plaintext_allowed and self._takes_passwords():
            names = (*names, "PLAIN", "LOGIN")
        if channel.certificate is not None and self._takes(IClientCertificate):
            # First: whoever presents a certificate means to use it.
            names = ("EXTERNAL", *names)
        return names

    def begin(self, name: str, channel: Channel) -> Exchange | None:
        """None when the mechanism is not offered on this channel. The name in any case."""
        name = name.upper()
        if name not in self.offered(channel):
            return None
        if name == "EXTERNAL" and channel.certificate is not None:
            return External(channel.certificate)
        if name == "OAUTHBEARER":
            return Bearer(refusal(self._portal.checkers[IBearerToken]))
        if name == "PLAIN":
            return Plain()
        if name == "LOGIN":
            return LoginExchange()
        keys = self._scram()
        return None if keys is None else Scram(keys, channel, plus=name.endswith("-PLUS"))

    def _scram(self) -> IScramKeys | None:
        checker = self._portal.checkers.get(IScramProof)
        return checker if checker is not None and IScramKeys.providedBy(checker) else None

    def _takes_passwords(self) -> bool:
        return self._takes(IPassword) or self._takes(IUsernamePassword)

    def _takes(self, credentials: type[Interface]) -> bool:
        return credentials in self._portal.checkers
