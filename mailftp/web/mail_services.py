"""What mail programs are told to use: the services that are listened on, with TLS, the better first."""

from __future__ import annotations

from dataclasses import dataclass

from mailftp.settings import IMPLICIT_TLS, Settings
from mailftp.settings.endpoints import called_ports

#: RFC 8314 section 3: TLS from the first octet before STARTTLS. IMAP before POP3, which leaves nothing.
_INCOMING = (("imaps", "imap"), ("imap", "imap"), ("pop3s", "pop3"), ("pop3", "pop3"))
_OUTGOING = (("submissions", "smtp"), ("submission", "smtp"))


@dataclass(frozen=True, slots=True)
class MailService:
    #: "imap", "pop3" or "smtp".
    protocol: str
    host: str
    port: int
    #: TLS from the first octet; else STARTTLS.
    implicit_tls: bool


@dataclass(frozen=True, slots=True)
class MailServices:
    #: The first is the best; may be empty.
    incoming: tuple[MailService, ...]
    outgoing: tuple[MailService, ...]

    @property
    def whole(self) -> bool:
        """A program can be set up with it."""
        return bool(self.incoming and self.outgoing)


def mail_services(settings: Settings) -> MailServices:
    """Without a certificate there are none: no program should be told to send passwords in the clear."""
    ports = called_ports(settings) if settings.tls is not None else {}

    def found(known: tuple[tuple[str, str], ...]) -> tuple[MailService, ...]:
        return tuple(
            MailService(protocol, settings.hostname, ports[service], service in IMPLICIT_TLS)
            for service, protocol in known
            if service in ports
        )

    return MailServices(found(_INCOMING), found(_OUTGOING))
