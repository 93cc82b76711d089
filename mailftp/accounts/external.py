"""EXTERNAL (RFC 4422 appendix A): the client's TLS certificate says who it is.

The handshake has verified it against `tls.client_ca` and seen that the client has its key. What it says of
accounts is in its subjectAltName (RFC 5280 section 4.2.1.6): e-mail addresses, and for those in UTF-8
SmtpUTF8Mailbox (RFC 9598). An address in the subject's name is not looked at: it is free text.
"""

from __future__ import annotations

from cryptography import x509
from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.credentials import ClientCertificate
from mailftp.accounts.exchange import Challenge, Exchange, Proven, SASLFault, check_name
from mailftp.message.address import AddressFault, parse_address

#: id-on-SmtpUTF8Mailbox, RFC 9598 section 3.
_SMTP_UTF8_MAILBOX = "1.3.6.1.5.5.7.8.9"
_UTF8_STRING = 0x0C
#: Addresses of one certificate that are looked at.
MOST_ADDRESSES = 100


class External(Exchange):
    """One response: an authorization identity, or nothing for the one account that the certificate names."""

    client_first = True

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate
        self._over = False

    def step(self, response: bytes) -> Deferred[Challenge | Proven]:
        """extern-resp = *( UTF8-char-no-nul )"""
        try:
            if self._over:
                raise SASLFault("the exchange is over")
            self._over = True
            if response:
                name = check_name(response, "authorization identity")
            else:
                addresses = certified_addresses(self._certificate)
                name = addresses[0].encode("utf-8") if len(addresses) == 1 else b""
            return succeed(Proven(ClientCertificate(name, self._certificate)))
        except SASLFault:
            return fail()


def certified_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """The accounts that a certificate names, in the form in which they are kept; each once.

    Nothing for one whose extensions cannot be read: nobody is to be let in by half of a certificate.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    found: dict[str, None] = {}
    for name in tuple(names)[:MOST_ADDRESSES]:
        text: str | None = None
        if isinstance(name, x509.RFC822Name):
            text = name.value
        elif isinstance(name, x509.OtherName) and name.type_id.dotted_string == _SMTP_UTF8_MAILBOX:
            text = _utf8_string(name.value)
        if text is not None:
            try:
                found[parse_address(text).key] = None
            except AddressFault:
                continue
    return tuple(found)


def _utf8_string(value: bytes) -> str | None:
    """A DER UTF8String that is the whole of `value`; None for anything else."""
    if len(value) < 2 or value[0] != _UTF8_STRING:
        return None
    length, start = value[1], 2
    if length == 0x81 and len(value) > 2 and value[2] >= 0x80:
        length, start = value[2], 3
    elif length == 0x82 and len(value) > 3 and value[2]:
        length, start = int.from_bytes(value[2:4], "big"), 4
    elif length >= 0x80:
        return None
    if len(value) != start + length:
        return None
    try:
        return value[start:].decode("utf-8")
    except UnicodeDecodeError:
        return None
