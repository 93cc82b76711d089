"""TLS as a client: any certificate will do where it is opportunistic, and is checked where it is required."""

from __future__ import annotations

from functools import cache, lru_cache
from ipaddress import ip_address

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


@cache
def _any_certificate() -> CertificateOptions:
    # One for the process: to make its context costs some milliseconds.
    return CertificateOptions()


@implementer(IOpenSSLClientConnectionCreator)
class Opportunistic:
    """Encrypts and checks no certificate (RFC 7435): who cannot prove a name is still better talked to
    under TLS than in the clear, and MX names are not authenticated anyway."""

    def __init__(self, host: str) -> None:
        self._host = host

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = _any_certificate().clientConnectionForTLS(tlsProtocol)
        name = server_name(self._host)
        if name:
            connection.set_tlsext_host_name(name)
        return connection


def server_name(host: str) -> bytes:
    """What SNI may say: a name, never an address (RFC 6066 section 3)."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host.encode("ascii") if host.isascii() and not host.startswith("[") else b""
    return b""


@lru_cache(maxsize=16)
def verified(host: str) -> IOpenSSLClientConnectionCreator:
    """A certificate for `host` that the machine's authorities vouch for; SSL_CERT_FILE names others."""
    return optionsForClientTLS(host, trustRoot=platformTrust())  # type: ignore[no-untyped-call]  # so is Twisted's


def describe(connection: SSL.Connection | None) -> str:
    """ "TLSv1.3 TLS_AES_256_GCM_SHA384"."""
    if connection is None:
        return "TLS"
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"
